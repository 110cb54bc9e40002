"""Files on the Hugging Face Hub, by the name `hf:ORG/NAME`, or `hf:ORG/NAME@REVISION`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from convsmith.errors import ConvsmithError, missing_package

HUB = "hf:"
OFFLINE = "the network is not to be used (--offline, or CONVSMITH_OFFLINE)"


def is_offline() -> bool:
    """Whether the environment variable CONVSMITH_OFFLINE forbids the network."""
    return os.environ.get("CONVSMITH_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")


def keep_hub_offline() -> None:
    """Let huggingface_hub, and all that use it in this process, take nothing but what is in its cache."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    if (constants := sys.modules.get("huggingface_hub.constants")) is not None:  # which has read it already
        vars(constants)["HF_HUB_OFFLINE"] = True


def hub_file(name: str, file: str, what: str, fix: str) -> Path | None:
    """A file in the cache of huggingface_hub, downloaded unless it is there; None where there is none of that name.

    Args:
        name: as `hf:ORG/NAME`.
        file: its path there.
        what: what an error calls that which is wanted, such as `the weights`.
        fix: what an error advises.

    Raises:
        ConvsmithError: it cannot be had, or huggingface_hub is not installed.
    """
    if is_offline():
        keep_hub_offline()
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise missing_package(error) or error from error
    repository, revision = hub_place(name)

    def not_had(why: str) -> ConvsmithError:
        return ConvsmithError(f"{what} `{name}` cannot be had from the Hugging Face Hub", why, fix)

    try:
        found = hf_hub_download(repository, file, revision=revision, local_files_only=is_offline())
    except LocalEntryNotFoundError as error:  # neither here nor reached
        raise not_had(OFFLINE if is_offline() else str(error).split("\n")[0]) from error
    except EntryNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: such a name cannot be
        raise not_had(str(error).split("\n")[0]) from error
    return Path(found)


def hub_place(name: str) -> tuple[str, str | None]:
    """The repository and the revision that a name means; None: the newest one."""
    repository, _, revision = name.removeprefix(HUB).partition("@")
    return repository, revision or None
