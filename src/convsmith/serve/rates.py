"""How many requests a client may make."""

from __future__ import annotations

import ipaddress
import re
import time

from convsmith.errors import ConvsmithError

_RATE = re.compile(r"([0-9]{1,6})/(s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_MOST_CLIENTS = 20_000


class Rates:
    """When the next request of each client is due: so many may come at once, and then as many in each stretch of time.

    Args:
        rate: such as `10/s`, `600/m` or `1000/h`.

    Raises:
        ConvsmithError: it is none.
    """

    def __init__(self, rate: str) -> None:
        match = _RATE.fullmatch(rate)
        if not match or int(match[1]) == 0:
            raise ConvsmithError(
                f"--rate is `{rate}`", "a number of requests and a time were expected", "Such as 10/s."
            )
        self._interval = _SECONDS[match[2]] / int(match[1])
        self._at_once = _SECONDS[match[2]] - self._interval  # seconds by which requests may come early
        self._due: dict[str, float] = {}

    def seconds_to_wait(self, client: str) -> float:
        """Count a request that may come now, for which that is 0; how long one that may not has to wait."""
        now, client = time.monotonic(), _network(client)
        due = max(self._due.pop(client, 0.0), now)
        wait = due - now - self._at_once
        allowed = wait <= 1e-9
        self._due[client] = due + self._interval if allowed else due
        if len(self._due) > _MOST_CLIENTS:
            self._due = {it: due for it, due in self._due.items() if due > now}
        if len(self._due) > _MOST_CLIENTS:  # all of them ask at once: the one that has not for the longest begins anew
            del self._due[next(iter(self._due))]
        return 0.0 if allowed else wait


def _network(client: str) -> str:
    """The client, of IPv6 the network of 64 bits that a customer has all of."""
    if ":" not in client:
        return client
    try:
        return str(ipaddress.ip_network((client.partition("%")[0], 64), strict=False))
    except ValueError:
        return client
