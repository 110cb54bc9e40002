"""convsmith data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AsJson, Overrides
from convsmith.errors import ConvsmithError, counted

RecipeOfData = Annotated[
    str | None,
    typer.Option(help="Name of a packaged recipe, or path of a YAML file.  [default: one for such data]"),
]

app = typer.Typer(no_args_is_help=True, help="Images to train on.")
demo = typer.Typer(no_args_is_help=True, help="Write a real data set that needs no download.")
app.add_typer(demo, name="demo")


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="Folder of images, as `convsmith train` takes it.")],
    overrides: Overrides = None,
    *,
    recipe: RecipeOfData = None,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(help="Bundle or run that judges labels of images it has not learned from; may be repeated."),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            help="Bundle or run of a classifier by whose last features images are compared too, or the name of a "
            "published one, such as resnet50 or timm/resnet18."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="File to write a page with pictures to; it needs no network.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Images twice, across splits or classes, are an error.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at every image and mask, as a training does before its first step, and say what is wrong.

    Counts of classes, sizes and kinds of files, images that cannot be read or look broken, the pixels of each class in
    masks, copies across splits and classes, and validation images too large to be judged by. The exit code is 2 if a
    training would refuse the data, and with --strict if there are such copies.

    Example: convsmith data check photos/

    Example: convsmith data check photos/ --bundle runs/photos --html photos.html

    Example: convsmith data check streets/ --recipe hrnet_w18_seg-folder data.masks.others=ignore
    """
    import json

    from convsmith.analyze.check_data import check_data
    from convsmith.cli.progress import progress_bar

    with progress_bar() as progress:
        found = check_data(
            data,
            recipe,
            overrides or (),
            progress,
            strict=strict,
            bundles=bundle or (),
            embeddings=embeddings,
            html=html,
        )
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        found.print()
    if not found.usable:
        raise typer.Exit(2)


@app.command()
def show(
    data: Annotated[Path, typer.Argument(help="Images, as `convsmith train` takes them.")],
    out: Annotated[Path, typer.Argument(help="Picture to write: a .png or .jpg file.")],
    overrides: Overrides = None,
    *,
    recipe: RecipeOfData = None,
    as_json: AsJson = False,
) -> None:
    """Draw the first images of a training as it augments them, each with its class, or its mask drawn over it.

    Example: convsmith data show photos/ sheet.png --recipe resnet50-in1k

    Example: convsmith data show streets/ sheet.jpg augment.hflip=0
    """
    import json

    from convsmith.analyze.choose_recipe import recipe_for_data
    from convsmith.analyze.contact_sheet import training_tiles, write_sheet
    from convsmith.data.open_data import data_of_recipe

    checked = recipe_for_data(data, recipe, overrides or ())
    tiles = training_tiles(data_of_recipe(checked, data), checked)
    write_sheet(tiles, out)
    if as_json:
        print(json.dumps({"path": str(out), "images": len(tiles), "captions": [tile.caption for tile in tiles]}))
    else:
        print(f"{out}: {counted(len(tiles), 'training image')} as they are learned from")


@app.command()
def pack(
    data: Annotated[Path, typer.Argument(help="Images, as `convsmith train` takes them.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; new, or empty.")],
    overrides: Overrides = None,
    *,
    shard_size: Annotated[str, typer.Option(help="Most bytes of a shard, such as 300MB.")] = "1GB",
    resize: Annotated[int | None, typer.Option(min=1, help="Shorter side of larger images in pixels.")] = None,
    recipe: RecipeOfData = None,
    as_json: AsJson = False,
) -> None:
    """Write images as tar shards in the layout of WebDataset, which are read in large pieces.

    The same data give the same bytes. OUT is there when all is written, and not before.

    Example: convsmith data pack photos/ shards/ --shard-size 1GB --resize 512
    """
    import json

    from convsmith.analyze.choose_recipe import recipe_for_data
    from convsmith.cli.progress import progress_bar
    from convsmith.data.open_data import open_data
    from convsmith.data.shards.pack import pack as pack_data
    from convsmith.storage import size_of_text
    from convsmith.words import for_terminal

    if (size := size_of_text(shard_size)) is None:
        raise ConvsmithError(f"--shard-size is `{shard_size}`", "it is a number of bytes", "Write it as 1GB or 300MB.")
    checked = recipe_for_data(data, recipe, overrides or ())
    dataset = open_data(checked.task, checked.data, data, hold_out=False)
    with progress_bar() as progress:
        packed = pack_data(dataset, out, size, resize, progress, bands=checked.bands)
    if as_json:
        print(json.dumps({"path": str(out), **asdict(packed)}))
        return
    for line in dataset.notes:
        print(for_terminal(line))
    for split, count in packed.samples.items():
        print(f"{split + ':':6} {count:,} images in {counted(packed.shards[split], 'shard')}")
    print(f"{out}: {packed.size:,} bytes; convsmith train {out}")


@app.command()
def convert(
    data: Annotated[Path, typer.Argument(help="Images with masks or outlined areas, as `convsmith train` takes them.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; new, or empty.")],
    overrides: Overrides = None,
    *,
    recipe: RecipeOfData = None,
    as_json: AsJson = False,
) -> None:
    """Write images and masks as two folders, images/ and masks/, of whatever a training for segmentation takes.

    The same data give the same bytes. OUT is there when all is written, and not before.

    Example: convsmith data convert annotations.json scenes/
    """
    import json

    from convsmith.analyze.choose_recipe import recipe_for_data
    from convsmith.cli.progress import progress_bar
    from convsmith.data.masks.convert import convert as convert_data
    from convsmith.data.open_data import open_data
    from convsmith.words import for_terminal

    checked = recipe_for_data(data, recipe, overrides or ())
    dataset = open_data(checked.task, checked.data, data, hold_out=False)
    with progress_bar() as progress:
        counts = convert_data(dataset, out, progress, checked.bands)
    if as_json:
        print(json.dumps({"path": str(out), "classes": dataset.classes, **counts}))
        return
    for line in dataset.notes:
        print(for_terminal(line))
    for split, count in counts.items():
        print(f"{split + ':':6} {counted(count, 'image')} with masks of {len(dataset.classes)} classes")
    print(f"{out}: convsmith train {out}")


@demo.command()
def digits(
    out: Annotated[Path, typer.Argument(help="Folder to write; new, empty, or holding these digits.")],
    as_json: AsJson = False,
) -> None:
    """Write 1,797 handwritten digits as an image folder of train and val.

    Example: convsmith data demo digits digits/
    """
    import json

    from convsmith.data.demo import write_digits

    counts = write_digits(out)
    if as_json:
        print(json.dumps({"path": str(out), **counts}))
    else:
        print(f"{out}: {counts['train']} training and {counts['val']} validation images in 10 classes")


@demo.command("digit-scenes")
def digit_scenes(
    out: Annotated[Path, typer.Argument(help="Folder to write; new, empty, or holding these scenes.")],
    *,
    train: Annotated[int, typer.Option(help="Scenes to train on.", min=1)] = 240,
    val: Annotated[int, typer.Option(help="Scenes to validate on.", min=1)] = 60,
    height: Annotated[int, typer.Option(help="Of a scene in pixels.", min=16, max=4096)] = 96,
    width: Annotated[int, typer.Option(help="Of a scene in pixels.", min=16, max=4096)] = 128,
    as_json: AsJson = False,
) -> None:
    """Write scenes of handwritten digits on photographs, with a mask for each, to learn segmentation on.

    Example: convsmith data demo digit-scenes scenes/
    """
    import json

    from convsmith.data.scenes import CLASSES, write_digit_scenes

    counts = write_digit_scenes(out, train, val, (height, width))
    if as_json:
        print(json.dumps({"path": str(out), **counts}))
    else:
        print(f"{out}: {counts['train']} training and {counts['val']} validation scenes in {len(CLASSES)} classes")
