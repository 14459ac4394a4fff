"""The row layout: a list of Python values, and beside it a list of keys where the stream is keyed."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress
from typing import Any, Generic, TypeVar, final

import numpy as np

from streamflow.core.arrays import I64, Index, Mask
from streamflow.core.batch import Batch, Layout
from streamflow.core.stamps import Stamps

V = TypeVar("V")


@final
@dataclass(frozen=True, slots=True)
class Late(Generic[V]):
    """What the late output of a step gets.

    Attributes:
        value: The row as it came.
        time: Its event time, microseconds.
        lateness: How far behind the watermark that judged it, microseconds.
        windows: The ``(start, end)`` of the windows that dropped it; empty behind a step without windows.
    """

    value: V
    time: int
    lateness: int
    windows: tuple[tuple[int, int], ...]


@final
@dataclass(frozen=True, slots=True)
class Rows(Batch):
    """Python values, one a row.

    Attributes:
        values: The values.
        keys: The keys, behind ``key_by`` and on upsert edges; else None.
    """

    values: list[Any]
    keys: list[Hashable] | None = None

    @property
    def layout(self) -> Layout:
        """Rows."""
        return Layout.ROWS

    def take(self, rows: Index | Mask) -> Rows:
        """Return these rows, in this order; O(rows taken), or O(batch) for a mask."""
        return Rows(
            self.stamps.take(rows),
            pick(self.values, rows),
            None if self.keys is None else pick(self.keys, rows),
        )

    def with_stamps(self, stamps: Stamps) -> Rows:
        """Return the same values beside other stamps."""
        return replace(self, stamps=stamps)

    def with_values(self, values: list[Any]) -> Rows:
        """Return other values, one for each, with the same keys and stamps."""
        return Rows(self.stamps, values, self.keys)

    def with_keys(self, keys: list[Hashable] | None) -> Rows:
        """Return the same values under other keys."""
        return Rows(self.stamps, self.values, keys)

    def key_of(self, row: int) -> Any:
        """Return the key of one row."""
        return None if self.keys is None else self.keys[row]

    def to_values(self) -> list[Any]:
        """Return the values themselves, not a copy."""
        return self.values

    def as_late(self, lateness: I64, windows: Sequence[Sequence[tuple[int, int]]]) -> Rows:
        """Return ``Late`` values."""
        late = zip(self.values, self.stamps.time.tolist(), lateness.tolist(), windows, strict=True)
        return self.with_values([Late(v, t, n, tuple(w)) for v, t, n, w in late])

    @property
    def nbytes(self) -> int:
        """A guess from the first value: what a Python value and its fields weigh."""
        if not self.values:
            return 0
        first = self.values[0]
        fields = first.values() if isinstance(first, dict) else getattr(first, "__struct_fields__", ())
        return len(self.values) * (sys.getsizeof(first) + 64 * len(fields))

    @classmethod
    def concat(cls, parts: Sequence[Rows]) -> Rows:
        """Return the parts one after another."""
        if len(parts) == 1:
            return parts[0]
        keyed = all(p.keys is not None for p in parts)
        return Rows(
            Stamps.concat([p.stamps for p in parts]),
            list(chain.from_iterable(p.values for p in parts)),
            list(chain.from_iterable(p.keys or () for p in parts)) if keyed else None,
        )


def pick(values: list[Any], rows: Index | Mask) -> list[Any]:
    """Return the chosen entries of a list, by mask, slice or positions."""
    if isinstance(rows, slice):
        return values[rows]
    if rows.dtype == np.bool_:
        return list(compress(values, rows.tolist()))
    return [values[i] for i in rows.tolist()]
