"""Triggers: when a batch is cut.  Below the trigger nothing knows which it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from streamflow.core.rate import Pid
from streamflow.core.timestamp import Duration, duration, show_duration


@final
@dataclass(frozen=True, slots=True)
class Continuous:
    """A cut takes whatever has arrived: one row when idle, thousands under load."""

    def __str__(self) -> str:
        return "continuous"


@final
@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A cut every ``interval`` microseconds, of what has arrived since the last; ``rate`` limits how much of it."""

    interval: int
    rate: Pid | None = None

    def __str__(self) -> str:
        return f"every {show_duration(self.interval)}"


@final
@dataclass(frozen=True, slots=True)
class AvailableNow:
    """Everything that is there now, in as many batches as it takes; then suspend, or end where the input ends."""

    def __str__(self) -> str:
        return "available now"


@final
@dataclass(frozen=True, slots=True)
class Once:
    """One batch of what is there now; then suspend, or end where the input ends."""

    def __str__(self) -> str:
        return "once"


Trigger = Continuous | MicroBatch | AvailableNow | Once


def continuous() -> Continuous:
    """Return the trigger with the least latency: each batch is what has arrived while the last was worked on."""
    return Continuous()


def micro_batch(interval: Duration, *, rate: Pid | None = None) -> MicroBatch:
    """Return the trigger that cuts a batch every ``interval``.

    Args:
        interval: How often.
        rate: ``pid()`` takes only as many rows a batch as it can work on in time; the rest waits at the sources.

    Raises:
        DefinitionError: If it is zero or less.
    """
    return MicroBatch(duration(interval, "the interval of micro_batch", minimum=1), rate)


def available_now() -> AvailableNow:
    """Return the trigger that works off what is there now, then suspends: the next run goes on from there."""
    return AvailableNow()


def once() -> Once:
    """Return the trigger that cuts one batch of what is there now, then suspends."""
    return Once()
