"""convsmith quantize."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from convsmith.cli.options import AsJson

if TYPE_CHECKING:
    from convsmith.deploy.quantize import Form, Quantization
    from convsmith.jobs.distil import Distilled


def quantize(
    bundle: Annotated[Path, typer.Argument(help="A float bundle, or a run directory, which has it inside.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Of `qat`: changes to the recipe.")
    ] = None,
    *,
    data: Annotated[
        Path, typer.Option(help="The data it was trained on, or a folder of the same classes: train/* and val/*.")
    ],
    out: Annotated[Path | None, typer.Option(help="The INT8 bundle's directory.  [default: BUNDLE-int8]")] = None,
    method: Annotated[
        Literal["static", "dynamic", "qat"],
        typer.Option(help="`static`: all layers; `dynamic`: the linear ones only; `qat`: train on, with rounding."),
    ] = "static",
    target: Annotated[
        Literal["any-x86", "vnni", "arm"] | None,
        typer.Option(
            help="The processors it is for: `any-x86` holds weights to 7 bits, whose sums are exact without VNNI too.  "
            "[default: any-x86, or what this one is where that loses more than --max-drop]"
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Of `static`: points of the recipe's metric that may be lost; layers stay in float until it is less.  "
            "[default: 0.1]",
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Of `static`: training images to calibrate with.  [default: 512]")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of `static`: chooses them; the same seed gives the same ONNX file.  [default: 0]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an INT8 bundle of a float one: four times smaller, and faster; and measure both.

    Ranges and float layers are chosen by training images, both forms are judged by the validation images.

    `--method qat` takes the bundle of a run, trains its model on for some epochs with rounding in OUT-run, and goes on
    there where it was stopped.

    Example: convsmith quantize runs/photos/bundle --data photos/

    Example: convsmith quantize runs/streets/bundle --data streets/ --out streets-int8 --max-drop 0.5

    Example: convsmith quantize runs/photos --data photos/ --method qat schedule.epochs=5
    """
    import json

    from convsmith.bundle.format import bundle_folder
    from convsmith.cli.progress import progress_bar
    from convsmith.jobs.quantize import quantize as run
    from convsmith.storage import beside

    source = bundle_folder(bundle)
    out = out or beside(source, "-int8")
    with progress_bar() as progress:
        report = run(
            source,
            data,
            out,
            overrides or (),
            method=method,
            target=target,
            max_drop=max_drop,
            images=images,
            seed=seed,
            progress=progress,
        )
    if as_json:
        print(json.dumps({"bundle": str(out), **report.to_dict()}))
    else:
        print_report(report, out)


def print_report(report: Quantization, out: Path) -> None:
    """Print what was won and lost, and how."""
    from convsmith.cli.text import for_terminal, points_between, points_lost

    print_forms({"float": report.float_model, "INT8": report.int8_model}, report)
    ratio, faster = (
        report.int8_model.bytes / report.float_model.bytes,
        report.float_model.latency_ms / report.int8_model.latency_ms,
    )
    print(
        f"INT8: {ratio:.1%} of the size, {faster:.1f} times as fast, {points_lost(report.drop)}"
        f"{points_between(report.interval)}, "
        f"{report.parity['top1_agreement']:.2%} of the answers the same"
    )
    if report.held_out:
        print(
            f"ranges by {report.rule} of {report.calibration_images} training images; chosen by "
            f"{report.held_out_images} others, with {points_lost(report.held_out.drop)} there"
        )
    if report.any_x86:
        print(
            f"for {report.target} only: the form for any x86, whose weights have 7 bits, has "
            f"{points_lost(report.any_x86.drop)} on the held-out images; without VNNI this one's sums may be cut off"
        )
    for layer in report.float_layers:
        print(f"float: {for_terminal(layer.name)}, {layer.why}")
    if report.note:
        print(report.note)
    if report.max_drop is not None and report.drop > report.max_drop:
        print(
            f"note: the validation images lose more than the {report.max_drop:g} points that the held-out training "
            "images were allowed; more --images know it better, a lower --max-drop keeps more layers in float"
        )
    if report.run:
        print(f"run:    {report.run}")
    print(f"bundle: {out}")


def print_forms(forms: Mapping[str, Form], report: Quantization | Distilled) -> None:
    """A table of models: size, speed and what they get right; and a line that says how that was measured."""
    from convsmith.cli.tables import add_figures, add_names, new_table, print_table
    from convsmith.cli.text import metric_name
    from convsmith.deploy.certainty import is_chance

    metric = metric_name(report.metric)
    table = new_table()
    add_names(table, "model")
    add_figures(table, "MB", "ms", "images/s", metric)
    for name, form in forms.items():
        cells = (f"{form.bytes / 1e6:.2f}", f"{form.latency_ms:.2f}", f"{form.images_per_second:.1f}")
        table.add_row(name, *cells, f"{form.metrics[report.metric]:.2%}")
    print_table(table)
    height, width = report.size
    print(
        f"onnxruntime, {report.threads} threads, images of {height}x{width}; latency of one image, throughput of "
        f"batches of {report.batch}; {metric} of {report.images} validation images"
    )
    for name, form in forms.items():
        if is_chance(form.metrics[report.metric], report.chance, report.images):
            print(
                f"note: {name} is no better than chance: always naming the most frequent class has "
                f"{report.chance:.2%}; it has learned nothing that these images show"
            )
