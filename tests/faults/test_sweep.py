"""Each call of a command to the system fails in turn: nothing old is lost, and the same command ends as if none had.

A preloaded library lets the n-th open, write, fsync, rename, unlink, mkdir or symlink below the folder that a command
writes fail, or kills the process there. How many points of each command are tried is a number below; the points are
spread evenly over its calls, and the kinds of failure take turns. What a power cut would leave is read from the order
of the calls where none fails.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.colours import write_colour_bundle
from tests.exports import write_colours
from tests.faults.order import at_risk
from tests.models.download_server import CONTENT, SHA256, Server, serving
from tests.stripes import stripes_png, write_pixel_bundle
from tests.training.ranks import TINY
from tests.training.test_interrupted import assert_same_run

KILL = -1
KINDS = (errno.ENOSPC, errno.EIO, errno.EINTR, errno.EROFS, errno.EDQUOT, KILL)
VOLATILE = ("log.txt", "tensorboard", ".holder", ".lock", "data_check.npz", "metrics.jsonl")

HIDDEN = ".convsmith-"  # how the names of what is unfinished or replaced begin

pytestmark = pytest.mark.slow


class Forks:
    """Asks `tests.faults.server`."""

    def __init__(self, library: Path) -> None:
        environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "tests.faults.server"]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, words: Sequence[str], root: Path, at: int = 0, kind: int = 0, packs: bool = True) -> dict[str, Any]:
        """What became of a command whose call number `at` below `root` failed; without one, how many there were."""
        ask = {"words": [*words], "root": str(root), "at": at, "error": kind, "stays": int(kind == errno.EROFS)}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps({**ask, "packs": packs}), file=self._server.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer

    def end(self) -> None:
        """Let the server end."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)


@dataclass
class Sweep:
    """What is tried.

    Attributes:
        words: the command.
        root: the folder whose files fail.
        points: how many are tried.
        prepare: puts what was there before in place of `root`.
        whole: raises an AssertionError unless what a failure leaves is the old or the new, whole.
        same: raises an AssertionError unless `root` is as in the reference.
        packs: whether a training packs its bundle.
    """

    words: Sequence[str]
    root: Path
    points: int
    prepare: Callable[[], None]
    whole: Callable[[], None]
    same: Callable[[Path], None]
    packs: bool = True

    def try_all(self, forks: Forks, name: str) -> None:
        """Try the points, and print how many there were.

        Raises:
            AssertionError: at some of them something is lost or differs, or the error is not one for users.
        """
        self.prepare()
        clean = forks.run(self.words, self.root, packs=self.packs)
        assert clean["code"] == 0, clean["printed"]
        assert at_risk(clean["notes"], VOLATILE) == []
        calls, reference = clean["calls"], self.root.with_name("reference")
        shutil.copytree(self.root, reference, symlinks=True)
        failed, wrong = 0, []
        for number in range(self.points):
            at, kind = 1 + number * calls // self.points, KINDS[number % len(KINDS)]
            self.prepare()
            first = forks.run(self.words, self.root, at, kind, self.packs)
            failed += first["code"] != 0
            try:
                _check_told(first, kind)
                self.whole()
                if first["code"] == 0 and "warning" not in first["printed"].lower():
                    self.same(reference)
                again = forks.run(self.words, self.root, packs=self.packs)
                assert again["code"] == 0, again["printed"]
                self.same(reference)
                assert [*self.root.rglob(f"{HIDDEN}*")] == []
            except Exception as error:  # what is half there raises many kinds
                where = f"call {at} of {calls}, {errno.errorcode.get(kind, 'kill')}"
                wrong.append(f"{where}: {type(error).__name__} {error}\n{first['printed']}")
        print(f"\n{name}: {calls} calls, {self.points} points, {failed} ended the command, {len(wrong)} differ")
        assert not wrong, "\n\n".join(wrong)


def _check_told(answer: dict[str, Any], kind: int) -> None:
    """The error of a command that failed is for users, and short."""
    code, printed = answer["code"], answer["printed"]
    assert code is not None, "it hangs"
    assert "Traceback" not in printed
    assert "Exception" not in printed
    if code > 0:
        assert code == 2
        told = printed[printed.index("error: ") :].splitlines()
        assert len(told) <= 3
    assert code >= 0 or kind == KILL


def contents(folder: Path) -> dict[str, Any]:
    """The files of a folder by name, but for those that the next call clears; JSON without what differs each time."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and HIDDEN not in name and not set(VOLATILE) & set(path.relative_to(folder).parts):
            found[name] = path.read_bytes()
            if path.suffix == ".json":
                found[name] = _lasting(json.loads(found[name]))
    return found


def _lasting(values: Any) -> Any:
    if isinstance(values, dict):
        passing = ("seconds", "speed", "images_per_second", "checksum", "latency")
        return {key: _lasting(value) for key, value in values.items() if not any(it in key for it in passing)}
    return [_lasting(value) for value in values] if isinstance(values, list) else values


def same_contents(root: Path) -> Callable[[Path], None]:
    def same(reference: Path) -> None:
        one, two = contents(root), contents(reference)
        assert one.keys() == two.keys()
        assert [name for name in one if one[name] != two[name]] == []

    return same


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("there is no C compiler, or no Linux, to make calls fail with")
    library = tmp_path_factory.mktemp("library") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    made = Forks(library)
    yield made
    made.end()


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("colours"))


def replaced_by(root: Path, old: Path | None) -> Callable[[], None]:
    """Put a copy of `old`, or nothing, in place of `root`, and remove what failures left beside it."""

    def prepare() -> None:
        for path in root.parent.glob(f"{HIDDEN}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(root, ignore_errors=True)
        if old:
            shutil.copytree(old, root, symlinks=True)

    return prepare


def old_or_new(root: Path, old: Path) -> Callable[[], None]:
    """`root` holds a whole bundle, the old one or its successor."""
    from convsmith.bundle.format import read_files, read_manifest

    def whole() -> None:
        assert root.is_dir()
        read_files(root, read_manifest(root))
        assert contents(old).keys() <= contents(root).keys()

    return whole


def nothing_to_lose() -> None:
    pass


RUN = (*TINY, "schedule.epochs=1", "checkpoint.keep=1")


def train_words(data: Path, out: Path) -> list[str]:
    return ["train", "digits", "--data", str(data), "--out", str(out), *RUN]


def test_train(forks: Forks, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def same(reference: Path) -> None:
        assert_same_run(reference, out)
        for name in ("plan.json", "recipe.yaml"):
            assert (out / name).read_bytes() == (reference / name).read_bytes()

    Sweep(train_words(digits, out), out, 120, replaced_by(out, None), nothing_to_lose, same, packs=False).try_all(
        forks, "train"
    )


@pytest.fixture(scope="module")
def trained(forks: Forks, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without its bundle."""
    out = tmp_path_factory.mktemp("trained") / "run"
    answer = forks.run(train_words(digits, out), out, packs=False)
    assert answer["code"] == 0, answer["printed"]
    return out


def test_pack(forks: Forks, digits: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def checkpoints_stay() -> None:
        assert (out / "checkpoints/last/state.json").is_file()

    Sweep(train_words(digits, out), out, 30, replaced_by(out, trained), checkpoints_stay, same_contents(out)).try_all(
        forks, "pack"
    )


@pytest.mark.parametrize("command", ["export", "quantize"])
def test_what_replaces_a_bundle(forks: Forks, colours: Path, tmp_path: Path, command: str) -> None:
    old, out = write_colour_bundle(tmp_path / "old"), tmp_path / "here/out"
    source = write_colour_bundle(tmp_path / "source")
    out.parent.mkdir()
    words = [command, str(source), "--data", str(colours), "--out", str(out)]
    words += ["--format", "onnx"] if command == "export" else ["--max-drop", "100"]
    Sweep(words, out.parent, 100, replaced_by(out, old), old_or_new(out, old), same_contents(out.parent)).try_all(
        forks, command
    )


def test_predict(forks: Forks, tmp_path: Path) -> None:
    bundle, photos, out = write_pixel_bundle(tmp_path / "bundle"), tmp_path / "photos", tmp_path / "masks"
    photos.mkdir()
    for number, colours in enumerate([("red", "blue"), ("green", "red"), ("blue", "blue", "red")]):
        (photos / f"{number}.png").write_bytes(stripes_png(*colours))
    old = tmp_path / "old"
    old.mkdir()
    for name in ("0.png", "0.json"):
        (old / name).write_bytes(b"old")

    def whole() -> None:
        if (out / "0.png").read_bytes() != b"old":
            from PIL import Image

            Image.open(out / "0.png").load()
        text = (out / "0.json").read_bytes()
        assert text == b"old" or json.loads(text)

    Sweep(
        ["predict", str(bundle), str(photos), "--out", str(out)],
        out,
        100,
        replaced_by(out, old),
        whole,
        same_contents(out),
    ).try_all(forks, "predict")


def test_download(forks: Forks, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    file = cache / "weights.pth"

    def whole() -> None:
        assert not file.exists() or file.read_bytes() == CONTENT

    with serving(Server()) as server:
        words = ["download", server.url, str(file), SHA256]
        Sweep(words, cache, 120, replaced_by(cache, None), whole, same_contents(cache)).try_all(forks, "download")


def test_distil(forks: Forks, digits: Path, trained: Path, tmp_path: Path) -> None:
    out, teacher = tmp_path / "student", tmp_path / "teacher"
    shutil.copytree(trained, teacher, symlinks=True)
    packed = forks.run(train_words(digits, teacher), teacher)
    assert packed["code"] == 0, packed["printed"]
    words = ["distil", str(teacher), "--student", "tiny", "--data", str(digits), "--out", str(out), "schedule.epochs=1"]
    words += ["--max-drop", "100", "precision=fp32", "data.workers=0", "checkpoint.every_steps=3"]
    Sweep(words, out, 24, replaced_by(out, None), nothing_to_lose, same_contents(out)).try_all(forks, "distil")
