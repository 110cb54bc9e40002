"""Which of several reasons the user is told."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from convsmith.errors import ConvsmithError
from convsmith.launch.local import _failed
from convsmith.launch.report import FOLDER_VARIABLE, PEER_LOST, Report, report, reports

LOST = Report(0, 1.0, PEER_LOST, "another process has ended")
STOPPED = Report(0, 1.0, 143, "stopped by SIGTERM")
USERS = Report(1, 2.0, 2, "the disk is full")


def test_a_users_error_counts_before_what_follows_from_it() -> None:
    chosen = _failed([LOST, USERS], {0: PEER_LOST, 1: 2})
    assert (str(chosen), chosen.exit_code) == ("the disk is full", 2)


def test_a_process_that_died_without_a_word_counts_before_its_peers() -> None:
    chosen = _failed([LOST], {0: PEER_LOST, 1: -signal.SIGKILL})
    assert str(chosen).startswith("process 1 was ended by SIGKILL")
    assert chosen.exit_code == 137


def test_a_process_that_failed_with_a_traceback_is_named() -> None:
    chosen = _failed([LOST], {0: PEER_LOST, 1: 1})
    assert (str(chosen), chosen.exit_code) == ("process 1 failed with exit code 1; what it said is above", 1)


def test_a_signal_counts_before_peers_that_it_ended_first() -> None:
    assert _failed([LOST, STOPPED], {}, asked=signal.SIGTERM).exit_code == 143


def test_a_signal_before_anything_was_reported_has_its_exit_code() -> None:
    assert _failed([], {}, asked=signal.SIGINT).exit_code == 130


def test_a_process_that_was_killed_because_it_did_not_answer_is_no_victim_of_memory() -> None:
    chosen = _failed([LOST], {0: PEER_LOST}, killed=[1])
    assert str(chosen) == "another process has ended\nprocess 1 did not end, and was killed"
    assert (chosen.exit_code, chosen.is_final) == (PEER_LOST, False)


def test_a_report_is_left_where_the_launcher_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert report(ConvsmithError("what", "why", "fix"))
    (left,) = reports(tmp_path)
    assert (left.rank, left.exit_code, left.message) == (0, 2, "what: why\nfix")


def test_without_a_launcher_a_process_speaks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert not report(ConvsmithError("what"))
