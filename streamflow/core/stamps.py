"""What travels beside the payload of a batch: the same numpy columns in both layouts.

Knows times, watermarks and identities of rows; knows neither rows nor frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt

from streamflow.core.arrays import I8, I64, Index, Mask

UPSERT, DELETE = 0, 1
"""The values of ``kind``: the row sets what its key says, or deletes it."""


@final
@dataclass(frozen=True, slots=True)
class Stamps:
    """One entry per row in every column that is there.

    Attributes:
        time: Event time, microseconds.
        wm: The watermark of the row's own split just before the row (``semantics`` R1), microseconds.
        mark: The watermark of the whole source just before the row; kept only where a step asks for it.
        kind: ``UPSERT`` or ``DELETE`` on an upsert edge; None on an append edge.
        split: A stable 64-bit number of the row's split; kept only where a step orders rows by identity.
        position: The row's place in its split; kept with ``split``.  Rows derived from one row share it, in order.
    """

    time: I64
    wm: I64
    mark: I64 | None = None
    kind: I8 | None = None
    split: I64 | None = None
    position: I64 | None = None

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: Index | Mask) -> Stamps:
        """Return the stamps of these rows, in this order."""
        return Stamps(*(None if c is None else c[rows] for c in self._columns()))  # type: ignore[arg-type]  # time and wm are never None

    def repeat(self, counts: I64) -> Stamps:
        """Return each row's stamps ``counts[i]`` times."""
        return Stamps(*(None if c is None else np.repeat(c, counts) for c in self._columns()))  # type: ignore[arg-type]  # as above

    def with_kind(self, kind: I8 | None) -> Stamps:
        """Return the same stamps on another kind of edge."""
        return replace(self, kind=kind)

    def with_mark(self, mark: I64) -> Stamps:
        """Return the same stamps with another step's watermark beside each row."""
        return replace(self, mark=mark)

    def identity_order(self) -> I64:
        """Return the order by event time, then identity; rows derived from one row stay in order."""
        if self.position is None or self.split is None:
            return np.argsort(self.time, kind="stable")
        return np.lexsort((self.position, self.split, self.time))

    def _columns(self) -> tuple[npt.NDArray[np.int64] | I8 | None, ...]:
        return self.time, self.wm, self.mark, self.kind, self.split, self.position

    @staticmethod
    def concat(parts: Sequence[Stamps]) -> Stamps:
        """Return the parts one after another; a column must be there in all or in none."""
        if len(parts) == 1:
            return parts[0]
        columns = zip(*(p._columns() for p in parts), strict=True)  # noqa: SLF001  # of our own class
        return Stamps(*(None if any(c is None for c in cs) else np.concatenate(cs) for cs in columns))  # type: ignore[arg-type]  # as above

    @staticmethod
    def at(time: int, wm: int, rows: int) -> Stamps:
        """Return the stamps of ``rows`` rows that a watermark fired: one time, the last watermark forwarded."""
        return Stamps(np.full(rows, time, dtype=np.int64), np.full(rows, wm, dtype=np.int64))


def constant(value: int, rows: int) -> I64:
    """Return a column that says the same for each row."""
    return np.full(rows, value, dtype=np.int64)
