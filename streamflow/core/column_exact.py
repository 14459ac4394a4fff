"""The sum that rounds once: ``sum(exact=True)`` of floats in the column layout.

A float is a whole number of 53 bits times a power of two, so a sum of floats is a whole number of some 2,200
bits.  It is kept in limbs of 32 bits: cells (``column_sketches``) of code and place of the limb, each holding a sum of
parts of values, which add up exactly in any order.  Only the result is rounded, to the nearest float, ties to even.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt
import polars as pl

from streamflow.core.arrays import I64, Mask
from streamflow.core.column_run import Picked
from streamflow.core.column_scan import Values
from streamflow.core.column_sketches import CellKind, Cells
from streamflow.core.column_values import Form, flatten, nest

F64 = npt.NDArray[np.float64]

_LOWEST = -1126
"""The exponent of the lowest bit of the lowest limb: that of 5e-324 with 53 bits below its highest."""
_LIMBS = 72
_UP, _DOWN, _NAN = 125, 126, 127
"""The places that count infinities and NaN."""
_MASK = (1 << 32) - 1
_BLOCK = 4096
_CROWDED = 1 << 40
"""Limbs this large hand their upper half on when they are packed, so they never leave int64."""


@final
class ExactSum(CellKind):
    """The sum of floats, correctly rounded; 0 where all are null."""

    columns: ClassVar[tuple[str, ...]] = ("total", "partials")
    bits = 7

    def __init__(self, reads: int) -> None:
        self._reads = reads

    def digest(self, picked: Picked) -> Cells:
        present = picked.present(self._reads)
        values = picked.array(self._reads, Form.FLOAT)
        codes = picked.codes
        return self._digested(codes, values) if present is None else self._digested(codes[present], values[present])

    def pack(self, table: Cells) -> Cells:
        packed = table.packed(np.add)
        crowded = (np.abs(packed.numbers) >= _CROWDED) & (packed.places < _LIMBS)
        if not crowded.any():
            return packed
        carries = Cells(packed.cells[crowded] + 1, packed.numbers[crowded] >> 32, self.bits)
        kept = np.where(crowded, packed.numbers & _MASK, packed.numbers)
        return self.join([Cells(packed.cells, kept, self.bits), carries]).packed(np.add)

    def results(self, packed: Cells, codes: I64) -> pl.Series:
        return pl.Series(np.concatenate([_rounded(some, rows, count) for some, rows, count in _blocks(packed, codes)]))

    def export(self, packed: Cells, codes: I64) -> list[pl.Series]:
        """Return the rounded sums, and for each the floats that add up to it exactly."""
        blocks = [_stored(some, rows, count) for some, rows, count in _blocks(packed, codes)]
        return [pl.concat(columns) for columns in zip(*blocks, strict=True)]

    def load(self, codes: I64, columns: list[pl.Series]) -> Cells:
        if len(columns) < len(self.columns) or columns[0].dtype.is_integer():
            return self._loaded_totals(codes, columns[0])
        parts, lengths = flatten(columns[1])
        return self._digested(np.repeat(codes, lengths), parts.to_numpy())

    def _loaded_totals(self, codes: I64, totals: pl.Series) -> Cells:
        if totals.dtype.is_float():
            return self._digested(codes, totals.to_numpy())
        whole = totals.cast(pl.Int64).to_numpy()
        high, low = (whole >> 32) * 2.0**32, (whole & _MASK).astype(np.float64)
        return self._digested(np.concatenate([codes, codes]), np.concatenate([high, low]))

    def _digested(self, codes: I64, values: F64) -> Cells:
        is_finite = np.isfinite(values)
        special = values[~is_finite]
        places = np.where(np.isnan(special), _NAN, np.where(special > 0, _UP, _DOWN))
        specials = self.cells(codes[~is_finite], places, np.ones(len(special), dtype=np.int64))
        codes, values = codes[is_finite], values[is_finite]
        mantissa, exponent = np.frexp(values)
        whole = np.ldexp(np.abs(mantissa), 53).astype(np.int64)
        offset = exponent.astype(np.int64) - 53 - _LOWEST
        place, shift = offset >> 5, offset & 31
        low, high = (whole & _MASK) << shift, (whole >> 32) << shift
        sign = np.where(values < 0, -1, 1)
        limbs = (low & _MASK, (low >> 32) + (high & _MASK), high >> 32)
        return self.join([*(self.cells(codes, place + i, limb * sign) for i, limb in enumerate(limbs)), specials])


def _blocks(packed: Cells, codes: I64) -> Iterator[tuple[Cells, I64, int]]:
    """Yield the cells of a few thousand codes, for each cell its row among them, and how many codes they are."""
    for start in range(0, max(len(codes), 1), _BLOCK):
        block = codes[start : start + _BLOCK]
        low, high = np.searchsorted(packed.codes, block[[0, -1]]) if len(block) else (0, 0)
        high += np.searchsorted(packed.codes[high:], block[-1], side="right") if len(block) else 0
        some = packed.take(np.arange(low, high))
        yield some, np.searchsorted(block, some.codes), len(block)


def _rounded(packed: Cells, rows: I64, count: int) -> F64:
    limbs, is_negative = _carried(_spread(packed, rows, count))
    totals: F64 = np.where(is_negative, -1.0, 1.0) * _nearest(limbs)
    special = np.zeros(count)
    for place, number in ((_UP, np.inf), (_DOWN, -np.inf), (_NAN, np.nan)):
        with np.errstate(invalid="ignore"):
            special[rows[packed.places == place]] += number
    rounded: F64 = np.where(special == 0.0, totals, special)
    return rounded


def _stored(packed: Cells, rows: I64, count: int) -> tuple[pl.Series, pl.Series]:
    """Return the rounded sums, and the floats of each.

    One a limb, or the infinity that a sum out of range rounds to.
    """
    totals = _rounded(packed, rows, count)
    limbs, is_negative = _carried(_spread(packed, rows, count))
    limbs[~np.isfinite(totals)] = 0
    row, place = np.nonzero(limbs)
    parts = np.ldexp(limbs[row, place].astype(np.float64), (32 * place + _LOWEST).astype(np.int32))
    odd = np.flatnonzero(~np.isfinite(totals))
    row, parts = np.append(row, odd), np.append(np.where(is_negative[row], -parts, parts), totals[odd])
    order = np.argsort(row, kind="stable")
    return pl.Series(totals), nest(pl.Series(parts[order]), np.bincount(row, minlength=count).astype(np.int64))


def _spread(packed: Cells, rows: I64, count: int) -> I64:
    """Return the limbs of each sum, the lowest first."""
    limbs = np.zeros((count, _LIMBS), dtype=np.int64)
    is_limb = packed.places < _LIMBS
    limbs[rows[is_limb], packed.places[is_limb]] = packed.numbers[is_limb]
    return limbs


def _carried(limbs: I64) -> tuple[I64, Mask]:
    """Return the limbs of the magnitudes, each from 0 to 2**32 - 1, and which sums are negative."""
    is_negative = _carry(limbs.copy())[:, -1] < 0
    limbs = np.where(is_negative[:, None], -limbs, limbs)
    return _carry(limbs), is_negative


def _carry(limbs: I64) -> I64:
    for place in range(_LIMBS - 1):
        limbs[:, place + 1] += limbs[:, place] >> 32
        limbs[:, place] &= _MASK
    return limbs


def _nearest(limbs: I64) -> F64:
    """Return the float nearest to each magnitude, ties to even."""
    rows = np.arange(len(limbs))
    top = _LIMBS - 1 - np.argmax(limbs[:, ::-1] != 0, axis=1)
    padded = np.concatenate([np.zeros((len(limbs), 2), dtype=np.int64), limbs], axis=1).astype(np.uint64)
    first, second, third = (padded[rows, top + 2 - i] for i in range(3))
    shift = (32 - np.frexp(first.astype(np.float64))[1]).astype(np.uint64)
    word = (((first << np.uint64(32)) | second) << shift) | (third >> (np.uint64(32) - shift))
    below: Values = np.concatenate([np.zeros((len(limbs), 1), dtype=np.int64), np.cumsum(limbs != 0, axis=1)], axis=1)
    is_more = ((third << shift) & np.uint64(_MASK)) | below[rows, np.maximum(top - 2, 0)].astype(np.uint64)
    word |= (is_more != 0).astype(
        np.uint64
    )  # 64 bits are 11 more than a float has: one of them can stand for all below
    with np.errstate(over="ignore"):
        exponent = 32 * (top - 1) + _LOWEST - shift.astype(np.int64)
        rounded: Values = np.ldexp(word.astype(np.float64), exponent.astype(np.int32))
    return rounded
