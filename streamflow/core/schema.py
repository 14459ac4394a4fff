"""The types of fields, learned from rows or declared: how rows become frames that can be put one below another.

Rows have no types, the columns of a file have.  A field is there if the first row has it, and its type is that of its
first value that is not None; from then on a row with another field or with a value of another type is refused, by name.
So the outcome depends on the order of the rows, never on how they are cut into batches; and no value is changed to make
it fit (an ``int`` where floats are expected is taken if a float can hold it).

Knows records (``core.records``); knows no sink and no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, final

import polars as pl

from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Refused
from streamflow.core.records import SCALARS, Record, Table, plain, read_table
from streamflow.core.timestamp import MICROSECOND
from streamflow.core.wire import UNFIT, holds_objects, reason_of
from streamflow.errors import DataError, DefinitionError

_DTYPES: Mapping[type, pl.DataType] = {
    type(None): pl.Null(),
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    str: pl.String(),
    bytes: pl.Binary(),
    date: pl.Date(),
    time: pl.Time(),
    timedelta: pl.Duration("us"),
}
MOST_DIGITS = 38
"""Of a decimal in Arrow."""
_FLAT: Mapping[type[pl.DataType], frozenset[type]] = {
    pl.Boolean: frozenset({bool}),
    pl.String: frozenset({str}),
    pl.Categorical: frozenset({str}),
    pl.Enum: frozenset({str}),
    pl.Binary: frozenset({bytes}),
    pl.Date: frozenset({date}),
    pl.Time: frozenset({time}),
    pl.Duration: frozenset({timedelta}),
    **dict.fromkeys((pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128), frozenset({int})),
    **dict.fromkeys((pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64), frozenset({int})),
    **dict.fromkeys((pl.Float32, pl.Float64), frozenset({float})),
}
"""Which values a column takes at a glance; None is taken by every column, and ``fitted`` looks closer."""


@final
class Schema:
    """The names and types of the fields, as far as they are known.

    Args:
        declared: The fields and their types; what is declared is not learned.

    Raises:
        DefinitionError: If one of them is not a type of polars that can be stored.
    """

    def __init__(self, declared: Mapping[str, Any] | None = None) -> None:
        self._types: dict[str, pl.DataType] | None = None
        if declared is None:
            return
        try:
            types = pl.Schema(declared)
            if any(map(holds_objects, types.values())):
                raise TypeError("pl.Object cannot be stored")
            self._types = dict(pl.DataFrame(schema=types).schema)  # classes of types become types, at every depth
        except (TypeError, ValueError) as error:
            reason = f"schema must name fields and their polars types, got {declared!r}: {error}"
            raise DefinitionError(reason) from error

    @property
    def types(self) -> Mapping[str, pl.DataType] | None:
        """The fields and their types; ``Null`` where only None was seen; None where no row was seen."""
        return self._types

    def __repr__(self) -> str:
        return f"Schema({self._types})"

    def frame(self, batch: Batch) -> tuple[pl.DataFrame, Sequence[int], list[Refused]]:
        """Return the rows as a frame of these fields, the place of each in the batch, and the rows that do not fit."""
        if isinstance(batch, Columns) and self._takes_whole(batch.frame.schema):
            self._types = dict(batch.frame.schema)
            return batch.frame, range(len(batch)), []
        return self._from_records(read_table(batch))

    def _takes_whole(self, schema: pl.Schema) -> bool:
        if self._types is None:
            return not any(map(holds_objects, schema.values()))
        return schema == self._types

    def _from_records(self, table: Table) -> tuple[pl.DataFrame, Sequence[int], list[Refused]]:
        if self._types is None and (first := next(filter(_names_columns, table.records), None)) is not None:
            self._types = dict.fromkeys(first, pl.Null())
        bad = self._strangers(table.records)
        known = [{} if i in bad else r for i, r in enumerate(table.records)] if bad else table.records
        columns = [self._column(name, [r.get(name) for r in known], bad) for name in list(self._types or ())]
        frame, rows = pl.DataFrame(columns), table.rows
        if bad:
            kept = [i for i in range(len(rows)) if i not in bad]
            frame, rows = frame[kept], [rows[i] for i in kept]
        refused = [*table.refused, *(Refused(table.rows[i], why, table.records[i]) for i, why in bad.items())]
        return frame, rows, sorted(refused, key=lambda r: r.row)

    def _strangers(self, records: list[Record]) -> dict[int, str]:
        """Return which records have no fields or other fields, and why they are refused."""
        if all(records) and set(chain.from_iterable(records)) <= (self._types or {}).keys():
            return {}
        return {i: why for i, record in enumerate(records) if (why := self._strange(record)) is not None}

    def _strange(self, record: Record) -> str | None:
        names = self._types or {}
        if not record:
            return "expected at least one field, got none"
        if record.keys() <= names.keys():
            return None
        extra = sorted(record.keys() - names.keys())
        return f"unexpected field {extra[0]!r}: the first row had {', '.join(names)}; declare it in schema="

    def _column(self, name: str, values: list[Any], bad: dict[int, str]) -> pl.Series:
        """Return the column, with None for values that do not fit; note the rows of these in ``bad``."""
        assert self._types is not None
        if not {type(v) for v in values} <= SCALARS:
            values = [_noting(bad, i, name, plain, v) for i, v in enumerate(values)]
        dtype = self._types[name] = _learn(self._types[name], name, values, bad)
        if not _fit_at_a_glance(values, dtype):
            values = [_noting(bad, i, name, _fitting(dtype), v) for i, v in enumerate(values)]
        elif dtype == _UTC:
            values = [None if v is None else (v - _EPOCH) // MICROSECOND for v in values]
        try:
            return pl.Series(name, values, dtype=dtype, strict=True)
        except _UNSTORED:  # a number out of range, a lone surrogate: find whose it is
            values = [_noting(bad, i, name, _storing(dtype), v) for i, v in enumerate(values)]
            return pl.Series(name, values, dtype=dtype, strict=True)


def _fit_at_a_glance(values: list[Any], dtype: pl.DataType) -> bool:
    kinds = {type(v) for v in values} - {type(None)}
    if isinstance(dtype, pl.Datetime):
        zone = None if dtype.time_zone is None else UTC
        return kinds <= {datetime} and {v.tzinfo for v in values if v is not None} <= {zone}
    return kinds <= _FLAT.get(dtype.base_type(), frozenset())


_UTC = pl.Datetime("us", "UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Times in UTC are handed to polars as microseconds: ten times as fast as ``datetime``s."""
_UNSTORED = (*UNFIT, pl.exceptions.PolarsError)


def _names_columns(record: Mapping[str, Any]) -> bool:
    """Whether columns can be named like the fields: there are some, and none has a lone surrogate."""
    try:
        return bool("".join(record).encode() or record)
    except UnicodeError:
        return False


def _learn(dtype: pl.DataType, name: str, values: list[Any], bad: dict[int, str]) -> pl.DataType:
    """Return the type after the values that teach it, one by one; what contradicts it is taken out, and noted."""
    for i, value in enumerate(values):
        if not has_null(dtype):
            break
        try:
            dtype = _unified(dtype, dtype_of(value))
        except UNFIT as error:
            bad.setdefault(i, f"field {name!r}: {reason_of(error)}")
            values[i] = None
    return dtype


def _noting(bad: dict[int, str], row: int, name: str, check: Any, value: Any) -> Any:
    try:
        return check(value)
    except UNFIT as error:
        bad.setdefault(row, f"field {name!r}: {reason_of(error)}")
        return None


def _fitting(dtype: pl.DataType) -> Any:
    def check(value: Any) -> Any:
        try:
            return fitted(value, dtype)
        except UNFIT as error:
            got = f"{type(value).__name__} {_short(value)}"
            raise DataError(f"expected {dtype}, got {got}; declare its type in schema=") from error

    return check


def _storing(dtype: pl.DataType) -> Any:
    def check(value: Any) -> Any:
        try:
            pl.Series([value], dtype=dtype, strict=True)
        except UnicodeError:
            raise
        except _UNSTORED as error:
            raise DataError(f"expected {dtype}, got {type(value).__name__} {_short(value)}") from error
        return value

    return check


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def has_null(dtype: pl.DataType) -> bool:
    """Return whether a type is not fully known: it is Null, or a list or record of what is not known."""
    match dtype:
        case pl.Null():
            return True
        case pl.List():
            return has_null(dtype.inner)  # type: ignore[arg-type]  # an instance, in an instance
        case pl.Struct():
            return any(has_null(f.dtype) for f in dtype.fields)  # type: ignore[arg-type]  # as above
    return False


def dtype_of(value: Any) -> pl.DataType:
    """Return the type of one plain value.

    Raises:
        DataError: If it has none: a list of different things, an empty record, a foreign type.

    >>> dtype_of([1, None])
    List(Int64)
    """
    match value:
        case datetime():
            return pl.Datetime("us", None if value.tzinfo is None else "UTC")
        case Decimal() if value.is_finite() and -int(value.as_tuple().exponent) <= MOST_DIGITS:
            return pl.Decimal(MOST_DIGITS, max(0, -int(value.as_tuple().exponent)))
        case list():
            inner: pl.DataType = pl.Null()
            for item in value:
                inner = _unified(inner, dtype_of(item))
            return pl.List(inner)
        case dict() if value and _names_columns(value):
            return pl.Struct({name: dtype_of(item) for name, item in value.items()})
    if type(value) not in _DTYPES:
        raise DataError(f"expected a value that a column can hold, got {type(value).__name__} {_short(value)}")
    return _DTYPES[type(value)]


def _unified(a: pl.DataType, b: pl.DataType) -> pl.DataType:
    """Return what both say, where each may leave open what the other knows."""
    match a, b:
        case (pl.Null(), _):
            return b
        case (_, pl.Null()):
            return a
        case (pl.List(), pl.List()):
            return pl.List(_unified(a.inner, b.inner))  # type: ignore[arg-type]  # instances, in instances
        case (pl.Struct(), pl.Struct()):
            mine: dict[str, Any] = dict(a.to_schema())
            theirs: dict[str, Any] = dict(b.to_schema())
            if theirs.keys() <= mine.keys():
                return pl.Struct({name: _unified(mine[name], theirs.get(name, pl.Null())) for name in mine})
    if a != b:
        raise DataError(f"expected {a}, got {b}")
    return a


def fitted(value: Any, dtype: pl.DataType) -> Any:
    """Return a plain value as a column of this type holds it: the same, but an ``int`` may become a float or a decimal.

    Ranges of integers are not looked at.

    Raises:
        ValueError: If the column would not hold it unchanged.
    """
    if value is None:
        return None
    inner: Any
    match dtype:
        case pl.List() | pl.Array() if isinstance(value, list):
            inner = dtype.inner
            return [fitted(item, inner) for item in value]
        case pl.Struct() if isinstance(value, dict):
            inner = dtype.to_schema()
            if value.keys() <= inner.keys():
                return {name: fitted(item, inner[name]) for name, item in value.items()}
        case pl.Datetime() if isinstance(value, datetime) and (value.tzinfo is None) == (dtype.time_zone is None):
            return value
        case pl.Decimal() if isinstance(value, int | Decimal) and not isinstance(value, bool):
            number = Decimal(value)
            if number.is_finite() and -int(number.as_tuple().exponent) <= dtype.scale:
                return number
    if dtype.is_float() and type(value) is int and float(value) == value:
        return float(value)
    if type(value) in _FLAT.get(dtype.base_type(), ()):
        return value
    raise ValueError(value)
