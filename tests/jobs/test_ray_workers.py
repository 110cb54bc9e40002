"""Images that the workers of a Ray cluster answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import convsmith as cs
from convsmith.bundle.predictor import load
from convsmith.jobs import ray_workers
from convsmith.jobs.answered import Answered
from tests.colours import picture

COUNT = 150


class Mortal(ray_workers._Worker):
    """A worker of which one is killed once."""

    def answer(self, first: int, count: int) -> list[Answered]:
        mark = self._answering.out.with_suffix(".killed")
        if first == 64 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(first, count)


def test_a_cluster_needs_ray(colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "a.png").write_bytes(picture("red"))
    with pytest.raises(cs.ConvsmithError, match="needs the package `ray`"):
        cs.predict_into(colour_bundle, tmp_path / "a.png", tmp_path / "p.csv", ray="local")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of this machine; a test that finds no ray is skipped."""
    ray = pytest.importorskip("ray", reason="Ray is not installed here: it takes an environment of its own")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_AUTH_MODE", "disabled")  # or it writes a token into the home folder
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield "auto"
        ray.shutdown()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(COUNT):
        (folder / f"{i:03}.png").write_bytes(picture(("red", "lime", "blue")[i % 3]) if i % 7 else b"bad")
    return folder


@pytest.fixture(autouse=True)
def _many_small_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_workers, "_CORES", 1)
    monkeypatch.setattr(ray_workers, "_IMAGES", 16)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_workers_write_the_file_that_one_process_writes(
    cluster: str, colour_bundle: Path, photos: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    ours, theirs = (tmp_path / f"{name}{ending}" for name in ("ours", "theirs"))
    here = cs.predict_into(colour_bundle, photos.name, ours, batch_size=4)
    assert cs.predict_into(colour_bundle, photos.name, theirs, batch_size=4, ray=cluster) == here
    assert ours.read_bytes() == theirs.read_bytes() or ending == ".parquet"  # whose pages begin at other rows
    if ending == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        assert parquet.read_table(ours).equals(parquet.read_table(theirs))


@pytest.mark.slow
def test_what_one_process_has_begun_workers_go_on_with(
    cluster: str, colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "p.csv"
    cs.predict_into(colour_bundle, photos, whole, batch_size=4)

    def end(_what: str, done: int, _total: int | None) -> None:
        if done >= 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cs.predict_into(colour_bundle, photos, out, batch_size=4, ray=cluster, progress=end)
    told: list[int] = []
    cs.predict_into(
        colour_bundle, photos, out, batch_size=4, ray=cluster, progress=lambda _, done, __: told.append(done)
    )
    assert told[0] >= 60
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_row(
    cluster: str, colour_bundle: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cs.predict_into(colour_bundle, photos, tmp_path / "whole.csv", batch_size=4)
    monkeypatch.setattr(ray_workers, "_Worker", Mortal)
    cs.predict_into(colour_bundle, photos, tmp_path / "p.csv", batch_size=4, ray=cluster)
    assert (tmp_path / "p.killed").exists()
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


COMMAND = """
import sys
from convsmith.jobs import ray_workers
ray_workers._CORES, ray_workers._IMAGES = 1, 32
from convsmith.cli.main import main
sys.argv[0] = "convsmith"
main()
"""


@pytest.mark.slow
def test_the_command_is_killed_and_goes_on_with_the_cluster(
    cluster: str, colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    cs.predict_into(colour_bundle, photos, tmp_path / "whole.csv")
    out, ended = tmp_path / "p.csv", list[int]()
    command = [sys.executable, "-c", COMMAND, "predict", str(colour_bundle), str(photos), "--out", str(out)]
    while -signal.SIGKILL in ended[-1:] or not ended:
        before = len(list(tmp_path.glob("p.csv.parts/0*")))
        with subprocess.Popen([*command, "--ray", cluster], stdout=subprocess.DEVNULL) as run:
            while len(ended) < 3 and len(list(tmp_path.glob("p.csv.parts/0*"))) <= before and run.poll() is None:
                time.sleep(0.005)
            if len(ended) < 3:
                run.kill()
        ended.append(run.returncode)
    assert ended == [-signal.SIGKILL] * 3 + [1]  # some images are bad
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.slow
def test_a_bundle_that_workers_cannot_open_is_one_error(
    cluster: str, colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(cs.ConvsmithError, match="there is no runtime `abacus`"):
        cs.predict_into(load(colour_bundle), photos, tmp_path / "p.csv", ray=cluster, runtime="abacus")


class _Ray:
    """A cluster of machines with so many cores, as far as it is looked at."""

    def __init__(self, cores: list[int], gpus: int = 0) -> None:
        dead = {"Alive": False, "Resources": {"CPU": 1.0}}
        without = {"Alive": True, "Resources": {"memory": 1.0}}
        self._nodes = [{"Alive": True, "Resources": {"CPU": float(it)}} for it in cores] + [dead, without]
        self._there = {"CPU": sum(cores), **({"GPU": float(gpus)} if gpus else {})}
        self.asked: dict[str, int] = {}
        self.started = list[tuple[object, ...]]()

    def cluster_resources(self) -> dict[str, float]:
        return self._there

    def nodes(self) -> list[dict[str, object]]:
        return self._nodes

    def remote(self, **options: int) -> object:
        self.asked = options
        actor = SimpleNamespace(remote=lambda *given: self.started.append(given))
        return lambda _: actor


@pytest.mark.parametrize(
    ("cores", "gpus", "device", "each", "workers"),
    [
        ([16, 9], 0, "auto", 4, 6),
        ([16, 3], 0, "cpu", 3, 6),
        ([1], 0, "auto", 1, 1),
        ([16], 2, "cuda", 4, 2),
        ([16], 2, "gpu", 4, 2),
        ([16], 2, "auto", 4, 4),
    ],
)
def test_a_worker_has_a_gpu_or_a_few_cores(
    cores: list[int], gpus: int, device: str, each: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_workers, "_CORES", 4)
    ray = _Ray(cores, gpus)
    ray_workers._start(ray, Path("/bundle"), ray_workers.Cluster("auto", None, device), "held")
    assert ray.started == [(Path("/bundle"), (each, None, device), ["held"])] * workers
    is_gpu = int(device in ("cuda", "gpu"))
    assert ray.asked == {"num_cpus": each, "num_gpus": is_gpu, "max_restarts": -1, "max_task_retries": -1}


@pytest.mark.parametrize(("cores", "device", "lacks"), [([], "auto", "core"), ([8], "cuda", "GPU")])
def test_a_cluster_without_room_is_an_error(cores: list[int], device: str, lacks: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=f"the cluster has no {lacks}"):
        ray_workers._start(_Ray(cores), Path("/bundle"), ray_workers.Cluster("auto", None, device), "held")
