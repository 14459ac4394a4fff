"""``ordered()``: a per-key buffer that releases rows in event-time order as the watermark passes.

A row at ``t`` is released when ``w > t``: then no on-time row can come before it.  Ties are broken by identity, so
the order depends on the content of the splits alone.  Late rows go to the late output, unchanged order being the
promise.

State: the rows not released.  A batch is kept as it came, sorted once; releasing takes the prefix of each kept batch,
so a watermark costs what it releases and the number of batches held, never the rows that stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import numpy as np
import polars as pl

from streamflow.core.batch import Batch
from streamflow.core.element import LATE, MAIN, Output
from streamflow.core.operator import Ledger
from streamflow.core.state import Snapshot, StatePart
from streamflow.core.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP
from streamflow.operators.payload import SCOPE, pack, unpack


@final
class Ordered:
    """Rows in event-time order within each key, and over all keys."""

    def __init__(self, *, has_late: bool) -> None:
        self.ledger = Ledger()
        self._has_late = has_late
        self._held: list[Batch] = []
        self._watermark = MIN_TIMESTAMP
        self._fresh: list[Batch] = []

    @property
    def held(self) -> int:
        """The rows that wait for the watermark."""
        return self.ledger.buffered

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Hold the rows; return those that are late, where somebody reads them."""
        self.ledger.rows_in += len(batch)
        bounds = np.maximum(batch.stamps.wm, self._watermark)
        late = batch.times < bounds
        behind = int(np.count_nonzero(late))
        out: list[Output] = []
        if behind:
            self.ledger.late += behind
            self.ledger.dropped += behind
            if self._has_late:
                gone = batch.take(late)
                out.append((LATE, gone.as_late(bounds[late] - gone.times, [()] * behind)))
            batch = batch.take(~late)
        if len(batch):
            self.ledger.buffered += len(batch)
            self._fresh.append(batch)
            self._hold(batch.take(batch.stamps.identity_order()))
        return out

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        """Return the rows before the watermark, in order."""
        self._watermark = watermark
        due: list[Batch] = []
        kept: list[Batch] = []
        for batch in self._held:
            count = len(batch) if watermark >= MAX_TIMESTAMP else int(np.searchsorted(batch.times, watermark, "left"))
            if count:
                due.append(batch.take(slice(0, count)))
            if count < len(batch):
                kept.append(batch.take(slice(count, len(batch))))
        self._held = kept
        if not due:
            return []
        released = type(due[0]).concat(due)
        if len(due) > 1:
            released = released.take(released.stamps.identity_order())
        self.ledger.buffered -= len(released)
        self.ledger.used += len(released)
        self.ledger.rows_out += len(released)
        return [(MAIN, released)]

    def on_tick(self, now: int) -> Iterable[Output]:
        """Nothing waits for the clock."""
        return ()

    def held_watermark(self, watermark: int) -> int:
        """Forward it as it is: all rows before it have left."""
        return watermark

    def snapshot(self, *, full: bool) -> Snapshot:
        """Return the rows held, or those that came since."""
        batches = self._held if full else self._fresh
        self._fresh = []
        alive = [b.take(b.times >= self._watermark) for b in batches]
        frames = [pack(b) for b in alive if len(b)]
        nothing = pl.DataFrame(schema=dict.fromkeys((*SCOPE, "time"), pl.Int64))
        frame = pl.concat(frames, how="diagonal_relaxed") if frames else nothing
        part = StatePart("rows", frame, SCOPE, ("time", self._watermark - 1))
        return Snapshot({"watermark": self._watermark}, (part,))

    def restore(self, snapshot: Snapshot) -> None:
        """Take the rows held."""
        self._watermark = snapshot.meta["watermark"]
        for part in snapshot.parts:
            if part.frame.height:
                batch = unpack(part.frame)
                self._hold(batch.take(batch.stamps.identity_order()))

    def _hold(self, batch: Batch) -> None:
        """Keep a sorted batch; merge with the last ones while they are no larger, so that few are held."""
        while self._held and len(self._held[-1]) <= len(batch):
            merged = type(batch).concat([self._held.pop(), batch])
            batch = merged.take(merged.stamps.identity_order())
        self._held.append(batch)
