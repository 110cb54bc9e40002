"""The limits of a server, and the times by which it lets clients wait, by a clock that only the test moves."""

from __future__ import annotations

import logging
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convsmith.errors import ConvsmithError
from convsmith.serve import metrics, rates, refusals, turns
from convsmith.serve.access_log import log_request
from convsmith.serve.announcement import announcement, url
from convsmith.serve.answers import accepted
from convsmith.serve.body import IN_MEMORY, UPLOAD, memory_for
from convsmith.serve.browsers import add_usual_headers, check_origins
from convsmith.serve.exchange import LINGER
from convsmith.serve.log import LOGGING, Calm
from convsmith.serve.places import Key
from convsmith.serve.problems import Problem, in_a_line, unavailable
from convsmith.serve.proxies import check_proxies, check_root_path
from convsmith.serve.rates import Rates
from convsmith.serve.refusals import Refusals
from convsmith.serve.request_record import RequestRecord, time_text
from convsmith.serve.sent import Sent, check_number
from convsmith.serve.settings import Settings
from convsmith.serve.uploads import MOST
from convsmith.serve.waiting import Waiting


class Clock:
    """Time in place of that of a module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_what_a_server_takes_where_nothing_is_said() -> None:
    assert asdict(Settings()) == {
        "max_bytes": 20_000_000, "workers": None, "threads": None, "max_waiting": 128, "max_wait": 10.0,
        "max_images": 16, "allow_urls": (), "max_batch": 8, "max_delay": 0.0, "watch": None, "default": (),
        "max_models": None, "control": False, "grpc": None, "max_pixels": None, "device": "auto", "runtime": None,
        "access_log": "text", "sample": None, "sample_dir": None, "sample_max_files": 10_000,
        "sample_max_bytes": 1_000_000_000, "token_file": None, "rate": None, "cors_origins": (), "certfile": None,
        "keyfile": None, "root_path": "", "forwarded_allow_ips": (),
    }  # fmt: skip


def test_a_body_has_its_pace_and_a_megabyte_of_memory() -> None:
    assert (UPLOAD, LINGER) == ((10, 1000, 60), (2, 100_000, 30))
    assert (IN_MEMORY, memory_for(5), MOST) == (1_048_576, 1_048_576, 128)


def test_histograms_have_buckets_that_rise() -> None:
    assert metrics.SECONDS == (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
    assert tuple(2**power for power in range(8)) == metrics._BATCHES
    assert metrics._DISTANCES == (
        0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.5,
    )  # fmt: skip


def test_so_many_requests_may_come_at_once_and_then_one_in_each_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, limit = Clock(monkeypatch, rates), Rates("4/m")
    assert [limit.seconds_to_wait("a") for _ in range(6)] == [0, 0, 0, 0, 15, 15]
    assert limit.seconds_to_wait("b") == 0
    clock.now += 15
    assert [limit.seconds_to_wait("a") for _ in range(2)] == [0, 15]
    clock.now += 3600
    assert [limit.seconds_to_wait("a") for _ in range(5)] == [0, 0, 0, 0, 15]


@pytest.mark.parametrize(("rate", "seconds"), [("1/s", 1), ("1/m", 60), ("1/h", 3600), ("999999/h", 0.0)])
def test_a_rate_is_by_the_second_the_minute_or_the_hour(
    monkeypatch: pytest.MonkeyPatch, rate: str, seconds: float
) -> None:
    Clock(monkeypatch, rates)
    limit = Rates(rate)
    assert [limit.seconds_to_wait("a") for _ in range(2)] == [0, seconds]


@pytest.mark.parametrize("rate", ["0/s", "1/d", "1", "1000000/s", "-1/s"])
def test_what_is_no_rate_is_refused(rate: str) -> None:
    with pytest.raises(ConvsmithError, match=f"--rate is `{rate}`"):
        Rates(rate)


def test_clients_of_one_ipv6_network_are_one_and_those_that_are_forgotten_begin_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, limit = Clock(monkeypatch, rates), Rates("1/m")
    assert limit.seconds_to_wait("2001:db8::1") == 0
    assert limit.seconds_to_wait("2001:db8::ffff%eth0") == 60
    assert limit.seconds_to_wait("2001:db8:0:1::1") == 0
    assert [limit.seconds_to_wait("no:address") for _ in range(2)] == [0, 60]
    monkeypatch.setattr(rates, "_MOST_CLIENTS", 2)
    limit = Rates("1/m")
    assert [limit.seconds_to_wait(it) for it in "ab"] == [0, 0]
    clock.now += 10
    assert [limit.seconds_to_wait(it) for it in "ba"] == [50, 50]
    assert limit.seconds_to_wait("c") == 0  # now three ask at once, and b has not for the longest
    assert [limit.seconds_to_wait(it) for it in "cb"] == [60, 0]


def test_refusals_come_twenty_at_once_and_then_later_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, refused = Clock(monkeypatch, refusals), Refusals()
    waits = [refused.seconds_to_wait("a") for _ in range(40)]
    assert waits == pytest.approx([*[0.0] * 20, *(0.2 * n for n in range(1, 11)), *[2.0] * 10])
    assert refused.seconds_to_wait("b") == 0
    clock.now += 2
    assert refused.seconds_to_wait("a") == pytest.approx(0.2)
    monkeypatch.setattr(refusals, "_MOST_CLIENTS", 2)
    clock.now += 100
    assert refused.seconds_to_wait("c") == 0
    assert list(refused._due) == ["c"]


def asked(batch: int = 1, **seconds: float) -> Any:
    return SimpleNamespace(seconds=seconds, batch=batch)


def test_one_more_waits_as_long_as_those_ahead_of_it_take_all_workers() -> None:
    waiting = Waiting(2)
    assert waiting.expected(9) == 0
    waiting.note(asked(queue=100.0))
    assert waiting.expected(9) == 0
    waiting.note(asked(batch=4, queue=9.0, preprocess=1.0, inference=2.0, answer=0.5))
    assert [waiting.expected(active) for active in (0, 1, 2, 3)] == [0, 0, 1, 2]
    waiting.note(asked(inference=12.0))
    assert waiting.expected(2) == pytest.approx((0.9 * 2 + 0.1 * 12) / 2)


def test_a_small_image_is_due_before_a_large_one_that_came_first() -> None:
    queue = turns._Queue()
    assert queue.due(100.0, 1.0, is_large=True) == 104
    queue.turns += [SimpleNamespace(seconds=1.0, is_large=True), SimpleNamespace(seconds=0.5, is_large=False)]  # type: ignore[list-item]
    assert queue.due(100.0, 0.25, is_large=False) == 103
    assert queue.due(100.0, 1.0, is_large=True) == 110
    assert queue.due(90.0, 0.25, is_large=False) == 103  # none overtakes another of its kind
    assert (turns.MUCH, turns._PATIENCE, turns._SECONDS_OF_MODEL, turns._SECONDS_OF_PIXEL) == (1_000_000, 4, 0.02, 4e-8)


@pytest.mark.parametrize(
    ("seconds", "said", "header"),
    [(0.0, "in a moment", "1"), (1.0, "in a moment", "1"), (1.1, "in 2 seconds", "2"), (9.0, "in 9 seconds", "9")],
)
def test_a_server_that_is_not_ready_says_when_to_come_again(seconds: float, said: str, header: str) -> None:
    problem = unavailable("busy", seconds)
    assert (problem.status, problem.headers) == (503, {"Retry-After": header})
    assert in_a_line(problem.body) == f"not ready: busy. Try again {said}."


def test_a_problem_in_a_line_has_as_much_as_is_known_and_a_thousand_letters_of_each() -> None:
    said = [in_a_line(Problem(400, *words).body) for words in (("a",), ("a", "b"), ("a", "", "C."), ("a", "b", "C."))]
    assert said == ["a", "a: b", "a. C.", "a: b. C."]
    assert len(Problem(400, "x" * 1001).body.error) == 1000


def test_an_image_has_the_name_that_it_came_with_or_its_number() -> None:
    file: Any = None
    assert Sent.named("", 3, file).name == "images[3]"
    assert Sent.named("x" * 256, 0, file).name == "x" * 255
    check_number(2, 2)
    with pytest.raises(Problem, match="too many images"):
        check_number(3, 2)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "a/json"),
        ("*/*", "a/json"),
        ("image/png;q=0.5, image/jpeg;q=0.6", "image/jpeg"),
        ("image/*;q=0.9, a/json;q=0.8", "image/png"),
        ("image/png;q=nan, */*;q=0.1", "a/json"),
        ("image/png;q=7, image/jpeg", "image/png"),
        ("image/png; level=1; q=0.1, image/jpeg;q=0.05", "image/png"),
        ("a/json;q=-1, image/jpeg;q=0.001", "image/jpeg"),
    ],
)
def test_the_kind_that_is_liked_best_is_answered(accept: str, kind: str) -> None:
    assert accepted(accept, ("a/json", "image/png", "image/jpeg")) == kind


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "image/png;q=x"])
def test_what_there_is_not_is_406(accept: str) -> None:
    with pytest.raises(Problem) as problem:
        accepted(accept, ("image/png", "image/jpeg")[:1])
    assert (problem.value.status, problem.value.body.fix) == (406, "Ask for image/png.")


def test_versions_are_in_the_order_of_their_numbers_above_words() -> None:
    texts = ["b/2", "a/10", "a/9", "a/x", "a", "a/010"]
    assert sorted(map(Key.parse, texts), key=lambda it: it.order) == [
        ("a", "x"), ("a", "1"), ("a", "9"), ("a", "010"), ("a", "10"), ("b", "2"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "/1", "a/", "a/b/c", "-a", "a b", "a" * 101, "a/" + "1" * 101])
def test_what_is_no_name_of_a_model_is_refused(text: str) -> None:
    with pytest.raises(ConvsmithError, match="is not the name of a model"):
        Key.parse(text)
    assert Key.parse("a" * 100) == ("a" * 100, "1")


def test_browsers_keep_and_embed_nothing_unless_an_answer_says_so() -> None:
    from starlette.datastructures import MutableHeaders

    headers = MutableHeaders({"Cache-Control": "max-age=9"})
    add_usual_headers(headers)
    assert headers["cache-control"] == "max-age=9"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    "origin", ["*", "example.org", "https://a.org/", "https://a.org:123456", "ftp://a.org", "null"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    check_origins(["https://a.org", "http://localhost:5173", "http://[::1]:80"])
    with pytest.raises(ConvsmithError, match="is not an origin"):
        check_origins([origin])


@pytest.mark.parametrize("path", ["photos", "/photos/", "/a//b", "/é", "/"])
def test_what_is_no_beginning_of_a_path_is_refused(path: str) -> None:
    check_root_path("")
    check_root_path("/a/b")
    with pytest.raises(ConvsmithError, match="--root-path is"):
        check_root_path(path)


def test_what_is_no_proxy_is_refused() -> None:
    check_proxies(["10.0.0.7", "10.1.0.0/16", "::1"])
    with pytest.raises(ConvsmithError, match=r"`10\.1\.0\.1/16` is not the address of a proxy"):
        check_proxies(["::1", "10.1.0.1/16"])


def record(message: str, line: int, created: float, level: int = logging.WARNING, error: Any = None) -> Any:
    made = logging.LogRecord("x", level, "file", line, message, (), error and (error, error(), None))
    made.created = created
    return made


def test_one_warning_of_a_kind_is_printed_each_second_and_the_others_are_counted() -> None:
    import asyncio

    calm = Calm()
    assert [calm.filter(record("a", 1, at)) for at in (0.0, 0.5, 0.99)] == [True, False, False]
    assert calm.filter(record("b", 2, 0.5))
    assert calm.filter(record("a", 1, 0.5, error=ValueError))
    later = record("a\n", 1, 1.0)
    assert calm.filter(later)
    assert later.getMessage() == "a (and 2 more)"
    again = record("a", 1, 2.0)
    assert calm.filter(again)
    assert again.getMessage() == "a"
    assert all(calm.filter(record("i", 3, 0.0, logging.INFO)) for _ in range(2))
    assert not calm.filter(record("c", 4, 0.0, error=asyncio.CancelledError))


def test_what_libraries_log_is_not_printed_twice() -> None:
    for name in ("convsmith.access", "asyncio", "python_multipart"):
        assert LOGGING["loggers"][name]["propagate"] is False


AT = "2026-01-02T03:04:05.678Z 10.0.0.1"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, f'{AT} "POST /predict" 200 12.3 ms model/1 id'),
        ({"model": None, "method": "", "path": "", "status": 400}, f'{AT} "not HTTP" 400 12.3 ms id'),
        ({"path": '/\x7f"' + "x" * 200}, f'{AT} "POST /\\u007f\\"{"x" * 97}" 200 12.3 ms model/1 id'),
    ],
)
def test_a_request_is_a_line_of_text(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], line: str) -> None:
    values: dict[str, Any] = {
        "id": "id", "client": "10.0.0.1", "method": "POST", "path": "/predict", "status": 200, "seconds": 0.01234,
        "model": SimpleNamespace(name="model", version="1"), "began": 1_767_323_045_678_000_000,
    }  # fmt: skip
    lines = list[str]()
    monkeypatch.setattr(logging.getLogger("convsmith.access"), "info", lambda form, it: lines.append(form % it))
    log_request("text")(RequestRecord(**(values | changes)))
    log_request("off")(RequestRecord(**(values | changes)))
    assert lines == [line]


def test_the_stages_of_a_request_are_those_of_all_its_images() -> None:
    made = RequestRecord(asked=[asked(queue=1.0, inference=2.0), asked(queue=4.0)])
    assert made.stages() == {"queue": 5.0, "inference": 2.0}
    assert time_text(0.0625) == "1970-01-01T00:00:00.062Z"
    assert made.status == 499


def service(settings: Settings, *bundles: Any, grpc_port: int = 0, why: str = "") -> Any:
    models = [SimpleNamespace(name=name, version="2", bundle=bundle) for name, bundle in bundles]
    lanes = SimpleNamespace(batches=lambda _: SimpleNamespace(why=why))
    return SimpleNamespace(settings=settings, models=models, lanes=lanes, grpc_port=grpc_port)


def bundle(labels: int = 3, place: bool = True, reference: bool = True) -> Any:
    return SimpleNamespace(
        path="runs/a", labels=[""] * labels, manifest=SimpleNamespace(reference=reference or None, distance=None),
        place=SimpleNamespace(device="cpu", runtime="onnxruntime") if place else None,
    )  # fmt: skip


def test_a_server_says_what_it_serves_where_and_how_it_is_asked() -> None:
    from pathlib import Path

    plain = announcement(service(Settings(), ("model", bundle()), ("none", None), why="one by one"), "127.0.0.1", 80)
    assert plain.splitlines() == [
        "Serving runs/a (3 classes) at http://127.0.0.1:80, until Ctrl-C. Try:",
        "  curl -F image=@photo.jpg http://127.0.0.1:80/predict",
        "The model runs on cpu by onnxruntime; one by one.",
    ]
    secure = Settings(certfile=Path("c"), token_file=Path("t"), watch=Path("w"))
    two = service(secure, ("a", bundle()), ("b", bundle(place=False, reference=False)), grpc_port=9)
    assert announcement(two, "::", 443).splitlines() == [
        "Serving w (2 models now) at https://[::]:443, until Ctrl-C. Try:",
        '  curl -H "Authorization: Bearer $TOKEN" -F image=@photo.jpg https://[::1]:443/predict',
        "gRPC is answered at port 9.",
        "a 2 runs on cpu by onnxruntime.",
        "b 2 runs. Its bundle has no reference, so drift is not measured.",
    ]
    assert "http://127.0.0.1:1/predict" in announcement(service(Settings(), ("a", bundle())), "0.0.0.0", 1)
    assert url("::1", 80) == "http://[::1]:80"


def test_a_window_forgets_the_oldest_image(monkeypatch: pytest.MonkeyPatch) -> None:
    from convsmith.bundle.reference import Histogram, Reference
    from convsmith.bundle.task import find_task
    from convsmith.serve import drift

    assert (drift.WINDOW, drift.FEWEST) == (1000, 200)
    monkeypatch.setattr(drift, "WINDOW", 2)
    reference = Reference(images=9, classes=(4.0, 5.0), brightness=Histogram(edges=(0.5,), counts=(4.0, 5.0)))
    manifest = SimpleNamespace(reference=reference, distance=None)
    one: Any = SimpleNamespace(manifest=manifest, task=find_task("classification"))
    monkeypatch.setattr(type(one.task), "shares", lambda _, answer: np.eye(2)[answer.label])
    monkeypatch.setattr(type(one.task), "certainty", lambda *_: None)
    window = drift.Window(one)
    for label, light in ((0, 0), (1, 255), (1, 0)):
        answer = SimpleNamespace(label=label, distance=None)
        window.add(SimpleNamespace(answer=answer, pixels=np.full((3, 4, 4), light, np.uint8)))  # type: ignore[arg-type]
    assert {kind: counts.tolist() for kind, counts in window.counts.items()} == {
        "brightness": [1.0, 1.0], "class": [0.0, 2.0],
    }  # fmt: skip
    window.add(SimpleNamespace(answer=SimpleNamespace(label=0, distance=None), pixels=None))  # type: ignore[arg-type]
    assert window.counts["brightness"].tolist() == [1.0, 0.0]
