"""Types of Python values, as columns have them: all keys of a step have one, and so have all values that are compared.

The first value says which; a row with another is refused, so that what the row layout takes, columns can hold.  None
has every type.  Ints and floats are one type among values, and two among keys (R7).

Checking a batch is one pass in C where it is as expected.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from datetime import date, time, timedelta
from types import NoneType
from typing import Annotated, Any, final

import msgspec
import polars as pl

from streamflow.core.keys import normal
from streamflow.core.row_reading import Column, Reading, shown
from streamflow.core.row_values import LEAST_INT, MOST_INT, column, kind_of, plain
from streamflow.errors import DataError

_TYPES: dict[str, type] = {
    "str": str,
    "bool": bool,
    "bytes": bytes,
    "date": date,
    "time": time,
    "timedelta": timedelta,
}
"""The kinds of values that have one type, and look the same when they are equal."""

_CHECKED: dict[str, Any] = {
    "str": str,
    "bytes": bytes,
    "bool": bool,
    "int": Annotated[int, msgspec.Meta(ge=LEAST_INT, le=MOST_INT)],
}
"""What msgspec can check for us: only types whose values need no normalising and have no look-alikes."""


def scalar(value: Any) -> tuple[Any, str]:
    """Return a scalar as its built-in type, and its kind.

    Raises:
        DataError: If it is none, or an int of more than 64 bits.
    """
    value = plain(value)
    kind = kind_of(value)
    if kind is None:
        raise DataError(
            f"expected a number, str, bytes, bool, date or time, got {type(value).__name__} {shown(value)}",
            remedy="have the function give one field, or convert it",
        )
    if type(value) is int and not LEAST_INT <= value <= MOST_INT:
        raise DataError(f"expected an int of 64 bits, got {shown(value)}")
    return value, kind


@final
class ValueType:
    """The one type of the values that an aggregation compares or counts."""

    __slots__ = ("_kind", "_takes_tuples", "_what")

    def __init__(self, what: str, *, takes_tuples: bool = False) -> None:
        self._what = what
        self._kind: str | None = None
        self._takes_tuples = takes_tuples

    def __repr__(self) -> str:
        return f"ValueType({self._what}: {self._kind})"

    @property
    def is_number(self) -> bool:
        """Whether values are ints and floats."""
        return self._kind == "number"

    def read(self, reading: Reading, values: list[Any]) -> Column:
        """Return the values as built-in types and None; refuse the rows where one has another type."""
        if self._kind == "number":
            return reading.numbers(values, self._what)
        if self._kind in _TYPES:
            types = set(map(type, values))
            if types <= {_TYPES[self._kind], NoneType}:
                return Column(values, is_clean=NoneType not in types)
        reading.convert(values, self.admit, self._what)
        return Column(values, is_clean=None not in values)

    def admit(self, value: Any) -> Any:
        """Return a value as its built-in type; the first one settles the type.

        Raises:
            DataError: If it is of another type.
        """
        if self._takes_tuples and type(value) is tuple:
            value, kind = normal(value), "tuple"
            _require_hashable(value)
        else:
            value, kind = scalar(value)
        if self._kind is None:
            self._kind = kind
        elif kind != self._kind:
            raise DataError(
                f"expected {self._kind}, as before, got {kind} {shown(value)}",
                remedy="have the function give one type",
            )
        return value

    def series(self, values: list[Any]) -> pl.Series:
        """Return values of this type, and None, as a column."""
        return column(values, self._kind)

    def learn(self, values: list[Any]) -> None:
        """Take the type from values that a checkpoint held."""
        for value in values:
            if value is not None:
                self.admit(value)
                return


@final
class KeyType:
    """The one type of the keys of a step: a scalar's, or that of each place of a tuple."""

    __slots__ = ("_check", "_is_tuple", "_kinds")

    def __init__(self) -> None:
        self._is_tuple: bool | None = None
        self._kinds: list[str | None] = []
        self._check: Any = None

    def __repr__(self) -> str:
        return f"KeyType({tuple(self._kinds) if self._is_tuple else self._kinds})"

    def read(self, reading: Reading, keys: list[Any]) -> list[Any]:
        """Return the keys as the panes keep them; refuse the rows where one has another type."""
        if self._is_tuple is None and keys:
            with suppress(DataError):  # settles the type, so that the others are checked all at once
                self.admit(keys[0])
        # msgspec takes a list for a tuple.
        if self._check is not None and not (self._is_tuple and set(map(type, keys)) != {tuple}):
            with suppress(msgspec.ValidationError):
                msgspec.convert(keys, self._check)
                return keys
        admitted = list(keys)
        for row, key in enumerate(keys):
            try:
                admitted[row] = self.admit(key)
            except DataError as error:
                reading.refuse(row, error, "key")
                admitted[row] = None
        return admitted

    def learn(self, keys: list[Any]) -> None:
        """Take the type from keys that a checkpoint held."""
        for key in keys:
            self.admit(key)
            if None not in self._kinds:
                return

    def stored(self, keys: list[Any]) -> list[Any]:
        """Return the keys as columns hold them: built-in types in the place of enum members and other subclasses."""
        if self._is_tuple:
            return [tuple(map(plain, key)) for key in keys]
        return list(map(plain, keys))

    def admit(self, key: Any) -> Hashable:
        """Return a key as the panes keep it; the first one settles the type.

        Raises:
            DataError: If it is of another type.
        """
        parts = key if isinstance(key, tuple) else (key,)
        if self._is_tuple is None:
            self._is_tuple, self._kinds = isinstance(key, tuple), [None] * len(parts)
        if isinstance(key, tuple) != self._is_tuple or len(parts) != len(self._kinds):
            raise self._mismatch(key)
        scalars = [(None, None) if part is None else _key_part(part) for part in parts]
        kinds = [kind or before for before, (_, kind) in zip(self._kinds, scalars, strict=True)]
        if any(before not in (None, kind) for before, kind in zip(self._kinds, kinds, strict=True)):
            raise self._mismatch(key)
        if kinds != self._kinds:
            self._kinds = kinds
            self._check = self._checked()
        admitted = tuple(normal(part) for part, _ in scalars)
        result: Hashable = admitted if self._is_tuple else admitted[0]
        return result

    def _mismatch(self, key: Any) -> DataError:
        expected = ", ".join(kind or "None" for kind in self._kinds)
        return DataError(
            f"expected a key of {f'({expected})' if self._is_tuple else expected}, as before,"
            f" got {type(key).__name__} {shown(key)}",
            remedy="return keys of one type from key_by",
        )

    def _checked(self) -> Any:
        """Return the type that msgspec checks a batch of keys by; None if it cannot."""
        if not all(kind in _CHECKED for kind in self._kinds):
            return None
        parts = [_CHECKED[kind] | None for kind in self._kinds if kind is not None]
        return list[tuple[*parts]] if self._is_tuple else list[parts[0]]  # type: ignore[valid-type]  # built at run time


def _key_part(part: Any) -> tuple[Any, str]:
    value, kind = scalar(part)
    if kind in ("time", "timedelta"):
        raise DataError(f"a key cannot be a {kind}, got {shown(value)}", remedy="use a str or an int for it")
    return value, type(value).__name__ if kind == "number" else kind


def _require_hashable(value: Any) -> None:
    try:
        hash(value)
    except TypeError as error:
        raise DataError(f"expected a value that can be hashed, got {shown(value)}") from error
