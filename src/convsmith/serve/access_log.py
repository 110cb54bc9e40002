"""One line for each request: JSON for machines, text for people."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from convsmith.serve.request_record import RequestRecord, time_text
from convsmith.serve.settings import LogForm

LOGGER = "convsmith.access"
_LONGEST = 100  # letters of what a client chooses: with it a line stays within what a pipe takes whole

logger = logging.getLogger(LOGGER)


def log_request(form: LogForm) -> Callable[[RequestRecord], None]:
    """A function that logs the record of each request in that form."""
    if form == "off":
        return lambda _: None
    line = _as_json if form == "json" else _as_text

    def log(record: RequestRecord) -> None:
        logger.info("%s", line(record))

    return log


def _as_json(record: RequestRecord) -> str:
    values = {
        "time": time_text(record.began / 1e9),
        "request_id": record.id,
        "trace_id": record.trace_id,
        "client": record.client[:_LONGEST],
        "method": record.method[:_LONGEST],
        "path": record.path[:_LONGEST],
        "model": record.model.name if record.model else None,
        "version": record.model.version if record.model else None,
        "images": len(record.asked),
        "status": record.status,
        "seconds": round(record.seconds, 6),
        "stages": {name: round(seconds, 6) for name, seconds in record.stages().items()},
        "bytes_in": record.received,
        "bytes_out": record.sent,
    }
    return json.dumps(values).replace("\x7f", "\\u007f")


def _as_text(record: RequestRecord) -> str:
    asks = f"{record.method[:_LONGEST]} {record.path[:_LONGEST]}".strip() or "not HTTP"
    model = f" {record.model.name}/{record.model.version}" if record.model else ""
    client, asks = (json.dumps(text).replace("\x7f", "\\u007f")[1:-1] for text in (record.client[:_LONGEST], asks))
    time = time_text(record.began / 1e9)
    return f'{time} {client} "{asks}" {record.status} {record.seconds * 1000:.1f} ms{model} {record.id}'
