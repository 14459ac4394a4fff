"""From chunks to batches: decode, event time, watermark per split, refusals.  The first step of every source.

Here, and nowhere else, a row gets its stamps: its event time, the watermark of its split just before it (``wm``), and
where a step asks for them the source's watermark (``mark``) and its identity.  Here too a time from the future is
refused, so that one bad clock cannot make everything else late.

The clock's time comes in as an argument; nothing is read here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import msgspec
import numpy as np
import polars as pl

from streamflow._engine.plan import Need, SourceNode
from streamflow.core.arrays import I64
from streamflow.core.batch import Batch, Layout
from streamflow.core.columns import Columns
from streamflow.core.connector import Chunk, Lines, Records, Refused
from streamflow.core.declared import declared_columns
from streamflow.core.element import MAIN, Output
from streamflow.core.operator import Ledger
from streamflow.core.rows import Rows, pick
from streamflow.core.schema import Schema
from streamflow.core.stamps import Stamps, constant
from streamflow.core.state import Snapshot
from streamflow.core.timestamp import EARLIEST, LATEST, MIN_TIMESTAMP, show_time, timestamp
from streamflow.core.watermark import Status, WatermarkMerge
from streamflow.errors import DataError
from streamflow.operators.refusal import Refusal
from streamflow.operators.stateless import apply

_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


@final
@dataclass(slots=True)
class Split:
    """What the engine remembers of one split."""

    number: int
    resume: Any
    last_seen: int
    """When it last said something, by the clock."""


@final
class Ingest:
    """The running first step of a source."""

    def __init__(self, node: SourceNode, needs: frozenset[Need]) -> None:
        self.ledger = Ledger()
        self.node = node
        self.merge = WatermarkMerge()
        self.splits: dict[str, Split] = {}
        self._needs = needs
        self._refusal = Refusal(node.name, node.on_error)
        self._done: set[str] = set()
        """The splits of which the reader of this life has said that they are over."""
        self._idle_since: tuple[int, int] | None = None
        self._schema = Schema(declared_columns(node.schema) if node.layout is Layout.COLUMNS else None)

    @property
    def watermark(self) -> int:
        """The source's watermark: the minimum over its splits that count."""
        return self.merge.watermark

    def open(self, split: str, resume: Any, now: int) -> None:
        """Know a split; it holds the watermark until it has said something."""
        if split not in self.splits:
            self.splits[split] = Split(_number(self.node.name, split), resume, now)
            self.merge.add(split)

    def take(self, chunks: Sequence[Chunk], now: int) -> Iterator[list[Output]]:
        """Yield the batches of some chunks, in order, dead letters beside them; the watermark has moved behind each.

        Chunks of several splits become one batch while every split counts: then no row's own watermark lies behind the
        source's.  Where one is idle or catching up, rows are judged by the source's watermark, which must be forwarded
        chunk by chunk.
        """
        held: list[Batch] = []
        dead: list[Output] = []
        for chunk in chunks:
            self.open(chunk.split, chunk.resume, now)
            self.merge.active(chunk.split)
            if held and (not self.merge.is_plain or sum(map(len, held)) + len(chunk) > _COALESCE):
                yield [*dead, *_joined(held)]
                held, dead = [], []
            batch, refused = self._batch(chunk, now)
            dead += refused
            held += [] if batch is None else [batch]
            if not self.merge.is_plain:
                yield [*dead, *_joined(held)]
                held, dead = [], []
        if held or dead:  # never apart: what the rows of a chunk say of the watermark is forwarded behind all of them
            yield [*dead, *_joined(held)]

    def idle(self, split: str) -> int:
        """The split has nothing to say: leave it out; return the merged watermark."""
        return self.merge.idle(split)

    def finish(self, split: str) -> int:
        """The split is over for ever: leave it out; return the merged watermark."""
        self._done.add(split)
        return self.merge.finish(split)

    def tick(self, now: int) -> int:
        """Find out by the clock which splits are idle, and let what follows the clock follow it.

        Return the watermark.
        """
        node = self.node
        if node.event_time is None:
            for name, status in self.merge.status.items():
                if status is not Status.FINISHED:
                    self.merge.advance(name, now - getattr(node.strategy, "delay", 0))
        if node.idle_after is not None:
            for name, split in self.splits.items():
                if (
                    self.merge.status[name] in (Status.ACTIVE, Status.REJOINING)
                    and now - split.last_seen >= node.idle_after
                ):
                    self.merge.idle(name)
        if node.idle_advance:
            self._follow(now)
        return self.merge.watermark

    def is_paused(self, split: str) -> bool:
        """Whether the split is further ahead of the slowest than ``max_skew`` allows."""
        if self.node.max_skew is None or self.merge.marks[split] == MIN_TIMESTAMP:
            return False
        return self.merge.marks[split] - self.node.max_skew > self.merge.least_other(split)

    def wanted(self) -> list[str]:
        """Return the splits to read, the one furthest behind first.

        A split that a checkpoint says is finished is asked for once more: its reader, new in this life, must say so
        too.
        """
        unfinished = [s for s in self.splits if s not in self._done and not self.is_paused(s)]
        return sorted(unfinished, key=self.merge.marks.__getitem__)

    def snapshot(self) -> Snapshot:
        """Return the watermarks; positions are kept apart."""
        return Snapshot({"merge": self.merge.snapshot()})

    @property
    def positions(self) -> dict[str, Any]:
        """Where to go on, by split."""
        return {name: split.resume for name, split in self.splits.items()}

    def restore(self, snapshot: Snapshot, positions: Mapping[str, Any], now: int) -> None:
        """Take positions and watermarks; silence counts from now."""
        self.merge.restore(snapshot.meta["merge"])
        for split, resume in positions.items():
            self.splits[split] = Split(_number(self.node.name, split), resume, now)

    def _follow(self, now: int) -> None:
        if (
            all(s in (Status.IDLE, Status.FINISHED) for s in self.merge.status.values())
            and self.merge.watermark > MIN_TIMESTAMP
        ):
            since, mark = self._idle_since = self._idle_since or (now, self.merge.watermark)
            self.merge.watermark = max(self.merge.watermark, mark + now - since)
        else:
            self._idle_since = None

    def _batch(self, chunk: Chunk, now: int) -> tuple[Batch | None, list[Output]]:
        split = self.splits[chunk.split]
        split.resume, split.last_seen = chunk.resume, now
        rows = len(chunk)
        self.ledger.rows_in += rows
        data, refused = self._decode(chunk)
        places = _places_without(rows, refused)
        times, late_refused = self._times(data, places, now)
        everything = sorted([*refused, *late_refused], key=lambda r: r.row)
        out = self._refusal.settle(everything, None, self.ledger)
        if late_refused:
            kept = ~np.isin(places, [r.row for r in late_refused])
            places, times = places[kept], times[kept]
            data = data.filter(pl.Series(kept)) if isinstance(data, pl.DataFrame) else pick(data, kept)
        if not len(places):
            return None, out
        before = self.node.strategy.before(self.merge.marks[chunk.split], times, data)
        stamps = Stamps(
            times,
            before[:-1],
            mark=self.merge.merged_before(chunk.split, before[:-1]) if "mark" in self._needs else None,
            split=constant(split.number, len(places)) if "identity" in self._needs else None,
            position=places + chunk.start if "identity" in self._needs else None,
        )
        self.merge.advance(chunk.split, int(before[-1]))
        self.ledger.used += len(places)
        self.ledger.rows_out += len(places)
        return (Columns(stamps, data) if isinstance(data, pl.DataFrame) else Rows(stamps, data)), out

    def _decode(self, chunk: Chunk) -> tuple[list[Any] | pl.DataFrame, Sequence[Refused]]:
        data = chunk.data
        if isinstance(data, Lines | Records):
            format = self.node.source.format
            if format is None:
                raise DataError(
                    f"source {self.node.name!r} yields bytes and has no format", remedy="give it format=Json(Type)"
                )
            decoded = format.decode(data, self.node.layout)
            return decoded.data, decoded.refused
        if self.node.layout is Layout.ROWS:
            values = data.to_dicts() if isinstance(data, pl.DataFrame) else data
            return _converted(values, self.node.schema)
        if isinstance(data, pl.DataFrame):
            return data, ()
        frame, _, refused = self._schema.frame(Rows(Stamps.at(0, 0, len(data)), data))
        return frame, refused

    def _times(self, data: list[Any] | pl.DataFrame, places: I64, now: int) -> tuple[I64, list[Refused]]:
        """Return the event time of each row, and the rows that have none, by their place in the chunk."""
        read = self.node.event_time
        if read is None:
            return constant(now, len(places)), []
        if isinstance(data, pl.DataFrame):
            assert isinstance(read, str), "a table's event time is a column"
            if read not in data.columns:
                raise DataError(f"there is no column {read!r} for event_time, there are {', '.join(data.columns)}")
            times, refused = _column_times(data.get_column(read), self.node.time_unit)
        else:
            stated, refused = apply(read if callable(read) else _field(read), data)
            times, wrong = _row_times(stated, self.node.time_unit, {r.row for r in refused})
            refused = [*refused, *wrong]
        if self.node.max_future is not None:
            bound = now + self.node.max_future
            known = {r.row for r in refused}
            refused += [
                Refused(
                    int(i), f"event time {show_time(int(times[i]))} lies more than max_future ahead of the clock", None
                )
                for i in np.flatnonzero(times > bound)
                if int(i) not in known
            ]
        if not refused:
            return times, []
        values = data.to_dicts() if isinstance(data, pl.DataFrame) else data
        return times, [Refused(int(places[r.row]), r.reason, values[r.row], r.cause) for r in refused]


def _joined(batches: Sequence[Batch]) -> list[Output]:
    return [(MAIN, type(batches[0]).concat(batches))] if batches else []


_COALESCE = 131_072
"""Rows beyond which chunks are not put together: past it a larger batch saves nothing."""


def _field(name: str) -> Callable[[Any], Any]:
    """Return a function that reads a field of a row by its name."""

    def read(row: Any) -> Any:
        is_mapping = isinstance(row, Mapping)
        if (name in row) if is_mapping else hasattr(row, name):
            return row[name] if is_mapping else getattr(row, name)
        raise DataError(f"the row has no field {name!r} for event_time: {row!r}")

    return read


def _number(source: str, split: str) -> int:
    digest = hashlib.blake2b(f"{source}\0{split}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _places_without(rows: int, refused: Sequence[Refused]) -> I64:
    places = np.arange(rows, dtype=np.int64)
    return np.delete(places, [r.row for r in refused]) if refused else places


def _converted(values: list[Any], schema: Any) -> tuple[list[Any], Sequence[Refused]]:
    if schema is None:
        return values, ()
    made, refused = apply(lambda value: msgspec.convert(value, schema, from_attributes=True), values)
    failed = {r.row for r in refused}
    return [v for i, v in enumerate(made) if i not in failed] if failed else made, refused


def _row_times(stated: list[Any], unit: str, failed: set[int]) -> tuple[I64, list[Refused]]:
    if not failed and unit in _UNIT and set(map(type, stated)) == {int}:
        low, high = EARLIEST // _UNIT[unit], LATEST // _UNIT[unit]
        if low <= min(stated) and max(stated) <= high:
            return np.array(stated, dtype=np.int64) * _UNIT[unit], []
    times = np.zeros(len(stated), dtype=np.int64)
    refused: list[Refused] = []
    for row, value in enumerate(stated):
        if row in failed:
            continue
        try:
            times[row] = timestamp(value, unit)  # type: ignore[arg-type]  # checked at definition
        except DataError as error:
            refused.append(Refused(row, str(error), None, error))
    return times, refused


def _column_times(column: pl.Series, unit: str) -> tuple[I64, list[Refused]]:
    if isinstance(column.dtype, pl.Datetime):
        aware = column.dtype.time_zone is not None
        whole = column.dt.cast_time_unit("us").to_physical() if aware else None
        problem = None if aware else "an event time must have a time zone, use dt.replace_time_zone('UTC')"
    elif column.dtype.is_integer():
        whole = column.cast(pl.Int64) // 1_000 if unit == "ns" else column.cast(pl.Int64)
        problem = None
    else:
        whole, problem = None, f"an event time column must be Datetime with a zone or integer, got {column.dtype}"
    if whole is None:
        raise DataError(f"column {column.name!r}: {problem}")
    missing = whole.is_null().to_numpy() if whole.null_count() else None
    values = (whole.fill_null(0) if missing is not None else whole).to_numpy()
    scale = 1 if isinstance(column.dtype, pl.Datetime) or unit == "ns" else _UNIT[unit]
    outside = (values < EARLIEST // scale) | (values > LATEST // scale)
    bad = outside if missing is None else outside | missing
    refused: list[Refused] = []
    if bad.any():
        refused = [
            Refused(
                int(i),
                f"column {column.name!r}: an event time must lie in the years 1 to 9999, got {column[int(i)]!r}",
                None,
            )
            for i in np.flatnonzero(bad)
        ]
        values = np.where(bad, 0, values)
    return (values * scale if scale != 1 else values.astype(np.int64, copy=False)), refused
