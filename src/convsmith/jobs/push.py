"""A bundle on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from yaml import YAMLError

from convsmith.bundle.format import MANIFEST, bundle_folder, read_files, read_manifest
from convsmith.bundle.model_card import CARD, model_card
from convsmith.errors import ConvsmithError, missing_package
from convsmith.hub import HUB, OFFLINE, hub_place, is_offline


def push(bundle: str | Path, name: str, *, private: bool = False, licence: str | None = None) -> str:
    """Upload a bundle in one commit, once all of it is verified; the repository is made if there is none.

    The model card is the bundle's `README.md`, as it stands in the folder. The token is that of
    `hf auth login`, or of the variable `HF_TOKEN`.

    Args:
        bundle: the bundle's folder, or the run that it is in.
        name: `hf:ORG/NAME`, or `hf:ORG/NAME@BRANCH`.
        private: make the repository private if it is new.
        licence: the identifier of a licence for the card, such as `apache-2.0`; None: what the card says.

    Returns:
        The address of the commit.

    Raises:
        ConvsmithError: the bundle or its card is damaged, the Hub refuses it, cannot be reached or is not to be, or
            huggingface_hub is not installed.

    Examples:
        >>> cs.push("runs/photos", "hf:my-team/photos", private=True)
        'http...my-team/photos/commit/...'
    """
    if is_offline():
        raise ConvsmithError(f"`{name}` cannot be pushed to", OFFLINE, "Push it where there is a network.")
    if not name.startswith(HUB):
        raise ConvsmithError(f"`{name}` is not a name on the Hugging Face Hub", fix="Give it as hf:ORG/NAME.")
    try:
        from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
        from huggingface_hub.errors import HfHubHTTPError
    except ModuleNotFoundError as error:
        raise missing_package(error) or error from error
    folder = bundle_folder(Path(bundle))
    manifest = read_manifest(folder)
    files = {**read_files(folder, manifest), MANIFEST: (folder / MANIFEST).read_bytes()}
    try:
        card = ModelCard((folder / CARD).read_text("utf-8") if (folder / CARD).is_file() else model_card(manifest))
    except (ValueError, YAMLError) as error:  # anyone may have edited it
        raise ConvsmithError(
            f"{folder / CARD} is not a model card",
            str(error).strip().split("\n")[0],
            "Correct the header between its two `---`, or delete the file: what is uploaded is made anew then.",
        ) from error
    if licence is not None:
        card.data["license"] = licence
    operations = [CommitOperationAdd(path, content) for path, content in {**files, CARD: str(card).encode()}.items()]
    repository, revision = hub_place(name)
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        message = f"Add the bundle of {manifest.model.get('name')}"
        done = api.create_commit(repository, operations, commit_message=message, revision=revision)
    except Exception as error:  # without a network it is one of the HTTP library that huggingface_hub happens to use
        is_refused = isinstance(error, HfHubHTTPError | ValueError)  # ValueError: such a name cannot be
        raise ConvsmithError(
            f"{folder} cannot be pushed to `{name}`",
            str(error).strip().split("\n")[0],
            "Log in with `hf auth login`, or set HF_TOKEN to a token that may write there; then give the same command."
            if is_refused
            else "Give the same command where the Hub can be reached.",
        ) from error
    return str(done.commit_url)
