"""HyperLogLog: about how many distinct values there are, in 2**p bytes.

Flajolet, Fusy, Gandouet and Meunier (2007), with the estimator of Ertl (2017): no tables, no switch between ranges, and
a standard error of ``1.04 / sqrt(2**p)`` from nothing up to 2**50 values.

A sketch is a row of ``2**p`` registers.  A value's 64-bit hash names a register by its first ``p`` bits; the register
keeps the largest rank seen, one more than the number of leading zeros of the last 46 bits.  So the merge of two
sketches is the larger of each register: exactly associative, commutative and idempotent, and no cut or order changes a
bit of it.

The hash is ours: it depends on the value alone, never on a seed, a machine, a version of Python or polars, or on the
layout.  It is part of the format of a checkpoint, so it can never change.  Knows nothing of keys, panes and batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streamflow.core.arrays import I64
from streamflow.errors import DataError, DefinitionError

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]

LEAST_P, MOST_P = 4, 18

_RANKED = 46  # bits of a hash whose leading zeros count: apart from the register's at every p
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 1 << 64
_INT, _FLOAT, _TEXT, _BYTES, _BOOL, _DATETIME, _DATE, _TIME, _DURATION = range(1, 10)
_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_WORD_TAGS: dict[Any, int] = dict.fromkeys(_INTEGERS, _INT) | {pl.Boolean: _BOOL, pl.Date: _DATE, pl.Time: _TIME}


def require_p(p: object) -> int:
    """Return the precision: the number of bits of a hash that name a register.

    Raises:
        DefinitionError: If it is not a whole number from 4 to 18.
    """
    if isinstance(p, bool) or not isinstance(p, int) or not LEAST_P <= p <= MOST_P:
        raise DefinitionError(
            f"p must be a whole number from {LEAST_P} to {MOST_P}, got {p!r}",
            remedy="12 gives a standard error of 1.6 % and takes 4 KiB a key",
        )
    return p


def hash_values(values: pl.Series) -> U64:
    """Return the hash of each value; what it is for a null means nothing: leave nulls out.

    Equal numbers hash alike, ints or floats (``1`` and ``1.0``, ``0.0`` and ``-0.0``), every NaN is one value, and an
    instant hashes alike in every time unit.

    Raises:
        DataError: If values of this type cannot be hashed: lists, structs, decimals, objects.
    """
    dtype = values.dtype
    if (tag := _WORD_TAGS.get(dtype.base_type())) is not None:
        return _hash_words(_integers(values), tag)
    if dtype in (pl.Datetime, pl.Duration):
        tag = _DATETIME if dtype == pl.Datetime else _DURATION
        return _hash_words(_integers(values.dt.cast_time_unit("us")), tag)
    if dtype.is_float():
        return hash_floats(values.to_numpy().astype(np.float64, copy=False))
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _hash_bytes(values.cast(pl.String).cast(pl.Binary).to_list(), _TEXT)
    if dtype == pl.Binary:
        return _hash_bytes(values.to_list(), _BYTES)
    if dtype == pl.Null:
        return np.zeros(len(values), dtype=np.uint64)
    raise DataError(
        f"approx_distinct counts numbers, texts, bytes, bools, dates and times, got {dtype}",
        remedy="read one field, or make a text of several",
    )


def hash_integers(values: I64) -> U64:
    """Return the hash of each int, as ``hash_values`` does."""
    return _hash_words(values.view(np.uint64), _INT)


def hash_floats(values: F64) -> U64:
    """Return the hash of each float, as ``hash_values`` does; a whole number hashes as the int it equals."""
    is_whole = (np.floor(values) == values) & (np.abs(values) < 2.0**63)
    whole = np.where(is_whole, values, 0.0).astype(np.int64).view(np.uint64)
    bits = np.where(np.isnan(values), np.nan, values).view(np.uint64)
    return np.where(is_whole, _hash_words(whole, _INT), _hash_words(bits, _FLOAT))


def hash_texts(values: Sequence[str]) -> U64:
    """Return the hash of each text, as ``hash_values`` does."""
    return _hash_bytes([value.encode("utf-8", "surrogatepass") for value in values], _TEXT)


def ranks(hashes: U64, p: int) -> tuple[I64, U8]:
    """Return the register that each hash names, and the rank it brings there (1 to 47)."""
    registers = (hashes >> np.uint64(64 - p)).astype(np.int64)
    rest = (hashes & np.uint64((1 << _RANKED) - 1)).astype(np.float64)  # exact: it is below 2**53
    return registers, (_RANKED + 1 - np.frexp(rest)[1]).astype(np.uint8)


def empty(sketches: int, p: int) -> U8:
    """Return the registers of so many sketches of nothing, one row each."""
    return np.zeros((sketches, 1 << p), dtype=np.uint8)


def update(sketches: U8, rows: I64 | int, hashes: U64) -> None:
    """Put each hash into the sketch in its row, in place."""
    p = sketches.shape[1].bit_length() - 1
    registers, rank = ranks(hashes, p)
    np.maximum.at(sketches.reshape(-1), rows * sketches.shape[1] + registers, rank)


def merge(a: U8, b: U8) -> U8:
    """Return the sketches of the values of both, row by row."""
    return np.maximum(a, b)


def histogram(sketches: U8) -> I64:
    """Return how many registers of each sketch have each rank, 0 to 47: all that ``estimate`` reads."""
    count, size = sketches.shape
    return histograms(np.repeat(np.arange(count), size), sketches.ravel(), count, size.bit_length() - 1)


def histograms(sketch: I64, ranks: U8, count: int, p: int) -> I64:
    """Return the histogram of each of ``count`` sketches, of the ranks of its registers; zeros may be left out."""
    width = _RANKED + 2
    counts: I64 = np.bincount(sketch * width + ranks, minlength=count * width).reshape(count, width)
    counts[:, 0] = (1 << p) - counts[:, 1:].sum(axis=1)
    return counts


def estimate(histograms: I64) -> I64:
    """Return about how many distinct values each sketch has seen, of its ``histogram`` (Ertl 2017, algorithm 6)."""
    count, width = histograms.shape
    if not count:
        return np.zeros(0, dtype=np.int64)
    m = float(histograms[0].sum())
    total = m * _tau(1.0 - histograms[:, -1] / m)
    for rank in range(width - 2, 0, -1):
        total = 0.5 * (total + histograms[:, rank])
    total = total + m * _sigma(histograms[:, 0] / m)
    with np.errstate(divide="ignore"):
        distinct = m * m / (2.0 * np.log(2.0)) / total
    rounded: I64 = np.rint(np.minimum(distinct, 2.0**62)).astype(np.int64)
    return rounded


def _sigma(x: F64) -> F64:
    """Return ``x + sum(x**(2**k) * 2**(k-1), k >= 1)``; infinite where all registers are zero."""
    full = x >= 1.0
    power, weight, total = np.where(full, 0.0, x), 1.0, np.where(full, np.inf, x)
    while True:
        power = power * power
        grown = total + power * weight
        weight += weight
        if np.array_equal(grown, total):
            return grown
        total = grown


def _tau(x: F64) -> F64:
    """Return ``(1 - x - sum((1 - x**(2**-k))**2 * 2**-k, k >= 1)) / 3``; zero while no register is full."""
    ends = (x <= 0.0) | (x >= 1.0)
    root, weight = np.where(ends, 1.0, x), 1.0
    total = 1.0 - root
    while True:
        root = np.sqrt(root)
        weight *= 0.5
        shrunk = total - (1.0 - root) ** 2 * weight
        if np.array_equal(shrunk, total):
            return shrunk / 3.0
        total = shrunk


def _integers(values: pl.Series) -> U64:
    physical = values.to_physical()
    if physical.null_count():
        physical = physical.cast(pl.UInt8).fill_null(0) if physical.dtype == pl.Boolean else physical.fill_null(0)
    numbers = physical.to_numpy()
    return numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64, copy=False).view(np.uint64)


def _hash_words(words: U64, tag: int) -> U64:
    return _mix(_mix(words ^ np.uint64(tag * _GOLDEN % _WORD)) + np.uint64(_GOLDEN))


def _hash_bytes(values: Sequence[bytes | None], tag: int) -> U64:
    """Hash bytes eight at a time, all values of about one length together: the room is at most twice what they hold."""
    texts = [value or b"" for value in values]
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    words = (lengths + 7) >> 3
    sizes = np.frexp(words)[1]  # 1, 2-3, 4-7 … words
    hashes = lengths.astype(np.uint64)  # tells b"" from a null byte
    for size in np.flatnonzero(np.bincount(sizes[sizes > 0])).tolist():
        rows = np.flatnonzero(sizes == size)
        same = texts if len(rows) == len(texts) else [texts[row] for row in rows.tolist()]
        block = np.array(same, dtype=f"S{(8 << size) - 8}").view("<u8").reshape(len(rows), -1)
        hashes[rows] += _mix(_hash_block(block, words[rows]))
    return _hash_words(hashes, tag)


def _hash_block(block: U64, words: I64) -> U64:
    places = np.arange(block.shape[1])
    terms = _mix(block + _mix((places + 1).astype(np.uint64) * np.uint64(_GOLDEN)))
    terms[places >= words[:, None]] = 0
    sums: U64 = terms.sum(axis=1, dtype=np.uint64)
    return sums


def _mix(x: U64) -> U64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
