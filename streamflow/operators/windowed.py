"""Aggregation over tumbling, sliding and global windows, in all modes of emission, for both layouts.

What happens to a batch: each row is judged (``lateness``), folded into its slice (``slices``), and what the mode of
emission says leaves.  What happens at a watermark: the windows that end at or before it fire in the order of their
ends, and what no window needs any more is forgotten.

==============  ======================================================================================
``emit``        rows out (R4)
==============  ======================================================================================
``"close"``     one per key and window when the watermark passes; again when a row comes within the lateness
``"each"``      one per row, for the window that ends first of those that take it
``"update"``    every changed key and window, once per batch
``"complete"``  every key and window, once per batch; nothing is late, nothing is forgotten
==============  ======================================================================================

Knows no layout: the ``Folding`` does.  Sessions merge, and live in ``sessions``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64
from streamflow.core.batch import Batch
from streamflow.core.element import LATE, MAIN, Output
from streamflow.core.folding import Folding, Run
from streamflow.core.keys import key_columns
from streamflow.core.operator import Ledger
from streamflow.core.stamps import UPSERT, constant
from streamflow.core.state import Snapshot, StatePart
from streamflow.core.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP
from streamflow.core.window import Sliced
from streamflow.operators.lateness import Verdict, judge, judges, missed
from streamflow.operators.refusal import Refusal, refused_mask
from streamflow.operators.slices import Slices

P = TypeVar("P")
Emit = Literal["close", "each", "update", "complete"]
Group = tuple[int, I64]
"""The start of a slice, and the places of the rows that go there."""


@final
@dataclass(frozen=True, slots=True)
class Emission:
    """When a windowed step emits, and what it does with late rows.

    Attributes:
        emit: The mode.
        lateness: How long after its end a window still takes rows, microseconds.
        keep: Whether rows are judged by the step's watermark alone (``late="keep"``).
        early: Emit what changed every so often by the clock before the window closes, microseconds; 0 for never.
        has_late: Whether somebody reads the late output.
    """

    emit: Emit = "close"
    lateness: int = 0
    keep: bool = False
    early: int = 0
    has_late: bool = False

    @property
    def is_upsert(self) -> bool:
        """Whether a pane may be emitted more than once."""
        return self.emit in ("update", "complete") or self.lateness > 0 or self.early > 0


@final
class WindowedAggregation(Generic[P]):
    """A step that aggregates by key and window.

    State: the live slices of every key.  A watermark costs what fires and expires.
    """

    def __init__(self, window: Sliced, folding: Folding[P], emission: Emission, refusal: Refusal) -> None:
        self.ledger = Ledger()
        self._window = window
        self._folding = folding
        self._emission = emission
        self._refusal = refusal
        self._slices: Slices[P] = Slices(window, folding)
        self._open: dict[int, P] = {}
        """For ``each`` over windows of several slices: the windows that answered lately, whole."""
        self._changed: dict[int, list[Any]] = {}
        """For early firing: the keys changed since the last tick, by the end of their window."""
        self._watermark = MIN_TIMESTAMP
        self._next_early = MIN_TIMESTAMP

    @property
    def held(self) -> int:
        """The keys of every live slice; O(slices)."""
        slices = self._slices
        return sum(self._folding.keys(part) for part in (*slices.live.values(), *slices.waiting.values()))

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Fold the rows into their slices; return what the mode of emission says, late rows and dead letters."""
        self.ledger.rows_in += len(batch)
        if not len(batch):
            return []
        bounds = self._judges(batch)
        verdict = judge(self._window, batch.times, bounds, lateness=self._emission.lateness, base=self._slices.base)
        self.ledger.late += verdict.late
        run, refused = self._folding.read(batch)
        out = self._refusal.settle(refused, batch, self.ledger)
        bad = refused_mask(refused, len(batch)) if refused else None
        groups, waiting = self._groups(batch, verdict, bad)
        out += self._drop(batch, verdict, bounds, bad)
        if self._emission.emit != "each":
            return out + self._fold(batch, run, groups, waiting) + self._refresh(batch, run, groups, waiting)
        if self._slices.is_single:
            return out + self._fold_and_answer(batch, run, groups)
        return out + self._answer(batch, run, verdict.floor, groups, waiting) + self._fold(batch, run, groups, waiting)

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        """Fire the windows that end at or before the watermark, by their ends; forget what no window needs."""
        previous, self._watermark = self._watermark, watermark
        out: list[Output] = []
        if self._emission.emit == "close":
            end = self._window.end_before(previous) if previous > MIN_TIMESTAMP else MIN_TIMESTAMP
            while (following := self._slices.next_end(end)) is not None and following <= watermark:
                end = following
                self._changed.pop(end, None)
                window = (self._window.start(end), end)
                out += self._emit(self._folding.results(self._slices.advance(end), window, previous))
        self._forget(watermark)
        return out

    def on_tick(self, now: int) -> Iterable[Output]:
        """Emit what changed since the last early firing, where the time for one has come."""
        if not self._emission.early or now < self._next_early:
            return []
        self._next_early = now + self._emission.early
        changed, self._changed = self._changed, {}
        return self._emit_keys(changed, self._watermark)

    def held_watermark(self, watermark: int) -> int:
        """Forward it as it is: what fired left before it."""
        return watermark

    def snapshot(self, *, full: bool) -> Snapshot:
        """Return the slices and the waiting partials, or the keys of them that changed."""
        read = self._folding.export if full else self._folding.changed
        start = self._window.start(self._slices.base) if self._slices.base > MIN_TIMESTAMP else MIN_TIMESTAMP
        slices = [read(p).with_columns(slice=pl.lit(at, dtype=pl.Int64)) for at, p in self._slices.live.items()]
        waiting = [
            read(p).with_columns(slice=pl.lit(at, dtype=pl.Int64), floor=pl.lit(floor, dtype=pl.Int64))
            for (at, floor), p in self._slices.waiting.items()
        ]
        parts = (
            _part("slices", slices, ("slice",), ("slice", start - 1)),
            _part("waiting", waiting, ("slice", "floor"), ("floor", self._slices.base)),
        )
        return Snapshot({"watermark": self._watermark}, parts)

    def restore(self, snapshot: Snapshot) -> None:
        """Take the slices; what is derived from them is derived again."""
        self._watermark = snapshot.meta["watermark"]
        self._forget(self._watermark)
        for part in snapshot.parts:
            if part.name == "slices":
                for (start,), frame in part.frame.partition_by(["slice"], as_dict=True).items():
                    self._slices.live[start] = self._folding.load(frame)
            else:
                for (start, floor), frame in part.frame.partition_by(["slice", "floor"], as_dict=True).items():
                    self._slices.waiting[start, floor] = self._folding.load(frame)

    def _judges(self, batch: Batch) -> I64:
        if self._emission.emit == "complete":
            return np.full(len(batch), MIN_TIMESTAMP, dtype=np.int64)
        return judges(batch, self._watermark, keep=self._emission.keep)

    def _groups(
        self, batch: Batch, verdict: Verdict, bad: np.ndarray[Any, np.dtype[np.bool_]] | None
    ) -> tuple[list[Group], list[tuple[int, int, I64]]]:
        """Return the rows by the slice they go to, and those that must wait by slice and floor."""
        plain = np.arange(len(batch)) if verdict.plain is None else verdict.plain
        partial = verdict.partial
        if bad is not None:
            plain = plain[~bad[plain]]
            partial = None if partial is None else partial[~bad[partial]]
        starts = self._window.slice_start(batch.times)
        groups = [(start, rows) for start, rows in _split(starts, plain)]
        waiting = [
            (start, floor, rows)
            for start, members in _split(starts, partial if partial is not None else plain[:0])
            for floor, rows in _split(verdict.floor, members)
        ]
        return groups, waiting

    def _drop(
        self, batch: Batch, verdict: Verdict, bounds: I64, bad: np.ndarray[Any, np.dtype[np.bool_]] | None
    ) -> list[Output]:
        """Count the rows that some window or every window refuses.

        Return them as late rows where somebody reads them.
        """
        if verdict.dropped is None or verdict.partial is None or verdict.outside is None:
            return []
        dropped, outside = verdict.dropped, verdict.outside
        if bad is not None:
            dropped, outside = dropped[~bad[dropped]], outside[~bad[outside]]
        self.ledger.dropped += len(dropped)
        self.ledger.filtered += len(outside)
        first = self._window.first_end(batch.times)
        behind = np.flatnonzero((verdict.floor > first) & (first <= self._window.last_end(batch.times)))
        if bad is not None:
            behind = behind[~bad[behind]]
        if not len(behind):
            return []
        windows = missed(self._window, batch.times[behind], bounds[behind], self._emission.lateness)
        self.ledger.dropped_pairs += sum(map(len, windows))
        if not self._emission.has_late:
            return []
        late = batch.take(behind.astype(np.int64))
        return [(LATE, late.as_late(bounds[behind] - late.times, windows))]

    def _fold(
        self, batch: Batch, run: Run, groups: Sequence[Group], waiting: Sequence[tuple[int, int, I64]]
    ) -> list[Output]:
        out: list[Output] = []
        for partial, rows in [
            *((self._slices.slice(start), rows) for start, rows in groups),
            *((self._slices.wait(start, floor), rows) for start, floor, rows in waiting),
        ]:
            refused = self._folding.fold(partial, run, rows)
            self.ledger.used += len(rows) - len(refused)
            out += self._refusal.settle(refused, batch, self.ledger)
        return out

    def _answer(
        self,
        batch: Batch,
        run: Run,
        floor: I64,
        groups: Sequence[Group],
        waiting: Sequence[tuple[int, int, I64]],
    ) -> list[Output]:
        """Return one row per row: the window that ends first of those that take it, with the row in it."""
        used = np.sort(np.concatenate([*(rows for _, rows in groups), *(rows for *_, rows in waiting), _NO_ROWS]))
        if not len(used):
            return []
        ends = floor[used]
        for end in np.unique(ends).tolist():
            if end not in self._open:
                self._open[end] = self._folding.open_window(self._slices.read_later(end))
        answers: list[tuple[I64, Batch]] = []
        times = batch.times[used]
        for end, partial in sorted(self._open.items()):
            start = self._window.start(end)
            inside = (times >= start) & (times < end) & (ends <= end)
            rows, asking = used[inside], ends[inside] == end
            if not asking.any():
                self._folding.fold(partial, run, rows)
                continue
            answer, refused = self._folding.each(partial, run, rows, _bounds(start, end, len(rows)))
            if refused:
                kept = ~np.isin(rows, [r.row for r in refused])
                rows, asking = rows[kept], asking[kept]
            answers.append((rows[asking], answer if asking.all() else answer.take(asking)))
        return self._emit(_in_order(answers))

    def _fold_and_answer(self, batch: Batch, run: Run, groups: Sequence[Group]) -> list[Output]:
        """Fold the rows, and return for each its window with it: where a window is a slice, they are one pass."""
        answers: list[tuple[I64, Batch]] = []
        out: list[Output] = []
        for start, rows in groups:
            bounds = _bounds(start, self._window.last_end(start), len(rows))
            answer, refused = self._folding.each(self._slices.slice(start), run, rows, bounds)
            self.ledger.used += len(rows) - len(refused)
            out += self._refusal.settle(refused, batch, self.ledger)
            answers.append((rows if not refused else rows[~np.isin(rows, [r.row for r in refused])], answer))
        return out + (self._emit(_in_order(answers)) if answers else [])

    def _refresh(
        self,
        batch: Batch,
        run: Run,
        groups: Sequence[Group],
        waiting: Sequence[tuple[int, int, I64]],
    ) -> list[Output]:
        """Return the panes that these rows changed, as the mode of emission says."""
        emission = self._emission
        if emission.emit == "each" or (emission.emit == "close" and not emission.is_upsert):
            return []
        if emission.emit == "complete":
            return self._emit_all(int(batch.stamps.wm.max()))
        upto = MAX_TIMESTAMP if emission.emit == "update" or emission.early else self._watermark
        changed: dict[int, list[Any]] = {}
        for start, at_least, rows in [
            *((start, self._slices.base, rows) for start, rows in groups),
            *waiting,
        ]:
            for end in self._slices.ends(start, at_least, upto):
                changed.setdefault(end, []).append(self._folding.touched(run, rows))
        if emission.early and emission.emit == "close":
            for end in [end for end in changed if end > self._watermark]:
                self._changed.setdefault(end, []).extend(changed.pop(end))
        return self._emit_keys(changed, int(batch.stamps.wm.max()))

    def _emit_keys(self, changed: dict[int, list[Any]], wm: int) -> list[Output]:
        out: list[Output] = []
        for end in sorted(changed):
            keys = self._folding.union(changed[end])
            window = (self._window.start(end), end)
            out += self._emit(self._folding.results(self._slices.cover(end), window, wm, keys=keys))
        return out

    def _emit_all(self, wm: int) -> list[Output]:
        out: list[Output] = []
        end = MIN_TIMESTAMP
        while (following := self._slices.next_end(end)) is not None:
            end = following
            out += self._emit(self._folding.results(self._slices.cover(end), (self._window.start(end), end), wm))
        return out

    def _emit(self, batch: Batch) -> list[Output]:
        if not len(batch):
            return []
        self.ledger.rows_out += len(batch)
        if self._emission.is_upsert:
            batch = batch.with_stamps(batch.stamps.with_kind(np.full(len(batch), UPSERT, dtype=np.int8)))
        return [(MAIN, batch)]

    def _forget(self, watermark: int) -> None:
        if self._emission.emit == "complete" or watermark == MIN_TIMESTAMP:
            return
        past = self._window.end_before(watermark - self._emission.lateness)
        for end in [end for end in self._open if end <= past]:
            self._folding.release(self._open.pop(end))
        self._slices.expire(past + self._window.slide)


_NO_ROWS = np.zeros(0, dtype=np.int64)


def _bounds(start: int, end: int, rows: int) -> tuple[I64, I64]:
    return constant(start, rows), constant(end, rows)


def _in_order(answers: Sequence[tuple[I64, Batch]]) -> Batch:
    """Return the answers in the order of the rows that asked."""
    batches = [batch for _, batch in answers]
    if len(batches) == 1:
        return batches[0]
    places = np.concatenate([rows for rows, _ in answers])
    return type(batches[0]).concat(batches).take(np.argsort(places, kind="stable").astype(np.int64))


def _split(values: I64, rows: I64) -> list[tuple[int, I64]]:
    """Return the rows grouped by their value, rows in order within each group."""
    if not len(rows):
        return []
    mine = values if len(rows) == len(values) else values[rows]
    low, high = int(mine.min()), int(mine.max())
    if low == high:
        return [(low, rows)]
    order = np.argsort(mine, kind="stable")
    ordered = mine[order]
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return [(int(values[part[0]]), part) for part in np.split(rows[order], cuts)]


def _part(name: str, frames: Sequence[pl.DataFrame], namespace: tuple[str, ...], dead: tuple[str, int]) -> StatePart:
    """Return the frames as one part; an empty one still says what is dead."""
    filled = [frame for frame in frames if frame.height]
    nothing = pl.DataFrame(schema=dict.fromkeys(namespace, pl.Int64))
    frame = pl.concat(filled, how="vertical_relaxed") if filled else nothing
    return StatePart(name, frame, (*key_columns(frame), *namespace), dead)
