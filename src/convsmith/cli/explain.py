"""convsmith explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from convsmith.cli.options import DeviceName, RuntimeName
from convsmith.words import for_terminal


def explain(
    place: Annotated[Path, typer.Argument(help="A run, or a bundle.")],
    paths: Annotated[list[str], typer.Argument(help="Images, folders or patterns; - reads one image from stdin.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("explained"),
    method: Annotated[
        Literal["grad-cam", "layer-cam", "cam", "occlusion", "rise"] | None,
        typer.Option(help="How; the first two take a run.  [default: grad-cam of a run, occlusion of a bundle]"),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", metavar="LABEL", help="Explain this class.  [default: the predicted one]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write NAME.json too, and print it as JSON Lines.")] = False,
    device: DeviceName = "auto",
    runtime: RuntimeName = None,
) -> None:
    """Show where a model looks: for each image, NAME.png with the heat of a class over it, and a legend.

    Example: convsmith explain runs/photos cat.jpg holiday/ --out explained/

    Example: convsmith explain runs/streets street.jpg --class car --method layer-cam

    Example: convsmith explain runs/photos/bundle cat.jpg --method rise --json
    """
    import json
    import warnings

    from convsmith.analyze.explain import explanations
    from convsmith.analyze.explainer import open_explainer
    from convsmith.bundle.images.image_error import ImageError
    from convsmith.cli.bad_images import BadImages, note
    from convsmith.data.folders.image_paths import find_images

    warnings.filterwarnings("ignore", module=r"PIL\.")  # Pillow comments on what it repairs in damaged files
    bad = BadImages()
    images = find_images(paths, bad.complain, note)
    explainer = open_explainer(place, method, device=device, runtime=runtime)
    for found in explanations(explainer, images, out, label=label, as_json=as_json):
        if isinstance(found, ImageError):
            bad.tell(found.on_command_line)
        elif as_json:
            print(json.dumps(found.to_dict()), flush=True)
        else:
            print(f"{found.score:7.1%}  {for_terminal(found.label)}  {for_terminal(found.name)}", flush=True)
    bad.end()
