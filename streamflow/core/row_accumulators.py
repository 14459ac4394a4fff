"""Accumulators of the row layout: how each kind of aggregation is kept as one Python value per key.

The states of an aggregation are a dict by key, so that folding a run is one tight loop over keys and values.  States
are numbers and tuples wherever they can be: they cost the garbage collector nothing, and merging may share them.  What
is mutable is copied where it would be shared.

``step`` says what one more row means; ``fold`` is the same for a run of rows, faster.

Here are the kinds that add numbers up; ``row_kinds`` knows where the others are.  Knows no pane, no window and no
checkpoint file.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, final

import polars as pl

from streamflow.core.aggregation import Aggregate
from streamflow.core.row_reading import Column, Reading, shown
from streamflow.core.row_values import LEAST_INT, MOST_INT
from streamflow.errors import DataError

S = TypeVar("S")
States = dict[Any, S]


class Accumulator(ABC, Generic[S]):
    """One aggregation of a step, over the states of all keys of a partial.

    Attributes:
        what: The aggregation's name, for messages.
        can_overflow: Whether ``step`` refuses a row that brings an int beyond 64 bits.
        is_users: Whether ``step`` runs a function of the user's, and may raise anything.
    """

    __slots__ = ("what",)

    can_overflow = False
    is_users = False

    def __init__(self, what: str) -> None:
        self.what = what

    def empty(self) -> States[S]:
        """Return the states of no keys, as a dict of the kind that ``fold`` is fastest with."""
        return {}

    @abstractmethod
    def read(self, reading: Reading) -> Column:
        """Return what the aggregation needs of each row; refuse the rows that do not have it."""

    @abstractmethod
    def new(self) -> S:
        """Return the state of no rows."""

    @abstractmethod
    def step(self, state: S, value: Any) -> S:
        """Return the state after one more row; it may be the same object, changed."""

    def fold(self, states: States[S], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool) -> None:
        """Fold a run of rows that no overflow can refuse; ``is_clean`` says that no value is None."""
        step, new = self.step, self.new
        for key, value in zip(keys, values, strict=True):
            states[key] = step(states[key] if key in states else new(), value)

    def each(self, states: States[S], keys: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """Fold a run of rows that no overflow can refuse; return what ``peek`` says after each."""
        step, new, peek, seen = self.step, self.new, self.peek, list[Any]()
        for key, value in zip(keys, values, strict=True):
            state = states[key] = step(states[key] if key in states else new(), value)
            seen.append(peek(state))
        return seen

    def try_fold(self, states: States[S], keys: Sequence[Any], values: Sequence[Any]) -> list[tuple[int, Exception]]:
        """Fold a run of rows; return the places on which a function of the user's raised, which are left out."""
        self.fold(states, keys, values, is_clean=False)
        return []

    def try_each(
        self, states: States[S], keys: Sequence[Any], values: Sequence[Any]
    ) -> tuple[list[Any], list[tuple[int, Exception]]]:
        """Fold a run of rows; return what ``peek`` says after each, and the places that are left out."""
        return self.each(states, keys, values), []

    @abstractmethod
    def merge(self, state: S, other: S) -> S:
        """Return the state of both; ``state`` may be changed, ``other`` is not, nor is anything mutable of it kept."""

    def copy(self, state: S) -> S:
        """Return a state that later steps do not change."""
        return state

    def absorb(self, states: States[S], others: States[S]) -> None:
        """Merge the states of other keys and rows into these."""
        merge, copy = self.merge, self.copy
        for key, other in others.items():
            states[key] = merge(states[key], other) if key in states else copy(other)

    def peek(self, state: S) -> Any:
        """Return what ``finish`` needs of a state, and what later steps do not change."""
        return state

    def finish(self, peeked: list[Any]) -> list[Any]:
        """Return the results of the states that were peeked at."""
        return peeked

    def bound(self, states: Iterable[S]) -> int:
        """Return the largest int total, in magnitude."""
        return 0

    @abstractmethod
    def export(self, states: list[S]) -> dict[str, pl.Series]:
        """Return the state columns (``core.folding``)."""

    @abstractmethod
    def load(self, columns: dict[str, pl.Series]) -> list[S]:
        """Return the states that either layout exported."""


@final
class _Count(Accumulator[int]):
    """The number of rows, or of those that are not None."""

    __slots__ = ("_reads",)

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__("count")
        self._reads = aggregate.reads

    def empty(self) -> States[int]:
        # A Counter counts in C.
        return Counter()

    def read(self, reading: Reading) -> Column:
        if self._reads is None:
            return Column([1] * len(reading.values))
        return Column([int(value is not None) for value in reading.apply(self._reads, self.what)])

    def new(self) -> int:
        return 0

    def step(self, state: int, value: Any) -> int:
        return state + int(value)

    def fold(self, states: States[int], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool) -> None:
        if self._reads is None and isinstance(states, Counter):
            states.update(keys)
        else:
            add_up(states, keys, values)

    def each(self, states: States[int], keys: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        return run_up(states, keys, values)

    def merge(self, state: int, other: int) -> int:
        return state + other

    def absorb(self, states: States[int], others: States[int]) -> None:
        add_up(states, others.keys(), others.values())

    def export(self, states: list[int]) -> dict[str, pl.Series]:
        return {"n": pl.Series(states, dtype=pl.Int64)}

    def load(self, columns: dict[str, pl.Series]) -> list[int]:
        return columns["n"].to_list()


@final
class _Sum(Accumulator[Any]):
    """The sum: an int while all are ints, else a float; 0 where all are None.

    Ints are added without a limit and checked against 64 bits, so a sum never wraps.  Whether it is a float depends on
    the pane's rows alone, not on their order.  A pane of ints that is stored beside a pane of floats becomes a float,
    equal to it below 2**53: a checkpoint's column has one type.
    """

    __slots__ = ("_reads",)

    can_overflow = True

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__("sum")
        self._reads = aggregate.reads

    def read(self, reading: Reading) -> Column:
        column = reading.numbers(reading.apply(self._reads, self.what), self.what)
        if not column.is_clean:
            column.values = [0 if value is None else value for value in column.values]
        return column

    def new(self) -> Any:
        return 0

    def step(self, state: Any, value: Any) -> Any:
        return require_word(state + value, self.what)

    def fold(self, states: States[Any], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool) -> None:
        add_up(states, keys, values)

    def each(self, states: States[Any], keys: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        return run_up(states, keys, values)

    def merge(self, state: Any, other: Any) -> Any:
        return state + other

    def absorb(self, states: States[Any], others: States[Any]) -> None:
        add_up(states, others.keys(), others.values())

    def finish(self, peeked: list[Any]) -> list[Any]:
        if self.bound(peeked) > MOST_INT:
            for total in peeked:
                require_word(total, self.what)
        return peeked

    def bound(self, states: Iterable[Any]) -> int:
        return max((abs(total) for total in states if type(total) is int), default=0)

    def export(self, states: list[Any]) -> dict[str, pl.Series]:
        return {"total": totals(self.finish(states))}

    def load(self, columns: dict[str, pl.Series]) -> list[Any]:
        return columns["total"].to_list()


@final
class _Mean(Accumulator[tuple[float, int]]):
    """The mean: the total as a float, and the number of values."""

    __slots__ = ("_reads",)

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__("mean")
        self._reads = aggregate.reads

    def read(self, reading: Reading) -> Column:
        return reading.numbers(reading.apply(self._reads, self.what), self.what)

    def new(self) -> tuple[float, int]:
        return 0.0, 0

    def step(self, state: tuple[float, int], value: Any) -> tuple[float, int]:
        return state if value is None else (state[0] + value, state[1] + 1)

    def fold(
        self, states: States[tuple[float, int]], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool
    ) -> None:
        if not is_clean:
            super().fold(states, keys, values, is_clean=False)
            return
        get, nothing = states.get, self.new()
        for key, value in zip(keys, values, strict=True):
            total, n = get(key, nothing)
            states[key] = (total + value, n + 1)

    def merge(self, state: tuple[float, int], other: tuple[float, int]) -> tuple[float, int]:
        return state[0] + other[0], state[1] + other[1]

    def finish(self, peeked: list[Any]) -> list[Any]:
        return [total / n if n else None for total, n in peeked]

    def export(self, states: list[tuple[float, int]]) -> dict[str, pl.Series]:
        return {
            "total": pl.Series([total for total, _ in states], dtype=pl.Float64),
            "n": pl.Series([n for _, n in states], dtype=pl.Int64),
        }

    def load(self, columns: dict[str, pl.Series]) -> list[tuple[float, int]]:
        return list(zip(columns["total"].cast(pl.Float64).to_list(), columns["n"].to_list(), strict=True))


Moments = tuple[int, float, float]
"""How many values, their mean, and the sum of the squares of their distances from it."""


@final
class _Variance(Accumulator[Moments]):
    """The variance or its root: Welford's step, and the merge of Chan, Golub and LeVeque."""

    __slots__ = ("_ddof", "_is_root", "_reads")

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__(aggregate.kind)
        self._reads = aggregate.reads
        self._is_root = aggregate.kind == "stddev"
        self._ddof = int(aggregate.options.get("ddof", 1))

    def read(self, reading: Reading) -> Column:
        return reading.numbers(reading.apply(self._reads, self.what), self.what)

    def new(self) -> Moments:
        return 0, 0.0, 0.0

    def step(self, state: Moments, value: Any) -> Moments:
        if value is None:
            return state
        n, mean, m2 = state
        n += 1
        delta = value - mean
        mean += delta / n
        return n, mean, m2 + delta * (value - mean)

    def fold(self, states: States[Moments], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool) -> None:
        if not is_clean:
            super().fold(states, keys, values, is_clean=False)
            return
        get, nothing = states.get, self.new()
        for key, value in zip(keys, values, strict=True):
            n, mean, m2 = get(key, nothing)
            n += 1
            delta = value - mean
            mean += delta / n
            states[key] = (n, mean, m2 + delta * (value - mean))

    def merge(self, state: Moments, other: Moments) -> Moments:
        (n, mean, m2), (m, other_mean, other_m2) = state, other
        if not n or not m:
            return state if n else other
        delta, total = other_mean - mean, n + m
        return total, mean + delta * (m / total), m2 + other_m2 + delta * delta * (n * m / total)

    def finish(self, peeked: list[Any]) -> list[Any]:
        spread = [m2 / (n - self._ddof) if n > self._ddof else None for n, _, m2 in peeked]
        return [value if value is None else math.sqrt(value) for value in spread] if self._is_root else spread

    def export(self, states: list[Moments]) -> dict[str, pl.Series]:
        return {
            "n": pl.Series([n for n, _, _ in states], dtype=pl.Int64),
            "mean": pl.Series([mean for _, mean, _ in states], dtype=pl.Float64),
            "m2": pl.Series([m2 for _, _, m2 in states], dtype=pl.Float64),
        }

    def load(self, columns: dict[str, pl.Series]) -> list[Moments]:
        return list(zip(*(columns[name].to_list() for name in ("n", "mean", "m2")), strict=True))


def add_up(states: States[Any], keys: Iterable[Any], values: Iterable[Any]) -> None:
    """Add each value to the state of its key."""
    get = states.get
    for key, value in zip(keys, values, strict=True):
        states[key] = get(key, 0) + value


def run_up(states: States[Any], keys: Iterable[Any], values: Iterable[Any]) -> list[Any]:
    """Add each value to the state of its key; return the total after each."""
    get, seen = states.get, list[Any]()
    append = seen.append
    for key, value in zip(keys, values, strict=True):
        states[key] = total = get(key, 0) + value
        append(total)
    return seen


def is_nan_free(numbers: list[Any]) -> bool:
    """Return whether there is no NaN among numbers; maybe False where there are infinities of both signs."""
    total = sum(numbers)
    return bool(total == total)


def require_word(total: Any, what: str) -> Any:
    """Return a total if it is a float or an int of 64 bits.

    Raises:
        DataError: If it is a larger int.
    """
    if type(total) is int and not LEAST_INT <= total <= MOST_INT:
        raise DataError(
            f"{what} leaves the range of 64-bit ints: {shown(total)}",
            remedy="sum floats, or fewer or smaller values in a window",
        )
    return total


def totals(values: list[Any]) -> pl.Series:
    """Return totals as a column: Int64 where all are ints, else Float64."""
    is_whole = float not in set(map(type, values))
    return pl.Series(values if is_whole else list(map(float, values)), dtype=pl.Int64 if is_whole else pl.Float64)


NUMBERS: Mapping[str, Callable[[Aggregate[Any, Any]], Accumulator[Any]]] = {
    "count": _Count,
    "sum": _Sum,
    "mean": _Mean,
    "variance": _Variance,
    "stddev": _Variance,
}
"""What builds the accumulator of each kind here."""
