"""convsmith calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from convsmith.cli.options import AllowCode, AsJson, BatchSize, DeviceName, RuntimeName


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="A bundle of any format, or a run, which has one inside.")],
    *,
    data: Annotated[Path, typer.Option(help="Labelled images that it was not trained on, as `evaluate` takes them.")],
    out: Annotated[
        Path | None, typer.Option(help="Write the calibrated bundle there.  [default: the bundle itself]")
    ] = None,
    method: Annotated[
        Literal["temperature", "vector"],
        typer.Option(help="`temperature`: one number, changes no decision; `vector`: two numbers for each class."),
    ] = "temperature",
    coverage: Annotated[
        float | None, typer.Option(help="Answer with sets that hold the true class so often, such as 0.95.")
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(help="Answer `unknown` so often that as many other answers are right, with 95 % certainty."),
    ] = None,
    cost_wrong: Annotated[
        float | None, typer.Option(help="What a wrong answer costs: `unknown` is said where that costs less.")
    ] = None,
    cost_unknown: Annotated[float | None, typer.Option(help="What the answer `unknown` costs.")] = None,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="The part of the data to take.  [default: val, or what was held out for it]"),
    ] = None,
    batch_size: BatchSize = 32,
    device: DeviceName = "auto",
    runtime: RuntimeName = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Make a bundle's probabilities as right as they say; let it answer with sets and `unknown`.

    One part of the images scales the logits, another one sets thresholds, the third is kept back to measure both.

    Example: convsmith calibrate runs/photos --data photos/

    Example: convsmith calibrate runs/photos --data photos/ --split test --coverage 0.95 --precision 0.99

    Example: convsmith calibrate runs/photos/bundle --data photos/ --cost-wrong 5 --cost-unknown 1 --out careful
    """
    import json

    from convsmith.cli.progress import progress_bar
    from convsmith.jobs.calibrate import calibrate as run

    with progress_bar() as progress:
        report = run(
            bundle,
            data,
            out,
            method=method,
            coverage=coverage,
            precision=precision,
            cost_wrong=cost_wrong,
            cost_unknown=cost_unknown,
            split=split,
            batch_size=batch_size,
            allow_code=allow_code,
            device=device,
            runtime=runtime,
            progress=progress,
        )
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        report.print()
        print(f"bundle: {report.bundle}")
