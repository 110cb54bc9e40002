from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from convsmith import storage
from convsmith.storage import (
    beside,
    clear_leftovers,
    errors_name,
    new_directory,
    point_to,
    seal_holds,
    sealed,
    size_of_text,
    write_file,
)


def write_half_and_crash(path: Path) -> None:
    with new_directory(path) as folder:
        (folder / "half").write_text("half")
        raise RuntimeError("crash")


def test_a_new_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="crash"):
        write_half_and_crash(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_new_directory_replaces_the_old_one_only_when_it_is_whole(tmp_path: Path) -> None:
    with new_directory(tmp_path / "out") as folder:
        (folder / "old").write_text("1")
    with pytest.raises(RuntimeError, match="crash"):
        write_half_and_crash(tmp_path / "out")
    assert (tmp_path / "out" / "old").exists()
    with new_directory(tmp_path / "out") as folder:
        (folder / "new").write_text("2")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_new_directory_replaces_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with new_directory(tmp_path / "link") as folder:
        (folder / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["link", "real", "real/new"]


def test_a_new_directory_may_be_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with new_directory(Path()) as folder:
        (folder / "new").touch()
    assert (tmp_path / "here" / "new").exists()


@pytest.mark.parametrize(
    ("path", "expected"), [("a/b", "a/b-int8"), (".", "{tmp}/x/y-int8"), ("..", "{tmp}/x-int8"), ("../z", "../z-int8")]
)
def test_beside_ends_a_name_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, expected: str
) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "x" / "y")
    assert str(beside(Path(path), "-int8")) == expected.format(tmp=tmp_path)


def test_write_file_replaces_the_content_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_file(tmp_path / "file", "old")
    write_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_longest_name_that_there_is_can_be_written(tmp_path: Path) -> None:
    write_file(tmp_path / ("f" * 255), "new")
    with new_directory(tmp_path / ("d" * 255)) as folder:
        (folder / "a").touch()
    assert [len(path.name) for path in tmp_path.iterdir()] == [255, 255]


def test_a_seal_survives_json_and_breaks_with_any_change() -> None:
    values = json.loads(json.dumps(sealed({"labels": ["ä", "b"], "loss": 0.1 + 0.2})))
    assert seal_holds(values)
    assert not seal_holds({**values, "labels": ["ä", "c"]})
    assert not seal_holds({**values, "extra": 1})
    assert not seal_holds({"labels": []})


def test_point_to_changes_an_existing_link(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        point_to(tmp_path / "last", name)
    assert (tmp_path / "last").resolve().name == "b"


def test_leftovers_of_a_dead_process_go_and_other_hidden_files_stay(tmp_path: Path) -> None:
    (tmp_path / ".convsmith-new.step.abc").mkdir()
    (tmp_path / ".convsmith-new.plan.json.abc").write_text("half")
    (tmp_path / ".env.local").write_text("mine")
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".env.local"]


def test_a_replaced_directory_comes_back_if_its_successor_never_came(tmp_path: Path) -> None:
    (tmp_path / ".convsmith-old.step").mkdir()
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step"]


def test_a_replaced_directory_goes_once_its_successor_is_there(tmp_path: Path) -> None:
    for name in (".convsmith-old.step", "step"):
        (tmp_path / name).mkdir()
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_files_have_the_mode_that_the_umask_gives_new_files(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_file(tmp_path / "file", "")
        with new_directory(tmp_path / "folder") as folder:
            (folder / "private").touch(0o600)
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "folder/private", "folder")]
    assert modes == [0o666 & ~umask, 0o666 & ~umask, 0o777 & ~umask]


def fail_to_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if path.name.startswith(storage.TEMPORARY):
            raise OSError("the disk is gone")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)


def test_a_directory_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out" / "old").mkdir(parents=True)
    fail_to_rename(monkeypatch)
    monkeypatch.setattr(storage, "_exchange", lambda *_: False)
    with pytest.raises(OSError, match="gone"), new_directory(tmp_path / "out"):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["old", "out"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two names")
def test_a_directory_is_replaced_in_one_step_where_the_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "old").mkdir(parents=True)
    fail_to_rename(monkeypatch)
    with new_directory(tmp_path / "out") as folder:
        (folder / "new").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "out"]


def test_the_next_writer_puts_back_what_a_dead_one_took_away(tmp_path: Path) -> None:
    (tmp_path / ".convsmith-old.out").mkdir()
    with pytest.raises(RuntimeError, match="crash"):
        write_half_and_crash(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_next_writer_clears_what_a_killed_one_left_and_nothing_that_is_being_written(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, pathlib\n"
        "from convsmith.storage import new_directory\n"
        "with new_directory(pathlib.Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], check=False).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    with new_directory(tmp_path / "out") as first, new_directory(tmp_path / "out") as second:
        assert set(tmp_path.iterdir()) == {first, second}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("300MB", 300_000_000), ("1GiB", 2**30), ("1.5 kb", 1500), ("2t", 2 * 10**12), ("7", 7), (" 7B ", 7),
        ("0", None), ("", None), ("GB", None), ("-1", None), ("1e3", None), ("1.", None), ("1x", None),
        ("999999999", 999_999_999), ("1234567890", None),
    ],
)  # fmt: skip
def test_a_size_may_have_a_unit(text: str, size: int | None) -> None:
    assert size_of_text(text) == size


def test_a_seal_is_the_same_on_every_machine() -> None:
    seals = [sealed(values)["checksum"] for values in ({"b": 1, "a": ["ä", None]}, {"a": ["ä", None], "b": 1})]
    assert seals == [hashlib.sha256(b'{"a":["\\u00e4",null],"b":1}').hexdigest()] * 2


def test_a_file_that_cannot_be_written_is_as_it_was_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("old")
    fail_to_rename(monkeypatch)
    with pytest.raises(OSError, match="file") as caught:
        write_file(tmp_path / "file", "new")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "file"), None)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def refuse(number: int) -> None:
    with errors_name(Path("mine")):
        raise OSError(number, "no", *(["theirs"] if number == errno.EACCES else []))


@pytest.mark.parametrize(("number", "named"), [(errno.ENOSPC, "mine"), (errno.EACCES, "theirs")])
def test_an_error_names_the_file_where_the_system_does_not(number: int, named: str) -> None:
    with pytest.raises(OSError, match="no") as caught:
        refuse(number)
    assert caught.value.filename == named


@pytest.mark.parametrize(("length", "is_short"), [(200, True), (201, False)])
def test_the_temporary_name_of_a_path_begins_with_its_name_where_that_is_short(length: int, is_short: bool) -> None:
    prefix = storage.temporary_prefix(Path("a" * length))
    assert (prefix == f".convsmith-new.{'a' * length}.") is is_short
    assert is_short or len(prefix) == len(".convsmith-new.") + 64 + 1


def test_a_folder_that_is_removed_is_gone_with_all_that_it_held(tmp_path: Path) -> None:
    (tmp_path / "out" / "in").mkdir(parents=True)
    storage.remove_directory(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_link_takes_the_place_of_a_folder_that_copying_has_made_of_it(tmp_path: Path) -> None:
    for name in ("a", "last/old"):
        (tmp_path / name).mkdir(parents=True)
    point_to(tmp_path / "last", "a")
    assert (tmp_path / "last").readlink() == Path("a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "last"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_links_has_none_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    (tmp_path / "last").mkdir()

    def refuse_link(*_: object) -> None:
        raise OSError(number, "no links")

    monkeypatch.setattr(Path, "symlink_to", refuse_link)
    point_to(tmp_path / "last", "a")
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_is_refused_for_another_reason_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_link(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "symlink_to", refuse_link)
    with pytest.raises(OSError, match="full"):
        point_to(tmp_path / "last", "a")


def test_what_another_process_holds_is_not_abandoned(tmp_path: Path) -> None:
    for name in ("one", "two", "kept"):
        (tmp_path / f"{storage.TEMPORARY}{name}").write_text("half")
    (tmp_path / f"{storage.TEMPORARY}folder" / "in").mkdir(parents=True)
    (tmp_path / "file").touch()
    with (tmp_path / f"{storage.TEMPORARY}kept").open() as held:
        assert storage.hold(held.fileno())
        storage.clear_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{storage.TEMPORARY}kept", "file"]


def test_where_folders_cannot_be_held_they_are_not_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "FOLDERS_OPEN", False)  # as on Windows
    (tmp_path / f"{storage.TEMPORARY}folder").mkdir()
    (tmp_path / f"{storage.TEMPORARY}file").touch()
    storage.clear_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{storage.TEMPORARY}folder"]


def test_a_file_is_held_in_the_block(tmp_path: Path) -> None:
    with storage.locked_file(tmp_path / "new" / "lock"), (tmp_path / "new" / "lock").open() as other:
        assert not storage.hold(other.fileno())
    with (tmp_path / "new" / "lock").open() as other:
        assert storage.hold(other.fileno())


def test_where_a_lock_cannot_be_made_nothing_waits(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with storage.locked_file(tmp_path / "file" / "lock"):
        assert (tmp_path / "file").is_file()


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    with new_directory(tmp_path / "a" / "b" / "c"):
        pass
    with storage.locked_file(tmp_path / "d" / "e" / "lock"):
        pass
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert (tmp_path / "d" / "e" / "lock").is_file()


def test_who_wants_a_locked_file_waits_for_it(tmp_path: Path) -> None:
    begun, held = threading.Event(), list[str]()

    def want() -> None:
        begun.set()
        with storage.locked_file(tmp_path / "lock"):
            held.append("other")

    other = threading.Thread(target=want)
    with storage.locked_file(tmp_path / "lock"):
        other.start()
        begun.wait()
        time.sleep(0.05)
        held.append("first")
    other.join()
    assert held == ["first", "other"]
