"""The sum that rounds once: ``sum(exact=True)`` in the row layout.

Every finite float is a whole multiple of 2**-1074, so a sum of floats is kept as one Python int and is exact whatever
the order, the cut or the size of what cancels.  Dividing it at the end rounds correctly.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any, final

import polars as pl

from streamflow.core.aggregation import Aggregate
from streamflow.core.row_accumulators import Accumulator, require_word, totals
from streamflow.core.row_reading import Column, Reading
from streamflow.core.row_values import chained, flatten, nest, regroup

_SHIFT = 1074  # the smallest float is 2**-1074
_ONE = 1 << _SHIFT

Total = tuple[int, float | None]
"""The sum of the finite numbers in units of 2**-1074; and None while all are ints, 0.0 while all are finite, else the
sum of those that are not."""


@final
class _ExactSum(Accumulator[Total]):
    """The sum, correctly rounded: an int while all are ints, else a float; 0 where all are None."""

    __slots__ = ("_reads",)

    can_overflow = True

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__("sum")
        self._reads = aggregate.reads

    def read(self, reading: Reading) -> Column:
        column = reading.numbers(reading.apply(self._reads, self.what), self.what)
        return Column([_unit(value) for value in column.values], bound=column.bound)

    def new(self) -> Total:
        return 0, None

    def step(self, state: Total, value: Total) -> Total:
        total = self.merge(state, value)
        if total[1] is None:
            require_word(total[0] >> _SHIFT, self.what)
        return total

    def merge(self, state: Total, other: Total) -> Total:
        units, special = state
        other_units, other_special = other
        if special is None or other_special is None:
            return units + other_units, other_special if special is None else special
        return units + other_units, special + other_special

    def finish(self, peeked: list[Any]) -> list[Any]:
        return [require_word(_rounded(total), self.what) for total in peeked]

    def bound(self, states: Iterable[Total]) -> int:
        return max((abs(units) >> _SHIFT for units, special in states if special is None), default=0)

    def export(self, states: list[Total]) -> dict[str, pl.Series]:
        parts = [_parts(total) for total in states]
        return {
            "total": totals(self.finish(states)),
            "partials": nest(pl.Series(chained(parts), dtype=pl.Float64), list(map(len, parts))),
        }

    def load(self, columns: dict[str, pl.Series]) -> list[Total]:
        if columns["total"].dtype.is_integer() or "partials" not in columns:
            return [_unit(total) for total in columns["total"].to_list()]
        flat, lengths = flatten(columns["partials"])
        loaded: list[Total] = []
        for parts in regroup(flat.to_list(), lengths):
            total: Total = (0, 0.0)
            for part in parts:
                total = self.merge(total, _unit(part))
            loaded.append(total)
        return loaded


def exact_sum(aggregate: Aggregate[Any, Any]) -> Accumulator[Total]:
    """Return the accumulator of ``sum(exact=True)``."""
    return _ExactSum(aggregate)


def _unit(value: Any) -> Total:
    """Return one number as a total; None counts nothing."""
    if value is None:
        return 0, None
    if type(value) is int:
        return value << _SHIFT, None
    if not math.isfinite(value):
        return 0, value
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_SHIFT + 1 - denominator.bit_length()), 0.0


def _rounded(total: Total) -> int | float:
    units, special = total
    if special is None:
        return units >> _SHIFT
    return special or _quotient(units)


def _quotient(units: int) -> float:
    try:
        return units / _ONE
    except OverflowError:
        return math.inf if units > 0 else -math.inf


def _parts(total: Total) -> list[float]:
    """Return floats whose exact sum is the total, the largest first."""
    units, special = total
    if special:
        return [special]
    parts: list[float] = []
    while units:
        part = max(-sys.float_info.max, min(_quotient(units), sys.float_info.max))
        parts.append(part)
        units -= _unit(part)[0]
    return parts
