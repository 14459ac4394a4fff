"""Rows made up: for demos, tests and load, the same on every machine and after every restart."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64
from streamflow.core.connector import (
    Chunk,
    Format,
    ReadEvent,
    Replay,
    SourceFinished,
    SplitFinished,
    SplitIdle,
    SplitOpened,
)
from streamflow.core.splits import require_known
from streamflow.core.timestamp import timestamp, to_datetime
from streamflow.errors import DataError, DefinitionError, SourceError

Make = Callable[[int, datetime, random.Random], Any]
"""Makes one row of its number, its event time and a source of chance."""
MakeColumns = Callable[[I64, I64, np.random.Generator], pl.DataFrame | list[Any]]
"""Makes many rows of their numbers, their event times in microseconds and a source of chance."""

Clock = Callable[[], int]
"""Tells the time of day, in microseconds since the Unix epoch."""


def time_of_day() -> int:
    """Return the time by the machine's clock, in microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


BLOCK = 4096
"""How many rows of a split share a source of chance.  It is part of what the rows are: to change it changes them."""
_TURN_ROWS = 512
"""How many rows a function of one row makes before the loop has its turn: about 1 ms."""
_TICK_SECONDS = 0.001
"""The shortest wait: timers of event loops are no finer, and a read for each row would cost more than the row."""
_UNPACED_START = datetime(2024, 1, 1, tzinfo=UTC)


def generate(
    make: Make | None = None,
    *,
    columns: MakeColumns | None = None,
    rate: float | None = None,
    rows: int | None = None,
    splits: int = 1,
    seed: int = 0,
    start: datetime | None = None,
    clock: Clock = time_of_day,
) -> GenerateSource:
    """Return a source of made-up rows: numbers and times, or what a function makes of them.

    Row ``n`` is the same however often and from wherever it is read: a function of ``n``, ``seed``, ``start``, ``rate``
    and ``splits``, if yours is one of its arguments.  Its event time is ``start + n / rate``.  With several splits, it
    is in split ``n % splits``.

    Args:
        make: Makes a row of ``(n, time, rng)``: its number, its event time as an aware ``datetime`` and a
            ``random.Random``.  Without it, and without ``columns``, rows have the fields ``n`` and ``ts``.
        columns: Makes a frame or a list of ``(n, time, rng)`` for 4,096 rows at once: arrays of numbers and of times
            in microseconds, and a numpy ``Generator``.  One row out for each in, in order.
        rate: Rows a second, over all splits, by the clock.  None: as fast as they are read, with times 1 ms apart.
        rows: How many rows there are; None: no end.
        splits: How many splits they come in.
        seed: What chance starts from.
        start: The event time of row 0.  None: with a rate the time at which the pipeline is started for the first
            time, which makes it catch up after a pause; without one 2024-01-01 UTC.
        clock: What tells the time at which the pipeline is started.

    Raises:
        DefinitionError: If a number is not positive, or both functions are given.

    >>> str(generate(rate=10, rows=100))
    'generated rows, 10/s, 100 in all'
    """
    return GenerateSource(make, columns, rate, rows, splits, seed, start, clock)


@final
@dataclass(frozen=True, slots=True)
class GenerateSource:
    """Made-up rows, as ``generate`` says."""

    make: Make | None = None
    columns: MakeColumns | None = None
    rate: float | None = None
    rows: int | None = None
    splits: int = 1
    seed: int = 0
    start: datetime | None = None
    clock: Clock = time_of_day

    def __post_init__(self) -> None:
        if self.make is not None and self.columns is not None:
            raise DefinitionError("rows are made by make or by columns, got both")
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise DefinitionError(f"rate must be more than zero rows a second, got {self.rate!r}")
        if self.rows is not None and self.rows < 0:
            raise DefinitionError(f"rows must be zero or more, got {self.rows!r}")
        if self.splits < 1 or self.seed < 0:
            raise DefinitionError(
                f"splits must be one or more and seed zero or more, got {self.splits!r} and {self.seed!r}"
            )
        if self.start is not None:
            try:
                timestamp(self.start)
            except DataError as error:
                raise DefinitionError(f"start: {error}", remedy="give an aware datetime") from error

    @property
    def replay(self) -> Replay:
        """Replayable: each row can be made again."""
        return Replay.REPLAYABLE

    @property
    def is_bounded(self) -> bool:
        """Whether a number of rows was given."""
        return self.rows is not None

    @property
    def format(self) -> Format | None:
        """None: the rows are values or frames already."""
        return None

    def reader(self) -> _Reader:
        """Return a reader."""
        return _Reader(self)

    def __str__(self) -> str:
        pace = f", {self.rate:g}/s" if self.rate is not None else ""
        end = f", {self.rows} in all" if self.rows is not None else ""
        return f"generated rows{pace}{end}"


@final
class _Split:
    """The rows of one split, from a row on.  Row ``i`` of split ``s`` of ``k`` is row ``i * k + s`` of the source."""

    def __init__(self, source: GenerateSource, number: int, row: int, start: int) -> None:
        self.name = str(number)
        self.row = row
        self._source, self._number, self._start = source, number, start
        self._step = 1_000_000 / source.rate if source.rate is not None else 1_000.0
        self._block: pl.DataFrame | list[Any] | Iterator[Any] | None = None

    @property
    def total(self) -> int | None:
        """How many rows it has."""
        rows, source = self._source.rows, self._source
        return None if rows is None else max(0, -(-(rows - self._number) // source.splits))

    @property
    def next_number(self) -> int:
        """The number of its next row in the source."""
        return self.row * self._source.splits + self._number

    @property
    def is_over(self) -> bool:
        """Whether all its rows have been taken."""
        return self.total is not None and self.row >= self.total

    def take(self, limit: int) -> Chunk:
        """Return its next rows: at most ``limit``, and none beyond the end of a block."""
        within = self.row % BLOCK
        count = min(limit, BLOCK - within)
        if self.total is not None:
            count = min(count, self.total - self.row)
        if self._block is None:
            self._block = self._make_block(self.row // BLOCK, within)
        data: Any = self._block
        if isinstance(data, pl.DataFrame):
            data = data.slice(within, count)
        else:
            data = data[within : within + count] if isinstance(data, list) else list(islice(data, count))
        start, self.row = self.row, self.row + count
        if self.row % BLOCK == 0:
            self._block = None
        return Chunk(self.name, data, start, self.position())

    def position(self) -> dict[str, int]:
        """Return where it stands: its next row, and the event time of row 0."""
        return {"row": self.row, "start": self._start}

    def _make_block(self, block: int, skip: int) -> pl.DataFrame | list[Any] | Iterator[Any]:
        source = self._source
        if source.make is not None:
            rows = self._make_rows(block)
            for _ in range(skip):  # rows before it take their part of chance
                next(rows)
            return rows
        numbers = np.arange(block * BLOCK, (block + 1) * BLOCK, dtype=np.int64) * source.splits + self._number
        times = self._start + (numbers * self._step).astype(np.int64)
        if source.columns is None:
            return pl.DataFrame({"n": numbers, "ts": pl.Series(times).cast(pl.Datetime("us", "UTC"))})
        made = source.columns(numbers, times, np.random.default_rng([source.seed, self._number, block]))
        if len(made) != BLOCK:
            raise SourceError(
                str(source),
                f"columns was given {BLOCK} numbers and made {len(made)} rows",
                remedy="return one row for each number, in order",
            )
        return made

    def _make_rows(self, block: int) -> Iterator[Any]:
        source, make = self._source, self._source.make
        assert make is not None
        rng = random.Random(f"{source.seed}/{self._number}/{block}")  # noqa: S311 - chance, not secrets
        for i in range(block * BLOCK, (block + 1) * BLOCK):
            number = i * source.splits + self._number
            yield make(number, to_datetime(self._start + int(number * self._step)), rng)


@final
class _Reader:
    """Makes the rows that are due.

    ``_zero`` is the time of the loop's clock at which row 0 is due, row ``n`` being due ``n / rate`` after it.
    """

    def __init__(self, source: GenerateSource) -> None:
        self._source = source
        self._splits: dict[str, _Split] = {}
        self._zero = 0.0
        self._is_first_lull = True

    async def open(self, positions: Mapping[str, Any]) -> Sequence[SplitOpened]:
        source = self._source
        require_known(str(source), positions, {str(i) for i in range(source.splits)})
        saved = {name: self._checked(position) for name, position in positions.items()}
        start = self._first_time(saved)
        rows = [saved[str(i)]["row"] if str(i) in saved else 0 for i in range(source.splits)]
        self._splits = {str(i): _Split(source, i, row, start) for i, row in enumerate(rows)}
        if source.rate is not None:
            now = asyncio.get_running_loop().time()
            if source.start is None:  # a row is due at its event time, in this run as in the first
                self._zero = now - (source.clock() - start) / 1_000_000
            else:  # event times say nothing about now: go on from here
                self._zero = now - min(split.next_number for split in self._splits.values()) / source.rate
        return [SplitOpened(split.name, split.position()) for split in self._splits.values()]

    async def read(self, limit: int, wanted: Sequence[str]) -> Sequence[ReadEvent]:
        live = [self._splits[name] for name in wanted if name in self._splits]
        while True:
            if events := self._read_due(live, limit):
                return events
            if not self._splits:
                return [SourceFinished()]
            if self._is_first_lull and live:
                self._is_first_lull = False
                return [SplitIdle(split.name) for split in live]
            await asyncio.sleep(self._until_due(live))
            if not live:  # ask again, more may be wanted by now
                return ()

    async def close(self) -> None:
        self._splits = {}

    def _read_due(self, live: list[_Split], limit: int) -> list[ReadEvent]:
        """Return the rows that are due; without a rate, those of the split that is furthest behind."""
        events: list[ReadEvent] = []
        now = asyncio.get_running_loop().time()
        for split in live:
            count = min(limit, self._due(split, now))
            if count > 0 and not split.is_over:
                try:
                    events.append(split.take(count))
                except SourceError:
                    raise
                except Exception as error:
                    reason = f"row {split.next_number} cannot be made: {type(error).__name__}: {error}"
                    raise SourceError(str(self._source), reason) from error
            if split.is_over:
                events.append(SplitFinished(split.name))
                del self._splits[split.name]
            if events and self._source.rate is None:
                break
        if events and not self._splits:
            events.append(SourceFinished())
        return events

    def _due(self, split: _Split, now: float) -> int:
        """Return how many rows of a split are due and not taken yet; without a rate all are."""
        source = self._source
        if source.rate is None:
            return BLOCK if source.make is None else _TURN_ROWS
        return int(((now - self._zero) * source.rate - split.next_number) // source.splits) + 1

    def _until_due(self, live: list[_Split]) -> float:
        if not live or self._source.rate is None:
            return 5 * _TICK_SECONDS  # all that is wanted is over, and the engine has yet to hear of it
        now = asyncio.get_running_loop().time()
        due = self._zero + min(split.next_number for split in live) / self._source.rate
        return max(_TICK_SECONDS, due - now)

    def _first_time(self, saved: Mapping[str, dict[str, int]]) -> int:
        """Return the event time of row 0."""
        if self._source.start is not None:
            return timestamp(self._source.start)
        if self._source.rate is None:
            return timestamp(_UNPACED_START)
        for position in saved.values():
            return position["start"]
        return self._source.clock()

    def _checked(self, position: Any) -> dict[str, int]:
        match position:
            case {"row": int(), "start": int()} if position["row"] >= 0:
                return {"row": position["row"], "start": position["start"]}
        raise SourceError(
            str(self._source),
            f"expected a row and a start as a position, got {position!r}",
            remedy="restore the checkpoint with the source it was taken with, or start afresh with --new-generation",
        )
