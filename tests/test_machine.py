"""Cores by the quotas of control groups, in trees of files as the kernel shows them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convsmith.machine import (
    attribute_kept,
    available_cores,
    cache_folder,
    computes_bfloat16,
    may_have_gpu,
    memory,
    runs_folder,
    variables_kept,
)
from convsmith.tasks.bfloat16 import has_bfloat16

MACHINE = 16


@pytest.fixture(autouse=True, scope="module")
def sixteen_cores() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: set(range(MACHINE)), raising=False)
        yield


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text + "\n")


def version_1(root: Path, group: str, quotas: dict[str, int], shown: str = "/", name: str = "cpu,cpuacct") -> Path:
    """A process in `group`; `quotas`, in thousandths of a core, at folders below the mount point."""
    write(root, "proc/self/cgroup", f"5:memory:/elsewhere\n4:{name}:{group}\n1:name=systemd:/")
    mount = f"36 31 0:29 {shown} /sys/fs/cgroup/{name} rw,nosuid shared:9 - cgroup cgroup rw,{name}"
    write(root, "proc/self/mountinfo", f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n{mount}")
    for folder, quota in quotas.items():
        write(root, f"sys/fs/cgroup/{name}/{folder}/cpu.cfs_quota_us", str(quota * 100 if quota > 0 else -1))
        write(root, f"sys/fs/cgroup/{name}/{folder}/cpu.cfs_period_us", "100000")
    return root


def version_2(root: Path, group: str, quotas: dict[str, int], shown: str = "/") -> Path:
    """The same of version 2."""
    write(root, "proc/self/cgroup", f"0::{group}")
    write(root, "proc/self/mountinfo", f"30 23 0:26 {shown} /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate")
    for folder, quota in quotas.items():
        write(root, f"sys/fs/cgroup/{folder}/cpu.max", f"{quota * 100 if quota > 0 else 'max'} 100000")
    return root


@pytest.mark.parametrize("version", [version_1, version_2])
@pytest.mark.parametrize(
    ("group", "quotas", "shown", "cores"),
    [
        ("/", {".": 2000}, "/", 2),
        ("/", {".": 2900}, "/", 2),
        ("/", {".": 500}, "/", 1),
        ("/a/b", {"a/b": 4000}, "/", 4),
        ("/a/b", {"a": 3000, "a/b": 5000}, "/", 3),
        ("/a/b", {".": 2000, "a": 3000, "a/b": -1}, "/", 2),
        ("/a/b", {"a/other": 1000}, "/", MACHINE),
        ("/a/b", {".": -1, "a": -1, "a/b": -1}, "/", MACHINE),
        ("/a/b", {".": 64000}, "/", MACHINE),
        ("/a/b", {}, "/", MACHINE),
        ("/docker/abc", {".": 2000}, "/docker/abc", 2),
        ("/docker/abc/inner", {".": 6000, "inner": 2000}, "/docker/abc", 2),
        ("/docker/abc", {".": 2000}, "/elsewhere", 2),
        ("/../other", {".": 2000}, "/", 2),
    ],
)
def test_the_smallest_quota_from_the_own_group_upwards_counts(
    tmp_path: Path, version: Callable[..., Path], group: str, quotas: dict[str, int], shown: str, cores: int
) -> None:
    assert available_cores(version(tmp_path, group, quotas, shown)) == cores


def test_a_process_in_groups_of_both_versions_has_the_smaller_quota(tmp_path: Path) -> None:
    version_2(tmp_path, "/a", {"a": 5000})
    both = [(tmp_path / "proc/self" / name).read_text() for name in ("cgroup", "mountinfo")]
    version_1(tmp_path, "/b", {"b": 3000}, name="cpu")
    for name, text in zip(("cgroup", "mountinfo"), both, strict=True):
        write(tmp_path, f"proc/self/{name}", (tmp_path / "proc/self" / name).read_text() + text)
    assert available_cores(tmp_path) == 3
    write(tmp_path, "sys/fs/cgroup/a/cpu.max", "200000 100000")
    assert available_cores(tmp_path) == 2


@pytest.mark.parametrize("content", ["nonsense", "", "0 0", "0 100000", "100000 0", "max", "-5 100000", "1 2 3"])
def test_a_quota_that_cannot_be_understood_does_not_count(tmp_path: Path, content: str) -> None:
    root = version_2(tmp_path, "/", {})
    write(root, "sys/fs/cgroup/cpu.max", content)
    assert available_cores(root) == MACHINE


@pytest.mark.parametrize("content", ["", "nonsense", "0::", ":", "a:b", "0::relative"])
def test_lists_of_groups_and_mounts_that_cannot_be_understood_are_no_quota(tmp_path: Path, content: str) -> None:
    for name in ("cgroup", "mountinfo"):
        write(tmp_path, f"proc/self/{name}", content)
    assert available_cores(tmp_path) == MACHINE


def test_where_there_are_no_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == MACHINE


@given(st.lists(st.integers(-1, 40_000), min_size=1, max_size=5), st.sampled_from([version_1, version_2]))
def test_the_cores_are_the_minimum_over_the_hierarchy(
    tmp_path_factory: pytest.TempPathFactory, quotas: list[int], version: Callable[..., Path]
) -> None:
    folders = ["/".join("abcde"[:depth]) or "." for depth in range(len(quotas))]
    tree = dict(zip(folders, quotas, strict=True))
    root = version(tmp_path_factory.mktemp("tree"), f"/{folders[-1].strip('.')}", tree)
    limits = [quota // 1000 for quota in quotas if quota > 0]
    assert available_cores(root) == max(1, min([MACHINE, *limits]))


@pytest.mark.parametrize(("limit", "expected"), [("1048576", 2**20), ("max", None), (str(2**62), None), (None, None)])
def test_memory_is_what_the_container_may_use_where_that_is_less(
    tmp_path: Path, limit: str | None, expected: int | None
) -> None:
    if limit:
        write(tmp_path, "sys/fs/cgroup/memory.max", limit)
    assert memory(tmp_path) == (expected or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_tile", True),
        ("flags\t\t: fpu avx512f bf16_of_another_kind", False),
        ("Features\t: fp asimd i8mm bf16", True),
        ("Features\t: fp asimd", False),
        ("model name\t: a processor with bf16", None),
    ],
)
def test_a_processor_says_whether_it_computes_bfloat16(tmp_path: Path, line: str, expected: bool | None) -> None:
    write(tmp_path, "proc/cpuinfo", f"processor\t: 0\n{line}\n\nprocessor\t: 1\n{line}")
    assert computes_bfloat16(tmp_path) is expected


def test_without_linux_nothing_is_known_of_processor_and_gpus(tmp_path: Path) -> None:
    assert computes_bfloat16(tmp_path) is None
    assert may_have_gpu(tmp_path)


@pytest.mark.parametrize("driver", ["nvidiactl", "kfd", "dxg"])
def test_a_driver_may_mean_a_gpu(tmp_path: Path, driver: str) -> None:
    write(tmp_path, "proc/cpuinfo", "flags: fpu")
    assert not may_have_gpu(tmp_path)
    write(tmp_path, f"dev/{driver}", "")
    assert may_have_gpu(tmp_path)


def test_this_machine_is_what_torch_takes_it_for() -> None:
    assert may_have_gpu() or not torch.cuda.is_available()
    assert computes_bfloat16() in (has_bfloat16(torch.device("cpu")), None)


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("CONVSMITH_CACHE", raising=False)
    assert cache_folder() == tmp_path / "xdg" / "convsmith"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "convsmith"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "convsmith"
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_variables_are_as_they_were_after_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", "1")
    monkeypatch.delenv("TWO", raising=False)
    with variables_kept("ONE", "TWO"):
        os.environ |= {"ONE": "x", "TWO": "x"}
    assert (os.environ["ONE"], os.environ.get("TWO")) == ("1", None)


def test_an_attribute_is_as_it_was_after_a_block() -> None:
    path = SimpleNamespace(name="one")
    with attribute_kept(path, "name"):
        path.name = "two"
    assert path.name == "one"


def test_runs_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_RUNS", "")
    assert runs_folder() == Path("runs")
    monkeypatch.setenv("CONVSMITH_RUNS", "~/mine")
    assert runs_folder() == Path.home() / "mine"


def test_the_smallest_quota_that_there_is_is_one_core(tmp_path: Path) -> None:
    root = version_2(tmp_path, "/", {})
    write(root, "sys/fs/cgroup/cpu.max", "1 100000")
    assert available_cores(root) == 1


@pytest.mark.parametrize(
    "mount",
    [
        "36 31 0:29 / /sys/fs/cgroup/cpu rw - tmpfs cgroup rw,cpu",
        "36 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpuset",
        "36 31 0:29 / - cgroup2 cgroup2 rw",
    ],
)
def test_another_mount_is_no_control_group_of_cores(tmp_path: Path, mount: str) -> None:
    root = version_1(tmp_path, "/", {".": 2000}, name="cpu")
    write(root, "proc/self/cgroup", "4:cpu:/\n0::/")
    write(root, "proc/self/mountinfo", mount)
    assert available_cores(root) == MACHINE


def test_a_mount_needs_no_further_fields(tmp_path: Path) -> None:
    root = version_2(tmp_path, "/", {".": 2000})
    write(root, "proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup - cgroup2 cgroup2 rw")
    assert available_cores(root) == 2
