"""Values of the row layout as state columns, and back.

A value that a column can hold goes there, so that the column layout can restore it.  Any other (a record, a dict, a
value of another type than the first) goes, as msgpack, into a column beside it.  So a step may keep whatever it likes,
and nothing is lost or changed on the way but the time zone of a datetime: its instant is kept.

Knows no aggregation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from itertools import chain, islice
from types import NoneType
from typing import Any, final

import numpy as np
import polars as pl

from streamflow.core.values import decode_value, encode_value
from streamflow.errors import DataError

LEAST_INT, MOST_INT = -(1 << 63), (1 << 63) - 1

DTYPES: dict[str, pl.DataType] = {
    "str": pl.String(),
    "bool": pl.Boolean(),
    "bytes": pl.Binary(),
    "date": pl.Date(),
    "time": pl.Time(),
    "timedelta": pl.Duration("us"),
    "naive datetime": pl.Datetime("us"),
    "aware datetime": pl.Datetime("us", "UTC"),
}
"""The column of each kind of value; numbers go into Int64 or Float64, as they are."""

_KINDS: dict[type, str] = {
    int: "number",
    float: "number",
    str: "str",
    bool: "bool",
    bytes: "bytes",
    date: "date",
    time: "time",
    timedelta: "timedelta",
}


def kind_of(value: Any) -> str | None:
    """Return the name of a scalar's type; None where a column could not hold the value as it is."""
    if type(value) is datetime:
        return "naive datetime" if value.tzinfo is None else "aware datetime"
    return _KINDS.get(type(value))


def plain(value: Any) -> Any:
    """Return a scalar as its built-in type: what numpy scalars, enum members and other subclasses stand for."""
    if type(value) in _KINDS:
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else value


def column(values: Sequence[Any], kind: str | None) -> pl.Series:
    """Return values of one kind, and None, as a column.

    Raises:
        DataError: If one does not fit: an int of more than 64 bits, text that is not Unicode.
    """
    dtype = DTYPES.get(kind, pl.Null()) if kind is not None else pl.Null()
    if kind == "number":
        is_float = float in set(map(type, values))
        values = [float(v) if type(v) is int else v for v in values] if is_float else values
        dtype = pl.Float64() if is_float else pl.Int64()
    try:
        return pl.Series(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(f"a value cannot be put into a checkpoint: {error}") from error


@final
class ValueColumn:
    """The two columns of values that are kept as they are; the first value settles what the first column holds."""

    __slots__ = ("_kind",)

    def __init__(self) -> None:
        self._kind: str | None = None

    def __repr__(self) -> str:
        return f"ValueColumn({self._kind})"

    def encode(self, values: Sequence[Any]) -> tuple[pl.Series, pl.Series]:
        """Return the values as a column, and those that it cannot hold as msgpack, each null where the other is not."""
        types = set(map(type, values)) - {NoneType}
        kind = _KINDS.get(next(iter(types))) if len(types) == 1 else None
        if kind is not None and self._kind in (None, kind):
            with suppress(DataError):  # an int of more than 64 bits is packed below
                native = column(values, kind)
                self._kind = kind
                return native, pl.repeat(None, len(values), dtype=pl.Binary, eager=True)
        return self._encode_mixed(list(map(plain, values)))

    def _encode_mixed(self, values: list[Any]) -> tuple[pl.Series, pl.Series]:
        self._learn(values)
        is_float = self._kind == "number" and float in set(map(type, values))
        fits = [value is None or self._fits(value, is_float=is_float) for value in values]
        packed = [None if fit else _packed(value) for fit, value in zip(fits, values, strict=True)]
        fitting = [value if fit else None for fit, value in zip(fits, values, strict=True)]
        return column(fitting, self._kind), pl.Series(packed, dtype=pl.Binary)

    def decode(self, native: pl.Series, packed: pl.Series | None) -> list[Any]:
        """Return the values that ``encode``, or the column layout, made these columns of."""
        values = native.to_list()
        self._learn(values)
        if packed is None:
            return values
        return [
            value if raw is None else decode_value(raw) for value, raw in zip(values, packed.to_list(), strict=True)
        ]

    def _learn(self, values: list[Any]) -> None:
        if self._kind is None:
            self._kind = next((kind for kind in map(kind_of, values) if kind is not None), None)

    def _fits(self, value: Any, *, is_float: bool) -> bool:
        if self._kind is None or kind_of(value) != self._kind:
            return False
        if type(value) is int:
            return LEAST_INT <= value <= MOST_INT and (not is_float or int(float(value)) == value)
        return True


def _packed(value: Any) -> bytes:
    try:
        return encode_value(value)
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"a value cannot be put into a checkpoint: {error}") from error


def nest(items: pl.Series, lengths: Sequence[int]) -> pl.Series:
    """Return a column of lists: the first ``lengths[0]`` items, then the next ``lengths[1]``, and so on."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    lists = pl.DataFrame({"row": rows, "items": items}).group_by("row", maintain_order=True).agg("items")
    every = pl.DataFrame({"row": np.arange(len(lengths))}).join(lists, on="row", how="left", maintain_order="left")
    empty = pl.lit(pl.Series([[]], dtype=pl.List(items.dtype)))
    return every.select(pl.col("items").fill_null(empty)).get_column("items")


def flatten(lists: pl.Series) -> tuple[pl.Series, list[int]]:
    """Return all items of a column of lists, one after another, and the length of each list; a null has none."""
    lengths = lists.list.len().fill_null(0)
    return lists.filter(lengths > 0).explode(), lengths.to_list()


def regroup(items: Iterable[Any], lengths: Iterable[int]) -> list[list[Any]]:
    """Return the items as lists of these lengths."""
    rest = iter(items)
    return [list(islice(rest, length)) for length in lengths]


def chained(lists: Iterable[Iterable[Any]]) -> list[Any]:
    """Return the items of all lists, one after another."""
    return list(chain.from_iterable(lists))
