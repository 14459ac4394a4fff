"""Slices: the panes of sliding windows, shared.

A row is folded into the one slice that holds its time; a window is the merge of its slices.  Tumbling windows have one
slice, so this is their store too.

Two stacks
    Windows fire in the order of their ends.  Merging ``size / slide`` slices for each would make a row's cost grow
    with the overlap, and adding the newest while subtracting the oldest would be wrong for floats and impossible for
    maxima.  So slices wait on two stacks: the *front* holds, for each older slice, the merge of it and all newer ones
    of the front; the *back* is one running merge of the rest.  A window is ``front[top] + back``: two partials.  When
    the front is empty the back is turned over.  Each slice is merged at most three times in its life.

Waiting partials
    A row may be too late for some windows over its slice and in time for others (its split is ahead of the step's
    watermark).  It waits outside the slice, under the end of the first window that takes it (its *floor*), and is
    absorbed when every live window takes it.  Such rows are rare; nothing else pays for them.

Knows no batch and no watermark; ``windowed`` says when a window fires and which rows go where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar, final

from sortedcontainers import SortedDict

from streamflow.core.folding import Folding
from streamflow.core.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP
from streamflow.core.window import Global, Sliced

P = TypeVar("P")


@final
class Slices(Generic[P]):
    """The slices of one step, and the windows over them.

    ``base`` is the end of the first window that is still kept: earlier ones have passed and take nothing.
    """

    __slots__ = (
        "_back",
        "_back_starts",
        "_folding",
        "_front",
        "_pushed",
        "base",
        "is_single",
        "live",
        "waiting",
        "window",
    )

    def __init__(self, window: Sliced, folding: Folding[P]) -> None:
        self.window = window
        self.base = MIN_TIMESTAMP
        self.live: SortedDict[int, P] = SortedDict()
        """The slices, by their start."""
        self.waiting: dict[tuple[int, int], P] = {}
        """Rows that some live window does not take, by (slice start, floor)."""
        self._folding = folding
        self.is_single = isinstance(window, Global) or window.size == window.slice_width
        self._front: list[tuple[int, P]] = []
        self._back: P | None = None
        self._back_starts: list[int] = []
        self._pushed = MIN_TIMESTAMP

    def slice(self, start: int) -> P:
        """Return the slice that starts here, new or not, to fold rows into.

        Rows behind the windows that have fired undo the stacks: the next window is merged afresh.
        """
        if start < self._pushed:
            self._undo()
        if start not in self.live:
            self.live[start] = self._folding.new()
        partial: P = self.live[start]
        return partial

    def wait(self, start: int, floor: int) -> P:
        """Return the partial of rows of a slice that only windows ending at ``floor`` or later take."""
        partial = self.waiting.get((start, floor))
        if partial is None:
            partial = self.waiting[start, floor] = self._folding.new()
        return partial

    def next_end(self, after: int) -> int | None:
        """Return the end of the first window after ``after`` that has a slice; O(log slices + waiting)."""
        if after >= MAX_TIMESTAMP:
            return None
        oldest = MIN_TIMESTAMP if after == MIN_TIMESTAMP else self.window.start(after + self.window.slide)
        starts = [next(self.live.irange(oldest), None), *(s for s, _ in self.waiting if s >= oldest)]
        ends = [max(self._first_end(s), after + self.window.slide) for s in starts if s is not None]
        return min(ends, default=None)

    def cover(self, end: int) -> list[P]:
        """Return the partials that make the window with this end; O(size / slide)."""
        start = self.window.start(end)
        parts = [p for _, p in self._between(start, end)]
        return parts + self._waiting_for(start, end)

    def advance(self, end: int) -> list[P]:
        """Return the partials that make the window with this end; ends must rise.  O(1) merges a slice, all told."""
        if self.is_single:
            return self.cover(end)
        start = self.window.start(end)
        while self._front and self._front[-1][0] < start:
            self._front.pop()
        if not self._front and self._back_starts and self._back_starts[0] < start:
            self._turn_over(start)
        for at, partial in self._between(max(self._pushed, start), end):
            self._push(at, partial)
        self._pushed = max(self._pushed, end)
        parts = [self._front[-1][1]] if self._front else []
        if self._back is not None:
            parts.append(self._back)
        return parts + self._waiting_for(start, end)

    def expire(self, base: int) -> None:
        """Forget what no window ending at ``base`` or later needs; absorb what every one of them takes.

        Cost: what expires, and the waiting partials.
        """
        if base <= self.base:
            return
        self.base = base
        start = self.window.start(base)
        while self._front and self._front[-1][0] < start:
            self._front.pop()
        for at in list(self.live.irange(maximum=start, inclusive=(True, False))):
            self._folding.release(self.live.pop(at))
        for (at, floor), partial in list(self.waiting.items()):
            if floor <= base or at < start:
                del self.waiting[at, floor]
                if at >= start:
                    self._folding.absorb(self.slice(at), partial)
                self._folding.release(partial)

    def ends(self, start: int, floor: int, upto: int) -> Iterator[int]:
        """Yield the ends, from ``floor`` to ``upto``, of the windows over the slice at ``start``."""
        last = min(self.window.last_end(start), upto)
        end = max(self._first_end(start), floor)
        while end <= last:
            yield end
            end += self.window.slide

    def read_later(self, end: int) -> Callable[[], Sequence[P]]:
        """Return a function that gives the partials of a window as they are when it is called."""
        return lambda: self.cover(end)

    def _first_end(self, start: int) -> int:
        return self.window.first_end(start)

    def _between(self, start: int, end: int) -> list[tuple[int, P]]:
        return [(s, self.live[s]) for s in self.live.irange(start, end, inclusive=(True, False))]

    def _waiting_for(self, start: int, end: int) -> list[P]:
        return [p for (at, floor), p in self.waiting.items() if floor <= end and start <= at < end]

    def _push(self, at: int, partial: P) -> None:
        if self._back is None:
            self._back = self._folding.merge([partial])
        else:
            self._folding.absorb(self._back, partial)
        self._back_starts.append(at)

    def _turn_over(self, start: int) -> None:
        newer: list[P] = []
        for at in reversed([s for s in self._back_starts if s >= start]):
            newer = [self._folding.merge([self.live[at], *newer])]
            self._front.append((at, newer[0]))
        self._back, self._back_starts = None, []

    def _undo(self) -> None:
        self._front, self._back, self._back_starts, self._pushed = [], None, [], MIN_TIMESTAMP

    def _check(self) -> None:
        """Assert what must hold between calls."""
        start = self.window.start(self.base) if self.base != MIN_TIMESTAMP else MIN_TIMESTAMP
        assert all(s >= start for s in self.live), "a slice outlived its windows"
        assert all(floor > self.base and s >= start for s, floor in self.waiting), "a waiting partial is due"
        assert [s for s, _ in self._front] == sorted((s for s, _ in self._front), reverse=True), "front out of order"
        assert self._back_starts == sorted(self._back_starts), "back out of order"
