"""A clock that stands still until a test moves it.

Knows no event loop: ``virtual_loop`` makes one follow it.
"""

from __future__ import annotations

from datetime import datetime
from typing import final

from streamflow.core.timestamp import Duration, duration, show_time, timestamp
from streamflow.errors import DefinitionError


@final
class VirtualClock:
    """The time of day, as the test says it is; implements the runtime's ``Clock``.

    Args:
        start: An aware ``datetime``, or microseconds since the Unix epoch.

    >>> clock = VirtualClock()
    >>> clock.advance("1m 30s")
    90000000
    >>> clock
    VirtualClock(1970-01-01T00:01:30+00:00)
    """

    __slots__ = ("_now",)

    def __init__(self, start: datetime | int = 0) -> None:
        self._now = timestamp(start)

    def now(self) -> int:
        """Return the time of day, microseconds since the Unix epoch."""
        return self._now

    def advance(self, length: Duration) -> int:
        """Let ``length`` pass, and return the time of day after it.

        Raises:
            DefinitionError: If it is negative.
        """
        return self.move_to(self._now + duration(length, "the time to advance by"))

    def move_to(self, now: datetime | int) -> int:
        """Make it this time of day, and return it in microseconds.

        Raises:
            DefinitionError: If that is in the past.
        """
        moved = timestamp(now)
        if moved < self._now:
            raise DefinitionError(f"a clock does not go back: it is {show_time(self._now)}, got {show_time(moved)}")
        self._now = moved
        return moved

    def __repr__(self) -> str:
        return f"VirtualClock({show_time(self._now)})"
