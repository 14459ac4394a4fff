"""The contract of a step: small, synchronous and pure.

A step is given batches and watermarks in order, decides, and returns what leaves it.  It never awaits, reads a clock or
does I/O; it never changes a batch.  ``on_watermark`` costs what expires, never what lives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, final

from streamflow.core.batch import Batch
from streamflow.core.element import Output
from streamflow.core.state import Snapshot


class Operator(Protocol):
    """A step of the plan while it runs.

    The engine merges the watermarks of a step's inputs before it calls ``on_watermark``, and calls it only when the
    merged one has moved.  What ``on_watermark`` returns leaves before the watermark is forwarded.
    """

    ledger: Ledger

    @property
    def held(self) -> int:
        """How many entries its state has: one for each key of each live pane, or for each row held; for metrics."""
        ...

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return what leaves because of these rows."""
        ...

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        """Return what leaves because all rows below ``watermark`` have been seen."""
        ...

    def on_tick(self, now: int) -> Iterable[Output]:
        """Return what leaves because the machine's clock says ``now``."""
        ...

    def held_watermark(self, watermark: int) -> int:
        """Return the watermark to forward: less than ``watermark`` where rows below it may still leave."""
        ...

    def snapshot(self, *, full: bool) -> Snapshot:
        """Return a copy of the state, or of what changed since the last call; later calls do not change it."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Take the state of a snapshot, compacted; called once, before anything else."""
        ...


@final
@dataclass(slots=True)
class Ledger:
    """Where the rows of a step went (R8): each input row ends in exactly one place.

    Attributes:
        rows_in: Rows that came.
        used: Rows that went on, or into a pane.
        filtered: Rows that a predicate refused, or that lie in no window.
        dropped: Rows late for all their windows, or behind a step that keeps order.
        deduplicated: Rows that repeat one already seen.
        dead_lettered: Rows that failed and went where ``on_error`` says.
        buffered: Rows held now, to leave later.
        late: Of the used and dropped rows, those behind the watermark; not a place of its own.
        rows_out: Rows that left by the main output.
        dropped_pairs: (row, window) pairs dropped; a row late for two windows counts twice.
    """

    rows_in: int = 0
    used: int = 0
    filtered: int = 0
    dropped: int = 0
    deduplicated: int = 0
    dead_lettered: int = 0
    buffered: int = 0
    late: int = 0
    rows_out: int = 0
    dropped_pairs: int = 0

    @property
    def is_balanced(self) -> bool:
        """Whether every input row is in exactly one place."""
        places = self.used + self.filtered + self.dropped + self.deduplicated + self.dead_lettered + self.buffered
        return self.rows_in == places


class Stateless:
    """The half of the contract that a step without state and without interest in time shares."""

    __slots__ = ("ledger",)

    def __init__(self) -> None:
        self.ledger = Ledger()

    @property
    def held(self) -> int:
        """Nothing."""
        return 0

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        """Nothing waits for a watermark."""
        return ()

    def on_tick(self, now: int) -> Iterable[Output]:
        """Nothing waits for the clock."""
        return ()

    def held_watermark(self, watermark: int) -> int:
        """Forward it as it is."""
        return watermark

    def snapshot(self, *, full: bool) -> Snapshot:
        """Remember nothing but the ledger, which the engine keeps."""
        return Snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Nothing to take."""
