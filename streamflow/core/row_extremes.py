"""The smallest and the largest value in the row layout.

None is passed over, and NaN wherever there is anything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import polars as pl

from streamflow.core.aggregation import Aggregate
from streamflow.core.row_accumulators import Accumulator, States, is_nan_free
from streamflow.core.row_reading import Column, Reading
from streamflow.core.row_types import ValueType


@final
class _Extreme(Accumulator[Any]):
    """The smallest or largest value; None where all are None, NaN where all others are."""

    __slots__ = ("_is_max", "_reads", "_type")

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__(aggregate.kind)
        self._reads = aggregate.reads
        self._is_max = aggregate.kind == "max"
        self._type = ValueType(self.what)

    def read(self, reading: Reading) -> Column:
        column = self._type.read(reading, reading.apply(self._reads, self.what))
        if self._type.is_number and not (column.is_clean and is_nan_free(column.values)):
            return Column([_ONLY_NAN if value != value else value for value in column.values], is_clean=False)
        return column

    def new(self) -> Any:
        return None

    def step(self, state: Any, value: Any) -> Any:
        if value is None:
            return state
        if state is None or state is _ONLY_NAN:
            return value
        if value is _ONLY_NAN:
            return state
        return value if (value > state if self._is_max else value < state) else state

    def fold(self, states: States[Any], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool) -> None:
        get = states.get
        if not is_clean:
            super().fold(states, keys, values, is_clean=False)
        elif self._is_max:
            for key, value in zip(keys, values, strict=True):
                state = get(key)
                if state is None or value > state:
                    states[key] = value
        else:
            for key, value in zip(keys, values, strict=True):
                state = get(key)
                if state is None or value < state:
                    states[key] = value

    def merge(self, state: Any, other: Any) -> Any:
        return self.step(state, other)

    def finish(self, peeked: list[Any]) -> list[Any]:
        return [math.nan if value is _ONLY_NAN else value for value in peeked]

    def export(self, states: list[Any]) -> dict[str, pl.Series]:
        return {"value": self._type.series(self.finish(states))}

    def load(self, columns: dict[str, pl.Series]) -> list[Any]:
        values = columns["value"].to_list()
        self._type.learn(values)
        return [_ONLY_NAN if value != value else value for value in values]


class _OnlyNaN:
    """What stands for NaN in an extreme: every value is both smaller and larger, so the first one replaces it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "nan"

    def __lt__(self, other: object) -> bool:
        return True

    __gt__ = __lt__


_ONLY_NAN = _OnlyNaN()


EXTREMES: Mapping[str, Callable[[Aggregate[Any, Any]], Accumulator[Any]]] = {"min": _Extreme, "max": _Extreme}
"""What builds the accumulator of each kind here."""
