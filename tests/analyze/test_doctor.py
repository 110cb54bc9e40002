from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convsmith.analyze import doctor
from convsmith.analyze.doctor import PACKAGES, examine
from tests.fake_devices import CPU, CUDA, TENSORRT, Providers


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let only these packages be installed."""

    def install(**there: str) -> None:
        names = {name.replace("_", "-"): it for name, it in there.items()}
        monkeypatch.setattr(doctor, "_version", names.get)
        monkeypatch.setattr(doctor, "_requires", lambda name: ["torch==2.14.1"] if name in names else [])

    return install


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine with 8 GiB of memory."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "dev/shm").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:  8388608 kB\nMemAvailable:  6291456 kB\n")
    monkeypatch.setattr("shutil.which", lambda name: None)
    return tmp_path


def advice(root: Path) -> str:
    return "\n".join(examine(root, root / "runs").advice)


def test_the_report_fits_a_screen_and_loads_no_torch() -> None:
    run = "import sys; from convsmith.cli.main import app; app(['doctor'], standalone_mode=False)"
    code = f"{run}; print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    *report, loaded = output.splitlines()
    assert loaded == "False"
    assert len(report) <= 40
    assert max(map(len, report)) <= 100
    assert report[0].startswith("convsmith ")


def test_json_has_the_same_facts() -> None:
    command = [sys.executable, "-m", "convsmith", "doctor", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert told["facts"].keys() == examine().facts.keys()
    assert set(told) == {"facts", "advice"}


def test_every_package_is_named_once(machine: Path, versions: Callable[..., None]) -> None:
    versions(torch="2.14.1+cpu", numpy="2.0")
    facts = examine(machine).facts
    assert facts["packages"] == "torch 2.14.1+cpu, numpy 2.0"
    assert facts["not installed"].split(", ") == [name for name in PACKAGES if name not in ("torch", "numpy")]


def test_memory_is_that_of_the_container(machine: Path) -> None:
    (machine / "sys/fs/cgroup").mkdir(parents=True)
    (machine / "sys/fs/cgroup/memory.max").write_text("2147483648\n")
    assert examine(machine).facts["memory"] == "6.0 GiB of 8.0 GiB free, at most 2.0 GiB in this container"


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ({}, r"training, fine-tuning and export need torch: pip install"),
        ({"torch": "2.14.1"}, "timm's models, LAMB and Lion are missing"),
        ({"torch": "2.13.0", "torchvision": "0.29.1"}, "torchvision 0.29.1 is for torch==2.14.1, not 2.13.0"),
        ({"onnxruntime": "1.31", "onnxruntime_gpu": "1.31"}, "onnxruntime hides the providers of onnxruntime-gpu"),
        ({"fastapi": "1"}, "`convsmith serve` needs a server"),
    ],
)
def test_what_is_missing_is_said(
    installed: dict[str, str], said: str, machine: Path, versions: Callable[..., None]
) -> None:
    versions(**installed)
    assert said in advice(machine)


def test_versions_that_belong_together_are_not_complained_of(machine: Path, versions: Callable[..., None]) -> None:
    versions(torch="2.14.1+cpu", torchvision="0.29.1+cpu")
    assert "is for torch==" not in advice(machine)


@pytest.mark.parametrize(
    ("lines", "built", "idle"),
    [
        ("cuda: Optional[str] = None\n", "torch for CPU", True),
        ("cuda: Optional[str] = '13.0'\n", "torch for CUDA 13.0", False),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_said(
    lines: str, built: str, idle: bool, machine: Path, versions: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions(torch="2.14.1")
    package = machine / "packages/torch"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "version.py").write_text(f"__version__ = '2.14.1'\n{lines}hip: Optional[str] = None\n")
    (machine / "nvidia-smi").write_text("#!/bin/sh\necho 'NVIDIA H200, 143771 MiB, 570.86'\n")
    (machine / "nvidia-smi").chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(machine / name))
    monkeypatch.syspath_prepend(str(machine / "packages"))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert examine(machine).facts["devices"] == f"NVIDIA H200 (143771 MiB, driver 570.86), CPU; {built}"
    assert ("so the GPU stays idle" in advice(machine)) == idle


def test_the_providers_of_onnxruntime_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch, [TENSORRT, CUDA, CPU])
    assert examine().facts["inference"] == f"cuda ({CUDA}, {TENSORRT}), cpu ({CPU})"


@pytest.mark.parametrize(("listed", "idle"), [([CPU], True), ([CUDA, CPU], False)])
def test_a_gpu_that_onnxruntime_cannot_use_is_said(
    listed: list[str], idle: bool, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Providers(monkeypatch, listed)
    monkeypatch.setattr(doctor, "_gpus", lambda root: iter(["NVIDIA H200"]))
    assert ("prediction leaves the GPU unused" in advice(machine)) == idle


def test_a_full_disk_and_a_small_shared_memory_are_said(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_usage", lambda path: (64 << 20, 128 << 20))
    told = advice(machine)
    assert "/dev/shm has 64 MiB free" in told
    assert "the disk of cache has 64 MiB free: make room, or choose another (CONVSMITH_CACHE)" in told


def test_idle_cores_are_said(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "available_cores", lambda root: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "OMP_NUM_THREADS=1 leaves 3 of 4 cores idle" in advice(machine)


@pytest.mark.parametrize("threads", ["", "0", "4", "8", "many"])
def test_no_core_is_idle_where_the_threads_are_as_many_or_not_a_number(
    threads: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "available_cores", lambda root: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert "OMP_NUM_THREADS" not in advice(machine)


def test_bfloat16_is_what_the_processor_says(machine: Path) -> None:
    assert "no bfloat16" in advice(machine)
    (machine / "proc/cpuinfo").write_text("flags : fpu avx2 avx512_bf16\n")
    assert "no bfloat16" not in advice(machine)


def test_the_environment_keeps_secrets_and_the_users_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_TOKEN", "hush")
    monkeypatch.setenv("CONVSMITH_CACHE", str(Path.home() / "weights"))
    told = examine().facts["environment"]
    assert "CONVSMITH_TOKEN=***" in told
    assert "CONVSMITH_CACHE=~/weights" in told
