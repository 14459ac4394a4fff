"""Reading rows for aggregation: apply a user's function to a batch, check what it gives, name the rows that fail.

The fast path costs one pass in C: ``map`` for the function, and one ``msgspec.convert`` that only checks.  Rows are
looked at one by one only where a batch holds a surprise.  No function is called twice for a row.

Knows no key, no pane and no state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import repeat
from types import NoneType
from typing import Annotated, Any, final

import msgspec
import numpy as np

from streamflow.core.connector import Refused
from streamflow.core.row_values import LEAST_INT, MOST_INT
from streamflow.core.rows import Rows
from streamflow.errors import DataError

_SMALL = 1 << 40
_SMALL_NUMBERS = list[Annotated[int, msgspec.Meta(ge=-_SMALL, le=_SMALL)] | float]

Identity = tuple[int, int, int]
"""Event time, split and position: the order of rows for what is ordered (R3)."""


@final
@dataclass(slots=True)
class Column:
    """What one aggregation reads of each row of a batch.

    Attributes:
        values: One entry per row.
        is_clean: Whether no entry is None, as far as one pass can tell.
        bound: No int among the entries is larger than this in magnitude.
    """

    values: list[Any]
    is_clean: bool = True
    bound: int = 0


@final
@dataclass(slots=True)
class Reading:
    """A batch while it is read: its values, and the rows refused so far, each for its first reason."""

    batch: Rows
    refused: dict[int, Refused] = field(default_factory=dict)
    _identities: list[Identity] | None = None

    @property
    def values(self) -> list[Any]:
        """The rows themselves."""
        return self.batch.values

    @property
    def identities(self) -> list[Identity]:
        """The event time, split and position of each row; 0 for what the batch does not carry."""
        if self._identities is None:
            stamps = self.batch.stamps
            splits: Iterable[int] = repeat(0) if stamps.split is None else stamps.split.tolist()
            positions: Iterable[int] = repeat(0) if stamps.position is None else stamps.position.tolist()
            self._identities = list(zip(stamps.time.tolist(), splits, positions, strict=False))
        return self._identities

    def refuse(self, row: int, error: Exception, what: str) -> None:
        """Leave a row out."""
        if row not in self.refused:
            self.refused[row] = refusal(row, error, what, self.values[row])

    def apply(self, function: Callable[[Any], Any] | None, what: str) -> list[Any]:
        """Return a new list of what the function gives for each row, None for the rows on which it raises."""
        if function is None:
            return list(self.values)
        rows, out = iter(self.values), list[Any]()
        while True:
            try:
                # What was appended before an exception stays, so the length says which row raised it.
                out.extend(map(function, rows))
                if len(out) == len(self.values):
                    return out
                error: Exception = DataError("the function raised StopIteration")
            except Exception as raised:  # noqa: BLE001  # whatever a user's function raises is the row's fault, and is kept
                error = raised
            self.refuse(len(out), error, what)
            out.append(None)

    def convert(self, values: list[Any], function: Callable[[Any], Any], what: str) -> None:
        """Replace each value in place; None for those on which the function raises ``DataError``."""
        for row, value in enumerate(values):
            try:
                values[row] = None if value is None else function(value)
            except DataError as error:
                self.refuse(row, error, what)
                values[row] = None

    def numbers(self, values: list[Any], what: str) -> Column:
        """Return the values as ints within 64 bits, floats and None; refuse the rows where they are something else."""
        try:
            msgspec.convert(values, _SMALL_NUMBERS)
        except msgspec.ValidationError:
            if not set(map(type, values)) <= {int, float, NoneType}:
                self.convert(values, number, what)
            if (bound := _largest(values)) > MOST_INT:
                self.convert(values, number, what)
                bound = _largest(values)
            return Column(values, is_clean=None not in values, bound=bound)
        return Column(values, bound=_SMALL)


def refusal(row: int, error: Exception, what: str, raw: Any) -> Refused:
    """Return the refusal of a row by the aggregation, or the part of the step, that is named."""
    reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    return Refused(row, f"{what}: {reason}", raw, error)


def _largest(values: list[Any]) -> int:
    return max((abs(value) for value in values if type(value) is int), default=0)


def number(value: Any) -> int | float:
    """Return a plain int within 64 bits or a float.

    Raises:
        DataError: If it is no number, or a bool, or does not fit.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DataError(
            f"expected a number or None, got {type(value).__name__} {shown(value)}",
            remedy="convert it with int() or float() in the function",
        )
    if not LEAST_INT <= value <= MOST_INT:
        raise DataError(f"expected an int of 64 bits, got {shown(value)}", remedy="convert it with float()")
    return int(value)


def shown(value: object) -> str:
    """Return how a value looks, cut to what a message can hold."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
