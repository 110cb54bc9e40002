"""Images that wait run together where that pays; each gets the answer that it gets alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.bundle.images.image_error import NoAnswer
from convsmith.bundle.predictor import Bundle, load
from convsmith.serve import lanes
from convsmith.serve.asked import Asked
from convsmith.serve.batch_trial import Batches
from convsmith.serve.lanes import Lanes
from convsmith.serve.models import Model
from convsmith.serve.problems import Problem
from tests.serve.running import PATIENCE, wait_until


class HeldBundles:
    """Lets runs of models begin one at a time, and knows how many images each had."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: list[int] = []
        self.started, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        predict = Bundle.predict_together

        def held(bundle: Bundle, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> Any:
            self.runs.append(len(images))
            self.started.release()
            assert self.go_on.acquire(timeout=PATIENCE)
            return predict(bundle, images, names)

        monkeypatch.setattr(Bundle, "predict_together", held)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldBundles:
    return HeldBundles(monkeypatch)


@pytest.fixture
def bundle(colour_bundle: Path) -> Bundle:
    return load(colour_bundle, 1)


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def lanes_of(bundles: Sequence[Bundle], monkeypatch: pytest.MonkeyPatch, max_delay: float = 0.0) -> Lanes:
    """One lane, where batches of up to four pay."""
    monkeypatch.setattr(lanes, "try_batches", lambda *_: Batches(4))
    made = Lanes(1, 4, max_delay)
    for bundle in bundles:
        made.add(bundle)
    return made


def question(bundle: Bundle, value: int = 0, name: str = "image") -> Asked:
    """A preprocessed image that is red so far."""
    asked = Asked(Model("model", "1", bundle.path), bundle, "client", name)
    asked.pixels = np.zeros((3, 8, 8), np.uint8)
    asked.pixels[0] = value
    return asked


def ask(clients: ThreadPoolExecutor, made: Lanes, questions: Sequence[Asked]) -> list[Future[None]]:
    """Ask one after the other."""
    answers = []
    for count, asked in enumerate(questions, start=len(made._waiting) + 1):
        answers.append(clients.submit(made.answer, asked))
        wait_until(lambda count=count: len(made._waiting) == count)  # type: ignore[misc]
    return answers


def begin(clients: ThreadPoolExecutor, made: Lanes, held: HeldBundles, asked: Asked) -> Future[None]:
    """Ask what takes the lane."""
    answer = clients.submit(made.answer, asked)
    assert held.started.acquire(timeout=PATIENCE)
    return answer


def test_images_that_wait_run_together_as_many_as_may(
    bundle: Bundle, clients: ThreadPoolExecutor, held: HeldBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lanes_of([bundle], monkeypatch)
    questions = [question(bundle, value) for value in range(7)]
    answers = [begin(clients, made, held, questions[0]), *ask(clients, made, questions[1:])]
    held.go_on.release(3)
    assert [answer.result(PATIENCE) for answer in answers] == [None] * 7
    assert held.runs == [1, 4, 2]
    assert [asked.batch for asked in questions] == [1, 4, 4, 4, 4, 2, 2]


def test_each_of_a_batch_gets_the_answer_that_it_gets_alone(
    bundle: Bundle, clients: ThreadPoolExecutor, held: HeldBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lanes_of([bundle], monkeypatch)
    questions = [question(bundle, value) for value in (200, 100, 0)]
    answers = [begin(clients, made, held, question(bundle)), *ask(clients, made, questions)]
    held.go_on.release(5)
    for answer in answers:
        answer.result(PATIENCE)
    for asked in questions:
        assert asked.pixels is not None
        alone, together = bundle.predict_preprocessed(asked.pixels), asked.answer
        assert np.array_equal(alone.logits, together.logits)  # type: ignore[attr-defined,union-attr]


def test_images_of_two_models_never_run_together(
    bundle: Bundle, colour_bundle: Path, clients: ThreadPoolExecutor, held: HeldBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = load(colour_bundle, 1)
    made = lanes_of([bundle, other], monkeypatch)
    questions = [question(it) for it in (bundle, other, bundle, other)]
    answers = [begin(clients, made, held, question(bundle)), *ask(clients, made, questions)]
    held.go_on.release(3)
    for answer in answers:
        answer.result(PATIENCE)
    assert held.runs == [1, 2, 2]


def test_a_model_for_which_batches_do_not_pay_runs_on_one_image(
    bundle: Bundle, clients: ThreadPoolExecutor, held: HeldBundles
) -> None:
    made = Lanes(1, 4)
    answers = [begin(clients, made, held, question(bundle)), *ask(clients, made, [question(bundle)] * 2)]
    held.go_on.release(3)
    for answer in answers:
        answer.result(PATIENCE)
    assert held.runs == [1, 1, 1]


def test_what_was_given_up_is_not_run(
    bundle: Bundle, clients: ThreadPoolExecutor, held: HeldBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lanes_of([bundle], monkeypatch)
    questions = [question(bundle) for _ in range(3)]
    first, *answers = [begin(clients, made, held, question(bundle)), *ask(clients, made, questions)]
    questions[1].given_up = True
    held.go_on.release(2)
    first.result(PATIENCE)
    with pytest.raises(Problem):
        answers[1].result(PATIENCE)
    assert [answers[0].result(PATIENCE), answers[2].result(PATIENCE)] == [None, None]
    assert held.runs == [1, 2]


def test_another_run_of_a_model_waits_for_its_lane_and_is_not_begun_once_it_is_given_up(
    bundle: Bundle, clients: ThreadPoolExecutor, held: HeldBundles
) -> None:
    made = Lanes(1)
    first = begin(clients, made, held, question(bundle))
    wanted, unwanted = question(bundle), question(bundle)
    answer = clients.submit(made.run, wanted, lambda: "found")
    given_up = clients.submit(made.run, unwanted, lambda: "found")
    unwanted.given_up = True
    assert not answer.done()
    held.go_on.release()
    first.result(PATIENCE)
    assert answer.result(PATIENCE) == "found"
    with pytest.raises(Problem):
        given_up.result(PATIENCE)
    assert set(wanted.seconds) == {"queue", "inference"}
    assert unwanted.seconds == {}


def test_an_image_without_an_answer_fails_alone(
    bundle_without_answer_on_white: Path,
    clients: ThreadPoolExecutor,
    held: HeldBundles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle: Bundle = load(bundle_without_answer_on_white, 1)
    if not bundle.task.one_size:
        pytest.skip("its images come one by one")
    made = lanes_of([bundle], monkeypatch)
    questions = [question(bundle), question(bundle, name="white"), question(bundle)]
    assert questions[1].pixels is not None
    questions[1].pixels[:] = 255
    first, *answers = [begin(clients, made, held, question(bundle)), *ask(clients, made, questions)]
    held.go_on.release(2)
    first.result(PATIENCE)
    with pytest.raises(NoAnswer, match="white"):
        answers[1].result(PATIENCE)
    assert [answers[0].result(PATIENCE), answers[2].result(PATIENCE)] == [None, None]


def test_what_goes_wrong_reaches_all_of_the_batch_and_the_next_one_runs(
    bundle: Bundle, clients: ThreadPoolExecutor, held: HeldBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lanes_of([bundle], monkeypatch)
    wrong = [question(bundle), question(bundle)]
    wrong[0].pixels = np.zeros((3, 9, 9), np.uint8)  # of another size than its neighbour
    answers = [begin(clients, made, held, question(bundle)), *ask(clients, made, wrong)]
    held.go_on.release(3)
    answers[0].result(PATIENCE)
    for answer in answers[1:]:
        with pytest.raises(ValueError, match="shape"):
            answer.result(PATIENCE)
    made.answer(question(bundle))


def test_a_batch_waits_for_more_images_as_long_as_it_may(
    bundle: Bundle, clients: ThreadPoolExecutor, held: HeldBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lanes_of([bundle], monkeypatch, max_delay=PATIENCE)
    answers = [clients.submit(made.answer, question(bundle)) for _ in range(4)]
    held.go_on.release()
    for answer in answers:
        answer.result(PATIENCE / 2)
    assert held.runs == [4]


def test_a_batch_waits_for_a_fraction_of_a_second_too(
    bundle: Bundle, clients: ThreadPoolExecutor, held: HeldBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.perf_counter()  # no time passes, so only a full batch is due
    monkeypatch.setattr(lanes, "time", SimpleNamespace(perf_counter=lambda: now))
    made = lanes_of([bundle], monkeypatch, max_delay=0.5)
    answers = ask(clients, made, [question(bundle) for _ in range(3)])
    answers.append(clients.submit(made.answer, question(bundle)))
    held.go_on.release(4)
    for answer in answers:
        answer.result(PATIENCE / 2)
    assert held.runs == [4]
