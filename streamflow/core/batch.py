"""``Batch``: the only container between steps, and the place where rows and columns meet.

A batch is a payload and the stamps beside it.  The payload is a list of Python values (``Rows``) or a polars frame
(``Columns``); the stamps are the same numpy columns in both.  Every other file sees only the methods below, so that
watermarks, lateness, firing, checkpoints and tests are written once.

Batches are immutable: a step returns new ones and never changes one it was given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from streamflow.core.arrays import I64, Index, Mask
from streamflow.core.stamps import Stamps


class Layout(Enum):
    """How a batch holds its payload."""

    ROWS = "rows"
    COLUMNS = "columns"


@dataclass(frozen=True, slots=True)
class Batch(ABC):
    """Rows that travel together; ``stamps`` has one entry per row of the payload."""

    stamps: Stamps

    def __len__(self) -> int:
        return len(self.stamps.time)

    @property
    def times(self) -> I64:
        """The event times, microseconds."""
        return self.stamps.time

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """Which of the two it is."""

    @abstractmethod
    def take(self, rows: Index | Mask) -> Self:
        """Return these rows, in this order."""

    @abstractmethod
    def with_stamps(self, stamps: Stamps) -> Self:
        """Return the same payload beside other stamps."""

    @abstractmethod
    def key_of(self, row: int) -> Any:
        """Return the key of one row as a Python value, for messages; None where it has none."""

    @abstractmethod
    def to_values(self) -> list[Any]:
        """Return the payload as Python values, one a row."""

    @abstractmethod
    def as_late(self, lateness: I64, windows: Sequence[Sequence[tuple[int, int]]]) -> Self:
        """Return what the late output gets: each row, how late it was (microseconds) and the windows it missed."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """About how many bytes the payload holds."""

    @classmethod
    @abstractmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Return the parts one after another."""
