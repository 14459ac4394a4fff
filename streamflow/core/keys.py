"""Keys as columns, and the key group of each.

A key is a ``str``, ``int``, ``float``, ``bool``, ``bytes``, ``datetime`` or ``date``, or a tuple of these, or None; all
keys of a step have one type (R7).  So the keys of a step are columns (``key_0``, ``key_1`` …) in both layouts, and a
checkpoint written by rows is read by columns.

NaN equals NaN, and -0.0 equals 0.0: ``normal`` sees to it in the row layout, polars does by itself.

A key group is one of 256: the unit in which state moves when the number of workers changes.  ``HASH`` names the
function in every manifest.  It is a polynomial over the bytes of the typed encoding, taken with numpy over all keys
at once, and depends on nothing but the bytes: no seed, no version of Python or polars.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streamflow.errors import DataError

GROUPS = 256
HASH = "poly64-1"

_SCALARS = (str, int, float, bool, bytes, datetime, date, type(None))
_P = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_TAGS = {"str": 1, "int": 2, "float": 3, "bool": 4, "bytes": 5, "datetime": 6, "date": 7, "null": 8}
U64 = npt.NDArray[np.uint64]


def normal(key: Any) -> Any:
    """Return the key as the pane store keeps it: one NaN, no -0.0."""
    if isinstance(key, float):
        return _NAN if key != key else key + 0.0
    if isinstance(key, tuple):
        return tuple(normal(k) for k in key)
    return key


_NAN = float("nan")


def require_key(key: object) -> Hashable:
    """Return a key that can be kept and stored.

    Raises:
        DataError: If it is of a type that cannot.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if parts and all(isinstance(part, _SCALARS) for part in parts):
        return key
    raise DataError(
        "a key must be a str, int, float, bool, bytes, datetime or date, or a tuple of these,"
        f" got {type(key).__name__} {key!r}",
        remedy="return a field, or a tuple of fields, from key_by",
    )


def key_frame(keys: Sequence[Any]) -> pl.DataFrame:
    """Return the columns of a list of keys of one type.

    Raises:
        DataError: If the types are mixed.
    """
    is_tuple = next((isinstance(k, tuple) for k in keys), False)
    columns: Iterable[Iterable[Any]] = zip(*keys, strict=True) if is_tuple else (keys,)
    try:
        return pl.DataFrame([pl.Series(f"key_{i}", list(c), strict=True) for i, c in enumerate(columns)])
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the keys of a step must have one type: {error}", remedy="convert them in key_by") from error


def key_list(frame: pl.DataFrame) -> list[Any]:
    """Return the keys that ``key_frame`` made columns of."""
    columns = key_columns(frame)
    if len(columns) == 1:
        return [normal(k) for k in frame.get_column(columns[0]).to_list()]
    return [normal(k) for k in frame.select(columns).iter_rows()]


def key_columns(frame: pl.DataFrame) -> list[str]:
    """Return the names of the key columns of a state frame, in order."""
    return sorted((c for c in frame.columns if c.startswith("key_")), key=lambda c: int(c[4:]))


def key_groups(frame: pl.DataFrame) -> npt.NDArray[np.uint8]:
    """Return the key group of each row, from its key columns; a few numpy passes over the bytes."""
    total: U64 = np.zeros(frame.height, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for name in key_columns(frame):
            total = _mix(total * np.uint64(31) + _hash_column(frame.get_column(name)))
    return (total >> np.uint64(56)).astype(np.uint8)


def _hash_column(column: pl.Series) -> U64:
    dtype = column.dtype
    missing = column.is_null().to_numpy()
    if dtype == pl.Null:
        return np.full(len(column), _TAGS["null"], dtype=np.uint64)
    if dtype in (pl.String, pl.Binary, pl.Categorical):
        tag = _TAGS["bytes" if dtype == pl.Binary else "str"]
        hashed = _hash_bytes(column if dtype == pl.Binary else column.cast(pl.String).cast(pl.Binary))
    elif dtype.is_float():
        tag = _TAGS["float"]
        hashed = (column.fill_null(0.0).cast(pl.Float64).to_numpy() + 0.0).view(np.uint64)
    else:
        tag = _TAGS[
            "bool"
            if dtype == pl.Boolean
            else "datetime"
            if dtype == pl.Datetime
            else "date"
            if dtype == pl.Date
            else "int"
        ]
        hashed = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64)
    result: U64 = np.where(missing, np.uint64(_TAGS["null"]), _mix(hashed ^ np.uint64(tag * _P & _MASK)))
    return result


def _hash_bytes(column: pl.Series) -> U64:
    filled = column.fill_null(b"")
    lengths = filled.bin.size().to_numpy().astype(np.int64)
    data = np.frombuffer(b"".join(filled.to_list()), dtype=np.uint8)
    if not len(data):
        return lengths.astype(np.uint64)
    starts = np.cumsum(lengths) - lengths
    within = np.arange(len(data)) - np.repeat(starts, lengths)
    powers = np.array([pow(_P, i + 1, 1 << 64) for i in range(int(lengths.max()))], dtype=np.uint64)
    terms = np.append((data.astype(np.uint64) + np.uint64(1)) * powers[within], np.uint64(0))
    sums: U64 = np.add.reduceat(terms, starts)
    hashed: U64 = np.where(lengths == 0, np.uint64(0), sums) + lengths.astype(np.uint64)
    return hashed


def _mix(x: U64) -> U64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: U64 = x ^ (x >> np.uint64(31))
    return mixed
