"""Rows from memory: a list, a frame, an iterator, or a function that returns one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, final

import polars as pl

from streamflow.core.connector import (
    Chunk,
    Format,
    ReadEvent,
    Replay,
    SourceFinished,
    SplitFinished,
    SplitOpened,
)
from streamflow.core.splits import ONLY, only_position, takes_start
from streamflow.errors import DefinitionError, SourceError


@final
@dataclass(frozen=True, slots=True)
class IterableSource:
    """The rows of an iterable, in its order.

    A sequence or a polars frame is read again after a crash from where it was; so is what a function returns that takes
    the row to start at.  Another iterable is consumed: what was read and not committed is lost in a crash.

    Args:
        rows: A sequence, a ``pl.DataFrame``, an iterable, or a function ``(start: int) -> Iterable`` that gives the
            same rows each time, from row ``start`` on.
        is_bounded: Whether it ends by itself.

    Raises:
        DefinitionError: If it is none of these.

    The iterable is advanced on the event loop: one that blocks belongs in a thread, behind ``GeneratorSource``.
    """

    rows: Iterable[Any] | Callable[[int], Iterable[Any]] | pl.DataFrame
    is_bounded: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        rows = self.rows
        if isinstance(rows, str | bytes | Mapping):
            raise DefinitionError(
                f"a {type(rows).__name__} is not a series of rows",
                remedy="give a list of rows; for the rows of a file, FileSource(path)",
            )
        if inspect.isasyncgenfunction(rows) or hasattr(rows, "__aiter__"):
            raise DefinitionError("these rows must be awaited", remedy="give the async generator to GeneratorSource")
        if callable(rows) and not isinstance(rows, Iterable):
            if not takes_start(rows):
                raise DefinitionError(
                    f"expected a function of the row to start at, got {rows!r}, which takes nothing",
                    remedy="write (start: int) -> Iterable, or give what the function returns",
                )
        elif not isinstance(rows, Iterable):
            raise DefinitionError(f"expected an iterable or a function that returns one, got {type(rows).__name__}")

    @property
    def replay(self) -> Replay:
        """Replayable, but for an iterable that can only be consumed."""
        again = isinstance(self.rows, Sequence | pl.DataFrame) or not isinstance(self.rows, Iterable)
        return Replay.REPLAYABLE if again else Replay.AT_MOST_ONCE

    @property
    def format(self) -> Format | None:
        """None: the rows are values already."""
        return None

    def reader(self) -> _Reader:
        """Return a reader; the iterable is not touched before it is opened."""
        return _Reader(self)

    def __str__(self) -> str:
        if isinstance(self.rows, pl.DataFrame):
            return f"frame of {self.rows.height} rows"
        if isinstance(self.rows, Sequence):
            return f"{type(self.rows).__name__} of {len(self.rows)} rows"
        return f"rows of {getattr(self.rows, '__qualname__', type(self.rows).__name__)}"


@final
class _Reader:
    def __init__(self, source: IterableSource) -> None:
        self._source = source
        self._row = 0
        self._iterator: Iterator[Any] | None = None

    async def open(self, positions: Mapping[str, Any]) -> Sequence[SplitOpened]:
        self._row = only_position(str(self._source), positions)
        rows = self._source.rows
        if isinstance(rows, Sequence | pl.DataFrame) and len(rows) < self._row:
            raise SourceError(
                str(self._source),
                f"the checkpoint goes on at row {self._row}, which it does not have",
                remedy="give the rows that the checkpoint was taken with, or start afresh with --new-generation",
            )
        return [SplitOpened(ONLY, self._row)]

    async def read(self, limit: int, wanted: Sequence[str]) -> Sequence[ReadEvent]:
        try:
            data = self._take(limit)
        except Exception as error:
            raise SourceError(
                str(self._source), f"its iterator failed at row {self._row}: {type(error).__name__}: {error}"
            ) from error
        events: list[ReadEvent] = []
        count = data.height if isinstance(data, pl.DataFrame) else len(data)
        if count:
            start, self._row = self._row, self._row + count
            events.append(Chunk(ONLY, data, start, self._row))
        if count < limit:
            events += [SplitFinished(ONLY), SourceFinished()]
        return events

    async def close(self) -> None:
        iterator, self._iterator = self._iterator, None
        if isinstance(iterator, Generator):
            iterator.close()

    def _take(self, limit: int) -> list[Any] | pl.DataFrame:
        rows = self._source.rows
        if isinstance(rows, list):
            return rows[self._row : self._row + limit]
        if isinstance(rows, pl.DataFrame):
            return rows.slice(self._row, limit)
        if self._iterator is None:
            self._iterator = self._begin()
        return list(islice(self._iterator, limit))

    def _begin(self) -> Iterator[Any]:
        rows = self._source.rows
        if isinstance(rows, Sequence):
            return islice(rows, self._row, None)
        return iter(rows if isinstance(rows, Iterable) else rows(self._row))
