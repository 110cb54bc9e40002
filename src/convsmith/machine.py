"""The part of this machine that a process may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from convsmith import system

_ROOT = Path("/")
_GPUS = ("dev/nvidiactl", "dev/kfd", "dev/dxg")  # of NVIDIA's driver, AMD's, and Windows' for Linux


def available_cores(root: Path = _ROOT) -> int:
    """Cores that this process may use, at least 1: its affinity, or less where a container has a quota.

    The smallest quota counts, of the process's own control group and of all around it, of either version of control
    groups. Parts of a core are left out.

    Args:
        root: where `/proc` and the mount points of the control groups are looked up.
    """
    return max(1, min([system.cores(), *map(int, _quotas(root))]))


@contextmanager
def variables_kept(*names: str) -> Iterator[None]:
    """Leave variables of the environment as they were before the block."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def attribute_kept(owner: object, name: str) -> Iterator[None]:
    """Leave an attribute of an object or a module as it was before the block."""
    before = getattr(owner, name)
    try:
        yield
    finally:
        setattr(owner, name, before)


def runs_folder() -> Path:
    """Where runs lie that no `--out` places: the folder that CONVSMITH_RUNS names, else `runs`."""
    return Path(os.environ.get("CONVSMITH_RUNS") or "runs").expanduser()


def cache_folder() -> Path:
    """Where downloads and indexes are kept: the folder that CONVSMITH_CACHE names, else the platform's cache."""
    chosen = os.environ.get("CONVSMITH_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "convsmith"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convsmith"


def memory(root: Path = _ROOT) -> int:
    """Bytes of memory that this machine has, or that its container may use."""
    machine = system.memory()
    try:
        return min(machine, int((root / "sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return machine


def may_have_gpu(root: Path = _ROOT) -> bool:
    """Whether there may be a GPU that torch computes on; False only where no driver of one is loaded."""
    return not (root / "proc").is_dir() or any((root / device).exists() for device in _GPUS)


def computes_bfloat16(root: Path = _ROOT) -> bool | None:
    """Whether the processor computes bfloat16 by itself; None where it does not say."""
    for line in _lines(root / "proc/cpuinfo"):
        name, _, features = line.partition(":")
        if name.strip() in ("flags", "Features"):  # of x86, of Arm
            return any(feature.endswith("bf16") for feature in features.split())
    return None


def _quotas(root: Path) -> Iterator[float]:
    """Cores that each group allows, where it says so."""
    groups = _groups(root)
    for line in _lines(root / "proc/self/mountinfo"):
        place, _, kind = line.partition(" - ")
        file_system, _, options = (*kind.split(), "", "", "")[:3]
        controller = "cpu" if file_system == "cgroup" and "cpu" in options.split(",") else ""
        fields = place.split()
        if (file_system != "cgroup2" and not controller) or controller not in groups or len(fields) < 5:
            continue
        shown, mount_point = fields[3:5]  # of a container, often only its own group is mounted
        own = PurePosixPath(groups[controller])
        inside = own.relative_to(shown) if own.is_relative_to(shown) and ".." not in own.parts else PurePosixPath()
        for group in (inside, *inside.parents):
            quota = _quota(root / mount_point.lstrip("/") / group, controller)
            if quota is not None:
                yield quota


def _groups(root: Path) -> dict[str, str]:
    """The group of this process by controller; that of version 2 is called "" and has all of them."""
    groups = {}
    for line in _lines(root / "proc/self/cgroup"):
        controllers, _, path = line.partition(":")[2].partition(":")
        if path:
            groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _quota(group: Path, controller: str) -> float | None:
    try:
        if controller:
            limit, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        else:
            limit, period = map(int, (group / "cpu.max").read_text().split())
        return limit / period if limit > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max": no quota
        return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        return []
