"""Findings on this machine: all that convsmith uses, and what is slow or lacks. Imports no torch."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from textwrap import fill
from typing import Any

from convsmith.allocation import keep_freed_memory
from convsmith.devices import WAYS
from convsmith.errors import install_command
from convsmith.machine import available_cores, cache_folder, runs_folder
from convsmith.processor import has_bfloat16, instructions, native_target
from convsmith.system import open_files
from convsmith.tables import Tabular
from convsmith.words import for_terminal

PACKAGES = (
    "torch", "torchvision", "timm", "safetensors", "onnx", "onnxruntime", "openvino", "numpy", "pillow", "pydantic",
    "fastapi", "uvicorn", "tensorboard", "mlflow", "wandb", "pillow-heif",
)  # fmt: skip
"""The packages that matter."""

_GIB = 2**30
_SMALL_SHM = _GIB // 2  # a batch of 64 images of 224 pixels takes 10 MB, and each worker has two under way
_LITTLE_ROOM = 5 * _GIB  # some checkpoints of a large model
_FEW_FILES = 4096
_WIDTH = 100  # of a bug report


@dataclass(frozen=True, repr=False)
class Findings(Tabular):
    """Findings on this machine.

    Attributes:
        facts: a line of text each, by what it is about.
        advice: what is slow or missing, with what helps, a line each.
    """

    facts: dict[str, str]
    advice: tuple[str, ...]

    def records(self) -> list[dict[str, Any]]:
        """A row for each fact."""
        return [{"about": name, "fact": fact} for name, fact in self.facts.items()]

    def parts(self) -> Iterator[str]:
        """One screen: the facts, then the advice."""
        width = max(map(len, self.facts))
        for name, fact in self.facts.items():
            yield fill(f"{name:<{width}}  {for_terminal(fact)}", _WIDTH, subsequent_indent=" " * (width + 2))
        yield "\nslow or missing here:" if self.advice else "\nnothing is slow or missing here"
        for line in self.advice:
            yield fill(f"- {for_terminal(line)}", _WIDTH, subsequent_indent="  ")


def examine(root: Path = Path("/"), runs: Path | None = None) -> Findings:
    """Look at packages, devices, processor, memory, disks and cache.

    Args:
        root: where `dev`, `proc` and `sys` are looked up.
        runs: the folder of runs, which need not be there; None: `runs_folder`.

    Examples:
        >>> found = cs.doctor()
        >>> "convsmith" in found.facts
        True
    """
    there = {name: it for name in PACKAGES if (it := _version(name))}
    gpus, built_for = list(_gpus(root)), _torch_is_built_for() if "torch" in there else ()
    providers, bfloat16 = _providers(), has_bfloat16(root / "proc/cpuinfo")
    shm, cache = _usage(root / "dev/shm"), cache_folder()
    rooms = {"here": Path(), "runs": runs or runs_folder(), "cache": cache}
    disks = {name: (_existing(path), _usage(_existing(path))) for name, path in rooms.items()}
    facts = {
        "convsmith": f"{version('convsmith')}, Python {platform.python_version()}, {platform.platform()}",
        "packages": ", ".join(f"{name} {it}" for name, it in there.items()),
        "not installed": ", ".join(name for name in PACKAGES if name not in there) or "-",
        "devices": ", ".join([*gpus, "CPU"]) + (f"; torch for {' and '.join(built_for)}" if "torch" in there else ""),
        "inference": ", ".join(f"{device} ({', '.join(names)})" for device, names in providers.items()),
        "processor": f"{available_cores(root)} of {os.cpu_count()} cores, {instructions()}",
        "precision": _precision(bfloat16),
        "threads": _set("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
        or "as libraries choose",
        "memory": _memory(root),
        "allocator": "glibc, keeps what is freed" if keep_freed_memory() else "as it is, or as the environment says",
        "/dev/shm": _told(shm),
        "disk": ", ".join(f"{name} {_told(room)}" for name, (_, room) in disks.items()),
        "cache": f"{_short(cache)}: {_content(cache / 'weights')}",
        "environment": _set(*sorted(name for name in os.environ if name.startswith("CONVSMITH_"))) or "-",
    }
    advice = [
        *_packages_advice(there, gpus, built_for),
        *_inference_advice(gpus, providers),
        *_processor_advice(root, bfloat16),
        *_files_advice(),
    ]
    if shm and shm[0] < _SMALL_SHM:
        advice.append(
            f"/dev/shm has {_size(shm[0])} free, and loader processes pass images through it: start the container with "
            "--shm-size=2g, or set data.workers=0"
        )
    for name, (path, room) in disks.items():
        if room and room[0] < _LITTLE_ROOM:
            advice.append(
                f"the disk of {name} has {_size(room[0])} free: make room, or choose another ({_OTHER[name]})"
            )
        if not os.access(path, os.W_OK):
            advice.append(f"{_short(path)} ({name}) cannot be written: choose another ({_OTHER[name]})")
    return Findings(facts, tuple(advice))


_OTHER = {"here": "change to it", "runs": "CONVSMITH_RUNS or --out", "cache": "CONVSMITH_CACHE"}


def _packages_advice(there: dict[str, str], gpus: list[str], built_for: tuple[str, ...]) -> Iterator[str]:
    if "torch" not in there:
        yield f"training, fine-tuning and export need torch: {install_command('train')}"
    elif not gpus:
        yield "there is no GPU, so training runs on the CPU, tens of times slower: take small models and images"
    elif built_for == ("CPU",):
        yield f"torch {there['torch']} is built for the CPU alone, so the GPU stays idle: see pytorch.org/get-started"
    wanted = next((it for it in _requires("torchvision") if it.startswith("torch==")), "")
    if "torch" in there and wanted and wanted.removeprefix("torch==") != there["torch"].partition("+")[0]:
        yield f"torchvision {there['torchvision']} is for {wanted}, not {there['torch']}: install a pair"
    if "torch" in there and "timm" not in there:
        yield f"timm's models, LAMB and Lion are missing: {install_command('timm')}"
    if "fastapi" not in there or "uvicorn" not in there:
        yield f"`convsmith serve` needs a server: {install_command('serve')}"
    if "openvino" not in there and instructions().startswith("av"):
        yield f"OpenVINO runs the same models faster on this processor: {install_command('openvino')}"
    others = [name for name in ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml") if _version(name)]
    if others and "onnxruntime" in there:
        yield f"onnxruntime hides the providers of {others[0]}, since both are installed: keep one of them"


def _inference_advice(gpus: list[str], providers: dict[str, list[str]]) -> Iterator[str]:
    if any("NVIDIA" in name for name in gpus) and "cuda" not in providers:
        yield (
            "onnxruntime runs models on the CPU alone, so prediction leaves the GPU unused: pip uninstall onnxruntime, "
            "then pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )


def _processor_advice(root: Path, bfloat16: bool) -> Iterator[str]:
    cores = available_cores(root)
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and 0 < int(threads) < cores:
        yield f"OMP_NUM_THREADS={threads} leaves {cores - int(threads)} of {cores} cores idle: unset it"
    if native_target() is None:
        yield "the processor has no VNNI: INT8 models hold 7 bits, and gain less speed"
    if not bfloat16:
        yield "the processor has no bfloat16: on it, training computes in float32, about half as fast"


def _files_advice() -> Iterator[str]:
    limit = open_files()
    if limit is not None and limit < _FEW_FILES:
        yield f"only {limit:,} files may be open at once: ulimit -n 65536"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _requires(package: str) -> list[str]:
    try:
        return requires(package) or []
    except PackageNotFoundError:
        return []


def _providers() -> dict[str, list[str]]:
    """The providers of onnxruntime by device, as far as `predict` and `serve` use them."""
    import onnxruntime

    listed = onnxruntime.get_available_providers()
    found: dict[str, list[str]] = {}
    for way in WAYS:
        if way.engine == "onnxruntime" and way.place.provider in listed:
            found.setdefault(way.place.device, []).append(way.place.provider)
    return found


def _torch_is_built_for() -> tuple[str, ...]:
    """Devices that the installed torch can compute on, by its own file of versions."""
    spec = importlib.util.find_spec("torch")
    folder = next(iter(spec.submodule_search_locations or ()), None) if spec else None
    try:
        text = (Path(folder or "") / "version.py").read_text()
    except OSError:
        return ("CPU",)
    built = dict(re.findall(r"^(cuda|hip|xpu)\b[^=]*= '([^']+)'", text, re.MULTILINE))
    names = [f"{label} {built[key]}" for key, label in _PLATFORMS.items() if key in built]
    return tuple(names) or (("MPS",) if sys.platform == "darwin" else ("CPU",))


_PLATFORMS = {"cuda": "CUDA", "hip": "ROCm", "xpu": "XPU"}


def _gpus(root: Path) -> Iterator[str]:
    """The GPUs that the system shows, by name."""
    if tool := shutil.which("nvidia-smi"):
        query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        with suppress(OSError, subprocess.SubprocessError):
            told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout
            for line in told.splitlines():
                name, memory, driver = (*line.split(", "), "", "", "")[:3]
                yield f"{name} ({memory}, driver {driver})"
    if (root / "dev/kfd").exists():
        yield "AMD GPU"
    vendors = (root / "sys/class/drm").glob("renderD*/device/vendor")
    if any(_read(vendor).strip() == "0x8086" for vendor in vendors):
        yield "Intel GPU"
    if sys.platform == "darwin" and platform.machine() == "arm64":
        yield "Apple GPU"


def _precision(bfloat16: bool) -> str:
    target = native_target()
    exact = f"INT8 with 8 bits (--target {target})" if target else "INT8 with 7 bits"
    return f"on the CPU {'bfloat16' if bfloat16 else 'float32'} in training, float32 or {exact} in inference"


def _memory(root: Path) -> str:
    found = dict(re.findall(r"^(MemTotal|MemAvailable): +(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE))
    if len(found) < 2:
        return "unknown"
    told = f"{_size(1024 * int(found['MemAvailable']))} of {_size(1024 * int(found['MemTotal']))} free"
    limit = _read(root / "sys/fs/cgroup/memory.max").strip()
    return f"{told}, at most {_size(int(limit))} in this container" if limit.isdecimal() else told


def _usage(path: Path) -> tuple[int, int] | None:
    """Bytes that are free and in all; None where there is no such place."""
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return usage.free, usage.total


def _existing(path: Path) -> Path:
    """The path, or the nearest folder around it that is there."""
    path = path.absolute()
    return next((it for it in (path, *path.parents) if it.exists()), path)


def _told(room: tuple[int, int] | None) -> str:
    return "none" if room is None else f"{_size(room[0])} of {_size(room[1])} free"


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / 2**20:.0f} MiB"


def _content(folder: Path) -> str:
    sizes = [file.stat().st_size for file in folder.glob("*") if file.is_file()] if folder.is_dir() else []
    return f"{len(sizes)} files of weights, {_size(sum(sizes))}"


def _short(path: Path) -> str:
    """A path without the name of the user: what is printed may end in a public report."""
    with suppress(ValueError, RuntimeError):
        return f"~/{path.relative_to(Path.home())}"
    return str(path)


def _set(*names: str) -> str:
    """Variables of the environment with their values, but for secrets and the user's name."""
    told = {name: "***" if _SECRET.search(name) else os.environ[name] for name in names if name in os.environ}
    return ", ".join(f"{name}={value.replace(str(Path.home()), '~')}" for name, value in told.items())


_SECRET = re.compile("TOKEN|KEY|SECRET|PASSWORD")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
