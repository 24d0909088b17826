"""How often one caller may ask."""

import time
from threading import Lock
from typing import Final

from metseg.service.keys import Caller
from metseg.service.problems import Problem

_MOST_CALLERS: Final = 10_000


class RateLimiter:
    """A bucket of a minute's requests for each caller, which fills up steadily.

    Args:
        per_minute: for callers without a limit of their own.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = Lock()

    def take(self, caller: Caller) -> None:
        """Count a request.

        Raises:
            Problem: there were too many; it says when to come again.
        """
        limit, now = caller.rate_per_minute or self._per_minute, time.monotonic()
        with self._lock:
            if len(self._left) > _MOST_CALLERS:
                self._left.clear()
            left, since = self._left.get(caller.name, (float(limit), now))
            left = min(float(limit), left + (now - since) * limit / 60)
            if left < 1:
                wait = max(1, round((1 - left) * 60 / limit))
                raise Problem(
                    "rate-limited", f"More than {limit} requests came within a minute.", "Ask less often.", wait
                )
            self._left[caller.name] = (left - 1, now)
