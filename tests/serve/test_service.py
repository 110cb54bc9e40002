"""Readiness, back-pressure and a loop that is never blocked; order is forced by events, not by time."""

from __future__ import annotations

import logging
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path

import httpx
import pytest

from convsmith.bundle.predictor import Bundle, load
from convsmith.errors import ConvsmithError
from convsmith.serve import app, service
from convsmith.serve.app import create_app
from convsmith.serve.service import share_cores
from tests.colours import picture, write_colour_bundle
from tests.serve.held_model import HeldModel
from tests.serve.running import PATIENCE, connect, form, head_of_upload, post, served, wait_until


def ask(clients: ThreadPoolExecutor, url: str) -> Future[httpx.Response]:
    return clients.submit(post, url, picture("red"))


def test_health_is_answered_while_inferences_are_running(
    colour_bundle: Path, model: HeldModel, clients: ThreadPoolExecutor
) -> None:
    with served(create_app(colour_bundle, workers=1, threads=1)) as (_, url):
        answers = [ask(clients, url) for _ in range(3)]
        model.wait_for(1)
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert not any(answer.done() for answer in answers)
        model.release.set()
        assert [answer.result().json()["label"] for answer in answers] == ["red"] * 3


def test_no_more_inferences_run_than_there_are_workers(
    colour_bundle: Path, model: HeldModel, clients: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "available_cores", lambda: 2)
    with served(create_app(colour_bundle, workers=2)) as (_, url):
        answers = [ask(clients, url) for _ in range(6)]
        model.wait_for(2)
        model.release.set()
        assert [answer.result().status_code for answer in answers] == [200] * 6
        assert model.most_running <= 2


def test_more_requests_than_may_wait_are_told_to_come_again(
    colour_bundle: Path, model: HeldModel, clients: ThreadPoolExecutor
) -> None:
    app = create_app(colour_bundle, workers=1, threads=1, max_waiting=1)
    with served(app) as (_, url):
        running = ask(clients, url)
        model.wait_for(1)
        others = [ask(clients, url) for _ in range(3)]
        refused = [other.result() for other in islice(as_completed(others, PATIENCE), 2)]
        assert [answer.status_code for answer in refused] == [503, 503]
        assert [answer.headers["Retry-After"] for answer in refused] == ["1", "1"]
        model.release.set()
        assert running.result().status_code == 200
        assert sorted(other.result().status_code for other in others) == [200, 503, 503]
        assert post(url, picture("red")).status_code == 200


def test_until_the_model_is_loaded_the_server_is_alive_but_not_ready(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def slow_load(path: Path, threads: int, *_: str | None, **__: int) -> Bundle:
        loading.set()
        assert go_on.wait(PATIENCE)
        return load(path, threads)

    monkeypatch.setattr(app, "load", slow_load)
    with served(create_app(colour_bundle), wait=False) as (_, url):
        assert loading.wait(PATIENCE)
        assert httpx.get(f"{url}/healthz").status_code == 200
        for answer in (httpx.get(f"{url}/readyz"), post(url, picture("red"))):
            assert answer.status_code == 503
            assert answer.json()["why"] == "the model is being loaded"
            assert "Retry-After" in answer.headers
        go_on.set()
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        assert post(url, picture("red")).status_code == 200


def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path: Path) -> None:
    app = create_app(write_colour_bundle(tmp_path / "bundle", labels=("one", "two")))
    with served(app, wait=False) as (server, _):
        wait_until(lambda: app.state.service.stopping)
        assert not server.should_exit  # nobody asked for it
    assert isinstance(app.state.service.models.failure, ConvsmithError)


def test_while_it_stops_the_server_refuses_new_work_and_finishes_the_old(
    colour_bundle: Path, model: HeldModel, clients: ThreadPoolExecutor
) -> None:
    app = create_app(colour_bundle, workers=1, threads=1)
    with served(app) as (server, url):
        running = ask(clients, url)
        model.wait_for(1)
        server.should_exit = True
        wait_until(lambda: app.state.service.stopping)
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(f"{url}/readyz").json()["why"] == "the server is stopping"
        refused = post(url, picture("red"))
        assert (refused.status_code, refused.headers["Connection"]) == (503, "close")
        model.release.set()
        assert running.result().status_code == 200


def test_while_it_drains_the_server_takes_new_work_and_sends_connections_away(colour_bundle: Path) -> None:
    with served(create_app(colour_bundle), drain_seconds=PATIENCE) as (server, url):
        assert "Connection" not in post(url, picture("red")).headers
        server.should_exit = True
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 503)
        for answer in (post(url, picture("red")), httpx.get(f"{url}/healthz")):
            assert (answer.status_code, answer.headers["Connection"]) == (200, "close")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_load_balancer_sees_it_ready_after_a_signal(colour_bundle: Path, number: signal.Signals) -> None:
    app = create_app(colour_bundle)
    with served(app, drain_seconds=PATIENCE) as (server, url):
        assert httpx.get(f"{url}/readyz").status_code == 200
        server.handle_exit(number, None)
        assert app.state.service.leaving


def test_what_a_client_that_has_left_asked_for_is_not_predicted(
    colour_bundle: Path, model: HeldModel, clients: ThreadPoolExecutor
) -> None:
    app = create_app(colour_bundle, workers=1, threads=1)
    with served(app) as (_, url):
        running = ask(clients, url)
        model.wait_for(1)
        body = form(picture("blue"))
        with connect(url) as leaving:
            leaving.sendall(head_of_upload(f"Content-Length: {len(body)}") + body)
            wait_until(lambda: app.state.service.active == 2)
        wait_until(lambda: app.state.service.active == 1)
        staying = ask(clients, url)
        model.release.set()
        assert [running.result().status_code, staying.result().status_code] == [200, 200]
        model.wait_for(1)
        assert not model.started.acquire(blocking=False)


def test_an_unexpected_error_is_logged_and_answered_without_its_traceback(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    with served(create_app(colour_bundle)) as (_, url):
        logging.getLogger("uvicorn.error").addHandler(handler)
        monkeypatch.setattr(Bundle, "logits", lambda *_: 1 / 0)
        answer = post(url, picture("red"))
    logging.getLogger("uvicorn.error").removeHandler(handler)  # it logs once it has answered
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal error", "why": "it was logged by the server", "fix": ""}
    assert [record.exc_info[0] for record in records if record.exc_info] == [ZeroDivisionError]


@pytest.mark.parametrize(
    ("workers", "threads", "cores", "expected"),
    [
        (None, None, 1, (1, 1)),
        (None, None, 2, (2, 1)),
        (None, None, 16, (4, 4)),
        (None, None, 6, (4, 1)),
        (2, None, 8, (2, 4)),
        (None, 8, 8, (1, 8)),
        (None, 3, 8, (2, 3)),
        (8, 1, 8, (8, 1)),
    ],
)
def test_workers_and_threads_share_the_cores(
    workers: int | None, threads: int | None, cores: int, expected: tuple[int, int]
) -> None:
    assert share_cores(workers, threads, cores) == expected


@pytest.mark.parametrize(("workers", "threads"), [(3, None), (None, 3), (2, 2)])
def test_more_threads_than_cores_are_refused(workers: int | None, threads: int | None) -> None:
    with pytest.raises(ConvsmithError, match="this process may use 2"):
        share_cores(workers, threads, cores=2)
