"""Clients whose requests are refused again and again wait for their answers, so that asking costs them, not others."""

from __future__ import annotations

import time

INTERVAL = 0.2  # seconds between the refusals of one client that come without a wait
AT_ONCE = 20  # refusals that one client may have at once
LONGEST = 2.0  # seconds
_MOST_CLIENTS = 10_000


class Refusals:
    """When the next refusal of each client is due, by its address."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def seconds_to_wait(self, client: str) -> float:
        """Count a refusal; how long its answer must wait, at most `LONGEST`."""
        now = time.monotonic()
        earliest = now - AT_ONCE * INTERVAL
        if len(self._due) >= _MOST_CLIENTS:
            self._due = {it: due for it, due in self._due.items() if due > earliest}
        due = max(self._due.pop(client, 0.0), earliest) + INTERVAL
        self._due[client] = min(due, now + LONGEST)
        return max(0.0, self._due[client] - now)
