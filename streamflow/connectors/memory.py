"""A sink that keeps everything in lists of this process: for tests and notebooks.

Knows no disk: what it holds is gone with the process, and after a restart from a checkpoint rows are shown again.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, final

import polars as pl

from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Encoded, Guarantee, Token
from streamflow.core.records import identity_of
from streamflow.core.rows import Rows
from streamflow.core.schema import Schema
from streamflow.core.stamps import DELETE, Stamps
from streamflow.errors import DataError, InternalError


@final
class MemorySink:
    """Keep every row in memory; writers of one sink share what it holds.

    Args:
        schema: The fields and polars types of ``frame()``, where rows leave them open.

    >>> sink = MemorySink()
    >>> sink.rows, sink.table
    ([], {})
    """

    def __init__(self, *, schema: dict[str, Any] | None = None) -> None:
        self._schema = schema
        self._frames: list[pl.DataFrame] = []
        self.rows: list[Any] = []
        """The rows in order of arrival: the values themselves, or a dict for each row of a frame."""
        self.table: dict[Hashable, Any] = {}
        """What an upsert edge comes to: the last row of each key that was not deleted.

        The key is the key's value, a tuple of several, or ``(key, start, end)`` for a window.
        """

    @property
    def guarantee(self) -> Guarantee:
        """At once, and again after a crash."""
        return Guarantee.AT_ONCE

    @property
    def takes_upserts(self) -> bool:
        """Yes: ``table`` is what they come to, ``rows`` all of them, deleting ones too."""
        return True

    def frame(self) -> pl.DataFrame:
        """Return all rows as a frame, flattened as every table is (``key``, ``window_start`` …).

        Raises:
            DataError: If the rows have not all the same fields, of the same types.
        """
        if self._frames and sum(f.height for f in self._frames) == len(self.rows):
            return pl.concat(self._frames, how="vertical")
        frame, _, refused = Schema(self._schema).frame(Rows(Stamps.at(0, 0, len(self.rows)), self.rows))
        if refused:
            raise DataError(
                f"rows do not make one frame: row {refused[0].row}: {refused[0].reason}",
                remedy="say the types with MemorySink(schema={...}), or look at .rows",
            )
        return frame

    def clear(self) -> None:
        """Forget everything."""
        self._frames.clear()
        self.rows.clear()
        self.table.clear()

    def writer(self, pipeline: str, name: str) -> MemoryWriter:
        """Return a writer into this sink's lists."""
        del pipeline
        return MemoryWriter(self, name)

    def __str__(self) -> str:
        return "memory"

    def __repr__(self) -> str:
        return f"MemorySink({len(self.rows)} rows, {len(self.table)} keys)"

    def add(self, batch: Batch) -> None:
        """Take in a batch."""
        values = batch.to_values()
        self.rows.extend(values)
        if isinstance(batch, Columns):
            self._frames.append(batch.frame)
        if batch.stamps.kind is None:
            return
        for row, (kind, value) in enumerate(zip(batch.stamps.kind.tolist(), values, strict=True)):
            key = identity_of(batch, row)
            if kind == DELETE:
                self.table.pop(key, None)
            else:
                self.table[key] = value


@final
class MemoryWriter:
    """Writes to a ``MemorySink``."""

    def __init__(self, sink: MemorySink, name: str) -> None:
        self._sink, self._name = sink, name

    async def open(self) -> Token | None:
        """Return None: it remembers no epoch."""
        return None

    def encode(self, batch: Batch) -> Encoded:
        """Not called: the sink is not staged."""
        raise InternalError(f"sink {self._name!r} shows rows at once, and was asked to stage {len(batch)}")

    async def apply(self, staged: Sequence[bytes], token: Token) -> None:
        """Not called: the sink is not staged."""
        raise InternalError(f"sink {self._name!r} shows rows at once, and was given {len(staged)} staged for {token}")

    async def write(self, batch: Batch) -> None:
        """Keep the rows."""
        self._sink.add(batch)

    async def close(self) -> None:
        """Keep what there is."""
