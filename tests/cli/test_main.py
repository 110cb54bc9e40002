from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command

import convsmith as cs
from convsmith.cli import main
from convsmith.cli.group import Group
from convsmith.errors import install_command


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convsmith.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


HEAVY = {"torch", "torchvision", "onnxruntime", "onnx", "fastapi", "sklearn", "tensorboard"}


@pytest.mark.parametrize("statement", ["import convsmith", "import convsmith.cli.main"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert not loaded_by(statement) & HEAVY


def test_every_public_name_can_be_had() -> None:
    assert all(getattr(cs, name) is not None for name in cs.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = cs.trian


COMMANDS = ["train", "evaluate", "compare", "predict", "serve", "plan", "ablate", "profile", "models", "demo", "doctor"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    assert f"Example: convsmith {command}" in result.stdout.replace("\n", " ")


def test_version_is_that_of_the_package() -> None:
    assert run("--version").stdout.strip() == cs.__version__ == version("convsmith")


def test_the_package_is_a_command_too() -> None:
    command = [sys.executable, "-m", "convsmith", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == cs.__version__


@pytest.mark.parametrize(
    ("words", "expected"),
    [("convsmith tr", "train"), ("convsmith plan resnet50-in1k-c", "resnet50-in1k-cosine")],
)
def test_a_shell_completes_commands_and_recipes(words: str, expected: str) -> None:
    asked = {"_CONVSMITH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "import sys; sys.argv[0] = 'convsmith'; from convsmith.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **asked}
    )
    assert result.stdout.split() == [expected]


def test_the_shell_is_taught_to_complete() -> None:
    result = run("--help")
    assert "--install-completion" in result.stdout


def test_an_error_is_one_or_two_lines_and_exit_code_2() -> None:
    result = run("train", "resnet51", "--data", "nowhere")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="what lies in a circle is no error of its own there")
def test_links_in_a_circle_are_an_error_of_two_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    monkeypatch.setattr(main, "_with_command_of", lambda words: loop.resolve())
    with pytest.raises(SystemExit):
        main.main([])
    said, remedy = capsys.readouterr().err.splitlines()
    assert str(loop) in said
    assert remedy == "Its symbolic links lead in a circle: mend them."


def test_debug_shows_where_an_error_came_from() -> None:
    result = run("--debug", "train", "resnet51", "--data", "nowhere")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_a_missing_extra_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    command = [sys.executable, "-m", "convsmith.cli.main", "models", "torchvision/*"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 2
    assert install_command("train") in result.stderr


def test_the_options_of_the_command_that_is_called_alone_are_read() -> None:
    chosen = get_command(main._with_command_of(["plan", "--help"]))
    assert isinstance(chosen, Group)
    assert list(chosen.commands) == ["plan"]


@pytest.mark.parametrize("words", [[], ["--help"], ["plna"], ["--debug", "plan"]])
def test_all_commands_are_known_where_none_is_called_first(words: list[str]) -> None:
    assert main._with_command_of(words) is main.app


def test_many_options_are_shown_in_groups() -> None:
    shown = run("serve", "--help").stdout
    titles = ["Arguments:", "Options:", "Limits and speed:", "Seeing what it does:", "Safety:", "Behind a proxy:"]
    places = [shown.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)
    assert places[4] < shown.index("--token-file") < places[5]
    assert shown.count("--token-file") == 1
