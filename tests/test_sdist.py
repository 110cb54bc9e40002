"""What is published as source is what is tested here, and says where it is from."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser

import pytest

import convsmith
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


def tracked(*folders: str) -> set[str]:
    """The files of the repository, or of some of its folders."""
    command = ["git", "-C", str(REPOSITORY), "ls-files", *folders]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git repository")
    return set(listed.stdout.splitlines())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tarfile.TarFile]:
    """The source distribution, made of a copy of the tracked files."""
    copy = tmp_path_factory.mktemp("source")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, copy / name)
    code = "from setuptools.build_meta import build_sdist; print(build_sdist('dist'))"
    built = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=copy)
    assert built.returncode == 0, built.stderr
    with tarfile.open(copy / "dist" / built.stdout.splitlines()[-1]) as file:
        yield file


@pytest.fixture(scope="module")
def metadata(sdist: tarfile.TarFile) -> Message:
    name = next(name for name in sdist.getnames() if name.endswith("/PKG-INFO") and name.count("/") == 1)
    content = sdist.extractfile(name)
    assert content is not None
    return Parser().parsestr(content.read().decode())


def test_all_tests_and_what_they_need_are_in_the_sdist(sdist: tarfile.TarFile) -> None:
    inside = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = tracked("tests", "docs", "src", "benchmarks", "pyproject.toml", "Makefile", "constraints.txt")
    assert wanted - inside == set()
    assert {"CITATION.cff", "SECURITY.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"} <= inside


def test_the_metadata_say_who_and_where(metadata: Message) -> None:
    assert metadata["Version"] == convsmith.__version__
    assert metadata["Author"] == "convsmith developers"
    labels = {line.partition(",")[0] for line in metadata.get_all("Project-URL", [])}
    assert labels == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}


def test_the_citation_is_of_this_version() -> None:
    assert f"version: {convsmith.__version__}\n" in (REPOSITORY / "CITATION.cff").read_text()
