"""Addresses that a server may fetch images from: those that a pattern allows, of hosts that everybody can reach."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from convsmith.errors import ConvsmithError
from convsmith.serve.problems import Problem

PORTS = {"http": 80, "https": 443}
_LONGEST, _LONGEST_HOST = 4096, 253
_MEANS_MORE = "%/:=&?~+!$,;'@()*[]"  # characters of a path and a query that stay as they are

# Public by their number, and yet the machine's own surroundings, or a way to an IPv4 address that is not looked at.
_NOT_PUBLIC = [
    ip_network(it)
    for it in (
        "168.63.129.16/32",  # Azure's metadata
        "192.0.0.0/24",  # Oracle's, among others
        "192.88.99.0/24",  # 6to4's relays
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "fec0::/10",
    )
]


@dataclass(frozen=True)
class Pattern:
    """Addresses that an operator allows, `[SCHEME://]HOST[:PORT][/PATH]`, with `*` for anything in host and path."""

    schemes: tuple[str, ...]
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a pattern; a ConvsmithError says what is wrong with it."""
        wrong = f"--allow-urls {text!r} is not a pattern of addresses"
        fix = "Write it as https://images.example.org/* or *.example.org."
        try:
            parts = urlsplit(text if "://" in text else f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConvsmithError(wrong, str(error), fix) from error
        if not host or parts.scheme not in ("", *PORTS):
            raise ConvsmithError(wrong, f"its scheme is `{parts.scheme}`" if host else "it names no host", fix)
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ConvsmithError(wrong, "users, queries and fragments are not looked at", fix)
        path = parts.path if parts.path not in ("", "/") else "/*"
        return cls((parts.scheme,) if parts.scheme else tuple(PORTS), _ascii_host(host), port, path)

    def takes(self, url: SplitResult) -> bool:
        """Whether it allows an address that `parse_url` returned."""
        return (
            url.scheme in self.schemes
            and fnmatchcase(url.hostname or "", self.host)
            and (url.port or PORTS[url.scheme]) == (self.port or PORTS[url.scheme])
            and fnmatchcase(url.path, self.path)
        )


def parse_url(text: str, patterns: Iterable[Pattern]) -> SplitResult:
    """The parts of an address that is allowed, all of them ASCII.

    Raises:
        Problem: 422 it is not an address of the web, 403 no pattern allows it.
    """
    try:
        if len(text) > _LONGEST or re.search(r"[\0-\x20\x7f\\]", text):
            raise ValueError(f"it holds blanks or backslashes, or is longer than {_LONGEST} characters")
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        if parts.scheme not in PORTS or not host:
            raise ValueError("it does not begin with https:// or http:// and a host")
        if "@" in parts.netloc:
            raise ValueError("it holds a user's name")
        host = _ascii_host(host)
        if len(host) > _LONGEST_HOST:
            raise ValueError("its host is too long")
        path, query = (quote(it, safe=_MEANS_MORE) for it in (parts.path or "/", parts.query))
        if {".", ".."} & set(re.split(r"[/\\]", unquote(unquote(path)))):
            raise ValueError("its path goes up again")
    except ValueError as error:  # a UnicodeError is one
        raise Problem(422, "this is not the address of an image", str(error)) from error
    place = f"[{host}]" if ":" in host else host
    url = SplitResult(parts.scheme, place if port is None else f"{place}:{port}", path, query, "")
    if not any(pattern.takes(url) for pattern in patterns):
        why = f"{url.scheme}://{url.netloc} is not among those that this server was started with"
        raise Problem(403, "images may not be fetched from this address", why, "Send the image itself.")
    return url


async def resolve(url: SplitResult) -> list[tuple[Any, ...]]:
    """The family and the socket's address of all places that the host of an address stands for.

    Who connects to these, not to the name again, gets to no other place than those looked at here.

    Raises:
        Problem: 422 there is no such host, 403 it stands for a private place.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            url.hostname, url.port or PORTS[url.scheme], type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        raise Problem(422, "the image cannot be fetched", f"there is no host {url.hostname}") from error
    if not all(is_public(place[4][0]) for place in found):
        why = f"{url.hostname} is not a public host"
        raise Problem(403, "images may not be fetched from this address", why, "Send the image itself.")
    return [(family, address) for family, _, _, _, address in found]


def is_public(address: str | int) -> bool:
    """Whether everybody reaches the same machine by a numeric address, and it is none of a cloud's own."""
    place = ip_address(str(address).partition("%")[0])
    if isinstance(place, IPv6Address) and place.ipv4_mapped:
        place = place.ipv4_mapped
    own = any(place in it for it in _NOT_PUBLIC if it.version == place.version)
    return place.is_global and not place.is_multicast and not place.is_reserved and not own


def _ascii_host(host: str) -> str:
    return host if host.isascii() else host.encode("idna").decode()
