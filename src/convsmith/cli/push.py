"""convsmith push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run, which has one inside.")],
    name: Annotated[str, typer.Argument(metavar="hf:ORG/NAME", help="Where to; it is made if it is not there.")],
    *,
    private: Annotated[bool, typer.Option("--private", help="Make it private if it is new.")] = False,
    licence: Annotated[
        str | None, typer.Option("--license", metavar="NAME", help="State it in the model card, such as apache-2.0.")
    ] = None,
) -> None:
    """Upload a bundle with its model card to the Hugging Face Hub.

    Log in with `hf auth login`, or set HF_TOKEN. Afterwards hf:ORG/NAME may be given wherever a bundle is asked for.

    Example: convsmith push runs/photos hf:my-team/photos --private

    Example: convsmith predict hf:my-team/photos image.jpg
    """
    from convsmith.jobs.push import push as push_bundle

    print(push_bundle(bundle, name, private=private, licence=licence))
