"""Runs the application with uvicorn, and stops it without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from convsmith.bundle.format import bundle_folder, read_manifest
from convsmith.errors import ConvsmithError
from convsmith.serve.announcement import announcement, url
from convsmith.serve.app import create_app
from convsmith.serve.connection import Connection, Crowd
from convsmith.serve.grpc_service import require_grpc
from convsmith.serve.log import LOGGING
from convsmith.serve.processes import Processes, share_out, shared_metrics
from convsmith.serve.proxies import check_proxies
from convsmith.serve.service import Service
from convsmith.serve.settings import Settings
from convsmith.serve.tls import check_certificate
from convsmith.system import open_files, signals

DRAIN_SECONDS = 5.0  # after SIGTERM, which an orchestrator sends while it still tells its load balancers
FINISH_SECONDS = 15
UPLOAD_SECONDS = 5  # of these, for requests that have not come in
CLOSE_SECONDS = 5  # for connections that are open beyond that; 25 in all, under the usual 30 before SIGKILL

READ_SECONDS = 30
HANDSHAKE_SECONDS = 10  # for TLS to begin
MOST_CONNECTIONS = 1000
OWN_FILES = 64  # descriptors that are neither connections nor their uploads
BACKLOG = 2048  # connections that the system keeps until they are accepted
ACCEPTED_AT_ONCE = 16  # before those that are too many are closed


class Server(uvicorn.Server):
    """uvicorn that says when the model is ready, ends when it cannot be loaded, and drains before it closes."""

    def __init__(
        self, config: uvicorn.Config, service: Service, on_ready: Callable[[], None], drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._service = service
        self._on_ready: Callable[[], None] | None = on_ready
        self._drain_seconds = drain_seconds
        self.accepts_while_loading = True  # else others answer meanwhile

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn once."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_in_one_line)
        if self.config.is_ssl:  # which uvicorn leaves at a minute, without a word in which to change it
            hurried = partial(loop.create_server, ssl_handshake_timeout=HANDSHAKE_SECONDS)
            loop.create_server = hurried  # type: ignore[method-assign]
        if not self.accepts_while_loading:
            self._service.start_loading()
            while not (self._service.models.settled or self.should_exit):
                await asyncio.sleep(0.01)
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn for a signal; who presses Ctrl-C has no load balancer to wait for."""
        self._service.leaving = True  # at once: uvicorn looks only ten times a second whether it must end
        if sig == signal.SIGINT:
            self._drain_seconds = 0
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second; True ends the server."""
        if self._on_ready and self._service.models.settled and not self._service.models.failure:
            self._on_ready()
            self._on_ready = None
        return self._service.models.failure is not None or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on while load balancers see that `/readyz` is 503; then refuse what is new and finish the rest."""
        self._service.leaving = True
        await self._wait(self._drain_seconds, lambda: self._service.models.failure is not None)
        self._service.stop(UPLOAD_SECONDS)
        await self._wait(FINISH_SECONDS, lambda: self._service.idle)
        await super().shutdown(sockets)

    async def _wait(self, seconds: float, until: Callable[[], bool]) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while not until() and not self.force_exit and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.1)


def make_server(app: FastAPI, on_ready: Callable[[], None] = lambda: None, drain_seconds: float = 0) -> Server:
    """A server for what `create_app` made; `on_ready` is called once, when it answers predictions."""
    settings: Settings = app.state.service.settings
    check_certificate(settings.certfile, settings.keyfile)
    check_proxies(settings.forwarded_allow_ips)
    crowd = Crowd(most_connections(), app.state.record_watchers)
    config = uvicorn.Config(
        app,
        # h11 is always there, and reads on after an early answer, so that the client gets to see it
        http=cast("type[Connection]", partial(Connection, crowd)),
        loop="asyncio",
        ws="none",
        lifespan="on",
        server_header=False,
        backlog=ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=CLOSE_SECONDS,
        log_config=LOGGING,
        ssl_certfile=settings.certfile,
        ssl_keyfile=settings.keyfile,
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=list(settings.forwarded_allow_ips),
        access_log=False,  # `convsmith.serve.access_log` writes it
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    app.state.service.models.failure_is_told = True
    return Server(config, app.state.service, on_ready, drain_seconds)


def most_connections() -> int:
    """How many connections leave enough file descriptors for their uploads and the rest."""
    descriptors = open_files()
    if descriptors is None:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, (descriptors - OWN_FILES) // 2))


def _log_in_one_line(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log that no connection can be accepted without a traceback, and what else the event loop meets as ever."""
    error = context.get("exception")
    if isinstance(error, OSError) and "accept" in context["message"]:
        logging.getLogger("uvicorn.error").warning("No connection can be accepted: %s", error.strerror)
    else:
        loop.default_exception_handler(context)


def serve(
    bundles: Path | Mapping[str, Path] | None,
    host: str,
    port: int,
    settings: Settings | None = None,
    *,
    drain_seconds: float = DRAIN_SECONDS,
    processes: int = 1,
    **changes: Any,
) -> None:
    """Serve bundles, or those of runs, until SIGTERM, SIGHUP or Ctrl-C; then finish the requests in flight and return.

    Must run in the main thread, which gets the signals. Port 0 takes a free one. For `drain_seconds` after SIGTERM or
    SIGHUP everything is still answered but `/readyz`. Several `processes` share the cores and the port. The other
    arguments are those of `create_app`.

    Raises:
        ConvsmithError: no bundle can be loaded, the address not be used, or there are not as many cores.
    """
    settings = replace(settings or Settings(), **changes)
    if isinstance(bundles, Path):
        read_manifest(bundle_folder(bundles))
    if settings.grpc:
        require_grpc()
        listen(host, int(settings.grpc.rpartition(":")[2])).close()  # a taken one is an error before models are loaded
    if processes > 1 and (settings.control or (settings.grpc or "").endswith(":0")):
        raise ConvsmithError(
            f"--processes {processes} does not go with --control, nor with --grpc-port 0",
            "each process would load models, or choose a port, for itself alone",
            "Use --watch, which all of them do, and name the port.",
        )
    out = sys.stderr if settings.access_log == "json" else sys.stdout  # each line there is JSON

    def announce(text: str) -> None:
        print(text, file=out, flush=True)

    if processes == 1:
        app = create_app(bundles, settings)
        serve_socket(app, listen(host, port), host, announce, drain_seconds)
        return
    settings = share_out(settings, processes)
    create_app(bundles, settings)  # so that its errors come once, and before any process is started
    listener = listen(host, port)
    with shared_metrics():
        Processes(processes, partial(_serve_beside, bundles, settings, host, drain_seconds), listener, announce).run()


def _serve_beside(
    bundles: Path | Mapping[str, Path] | None,
    settings: Settings,
    host: str,
    drain_seconds: float,
    *given: Any,
) -> None:
    """Serve in one of several processes; `given` are the socket, and what is called with the text to print."""
    listener, announce = given
    serve_socket(create_app(bundles, settings), listener, host, announce, drain_seconds, is_alone=False)


def serve_socket(
    app: FastAPI,
    listener: socket.socket,
    host: str,
    announce: Callable[[str], None],
    drain_seconds: float = DRAIN_SECONDS,
    *,
    is_alone: bool = True,
) -> None:
    """Serve a socket until a signal comes, as `serve` does.

    Args:
        app: what answers.
        listener: the socket, which listens at `host`.
        host: as it is printed.
        announce: called once, when it is ready, with what there is to print.
        drain_seconds: as `serve` takes them.
        is_alone: whether no other process serves the socket; beside others nothing is accepted before models are
            loaded, and connections are taken one at a time, so that all get some.

    Raises:
        ConvsmithError: no bundle can be loaded.
    """
    service: Service = app.state.service
    port = listener.getsockname()[1]
    server = make_server(app, lambda: announce(announcement(service, host, port)), drain_seconds)
    if not is_alone:
        server.accepts_while_loading, server.config.backlog = False, 1
    # uvicorn raises a signal again once it has stopped: an orderly end either way
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for number in signals("SIGHUP"):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores it
            signal.signal(number, server.handle_exit)
    for number in signals("SIGUSR1", "SIGUSR2"):
        signal.signal(number, signal.SIG_IGN)  # with other servers they open logs again
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if failure := service.models.failure:
        raise failure


def listen(host: str, port: int) -> socket.socket:
    """A socket whose connections send small answers at once; port 0 takes a free one.

    Raises:
        ConvsmithError: the address cannot be used.
    """
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConvsmithError(
            f"cannot listen on {url(host, port)}", error.strerror or str(error), "Choose another --port or --host."
        ) from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # a client that reads nothing of its answer is cut off
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READ_SECONDS * 1000)
    # asyncio sets TCP_NODELAY only where a socket names its protocol, which create_server leaves out
    return socket.socket(listener.family, listener.type, socket.IPPROTO_TCP, fileno=listener.detach())
