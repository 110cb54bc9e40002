"""All that a report says, as plain values: the content of report.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from convsmith.analyze.benchmark import Benchmark
from convsmith.bundle.figures.chart import Chart
from convsmith.bundle.figures.evaluation import Evaluation
from convsmith.deploy.quantization import Quantization

Kind = Literal["run", "bundle", "ladder"]


@dataclass(frozen=True)
class Picture:
    """An image as an URL that holds it, and what it shows."""

    caption: str
    url: str


@dataclass(frozen=True)
class WorstImage:
    """An image that the model was wrong about.

    Attributes:
        name: of the image.
        loss: how wrong, see `EvaluationResults.losses`.
        said: what is true, and what was said, see `EvaluationResults.rows`.
        pictures: the image, and what else there is to see of it.
        nearest: the training images most like it, with their labels.
    """

    name: str
    loss: float
    said: Mapping[str, Any]
    pictures: tuple[Picture, ...]
    nearest: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class JudgedFacts:
    """Facts that labelled images tell of a bundle.

    Attributes:
        evaluation: the figures.
        charts: what the task draws of them.
        worst: the images that it was most wrong about, the worst first.
        legend: what the colours of their pictures stand for: a label, and a colour as CSS writes it.
    """

    evaluation: Evaluation
    charts: tuple[Chart, ...] = ()
    worst: tuple[WorstImage, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The numbers, without pictures."""
        worst = [{"name": it.name, "loss": it.loss, **it.said} for it in self.worst]
        charts = [asdict(it) for it in self.charts]
        numbers = {"charts": charts, "worst": worst, "worst_of": self.evaluation.images}
        return {"evaluation": self.evaluation.to_dict(), **numbers}


@dataclass(frozen=True)
class StepFacts:
    """A step of a ladder.

    Attributes:
        name: of the step.
        changes: what it changes in the recipe, as `key=value` words.
        figures: see `Measured` of ablation.json; None while the step is not finished.
        error: why it failed.
        curves: the metric after each validation of each of its runs.
        evaluation: what labelled images tell of its bundle, where some were given.
    """

    name: str
    changes: tuple[str, ...]
    figures: Mapping[str, Any] | None
    error: str | None
    curves: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()
    evaluation: Evaluation | None = None


@dataclass(frozen=True)
class Facts:
    """All that is known of a run, a bundle or a ladder.

    Attributes:
        title: what it is called.
        kind: what it is.
        place: where it is.
        task: the task's name.
        metric: the name of the metric that judges.
        description: a line on what it is.
        data: where the images are that judged it, where some were given.
        about: what was trained, in words by what they are about.
        recipe: the recipe's name; None where it is not known.
        overrides, reasons: what was changed in it, and why, where convsmith chose.
        settings: the resolved recipe.
        plan: the numbers of the plan; the rate of each step in `lr`.
        metrics: the records of metrics.jsonl at the ends of epochs.
        labels: of the classes.
        validation: figures of each class, and the confusion, of the best epoch, see `validation.json`.
        judged: what labelled images tell.
        sample: what a part of the validation images tells at the end of a training, where all would take too long.
        model: what the bundle's manifest says of the model, its files, its proof and its makers.
        int8: how far the INT8 form is from the float one.
        benchmark: how long it takes on this machine.
        seconds: what stages took.
        environment: what the report was made on.
        commands: how to make all of this again.
        recommended: the bundle that is recommended, and `verdict` why.
        steps: of a ladder.
        missing: how to get what is not here.
    """

    title: str
    kind: Kind
    place: str
    task: str
    metric: str
    description: str = ""
    data: str | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Mapping[str, Any], ...] = ()
    labels: tuple[str, ...] = ()
    validation: Mapping[str, Any] | None = None
    judged: JudgedFacts | None = None
    sample: JudgedFacts | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    int8: Quantization | None = None
    benchmark: Benchmark | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    recommended: str | None = None
    verdict: str = ""
    steps: tuple[StepFacts, ...] = ()
    missing: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The content of report.json: all numbers, without pictures."""
        values = dict(vars(self))
        judged, sample = values.pop("judged"), values.pop("sample")
        values |= {"evaluation": None, "charts": [], "worst": [], "worst_of": 0}
        if judged:
            values |= judged.to_dict()
        values["sample"] = sample and sample.to_dict()
        for name in ("int8", "benchmark"):
            values[name] = values[name] and values[name].to_dict()
        values["steps"] = [{**vars(it), "evaluation": it.evaluation and it.evaluation.to_dict()} for it in self.steps]
        return values
