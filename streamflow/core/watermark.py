"""The watermark.

A watermark ``w`` promises: all rows with event time ``< w`` have been seen.  One that still comes is late.
A row *at* ``w`` is on time.  A watermark never goes back.

Three rules, each written once:

1. **A split's own watermark** (the strategies below): what its rows say, row by row; ``wm`` of a row is the value just
   before it, so a filter further down cannot change what was late.
2. **Several inputs** (``WatermarkMerge``): the minimum over those that count.  An idle one does not count; one that
   returns counts again once it has caught up; if all are idle, the largest of theirs stands.
3. **Late and dropped** (R2) are judged in ``operators.lateness``.

Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, final

import numpy as np

from streamflow.core.arrays import I64
from streamflow.core.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Duration, duration, show_duration, show_time
from streamflow.errors import DefinitionError


class WatermarkStrategy(Protocol):
    """How a split's rows move its watermark: a value; one per source."""

    def before(self, watermark: int, times: I64, values: object) -> I64:
        """Return, with one entry more than there are rows, the watermark before each row and after the last.

        Args:
            watermark: The split's watermark before the first row.
            times: The event times of the rows, in the order they came.
            values: The rows, a list or a frame, for strategies that read more than the time.
        """
        ...


@final
@dataclass(frozen=True, slots=True)
class BoundedOutOfOrderness:
    """A watermark that trails the largest event time seen by a fixed delay (microseconds).

    With a delay of zero it is the monotonic watermark: times must not go back.
    """

    delay: int

    def __post_init__(self) -> None:
        if self.delay < 0:
            raise DefinitionError(f"max_delay must be zero or more, got {self.delay} us")

    def before(self, watermark: int, times: I64, values: object) -> I64:
        """Return the running maximum of the times, less the delay."""
        marks = np.empty(len(times) + 1, dtype=np.int64)
        marks[0] = watermark
        np.subtract(times, self.delay, out=marks[1:])
        np.maximum.accumulate(marks, out=marks)
        return marks

    def __str__(self) -> str:
        return f"largest event time - {show_duration(self.delay)}"


@final
@dataclass(frozen=True, slots=True)
class Punctuated:
    """A watermark that some rows state themselves.

    Args:
        stated: Given a row, the watermark after it in microseconds, or None where it states none.  Lower values
            than the current one are ignored.
    """

    stated: Callable[[object], int | None]

    def before(self, watermark: int, times: I64, values: object) -> I64:
        """Return the running maximum of what the rows state; one call per row."""
        marks = [watermark]
        for value in values:  # type: ignore[attr-defined]  # rows are a list; frames are refused at definition
            stated = self.stated(value)
            marks.append(watermark := max(watermark, stated) if stated is not None else watermark)
        return np.array(marks, dtype=np.int64)

    def __str__(self) -> str:
        return "stated by rows"


def bounded(max_delay: Duration) -> BoundedOutOfOrderness:
    """Return the watermark of rows that come at most ``max_delay`` out of order.

    Raises:
        DefinitionError: If it is negative.
    """
    return BoundedOutOfOrderness(duration(max_delay, "max_delay"))


class Status(Enum):
    """What an input says of itself."""

    ACTIVE = "active"
    IDLE = "idle"
    REJOINING = "rejoining"
    """Active again after idleness, still behind the merged watermark: it does not hold it back."""
    FINISHED = "finished"


@final
@dataclass(slots=True)
class WatermarkMerge:
    """The watermark of several inputs: the minimum over those that count (R6).

    An input that has said nothing stands at the minimum and holds all.  When every input is idle the merged watermark
    moves to the largest of theirs and no further; when all are finished it stays, since the end is a thing of its own.

    Cost: O(inputs) per change.
    """

    marks: dict[str, int] = field(default_factory=dict)
    status: dict[str, Status] = field(default_factory=dict)
    watermark: int = MIN_TIMESTAMP

    def add(self, name: str) -> None:
        """Add an input; one that comes when others have advanced counts once it has caught up."""
        self.marks.setdefault(name, MIN_TIMESTAMP)
        fresh = Status.ACTIVE if self.watermark == MIN_TIMESTAMP else Status.REJOINING
        self.status.setdefault(name, fresh)

    def advance(self, name: str, watermark: int) -> int:
        """Take an input's watermark and return the merged one; a lower value than before is ignored."""
        self.marks[name] = max(self.marks[name], watermark)
        return self._merge()

    def idle(self, name: str) -> int:
        """Leave the input out until it is active again, and return the merged watermark."""
        if self.status[name] is not Status.FINISHED:
            self.status[name] = Status.IDLE
        return self._merge()

    def active(self, name: str) -> int:
        """Count the input again, at once or when it has caught up, and return the merged watermark."""
        if self.status[name] is Status.IDLE:
            behind = self.marks[name] < self.watermark
            self.status[name] = Status.REJOINING if behind else Status.ACTIVE
        return self._merge()

    def finish(self, name: str) -> int:
        """Leave the input out for ever, and return the merged watermark."""
        self.status[name] = Status.FINISHED
        return self._merge()

    def end(self) -> int:
        """Everything has been seen: the merged watermark is past every time."""
        self.watermark = MAX_TIMESTAMP
        return self.watermark

    @property
    def is_plain(self) -> bool:
        """Whether every input is active or finished, so that no row's ``wm`` can lie behind the merged watermark."""
        return all(s is Status.ACTIVE or s is Status.FINISHED for s in self.status.values())

    @property
    def is_idle(self) -> bool:
        """Whether some input is idle and none counts."""
        statuses = set(self.status.values())
        return Status.IDLE in statuses and statuses <= {Status.IDLE, Status.FINISHED}

    def least_other(self, name: str) -> int:
        """Return the smallest watermark of the other inputs that count; past every time if there is none."""
        others = (self.marks[n] for n, s in self.status.items() if n != name and s is Status.ACTIVE)
        return min(others, default=MAX_TIMESTAMP)

    def merged_before(self, name: str, own: I64) -> I64:
        """Return the merged watermark before each row of one input, given that input's own before each row.

        An input that is catching up does not move it until its own has reached it; the same formula says so.
        """
        if self.status[name] is Status.FINISHED:
            return np.full(len(own), self.watermark, dtype=np.int64)
        merged: I64 = np.maximum(np.minimum(own, self.least_other(name)), self.watermark)
        return merged

    def _merge(self) -> int:
        for name, status in self.status.items():
            if status is Status.REJOINING and self.marks[name] >= self.watermark:
                self.status[name] = Status.ACTIVE
        active = [self.marks[n] for n, s in self.status.items() if s is Status.ACTIVE]
        idle = [self.marks[n] for n, s in self.status.items() if s is Status.IDLE]
        if active:
            self.watermark = max(self.watermark, min(active))
        elif idle and Status.REJOINING not in self.status.values():
            self.watermark = max(self.watermark, *idle)
        return self.watermark

    def snapshot(self) -> dict[str, object]:
        """Return the state as plain values."""
        return {
            "marks": dict(self.marks),
            "status": {name: status.value for name, status in self.status.items()},
            "watermark": self.watermark,
        }

    def restore(self, state: dict[str, object]) -> None:
        """Take a snapshot's state."""
        self.marks = dict(state["marks"])  # type: ignore[call-overload]  # our own snapshot
        self.status = {name: Status(value) for name, value in state["status"].items()}  # type: ignore[attr-defined]
        self.watermark = state["watermark"]  # type: ignore[assignment]

    def __repr__(self) -> str:
        inputs = ", ".join(f"{n} {show_time(m)} {self.status[n].value}" for n, m in self.marks.items())
        return f"WatermarkMerge({show_time(self.watermark)} | {inputs})"
