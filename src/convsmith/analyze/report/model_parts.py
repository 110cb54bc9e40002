"""The model as it leaves the training: its INT8 form, the proof of its export, its speed, and how to make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from convsmith.analyze.benchmark import Benchmark
from convsmith.analyze.calibration_report import CalibrationReport
from convsmith.analyze.house_page import listed, plain_table, text
from convsmith.bundle.calibration import Calibration
from convsmith.deploy.quantization import Quantization
from convsmith.recipe.yaml_text import write_yaml
from convsmith.training.run import flat
from convsmith.words import figure_text, metric_name


def pairs(label: str, values: Mapping[str, str]) -> str:
    """A table of two columns: what something is about, and what is said of it."""
    rows = [(name, words) for name, words in values.items() if words]
    return plain_table(label, ("about", "known"), rows, names=2, kind="bare") if rows else ""


def int8_part(made: Quantization | None) -> str:
    """Float against INT8: size, time if it was measured, metrics and what was measured on the way."""
    if made is None:
        return ""
    metrics = [name for name in made.float_model.metrics if name in made.int8_model.metrics]
    has_errors = None not in (made.float_model.ece, made.int8_model.ece)
    time = ["ms of an image"] if made.size else []
    head = ("model", "MB", *time, *map(metric_name, metrics), *([metric_name("ece")] if has_errors else []))
    rows = [
        (
            name,
            f"{form.bytes / 1e6:.2f}",
            *([f"{form.latency_ms:.2f}"] if made.size else []),
            *(figure_text(metric, form.metrics[metric]) for metric in metrics),
            *([figure_text("ece", form.ece)] if has_errors else []),
        )
        for name, form in made.forms.items()
    ]
    lines = [part for part in made.parts() if isinstance(part, str)]
    return plain_table("Float against INT8", head, rows) + listed(line.strip() for line in lines)


def calibration_part(model: Mapping[str, Any], labels: Sequence[str]) -> str:
    """How a calibrated bundle scales its logits, and what images that were kept back say of that."""
    if not model.get("calibration"):
        return ""
    made = CalibrationReport("", "", tuple(labels), Calibration.model_validate(model["calibration"], strict=False))
    try:
        before, after = (made.calibration.measured[when] for when in ("before", "after"))
        lines = [part for part in made.parts() if isinstance(part, str)]
        rows = [(metric_name(it), figure_text(it, value), figure_text(it, after[it])) for it, value in before.items()]
    except (LookupError, TypeError, ValueError):  # another version measured other things
        return ""
    return listed(lines) + plain_table("Calibration", ("on images kept back", "before", "after"), rows)


def proof_part(model: Mapping[str, Any]) -> str:
    """How far the exported model is from the trained one, on real images."""
    parity = model.get("parity") or {}
    if not parity:
        return ""
    told = "<p>The exported model was compared with the trained one on real images before it was written.</p>\n"
    values = {name.replace(".", ", ").replace("_", " "): _number(value) for name, value in flat(dict(parity)).items()}
    return told + pairs("Proof of the export", values)


def speed_part(speed: Benchmark | None) -> str:
    """The times of decoding, preprocessing and inference here."""
    if speed is None:
        return ""
    rows = [
        (
            row.bundle,
            row.where,
            row.stage,
            str(row.batch),
            f"{row.p50:.2f}",
            f"{row.p99:.2f}",
            f"{row.images_per_second:,.1f}",
        )
        for row in speed.rows
    ]
    threads = "1 thread" if speed.threads == 1 else f"{speed.threads} threads"
    head = ("bundle", "runtime", "stage", "batch", "ms (median)", "ms (99 %)", "images/s")
    return (
        f"<p>{text(speed.images)}; {threads} for inference, 1 for the rest; times are of a whole batch.</p>\n"
        + plain_table("Speed", head, rows, names=3)
    )


def settings_part(settings: Mapping[str, Any]) -> str:
    """The resolved recipe."""
    return block("The recipe in full", write_yaml_block(settings)) if settings else ""


def write_yaml_block(settings: Mapping[str, Any]) -> str:
    """Nested settings as lines of YAML, a key of the outermost level each."""
    return "\n".join(f"{key}: {write_yaml(value)}" for key, value in settings.items())


def block(label: str, words: str) -> str:
    """Several lines of text as they are."""
    lines = "\n".join(map(text, words.splitlines()))
    return f'<pre tabindex="0" role="region" aria-label="{text(label)}, as text">{lines}</pre>\n'


def commands_part(commands: Sequence[str]) -> str:
    """Commands to copy."""
    return block("Commands", "\n".join(commands)) if commands else ""


def seconds_part(seconds: Mapping[str, float]) -> str:
    """The seconds of each stage."""
    rows = [(name, f"{value:,.1f}") for name, value in seconds.items() if value]
    return plain_table("Time that it took", ("stage", "seconds"), rows) if rows else ""


def environment_part(environment: Mapping[str, str], model: Mapping[str, Any]) -> str:
    """The machine of the report, and the packages that made the bundle."""
    made = ", ".join(f"{name} {version}" for name, version in (model.get("created_with") or {}).items())
    return pairs(
        "Environment", {"bundle made with": made, **{f"report made on: {k}": v for k, v in environment.items()}}
    )


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
