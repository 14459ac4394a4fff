"""What the columns of an SQLite table hold: which Python value is stored as what, and which is refused.

SQLite takes nearly everything and changes some of it on the way: NaN becomes NULL, the text ``"1e5"`` in an INTEGER
column the number 100000, the number 5 in a TEXT column the text ``"5"``, 2**60 + 1 in a REAL column another number.
Here a value is stored unchanged or refused, so that what is read is what was written.

==========================================  ==================================================================
Python                                      stored as
==========================================  ==================================================================
bool, int                                   INTEGER, 64 bits
float                                       REAL; no NaN
str                                         TEXT
bytes                                       BLOB
datetime                                    TEXT, ISO 8601 of fixed width, in UTC where it is aware
date, time, timedelta, Decimal, UUID, Enum  TEXT (an Enum as its value)
list, dict, Struct, dataclass …             TEXT, as JSON
None                                        NULL
==========================================  ==================================================================

Pure; knows no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, final

import msgspec

from streamflow.core.records import is_nested, iso, plain
from streamflow.core.wire import json_text
from streamflow.errors import DataError

Stored = int | float | str | bytes | None

_LARGEST = 1 << 63
MOST_COLUMNS = 2_000
"""SQLite's own limit, unless it was compiled with another."""
RESERVED = "sqlite_"
"""How the names of SQLite's own tables begin."""


@final
@dataclass(frozen=True, slots=True)
class Column:
    """A column, and what it takes.

    Attributes:
        name: As the table has it.
        affinity: ``INTEGER``, ``REAL``, ``NUMERIC``, ``TEXT`` or ``BLOB`` (which keeps everything as it is).
        takes: The types of stored values that it keeps as they are.
        direct: How values of the Python types that are stored as one of these are stored; ``store`` knows all others.
    """

    name: str
    affinity: str
    takes: frozenset[type]
    direct: Mapping[type, Callable[[Any], Stored]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        kinds = {*self.takes, type(None)}
        direct = {python: store for python, (kind, store) in _STORE.items() if kind in kinds}
        object.__setattr__(self, "direct", direct)

    def store(self, value: Any) -> Stored:
        """Return what is stored for a value.

        Raises:
            DataError: If SQLite or this column would not hold it unchanged.
        """
        stored = storable(value)
        if stored is None or type(stored) in self.takes:
            return stored
        if self.affinity == "REAL" and isinstance(stored, int) and float(stored) == stored:
            return float(stored)
        if self.affinity == "NUMERIC" and isinstance(stored, str) and not _is_number(stored):
            return stored
        kind = type(stored).__name__
        raise DataError(f"column {self.name!r} is {self.affinity} and would not hold {kind} {_short(stored)} unchanged")


def column(name: str, declared: str, *, is_strict: bool = False) -> Column:
    """Return the column of a table.

    Args:
        name: Its name.
        declared: Its declared type.
        is_strict: Whether it is one of a STRICT table, or an integer primary key: these take only their own type.
    """
    affinity = affinity_of(declared)
    if not is_strict:
        return Column(name, affinity, _TAKES[affinity])
    if declared.upper() == "ANY":
        return Column(name, "BLOB", _TAKES["BLOB"])
    return Column(name, affinity, frozenset({_OWN[affinity]}))


_TAKES: Mapping[str, frozenset[type]] = {
    "INTEGER": frozenset({int, float}),
    "REAL": frozenset({float}),
    "NUMERIC": frozenset({int, float, bytes}),
    "TEXT": frozenset({str}),
    "BLOB": frozenset({int, float, str, bytes}),
}
_OWN: Mapping[str, type] = {"INTEGER": int, "REAL": float, "NUMERIC": float, "TEXT": str, "BLOB": bytes}


def affinity_of(declared: str) -> str:
    """Return the affinity of a declared type, by SQLite's own rules (datatype3, section 3.1).

    >>> affinity_of("VARCHAR(20)"), affinity_of("bigint"), affinity_of("timestamp")
    ('TEXT', 'INTEGER', 'NUMERIC')
    """
    name = declared.upper()
    for affinity, parts in _AFFINITIES:
        if any(part in name for part in parts):
            return affinity
    return "NUMERIC" if name else "BLOB"


_AFFINITIES: Sequence[tuple[str, tuple[str, ...]]] = (
    ("INTEGER", ("INT",)),
    ("TEXT", ("CHAR", "CLOB", "TEXT")),
    ("BLOB", ("BLOB",)),
    ("REAL", ("REAL", "FLOA", "DOUB")),
)


def declared_for(value: Any) -> str:
    """Return the type that a new column is declared with, from its first value; nothing for None: it takes everything.

    Raises:
        DataError: If SQLite does not hold the value.
    """
    return _DECLARED[type(storable(value))]


_DECLARED: Mapping[type, str] = {type(None): "", int: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}


def storable(value: Any) -> Stored:
    """Return what SQLite stores for a value.

    Raises:
        DataError: If it would not hold it unchanged.
    """
    if type(value) not in _STORE:
        if is_nested(value):
            return json_text(value).decode()
        value = plain(value)
    if type(value) in _STORE:
        return _STORE[type(value)][1](value)
    return json_text(value).decode()


def _same(value: Any) -> Any:
    return value


def _integer(value: int) -> int:
    if -_LARGEST <= value < _LARGEST:
        return value
    raise DataError(f"SQLite holds integers of 64 bits, got one of {value.bit_length()} bits; map it to text")


def _real(value: float) -> float:
    if value != value:  # NaN alone differs from itself
        raise DataError("SQLite has no NaN, it would store NULL; map it to None")
    return value


def _text(value: str) -> str:
    if not value.isascii():
        value.encode()  # raises on lone surrogates
    return value


_STORE: Mapping[type, tuple[type, Callable[[Any], Stored]]] = {
    type(None): (type(None), _same),
    bool: (int, int),
    int: (int, _integer),
    float: (float, _real),
    str: (str, _text),
    bytes: (bytes, _same),
    datetime: (str, iso),
    date: (str, date.isoformat),
    time: (str, time.isoformat),
    timedelta: (str, msgspec.to_builtins),
    Decimal: (str, str),
}
"""What a Python type is stored as, and how."""


def _is_number(text: str) -> bool:
    """Whether a NUMERIC column might turn the text into a number: more than SQLite reads as one, never less."""
    try:
        float(text.replace("_", "x"))
    except ValueError:
        return False
    return True


def _short(value: Stored) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def quoted(name: str) -> str:
    """Return an identifier as SQL.

    >>> print(quoted('a"; DROP TABLE b'))
    "a""; DROP TABLE b"
    """
    return '"' + name.replace('"', '""') + '"'


def folded(name: str) -> str:
    """Return a name as SQLite compares names: ASCII letters in lower case, others as they are.

    Raises:
        DataError: If no column can have the name.
    """
    if "\0" in name:
        raise DataError(f"a column's name must not have a NUL character, got {name!r}")
    return name.encode().lower().decode()
