"""Rows as plain fields: what tables, files and terminals are given, whatever Python values the rows are.

==========================  =====================================================================================
a row that is               has the fields
==========================  =====================================================================================
a mapping                   of its keys, which must be ``str``
a ``msgspec.Struct``        of its wire names, and its tag where it has one
a dataclass, a NamedTuple   of its attributes
``Windowed``                ``key`` (``key_0``, ``key_1`` … of a tuple), ``window_start`` and ``window_end`` (aware
                            ``datetime``; left out where the window has no bounds), and the fields of its value
anything else               ``value``
==========================  =====================================================================================

A row of a frame has the fields of its columns.  On an upsert edge a row that does not say its key is given the key's
fields in front.  Values inside fields stay as they are: what a sink can hold is the sink's to say.

Knows batches; knows no sink, no bytes and no types of columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import Any, final

import msgspec
import numpy as np

from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Refused
from streamflow.core.folding import Windowed
from streamflow.core.keys import normal
from streamflow.core.rows import Rows
from streamflow.core.timestamp import EARLIEST, LATEST, to_datetime
from streamflow.errors import DataError

KEY = "key"
VALUE = "value"
WINDOW_START = "window_start"
WINDOW_END = "window_end"

SCALARS = frozenset({type(None), bool, int, float, str, bytes, datetime, date, time, timedelta, Decimal})
"""The types that ``plain`` leaves as they are; by identity, a subclass is not one of them."""

Record = dict[str, Any]


@final
@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a batch as fields.

    Attributes:
        rows: The place of each record in the batch, ascending.
        records: The fields of those rows.
        refused: The rows that have none: a mapping whose keys are not text, fields that say two things.
    """

    rows: Sequence[int]
    records: list[Record]
    refused: list[Refused]


def read_table(batch: Batch, key: Sequence[str] | None = None) -> Table:
    """Return the rows of a batch as fields; about 0.2 to 0.5 us a row.

    Args:
        batch: The batch, of either layout.
        key: On an upsert edge, how the fields of the key are called; the names of ``identity`` where not given.
    """
    if not isinstance(batch, Rows):
        return Table(range(len(batch)), batch.to_values(), [])
    kinds = {type(v) for v in batch.values}
    has_key = batch.stamps.kind is None or batch.keys is None or (key is None and kinds <= {Windowed})
    try:
        if kinds == {dict} and set(map(type, chain.from_iterable(batch.values))) == {str}:
            records = batch.values  # what is read row by row below, seen at a glance
        else:
            records = [_READERS[type(v)](v) for v in batch.values]
        if not has_key:
            records = [_with_key(batch, row, record, key) for row, record in enumerate(records)]
    except (DataError, AttributeError, RecursionError):
        return _row_by_row(batch, key, has_key=has_key)
    return Table(range(len(records)), records, [])


def _row_by_row(batch: Rows, key: Sequence[str] | None, *, has_key: bool) -> Table:
    table = Table([], [], [])
    for row, value in enumerate(batch.values):
        try:
            record = fields_of(value)
            record = record if has_key else _with_key(batch, row, record, key)
        except (DataError, AttributeError, RecursionError) as error:
            table.refused.append(Refused(row, str(error), value))
        else:
            table.rows.append(row)  # type: ignore[attr-defined]  # the list made above
            table.records.append(record)
    return table


def fields_of(value: Any) -> Record:
    """Return one row as plain fields; the dict may be the row itself and must not be changed.

    Raises:
        DataError: If a mapping has keys that are not text, or a window's value has a field named like the window's own.

    >>> fields_of(Windowed("alice", 0, 60_000_000, {"n": 3}))["window_end"].isoformat()
    '1970-01-01T00:01:00+00:00'
    """
    return _READERS[type(value)](value)


def key_fields(key: Any) -> Record:
    """Return the fields of a key: ``key``, or ``key_0``, ``key_1`` … where it is a tuple of several."""
    if not isinstance(key, tuple):
        return {KEY: key}
    if len(key) == 1:
        return {KEY: key[0]}
    return {f"{KEY}_{i}": part for i, part in enumerate(key)}


def identity(batch: Batch) -> tuple[str, ...]:
    """Return the fields that say which row of a table each row of an upsert edge is; empty where it has no key.

    The columns of a frame's key; for windows the key and the bounds of the window; else the fields of the key.
    """
    if isinstance(batch, Columns):
        return batch.key
    if not isinstance(batch, Rows) or not batch.values:
        return ()
    first = batch.values[0]
    if isinstance(first, Windowed):
        return (*key_fields(first.key), *_bounds(first.start, first.end))
    return tuple(key_fields(batch.keys[0])) if batch.keys else ()


def identity_of(batch: Batch, row: int) -> Hashable:
    """Return which row of a table this row is: its key, or ``(key, start, end)`` for a window."""
    value = batch.values[row] if isinstance(batch, Rows) else None
    if isinstance(value, Windowed):
        return normal(_unwrapped(value.key)), value.start, value.end
    key: Hashable = normal(_unwrapped(batch.key_of(row)))
    return key


def is_nested(value: Any) -> bool:
    """Return whether a value holds others: a list, a mapping, a record."""
    nested = (Mapping, list, tuple, set, frozenset, msgspec.Struct)
    return isinstance(value, nested) or dataclasses.is_dataclass(value)


def plain(value: Any) -> Any:
    """Return the value in Python's own types: numpy, enums and subclasses unwrapped, records as dicts, sets as lists.

    Raises:
        DataError: If it is of a type that is none of these.
    """
    if type(value) in SCALARS:
        return value
    if isinstance(value, Mapping):
        return {name: plain(v) for name, v in _of_mapping(value).items()}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, np.generic | np.ndarray):
        return plain_numpy(value)
    if isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        return {name: plain(v) for name, v in _READERS[type(value)](value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return _scalar(value)


def plain_numpy(value: np.generic | np.ndarray[Any, Any]) -> Any:
    """Return a number or an array of numpy in Python's own types.

    Raises:
        DataError: If Python has no such type (``longdouble``).
    """
    result = value.tolist()
    if isinstance(result, np.generic):
        raise DataError(f"expected a value of Python's own types, got numpy's {type(value).__name__} {value!r}")
    return result


def iso(value: datetime) -> str:
    """Return a time as text of fixed width, in UTC where it is aware, so that the order of texts is the order of times.

    >>> iso(datetime(2024, 5, 1, tzinfo=UTC))
    '2024-05-01T00:00:00.000000+00:00'
    """
    if value.tzinfo is UTC:
        return _iso_utc(value)
    try:
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat(timespec="microseconds")
    except OverflowError as error:
        raise DataError(f"expected a time in the years 1 to 9999 UTC, got {value!r}") from error


@lru_cache(maxsize=4096)
def _iso_utc(value: datetime) -> str:
    """Kept since very many rows share a window; only for UTC, where times that are equal have the same text."""
    return value.isoformat(timespec="microseconds")


def _scalar(value: Any) -> Any:
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    for kind, exact in _EXACT.items():
        if isinstance(value, kind):
            return exact(value)
    try:
        return msgspec.to_builtins(value)  # a UUID, as text
    except TypeError as error:
        name = type(value).__name__
        raise DataError(f"expected a value of Python's own types or a record of them, got {name}") from error


_EXACT: Mapping[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: bytes.__bytes__,
    datetime: lambda v: datetime.combine(v.date(), v.timetz()),
    date: lambda v: date(v.year, v.month, v.day),
    time: lambda v: time(v.hour, v.minute, v.second, v.microsecond, v.tzinfo, fold=v.fold),
    timedelta: lambda v: timedelta(v.days, v.seconds, v.microseconds),
    Decimal: lambda v: Decimal(v.as_tuple()),
}
"""Subclasses of scalars as the scalars they are, whatever their ``__str__`` says (pandas' times are subclasses too)."""


def _with_key(batch: Rows, row: int, record: Record, key: Sequence[str] | None) -> Record:
    """Return the record with the key's fields in front where it lacks them.

    Names that the user chose are read from the row first: he says they are there.  Where our own names are fields of
    the row too, they must say the same as the key.
    """
    parts = batch.key_of(row)
    named = key_fields(parts)
    if key is None:
        if any(name in record and record[name] != part for name, part in named.items()):
            raise DataError(
                f"the row has fields named like its key's and they differ: {sorted(named.keys() & record.keys())};"
                " rename them, or name the key's columns on the sink"
            )
        return named | record
    if len(named) == len(key) and any(name not in record for name in key):
        return dict(zip(key, named.values(), strict=True)) | record
    return record


def _unwrapped(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) and len(key) == 1 else key


def _reader(kind: type) -> Callable[[Any], Record]:
    if issubclass(kind, Windowed):
        return _of_window
    if issubclass(kind, Mapping):
        return _of_mapping
    if issubclass(kind, msgspec.Struct):
        return _of_struct(kind)
    if dataclasses.is_dataclass(kind):
        names = [f.name for f in dataclasses.fields(kind)]
        return lambda row: {name: getattr(row, name) for name in names}
    if issubclass(kind, tuple) and hasattr(kind, "_asdict"):
        return kind._asdict  # type: ignore[no-any-return]  # a NamedTuple's method
    return lambda row: {VALUE: row}


class _Readers(dict[type, Callable[[Any], Record]]):
    """How rows of a type are read, found once a type; bounded, since a program may make types without end."""

    def __missing__(self, kind: type) -> Callable[[Any], Record]:
        if len(self) >= 1024:
            self.clear()
        self[kind] = reader = _reader(kind)
        return reader


_READERS = _Readers()


def _of_mapping(row: Mapping[Any, Any]) -> Record:
    for name in row:
        if type(name) is not str:
            raise DataError(f"the fields of a row must be named by str, got {type(name).__name__} {name!r}")
    return row if type(row) is dict else dict(row)


def _of_struct(kind: type[msgspec.Struct]) -> Callable[[Any], Record]:
    config = kind.__struct_config__
    tag: Record = {} if config.tag is None or config.tag_field is None else {config.tag_field: config.tag}
    names = kind.__struct_encode_fields__
    if not tag and names == kind.__struct_fields__ and msgspec.UNSET not in kind.__struct_defaults__:
        return msgspec.structs.asdict

    def read(row: Any) -> Record:
        values = zip(names, msgspec.structs.astuple(row), strict=True)
        return tag | {name: value for name, value in values if value is not msgspec.UNSET}

    return read


def _of_window(row: Windowed[Any, Any]) -> Record:
    own = key_fields(row.key) | _bounds(row.start, row.end)
    value = fields_of(row.value)
    record = own | value
    if len(record) < len(own) + len(value):
        clash = sorted(own.keys() & value.keys())
        raise DataError(f"the value of a window has fields named like the window's own: {clash}; rename them")
    return record


@lru_cache(maxsize=4096)
def _bounds(start: int, end: int) -> Record:
    """Return the fields of a window, none of one without bounds; kept since very many rows share it."""
    if start < EARLIEST and end > LATEST:
        return {}
    return {
        name: to_datetime(micros) if EARLIEST <= micros <= LATEST else None
        for name, micros in ((WINDOW_START, start), (WINDOW_END, end))
    }
