"""Who may ask, and how often."""

from __future__ import annotations

import math
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from convsmith.serve.problems import Problem, response
from convsmith.serve.rates import Rates
from convsmith.serve.request_record import client_of
from convsmith.serve.settings import Settings
from convsmith.serve.tokens import Tokens

PROBES = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Addresses that are answered without a token, and as often as they are asked."""


class Guard:
    """Answers 401 to who has no token, and 429 to who asks too often, before anything of the request is read.

    Args:
        app: what answers others.
        tokens: those that count; None: all may ask.
        rates: how often each client may ask; None: as often as it wants.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens | None, rates: Rates | None) -> None:
        self._app, self._tokens, self._rates = app, tokens, rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        problem = self._problem(scope) if path and path not in PROBES else None
        await (self._app if problem is None else response(problem, path))(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        if self._rates and (wait := self._rates.seconds_to_wait(client_of(scope))):
            why = "this address has asked too often"
            return Problem(429, "too many requests", why, "Wait.", {"Retry-After": str(math.ceil(wait))})
        if self._tokens is None:
            return None
        given = Headers(scope=scope).getlist("authorization")
        if len(given) == 1 and self._tokens.allow(given[0]):
            return None
        challenge = 'Bearer error="invalid_token"' if given else "Bearer"
        why = "the token is not one of those of this server" if given else "the request has no token"
        fix = "Send the header `Authorization: Bearer TOKEN`."
        return Problem(401, "not allowed", why, fix, {"WWW-Authenticate": challenge})


def guards_of(settings: Settings) -> tuple[Tokens | None, Rates | None]:
    """The tokens and rates that the settings ask for; a ConvsmithError if they cannot be."""
    tokens = None if settings.token_file is None else Tokens(settings.token_file)
    return tokens, None if settings.rate is None else Rates(settings.rate)


def describe_guards(schema: dict[str, Any], settings: Settings) -> None:
    """Let an OpenAPI document say that requests need a token, and may be too many."""
    refusals = {}
    if settings.token_file is not None:
        schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        refusals["401"] = "there is no token, or one that does not count"
    if settings.rate is not None:
        refusals["429"] = "this address has asked too often; see Retry-After"
    for path, methods in schema["paths"].items():
        form = "ProtocolError" if path.startswith("/v2") else "ErrorBody"
        body = {"application/json": {"schema": {"$ref": f"#/components/schemas/{form}"}}}
        for operation in methods.values() if path not in PROBES else ():
            if settings.token_file is not None:
                operation["security"] = [{"token": []}]
            for status, description in refusals.items():
                operation["responses"][status] = {"description": description, "content": body}
