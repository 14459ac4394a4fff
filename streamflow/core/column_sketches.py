"""Long states that count instead of keeping: sketches of distinct values and of quantiles.

They are tables of *cells*: a code and a small number in one int64, and beside it a number that is added up, or of
which the largest counts.  Packing them is exact, associative and commutative, so no cut or order changes a result.
The arithmetic of the sketches is in ``hyperloglog`` and ``ddsketch``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt
import polars as pl

from streamflow.core import ddsketch, hyperloglog
from streamflow.core.arrays import I64, Mask
from streamflow.core.column_run import Picked
from streamflow.core.column_scan import Groups, lengths_of
from streamflow.core.column_values import Form, flatten, nest, to_series
from streamflow.errors import CheckpointError

F64 = npt.NDArray[np.float64]

_NO_CODES = np.zeros(0, dtype=np.int64)
_MIDDLE = 1 << 31
"""Added to a bucket, so that it is not negative."""
_NOWHERE = -1
"""The place of a value that is not counted."""
_RANKS = hyperloglog.histogram(hyperloglog.empty(1, hyperloglog.LEAST_P)).shape[1]
_MOST_AT_ONCE = 2_000_000
"""So many numbers are followed at a time."""


@final
@dataclass(frozen=True, slots=True)
class Cells:
    """Numbers of cells; a cell is a code and a number below ``2**bits``."""

    cells: I64
    numbers: I64
    bits: int

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def codes(self) -> I64:
        """The code of each cell."""
        return self.cells >> self.bits

    @property
    def places(self) -> I64:
        """The number of each cell within its code."""
        return self.cells & ((1 << self.bits) - 1)

    def take(self, rows: I64) -> Cells:
        """Return some cells."""
        return Cells(self.cells[rows], self.numbers[rows], self.bits)

    def recoded(self, codes: I64) -> Cells:
        """Return the same numbers under other codes."""
        return Cells((codes << self.bits) | self.places, self.numbers, self.bits)

    def packed(self, ufunc: np.ufunc) -> Cells:
        """Return each cell once, ascending, with its numbers put together."""
        if not len(self):
            return self
        order = np.argsort(self.cells)
        cells, numbers = self.cells[order], self.numbers[order]
        starts = np.flatnonzero(np.diff(cells, prepend=cells[0] - 1))
        return Cells(cells[starts], ufunc.reduceat(numbers, starts), self.bits)


class CellKind:
    """What the kinds share that keep cells."""

    bits: int
    ufunc: ClassVar[np.ufunc] = np.add

    def cells(self, codes: I64, places: I64, numbers: I64) -> Cells:
        """Return cells of these codes."""
        return Cells((codes << self.bits) | places, numbers, self.bits)

    def join(self, tables: Sequence[Cells]) -> Cells:
        if not tables:
            return Cells(_NO_CODES, _NO_CODES, self.bits)
        if len(tables) == 1:
            return tables[0]
        return Cells(np.concatenate([t.cells for t in tables]), np.concatenate([t.numbers for t in tables]), self.bits)

    def pack(self, table: Cells) -> Cells:
        return table.packed(self.ufunc)

    def each(self, packed: Cells, rows: Cells, picked: Picked, groups: Groups) -> pl.Series | None:
        return None


@final
class ApproxDistinct(CellKind):
    """HyperLogLog: the registers that are not zero, each with its rank."""

    columns: ClassVar[tuple[str, ...]] = ("registers",)
    ufunc = np.maximum

    def __init__(self, reads: int, p: int) -> None:
        self._reads = reads
        self.bits = p

    def digest(self, picked: Picked) -> Cells:
        some = picked.only(self._reads)
        registers, ranks = hyperloglog.ranks(hyperloglog.hash_values(some.series(self._reads)), self.bits)
        return self.cells(some.codes, registers, ranks.astype(np.int64))

    def results(self, packed: Cells, codes: I64) -> pl.Series:
        return pl.Series(hyperloglog.estimate(self._histograms(packed, codes)))

    def each(self, packed: Cells, rows: Cells, picked: Picked, groups: Groups) -> pl.Series | None:
        """Follow the histogram of each key's ranks: a row that raises a register moves one of them."""
        present = picked.present(self._reads)
        places = np.arange(len(picked)) if present is None else np.flatnonzero(present)
        known, cells = np.unique(np.concatenate([packed.cells, rows.cells]), return_inverse=True)
        before, after = self._raised(
            len(known), cells[: len(packed)], packed.numbers, cells[len(packed) :], rows.numbers
        )
        moves = np.zeros((len(picked), _RANKS), dtype=np.int64)
        np.add.at(moves, (places, after), 1)
        np.add.at(moves, (places, before), -1)
        run = groups.running_total(self._histograms(packed, picked.codes[groups.last], is_ascending=False), moves)
        return pl.Series(hyperloglog.estimate(run))

    @staticmethod
    def _raised(size: int, held: I64, ranks: I64, cells: I64, offered: I64) -> tuple[I64, I64]:
        """Return the rank of each row's register before and after the row."""
        initial = np.zeros(size, dtype=np.int64)
        initial[held] = ranks
        registers = Groups(cells)
        after = registers.running(np.maximum, initial[registers.slots], offered)
        is_first = registers.previous < 0
        return np.where(is_first, initial[cells], after[registers.previous]), after

    def _histograms(self, packed: Cells, codes: I64, *, is_ascending: bool = True) -> I64:
        """Return how many registers of each code have each rank."""
        order = np.arange(len(codes)) if is_ascending else np.argsort(codes)
        at = order[np.searchsorted(codes[order], packed.codes)] if len(packed) else _NO_CODES
        counts = np.bincount(at * _RANKS + packed.numbers, minlength=len(codes) * _RANKS).reshape(len(codes), _RANKS)
        counts[:, 0] = (1 << self.bits) - counts.sum(axis=1)
        return counts.astype(np.int64, copy=False)

    def export(self, packed: Cells, codes: I64) -> list[pl.Series]:
        registers = hyperloglog.empty(len(codes), self.bits)
        registers[np.searchsorted(codes, packed.codes), packed.places] = packed.numbers
        return [pl.Series(registers).cast(pl.List(pl.UInt8)).cast(pl.Binary)]

    def load(self, codes: I64, columns: list[pl.Series]) -> Cells:
        width = 1 << self.bits
        sizes = columns[0].bin.size()
        if len(codes) and (sizes.min(), sizes.max()) != (width, width):
            raise CheckpointError(
                f"approx_distinct was stored with {int(sizes.to_numpy().max())} registers, and has {width} now",
                remedy="keep p as it was, or start afresh with a new generation",
            )
        flat = columns[0].cast(pl.List(pl.UInt8)).explode().to_numpy().reshape(len(codes), width)
        rows, registers = np.nonzero(flat)
        return self.cells(codes[rows], registers, flat[rows, registers].astype(np.int64))


@final
class Quantiles(CellKind):
    """DDSketch: the number of values in each bucket.  Null and NaN are passed over."""

    columns: ClassVar[tuple[str, ...]] = ("buckets",)
    bits = 32

    def __init__(self, reads: int, qs: Sequence[float], accuracy: float, *, is_single: bool) -> None:
        self._reads = reads
        self._qs = tuple(qs)
        self._accuracy = accuracy
        self._is_single = is_single

    def digest(self, picked: Picked) -> Cells:
        places = self._places(picked)
        kept = np.flatnonzero(places != _NOWHERE)
        return self.cells(picked.codes[kept], places[kept], np.ones(len(kept), dtype=np.int64))

    def results(self, packed: Cells, codes: I64) -> pl.Series:
        sketch = np.searchsorted(codes, packed.codes)
        has_any = np.zeros(len(codes), dtype=np.bool_)
        has_any[sketch] = True
        number = (np.cumsum(has_any) - 1)[sketch]
        found = ddsketch.quantiles(number, packed.places - _MIDDLE, packed.numbers, self._qs, self._accuracy)
        values = np.zeros((len(codes), len(self._qs)))
        values[has_any] = found
        return self._column(values, has_any)

    def each(self, packed: Cells, rows: Cells, picked: Picked, groups: Groups) -> pl.Series | None:
        """Follow, key by key, how many values there are up to each bucket."""
        places, codes = self._places(picked), packed.codes
        found = np.full((len(picked), len(self._qs)), _NOWHERE, dtype=np.int64)
        for members in groups.members():
            code = picked.codes[members[0]]
            held = packed.take(np.arange(*np.searchsorted(codes, [code, code + 1])))
            found[members] = self._followed(held, places[members])
        has_any = found[:, 0] != _NOWHERE
        values = ddsketch.values_of(np.where(has_any[:, None], found, _MIDDLE) - _MIDDLE, self._accuracy)
        return self._column(values, has_any)

    def _followed(self, held: Cells, offered: I64) -> I64:
        """Return the place of each quantile after each row of a key.

        Args:
            held: What the key has before them.
            offered: The place that each row counts in, or nowhere.
        """
        places = np.union1d(held.places, offered[offered != _NOWHERE])
        counts = np.zeros(len(places), dtype=np.int64)
        counts[np.searchsorted(places, held.places)] = held.numbers
        up_to = counts.cumsum()
        steps = np.where(offered == _NOWHERE, len(places), np.searchsorted(places, offered))
        found = np.full((len(offered), len(self._qs)), _NOWHERE, dtype=np.int64)
        size = max(1, _MOST_AT_ONCE // max(len(places), 1))
        for start in range(0, len(offered) if len(places) else 0, size):
            some = slice(start, start + size)
            run = up_to + np.cumsum(steps[some, None] <= np.arange(len(places)), axis=0)
            up_to, total = run[-1], run[:, -1]
            for column, q in enumerate(self._qs):
                wanted = np.floor(q * (total - 1)).astype(np.int64)
                at = np.count_nonzero(run <= wanted[:, None], axis=1)
                found[some, column] = np.where(total > 0, places.take(at, mode="clip"), _NOWHERE)
        return found

    def _places(self, picked: Picked) -> I64:
        """Return the place that each row counts in; nowhere for null and NaN."""
        values, present = picked.array(self._reads, Form.FLOAT), picked.present(self._reads)
        is_number = ~np.isnan(values) if present is None else present & ~np.isnan(values)
        buckets = ddsketch.buckets(values if is_number.all() else np.where(is_number, values, 0.0), self._accuracy)
        return np.where(is_number, buckets.astype(np.int64) + _MIDDLE, _NOWHERE)

    def _column(self, values: F64, has_any: Mask) -> pl.Series:
        """Return rows of quantiles as a column, null where a row has none."""
        flat = to_series(values.ravel(), None, np.repeat(has_any, len(self._qs)))
        return flat if self._is_single else flat.reshape((len(values), len(self._qs))).cast(pl.List(pl.Float64))

    def export(self, packed: Cells, codes: I64) -> list[pl.Series]:
        buckets = pl.Series("bucket", packed.places - _MIDDLE).cast(pl.Int32)
        items = pl.DataFrame([buckets, pl.Series("n", packed.numbers)]).to_struct()
        return [nest(items, lengths_of(packed.codes, codes))]

    def load(self, codes: I64, columns: list[pl.Series]) -> Cells:
        flat, lengths = flatten(columns[0])
        fields = flat.struct.unnest()
        buckets = fields.get_column("bucket").cast(pl.Int64).to_numpy()
        return self.cells(np.repeat(codes, lengths), buckets + _MIDDLE, fields.get_column("n").to_numpy())
