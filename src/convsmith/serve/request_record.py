"""One request and its answer, as the log, the metrics and the spans tell of it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.types import Scope

if TYPE_CHECKING:
    from convsmith.serve.asked import Asked
    from convsmith.serve.models import Model

CLIENT_LEFT = 499
"""The status that is noted of a request whose client went away before it was answered, as nginx has it."""

_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,64}")
_TRACE = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.{0,200})?")


@dataclass(eq=False)
class RequestRecord:
    """A request from its headers to the end of its answer.

    Attributes:
        id: what `X-Request-Id` said, or one made here.
        traceparent: the W3C trace context that it came with, where that is valid.
        client: an address.
        method: such as `POST`; empty of what is not HTTP.
        path: without the query.
        route: the address as its route declares it; empty where none does.
        model: what it asks, once that is known.
        status: of the answer; `CLIENT_LEFT` where there was none.
        received: bytes of its body.
        sent: bytes of the answer's body.
        asked: the images that models were asked about.
        began: nanoseconds since 1970.
        seconds: how long it took, at the end.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(16))
    traceparent: str | None = None
    client: str = ""
    method: str = ""
    path: str = ""
    route: str = ""
    model: Model | None = None
    status: int = CLIENT_LEFT
    received: int = 0
    sent: int = 0
    asked: list[Asked] = field(default_factory=list)
    began: int = field(default_factory=time.time_ns)
    seconds: float = 0.0

    @property
    def trace_id(self) -> str | None:
        """The W3C trace that the request is part of."""
        return self.traceparent and self.traceparent.split("-")[1]

    def take_over(self, given: str, traces: Sequence[str]) -> None:
        """Have the id and the trace context that the client gives, where they are well-formed."""
        if _ID.fullmatch(given):
            self.id = given
        if len(traces) == 1 and (match := _TRACE.fullmatch(traces[0])) and not (match[1] == "00" and match[3]):
            self.traceparent = traces[0]

    def stages(self) -> dict[str, float]:
        """Seconds of each stage, of all images together."""
        names = dict.fromkeys(name for asked in self.asked for name in asked.seconds)
        return {name: sum(asked.seconds.get(name, 0.0) for asked in self.asked) for name in names}


current: ContextVar[RequestRecord | None] = ContextVar("request", default=None)
"""The record of the request that is being answered."""


def client_of(scope: Scope) -> str:
    """The address that a request comes from; empty where it has none."""
    return str((scope.get("client") or [""])[0])


def time_text(seconds: float) -> str:
    """Seconds since 1970 as a date and time of UTC, in milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record_of(scope: Scope) -> RequestRecord:
    """The record of a request, always the same; what its headers claim is taken where it is well-formed."""
    state = scope.setdefault("state", {})
    if isinstance(known := state.get("record"), RequestRecord):
        return known
    headers = Headers(scope=scope)
    record = RequestRecord(client=client_of(scope), method=scope["method"], path=scope["path"])
    record.take_over(headers.get("x-request-id", ""), headers.getlist("traceparent"))
    state["record"] = record
    return record


def current_id() -> str:
    """The id of the request that is being answered; empty where there is none."""
    record = current.get()
    return record.id if record else ""
