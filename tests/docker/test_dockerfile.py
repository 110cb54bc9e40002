"""What the image is made of, by the commands of its own file, as far as they need no Docker."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.colours import picture
from tests.conftest import REPOSITORY
from tests.serve.running import post, served_by_command

FILES = ("Dockerfile", "Dockerfile.cuda")
MOST_MEGABYTES = 250


def instructions(name: str) -> list[tuple[str, str]]:
    """Each instruction of a file, and its arguments."""
    lines = (REPOSITORY / "docker" / name).read_text("utf-8").splitlines()
    pairs = (line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    return [(word, rest) for word, rest in pairs]


@pytest.mark.parametrize("name", FILES)
def test_the_server_does_not_run_as_root(name: str) -> None:
    users = [rest for word, rest in instructions(name) if word == "USER"]
    assert users == ["10001:10001"]


def test_what_pip_reads_is_in_the_context() -> None:
    kept = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == {"LICENSE", "README.md", "pyproject.toml", "src"}
    assert all((REPOSITORY / name).exists() for name in kept)


def test_compose_names_the_image_s_own_file() -> None:
    (service,) = yaml.safe_load((REPOSITORY / "docker/compose.yaml").read_text())["services"].values()
    build = service["build"]
    assert (REPOSITORY / "docker" / build["context"] / build["dockerfile"]).is_file()
    assert service["read_only"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the file's RUN lines install, from the files that .dockerignore lets through."""
    folder = tmp_path_factory.mktemp("image")
    source, made = folder / "source", folder / "convsmith"
    source.mkdir()
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(REPOSITORY / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    venv.create(folder / "system", with_pip=True)
    path = os.pathsep.join((str(folder / "system" / "bin"), os.environ["PATH"]))
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for word, rest in instructions("Dockerfile"):
        if word == "RUN":
            command = [part.replace("/opt/convsmith", str(made)) for part in shlex.split(rest)]
            subprocess.run(command, check=True, cwd=source, env={**clean, "PATH": path})
    yield made
    shutil.rmtree(folder)


@pytest.mark.slow
def test_the_environment_is_small_and_has_no_torch(environment: Path) -> None:
    size = sum(file.lstat().st_size for file in environment.rglob("*"))
    assert size < MOST_MEGABYTES * 1e6
    assert not list(environment.glob("lib/*/site-packages/torch"))


@pytest.mark.slow
def test_what_is_installed_serves_a_bundle(environment: Path, colour_bundle: Path) -> None:
    with served_by_command(colour_bundle, python=environment / "bin/python") as (_, url):
        assert post(url, picture("red")).json()["label"] == "red"


@pytest.mark.parametrize("name", FILES)
def test_the_server_ends_its_requests_before_it_is_killed(name: str) -> None:
    assert ("STOPSIGNAL", "SIGTERM") in instructions(name)
    given = (REPOSITORY / "docker/compose.yaml").read_text()
    assert int(re.findall(r"stop_grace_period: (\d+)s", given)[0]) > 25
