"""predict and serve in an environment that holds convsmith[serve] and no torch."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from convsmith.recipe.load import load_recipe
from convsmith.recipe.make_plan import make_plan
from tests.colours import picture
from tests.serve.running import post, served_by_command
from tests.stripes import stripes_png, write_stripes


def test_the_environment_has_no_torch(torch_free_python: Path) -> None:
    code = "import importlib.util as u; print([u.find_spec(n) is not None for n in ('torch', 'torchvision', 'onnx')])"
    output = subprocess.run([torch_free_python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[False, False, False]"


def test_convsmith_is_imported_from_there(torch_free_python: Path) -> None:
    code = "import convsmith, convsmith.bundle.predictor, convsmith.serve.app; print(convsmith.__file__)"
    output = subprocess.run(
        [torch_free_python, "-c", code], capture_output=True, text=True, check=True, cwd=torch_free_python.parent
    ).stdout
    assert output.startswith(str(torch_free_python.parents[1]))


def test_every_module_without_torch_is_imported(torch_free_python: Path) -> None:
    code = (
        "import importlib, pkgutil, convsmith\n"
        "for room in ('recipe', 'bundle', 'serve', 'launch', 'cli'):\n"
        "    package = importlib.import_module(f'convsmith.{room}')\n"
        "    for it in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):\n"
        "        importlib.import_module(it.name)\n"
    )
    result = subprocess.run([torch_free_python, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [["recipes", "show", "resnet50-in1k-v2"], ["doctor"]],
    ids=lambda words: words[0],
)
def test_the_commands_without_torch_run(torch_free_python: Path, words: list[str]) -> None:
    command = [str(torch_free_python), "-m", "convsmith", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_a_plan_has_null_for_the_models_part_and_a_note_says_so(torch_free_python: Path) -> None:
    words = ["resnet50-in1k", "--num-samples", "1281167", "--devices", "8", "--json", "schedule.epochs=1"]
    command = [str(torch_free_python), "-m", "convsmith", "plan", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = make_plan(load_recipe("resnet50-in1k", ["schedule.epochs=1"]), 1281167, devices=8)
    assert json.loads(result.stdout) == expected.to_dict()
    assert result.stderr == "torch is not installed: groups, parameters, GMACs and memory are left out\n"


def test_the_python_interface_predicts(torch_free_python: Path, colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("blue"))
    code = f"import convsmith as cs; print(cs.load({str(colour_bundle)!r}).predict('a.png').label)"
    output = subprocess.run([torch_free_python, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert output.stdout.strip() == "blue"


def test_the_command_predicts(torch_free_python: Path, colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("blue"))
    command = [torch_free_python.with_name("convsmith"), "predict", colour_bundle, tmp_path / "a.png", "--json"]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["label"] == "blue"


def test_the_command_serves(torch_free_python: Path, colour_bundle: Path) -> None:
    with served_by_command(colour_bundle, python=torch_free_python) as (_, url):
        assert post(url, picture("blue")).json()["label"] == "blue"


def test_the_command_evaluates(torch_free_python: Path, colour_bundle: Path, tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        (tmp_path / colour).mkdir()
        (tmp_path / colour / "a.png").write_bytes(picture(colour))
    command = [torch_free_python.with_name("convsmith"), "evaluate", colour_bundle, "--data", tmp_path, "--json"]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["top1"] == 1.0


def test_the_command_writes_masks(torch_free_python: Path, pixel_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(stripes_png("blue", "red"))
    command = [torch_free_python.with_name("convsmith"), "predict", pixel_bundle, "a.png", "--json"]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert [entry["label"] for entry in json.loads(result.stdout)["classes"]] == ["blue", "red"]
    assert {path.name for path in (tmp_path / "predictions").iterdir()} == {"a.png", "a.overlay.jpg", "a.json"}


def test_the_command_serves_masks(torch_free_python: Path, pixel_bundle: Path) -> None:
    with served_by_command(pixel_bundle, python=torch_free_python) as (_, url):
        assert post(url, stripes_png("blue")).json()["runs"] == [[2, 135]]


def test_the_command_evaluates_masks(torch_free_python: Path, pixel_bundle: Path, tmp_path: Path) -> None:
    write_stripes(tmp_path, "val", [("red", "green"), ("blue",)])
    command = [torch_free_python.with_name("convsmith"), "evaluate", pixel_bundle, "flip=true"]
    command += ["--data", tmp_path, "--boundary-iou", "--json"]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["miou"], report["boundary_iou"]) == (1.0, 1.0)
