"""What each command hands to the work behind it, and how it shows what comes of that; nothing is computed."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from typer.testing import CliRunner

from convsmith.analyze.choice import Choice
from convsmith.cli import train as train_command
from convsmith.cli.main import app
from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.recipe.load import load_recipe

PROGRESS = {"progress": ANY}
AS_IT_IS = {"device": "auto", "runtime": None, "allow_code": False}


class Found:
    """What any work gives."""

    path, bundle, data_digest, is_part, usable, failed = Path("run"), Path("bundle"), "digest", True, True, ()
    left_out, unreadable = ("a\nb",), ("c\nd",)

    def to_dict(self) -> dict[str, Any]:
        return {"found": 7}

    def print(self) -> None:
        print("what was found")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CONVSMITH_TRACKER", "CONVSMITH_OFFLINE", "CONVSMITH_RUNS"):
        monkeypatch.delenv(name, raising=False)
    choice = Choice("digits", ("seed=2",), ("because",))
    monkeypatch.setattr("convsmith.analyze.chosen.choose_for_run", lambda *_, **__: choice)
    monkeypatch.setattr("convsmith.bundle.format.read_manifest", lambda _: Found)
    (tmp_path / "run").mkdir()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands in for some work, and returns the list of what that is asked for."""

    def stand_in_for(work: str, result: Any = None) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def note(*arguments: Any, **options: Any) -> Any:
            calls.append((arguments, options))
            return Found() if result is None else result

        monkeypatch.setattr(work, note)
        return calls

    return stand_in_for


def run(*words: str) -> Any:
    return CliRunner().invoke(app, words, catch_exceptions=False)


DIGITS = load_recipe("digits", ["seed=1"])
CASES: dict[str, tuple[str, str, tuple[Any, ...], dict[str, Any]]] = {
    "make": (
        "make photos", "convsmith.jobs.make.make", (Path("photos"), Path("runs/photos"), []),
        {"recipe": None, "minutes": None, **PROGRESS},
    ),
    "make all": (
        "make photos seed=1 --recipe digits --out o --minutes 2 --json", "convsmith.jobs.make.make",
        (Path("photos"), Path("o"), ["seed=1"]), {"recipe": "digits", "minutes": 2.0, **PROGRESS},
    ),
    "train": (
        "train digits", "convsmith.jobs.train.train", ("digits", None, None, "auto"),
        {"overrides": (), "weights": None, "devices": 1, "tracker": None, "minutes": None, "extend": None,
         "shard": False, "max_restarts": 0, "peer_timeout": timedelta(minutes=10)},
    ),
    "train all": (
        "train digits seed=1 --data d --out o --finetune w --resume never --devices 2 --shard --max-restarts 3 "
        "--peer-timeout 7 --tracker mlflow --minutes 2 --extend 4",
        "convsmith.jobs.train.train", ("digits", Path("d"), Path("o"), "never"),
        {"overrides": ["seed=1"], "weights": "w", "devices": 2, "tracker": "mlflow", "minutes": 2.0, "extend": 4,
         "shard": True, "max_restarts": 3, "peer_timeout": timedelta(seconds=7)},
    ),
    "evaluate": (
        "evaluate b --data d", "convsmith.analyze.evaluate.evaluate_bundle", (Path("b"), Path("d"), 32, ANY),
        {"split": None, "boundary": False, "preprocess": {}, "columns": (), "out": None, **AS_IT_IS},
    ),
    "evaluate all": (
        "evaluate b flip=true --data d --split test --batch-size 4 --slice x --slice y --out o --boundary-iou "
        "--device cpu --runtime openvino --allow-code --json",
        "convsmith.analyze.evaluate.evaluate_bundle", (Path("b"), Path("d"), 4, ANY),
        {"split": "test", "boundary": True, "preprocess": {"flip": True}, "columns": ["x", "y"], "out": Path("o"),
         "device": "cpu", "runtime": "openvino", "allow_code": True},
    ),
    "compare": (
        "compare a b --data d", "convsmith.analyze.compare.compare", ([Path("a"), Path("b")], Path("d")),
        {"split": None, "batch_size": 32, "out": None, "page": None, "device": "auto", "allow_code": False, **PROGRESS},
    ),
    "compare all": (
        "compare a b --data d --split val --batch-size 4 --out o --page p --device cpu --allow-code --json",
        "convsmith.analyze.compare.compare", ([Path("a"), Path("b")], Path("d")),
        {"split": "val", "batch_size": 4, "out": Path("o"), "page": Path("p"), "device": "cpu", "allow_code": True,
         **PROGRESS},
    ),
    "export": (
        "export r --format onnx --out o --data d", "convsmith.jobs.export.export",
        (Path("r"), "onnx", Path("o"), Path("d")), {"opset": None, "size": None, "images": None, **PROGRESS},
    ),
    "export all": (
        "export r --format onnx --out o --data d --opset 17 --size 512x1024 --images 3 --json",
        "convsmith.jobs.export.export", (Path("r"), "onnx", Path("o"), Path("d")),
        {"opset": 17, "size": (512, 1024), "images": 3, **PROGRESS},
    ),
    "report": (
        "report r", "convsmith.analyze.report.make_report.report", (Path("r"), None, None),
        {"batch_size": 32, **PROGRESS},
    ),
    "report all": (
        "report r --data d --out o.html --batch-size 4 --json", "convsmith.analyze.report.make_report.report",
        (Path("r"), Path("d"), Path("o.html")), {"batch_size": 4, **PROGRESS},
    ),
    "quantize": (
        "quantize b --data d", "convsmith.jobs.quantize.quantize", (Path("b"), Path("d"), Path("b-int8"), ()),
        {"method": "static", "target": None, "max_drop": None, "images": None, "seed": None, "speed": False,
         **PROGRESS},
    ),
    "quantize all": (
        "quantize b x=1 --data d --out o --method qat --target vnni --max-drop 0.5 --images 9 --seed 0 --speed --json",
        "convsmith.jobs.quantize.quantize", (Path("b"), Path("d"), Path("o"), ["x=1"]),
        {"method": "qat", "target": "vnni", "max_drop": 0.5, "images": 9, "seed": 0, "speed": True, **PROGRESS},
    ),
    "calibrate": (
        "calibrate b --data d", "convsmith.jobs.calibrate.calibrate", (Path("b"), Path("d"), None),
        {"method": "temperature", "coverage": None, "precision": None, "cost_wrong": None, "cost_unknown": None,
         "split": None, "batch_size": 32, **AS_IT_IS, **PROGRESS},
    ),
    "calibrate all": (
        "calibrate b --data d --out o --method vector --coverage 0.9 --precision 0.8 --cost-wrong 5 --cost-unknown 1 "
        "--split test --batch-size 4 --device cpu --runtime openvino --allow-code --json",
        "convsmith.jobs.calibrate.calibrate", (Path("b"), Path("d"), Path("o")),
        {"method": "vector", "coverage": 0.9, "precision": 0.8, "cost_wrong": 5.0, "cost_unknown": 1.0, "split": "test",
         "batch_size": 4, "device": "cpu", "runtime": "openvino", "allow_code": True, **PROGRESS},
    ),
    "distil": (
        "distil t --student s --data d", "convsmith.jobs.distil.distil", (Path("t"), "s", Path("d"), None, ()),
        {"max_drop": 0.1, **PROGRESS},
    ),
    "distil all": (
        "distil t x=1 --student s --data d --out o --max-drop 0 --json", "convsmith.jobs.distil.distil",
        (Path("t"), "s", Path("d"), Path("o"), ["x=1"]), {"max_drop": 0.0, **PROGRESS},
    ),
    "benchmark": (
        "benchmark a", "convsmith.analyze.benchmark.benchmark", ([Path("a")], (), [1, 8, 32]),
        {"images": None, "device": "auto", "threads": None, "seconds": 3.0, "allow_code": False, **PROGRESS},
    ),
    "benchmark all": (
        "benchmark a b --runtimes openvino,torch --device cpu --batch 2,4 --images i --threads 3 --seconds 0.5 "
        "--allow-code --json",
        "convsmith.analyze.benchmark.benchmark", ([Path("a"), Path("b")], ["openvino", "torch"], [2, 4]),
        {"images": Path("i"), "device": "cpu", "threads": 3, "seconds": 0.5, "allow_code": True, **PROGRESS},
    ),
    "ablate": (
        "ablate cifar10 --data d", "convsmith.jobs.ablation.ablate",
        ("cifar10", Path("d"), Path("runs/cifar10-ladder"), (), ANY), {},
    ),
    "ablate all": (
        "ablate l.yaml seed=1 --data d --out o --json", "convsmith.jobs.ablation.ablate",
        ("l.yaml", Path("d"), Path("o"), ["seed=1"], ANY), {},
    ),
    "lr-find": (
        "lr-find digits seed=1 --data d", "convsmith.analyze.lr_finder.find_lr",
        (DIGITS, Path("d"), Path("lr-find/digits")), {"start": 1e-6, "end": 10.0, "steps": 100, **PROGRESS},
    ),
    "lr-find all": (
        "lr-find digits seed=1 --data d --out o --from 0.1 --to 2 --steps 7 --json",
        "convsmith.analyze.lr_finder.find_lr", (DIGITS, Path("d"), Path("o")),
        {"start": 0.1, "end": 2.0, "steps": 7, **PROGRESS},
    ),
    "profile": (
        "profile digits seed=1 --data d", "convsmith.analyze.profile.profile_training",
        (DIGITS, Path("d"), Path("profile/digits"), 20, ANY), {},
    ),
    "profile all": (
        "profile digits seed=1 --data d --out o --steps 3 --json", "convsmith.analyze.profile.profile_training",
        (DIGITS, Path("d"), Path("o"), 3, ANY), {},
    ),
    "data check": (
        "data check d", "convsmith.analyze.check_data.check_data", (Path("d"), None, (), ANY),
        {"strict": False, "bundles": (), "embeddings": None, "html": None},
    ),
    "data check all": (
        "data check d x=1 --recipe r --bundle a --bundle b --embeddings e --html h --strict --json",
        "convsmith.analyze.check_data.check_data", (Path("d"), "r", ["x=1"], ANY),
        {"strict": True, "bundles": [Path("a"), Path("b")], "embeddings": "e", "html": Path("h")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_command_asks_for_what_its_words_say_and_shows_what_comes_of_it(name: str, asked: Any) -> None:
    words, work, arguments, options = CASES[name]
    calls = asked(work)
    result = run(*words.split())
    assert result.exit_code == 0, result.output
    assert calls == [(arguments, options)]
    if "--json" in words:
        told = json.loads(result.stdout)
        assert told == {"found": 7, **({"bundle": "o"} if name == "quantize all" else {})}
    elif not name.startswith(("train", "report")):
        assert result.stdout.startswith("what was found\n")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("train", "run:    run\nbundle: bundle\n"),
        ("report", "report: report.html\n"),
        ("quantize", "what was found\nbundle: b-int8\nspeed:  convsmith benchmark b b-int8\n"),
        ("calibrate", "what was found\nbundle: bundle\n"),
        ("lr-find", "what was found\nplot: lr-find/digits/lr_find.png\n"),
        ("profile", "what was found\ntrace: profile/digits/trace.json\n"),
        (
            "ablate",
            "what was found\n\n"
            + "".join(f"runs/cifar10-ladder/ablation.{ending}\n" for ending in ("md", "json", "png")),
        ),
    ],
)
def test_a_command_says_where_what_it_made_is(name: str, more: str, asked: Any) -> None:
    words, work, *_ = CASES[name]
    asked(work)
    assert run(*words.split()).stdout == more


@pytest.mark.parametrize(("is_part", "warns"), [(True, False), (False, True)])
def test_a_bundle_that_is_judged_by_its_own_training_images_is_warned_of(
    is_part: bool, warns: bool, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Found, "is_part", is_part)
    asked(CASES["evaluate"][1])
    told = run("evaluate", "b", "--data", "d").stderr
    assert ("warning: all labelled images of the data are judged" in told) is warns
    assert "left out: c\\nd\n" in told


@pytest.mark.parametrize(
    ("words", "attribute", "code"), [("ablate cifar10 --data d", "failed", 1), ("data check d", "usable", 2)]
)
def test_work_that_fails_in_part_has_an_exit_code(
    words: str, attribute: str, code: int, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Found, attribute, ("step",) if attribute == "failed" else False)
    asked("convsmith.jobs.ablation.ablate")
    asked("convsmith.analyze.check_data.check_data")
    assert run(*words.split()).exit_code == code


def test_a_ladder_says_which_step_it_is_at(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    calls = asked("convsmith.jobs.ablation.ablate")
    run("ablate", "cifar10", "--data", "d")
    calls[0][0][4]("one\x1b", 1, 3)
    assert capsys.readouterr().err == "step 2 of 3: one\\x1b\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("export r --format onnx --out o --data d --size 512", "--size 512 is not a size"),
        ("export r --format onnx --out o --data d --size x512", "--size x512 is not a size"),
        ("export r --format onnx --out o --data d --size 5x", "--size 5x is not a size"),
        ("benchmark a --batch 1,0", "--batch 1,0 is not a list of numbers"),
        ("benchmark a --batch 1,,2", "--batch 1,,2 is not a list of numbers"),
        ("benchmark a --batch x", "--batch x is not a list of numbers"),
        ("data pack d o --shard-size x", "--shard-size is `x`"),
    ],
)
def test_words_that_are_no_numbers_are_refused(words: str, problem: str, asked: Any) -> None:
    asked("convsmith.jobs.export.export")
    with pytest.raises(ConvsmithError) as caught:
        run(*words.split())
    assert caught.value.what == problem


@pytest.mark.parametrize(
    ("devices", "size", "minutes", "starts"),
    [(2, 1, None, True), (1, 1, None, False), (2, 2, None, False), (2, 1, "2", False)],
)
def test_several_devices_are_processes_unless_they_are_started_or_planned_for(
    devices: int, size: int, minutes: str | None, starts: bool, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "of_environment", classmethod(lambda cls: cls(0, size)))
    monkeypatch.setattr("convsmith.jobs.train.available_cores", lambda: 8)
    launched, trained = asked("convsmith.launch.local.launch"), asked("convsmith.jobs.train.train")
    words = ["train", "digits", "--devices", str(devices), "--max-restarts", "3"]
    words += ["--minutes", minutes] if minutes else []
    monkeypatch.setattr(sys, "argv", ["convsmith", *words])
    run(*words)
    assert launched == ([((words, 2, 4, 3), {})] if starts else [])
    assert len(trained) == (not starts)


def test_only_the_process_that_leads_says_where_the_run_is(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "of_environment", classmethod(lambda cls: cls(1, 2)))
    asked("convsmith.jobs.train.train")
    assert run("train", "digits").stdout == ""


def test_what_was_chosen_is_said_with_the_command_that_needs_no_choice(asked: Any) -> None:
    asked("convsmith.jobs.make.make")
    told = run("make", "photos", "--out", "o", "seed=1").stderr
    assert told == "because\nso: convsmith train digits --data photos --out o seed=1\n"


def test_a_push_prints_where_the_commit_is(asked: Any) -> None:
    calls = asked("convsmith.jobs.push.push", "https://hub/commit")
    assert run("push", "b", "hf:a/b").stdout == "https://hub/commit\n"
    run("push", "b", "hf:a/b", "--private", "--license", "mit")
    assert calls == [
        ((Path("b"), "hf:a/b"), {"private": False, "licence": None}),
        ((Path("b"), "hf:a/b"), {"private": True, "licence": "mit"}),
    ]


SERVED: dict[str, Any] = {
    "max_bytes": 20_000_000, "watch": None, "default": (), "max_models": None, "control": False, "grpc": None,
    "max_images": 16, "allow_urls": (), "workers": None, "threads": None, "max_pixels": None, "processes": 1,
    "max_batch": 8, "max_wait": 10.0, "max_delay": 0.0, "drain_seconds": 5.0, "device": "auto", "runtime": None,
    "access_log": "text", "sample": None, "sample_dir": None, "sample_max_files": 10_000,
    "sample_max_bytes": 1_000_000_000, "token_file": None, "rate": None, "cors_origins": (), "certfile": None,
    "keyfile": None, "root_path": "", "forwarded_allow_ips": (),
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "bundles", "host", "port", "changes"),
    [
        ("", None, "127.0.0.1", 8000, {}),
        ("b", Path("b"), "127.0.0.1", 8000, {}),
        ("a=x", {"a": Path("x")}, "127.0.0.1", 8000, {}),
        ("a=x b/2=y --port 0", {"a": Path("x"), "b/2": Path("y")}, "127.0.0.1", 0, {}),
        ("b --host ::1 --grpc-port 9", Path("b"), "::1", 8000, {"grpc": "[::1]:9"}),
        ("b --grpc-port 9", Path("b"), "127.0.0.1", 8000, {"grpc": "127.0.0.1:9"}),
        (
            "b --max-mb 0.5 --watch w --default a/1 --default b/2 --max-models 3 --control --max-images 5 --workers 6 "
            "--threads 7 --max-pixels 8 --processes 9 --max-batch 10 --max-wait-ms 1100 --max-delay-ms 12",
            Path("b"), "127.0.0.1", 8000,
            {"max_bytes": 500_000, "watch": Path("w"), "default": ("a/1", "b/2"), "max_models": 3, "control": True,
             "max_images": 5, "workers": 6, "threads": 7, "max_pixels": 8, "processes": 9, "max_batch": 10,
             "max_wait": 1.1, "max_delay": 0.012},
        ),
        (
            "b --allow-urls x* --drain-seconds 2 --device cpu --runtime openvino --access-log json --sample 0.1 "
            "--sample-dir s --sample-max-files 3 --sample-max-mb 0.002 --token-file t --rate 5/s --cors-origin o "
            "--certfile c --keyfile k --root-path /p --forwarded-allow-ips a,,b",
            Path("b"), "127.0.0.1", 8000,
            {"allow_urls": ("x*",), "drain_seconds": 2.0, "device": "cpu", "runtime": "openvino", "access_log": "json",
             "sample": 0.1, "sample_dir": Path("s"), "sample_max_files": 3, "sample_max_bytes": 2000,
             "token_file": Path("t"), "rate": "5/s", "cors_origins": ("o",), "certfile": Path("c"),
             "keyfile": Path("k"), "root_path": "/p", "forwarded_allow_ips": ("a", "b")},
        ),
    ],
)  # fmt: skip
def test_a_server_is_started_as_the_words_say(
    words: str, bundles: Any, host: str, port: int, changes: dict[str, Any], asked: Any
) -> None:
    calls = asked("convsmith.serve.server.serve")
    result = run("serve", *words.split())
    assert result.exit_code == 0, result.output
    assert calls == [((bundles, host, port), {**SERVED, **changes})]


@pytest.mark.parametrize("words", [["a", "b"], ["a=x", "a=y"], ["a=", "b=y"]])
def test_each_of_several_bundles_has_a_name_of_its_own(words: list[str], asked: Any) -> None:
    asked("convsmith.serve.server.serve")
    with pytest.raises(ConvsmithError, match="needs a name of its own"):
        run("serve", *words)


def test_a_path_that_exists_is_no_name(asked: Any) -> None:
    Path("a=b").mkdir()
    calls = asked("convsmith.serve.server.serve")
    run("serve", "a=b")
    assert calls[0][0][0] == Path("a=b")


def test_the_work_of_several_processes_is_that_of_this_command(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = asked("convsmith.launch.local.launch")
    monkeypatch.setattr(sys, "argv", ["convsmith", "train", "x"])
    monkeypatch.setattr("convsmith.jobs.train.available_cores", lambda: 3)
    train_command._launch(2, 5)
    assert launched == [((["train", "x"], 2, 1, 5), {})]
