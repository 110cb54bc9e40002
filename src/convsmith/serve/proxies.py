"""Proxies whose word on who asks is taken."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from convsmith.errors import ConvsmithError


def check_proxies(addresses: Sequence[str]) -> None:
    """Raise a ConvsmithError for what is not an address or a network."""
    for address in addresses:
        try:
            ipaddress.ip_network(address)
        except ValueError as error:
            raise ConvsmithError(
                f"`{address}` is not the address of a proxy",
                str(error),
                "Give addresses or networks with commas between them, such as 10.0.0.7,10.1.0.0/16.",
            ) from error


def check_root_path(path: str) -> None:
    """Raise a ConvsmithError for what is not the beginning of a path."""
    if path and (not path.startswith("/") or path.endswith("/") or "//" in path or not path.isascii()):
        raise ConvsmithError(
            f"--root-path is `{path}`", "it is the part of the address that a proxy takes away", "Such as /photos."
        )
