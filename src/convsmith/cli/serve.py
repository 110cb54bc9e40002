"""convsmith serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import DeviceName, RuntimeName
from convsmith.errors import ConvsmithError
from convsmith.serve.settings import LogForm

LIMITS = "Limits and speed"
LOOKING = "Seeing what it does"
SAFE = "Safety"
PROXIES = "Behind a proxy"


def serve(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[[NAME=]BUNDLE]...",
            help="A bundle, or a run, which has one inside; several are named: NAME=BUNDLE or NAME/VERSION=BUNDLE.",
        ),
    ] = None,
    *,
    watch: Annotated[
        Path | None,
        typer.Option(help="Serve the bundles in this folder as they come and go: NAME/bundle or NAME/VERSION."),
    ] = None,
    default: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME/VERSION", help="What is meant by the name alone, else the highest; repeatable."),
    ] = None,
    max_models: Annotated[
        int | None, typer.Option(min=1, help="Models in memory; more are loaded when they are asked.")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Answer the Open Inference Protocol over gRPC at this port.")
    ] = None,
    control: Annotated[bool, typer.Option("--control", help="Let clients load and unload models.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    max_mb: Annotated[float, typer.Option(min=0.001, help="Largest upload in megabytes.", rich_help_panel=LIMITS)] = 20,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Largest image in pixels, 25 million by default.", rich_help_panel=LIMITS)
    ] = None,
    max_images: Annotated[
        int, typer.Option(min=1, help="Images that one request may have.", rich_help_panel=LIMITS)
    ] = 16,
    allow_urls: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Fetch images from such addresses, as https://images.example.org/*; repeatable.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Images predicted at the same time.", rich_help_panel=LIMITS)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the model for each of them.", rich_help_panel=LIMITS)
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share the cores and the port.", rich_help_panel=LIMITS)
    ] = 1,
    max_batch: Annotated[
        int,
        typer.Option(
            min=1,
            help="Images that wait and run together at most, where that is measured to pay.",
            rich_help_panel=LIMITS,
        ),
    ] = 8,
    max_delay_ms: Annotated[
        float,
        typer.Option(min=0, max=1000, help="Milliseconds that a batch waits for more images.", rich_help_panel=LIMITS),
    ] = 0,
    max_wait_ms: Annotated[
        float,
        typer.Option(
            min=0,
            help="Milliseconds that a request may be expected to wait; beyond, it gets 503.",
            rich_help_panel=LIMITS,
        ),
    ] = 10_000,
    drain_seconds: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds to serve on after SIGTERM, with /readyz at 503 already.", rich_help_panel=LIMITS
        ),
    ] = 5,
    device: DeviceName = "auto",
    runtime: RuntimeName = None,
    access_log: Annotated[
        LogForm, typer.Option(help="A line on standard output for each request.", rich_help_panel=LOOKING)
    ] = "text",
    sample: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Keep this share of answered images, such as 0.01.", rich_help_panel=LOOKING
        ),
    ] = None,
    sample_dir: Annotated[
        Path | None, typer.Option(help="Where they are kept, each beside its answer.", rich_help_panel=LOOKING)
    ] = None,
    sample_max_files: Annotated[
        int, typer.Option(min=1, help="Images that the folder may hold.", rich_help_panel=LOOKING)
    ] = 10_000,
    sample_max_mb: Annotated[
        float, typer.Option(min=0.001, help="Megabytes that it may hold.", rich_help_panel=LOOKING)
    ] = 1000,
    token_file: Annotated[
        Path | None, typer.Option(help="Bearer tokens, one a line; all but probes need one.", rich_help_panel=SAFE)
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="N/s", help="Requests that each client may make.", rich_help_panel=SAFE)
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Whose pages may read answers; repeatable.", rich_help_panel=SAFE),
    ] = None,
    certfile: Annotated[
        Path | None, typer.Option(help="Certificate for TLS, as PEM with those it rests on.", rich_help_panel=SAFE)
    ] = None,
    keyfile: Annotated[Path | None, typer.Option(help="Its key, as PEM.", rich_help_panel=SAFE)] = None,
    root_path: Annotated[
        str, typer.Option(metavar="PATH", help="What a proxy takes away of addresses.", rich_help_panel=PROXIES)
    ] = "",
    forwarded_allow_ips: Annotated[
        str,
        typer.Option(metavar="IP,...", help="Proxies whose X-Forwarded-For and -Proto count.", rich_help_panel=PROXIES),
    ] = "",
) -> None:
    """Answer POST /predict over HTTP until Ctrl-C, SIGTERM or SIGHUP.

    Example: convsmith serve runs/photos/bundle --port 8000 --device cpu
    """
    import gc
    import warnings

    gc.disable()  # what is imported stays: to look for garbage in it takes a fifteenth of that time
    from convsmith.output import output_that_may_be_lost
    from convsmith.serve.server import serve as run_server

    gc.freeze()
    gc.enable()
    warnings.filterwarnings("ignore", module=r"PIL\.")  # Pillow comments on what it repairs in damaged files
    with output_that_may_be_lost():
        run_server(
            _named(bundles or []),
            host,
            port,
            max_bytes=round(max_mb * 1_000_000),
            watch=watch,
            default=tuple(default or ()),
            max_models=max_models,
            control=control,
            grpc=None if grpc_port is None else f"[{host}]:{grpc_port}" if ":" in host else f"{host}:{grpc_port}",
            max_images=max_images,
            allow_urls=tuple(allow_urls or ()),
            workers=workers,
            threads=threads,
            max_pixels=max_pixels,
            processes=processes,
            max_batch=max_batch,
            max_wait=max_wait_ms / 1000,
            max_delay=max_delay_ms / 1000,
            drain_seconds=drain_seconds,
            device=device,
            runtime=runtime,
            access_log=access_log,
            sample=sample,
            sample_dir=sample_dir,
            sample_max_files=sample_max_files,
            sample_max_bytes=round(sample_max_mb * 1_000_000),
            token_file=token_file,
            rate=rate,
            cors_origins=tuple(cors_origin or ()),
            certfile=certfile,
            keyfile=keyfile,
            root_path=root_path,
            forwarded_allow_ips=tuple(it.strip() for it in forwarded_allow_ips.split(",") if it.strip()),
        )


def _named(words: list[str]) -> Path | dict[str, Path] | None:
    """The bundles that are meant, by their names; one alone needs none."""
    if not words:
        return None
    if len(words) == 1 and ("=" not in words[0] or Path(words[0]).exists()):
        return Path(words[0])
    named = dict[str, Path]()
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not path or name in named:
            raise ConvsmithError(
                f"`{word}` needs a name of its own", "there are several bundles", "Write NAME=BUNDLE, as photos=runs/a."
            )
        named[name] = Path(path)
    return named
