"""Long states that pick rows: by event time and identity, or by what is compared, ties by that.

Each kind orders the rows of a key from best to worst and keeps the best, the best ``k``, or all.  Equals that even
identity does not tell apart (rows derived from one row) stay in the order in which they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64, Mask
from streamflow.core.column_run import Picked
from streamflow.core.column_scan import Groups, Values, lengths_of, stable_order
from streamflow.core.column_values import Form, flatten, is_fixed_width, nest, to_array

_PARTS = ("time", "split", "position")


@final
@dataclass(frozen=True, slots=True)
class Records:
    """Rows: the code of their key, their identity, their value.

    And what they are compared by where it is something else.
    """

    codes: I64
    time: I64
    split: I64
    position: I64
    value: pl.Series
    by: pl.Series | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: I64) -> Records:
        """Return some rows."""
        return Records(
            self.codes[rows],
            self.time[rows],
            self.split[rows],
            self.position[rows],
            self.value[rows],
            None if self.by is None else self.by[rows],
        )

    def recoded(self, codes: I64) -> Records:
        """Return the same rows under other codes."""
        return replace(self, codes=codes)

    @staticmethod
    def concat(parts: Sequence[Records]) -> Records:
        """Return the rows one after another; at least one part."""
        if len(parts) == 1:
            return parts[0]
        return Records(
            np.concatenate([p.codes for p in parts]),
            np.concatenate([p.time for p in parts]),
            np.concatenate([p.split for p in parts]),
            np.concatenate([p.position for p in parts]),
            pl.concat([p.value for p in parts]),
            pl.concat([p.by for p in parts if p.by is not None]) if parts[0].by is not None else None,
        )

    @property
    def compared(self) -> pl.Series:
        """What rows are compared by."""
        return self.value if self.by is None else self.by

    def identity(self) -> dict[str, I64]:
        """Return event time, split and position."""
        return {"time": self.time, "split": self.split, "position": self.position}


class _Picking:
    """What all kinds here share.

    Args:
        reads: The place of the input that is taken.
        by: That of the input that is compared; None where it is what is taken, or nothing is compared.
        dtype: The type of what is taken.
        by_dtype: That of what is compared, where it is something else.
    """

    compares = False
    """Whether rows are compared by value; those whose value is null or NaN are then passed over."""
    is_descending = False
    """Whether the largest is the best."""

    def __init__(self, reads: int, by: int | None, dtype: pl.DataType, by_dtype: pl.DataType | None) -> None:
        self._reads, self._by = reads, by
        self._dtype, self._by_dtype = dtype, by_dtype

    def digest(self, picked: Picked) -> Records:
        kept = self.kept(picked)
        some = picked if kept is None else picked.at(kept)
        return Records(
            some.codes,
            some.stamps.time,
            some.split(),
            some.position(),
            some.series(self._reads),
            None if self._by is None else some.series(self._by),
        )

    def kept(self, picked: Picked) -> I64 | None:
        """Return the places of the rows that count; None where all do."""
        if not self.compares:
            return None
        place = self._reads if self._by is None else self._by
        is_kept = picked.present(place)
        if picked.run.series[place].dtype.is_float():
            is_number: Mask = ~np.isnan(picked.array(place, Form.RAW))
            is_kept = is_number if is_kept is None else is_kept & is_number
        return None if is_kept is None or is_kept.all() else np.flatnonzero(is_kept)

    def join(self, tables: Sequence[Records]) -> Records:
        if tables:
            return Records.concat(tables)
        none = np.zeros(0, dtype=np.int64)
        by = None if self._by_dtype is None else pl.Series(dtype=self._by_dtype)
        return Records(none, none, none, none, pl.Series(dtype=self._dtype), by)

    def pack(self, table: Records) -> Records:
        return table.take(self.best(table, self.order(table)))

    def order(self, table: Records) -> I64:
        """Return the order of the rows: by code, the best of each first."""
        keys: list[Values] = [table.position, table.split, table.time]
        if self.compares:
            keys.append(_rank(table.compared, is_descending=self.is_descending))
        return _order(table.codes, keys)

    def best(self, table: Records, order: I64) -> I64:
        """Return what to keep of rows in that order."""
        return order

    def each(self, packed: Records, rows: Records, picked: Picked, groups: Groups) -> pl.Series | None:
        return None


class _OneBest(_Picking):
    """Kinds that keep one row a key, and tell its value."""

    columns: ClassVar[tuple[str, ...]] = ("value", *_PARTS)
    takes_last = False
    """Whether the best is the last in the order."""

    def best(self, table: Records, order: I64) -> I64:
        codes = table.codes[order]
        is_best = np.ones(len(codes), dtype=np.bool_)
        np.not_equal(codes[1:], codes[:-1], out=is_best[:-1] if self.takes_last else is_best[1:])
        return order[is_best]

    def results(self, packed: Records, codes: I64) -> pl.Series:
        return gathered(packed.value, *_places(packed.codes, codes))

    def export(self, packed: Records, codes: I64) -> list[pl.Series]:
        places, is_there = _places(packed.codes, codes)
        columns: dict[str, Any] = {"value": packed.value, "by": packed.by} | {
            name: pl.Series(part) for name, part in packed.identity().items()
        }
        return [gathered(columns[name], places, is_there) for name in self.columns]

    def load(self, codes: I64, columns: list[pl.Series]) -> Records:
        given = dict(zip(self.columns, columns, strict=True))
        is_there = given[self.columns[-1]].is_not_null()
        some = {name: column.filter(is_there) for name, column in given.items()}
        identity = {name: some[name].to_numpy() for name in _PARTS}
        return Records(codes[is_there.to_numpy()], **identity, value=some["value"], by=some.get("by"))

    def each(self, packed: Records, rows: Records, picked: Picked, groups: Groups) -> pl.Series | None:
        """Give every row its rank among the state's and the batch's; the running best rank says which row it is."""
        table = self.join([packed, rows])
        order = self.order(table)
        ufunc, none = (np.maximum, -1) if self.takes_last else (np.minimum, len(order))
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order))
        places, is_there = _places(packed.codes, picked.codes[groups.last])
        initial = np.where(is_there, ranks[: len(packed)].take(places, mode="clip") if len(packed) else none, none)
        kept = self.kept(picked)
        offered = np.full(len(picked), none, dtype=np.int64)
        offered[slice(None) if kept is None else kept] = ranks[len(packed) :]
        best = groups.running(ufunc, initial, offered)
        has_one = best != none
        return gathered(table.value, order.take(best, mode="clip") if len(order) else best, has_one)


@final
class First(_OneBest):
    """The value of the first row, be it null."""


@final
class Last(_OneBest):
    """The value of the last row, be it null."""

    takes_last = True


@final
class ArgExtreme(_OneBest):
    """The value of the row with the largest or smallest ``by``; of equals, the earliest."""

    columns: ClassVar[tuple[str, ...]] = ("value", "by", *_PARTS)
    compares = True

    def __init__(self, reads: int, by: int, dtype: pl.DataType, by_dtype: pl.DataType, *, is_max: bool) -> None:
        super().__init__(reads, by, dtype, by_dtype)
        self.is_descending = is_max


@final
class LongExtreme(_OneBest):
    """The smallest or largest of values of no fixed width."""

    columns: ClassVar[tuple[str, ...]] = ("value",)
    compares = True

    def __init__(self, reads: int, dtype: pl.DataType, *, is_max: bool) -> None:
        super().__init__(reads, None, dtype, None)
        self.is_descending = is_max

    def load(self, codes: I64, columns: list[pl.Series]) -> Records:
        is_there = columns[0].is_not_null()
        mine = codes[is_there.to_numpy()]
        nothing = np.zeros_like(mine)
        return Records(mine, nothing, nothing, nothing, columns[0].filter(is_there))


class _Several(_Picking):
    """Kinds that keep a list of rows a key, and tell their values."""

    columns: ClassVar[tuple[str, ...]] = ("items",)

    def results(self, packed: Records, codes: I64) -> pl.Series:
        return nest(packed.value, lengths_of(packed.codes, codes))

    def export(self, packed: Records, codes: I64) -> list[pl.Series]:
        fields = {name: pl.Series(part) for name, part in packed.identity().items()} | {"value": packed.value}
        if packed.by is not None:
            fields["by"] = packed.by
        return [nest(pl.DataFrame(fields).to_struct(), lengths_of(packed.codes, codes))]

    def load(self, codes: I64, columns: list[pl.Series]) -> Records:
        flat, lengths = flatten(columns[0])
        fields = flat.struct.unnest()
        identity = {name: fields.get_column(name).to_numpy() for name in _PARTS}
        by = fields.get_column("by") if self._by_dtype is not None else None
        return Records(np.repeat(codes, lengths), **identity, value=fields.get_column("value"), by=by)


@final
class Collect(_Several):
    """All values, by event time, then identity."""


@final
class TopK(_Several):
    """The ``k`` largest values, or those of the rows with the largest ``by``; of equals, the earliest first."""

    compares = True
    is_descending = True

    def __init__(self, reads: int, by: int | None, dtype: pl.DataType, by_dtype: pl.DataType | None, *, k: int) -> None:
        super().__init__(reads, by, dtype, by_dtype)
        self._k = k

    def best(self, table: Records, order: I64) -> I64:
        codes = table.codes[order]
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        number = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
        return order[number < self._k]


def gathered(series: pl.Series, places: I64, is_there: Mask) -> pl.Series:
    """Return the values at places, null where ``is_there`` is not."""
    if is_there.all():
        return series[places]
    return series.gather(pl.Series(places).set(pl.Series(~is_there), None))


def _places(ascending: I64, codes: I64) -> tuple[I64, Mask]:
    """Return where each code stands among distinct ascending ones, and whether it does."""
    if not len(ascending):
        return np.zeros(len(codes), dtype=np.int64), np.zeros(len(codes), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ascending, codes), len(ascending) - 1)
    return places, ascending[places] == codes


def _order(codes: I64, keys: Sequence[Values]) -> I64:
    """Return the order by code, then by the keys, the last one first; ties as they stand.

    A key that is in order already, as times and positions mostly are, costs one comparison a row.
    """
    order: I64 | None = None
    for key in keys:
        ordered = key if order is None else key[order]
        if not (ordered[1:] >= ordered[:-1]).all():
            again = np.argsort(ordered, kind="stable")
            order = again if order is None else order[again]
    by_code = stable_order(codes if order is None else codes[order])
    return by_code if order is None else order[by_code]


def _rank(values: pl.Series, *, is_descending: bool) -> Values:
    """Return numbers in the order of values that are neither null nor NaN, or in the opposite one."""
    ranks = to_array(values, Form.RAW) if is_fixed_width(values.dtype) else values.rank("dense").to_numpy()
    if not is_descending:
        return ranks
    turned: Values = -ranks if ranks.dtype.kind == "f" else ~ranks
    return turned
