"""convsmith launch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AsJson, Finetune, Nodes, Shard, TrackerName
from convsmith.errors import ConvsmithError
from convsmith.machine import runs_folder

app = typer.Typer(no_args_is_help=True, help="Train on a cluster.")


@app.callback()
def _launch() -> None:
    """Let `slurm` be a command of its own, though there is no other."""


@app.command()
def slurm(
    recipe: Annotated[
        str, typer.Argument(help="Name of a packaged recipe, or path of a YAML file; or a ladder of them.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe, or to all of them.")
    ] = None,
    *,
    data: Annotated[Path, typer.Option(help="Folder of images, at the same path on all machines.")],
    out: Annotated[
        Path | None, typer.Option(help="Run directory, shared.  [default: runs/RECIPE or runs/LADDER-ladder]")
    ] = None,
    nodes: Nodes = 1,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of each machine; 0 trains on CPUs.")] = 1,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Of each machine, with --gpus 0; else there is one for each GPU.")
    ] = None,
    cpus: Annotated[int, typer.Option(min=1, help="CPU cores of each process.")] = 8,
    time: Annotated[str, typer.Option(help="Limit, after which the job goes on in another: 90m, 72h or 3d.")] = "24h",
    partition: Annotated[str | None, typer.Option(help="Slurm's partition.  [default: Slurm's]")] = None,
    grace: Annotated[int, typer.Option(min=1, help="Seconds before the limit that the job begins to save.")] = 120,
    max_requeues: Annotated[int, typer.Option(min=0, help="How often at most the job queues again.")] = 100,
    sbatch: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=VALUE]", help="Any other option of sbatch; may be repeated.")
    ] = None,
    tracker: TrackerName = None,
    finetune: Finetune = None,
    shard: Shard = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the script, and queue nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a training with Slurm, on any number of machines; or a ladder, as an array of one job for each step.

    Before its time is up, and when it is preempted, the job saves, queues again and goes on, with the same result.

    Example: convsmith launch slurm resnet50-in1k --data imagenet/ --nodes 4 --gpus 8 --partition P --time 72h

    Example: convsmith launch slurm cifar10 --data cifar10/ --gpus 1 --sbatch account=vision sampling.fraction=0.1
    """
    import json
    import shlex

    from convsmith.data.source import is_known
    from convsmith.launch.sbatch_options import further_options
    from convsmith.launch.slurm import Resources, script, submit
    from convsmith.recipe.ladder import is_ladder, load_ladder
    from convsmith.recipe.load import load_recipe
    from convsmith.recipe.make_plan import divide_batch

    if gpus and processes not in (None, gpus):
        raise ConvsmithError(f"--processes {processes} with --gpus {gpus}", "each GPU has a process of its own")
    words = overrides or []
    ladder = load_ladder(recipe, words) if is_ladder(recipe) else None
    folder = out or runs_folder() / (Path(recipe).stem + ("-ladder" if ladder else ""))
    runs = (
        [
            ([step.source, *([f"data.fold={of_run.data.fold}"] * (of_run is not step.recipe))], of_run, place)
            for step in ladder.steps
            for place, of_run in step.runs(folder)
        ]
        if ladder
        else [([recipe], load_recipe(recipe, words), folder)]
    )
    resources = Resources(
        nodes=nodes,
        gpus=gpus,
        processes=processes or max(1, gpus),
        cpus=cpus,
        minutes=_minutes(time),
        partition=partition,
        grace=grace,
        max_requeues=max_requeues,
        more=further_options(sbatch or (), gpus),
    )
    for _, checked, _ in runs:
        if checked.data.folds is not None and checked.data.fold is None:
            why = "a job trains one of them"
            raise ConvsmithError("data.folds is set, but no fold is named", why, "Add data.fold, or give a ladder.")
        divide_batch(checked, nodes, resources.processes)  # better known now than when the job has waited its turn
    named = {"--data": str(data), "--tracker": tracker, "--finetune": finetune}
    options = [word for name, value in named.items() if value is not None for word in (name, value)]
    options += ["--shard"] if shard else []
    commands = [["train", source, *options, "--out", str(place), *words, *own] for (source, *own), _, place in runs]
    if dry_run:
        print(script(commands, resources, folder / "slurm"), end="")
        return
    if not data.exists() and not is_known(data):
        raise ConvsmithError(f"there is no {data}", "the job would fail at once", "Name the data with --data.")
    jobs = submit(commands, resources, folder / "slurm")
    logs = [str(folder / "slurm" / f"{job}_0_log.err") for job in jobs]
    if as_json:
        print(json.dumps({"jobs": jobs, "logs": logs, "runs": [str(place) for _, _, place in runs]}))
        return
    for job, log, (_, _, place) in zip(jobs, logs, runs, strict=True):
        print(f"job {job}: {place}, log {log}")
    if ladder:
        print(f"then: {shlex.join(['convsmith', 'ablate', recipe, '--data', str(data), '--out', str(folder), *words])}")


def _minutes(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in "mhd" or not int(number):
        raise ConvsmithError(f"--time {text} is not a time", fix="Write 90m, 72h or 3d.")
    return int(number) * {"m": 1, "h": 60, "d": 24 * 60}[unit]
