from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from convsmith.bundle.calibration import Calibration, Sets, Unknown
from convsmith.bundle.predictor import load
from convsmith.serve.app import create_app
from tests.colours import LABELS, picture, write_colour_bundle
from tests.fake_devices import CPU, CUDA, Providers
from tests.serve.running import PATIENCE, post, served


@pytest.fixture
def url_for_large(colour_bundle: Path) -> Iterator[str]:
    with served(create_app(colour_bundle)) as (_, address):
        yield address


@pytest.mark.parametrize("colour", LABELS)
def test_predict_answers_the_class(url: str, colour: str) -> None:
    answer = post(url, picture(colour))
    assert answer.status_code == 200
    assert answer.json()["label"] == colour
    assert answer.json()["class_id"] == LABELS.index(colour)


def test_the_answer_is_that_of_the_bundle(url: str, colour_bundle: Path) -> None:
    content = picture("#405060", "JPEG", (300, 200))
    assert post(url, content).json() == load(colour_bundle).predict(content).to_dict()


@pytest.mark.parametrize("field", ["image", "file"])
def test_the_field_is_image_or_file(url: str, field: str) -> None:
    assert post(url, picture("blue"), field=field).json()["label"] == "blue"


@pytest.mark.parametrize(("query", "count"), [("", 3), ("?top=1", 1), ("?top=2", 2), ("?top=1000", 3)])
def test_top_says_how_many_classes_are_listed(url: str, query: str, count: int) -> None:
    assert len(post(url, picture("red"), query=query).json()["top"]) == count


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_every_kind_of_image_is_understood(url: str, format: str) -> None:  # noqa: A002
    assert post(url, picture("blue", format)).json()["label"] == "blue"


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/dev/null", "猫.png", "été été.jpg", '"; rm -rf', "a\r\nb", "", "x" * 255, "\0", "%00%2e"],
)
def test_the_name_of_the_file_does_not_matter(url: str, name: str) -> None:
    if name:
        assert post(url, picture("red"), name=name).json()["label"] == "red"
    else:
        body = (
            b'--b\r\nContent-Disposition: form-data; name="image"; filename=""\r\n\r\n'
            + picture("red")
            + b"\r\n--b--\r\n"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        assert httpx.post(f"{url}/predict", content=body, headers=headers).json()["label"] == "red"


def test_the_declared_type_of_the_file_does_not_matter(url: str) -> None:
    files = {"image": ("a.txt", picture("red"), "text/plain")}
    assert httpx.post(f"{url}/predict", files=files).json()["label"] == "red"


@pytest.fixture
def nowhere_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where nothing can be written, such as a container with a read-only root."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)


@pytest.mark.usefixtures("nowhere_temporary")
def test_a_large_upload_needs_no_folder_for_temporary_files(colour_bundle: Path) -> None:
    with served(create_app(colour_bundle)) as (_, url):
        assert post(url, picture("blue", "BMP", (1000, 1000))).json()["label"] == "blue"


def test_a_large_upload_that_finds_no_room_is_503(url_for_large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")  # a folder that was there at the start
    answer = post(url_for_large, bytes(2_000_000))
    assert answer.status_code == 503
    assert "folder for temporary files: no such file or directory" in answer.json()["why"].lower()
    assert "Retry-After" in answer.headers


def test_an_image_without_a_finite_answer_is_500_and_says_so(bundle_without_answer_on_white: Path) -> None:
    with served(create_app(bundle_without_answer_on_white)) as (_, url):
        answer = post(url, picture("white"))
        assert answer.status_code == 500
        assert answer.json()["error"] == "the model gives no answer for the uploaded file"
        assert answer.json()["why"] == "its logits are not finite numbers"
        assert post(url, picture("red")).status_code == 200


def test_clients_at_the_same_time_each_get_their_own_answer(url: str) -> None:
    colours = [LABELS[i % 3] for i in range(48)]
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda colour: post(url, picture(colour)).json()["label"], colours))
    assert answers == colours


def test_one_connection_serves_many_requests(url: str) -> None:
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        for colour in LABELS * 3:
            assert client.post("/predict", files={"image": ("a.png", picture(colour))}).json()["label"] == colour


def test_the_printed_curl_line_works(url: str, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(picture("blue", "JPEG"))
    try:
        command = ["curl", "-sS", "-F", "image=@photo.jpg", f"{url}/predict"]
        output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("curl is not installed")
    assert '"label":"blue"' in output


HERE = {"runtime": "onnxruntime", "device": "cpu", "provider": "CPUExecutionProvider"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/healthz", {"status": "alive"}),
        ("/readyz", {"status": "ready", **HERE, "models": [{"name": "model", "version": "1", **HERE}]}),
    ],
)
def test_a_server_that_is_up_says_so(url: str, path: str, expected: dict[str, object]) -> None:
    answer = httpx.get(url + path)
    assert (answer.status_code, answer.json()) == (200, expected)


def test_an_answer_says_what_ran(url: str) -> None:
    assert post(url, picture("red")).json()["meta"] == HERE


def test_a_server_runs_on_the_device_that_is_asked_for(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch, [CUDA, CPU])
    with served(create_app(colour_bundle, device="cuda")) as (_, url):
        on_cuda = {"runtime": "onnxruntime", "device": "cuda", "provider": CUDA}
        assert httpx.get(f"{url}/readyz").json()["models"] == [{"name": "model", "version": "1", **on_cuda}]
        assert post(url, picture("red")).json()["meta"] == on_cuda


def test_openapi_describes_the_upload(url: str) -> None:
    operation = httpx.get(f"{url}/openapi.json").json()["paths"]["/predict"]["post"]
    assert "image" in operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"200", "413", "415", "422", "503"} <= set(operation["responses"])


def test_a_calibrated_bundle_answers_with_its_set_and_whether_it_knows(tmp_path: Path) -> None:
    decided = Calibration(
        weights=(0.5,),
        sets=Sets(coverage=0.9, thresholds=(0.2, 0.2, 0.2)),
        unknown=Unknown(threshold=0.7),
        images={"scaling": 9},
        measured={},
    )
    bundle = write_colour_bundle(tmp_path / "careful", calibration=decided)
    with served(create_app(bundle)) as (_, url):
        answers = [post(url, picture(colour)).json() for colour in ("#504030", "#ff0000")]
        schemas = httpx.get(f"{url}/openapi.json").json()["components"]["schemas"]
    assert answers[0] == load(bundle).predict(picture("#504030")).to_dict()
    assert [([it["label"] for it in it["set"]], it["unknown"]) for it in answers] == [
        (["red", "green"], True),
        (["red"], False),
    ]
    assert {"set", "unknown"} <= set(schemas["ClassAnswer"]["properties"])
