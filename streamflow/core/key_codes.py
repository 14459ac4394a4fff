"""Keys as codes: the key columns of a batch as one small whole number a row, and back.

Encoded once a batch, keys address the arrays in which panes keep their state.  A code belongs to a key while some pane
has it (``keep`` says which those are), so memory follows the keys alive; codes are never written anywhere.

One column becomes tokens for a ``CodeTable``: numbers, dates, times and bools their own value; texts and bytes two
64-bit hashes, each seeded at random for this table.  Two texts are taken for one only if both hashes agree: with a
million keys the odds are below 1e-26, and nobody who does not know the seeds can choose them.  Several columns are
encoded one by one, and their codes in pairs.  A null is a key of its own, NaN equals NaN, and -0.0 equals 0.0.

Knows nothing of panes and aggregations.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64, Mask
from streamflow.core.code_table import CodeTable
from streamflow.core.recast import recast
from streamflow.core.text_store import TextStore
from streamflow.errors import DataError

_SPAN = 1 << 16
"""Numbers no further apart than this are found by distance at once: the table takes 256 KB."""


@final
class KeyCodes:
    """The codes of the keys of one step.

    Args:
        names: The key columns; none for a step that has but one pane a window.
    """

    __slots__ = ("_codes", "_columns", "_is_loaded", "names")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._columns: list[_Column] = []
        self._codes: _Codes = _One()
        self._is_loaded = False
        """Whether the types are those of a restored state, which may say less than the batches to come."""

    @property
    def size(self) -> int:
        """One more than the largest code in use."""
        return self._codes.size

    @property
    def used(self) -> int:
        """How many codes are in use."""
        return self._codes.used

    def encode(self, frame: pl.DataFrame) -> I64:
        """Return the code of each row's key, giving new keys new codes; at 1,000 rows about 0.1 ms a text column.

        Raises:
            DataError: If a key column is missing, of a type that cannot be a key, or of another type than before.
        """
        if not self.names:
            return np.zeros(frame.height, dtype=np.int64)
        columns = self._fitted([_column(frame, name) for name in self.names])
        return self._codes.encode(columns)

    def load(self, columns: Sequence[pl.Series], rows: int) -> I64:
        """Return the codes of keys that stood in a checkpoint.

        Encode, but for types, on which the next batch has the last word.
        """
        if not columns:
            return np.zeros(rows, dtype=np.int64)
        self._is_loaded = not self._columns or self._is_loaded
        fitted = self._fitted(columns, is_loading=True)
        return self._codes.encode(fitted)

    def keys(self, codes: I64) -> list[pl.Series]:
        """Return the key columns of these codes, of the types they came in."""
        if not self._columns:
            return [pl.Series(name, dtype=pl.Null) for name in self.names]
        return [s.alias(name) for s, name in zip(self._codes.columns(codes), self.names, strict=True)]

    def keep(self, live: Mask) -> None:
        """Free every code but those for which ``live`` holds; O(size)."""
        self._codes.keep(live)

    def _fitted(self, columns: Sequence[pl.Series], *, is_loading: bool = False) -> list[pl.Series]:
        """Return the columns in the types that the codes have.

        The first ones, or the first behind a restore, set them.
        """
        if not self._columns:
            self._columns = [_column_of(s.dtype, s.name) for s in columns]
            self._codes = _paired(self._columns)
            return list(columns)
        fitted = [self._fit(i, s, is_loading=is_loading) for i, s in enumerate(columns)]
        self._is_loaded = self._is_loaded and is_loading
        return fitted

    def _fit(self, place: int, series: pl.Series, *, is_loading: bool) -> pl.Series:
        known = self._columns[place].dtype
        if series.dtype == known or (isinstance(known, pl.Categorical) and isinstance(series.dtype, pl.Categorical)):
            return series
        if series.dtype == pl.Null:
            return series.cast(known)
        if is_loading:
            return recast(series, known, f"the restored key column {self.names[place]!r}")
        if not self._is_loaded and known != pl.Null:
            raise DataError(
                f"key column {self.names[place]!r} was {known} so far, got {series.dtype}",
                remedy="cast it to one type before group_by",
            )
        self._retype(place, series.dtype)
        return series

    def _retype(self, place: int, dtype: pl.DataType) -> None:
        """Change the type of a column under its codes."""
        old = self._columns[place]
        codes = old.table.codes()
        values = recast(old.columns(codes)[0], dtype, f"the restored key column {self.names[place]!r}")
        new = _column_of(dtype, self.names[place])
        new.assign(codes, values)
        self._columns[place] = new
        self._codes = _repaired(self._codes, old, new)


class _Codes(Protocol):
    """Codes of one key column, or of several together."""

    @property
    def size(self) -> int:
        """One more than the largest code in use."""
        ...

    @property
    def used(self) -> int:
        """How many codes are in use."""
        ...

    def encode(self, columns: Sequence[pl.Series]) -> I64:
        """Return the code of each row."""
        ...

    def columns(self, codes: I64) -> list[pl.Series]:
        """Return the values of each column."""
        ...

    def keep(self, live: Mask) -> None:
        """Free the codes that are not live."""
        ...


class _Column(_Codes, Protocol):
    """Codes of one key column."""

    dtype: pl.DataType
    table: CodeTable

    def assign(self, codes: I64, values: pl.Series) -> None:
        """Give an empty column these distinct values under codes chosen elsewhere."""
        ...


@final
class _One:
    """The one code of a step without key columns."""

    size = used = 1

    def encode(self, columns: Sequence[pl.Series]) -> I64:
        raise AssertionError("there is no column to encode")

    def columns(self, codes: I64) -> list[pl.Series]:
        return []

    def keep(self, live: Mask) -> None:
        pass


@final
class _Numbers:
    """A column whose values are int64 or can be seen as such: the value is the token."""

    def __init__(self, dtype: pl.DataType) -> None:
        self.dtype = dtype
        self.table = CodeTable(span=_SPAN)

    @property
    def size(self) -> int:
        return self.table.size

    @property
    def used(self) -> int:
        return self.table.used

    def encode(self, columns: Sequence[pl.Series]) -> I64:
        (series,) = columns
        if not series.null_count():
            return self.table.encode(_tokens(series))[0]
        is_value = series.is_not_null().to_numpy()
        codes = np.full(len(series), self.table.take_spare(), dtype=np.int64)
        codes[is_value] = self.table.encode(_tokens(series.drop_nulls()))[0]
        return codes

    def columns(self, codes: I64) -> list[pl.Series]:
        numbers = _numbers(self.table.tokens(codes), self.dtype)
        is_null = codes == self.table.spare
        return [(numbers.set(pl.Series(is_null), None) if is_null.any() else numbers).cast(self.dtype)]

    def keep(self, live: Mask) -> None:
        self.table.keep(live)

    def assign(self, codes: I64, values: pl.Series) -> None:
        is_null = values.is_null().to_numpy()
        spare = codes[is_null]
        self.table.assign(codes[~is_null], _tokens(values.drop_nulls()), None, int(spare[0]) if len(spare) else -1)


@final
class _Texts:
    """A column of texts, or of what has a text of its own: two hashes are the token, and the texts are kept aside."""

    def __init__(self, dtype: pl.DataType) -> None:
        self.dtype = dtype
        self.table = CodeTable(checked=True)
        self._seeds = secrets.randbits(63), secrets.randbits(63)
        self._store = TextStore()
        self._places: I64 = np.zeros(0, dtype=np.int64)
        """Where the text of a code stands in the store."""

    @property
    def size(self) -> int:
        return self.table.size

    @property
    def used(self) -> int:
        return self.table.used

    def encode(self, columns: Sequence[pl.Series]) -> I64:
        texts = _texts(columns[0])
        tokens, checks = self._hashes(texts)
        codes, rows = self.table.encode(tokens, checks)
        if len(rows):
            self._remember(codes[rows], texts, rows)
        return codes

    def columns(self, codes: I64) -> list[pl.Series]:
        texts = self._store.take(self._places[codes])
        return [texts.str.decode("hex") if self.dtype == pl.Binary else texts.cast(self.dtype)]

    def keep(self, live: Mask) -> None:
        self.table.keep(live)
        codes = self.table.codes()
        texts, self._store = self._store.take(self._places[codes]), TextStore()
        self._store.add(texts, np.arange(len(codes)))
        self._places = np.zeros(self.table.size, dtype=np.int64)
        self._places[codes] = np.arange(len(codes))

    def assign(self, codes: I64, values: pl.Series) -> None:
        texts = _texts(values)
        self.table.assign(codes, *self._hashes(texts), -1)
        self._remember(codes, texts, np.arange(len(codes)))

    def _hashes(self, texts: pl.Series) -> tuple[I64, I64]:
        frame = texts.to_frame()
        tokens, checks = (frame.hash_rows(seed).to_numpy().view(np.int64) for seed in self._seeds)
        return tokens, checks

    def _remember(self, codes: I64, texts: pl.Series, rows: I64) -> None:
        if self.table.size > len(self._places):
            self._places = np.resize(self._places, max(self.table.size, 2 * len(self._places)))
        self._places[codes] = np.arange(self._store.size, self._store.size + len(rows))
        self._store.add(texts, rows)


@final
class _Pairs:
    """Key columns together: the codes of all but the last, and those of the last, are one token."""

    def __init__(self, left: _Codes, right: _Column) -> None:
        self.left = left
        self.right = right
        self.table = CodeTable(span=_SPAN)

    @property
    def size(self) -> int:
        return self.table.size

    @property
    def used(self) -> int:
        return self.table.used

    def encode(self, columns: Sequence[pl.Series]) -> I64:
        left, right = self.left.encode(columns[:-1]), self.right.encode(columns[-1:])
        return self.table.encode((left << 32) | right)[0]

    def columns(self, codes: I64) -> list[pl.Series]:
        left, right = self._parts(codes)
        return [*self.left.columns(left), *self.right.columns(right)]

    def keep(self, live: Mask) -> None:
        self.table.keep(live)
        left, right = self._parts(self.table.codes())
        self.left.keep(_mask(left, self.left.size))
        self.right.keep(_mask(right, self.right.size))

    def _parts(self, codes: I64) -> tuple[I64, I64]:
        tokens = self.table.tokens(codes)
        return tokens >> 32, tokens & 0xFFFFFFFF


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    try:
        return frame.get_column(name)
    except pl.exceptions.ColumnNotFoundError:
        raise DataError(f"there is no key column {name!r}, got {frame.columns}") from None


def _column_of(dtype: pl.DataType, name: str) -> _Column:
    if dtype.is_nested() or dtype == pl.Object:
        raise DataError(
            f"key column {name!r} must hold numbers, texts, bytes, bools, dates or times, got {dtype}",
            remedy="group by the fields of a struct, each a column",
        )
    if isinstance(dtype, pl.String | pl.Binary | pl.Categorical | pl.Enum | pl.Decimal | pl.Int128 | pl.UInt128):
        return _Texts(dtype)
    return _Numbers(dtype)


def _paired(columns: Sequence[_Column]) -> _Codes:
    codes: _Codes = columns[0]
    for column in columns[1:]:
        codes = _Pairs(codes, column)
    return codes


def _repaired(codes: _Codes, old: _Column, new: _Column) -> _Codes:
    """Return the codes with one column put in the place of another; their pairs stay as they are."""
    if codes is old:
        return new
    if isinstance(codes, _Pairs):
        codes.left = _repaired(codes.left, old, new)
        codes.right = new if codes.right is old else codes.right
    return codes


def _tokens(series: pl.Series) -> I64:
    """Return values without nulls as int64; equal keys as equal numbers."""
    dtype = series.dtype
    if dtype == pl.Int64:
        return series.to_numpy()
    if dtype == pl.UInt64:
        return series.to_numpy().view(np.int64)
    if dtype.is_float():
        floats = series.cast(pl.Float64).to_numpy() + 0.0  # -0.0 becomes 0.0
        return np.where(np.isnan(floats), np.nan, floats).view(np.int64)
    return series.cast(pl.Int64).to_numpy()


def _numbers(tokens: I64, dtype: pl.DataType) -> pl.Series:
    """Return the numbers that ``_tokens`` made these of; a cast makes values of them."""
    return pl.Series(
        tokens.view(np.uint64) if dtype == pl.UInt64 else tokens.view(np.float64) if dtype.is_float() else tokens
    )


def _texts(series: pl.Series) -> pl.Series:
    """Return the text that stands for each value."""
    if series.dtype == pl.String:
        return series
    return series.bin.encode("hex") if series.dtype == pl.Binary else series.cast(pl.String)


def _mask(codes: I64, size: int) -> Mask:
    mask = np.zeros(size, dtype=np.bool_)
    mask[codes] = True
    return mask
