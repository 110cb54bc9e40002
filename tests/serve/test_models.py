"""Several models in one server: versions, a watched folder, loading and unloading, a bound on memory."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from convsmith.errors import ConvsmithError
from convsmith.serve import models
from convsmith.serve.app import create_app
from tests.colours import picture, write_colour_bundle
from tests.serve.running import PATIENCE, post, served, served_by_command, wait_until
from tests.serve.test_bad_requests import assert_problem
from tests.serve.test_serve_command import run

RED = picture("red")


@pytest.fixture
def bundles(tmp_path: Path) -> dict[str, Path]:
    """Bundles that name red by their own key: `one`, `two`, `three`; and one that is `broken`."""
    made = {
        name: write_colour_bundle(tmp_path / "made" / name, labels=(name, "green", "blue"))
        for name in ("one", "two", "three")
    }
    return {**made, "broken": write_colour_bundle(tmp_path / "made" / "broken", model=b"no model")}


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that a server will look at often."""
    monkeypatch.setattr(models, "LOOK_SECONDS", 0.02)
    (tmp_path / "watched").mkdir()
    return tmp_path / "watched"


def put(bundle: Path, place: Path) -> None:
    """Replace a place by a bundle, file by file, as `cp -r` does."""
    shutil.copytree(bundle, place, dirs_exist_ok=True)


def label(url: str, query: str = "") -> Any:
    answer = post(url, RED, query=query)
    return answer.json()["label"] if answer.status_code == 200 else answer.status_code


def index(url: str) -> dict[str, tuple[str, str]]:
    found = httpx.post(f"{url}/v2/repository/index").json()
    return {f"{it['name']}/{it['version']}": (it["state"], it["reason"]) for it in found}


def ask_for(url: str, name: str, what: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}/v2/repository/models/{name}/{what}", json=body or None, timeout=PATIENCE)


def test_the_first_is_meant_where_none_is_named(bundles: dict[str, Path]) -> None:
    with served(create_app({"b": bundles["two"], "a": bundles["one"]})) as (_, url):
        assert [label(url), label(url, "?model=a"), label(url, "?model=b")] == ["two", "one", "two"]


def test_a_broken_bundle_is_named_with_its_reason_and_the_others_answer(bundles: dict[str, Path]) -> None:
    with served(create_app({"bad": bundles["broken"], "gone": Path("/nowhere"), "good": bundles["one"]})) as (_, url):
        answer = httpx.get(f"{url}/readyz")
        assert (answer.status_code, [it["name"] for it in answer.json()["models"]]) == (200, ["good"])
        broken = {it["name"]: it["error"] for it in answer.json()["broken"]}
        assert broken.keys() == {"bad", "gone"}
        assert "onnxruntime cannot load the model" in broken["bad"]
        assert "/nowhere is not a bundle" in broken["gone"]
        assert index(url)["bad/1"] == ("UNAVAILABLE", broken["bad"])
        assert index(url)["good/1"] == ("READY", "")
        assert [label(url, "?model=good"), label(url, "?model=bad")] == ["one", 503]


def test_the_highest_version_that_can_be_loaded_is_meant(bundles: dict[str, Path]) -> None:
    given = {"m/9": bundles["one"], "m/10": bundles["two"], "m/11": bundles["broken"], "m/old": bundles["three"]}
    with served(create_app(given)) as (_, url):
        assert label(url) == label(url, "?model=m") == "two"
        assert [label(url, f"?model=m&version={it}") for it in ("9", "10", "11", "old", "1")] == [
            "one",
            "two",
            503,
            "three",
            404,
        ]


def test_the_version_that_is_meant_may_be_stated(bundles: dict[str, Path]) -> None:
    given = {"m/1": bundles["one"], "m/2": bundles["two"]}
    with served(create_app(given, default=("m/1",))) as (_, url):
        assert [label(url), label(url, "?model=m&version=2")] == ["one", "two"]


@pytest.mark.parametrize(
    ("given", "changes", "reason"),
    [
        ({"m/1": "one"}, {"default": ("m/2",)}, "--default m/2 is not served"),
        ({"../m": "one"}, {}, "is not the name of a model"),
        ({"m/": "one"}, {}, "is not the name of a model"),
        ({}, {}, "neither"),
        ({"m": "one"}, {"watch": Path()}, "both"),
        ({}, {"watch": Path("/nowhere")}, "is not a folder"),
    ],
)
def test_what_cannot_be_served_is_told_at_once(
    bundles: dict[str, Path], given: dict[str, str], changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConvsmithError, match=reason):
        create_app({name: bundles[key] for name, key in given.items()}, **changes)


def test_a_watched_folder_is_served_as_its_bundles_come_and_go(bundles: dict[str, Path], watched: Path) -> None:
    put(bundles["one"], watched / "run" / "bundle")
    with served(create_app(watch=watched)) as (_, url):
        assert label(url) == "one"
        put(bundles["two"], watched / "photos" / "2")
        wait_until(lambda: label(url, "?model=photos") == "two")
        put(bundles["three"], watched / "photos" / "3")
        wait_until(lambda: label(url, "?model=photos") == "three")
        assert label(url, "?model=photos&version=2") == "two"
        shutil.rmtree(watched / "photos" / "3")
        wait_until(lambda: label(url, "?model=photos") == "two")
        shutil.rmtree(watched / "photos")
        wait_until(lambda: label(url, "?model=photos") == 404)
        assert list(index(url)) == ["run/1"]


def test_a_folder_that_is_empty_yet_is_alive_and_becomes_ready(bundles: dict[str, Path], watched: Path) -> None:
    with served(create_app(watch=watched)) as (_, url):
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(f"{url}/readyz").status_code == label(url) == 503
        put(bundles["one"], watched / "m")
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        assert label(url) == "one"


def test_a_broken_replacement_is_named_and_the_earlier_one_answers_on(bundles: dict[str, Path], watched: Path) -> None:
    put(bundles["one"], watched / "m")
    with served(create_app(watch=watched)) as (_, url):
        put(bundles["broken"], watched / "m")
        wait_until(lambda: "broken" in httpx.get(f"{url}/readyz").json())
        assert (label(url), index(url)["m/1"][0]) == ("one", "READY")
        put(bundles["two"], watched / "m")
        wait_until(lambda: label(url) == "two")
        assert "broken" not in httpx.get(f"{url}/readyz").json()


def test_what_is_not_a_bundle_is_not_served(bundles: dict[str, Path], watched: Path) -> None:
    put(bundles["one"], watched / "m")
    (watched / "notes.txt").write_text("x")
    (watched / "empty").mkdir()
    put(bundles["two"], watched / ".hidden")
    (watched / "copying").mkdir()
    shutil.copy(next(bundles["two"].glob("*.onnx")), watched / "copying")
    with served(create_app(watch=watched)) as (_, url):
        assert list(index(url)) == ["m/1"]


@contextmanager
def asking(url: str) -> Iterator[list[Any]]:
    """The answers to two clients that ask one question after the other for the block; each is a label or a status."""
    answers, ended = list[Any](), threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            while not ended.is_set():
                answer = client.post("/predict", files={"image": ("a.png", RED)})
                answers.append(answer.json()["label"] if answer.status_code == 200 else answer.text)

    with ThreadPoolExecutor(2) as pool, ExitStack() as stack:
        stack.callback(ended.set)
        clients = [pool.submit(ask) for _ in range(2)]
        yield answers
        ended.set()
        for client in clients:
            client.result(PATIENCE)


def swap(url: str, times: int, bundles: dict[str, Path], watched: Path) -> list[Any]:
    """The answers while a bundle is replaced so many times, each time once the one before answers."""
    with asking(url) as answers:
        for number in range(times):
            name = ("two", "one")[number % 2]
            put(bundles[name], watched / "m")
            wait_until(lambda name=name: label(url) == name)  # type: ignore[misc]
    return answers


def test_no_request_is_lost_while_a_bundle_is_replaced(bundles: dict[str, Path], watched: Path) -> None:
    put(bundles["one"], watched / "m")
    with served(create_app(watch=watched)) as (_, url):
        answers = swap(url, 3, bundles, watched)
    assert set(answers) == {"one", "two"}


@pytest.mark.slow
def test_no_request_is_lost_in_fifty_replacements(bundles: dict[str, Path], watched: Path) -> None:
    put(bundles["one"], watched / "m")
    with served(create_app(watch=watched)) as (_, url):
        answers = swap(url, 50, bundles, watched)
    assert set(answers) == {"one", "two"}
    assert len(answers) > 50


def test_no_more_models_are_in_memory_than_may_be_and_each_answers(bundles: dict[str, Path]) -> None:
    app = create_app({name: bundles[name] for name in ("one", "two", "three")}, max_models=2)

    def loaded() -> set[str]:
        return {model.name for model in app.state.service.models if model.bundle}

    with served(app) as (_, url):
        assert loaded() == {"one", "two"}
        assert label(url, "?model=one") == "one"
        assert label(url, "?model=three") == "three"
        assert loaded() == {"one", "three"}  # `two` was not asked for the longest time
        assert label(url, "?model=two") == "two"
        assert loaded() == {"three", "two"}
        assert {state for state, _ in index(url).values()} == {"READY"}
        assert httpx.get(f"{url}/readyz").status_code == 200


def test_a_model_that_made_room_is_listed_as_ready_with_where_it_is(bundles: dict[str, Path]) -> None:
    asleep = ("READY", "not in memory: loaded when it is asked")
    with served(create_app({name: bundles[name] for name in ("one", "two")}, max_models=1)) as (_, url):
        assert index(url) == {"one/1": ("READY", ""), "two/1": asleep}
        assert label(url, "?model=two") == "two"
        assert index(url) == {"one/1": asleep, "two/1": ("READY", "")}


def test_clients_at_once_get_answers_of_models_that_take_turns_in_memory(bundles: dict[str, Path]) -> None:
    names = ["one", "two", "three"] * 6
    app = create_app({it: bundles[it] for it in names[:3]}, max_models=1)
    with served(app) as (_, url), ThreadPoolExecutor(6) as clients:
        assert list(clients.map(lambda name: label(url, f"?model={name}"), names)) == names


def test_clients_may_load_and_unload_where_that_is_allowed(bundles: dict[str, Path], tmp_path: Path) -> None:
    put(bundles["one"], tmp_path / "m")
    with served(create_app({"m": tmp_path / "m", "n": bundles["three"]}, control=True)) as (_, url):
        assert ask_for(url, "m", "unload", parameters={"unload_dependents": False}).status_code == 200
        assert index(url)["m/1"] == ("UNAVAILABLE", "unloaded")
        assert_problem(post(url, RED, query="?model=m"), 404)
        assert httpx.get(f"{url}/readyz").status_code == 200
        put(bundles["two"], tmp_path / "m")
        assert ask_for(url, "m", "load").status_code == 200
        assert label(url, "?model=m") == "two"
        put(bundles["broken"], tmp_path / "m")
        answer = ask_for(url, "m", "load")
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
        assert label(url, "?model=m") == "two"
        assert ask_for(url, "x", "load").status_code == 404


def test_unloading_all_and_failing_to_load_does_not_end_the_server(bundles: dict[str, Path], tmp_path: Path) -> None:
    put(bundles["one"], tmp_path / "m")
    with served(create_app(tmp_path / "m", control=True)) as (_, url):
        assert ask_for(url, "model", "unload").status_code == 200
        assert httpx.get(f"{url}/readyz").status_code == 503
        put(bundles["broken"], tmp_path / "m")
        assert ask_for(url, "model", "load").status_code == 400
        put(bundles["one"], tmp_path / "m")
        assert ask_for(url, "model", "load").status_code == 200
        assert label(url) == "one"


@pytest.mark.parametrize("what", ["load", "unload"])
def test_else_they_may_not(url: str, what: str) -> None:
    answer = ask_for(url, "model", what)
    assert (answer.status_code, list(answer.json())) == (403, ["error"])
    assert label(url) == "red"


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"ready": 1}', b'{"all": true}', b"[" * 5000])
def test_an_index_that_is_not_understood_is_400(url: str, body: bytes) -> None:
    answer = httpx.post(f"{url}/v2/repository/index", content=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_the_index_may_leave_out_what_does_not_answer(bundles: dict[str, Path]) -> None:
    with served(create_app({"bad": bundles["broken"], "good": bundles["one"]})) as (_, url):
        found = httpx.post(f"{url}/v2/repository/index", json={"ready": True}).json()
        assert found == [{"name": "good", "version": "1", "state": "READY", "reason": ""}]


def test_the_command_serves_named_bundles(bundles: dict[str, Path]) -> None:
    words = [f"a={bundles['one']}", f"b/7={bundles['two']}", f"c={bundles['broken']}"]
    with served_by_command(*words) as (process, url):
        assert [label(url), label(url, "?model=b&version=7"), label(url, "?model=c")] == ["one", "two", 503]
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(3)]
        runs = [line[: len("a 1 runs on cpu by onnxruntime")] for line in lines[1:]]
        assert runs == ["a 1 runs on cpu by onnxruntime", "b 7 runs on cpu by onnxruntime"]


def test_the_command_serves_a_watched_folder(bundles: dict[str, Path], tmp_path: Path) -> None:
    put(bundles["one"], tmp_path / "watched" / "m")
    with served_by_command("--watch", tmp_path / "watched") as (_, url):
        assert label(url, "?model=m") == "one"
        put(bundles["two"], tmp_path / "watched" / "m")
        wait_until(lambda: label(url) == "two")


def test_bundles_without_names_are_an_error(bundles: dict[str, Path]) -> None:
    result = run(bundles["one"], bundles["two"])
    assert result.returncode == 2
    assert "NAME=BUNDLE" in result.stderr
