"""Errors of a request, as JSON: `{"error": what, "why": reason, "fix": remedy}`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from convsmith.errors import printable

_LONGEST = 1000


class ErrorBody(BaseModel):
    """The body of every error."""

    error: str = Field(description="What went wrong.")
    why: str = Field(description="The reason; may be empty.")
    fix: str = Field(description="What to do about it; may be empty.")


class Problem(Exception):
    """Ends a request with an HTTP status and an `ErrorBody`."""

    def __init__(
        self, status: int, what: str, why: str = "", fix: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(what)
        self.status, self.headers = status, headers
        what, why, fix = (printable(text[:_LONGEST]) for text in (what, why, fix))  # they may quote the request
        self.body = ErrorBody(error=what, why=why, fix=fix)


class ProtocolError(BaseModel):
    """The body of an error below `/v2`, as the Open Inference Protocol has it."""

    error: str = Field(description="What went wrong, why, and what to do about it.")


def unavailable(why: str, seconds: float = 0.0) -> Problem:
    """The `Problem` of status 503 for a request that may come again, in so many seconds, at least one."""
    later = max(1, math.ceil(seconds))
    when = "in a moment" if later == 1 else f"in {later} seconds"
    return Problem(503, "not ready", why, f"Try again {when}.", {"Retry-After": str(later)})


def answer_problems_as_json(app: FastAPI) -> None:
    """Let every error of `app`, expected or not, be answered with an `ErrorBody`."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def response_of(request: Request, problem: Problem) -> JSONResponse:
    """The answer to a request that a problem ends."""
    return response(problem, getattr(request.scope.get("route"), "path", ""))


def response(problem: Problem, path: str) -> JSONResponse:
    """The answer that a problem is, in the form that its address has."""
    body: BaseModel = problem.body
    if path.startswith("/v2"):
        body = ProtocolError(error=in_a_line(problem.body))
    return JSONResponse(body.model_dump(), problem.status, problem.headers)


def in_a_line(body: ErrorBody) -> str:
    """All that is said of an error."""
    reason = f": {body.why}" if body.why else ""
    return f"{body.error}{reason}. {body.fix}" if body.fix else f"{body.error}{reason}"


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return response_of(request, error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return response_of(request, Problem(422, f"{first['loc'][-1]} is not valid", first["msg"]))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    why = f"{request.method} {request.scope['path']} is not served here"
    return response_of(
        request,
        Problem(error.status_code, error.detail, why, "POST an image to /predict.", getattr(error, "headers", None)),
    )


async def _unexpected(request: Request, _: Exception) -> JSONResponse:
    """The server logs the traceback; the client need not see it."""
    return response_of(request, Problem(500, "internal error", "it was logged by the server"))
