"""The commands that need no torch, in a process that has only what Windows has; what else there is, one file calls."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from convsmith import system
from tests.colours import LABELS, picture
from tests.conftest import REPOSITORY
from tests.serve.running import PATIENCE, post

ONLY_SOME_SYSTEMS = re.compile(
    r"\bos\.(?:fchmod|fchown|sysconf|sched_\w+|fork|killpg|register_at_fork|getuid|geteuid|statvfs|uname|posix_\w+|mkfifo)\b"
    r"|\bimport (?:fcntl|resource|msvcrt|termios|tty|pty|pwd|grp)\b|\.prctl\(|\bwindll\b"
    r"|\bsignal\.SIG(?:HUP|KILL|USR1|USR2|QUIT|ALRM|CHLD|BUS)\b"
)


def test_one_file_calls_what_only_some_systems_have() -> None:
    found = {
        path.name: hits
        for path in (REPOSITORY / "src/convsmith").rglob("*.py")
        if (hits := ONLY_SOME_SYSTEMS.findall(re.sub(r'"""[\s\S]*?"""|#.*|`[^`\n]*`', "", path.read_text("utf-8"))))
    }
    assert found.keys() == {"system.py"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, colour_bundle: Path) -> Path:
    """Where the commands run: photos in folders, and the bundle."""
    folder = tmp_path_factory.mktemp("windows")
    for colour in LABELS:
        (folder / "photos" / colour).mkdir(parents=True)
        (folder / "photos" / colour / "a.png").write_bytes(picture(colour))
    (folder / "bundle").symlink_to(colour_bundle)
    return folder


COMMANDS = {
    "predict": "predict bundle photos --json",
    "evaluate": "evaluate bundle --data photos --json",
    "export": "export bundle --format onnx --out exported --data photos",
    "predict what was exported": "predict exported photos --format csv",
    "benchmark": "benchmark bundle --batch 1 --seconds 0.01 --json",
    "recipes": "recipes resnet18*",
    "models": "models resnet18",
    "plan": "plan resnet50-in1k --num-samples 1281167",
    "weights": "weights resnet50.*",
    "doctor": "doctor",
    "data": "data demo digits digits",
    "help": "--help",
    "help of train": "train --help",
    "help of launch": "launch slurm --help",
}


def run(folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(REPOSITORY), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "tests.windows", *words.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=10 * PATIENCE,
        env={**os.environ, "PYTHONPATH": paths, "CONVSMITH_CACHE": str(folder / "cache")},
    )


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, str]:
    """What each command printed, with its exit code; all in one process."""
    result = run(folder, " -- ".join(COMMANDS.values()))
    assert result.returncode == 0, result.stderr
    parts = re.split(r"exit code (\S+): (.*)\n", result.stdout)
    printed = {
        words: f"{text}exit code {code}"
        for text, code, words in zip(parts[::3], parts[1::3], parts[2::3], strict=False)
    }
    return {name: f"{printed[words]}\n{result.stderr}" for name, words in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_needs_no_torch_runs(outcomes: dict[str, str], name: str) -> None:
    assert "exit code 0\n" in outcomes[name], outcomes[name]


def test_predictions_are_those_of_other_systems(outcomes: dict[str, str]) -> None:
    lines = outcomes["predict"].splitlines()[: len(LABELS)]
    assert sorted(json.loads(line)["label"] for line in lines) == sorted(LABELS)


def test_the_server_starts_and_answers(folder: Path) -> None:
    paths = os.pathsep.join([str(REPOSITORY), *sys.path])
    command = [sys.executable, "-m", "tests.windows", "serve", "bundle", "--port", "0"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"http://\S+:\d+", line)
            assert address, line
            assert httpx.get(f"{address[0]}/readyz").json()["device"] == "cpu"
            assert post(address[0], picture("green")).json()["label"] == "green"
        finally:
            process.kill()


def test_memory_is_what_windows_tells(folder: Path) -> None:
    code = (
        "from tests.windows import become_windows; become_windows(); from convsmith import system;"
        "print(system.memory(), system.cores() > 0, system.open_files(), system.KILL.name, system.signals('SIGHUP'))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert told.split()[:4] == [str(8 << 30), "True", "None", "SIGTERM"]
    assert told.split()[4:] == ["()"]


def test_a_lock_of_bytes_keeps_a_second_process_out(tmp_path: Path) -> None:
    held = (
        "import sys; from tests.windows import become_windows; become_windows(); from convsmith.system import lock\n"
        "file = open('lock', 'w')\n"
        "try: print(lock(file.fileno()), flush=True)\n"
        "except BlockingIOError: print('held')\n"
        "sys.stdin.read()"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    command = [sys.executable, "-c", held]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "True\n"
        second = subprocess.run(command, cwd=tmp_path, input="", capture_output=True, text=True, check=True, env=env)
        assert second.stdout == "held\n"
        first.communicate("")


def test_where_nothing_can_be_locked_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fcntl", "msvcrt"):
        monkeypatch.setitem(sys.modules, name, None)
    with (tmp_path / "a").open("w") as file:
        assert system.lock(file.fileno()) is False
