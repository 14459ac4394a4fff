"""The column layout: a polars frame; the key is the names of the key columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64, Index, Mask
from streamflow.core.batch import Batch, Layout
from streamflow.core.stamps import Stamps


@final
@dataclass(frozen=True, slots=True)
class Columns(Batch):
    """A polars frame, one row a row.

    Attributes:
        frame: The columns the user sees, and only those: stamps stay outside, so that ``pl.all()`` means what it says.
        key: The names of the key columns, behind ``group_by`` and on upsert edges; else empty.
    """

    frame: pl.DataFrame
    key: tuple[str, ...] = ()

    @property
    def layout(self) -> Layout:
        """Columns."""
        return Layout.COLUMNS

    def take(self, rows: Index | Mask) -> Columns:
        """Return these rows, in this order."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            frame = self.frame.slice(start, stop - start)
        elif rows.dtype == np.bool_:
            frame = self.frame.filter(pl.Series(rows))
        else:
            frame = self.frame[rows]
        return Columns(self.stamps.take(rows), frame, self.key)

    def with_stamps(self, stamps: Stamps) -> Columns:
        """Return the same frame beside other stamps."""
        return replace(self, stamps=stamps)

    def with_frame(self, frame: pl.DataFrame) -> Columns:
        """Return another frame of as many rows, beside the same stamps."""
        return Columns(self.stamps, frame, self.key)

    def key_of(self, row: int) -> Any:
        """Return the key of one row: a scalar, or a tuple where several columns make it."""
        if not self.key:
            return None
        key = tuple(self.frame.get_column(name)[row] for name in self.key)
        return key[0] if len(key) == 1 else key

    def to_values(self) -> list[Any]:
        """Return one dict a row."""
        return self.frame.to_dicts()

    def as_late(self, lateness: I64, windows: Sequence[Sequence[tuple[int, int]]]) -> Columns:
        """Return the frame with columns ``event_time``, ``lateness`` and ``missed_windows`` (their starts)."""
        starts = [[start for start, _ in missed] for missed in windows]
        return self.with_frame(
            self.frame.with_columns(
                pl.Series("event_time", self.stamps.time).cast(pl.Datetime("us", "UTC")),
                pl.Series("lateness", lateness).cast(pl.Duration("us")),
                pl.Series("missed_windows", starts, dtype=pl.List(pl.Int64)).cast(pl.List(pl.Datetime("us", "UTC"))),
            )
        )

    @property
    def nbytes(self) -> int:
        """What polars says the frame holds."""
        return int(self.frame.estimated_size())

    @classmethod
    def concat(cls, parts: Sequence[Columns]) -> Columns:
        """Return the parts one after another."""
        if len(parts) == 1:
            return parts[0]
        return Columns(
            Stamps.concat([p.stamps for p in parts]),
            pl.concat([p.frame for p in parts], how="vertical"),
            parts[0].key,
        )
