"""What asks a run to stop."""

from __future__ import annotations

import signal

import pytest

from convsmith.training.signals import StopNow, StopRequest
from tests.data.test_processes import wait_until


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_is_only_taken_note_of(number: signal.Signals) -> None:
    with StopRequest() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop.signal == number


def test_a_signal_is_told_at_once_because_what_is_under_way_may_take_long(caplog: pytest.LogCaptureFixture) -> None:
    with StopRequest():
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.raise_signal(number)
        wait_until(lambda: "the training stops as soon as" in caplog.text)
    assert [it.getMessage() for it in caplog.records] == [
        "SIGUSR1: the training stops as soon as it has saved what is done"
    ]


def test_the_first_signal_counts_because_it_says_whether_to_queue_again() -> None:
    with StopRequest() as stop:
        for number in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGTERM):
            signal.raise_signal(number)
        assert stop.signal == signal.SIGUSR1


def test_a_second_ctrl_c_acts_as_usual_for_those_who_cannot_wait() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with StopRequest():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop
    finally:
        signal.signal(signal.SIGHUP, before)


def test_where_nothing_is_lost_a_signal_ends_the_block_at_once() -> None:
    with StopRequest() as stop:
        with pytest.raises(StopNow), stop.at_once():
            signal.raise_signal(signal.SIGTERM)
        assert stop.signal == signal.SIGTERM


def test_a_signal_that_came_before_ends_the_block_too() -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(StopNow), stop.at_once():
            pytest.fail("the block is not entered")


def test_after_the_block_a_signal_is_only_taken_note_of() -> None:
    with StopRequest() as stop:
        with stop.at_once():
            pass
        signal.raise_signal(signal.SIGUSR1)
        assert stop.signal == signal.SIGUSR1
