"""The machine's clock, behind a seam: the only place in the library that reads the time of day."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Final, Protocol, final


class Clock(Protocol):
    """What time it is."""

    def now(self) -> int:
        """Return the time of day, microseconds since the Unix epoch."""
        ...


@final
class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return the time of day, microseconds since the Unix epoch."""
        return time.time_ns() // 1_000


CLOCK: Final[ContextVar[Clock]] = ContextVar("streamflow clock", default=SystemClock())  # noqa: B039  # it has no state
"""The clock of the runs that are started in this context: the machine's, unless a test has set another."""
