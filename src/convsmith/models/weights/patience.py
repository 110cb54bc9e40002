"""How long a download waits: for the server's next word, before it asks again, and in all."""

from __future__ import annotations

import http.client
import logging
import math
import random
import re
import urllib.error
import urllib.request
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic, sleep

from convsmith.errors import counted

logger = logging.getLogger(__name__)

_WAITS = (1, 2, 4, 8, 16)
"""Seconds before each further try, unless the server says when."""

_LONGEST_WAIT = 300
"""Seconds beyond which a server's wish is an error, for whoever waits sees nothing happen."""

_BUSY = (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_EARLY, http.HTTPStatus.TOO_MANY_REQUESTS)


class TooLate(Exception):
    """The time for all of it is up."""


class Patience:
    """The time that one download has.

    Args:
        silence: seconds for which the server may be silent.
        within: seconds that all may take, further tries and waits included; None: as long as it gets on.
    """

    def __init__(self, silence: float, within: float | None) -> None:
        self.silence = silence
        self._end = math.inf if within is None else monotonic() + within

    def left(self, most: float) -> float:
        """Return `most` seconds, or those that are left if they are fewer.

        Raises:
            TooLate: none are left.
        """
        left = self._end - monotonic()
        if left <= 0:
            raise TooLate
        return min(most, left)

    def open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Return the answer to a request; a server that is busy or broken (408, 425, 429, 5xx) is asked again.

        Raises:
            urllib.error.HTTPError: it refuses, or is busy still after the last try or for longer than can be waited.
            TooLate: the time is up.
        """
        for backoff in (*_WAITS, None):
            try:
                response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=self.left(self.silence))
                return response
            except urllib.error.HTTPError as error:
                if backoff is None or not (error.code in _BUSY or error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR):
                    raise
                asked = _seconds_asked_for(error)
                # not all at the same moment: a cluster's processes were refused together
                wait = backoff * random.uniform(0.5, 1) if asked is None else asked
                if wait > self.left(_LONGEST_WAIT):
                    error.msg += f", and asks to wait {counted(math.ceil(wait), 'second')}" if asked else ""
                    raise
                error.close()
                logger.warning("the server answers %d %s: asking again in %.0f s", error.code, error.reason, wait)
            except (urllib.error.URLError, TimeoutError):
                self.left(0)
                raise
            sleep(wait)
        raise AssertionError("the last try returns or raises")


def _seconds_asked_for(error: urllib.error.HTTPError) -> float | None:
    """The wait that Retry-After asks for, as a number of seconds or a date; None if it says nothing sensible."""
    text = (error.headers.get("Retry-After") or "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):  # the latter for a year of twenty digits
        return None
