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
    """Run the whole way once: digits, train, evaluate, predict, serve. Takes about a minute.

    Example: convsmith demo

    Example: convsmith demo demo-seg --segmentation
    """
    recipe = "digit-scenes" if segmentation else "digits"
    images, run = out / recipe, out / "run"
    bundle = run / "bundle"
    _convsmith("data", "demo", recipe, str(images))
    _convsmith("train", recipe, "--data", str(images), "--out", str(run))
    _convsmith("evaluate", str(bundle), "--data", str(images))
    if segmentation:
        some = sorted((images / "images" / "val").iterdir())[:6]
        _convsmith("predict", str(bundle), *map(str, some), "--out", str(out / "predictions"))
    else:
        some = [min(folder.iterdir()) for folder in sorted((images / "val").iterdir())]
        _convsmith("predict", str(bundle), *map(str, some))
    _serve_one_request(bundle, some[-3])
    print("\nEverything is here:")
    places = {
        images: "the images",
        run: "the run: recipe, plan, metrics, checkpoints, log",
        bundle: "the bundle: all that prediction needs",
    }
    if segmentation:
        places[out / "predictions"] = "masks, and their colours over the images"
    for path, what in places.items():
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


def _serve_one_request(bundle: Path, image: Path) -> None:
    """Start the server, send it one image over HTTP, stop it."""
    import subprocess

    port = _free_port()
    with subprocess.Popen(_command("serve", str(bundle), "--port", str(port), "--drain-seconds", "0")) as server:
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
