"""What `train` is asked for, taken apart before anything is trained."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from convsmith.errors import ConvsmithError
from convsmith.jobs import train as module
from convsmith.jobs.train import _check_processes, _data_is_missing, _told_apart, threads_of_each, train
from convsmith.launch.world import World
from convsmith.recipe.load import load_recipe
from convsmith.training.observers.base import Observer


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CONVSMITH_TRACKER", "CONVSMITH_RUNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("cores", "devices", "threads"), [(8, 2, 4), (7, 2, 3), (2, 4, 1)])
def test_each_process_has_its_share_of_the_cores(
    cores: int, devices: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: cores)
    assert threads_of_each(devices) == threads


ONE, FOUR, UNPLACED = World(), World(0, 4, 0, 4), World(0, 4, placed=False)
OBSERVERS = (Observer(),)


@pytest.mark.parametrize(
    ("world", "devices", "minutes", "observers"),
    [
        (ONE, 1, 2.0, OBSERVERS),
        (ONE, 2, None, ()),
        (FOUR, 1, None, OBSERVERS),
        (FOUR, 4, None, OBSERVERS),
        (UNPLACED, 1, None, ()),
    ],
)
def test_so_many_processes_can_be_had(
    world: World, devices: int, minutes: float | None, observers: tuple[Observer, ...]
) -> None:
    _check_processes(world, devices, minutes, observers)


@pytest.mark.parametrize(
    ("world", "devices", "minutes", "observers", "problem"),
    [
        (ONE, 2, 2.0, (), "--minutes goes with one process"),
        (FOUR, 1, 2.0, (), "--minutes goes with one process"),
        (ONE, 2, None, OBSERVERS, "observers go with one process"),
        (FOUR, 2, None, (), "--devices 2 starts processes, but a launcher has started 4 already"),
        (UNPLACED, 4, None, (), "--devices 4 starts processes, but a launcher has started 4 already"),
    ],
)
def test_other_processes_cannot_be_had(
    world: World, devices: int, minutes: float | None, observers: tuple[Observer, ...], problem: str
) -> None:
    with pytest.raises(ConvsmithError) as caught:
        _check_processes(world, devices, minutes, observers)
    assert caught.value.what == problem


def test_a_recipe_and_its_images_are_told_apart() -> None:
    for folder in ("photos", "digits", "more"):
        Path(folder).mkdir()
    recipe = load_recipe("digits")
    assert _told_apart("photos", None) == (None, "photos")
    assert _told_apart(Path("digits"), Path("photos")) == (Path("digits"), Path("photos"))  # the name of a recipe
    assert _told_apart("resnet51", None) == ("resnet51", None)
    assert _told_apart(recipe, None) == (recipe, None)
    with pytest.raises(ConvsmithError, match="`photos` and data= more are both folders"):
        _told_apart("photos", Path("more"))
    Path("photos.zip").touch()
    with pytest.raises(ConvsmithError, match=r"photos\.zip"):
        _told_apart("photos.zip", None)
    with pytest.raises(ConvsmithError, match="is an address on a network"):
        _told_apart("ftp://photos/a", None)


def test_a_recipe_alone_misses_its_images() -> None:
    Path("digits").mkdir()
    by_name, by_value, other = (_data_is_missing(it) for it in ("digits", load_recipe("digits"), "cifar10"))
    assert by_name.why == "`digits` is a recipe, and it needs images"
    assert by_value.why == "`cifar_resnet20` is a recipe, and it needs images"
    assert by_name.fix.endswith("--data. To train on the folder of that name, write digits/.")
    assert by_value.fix == other.fix == "Add the folder of images with --data."


LAUNCHED: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"recipe": "digits", "data": "d"},
        ["--data=d", "--out=runs/digits", "--devices=2", "--resume=auto", "--max-restarts=0", "--peer-timeout=600.0",
         "--", "digits"],
    ),
    (
        {"recipe": "photos", "overrides": ["seed=1"], "weights": "w", "tracker": "mlflow", "extend": 3, "shard": True,
         "max_restarts": 5, "peer_timeout": timedelta(seconds=7), "resume": "never"},
        ["--out=runs/photos", "--devices=2", "--resume=never", "--finetune=w", "--tracker=mlflow", "--extend=3",
         "--max-restarts=5", "--peer-timeout=7.0", "--shard", "--", "photos", "seed=1"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "words"), LAUNCHED)
def test_several_processes_are_told_all_of_it(
    given: dict[str, Any], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("photos").mkdir()
    monkeypatch.setattr(World, "of_environment", classmethod(lambda cls: cls()))
    monkeypatch.setattr(module, "available_cores", lambda: 4)
    launched = list[tuple[Any, ...]]()
    monkeypatch.setattr(module, "launch", lambda *arguments: launched.append(arguments))
    train(**given, devices=2)
    assert launched == [(["train", *words], 2, 2, given.get("max_restarts", 0))]


def test_the_choice_is_said_with_all_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from convsmith.analyze import chosen
    from convsmith.analyze.choice import Choice

    Path("photos").mkdir()
    monkeypatch.setattr(World, "of_environment", classmethod(lambda cls: cls()))
    monkeypatch.setattr(chosen, "choose_for_run", lambda *_: Choice("digits", ("batch.size=8",), ("because",)))
    trained = list[tuple[Any, ...]]()
    monkeypatch.setattr("convsmith.training.train.train", lambda *given, **more: trained.append((*given, more)))
    train("photos", weights="w", shard=True, extend=3, overrides=["seed=1"])
    assert capsys.readouterr().err.splitlines() == [
        "because",
        "so: convsmith train digits --data photos --out runs/photos --finetune w --shard --extend 3 "
        "batch.size=8 seed=1",
    ]
    ((recipe, data, out, more),) = trained
    assert (recipe.batch.size, recipe.seed, recipe.model.weights) == (8, 1, "w")
    assert (data, out, more["shard"], more["extend"], len(more["observers"])) == (
        "photos", Path("runs/photos"), True, 3, 1,
    )  # fmt: skip
