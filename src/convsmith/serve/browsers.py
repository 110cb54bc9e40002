"""Headers of answers for browsers, and the pages of other hosts that may read them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from convsmith.errors import ConvsmithError

_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?")
_USUAL = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_ASKED_WITH = (
    "Authorization",
    "Content-Type",
    "Inference-Header-Content-Length",
    "X-Request-Id",
    "X-Request-Timeout",
    "traceparent",
)
_SHOWN = (
    "Inference-Header-Content-Length",
    "Retry-After",
    "X-Request-Id",
    "X-Device",
    "X-Provider",
    "X-Runtime",
    "traceparent",
)


def add_usual_headers(headers: MutableHeaders) -> None:
    """Let browsers keep, guess, load and embed nothing, unless the answer says otherwise itself."""
    for name, value in _USUAL.items():
        headers.setdefault(name, value)


def check_origins(origins: Sequence[str]) -> None:
    """Raise a ConvsmithError for what is not an origin."""
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConvsmithError(
                f"`{origin}` is not an origin",
                "pages are named by scheme, host and port, all of them exactly",
                "Such as https://photos.example.org or http://localhost:5173.",
            )


def with_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The application, whose answers pages of these origins may read."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=_ASKED_WITH,
        expose_headers=_SHOWN,
    )
