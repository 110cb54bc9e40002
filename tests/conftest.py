from __future__ import annotations

import gc
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from packaging.requirements import Requirement

from tests.browser import chromium
from tests.colours import colour_model, without_answer_on_white, write_colour_bundle
from tests.stripes import pixel_colour_model, write_pixel_bundle

REPOSITORY = Path(__file__).parents[1]
_DRAWS = "convsmith.bundle.figures.certainty_intervals.DRAWS"

os.environ.pop("COLUMNS", None)  # which pytest-xdist sets: commands print as where there is no terminal
os.unsetenv("COLUMNS")  # readline sets it, but not in os.environ
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process that a test starts compiles convsmith anew
sys.dont_write_bytecode = False

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector look at what tests make alone, and less often; warm up what many of them use."""
    gc.disable()
    result = yield
    if "PYTEST_XDIST_WORKER" in os.environ and "torch" in sys.modules:  # of a run of all tests
        importlib.import_module("tests.exporter")
    gc.freeze()
    gc.set_threshold(5000)
    gc.enable()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Let the folders that a fixture makes for a module end with it, unless a test has failed, for people to look."""
    if fixturedef.scope != "module" or "tmp_path_factory" not in fixturedef.argnames:
        return (yield)
    base = request.getfixturevalue("tmp_path_factory").getbasetemp()
    others, made = {*base.iterdir()}, set[Path]()

    def remove() -> None:
        if not request.session.testsfailed:
            for folder in made:
                shutil.rmtree(folder, ignore_errors=True)

    fixturedef.addfinalizer(remove)
    result = yield
    made |= {*base.iterdir()} - others
    return result


@pytest.fixture(scope="module", autouse=True)
def _reports_at_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let trainings end without a report, which takes a second, but where a module says `REPORTS_AT_END = True`."""
    with pytest.MonkeyPatch.context() as patch:
        if not getattr(request.module, "REPORTS_AT_END", False):
            patch.setattr("convsmith.analyze.report.at_end.ReportAtEnd.end", lambda *_: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_draws() -> Iterator[None]:
    """Let intervals be of 200 draws, not of 1,000, which take a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_DRAWS, 200)
        yield


@pytest.fixture
def all_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let intervals be of as many draws as those of users."""
    monkeypatch.setattr(_DRAWS, 1000)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of shared data that CONVSMITH_TEST_DATA names."""
    folder = os.environ.get("CONVSMITH_TEST_DATA")
    if not folder:
        pytest.skip("CONVSMITH_TEST_DATA does not name a folder of test data")
    return Path(folder)


@pytest.fixture(scope="session")
def colour_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that names the strongest of red, green and blue."""
    return write_colour_bundle(tmp_path_factory.mktemp("bundle") / "colour")


@pytest.fixture(scope="session")
def pixel_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that says of each pixel which of red, green and blue is the strongest."""
    return write_pixel_bundle(tmp_path_factory.mktemp("bundle") / "pixels")


@pytest.fixture(scope="session", params=["classifier", "segmentation"])
def bundle_without_answer_on_white(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of either task whose logits of a white image are not finite."""
    folder = tmp_path_factory.mktemp("bundle") / "fragile"
    if request.param == "classifier":
        return write_colour_bundle(folder, without_answer_on_white(colour_model()))
    return write_pixel_bundle(folder, model=without_answer_on_white(pixel_colour_model()))


@pytest.fixture(
    scope="session",
    params=["links", *(pytest.param(it, marks=pytest.mark.slow) for it in ("this", "3.12", "3.13"))],
    ids=lambda version: f"python-{version}",
)
def torch_free_python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds convsmith[serve] and what that needs, so no torch.

    `links` has links to the packages of this environment, the others have what pip installs.
    """
    is_linked = request.param == "links"
    interpreter = sys.executable if request.param in ("links", "this") else _python(request.param)
    folder = tmp_path_factory.mktemp("torch-free")
    source = folder / "source"  # a build inside the repository would leave files there
    shutil.copytree(REPOSITORY / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    subprocess.run([interpreter, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    if is_linked:
        _link_packages(source, python)
        return python
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet"]
    command = [*pip, "install", "--no-compile", f"{source}[serve]"]
    install = subprocess.run(command, capture_output=True, text=True, check=False)
    assert install.returncode == 0, install.stderr
    return python


def _link_packages(source: Path, python: Path) -> None:
    """Put convsmith into an environment, and links to the packages that it says it needs, and to those they need."""
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    done = set[tuple[str, frozenset[str]]]()
    left = [Requirement("convsmith[serve]")]
    while left:
        needed = left.pop()
        if (needed.name, frozenset(needed.extras)) in done:
            continue
        done.add((needed.name, frozenset(needed.extras)))
        package = distribution(needed.name)
        for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__", "convsmith"}:
            if not (packages / top).exists() and not top.startswith("__editable__"):
                (packages / top).symlink_to(Path(str(package.locate_file(top))))
        for it in map(Requirement, package.requires or ()):
            if it.marker is None or any(it.marker.evaluate({"extra": extra}) for extra in needed.extras or {""}):
                left.append(it)
    shutil.move(source / "src" / "convsmith", packages)
    script = python.with_name("convsmith")
    script.write_text(f"#!{python}\nfrom convsmith.cli.main import main\n\nmain()\n")
    script.chmod(0o755)


def _python(version: str) -> str:
    """An interpreter of that version, of the system or of pyenv."""
    on_path = shutil.which(f"python{version}")
    found = [*([on_path] if on_path else []), *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    usable = [it for it in found if subprocess.run([it, "--version"], capture_output=True, check=False).returncode == 0]
    if not usable:
        pytest.skip(f"there is no Python {version} here")
    return usable[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser of playwright's."""
    with chromium() as found:
        yield found
