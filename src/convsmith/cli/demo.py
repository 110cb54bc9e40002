"""convsmith demo: the main job on embedded real data, with the commands a person would type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import subprocess

MAX_SHOWN = 600


def demo(
    out: Annotated[Path, typer.Argument(help="Folder for the images, the run and the bundle.")] = Path("demo"),
    segmentation: Annotated[bool, typer.Option(help="Segment scenes of digits; takes three minutes.")] = False,
) -> None:
    """Run the whole way once: digits, make, serve. Takes about a minute.

    Example: convsmith demo

    Example: convsmith demo demo-seg --segmentation
    """
    import json

    recipe = "digit-scenes" if segmentation else "digits"
    images, run = out / recipe, out / "run"
    _convsmith("data", "demo", recipe, str(images))
    _convsmith("make", str(images), "--recipe", recipe, "--out", str(run))
    bundle = json.loads((run / "report.json").read_text())["recommended"]
    val = images / "images" / "val" if segmentation else images / "val" / "7"
    _serve_one_request(bundle, min(val.iterdir()))
    print("\nEverything is here:")
    for path, what in {
        images: "the images",
        run: "the run: recipe, plan, metrics, checkpoints, log",
        run / "report.html": "the report",
        bundle: "the bundle: all that prediction needs",
    }.items():
        print(f"  {path}  {what}")


def _command(*arguments: str) -> list[str]:
    import shlex
    import sys

    print(f"\n$ convsmith {shlex.join(arguments)}", flush=True)
    return [sys.executable, "-m", "convsmith.cli.main", *arguments]


def _convsmith(*arguments: str) -> None:
    import subprocess

    code = subprocess.run(_command(*arguments), check=False).returncode
    if code:
        raise typer.Exit(code)


def _serve_one_request(bundle: str, image: Path) -> None:
    """Start the server, send it one image over HTTP, stop it."""
    import subprocess

    port = _free_port()
    with subprocess.Popen(_command("serve", bundle, "--port", str(port), "--drain-seconds", "0")) as server:
        try:
            print(f"\n$ curl -F image=@{image} http://127.0.0.1:{port}/predict")
            _wait_until_ready(server, port)
            print(_shortened(_post_image(f"http://127.0.0.1:{port}/predict", image)))
        finally:
            server.terminate()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    import time
    from urllib.error import URLError
    from urllib.request import urlopen

    from convsmith.errors import ConvsmithError

    for _ in range(300):
        if server.poll() is not None:
            raise ConvsmithError("the server ended before it was ready", f"exit code {server.returncode}")
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz"):
                return
        except (URLError, ConnectionError):
            time.sleep(0.1)
    raise ConvsmithError("the server was not ready within 30 seconds")


def _shortened(text: str) -> str:
    """The runs of a mask fill a screen."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _post_image(url: str, image: Path) -> str:
    """POST a file as the multipart field `image`, as curl -F does; the body of the answer."""
    from urllib.request import Request, urlopen

    boundary = "convsmith-demo"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{image.name}"\r\n\r\n'
    body = head.encode() + image.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    request = Request(url, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    with urlopen(request) as answer:
        text: str = answer.read().decode()
    return text
