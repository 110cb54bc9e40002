"""Every benchmark beside its peer, one after the other, written as a page.

    .venv/bin/python benchmarks/suite.py [--full] [--photos FOLDER] [--timm CHECKOUT --cifar FOLDER]
        [--litserve PYTHON] [--nncf PYTHON] [--only NAME ...]

The short form takes about ten minutes and looks at one model where the full one looks at all. FOLDER holds photographs
as JPEGs; without it they are drawn. What only compares with a program that is not here is left out, and the page says
so. Use an idle machine: figures are ratios of ways that take turns in one run, and each table says how far they spread.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
PACKAGES = ("convsmith", "torch", "torchvision", "timm", "onnxruntime", "openvino", "numpy", "Pillow", "simplejpeg")


@dataclass(frozen=True)
class Part:
    """A script of this folder.

    `short` and `full` are its words; {photos}, {photo}, {int8}, {timm}, {cifar}, {litserve}, {float} and
    {nncf} in them stand for places.
    `needs` names programs that must be on the PATH. A part whose place is not known is left out.
    """

    name: str
    script: str
    short: str | None
    full: str
    needs: tuple[str, ...] = ()


PARTS = (
    Part("starting", "starting.py", "{int8} {photo} --rounds 3", "{int8} {photo} --rounds 9"),
    Part("training step", "engine.py", "--models resnet50 --steps 3", ""),
    Part("loader", "loading.py", "{photos} --images 320 --rounds 3", "{photos} --rounds 5"),
    Part("index", "index.py", "1281167", "1281167 14197122"),
    Part("predict", "batch_prediction.py", "{int8} {photos} --images 256", "{int8} {photos} --images 1000"),
    Part(
        "serve",
        "serving.py",
        "{int8} {photos} --clients 1 8 --seconds 3 --rounds 2",
        "{int8} {photos} --torch",
        needs=("wrk",),
    ),
    Part(
        "serve beside LitServe",
        "serving.py",
        None,
        "{int8} {photos} --clients 1 8 32 128 --litserve {litserve}",
        needs=("wrk",),
    ),
    Part("INT8", "quantize.py", "speed resnet50 --rounds 3", "speed"),
    Part("INT8 beside its peers", "quantize.py", None, "peers {float} --photos {photos} --nncf {nncf}"),
    Part("time to accuracy", "time_to_accuracy.py", None, "{cifar} --timm {timm} --seeds 3"),
)


def machine() -> str:
    """The processor, memory, system and versions on which figures depend."""
    cpu = next((line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0))
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return (
        f"{cpu or platform.machine()}, {cores} cores, {memory:.0f} GiB; {platform.platform()}; "
        f"Python {platform.python_version()}; {packages}; load before the first part {os.getloadavg()[0]:.1f}."
    )


def _lines(file: str) -> list[str]:
    return Path(file).read_text(encoding="utf-8").splitlines() if Path(file).exists() else []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def run(part: Part, words: str, places: Mapping[str, object]) -> Iterator[str]:
    """The lines of a part's section: what was run, what it printed, its seconds and the most memory of a process."""
    try:
        command = [part.script, *shlex.split(words.format_map(places))]
    except KeyError as error:
        yield f"Left out: it needs `--{error.args[0]}`."
        return
    missing = [program for program in part.needs if shutil.which(program) is None]
    if missing:
        yield f"Left out: {', '.join(missing)} is not on the PATH."
        return
    shown = [f"benchmarks/{part.script}", *shlex.split(words.format_map({name: name.upper() for name in places}))]
    yield f"    python {shlex.join(shown)}\n"
    begin = time.monotonic()
    with subprocess.Popen(
        [sys.executable, HERE / command[0], *command[1:]], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        yield child.stdout.read().strip()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    outcome = "" if child.returncode == 0 else f" **It ended with exit code {child.returncode}.**"
    yield f"\n{time.monotonic() - begin:.0f} s, at most {usage.ru_maxrss / 1024:,.0f} MiB in one process.{outcome}"


def main() -> None:
    """Run the parts and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all models and sizes: about two hours")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs (default: drawn ones)")
    parser.add_argument("--timm", type=Path, help="checkout of timm, for its train.py")
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 as train/CLASS/* and val/CLASS/*")
    parser.add_argument("--litserve", type=Path, help="Python of an environment with LitServe")
    parser.add_argument("--nncf", type=Path, help="Python of an environment with NNCF")
    parser.add_argument("--only", nargs="*", choices=[part.name for part in PARTS], metavar="NAME")
    options = parser.parse_args()
    asked = {name: place for name in ("timm", "cifar", "litserve", "nncf") if (place := getattr(options, name))}
    sections = [f"# Results\n\n`suite.py{' --full' * options.full}` on {datetime.now(UTC):%Y-%m-%d}.\n\n{machine()}"]
    with tempfile.TemporaryDirectory() as folder:
        made = [sys.executable, str(HERE / "materials.py"), folder, *([str(options.photos)] if options.photos else [])]
        subprocess.run(made, check=True, stdout=sys.stderr)  # else its memory would count as that of each part
        photos = Path(folder) / "photos"
        places = {**asked, "photos": photos, "photo": min(photos.rglob("*.jpg")), "int8": Path(folder) / "int8"}
        places["float"] = Path(folder) / "run" / "bundle"
        for part in PARTS:
            words = part.full if options.full else part.short
            if words is None or (options.only and part.name not in options.only):
                continue
            print(f"{part.name} ...", file=sys.stderr, flush=True)
            sections.append("\n".join([f"## {part.name.capitalize()}\n", *run(part, words, places)]))
            RESULTS.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
