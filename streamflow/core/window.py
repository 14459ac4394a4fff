"""Windows: which stretches of event time a row belongs to.

Every window is half-open, ``[start, end)``, and the arithmetic is one expression, ``t - (t - offset) % slide``,
right for negative times and the same on ``int`` and numpy.  Knows no watermark: lateness is ``operators.lateness``.

Slices
    A sliding window is a union of slices ``gcd(size, slide)`` wide.  A row is put in one slice, however many windows
    overlap it; a window is read by merging its slices.  Tumbling and global windows are windows of one slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import TypeVar, final

import numpy as np

from streamflow.core.arrays import I64
from streamflow.core.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Duration, duration, show_duration
from streamflow.errors import DefinitionError

T = TypeVar("T", int, I64)


def aligned(time: T, width: int, offset: int) -> T:
    """Return the largest ``offset + k * width`` that is not after ``time``; floor, not truncation."""
    return time - (time - offset) % width


@final
@dataclass(frozen=True, slots=True)
class Sliding:
    """Windows ``[k * slide + offset, k * slide + offset + size)``; tumbling where ``slide == size``.

    With ``slide > size`` some times lie in no window.  All in microseconds.
    """

    size: int
    slide: int
    offset: int = 0

    @property
    def slice_width(self) -> int:
        """The width of a slice: the greatest width of which every window is a union."""
        return gcd(self.size, self.slide)

    def slice_start(self, time: T) -> T:
        """Return the start of the slice that holds ``time``."""
        return aligned(time, self.slice_width, self.offset)

    def first_end(self, time: T) -> T:
        """Return the end of the window over ``time`` that ends first (where no window holds it: the next to end)."""
        return aligned(time - self.size, self.slide, self.offset) + self.slide + self.size

    def last_end(self, time: T) -> T:
        """Return the end of the window over ``time`` that ends last; less than ``first_end`` where none holds it."""
        return aligned(time, self.slide, self.offset) + self.size

    def end_before(self, time: int) -> int:
        """Return the largest end of a window that is not after ``time``."""
        return aligned(time, self.slide, self.offset + self.size)

    @property
    def has_gaps(self) -> bool:
        """Whether some times lie in no window."""
        return self.slide > self.size

    def start(self, end: int) -> int:
        """Return the start of the window with this end."""
        return end - self.size

    def windows(self, time: int) -> list[tuple[int, int]]:
        """Return every window that holds ``time``, by their ends."""
        ends = range(self.first_end(time), self.last_end(time) + 1, self.slide)
        return [(end - self.size, end) for end in ends]

    def __str__(self) -> str:
        shift = f", offset {show_duration(self.offset)}" if self.offset else ""
        if self.slide == self.size:
            return f"tumbling {show_duration(self.size)}{shift}"
        return f"sliding {show_duration(self.size)} every {show_duration(self.slide)}{shift}"


@final
@dataclass(frozen=True, slots=True)
class Global:
    """One window over all of time: what an aggregation without a window uses.  It closes at the end of the input."""

    @property
    def slide(self) -> int:
        """All of time: there is no second window."""
        return MAX_TIMESTAMP

    def slice_start(self, time: T) -> T:
        """Return the one slice."""
        return time * 0 + MIN_TIMESTAMP

    def first_end(self, time: T) -> T:
        """Return the end of time."""
        return time * 0 + MAX_TIMESTAMP

    def last_end(self, time: T) -> T:
        """Return the end of time."""
        return time * 0 + MAX_TIMESTAMP

    def end_before(self, time: int) -> int:
        """Return the end of time if it has come, else the beginning."""
        return MAX_TIMESTAMP if time >= MAX_TIMESTAMP else MIN_TIMESTAMP

    @property
    def has_gaps(self) -> bool:
        """Every time lies in it."""
        return False

    def start(self, end: int) -> int:
        """Return the beginning of time."""
        return MIN_TIMESTAMP

    def windows(self, time: int) -> list[tuple[int, int]]:
        """Return the one window."""
        return [(MIN_TIMESTAMP, MAX_TIMESTAMP)]

    def __str__(self) -> str:
        return "all of time"


@final
@dataclass(frozen=True, slots=True)
class Session:
    """Rows of a key at most ``gap`` apart: ``[first, last + gap)``.  Exactly the gap apart merges (R9)."""

    gap: int

    def windows(self, time: int) -> list[tuple[int, int]]:
        """Return the window that a row at ``time`` brings with it, before merging."""
        return [(time, time + self.gap)]

    def __str__(self) -> str:
        return f"session gap {show_duration(self.gap)}"


Window = Sliding | Session | Global
Sliced = Sliding | Global
"""The windows that are unions of slices."""


def tumbling(size: Duration, *, offset: Duration = "0s") -> Sliding:
    """Return windows of ``size`` side by side, aligned to the epoch plus ``offset``.

    >>> tumbling("10s").windows(10_000_000)
    [(10000000, 20000000)]
    """
    return sliding(size, every=size, offset=offset)


def sliding(size: Duration, *, every: Duration, offset: Duration = "0s") -> Sliding:
    """Return windows of ``size`` that start every ``every``, aligned to the epoch plus ``offset``.

    A row costs the same whatever ``size / every`` is, with ``emit="close"`` and ``emit="each"``.

    Raises:
        DefinitionError: If a size is zero or less.

    >>> sliding("10s", every="5s").windows(0)
    [(-5000000, 5000000), (0, 10000000)]
    """
    width = duration(size, "the size of a window", minimum=1)
    slide = duration(every, "the slide of a window", minimum=1)
    return Sliding(width, slide, duration(offset, "the offset of a window", minimum=None) % slide)


def session(gap: Duration) -> Session:
    """Return sessions: a row joins the session of its key that it is at most ``gap`` away from.

    Raises:
        DefinitionError: If the gap is zero or less.
    """
    return Session(duration(gap, "the gap of a session", minimum=1))


def require_window(value: object) -> Window:
    """Return ``value`` if it is a window.

    Raises:
        DefinitionError: If it is not.
    """
    if isinstance(value, Sliding | Session | Global):
        return value
    raise DefinitionError(
        f"expected a window such as tumbling('10s'), sliding('5m', every='10s') or session('5m'), got {value!r}"
    )


def floor_end(window: Sliced, first: I64, judge: I64, lateness: int) -> I64:
    """Return, for each row, the end of its first window that still takes it: ``end + lateness > judge`` (R2).

    Args:
        window: The windows.
        first: For each row the end of its first window.
        judge: For each row the watermark that judges it.
        lateness: The allowed lateness.
    """
    if isinstance(window, Global):
        return first
    behind = judge - lateness - first
    steps = np.maximum(behind // window.slide + 1, 0)
    result: I64 = first + steps * window.slide
    return result
