"""`GET /docs`: what the server understands, to read and try in a browser; it asks no other host."""

from __future__ import annotations

from importlib import resources

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

from convsmith.errors import require_extra
from convsmith.serve.problems import Problem
from convsmith.serve.service import Service

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>convsmith: addresses</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
"""
_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#ui", validatorUrl: null})'
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_KINDS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


def add(app: FastAPI, service: Service) -> None:  # noqa: ARG001  # as all routes
    """Let `app` show its addresses by Swagger UI, which the package fastapi-offline brings."""

    @app.head("/docs", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """The page."""
        _file("swagger-ui.css")
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})

    @app.get("/docs/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        """A file of the page."""
        if name == "start.js":
            return Response(_START, media_type="text/javascript")
        if name not in _KINDS:
            raise Problem(404, "Not Found", f"/docs/{name} is not served here", "Open /docs.")
        return Response(_file(name), media_type=_KINDS[name], headers={"Cache-Control": "max-age=3600"})


def _file(name: str) -> bytes:
    try:
        return (resources.files("fastapi_offline") / "static" / name).read_bytes()
    except ModuleNotFoundError as error:
        missing = require_extra("fastapi-offline", "/docs", "serve")
        raise Problem(404, missing.what, missing.why, missing.fix) from error
