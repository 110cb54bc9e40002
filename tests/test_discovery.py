"""Discovery: one file put into a copy of the package is all that a new member takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import convsmith

REPOSITORY = Path(__file__).parents[1]
TRACKER = """
from convsmith.training.observers.tracker import Tracker

class Notes(Tracker):
    service = "a notebook"
    def follow(self, run): pass
    def forget(self, run, kept): pass
    def finish(self, run): pass
    def stop(self): pass

TRACKER = Notes
"""
FORMAT = """
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.format import Format

FORMAT = Format("ONNX by another name", lambda source: {"model.other": source.onnx},
                lambda files, threads: OnnxRuntime(files["model.other"], threads))
"""
SOURCE = """
from convsmith.data.source import Opener, Source

SOURCE = Source(lambda path: path.suffix == ".shards", {"classification": Opener(None, None)})
"""
FAMILY = """
from functools import partial
from convsmith.models.families.cifar_resnet import CifarResNet

MODELS = {"one_file_net": partial(CifarResNet, 1)}
"""
DECODER = """
from convsmith.models.families.fcn import DECODERS as FCN

class Other(FCN["fcn"]):
    pass

DECODERS = {"otherhead": Other}
"""

TASK = """
from convsmith.bundle.tasks.classification import ClassificationTask

class Guess(ClassificationTask):
    def entries(self, answer, top=None):
        return [("perhaps", answer.label)]

TASK = Guess()
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package that has a further member of each kind."""
    folder = tmp_path_factory.mktemp("copied")
    package = folder / "convsmith"
    shutil.copytree(Path(convsmith.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    members = {
        "training/observers/trackers/notes.py": TRACKER,
        "deploy/formats/other_onnx.py": FORMAT,
        "data/sources/shards.py": SOURCE,
        "models/families/one_file_net.py": FAMILY,
        "models/families/otherhead.py": DECODER,
        "bundle/tasks/guess.py": TASK,
    }
    for name, content in members.items():
        (package / name).write_text(content)
    return folder


def told(copied: Path, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{copied}{os.pathsep}{REPOSITORY}", "COLUMNS": "200"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=copied).stdout


def test_a_tracker_is_an_option_of_train(copied: Path) -> None:
    code = """
import contextlib, sys
from convsmith.cli.main import main
with contextlib.suppress(SystemExit):
    main(["train", "--help"])
assert "torch" not in sys.modules
from convsmith.training.observers.tracker import make_tracker
print(make_tracker("notes").service)
"""
    said = told(copied, code)
    assert "--tracker <mlflow|notes|wandb>" in said
    assert said.endswith("a notebook\n")


def test_a_format_a_source_and_models_are_found(copied: Path) -> None:
    code = """
from pathlib import Path
from convsmith.data.source import is_known
from convsmith.deploy.format import find_format
from convsmith.models.registry import create_model, list_models
print(find_format("other-onnx").summary)
print(is_known(Path("photos.shards")))
print(list_models("one_file*"), list_models("resnet18_other*"))
print(type(create_model("one_file_net", num_classes=3)).__name__)
print(type(create_model("resnet18_otherhead", num_classes=3)).__name__)
"""
    assert told(copied, code).splitlines() == [
        "ONNX by another name",
        "True",
        "['one_file_net'] ['resnet18_otherhead']",
        "CifarResNet",
        "Other",
    ]


def test_a_bundle_may_be_of_a_new_task(copied: Path) -> None:
    code = """
from pathlib import Path
import convsmith as cs
from convsmith.cli.main import main
from tests.colours import picture, write_colour_bundle
write_colour_bundle(Path("bundle"), task="guess")
Path("photo.png").write_bytes(picture("blue"))
main(["predict", "bundle", "photo.png"])
"""
    assert "perhaps" in told(copied, code)
