"""From a folder of images to a bundle that is measured, in stages of which none is done twice."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convsmith.analyze.benchmark import Benchmark
from convsmith.analyze.choice import Choice
from convsmith.analyze.chosen import choose_for_run, run_directory
from convsmith.analyze.evaluate import judge_bundle
from convsmith.analyze.report.at_end import ReportAtEnd
from convsmith.analyze.report.facts import JudgedFacts
from convsmith.analyze.report.gather import facts_of_run
from convsmith.analyze.report.judge_facts import judge_facts
from convsmith.analyze.report.make_report import speed_of, write_report
from convsmith.bundle.figures.evaluation import Evaluation
from convsmith.bundle.format import MANIFEST, read_files, read_manifest
from convsmith.data.digest import has_content_of, has_names_of
from convsmith.data.open_data import data_of_bundle, judged_by
from convsmith.deploy.format import open_bundle
from convsmith.deploy.quantization import Quantization
from convsmith.deploy.quantize import MAX_DROP
from convsmith.deploy.static_int8 import NoInt8
from convsmith.errors import ConvsmithError
from convsmith.jobs.quantize import quantize
from convsmith.jobs.stages import Stages
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe
from convsmith.storage import beside, sha256_of
from convsmith.tables import Tabular
from convsmith.training.run import Run, differences
from convsmith.training.settle import settled
from convsmith.training.train import train
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Int8:
    """INT8 as far as it is any good.

    Attributes:
        report: what was measured; None where no INT8 form is good enough.
        verdict: in a sentence, why its bundle is recommended, or why not.
        recommended: whether it is.
    """

    report: Quantization | None
    verdict: str
    recommended: bool


@dataclass(frozen=True, repr=False)
class Made(Tabular):
    """A folder of images, and all that was made of it.

    Attributes:
        data: the images.
        run: the directory that holds all of it.
        choice: the recipe, and why.
        judged: what the float bundle gets right, and what it is most wrong about.
        int8: whether the INT8 bundle does as well.
        benchmark: how long both take here.
        example: an image to try.
        seconds: what each stage took, of training the steps.
    """

    data: Path
    run: Path
    choice: Choice
    judged: JudgedFacts
    int8: Int8
    benchmark: Benchmark
    example: Path | None
    seconds: dict[str, float]

    @property
    def evaluation(self) -> Evaluation:
        """The figures of the float bundle."""
        return self.judged.evaluation

    @property
    def int8_bundle(self) -> Path:
        """Where the INT8 bundle is, if there is one."""
        return beside(Run(self.run).bundle, "-int8")

    @property
    def bundle(self) -> Path:
        """The recommended bundle."""
        return self.int8_bundle if self.int8.recommended else Run(self.run).bundle

    @property
    def report(self) -> Path:
        """The page that says all of this."""
        return self.run / "report.html"

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that come next: predict, serve, export."""
        form = "openvino" if find_spec("openvino") else "triton"
        words = (
            ("predict", self.bundle, self.example or "IMAGE"),
            ("serve", self.bundle),
            ("export", self.bundle, "--format", form, "--out", self.run / form, "--data", self.data),
        )
        return tuple(shlex.join(["convsmith", *map(str, line)]) for line in words)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; report.json holds these and all else that the page says."""
        return {
            "data": str(self.data),
            "run": str(self.run),
            "recipe": self.choice.recipe,
            "overrides": list(self.choice.overrides),
            "reasons": list(self.choice.reasons),
            "evaluation": self.evaluation.to_dict(),
            "int8": self.int8.report and self.int8.report.to_dict(),
            "recommended": str(self.bundle),
            "verdict": self.int8.verdict,
            "benchmark": self.benchmark.to_dict(),
            "seconds": self.seconds,
            "commands": list(self.commands),
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for each stage: what it took."""
        return [{"stage": name, "seconds": seconds} for name, seconds in self.seconds.items()]

    def parts(self) -> Iterator[str | Table]:
        """The findings of all stages, what is recommended, and what comes next."""
        yield from self.evaluation.parts()
        if self.int8.report:
            yield from self.int8.report.parts()
            yield f"bundle: {self.int8_bundle}"
        yield from self.benchmark.parts()
        yield f"\nrecommended: {for_terminal(self.int8.verdict)}"
        for name, path in (("bundle", self.bundle), ("report", self.report)):
            yield f"{name + ':':<12} {path}"
        yield "\nNext:"
        yield from (f"  {for_terminal(command)}" for command in self.commands)


def make(
    data: str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    recipe: str | None = None,
    minutes: float | None = None,
    progress: ProgressCallback = notebook_progress,
) -> Made:
    """Choose a recipe for some images, train it, judge it, make it INT8, time it, and write a report.

    Each stage is done once: a call that was killed is gone on with by the same call, and one that has ended is not
    done again. The INT8 bundle is recommended if it loses no more than `quantize` allows, on the images held out of
    calibration and on the validation images, and is faster here.

    Args:
        data: the images.
        out: the directory of the run, and of all that is made of it; None: `runs/NAME`.
        overrides: changes to the recipe, as `key=value` words.
        recipe: the name or path of one; None chooses it by the images.
        minutes: change the recipe so that all stages end in them, see `fit_to_time`.
        progress: called with what is done after the training.

    Raises:
        ConvsmithError: data, recipe or directory cannot be used, or what `train` raises.

    Examples:
        >>> made = cs.make("photos/", "runs/made", ["model.num_classes=null", "schedule.epochs=1"], recipe="digits")
        >>> made.evaluation.images
        12
    """
    data = Path(data)
    run = Run(run_directory(data) if out is None else Path(out))
    choice = choose_for_run(data, run.path, overrides, recipe, minutes, all_stages=True)
    checked = load_recipe(choice.recipe, [*choice.overrides, *overrides])
    if not _is_finished(run, checked, data):
        train(checked, data, run.path, observers=[ReportAtEnd(data, seconds=0)])  # one of all images follows
    stages = Stages(run.path / "stages", sha256_of(run.bundle / MANIFEST))
    judged = stages.once(
        "evaluate",
        JudgedFacts,
        lambda: judge_facts(judge_bundle(open_bundle(run.bundle), data, progress=progress), run.path, data, progress),
    )
    int8_bundle = beside(run.bundle, "-int8")
    int8 = stages.once(
        "quantize",
        Int8,
        lambda: _quantized(run.bundle, data, int8_bundle, progress),
        holds=lambda it: it.report is None or _is_whole(int8_bundle),
    )
    forms = [run.bundle, int8_bundle] if int8.report else [run.bundle]
    example = _example(run.bundle, data)
    timing = stages.once("benchmark", Benchmark, lambda: speed_of(forms, example and example.parent, progress))
    seconds = {"train": sum(line["seconds"] for line in run.metrics if line["split"] == "train"), **stages.seconds}
    made = Made(data, run.path, choice, judged, int8, timing, example, seconds)
    known = facts_of_run(run)
    facts = replace(
        known,
        data=str(data),
        judged=judged,
        int8=int8.report,
        benchmark=timing,
        seconds=seconds,
        commands=(*made.commands, *known.commands),
        recommended=str(made.bundle),
        verdict=int8.verdict,
        missing=(),
    )
    write_report(facts, made.report)
    return made


def _is_finished(run: Run, recipe: Recipe, data: Path) -> bool:
    """Whether the run is one of this recipe and these data, and has its bundle; if not, `train` says what is wrong."""
    if not _is_whole(run.bundle):
        return False
    began, manifest = run.recipe, read_manifest(run.bundle)
    recipe = settled(recipe, began).with_num_classes(len(manifest.labels))
    if differences(began.model_dump(mode="json"), recipe.model_dump(mode="json")):
        return False
    dataset, digest = data_of_bundle(manifest, data), manifest.data_digest
    return digest is not None and has_names_of(dataset, digest) and has_content_of(dataset, digest)


def _is_whole(bundle: Path) -> bool:
    """Whether there is a bundle, as it was written."""
    try:
        read_files(bundle, read_manifest(bundle))
    except ConvsmithError:
        return False
    return True


def _quantized(bundle: Path, data: Path, out: Path, progress: ProgressCallback) -> Int8:
    """Make the INT8 bundle, and say whether it is as good as the float one."""
    try:
        report = quantize(bundle, data, out, speed=True, progress=progress)
    except NoInt8 as error:
        return Int8(None, f"the float bundle: {error.what} ({error.why})", recommended=False)
    faster = report.faster
    assert faster is not None
    lost = f"it loses {max(report.drop, 0):.2f} points of the validation images"
    if report.drop > MAX_DROP:
        return Int8(report, f"the float bundle, not INT8: {lost}, and {MAX_DROP:g} are allowed", recommended=False)
    if faster <= 1:
        return Int8(
            report, f"the float bundle, not INT8, which takes {1 / faster:.1f} times as long", recommended=False
        )
    return Int8(report, f"the INT8 bundle: {lost} and is {faster:.1f} times as fast", recommended=True)


def _example(bundle: Path, data: Path) -> Path | None:
    """An image that the bundle was judged by, where it is a file."""
    samples = judged_by(read_manifest(bundle), data).samples
    path = data / samples.name(0)
    return path if path.is_file() else None
