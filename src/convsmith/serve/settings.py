"""Limits and places of a server, given when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LogForm = Literal["json", "text", "off"]

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Settings:
    """The settings of a server.

    Attributes:
        max_bytes: largest request body.
        workers: images decoded and predicted at the same time; None: at most 4, by the cores.
        threads: threads of a model for each; None: the cores divided by the workers.
        max_waiting: further requests that may wait; others are answered 503.
        max_wait: seconds that a request may be expected to wait; others are answered 503.
        max_images: that one request may have.
        allow_urls: patterns of the addresses from which images are fetched, as `serve.addresses` reads them.
        max_batch: images of one model that run together at most, where that is faster; 1: never.
        max_delay: seconds that a batch which is not full waits for more images.
        watch: a folder whose bundles are served, in place of those that are named.
        default: `NAME/VERSION` of what is meant where a request gives the name alone.
        max_models: how many are in memory; None: all.
        control: whether clients may load and unload models.
        grpc: the address that answers gRPC, HOST:PORT; None: none does.
        max_pixels: largest image; None: 25 million pixels, or what CONVSMITH_MAX_PIXELS says.
        device: what models run on, as `load` takes it.
        runtime: what runs them, likewise.
        access_log: how each request is logged.
        sample: share of the answered images that is kept to be labelled anew; None: none is.
        sample_dir: where they are kept.
        sample_max_files: images that the folder may hold.
        sample_max_bytes: likewise, of all its files.
        token_file: where the tokens are of which a request needs one; None: it needs none.
        rate: how often a client may ask, such as `10/s`; None: as often as it wants.
        cors_origins: pages of which origins may read answers.
        certfile: the certificate for TLS; None: there is no TLS.
        keyfile: its key; None: that is in `certfile`.
        root_path: the part of addresses that a proxy takes away.
        forwarded_allow_ips: proxies, by address or network, whose `X-Forwarded-For` and `X-Forwarded-Proto` count.
    """

    max_bytes: int = 20 * MEGABYTE
    workers: int | None = None
    threads: int | None = None
    max_waiting: int = 128
    max_wait: float = 10.0
    max_images: int = 16
    allow_urls: tuple[str, ...] = ()
    max_batch: int = 8
    max_delay: float = 0.0
    watch: Path | None = None
    default: tuple[str, ...] = ()
    max_models: int | None = None
    control: bool = False
    grpc: str | None = None
    max_pixels: int | None = None
    device: str = "auto"
    runtime: str | None = None
    access_log: LogForm = "text"
    sample: float | None = None
    sample_dir: Path | None = None
    sample_max_files: int = 10_000
    sample_max_bytes: int = 1000 * MEGABYTE
    token_file: Path | None = None
    rate: str | None = None
    cors_origins: tuple[str, ...] = ()
    certfile: Path | None = None
    keyfile: Path | None = None
    root_path: str = ""
    forwarded_allow_ips: tuple[str, ...] = ()
