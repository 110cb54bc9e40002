"""Downloads against a server of this machine."""

from __future__ import annotations

import fcntl
import hashlib
import io
import multiprocessing
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import torch

from convsmith.errors import ConvsmithError
from convsmith.models.weights.download import download
from tests.models.download_server import CONTENT, SHA256, Server, serving


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pth"


def part_of(file: Path) -> Path:
    return file.with_name("weights.pth.part")


def leave_part(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    part_of(file).write_bytes(content)


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8]])
def test_a_file_arrives_whole_and_progress_is_told(file: Path, sha256: str) -> None:
    told: list[tuple[str, int, int | None]] = []
    with serving(Server()) as server:
        assert download(server.url, file, sha256, lambda what, done, total: told.append((what, done, total))) == file
    assert file.read_bytes() == CONTENT
    assert not part_of(file).exists()
    assert told[0] == (file.name, 0, len(CONTENT))
    assert told[-1] == (file.name, len(CONTENT), len(CONTENT))
    assert told == sorted(told)


def test_a_file_that_is_here_needs_no_network(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(CONTENT)
    assert download("http://127.0.0.1:1/weights.pth", file, SHA256) == file


def test_another_file_in_its_place_is_refused_and_left_alone(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"put here by hand")
    with pytest.raises(ConvsmithError, match=r"is not the published file: its SHA-256 is .*\nRemove it"):
        download("http://127.0.0.1:1/weights.pth", file, SHA256)
    assert file.read_bytes() == b"put here by hand"


def test_a_part_is_resumed_where_it_ends(file: Path) -> None:
    leave_part(file, CONTENT[:1000])
    told: list[tuple[int, int | None]] = []
    with serving(Server()) as server:
        download(server.url, file, SHA256, lambda _, done, total: told.append((done, total)))
        assert server.asked == ["bytes=1000-"]
    assert file.read_bytes() == CONTENT
    assert told[0] == (1000, len(CONTENT))


def test_a_server_without_ranges_sends_all_of_it_again(file: Path) -> None:
    leave_part(file, b"?" * 2_000_000)
    with serving(Server(ranges=False)) as server:
        download(server.url, file, SHA256)
        assert server.asked == ["bytes=2000000-"]
    assert file.read_bytes() == CONTENT


def test_a_complete_part_needs_no_request(file: Path) -> None:
    leave_part(file, CONTENT)
    download("http://127.0.0.1:1/weights.pth", file, SHA256)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"?" * 1000, b"?" * len(CONTENT), b"?" * (len(CONTENT) + 1)])
def test_a_part_of_another_file_is_fetched_afresh(file: Path, part: bytes) -> None:
    leave_part(file, part)
    with serving(Server()) as server:
        download(server.url, file, SHA256)
        assert server.asked == [f"bytes={len(part)}-", None]
    assert file.read_bytes() == CONTENT


def test_a_range_that_was_not_asked_for_is_not_appended(file: Path) -> None:
    leave_part(file, CONTENT[:1000])
    with serving(Server(shift=1)) as server:
        with pytest.raises(ConvsmithError, match="sent another range"):
            download(server.url, file, SHA256)
        download(server.url, file, SHA256)
    assert file.read_bytes() == CONTENT


def test_another_file_is_refused_and_not_kept(file: Path) -> None:
    with serving(Server(content=b"another")) as server, pytest.raises(ConvsmithError) as caught:
        download(server.url, file, SHA256)
    assert server.url in caught.value.what
    assert hashlib.sha256(b"another").hexdigest() in caught.value.why
    assert SHA256 in caught.value.why
    assert caught.value.fix == f"Get the file by other means and put it at {file}"
    assert not file.exists()
    assert not part_of(file).exists()


def test_a_connection_that_ends_early_is_resumed_by_the_next_call(file: Path) -> None:
    with serving(Server(stops_after=5000)) as server:
        with pytest.raises(ConvsmithError, match=r"5,000 of 1,048,576 bytes\nRun it again to go on at byte 5,000"):
            download(server.url, file, SHA256)
        assert not file.exists()
        server.stops_after = None
        download(server.url, file, SHA256)
        assert server.asked == [None, "bytes=5000-"]
    assert file.read_bytes() == CONTENT


def test_an_early_end_of_a_file_of_unknown_length_is_the_wrong_file(file: Path) -> None:
    with serving(Server(announces_length=False, stops_after=5000)) as server:
        with pytest.raises(ConvsmithError, match="another file"):
            download(server.url, file, SHA256)
        server.stops_after = None
        download(server.url, file, SHA256)
    assert file.read_bytes() == CONTENT


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait, of which none is waited."""
    waited: list[float] = []
    monkeypatch.setattr("convsmith.models.weights.patience.sleep", waited.append)
    return waited


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_busy_server_is_asked_again_later_each_time(file: Path, waits: list[float], status: int) -> None:
    leave_part(file, CONTENT[:1000])
    with serving(Server(status=status, refusals=3)) as server:
        download(server.url, file, SHA256)
        assert server.asked == ["bytes=1000-"] * 4
    assert file.read_bytes() == CONTENT
    assert [0.5 * 2**i <= wait <= 2**i for i, wait in enumerate(waits)] == [True] * 3


def test_a_busy_server_is_asked_again_when_it_says(file: Path, waits: list[float]) -> None:
    with serving(Server(status=429, refusals=1, retry_after="7")) as server:
        download(server.url, file, SHA256)
    assert waits == [7]


def test_a_busy_server_may_say_when_by_a_date(file: Path, waits: list[float]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    with serving(Server(status=503, refusals=1, retry_after=date)) as server:
        download(server.url, file, SHA256)
    assert 50 < waits[0] <= 100


@pytest.mark.parametrize(
    "said",
    ["soon", "-5", "", "\u0665", "9" * 400, "Fri, 99 Nov 2026 99:99:99 GMT", f"Fri, 09 Nov {'9' * 20} 09:09:09 GMT"],
)
def test_a_retry_after_without_sense_does_not_count(file: Path, waits: list[float], said: str) -> None:
    with serving(Server(status=503, refusals=1, retry_after=said.encode().decode("latin-1"))) as server:
        download(server.url, file, SHA256)
    assert 0.5 <= waits[0] <= 1


def test_a_wait_that_is_too_long_is_an_error_that_names_it(file: Path, waits: list[float]) -> None:
    with serving(Server(status=429, retry_after="86400")) as server:
        with pytest.raises(ConvsmithError, match="429 Too Many Requests, and asks to wait 86,400 seconds"):
            download(server.url, file, SHA256)
        assert server.asked == [None]
    assert waits == []


def test_a_wait_beyond_the_time_for_all_of_it_is_an_error_at_once(file: Path, waits: list[float]) -> None:
    with serving(Server(status=503, retry_after="60")) as server, pytest.raises(ConvsmithError, match="60 seconds"):
        download(server.url, file, SHA256, within=50)
    assert waits == []


def test_a_server_that_stays_busy_is_given_up(file: Path, waits: list[float]) -> None:
    with serving(Server(status=503)) as server:
        with pytest.raises(ConvsmithError, match="the server answers 503 Service Unavailable\nGet the file"):
            download(server.url, file, SHA256)
        assert len(server.asked) == len(waits) + 1 == 6


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_for_good_is_not_asked_again(file: Path, waits: list[float], status: int) -> None:
    with serving(Server(status=status)) as server:
        with pytest.raises(ConvsmithError, match=f"answers {status}"):
            download(server.url, file, SHA256)
        assert server.asked == [None]
    assert waits == []


def test_a_download_that_gets_on_too_slowly_ends_when_its_time_is_up(file: Path) -> None:
    with serving(Server(trickle=0.2)) as server:  # 1.6 seconds in all
        with pytest.raises(ConvsmithError, match=r"not all here within 0.5 seconds\nRun it again to go on at byte"):
            download(server.url, file, SHA256, within=0.5)
        server.trickle = 0
        download(server.url, file, SHA256)
    assert file.read_bytes() == CONTENT


def test_a_silent_server_ends_in_an_error_when_the_time_is_up(file: Path) -> None:
    with serving(Server(pause=1)) as server, pytest.raises(ConvsmithError, match=r"not all here within 0.2 seconds"):
        download(server.url, file, SHA256, within=0.2)


def test_another_processs_download_is_waited_for_until_the_time_is_up(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file.parent.mkdir()
    with file.with_name("weights.pth.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConvsmithError, match=r"not all here within 0.2 seconds"):
            download("http://127.0.0.1:1/weights.pth", file, SHA256, within=0.2)
    assert caplog.messages.count("another process downloads weights.pth: waiting for it") == 1


@pytest.mark.parametrize(("status", "reason"), [(404, "404 Not Found"), (503, "503 Service Unavailable")])
@pytest.mark.usefixtures("waits")
def test_a_refusal_is_named_and_keeps_the_part(file: Path, status: int, reason: str) -> None:
    leave_part(file, CONTENT[:1000])
    told = f"the server answers {reason}\nGet the file.*{re.escape(str(file))}"
    with serving(Server(status=status)) as server, pytest.raises(ConvsmithError, match=told):
        download(server.url, file, SHA256)
    assert part_of(file).read_bytes() == CONTENT[:1000]
    assert not file.exists()


def test_a_server_that_falls_silent_ends_in_an_error(file: Path) -> None:
    with serving(Server(silent_after=5000)) as server, pytest.raises(ConvsmithError, match=r"silent for 0.2 seconds"):
        download(server.url, file, SHA256, timeout=0.2)
    assert part_of(file).read_bytes() == CONTENT[:5000]


def test_a_slow_server_is_waited_for_as_long_as_something_comes(file: Path) -> None:
    told: list[int] = []
    with serving(Server(trickle=0.2)) as server:  # 1.6 seconds in all
        download(server.url, file, SHA256, lambda _, done, total: told.append(done), timeout=1)
    assert file.read_bytes() == CONTENT
    assert len(told) >= 8


def test_a_server_that_never_answers_ends_in_an_error(file: Path) -> None:
    with serving(Server(pause=1)) as server, pytest.raises(ConvsmithError, match=r"0.2 seconds\nGet the file"):
        download(server.url, file, SHA256, timeout=0.2)


def test_no_network_says_where_the_file_belongs(file: Path) -> None:
    with serving(Server()) as server:
        pass
    with pytest.raises(ConvsmithError) as caught:
        download(server.url, file, SHA256)
    assert "no connection" in caught.value.why
    assert str(file) in caught.value.fix


@pytest.mark.parametrize("announces_length", [True, False])
def test_a_file_beyond_the_limit_is_refused(file: Path, announces_length: bool) -> None:
    server = Server(announces_length=announces_length)
    with serving(server), pytest.raises(ConvsmithError, match="the limit of 1,000,000"):
        download(server.url, file, SHA256, max_bytes=1_000_000)
    assert not file.exists()
    assert not part_of(file).exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ConvsmithError, match=r"cannot write .*\nCONVSMITH_CACHE"):
        download("http://127.0.0.1:1/weights.pth", tmp_path / "cache" / "weights.pth", SHA256)


def test_of_two_processes_one_downloads_and_both_get_the_file(file: Path) -> None:
    with serving(Server(pause=0.5)) as server:
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=download, args=(server.url, file, SHA256)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(20)
        assert [process.exitcode for process in processes] == [0, 0]
        assert server.asked == [None]
    assert file.read_bytes() == CONTENT


def test_a_system_without_fcntl_downloads_as_well(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with serving(Server()) as server:
        download(server.url, file, SHA256)
    assert file.read_bytes() == CONTENT


def test_of_processes_that_want_one_file_the_next_goes_on_when_one_is_killed(file: Path) -> None:
    with serving(Server(silent_after=5000)) as server:
        context = multiprocessing.get_context("spawn")
        first = context.Process(target=download, args=(server.url, file, SHA256))
        first.start()
        while not (part_of(file).is_file() and part_of(file).stat().st_size):
            time.sleep(0.01)
        second = context.Process(target=download, args=(server.url, file, SHA256))
        second.start()
        server.silent_after = None
        first.kill()
        first.join(20)
        second.join(20)
        assert second.exitcode == 0
        assert server.asked == [None, "bytes=5000-"]
    assert file.read_bytes() == CONTENT


def checkpoint() -> bytes:
    content = io.BytesIO()
    torch.save({"weight": torch.arange(50_000.0)}, content)
    return content.getvalue()


def of_a_future_version(archive: bytes) -> bytes:
    """With a changed byte in the table of its files, by which it asks for another version of the format."""
    version = archive.index(b"PK\x01\x02") + 6
    return archive[:version] + b"\xff" + archive[version + 1 :]


def test_without_a_checksum_a_whole_checkpoint_is_taken(file: Path) -> None:
    content = checkpoint()
    leave_part(file, content[:1000])
    with serving(Server(content=content)) as server:
        download(server.url, file, None)
        assert server.asked == ["bytes=1000-"]
    assert file.read_bytes() == content


def test_without_a_checksum_a_part_of_full_length_is_fetched_afresh(file: Path) -> None:
    content = checkpoint()
    leave_part(file, content)
    with serving(Server(content=content)) as server:
        download(server.url, file, None)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>Please log in</html>", "not a whole torch checkpoint"),
        (checkpoint()[:-100], "not a whole torch checkpoint"),
        (of_a_future_version(checkpoint()), "not a whole torch checkpoint"),
        (checkpoint()[:100_000] + b"?" + checkpoint()[100_001:], r"its part \S*data/0 is damaged"),
    ],
    ids=["a page", "cut off", "a changed version", "a changed byte"],
)
def test_without_a_checksum_what_is_no_whole_checkpoint_is_refused(file: Path, content: bytes, reason: str) -> None:
    with serving(Server(content=content)) as server, pytest.raises(ConvsmithError, match=reason):
        download(server.url, file, None)
    assert not file.exists()
    assert not part_of(file).exists()


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>", checkpoint()[:-100]])
def test_without_a_checksum_a_damaged_file_in_its_place_is_refused(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(ConvsmithError, match=r"weights.pth is not the published file: .* not a whole .*\nRemove it"):
        download("http://127.0.0.1:1/weights.pth", file, None)


def old_checkpoint() -> bytes:
    """As torch wrote them before 1.6: no archive, but pickles with the numbers after them."""
    content = io.BytesIO()
    weights = {"weight": torch.arange(30.0), "steps": torch.ones(3, dtype=torch.int64)}
    torch.save({"state_dict": weights, "epoch": 3}, content, _use_new_zipfile_serialization=False)
    return content.getvalue()


def test_without_a_checksum_the_format_before_torch_1_6_is_taken(file: Path) -> None:
    content = old_checkpoint()
    with serving(Server(content=content)) as server:
        download(server.url, file, None)
    assert file.read_bytes() == content


@pytest.mark.parametrize("length", [1, 2, 30, 200, len(old_checkpoint()) - 60, len(old_checkpoint()) - 1])
def test_without_a_checksum_and_a_length_the_format_before_torch_1_6_has_to_end(file: Path, length: int) -> None:
    content = old_checkpoint()
    with serving(Server(content=content, announces_length=False, stops_after=length)) as server:
        with pytest.raises(ConvsmithError, match="not a whole torch checkpoint"):
            download(server.url, file, None)
        assert not file.exists()
        server.stops_after = None
        download(server.url, file, None)
    assert file.read_bytes() == content


def test_without_a_checksum_a_cut_off_file_of_the_old_format_put_in_its_place_is_refused(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(old_checkpoint()[:-1])
    with pytest.raises(ConvsmithError, match=r"weights.pth is not the published file: .*cut off or damaged\nRemove it"):
        download("http://127.0.0.1:1/weights.pth", file, None)
