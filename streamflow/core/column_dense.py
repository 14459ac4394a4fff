"""States that are a few numbers per key: arrays addressed by slot.

What a partial keeps for ``sum``, ``mean``, ``variance``, ``stddev``, and for ``min`` and ``max`` of fixed width.  A
state starts neutral everywhere, so two partials merge as whole arrays; folding a run is one ``ufunc.at`` an array,
about 3 ns a row.

Which slot a key has, which rows are null and how many values a slot has had is the partial's business, not known here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt
import polars as pl

from streamflow.core.arrays import I64, Index, Mask
from streamflow.core.column_scan import Groups, Parts, Values, distinct
from streamflow.core.column_values import Form, to_array
from streamflow.errors import DataError

F64 = npt.NDArray[np.float64]

_LIMIT = 1 << 63


class DenseState(ABC):
    """The state of one aggregation for every slot of a partial.

    Attributes:
        columns: The names of its state columns (``core.folding``); ``n`` is the partial's.
        least: How many values a slot must have had for its result not to be null.
    """

    __slots__ = ()

    columns: ClassVar[tuple[str, ...]]
    least: int

    @abstractmethod
    def grow(self, capacity: int) -> None:
        """Make room for slots below ``capacity``."""

    def admit(self, slots: I64, values: Values) -> None:  # noqa: B027  # most take whatever comes
        """Raise, and change no result, if these values cannot be folded."""

    @abstractmethod
    def fold(self, slots: I64, values: Values) -> None:
        """Fold values, none of them null, into the slots beside them; ``admit`` has let them in."""

    @abstractmethod
    def each(self, groups: Groups, values: Values, is_value: Mask | None, counts: I64) -> Values:
        """Fold rows one by one; return the result after each.  ``admit`` has let them in.

        Args:
            groups: The rows by slot.
            values: One a row, anything where it is null.
            is_value: Which rows are not null; None where all are.
            counts: How many values the slot has had after each row.
        """

    @abstractmethod
    def merge(self, to: Index, other: Self, at: Index) -> None:
        """Merge the states of ``other`` at some slots into these, at as many distinct slots."""

    @abstractmethod
    def reset(self, at: I64) -> None:
        """Make some slots neutral again."""

    @abstractmethod
    def results(self, at: Index, counts: I64) -> Values:
        """Return the results at slots that have had so many values; anything where they are fewer than ``least``."""

    @abstractmethod
    def export(self, at: Index) -> list[Values]:
        """Return the state columns at some slots."""

    @abstractmethod
    def load(self, at: I64, columns: list[pl.Series], counts: I64) -> None:
        """Take state columns into slots that are neutral.

        ``counts`` are the numbers of values, where the state has them.
        """


@final
class Total(DenseState):
    """A sum: int64, or float64 once a float has come.  Ints are guarded: they never wrap."""

    columns: ClassVar[tuple[str, ...]] = ("total",)
    least = 0

    __slots__ = ("_bound", "_what", "total")

    def __init__(self, capacity: int, dtype: np.dtype[Any], what: str) -> None:
        self.total: Values = np.zeros(capacity, dtype=np.float64 if dtype.kind == "f" else np.int64)
        self._bound = 0
        """No int total is larger than this, in magnitude."""
        self._what = what

    def grow(self, capacity: int) -> None:
        self.total = grown(self.total, capacity)

    def admit(self, slots: I64, values: Values) -> None:
        if values.dtype.kind == "f":
            self._be_float()
        if self.total.dtype.kind == "f":
            return
        reach = len(values) * magnitude(values)
        self._bound = self._bound + reach if self._bound + reach < _LIMIT else self._checked_bound(slots, values, reach)

    def fold(self, slots: I64, values: Values) -> None:
        np.add.at(self.total, slots, values.astype(self.total.dtype, copy=False))

    def each(self, groups: Groups, values: Values, is_value: Mask | None, counts: I64) -> Values:
        added = values if is_value is None else np.where(is_value, values, 0)
        run = groups.running(np.add, self.total[groups.slots], added.astype(self.total.dtype, copy=False))
        self.total[groups.slots] = run[groups.last]
        return run

    def merge(self, to: Index, other: Self, at: Index) -> None:
        if "f" in (self.total.dtype.kind, other.total.dtype.kind):
            self._be_float()
        elif self._bound + other._bound < _LIMIT:
            self._bound += other._bound
        else:
            self._bound = self._in_range(self.total[to].astype(object) + other.total[at])
            self._bound = max(self._bound, magnitude(self.total))
        self.total[to] += other.total[at]

    def reset(self, at: I64) -> None:
        self.total[at] = 0

    def results(self, at: Index, counts: I64) -> Values:
        return self.total[at]

    def export(self, at: Index) -> list[Values]:
        return [self.total[at]]

    def load(self, at: I64, columns: list[pl.Series], counts: I64) -> None:
        total = columns[0].to_numpy()
        if total.dtype.kind == "f":
            self._be_float()
        self.total[at] = total
        self._bound = 0 if self.total.dtype.kind == "f" else magnitude(self.total)

    def _be_float(self) -> None:
        if self.total.dtype.kind != "f":
            self.total = self.total.astype(np.float64)

    def _checked_bound(self, slots: I64, values: Values, reach: int) -> int:
        """Return a bound by what the totals are; refuse values that would bring one out of range, be it on the way."""
        bound = magnitude(self.total) + reach
        if bound < _LIMIT:
            return bound
        groups = Groups(slots)
        run = groups.running(np.add, self.total[groups.slots].astype(object), values.astype(object))
        return max(self._in_range(run), magnitude(self.total))

    def _in_range(self, totals: Values) -> int:
        """Return the largest magnitude of exact totals.

        Raises:
            DataError: If one is not an int64.
        """
        for total in (totals.min(), totals.max()):
            if not -_LIMIT <= total < _LIMIT:
                raise DataError(
                    f"{self._what} leaves the range of 64-bit ints: {total}",
                    remedy="sum floats, or fewer or smaller values in a window",
                )
        return magnitude(totals)


@final
class Extreme(DenseState):
    """The smallest or largest number; NaN counts only where there is nothing else."""

    columns: ClassVar[tuple[str, ...]] = ("value",)
    least = 1

    __slots__ = ("_neutral", "_ufunc", "best")

    def __init__(self, capacity: int, dtype: np.dtype[Any], *, is_max: bool) -> None:
        self._neutral: Any
        self._ufunc: np.ufunc
        if dtype.kind == "f":
            self._ufunc, self._neutral = (np.fmax if is_max else np.fmin), np.nan
        else:
            limits = np.iinfo(dtype)
            self._ufunc, self._neutral = (np.maximum, limits.min) if is_max else (np.minimum, limits.max)
        self.best: Values = np.full(capacity, self._neutral, dtype=dtype)

    def grow(self, capacity: int) -> None:
        self.best = grown(self.best, capacity, self._neutral)

    def fold(self, slots: I64, values: Values) -> None:
        self._ufunc.at(self.best, slots, values)

    def each(self, groups: Groups, values: Values, is_value: Mask | None, counts: I64) -> Values:
        offered = values if is_value is None else np.where(is_value, values, self.best.dtype.type(self._neutral))
        run = groups.running(self._ufunc, self.best[groups.slots], offered)
        self.best[groups.slots] = run[groups.last]
        return run

    def merge(self, to: Index, other: Self, at: Index) -> None:
        self.best[to] = self._ufunc(self.best[to], other.best[at])

    def reset(self, at: I64) -> None:
        self.best[at] = self._neutral

    def results(self, at: Index, counts: I64) -> Values:
        return self.best[at]

    def export(self, at: Index) -> list[Values]:
        return [self.best[at]]

    def load(self, at: I64, columns: list[pl.Series], counts: I64) -> None:
        is_there = columns[0].is_not_null()
        self.best[at[is_there.to_numpy()]] = to_array(columns[0].filter(is_there), Form.RAW)


@final
class Mean(DenseState):
    """The mean, kept as the sum in floats."""

    columns: ClassVar[tuple[str, ...]] = ("total",)
    least = 1

    __slots__ = ("total",)

    def __init__(self, capacity: int) -> None:
        self.total: F64 = np.zeros(capacity)

    def grow(self, capacity: int) -> None:
        self.total = grown(self.total, capacity)

    def fold(self, slots: I64, values: Values) -> None:
        np.add.at(self.total, slots, values)

    def each(self, groups: Groups, values: Values, is_value: Mask | None, counts: I64) -> Values:
        added = values if is_value is None else np.where(is_value, values, 0.0)
        run = groups.running(np.add, self.total[groups.slots], added)
        self.total[groups.slots] = run[groups.last]
        return run / np.maximum(counts, 1)

    def merge(self, to: Index, other: Self, at: Index) -> None:
        self.total[to] += other.total[at]

    def reset(self, at: I64) -> None:
        self.total[at] = 0.0

    def results(self, at: Index, counts: I64) -> Values:
        mean: Values = self.total[at] / np.maximum(counts, 1)
        return mean

    def export(self, at: Index) -> list[Values]:
        return [self.total[at]]

    def load(self, at: I64, columns: list[pl.Series], counts: I64) -> None:
        self.total[at] = columns[0].to_numpy()


@final
class Spread(DenseState):
    """The variance or its root: mean and squared distances from it, merged as Chan, Golub and LeVeque (1979) do.

    A run is folded in two passes, first the mean of each slot's rows, then their distances from it.
    """

    columns: ClassVar[tuple[str, ...]] = ("mean", "m2")

    __slots__ = ("_ddof", "_is_root", "_parts", "least")

    def __init__(self, capacity: int, *, ddof: int, is_root: bool) -> None:
        self._ddof, self._is_root = ddof, is_root
        self.least = ddof + 1
        self._parts: Parts = (np.zeros(capacity), np.zeros(capacity), np.zeros(capacity))
        """Number of values, mean, sum of squared distances from the mean."""

    def grow(self, capacity: int) -> None:
        self._parts = tuple(grown(part, capacity) for part in self._parts)

    def fold(self, slots: I64, values: Values) -> None:
        at, places = distinct(slots, len(self._parts[0]))
        with np.errstate(all="ignore"):  # infinities come to NaN
            n = np.bincount(places, minlength=len(at)).astype(np.float64)
            mean = np.bincount(places, values, minlength=len(at)) / n
            off = values - mean[places]
            # What rounding has left of the mean's own distances is taken out again.
            m2 = (
                np.bincount(places, off * off, minlength=len(at)) - np.bincount(places, off, minlength=len(at)) ** 2 / n
            )
        self._merge(at, (n, mean, np.maximum(m2, 0.0)))

    def each(self, groups: Groups, values: Values, is_value: Mask | None, counts: I64) -> Values:
        n = np.ones(len(values)) if is_value is None else is_value.astype(np.float64)
        rows = (n, values * n if is_value is None else np.where(is_value, values, 0.0), np.zeros(len(values)))
        run = groups.scan(_joined, tuple(part[groups.slots] for part in self._parts), rows)
        for part, after in zip(self._parts, run, strict=True):
            part[groups.slots] = after[groups.last]
        return self._spread(run)

    def merge(self, to: Index, other: Self, at: Index) -> None:
        self._merge(to, tuple(part[at] for part in other._parts))

    def reset(self, at: I64) -> None:
        for part in self._parts:
            part[at] = 0.0

    def results(self, at: Index, counts: I64) -> Values:
        return self._spread(tuple(part[at] for part in self._parts))

    def export(self, at: Index) -> list[Values]:
        return [part[at] for part in self._parts[1:]]

    def load(self, at: I64, columns: list[pl.Series], counts: I64) -> None:
        for part, column in zip(self._parts, (counts, *(c.to_numpy() for c in columns)), strict=True):
            part[at] = column

    def _merge(self, to: Index, parts: Parts) -> None:
        for part, joined in zip(self._parts, _joined(tuple(part[to] for part in self._parts), parts), strict=True):
            part[to] = joined

    def _spread(self, parts: Parts) -> Values:
        n, _, m2 = parts
        variance: Values = m2 / np.maximum(n - self._ddof, 1)
        return np.sqrt(variance) if self._is_root else variance


def _joined(a: Parts, b: Parts) -> Parts:
    """Return number, mean and squared distances of the values of both."""
    n, mean, m2 = a
    m, other_mean, other_m2 = b
    with np.errstate(all="ignore"):  # infinities come to NaN
        total = n + m
        share = m / np.maximum(total, 1.0)
        delta = other_mean - mean
        return total, mean + delta * share, m2 + other_m2 + delta * delta * n * share


def grown(array: Values, capacity: int, neutral: Any = 0) -> Values:
    """Return the array with room for more; what is new is neutral."""
    wider = np.zeros(capacity, dtype=array.dtype) if not neutral else np.full(capacity, neutral, dtype=array.dtype)
    wider[: len(array)] = array
    return wider


def magnitude(numbers: Values) -> int:
    """Return the largest of the numbers without their signs, as a Python int, which cannot wrap."""
    return max(abs(int(numbers.min())), abs(int(numbers.max()))) if len(numbers) else 0
