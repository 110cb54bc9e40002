"""What would wait too long is refused at once; what its client has stopped waiting for is not computed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from convsmith.bundle.predictor import load
from convsmith.serve.app import create_app
from convsmith.serve.asked import Asked
from convsmith.serve.models import Model
from convsmith.serve.waiting import Waiting
from tests.colours import picture
from tests.serve.held_model import HeldModel
from tests.serve.running import PATIENCE, connect, head_of_upload, post, read_answer, served, wait_until


def answered(bundle: Path, seconds: float, batch: int = 1) -> Asked:
    """A question whose inference took so long."""
    asked = Asked(Model("model", "1", bundle), load(bundle, 1), "client", batch=batch)
    asked.seconds = {"queue": 99.0, "preprocess": 0.0, "inference": seconds, "answer": 0.0}
    return asked


def test_the_expected_wait_is_that_of_all_before_it(colour_bundle: Path) -> None:
    waiting = Waiting(workers=2)
    assert waiting.expected(100) == 0
    waiting.note(answered(colour_bundle, 3.0))
    assert [waiting.expected(active) for active in (0, 1, 2, 5)] == [0, 0, 1.5, 6.0]


def test_images_of_a_batch_share_its_time(colour_bundle: Path) -> None:
    waiting = Waiting(workers=1)
    waiting.note(answered(colour_bundle, 3.0, batch=3))
    assert waiting.expected(2) == 2.0


def test_a_question_without_an_answer_changes_no_expectation(colour_bundle: Path) -> None:
    waiting = Waiting(workers=1)
    waiting.note(answered(colour_bundle, 3.0))
    refused = answered(colour_bundle, 3.0)
    refused.seconds = {"queue": 1.0, "preprocess": 1.0}
    waiting.note(refused)
    assert waiting.expected(1) == 3.0


def test_a_request_that_would_wait_too_long_is_told_when_to_come(
    colour_bundle: Path, model: HeldModel, clients: ThreadPoolExecutor
) -> None:
    app = create_app(colour_bundle, workers=1, threads=1, max_wait=5)
    with served(app) as (_, url):
        app.state.service._waiting.note(answered(colour_bundle, 2.4))
        first = [clients.submit(post, url, picture("red")) for _ in range(3)]
        wait_until(lambda: app.state.service.active == 3)  # the next one would wait for 7.2 seconds
        refused = post(url, picture("red"))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "8")
        assert refused.json()["fix"] == "Try again in 8 seconds."
        assert httpx.get(f"{url}/readyz").status_code == 503
        model.release.set()
        assert [answer.result().status_code for answer in first] == [200] * 3
        assert post(url, picture("red")).status_code == 200


def test_a_request_that_finds_a_worker_free_is_never_refused(colour_bundle: Path) -> None:
    app = create_app(colour_bundle, workers=1, threads=1, max_wait=0)
    with served(app) as (_, url):
        app.state.service._waiting.note(answered(colour_bundle, 1000.0))
        assert post(url, picture("red")).status_code == 200


def ask_within(url: str, seconds: str) -> httpx.Response:
    return httpx.post(
        f"{url}/predict", files={"image": picture("red")}, headers={"X-Request-Timeout": seconds}, timeout=PATIENCE
    )


def test_a_request_whose_deadline_has_passed_is_504_and_not_computed(
    colour_bundle: Path, model: HeldModel, clients: ThreadPoolExecutor
) -> None:
    app = create_app(colour_bundle, workers=1, threads=1)
    statuses: list[int | None] = []
    app.state.service.watchers.append(lambda asked, _: statuses.append(asked.status))
    with served(app) as (_, url):
        running = clients.submit(post, url, picture("red"))
        model.wait_for(1)
        late = [clients.submit(ask_within, url, "0.1") for _ in range(3)]
        for answer in late:
            assert answer.result().status_code == 504
            assert answer.result().json()["why"] == "X-Request-Timeout is 0.1 seconds"
        assert app.state.service.active == 1
        staying = clients.submit(post, url, picture("red"))
        model.release.set()
        assert [running.result().status_code, staying.result().status_code] == [200, 200]
        model.wait_for(1)
        assert not model.started.acquire(blocking=False)
    assert sorted(statuses, key=str) == [200, 200, 504, 504, 504]


def test_a_deadline_that_holds_changes_nothing(url: str) -> None:
    assert ask_within(url, str(PATIENCE)).json()["label"] == "red"


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "inf", "1e9", ""])
def test_a_deadline_that_is_no_such_number_is_422(url: str, seconds: str) -> None:
    answer = ask_within(url, seconds)
    assert answer.status_code == 422
    assert answer.json()["error"] == "x-request-timeout is not valid"


def test_an_upload_that_comes_too_late_is_504(colour_bundle: Path) -> None:
    with served(create_app(colour_bundle)) as (_, url), connect(url) as client:
        client.sendall(head_of_upload("Content-Length: 1000", "X-Request-Timeout: 0.1") + b"--b")
        assert read_answer(client)[0] == 504
