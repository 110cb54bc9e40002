"""A share of the answered images is kept, and costs no answer."""

from __future__ import annotations

import errno
import json
import logging
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from convsmith.errors import ConvsmithError
from convsmith.serve import sampling
from convsmith.serve.app import create_app
from convsmith.serve.settings import Settings
from convsmith.storage import write_file
from tests.colours import picture
from tests.serve.running import PATIENCE, post, served, served_by_command, wait_until
from tests.serve.test_metrics import number, numbers
from tests.stripes import stripes_png


def images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix not in ("", ".json") and path.name[0] != ".")


def answers_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def ends(url: str, outcome: str, count: int) -> None:
    wait_until(lambda: number(numbers(url), "convsmith_samples_total", outcome=outcome) == count)


def test_an_image_is_kept_as_it_was_sent_beside_its_answer(colour_bundle: Path, tmp_path: Path) -> None:
    sent = {"red": picture("red"), "blue": picture("blue", "JPEG")}
    with served(create_app(colour_bundle, sample=1.0, sample_dir=tmp_path / "new" / "samples")) as (_, url):
        answers = {it: post(url, content) for it, content in sent.items()}
        ends(url, "written", 2)
    kept = answers_in(tmp_path / "new" / "samples")
    assert {facts["answer"]["label"] for facts in kept} == set(sent)
    for facts in kept:
        label = facts["answer"]["label"]
        assert (tmp_path / "new" / "samples" / facts["image"]).read_bytes() == sent[label]
        assert facts["answer"] == answers[label].json()
        assert facts["request_id"] == answers[label].headers["X-Request-Id"]
        assert (facts["model"], facts["version"]) == ("model", "1")
    assert {path.suffix for path in images_in(tmp_path / "new" / "samples")} == {".png", ".jpg"}


def test_an_image_that_lies_on_the_disk_is_kept_too(colour_bundle: Path, tmp_path: Path) -> None:
    content = picture("red", "BMP", size=(1000, 500))
    assert len(content) > 1_000_000
    with served(create_app(colour_bundle, sample=1.0, sample_dir=tmp_path)) as (_, url):
        assert post(url, content).status_code == 200
        ends(url, "written", 1)
    assert [path.read_bytes() for path in images_in(tmp_path)] == [content]


def test_masks_are_kept_as_runs(pixel_bundle: Path, tmp_path: Path) -> None:
    with served(create_app(pixel_bundle, sample=1.0, sample_dir=tmp_path)) as (_, url):
        httpx.post(f"{url}/predict", files={"image": stripes_png("blue")}, headers={"Accept": "image/png"})
        ends(url, "written", 1)
    assert answers_in(tmp_path)[0]["answer"]["runs"] == [[2, 135]]


def test_about_the_share_that_is_asked_for_is_kept(colour_bundle: Path, tmp_path: Path) -> None:
    with served(create_app(colour_bundle, sample=0.2, sample_dir=tmp_path)) as (_, url):
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            for _ in range(200):
                client.post("/predict", files={"image": picture("red")})
        found = numbers(url)
    assert number(found, "convsmith_samples_total", outcome="lost") == 0
    assert 10 <= len(answers_in(tmp_path)) <= 80  # 40 on average; beyond this once in a hundred million runs


def test_refused_images_are_not_kept(colour_bundle: Path, tmp_path: Path) -> None:
    with served(create_app(colour_bundle, sample=1.0, sample_dir=tmp_path)) as (_, url):
        assert post(url, b"no image").status_code == 415
        post(url, picture("red"))
        ends(url, "written", 1)
    assert len(images_in(tmp_path)) == 1


def test_no_name_is_the_clients(colour_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    with served(create_app(colour_bundle, sample=1.0, sample_dir=folder)) as (_, url):
        files = {"image": ("../../evil.sh", picture("red"))}
        httpx.post(f"{url}/predict", files=files, headers={"X-Request-Id": "../../evil"}, timeout=PATIENCE)
        ends(url, "written", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]
    assert not [path for path in folder.iterdir() if "evil" in path.name]


def test_a_folder_holds_no_more_images_than_it_may(
    colour_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "old.png").write_bytes(b"that was there before")
    with served(create_app(colour_bundle, sample=1.0, sample_dir=tmp_path, sample_max_files=3)) as (_, url):
        assert {post(url, picture("red")).status_code for _ in range(5)} == {200}
        ends(url, "lost", 3)
    assert len(images_in(tmp_path)) == 3
    assert caplog.text.count("no more samples") == 1


def test_a_folder_holds_no_more_bytes_than_it_may(colour_bundle: Path, tmp_path: Path) -> None:
    with served(create_app(colour_bundle, sample=1.0, sample_dir=tmp_path, sample_max_bytes=1500)) as (_, url):
        for _ in range(5):
            post(url, picture("red"))
        wait_until(lambda: number(numbers(url), "convsmith_samples_total") == 5)
    assert 0 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1500


def test_a_full_disk_costs_samples_and_no_answer(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with served(create_app(colour_bundle, sample=1.0, sample_dir=tmp_path)) as (_, url):
        write = write_file

        def full(path: Path, content: bytes) -> None:
            if path.suffix == ".json":
                raise OSError(errno.ENOSPC, "No space left on device")
            write(path, content)

        monkeypatch.setattr(sampling, "write_file", full)
        assert {post(url, picture("red")).status_code for _ in range(3)} == {200}
        ends(url, "lost", 3)
    assert not list(tmp_path.iterdir())
    assert "No space left on device" in caplog.text


def test_a_disk_that_does_not_answer_holds_nothing_up_and_little_in_memory(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    with served(create_app(colour_bundle, sample=1.0, sample_dir=tmp_path)) as (_, url):
        monkeypatch.setattr(sampling, "write_file", lambda *_: go_on.wait(PATIENCE))
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            asked = [client.post("/predict", files={"image": picture("red")}).status_code for _ in range(100)]
        assert set(asked) == {200}
        assert number(numbers(url), "convsmith_samples_total", outcome="lost") >= 100 - 64 - 1
        go_on.set()


def test_nothing_is_kept_unless_it_is_asked_for(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with served(create_app(colour_bundle)) as (_, url):
        post(url, picture("red"))
    assert not list(tmp_path.iterdir())


def test_the_command_keeps_them_and_writes_the_last_before_it_ends(colour_bundle: Path, tmp_path: Path) -> None:
    options = ("--sample", "1", "--sample-dir", str(tmp_path), "--drain-seconds", "0")
    with served_by_command(colour_bundle, *options) as (process, url):
        post(url, picture("red"))
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert [facts["answer"]["label"] for facts in answers_in(tmp_path)] == ["red"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"sample": 0.5}, "belong together"),
        ({"sample_dir": Path("samples")}, "belong together"),
        ({"sample": 0.0, "sample_dir": Path("samples")}, "--sample is 0"),
        ({"sample": 1.5, "sample_dir": Path("samples")}, "--sample is 1.5"),
        ({"sample": float("nan"), "sample_dir": Path("samples")}, "--sample is nan"),
        ({"sample": 0.5, "sample_dir": Path("/dev/null/samples")}, "samples cannot be written"),
    ],
)
def test_what_cannot_be_kept_is_an_error_before_it_serves(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConvsmithError, match=what):
        sampling.sampler_of(Settings(**changes), logging.info)
