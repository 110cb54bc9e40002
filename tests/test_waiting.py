"""What never answers is given up after a while, and named."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from convsmith import waiting
from convsmith.errors import ConvsmithError
from convsmith.waiting import NotAnswering, answer_of, disk_watched, open_file, read_timeout, reading_in_time


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe that nothing is written into."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_READ_TIMEOUT", "0.2")


@pytest.mark.usefixtures("hurry")
def test_what_never_answers_is_named_with_the_seconds_waited(pipe: Path) -> None:
    with pytest.raises(NotAnswering, match=f"^{pipe} has not answered for 0.2 seconds: ") as caught:
        answer_of(pipe.read_bytes, str(pipe))
    assert caught.value.exit_code == 3


@pytest.mark.usefixtures("hurry")
def test_others_are_read_after_it(pipe: Path) -> None:
    for _ in range(3):
        with pytest.raises(NotAnswering):
            answer_of(pipe.read_bytes, "pipe")
        assert answer_of(lambda: 7, "seven") == 7


def test_an_answer_comes_from_another_thread_and_the_same_one_the_next_time() -> None:
    threads = [answer_of(threading.get_ident, "thread") for _ in range(2)]
    assert threads[0] == threads[1] != threading.get_ident()


def test_work_that_reads_much_asks_one_thread_once() -> None:
    def work() -> list[int]:
        return [threading.get_ident(), *(answer_of(threading.get_ident, "thread") for _ in range(3))]

    assert set(reading_in_time(work)) == {answer_of(threading.get_ident, "thread")}


@pytest.mark.usefixtures("hurry")
def test_the_time_of_each_reading_counts_not_that_of_the_work(pipe: Path) -> None:
    def work() -> None:
        time.sleep(0.5)
        answer_of(lambda: time.sleep(0.1), "short")
        answer_of(pipe.read_bytes, "pipe")

    with pytest.raises(NotAnswering, match="pipe has not answered"):
        reading_in_time(work)


def test_what_reading_raises_is_raised() -> None:
    with pytest.raises(FileNotFoundError):
        answer_of(Path("/nowhere").read_bytes, "/nowhere")


def test_a_forked_process_reads_too() -> None:
    answer_of(threading.get_ident, "thread")
    child = os.fork()
    if child == 0:
        os._exit(answer_of(lambda: 7, "seven"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_with_0_seconds_it_is_waited_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_READ_TIMEOUT", "0")
    assert answer_of(threading.get_ident, "thread") == threading.get_ident()


@pytest.mark.parametrize("said", ["soon", "-1", "nan", "inf", "1e300"])
def test_what_is_not_a_number_of_seconds_is_an_error_that_names_the_variable(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVSMITH_READ_TIMEOUT", said)
    with pytest.raises(ConvsmithError, match=f"CONVSMITH_READ_TIMEOUT is `{said}`"):
        read_timeout()


def test_a_pipe_is_not_opened_as_a_file(pipe: Path) -> None:
    with pytest.raises(OSError, match="it is a pipe, a socket or a device"):
        open_file(pipe)


@pytest.mark.parametrize(("place", "error"), [("/dev/zero", OSError), ("/", IsADirectoryError), ("/no", OSError)])
def test_what_is_not_a_file_is_not_opened(place: str, error: type[OSError]) -> None:
    with pytest.raises(error):
        open_file(Path(place))


@pytest.mark.usefixtures("hurry")
def test_a_disk_that_falls_silent_is_given_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up, back = list[str](), threading.Event()
    monkeypatch.setattr(waiting, "_EVERY", 0.01)
    monkeypatch.setattr(waiting, "_give_up", lambda error: given_up.append(error.what))
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: back.wait())
    with disk_watched(tmp_path):
        back.wait(1)
    back.set()
    assert given_up == [f"{tmp_path} has not answered for 0.2 seconds"]


@pytest.mark.usefixtures("hurry")
def test_a_disk_that_answers_is_not_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = list[NotAnswering]()
    monkeypatch.setattr(waiting, "_EVERY", 0.01)
    monkeypatch.setattr(waiting, "_give_up", given_up.append)
    with disk_watched(tmp_path), disk_watched(tmp_path / "not there yet"):
        threading.Event().wait(0.5)
    assert not given_up


def test_readers_keep_no_program_from_its_end_and_one_reads_within_another(tmp_path: Path) -> None:
    inner = reading_in_time(lambda: reading_in_time(threading.get_ident))
    assert inner == reading_in_time(threading.get_ident) != threading.get_ident()
    with disk_watched(tmp_path):
        found = {it.name: it.daemon for it in threading.enumerate() if it.name in ("read", "disk")}
    assert found == {"read": True, "disk": True}
