"""Long states that keep what there was: the distinct values, exactly or roughly, and quantiles.

All but the first are tables of *cells*: a code and a small number in one int64, and beside it a number that is added
up, or of which the largest counts.  Packing them is exact, associative and commutative, so no cut or order changes a
result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import polars as pl

from streamflow.core import ddsketch, hyperloglog
from streamflow.core.arrays import I64
from streamflow.core.column_run import Picked
from streamflow.core.column_scan import Groups, stable_order
from streamflow.core.column_values import Form, flatten, nest
from streamflow.errors import CheckpointError

_NO_CODES = np.zeros(0, dtype=np.int64)


@final
@dataclass(frozen=True, slots=True)
class Members:
    """Values, each with the code of the key that has it."""

    codes: I64
    values: pl.Series

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: I64) -> Members:
        """Return some rows."""
        return Members(self.codes[rows], self.values[rows])

    def recoded(self, codes: I64) -> Members:
        """Return the same values under other codes."""
        return Members(codes, self.values)

    def frame(self) -> pl.DataFrame:
        """Return both as columns."""
        return pl.DataFrame([pl.Series("code", self.codes), self.values.alias("value")])


@final
class Distinct:
    """The number of distinct values that are not null; NaN is one."""

    columns: ClassVar[tuple[str, ...]] = ("values",)

    def __init__(self, reads: int, dtype: pl.DataType) -> None:
        self._reads = reads
        self._dtype = dtype

    def digest(self, picked: Picked) -> Members:
        some = _present(picked, self._reads)
        return Members(some.codes, some.series(self._reads))

    def join(self, tables: Sequence[Members]) -> Members:
        if not tables:
            return Members(_NO_CODES, pl.Series(dtype=self._dtype))
        if len(tables) == 1:
            return tables[0]
        return Members(np.concatenate([t.codes for t in tables]), pl.concat([t.values for t in tables]))

    def pack(self, table: Members) -> Members:
        distinct = table.frame().unique()
        codes = distinct.get_column("code").to_numpy()
        return Members(codes, distinct.get_column("value")).take(stable_order(codes))

    def results(self, packed: Members, codes: I64) -> pl.Series:
        return pl.Series(_lengths(packed.codes, codes))

    def each(self, packed: Members, rows: Members, picked: Picked, groups: Groups) -> pl.Series | None:
        """Count a row where its value is the first of its key, in the state or the batch."""
        present = picked.present(self._reads)
        table = self.join([packed, rows])
        is_new = np.zeros(len(picked), dtype=np.int64)
        first = table.frame().to_struct().is_first_distinct().to_numpy()
        is_new[slice(None) if present is None else present] = first[len(packed) :]
        initial = _lengths(packed.codes, picked.codes[groups.last])
        return pl.Series(groups.running(np.add, initial, is_new))

    def export(self, packed: Members, codes: I64) -> list[pl.Series]:
        return [nest(packed.values, _lengths(packed.codes, codes))]

    def load(self, codes: I64, columns: list[pl.Series]) -> Members:
        values, lengths = flatten(columns[0])
        return Members(np.repeat(codes, lengths), values)


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
        some = _present(picked, self._reads)
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
        some = _present(picked, self._reads)
        values = some.array(self._reads, Form.FLOAT)
        is_number = ~np.isnan(values)
        if not is_number.all():
            values, some = values[is_number], some.at(np.flatnonzero(is_number))
        places = ddsketch.buckets(values, self._accuracy).astype(np.int64) + _MIDDLE
        return self.cells(some.codes, places, np.ones(len(places), dtype=np.int64))

    def results(self, packed: Cells, codes: I64) -> pl.Series:
        sketch = np.searchsorted(codes, packed.codes)
        has_any = np.zeros(len(codes), dtype=np.bool_)
        has_any[sketch] = True
        number = (np.cumsum(has_any) - 1)[sketch]
        found = ddsketch.quantiles(number, packed.places - _MIDDLE, packed.numbers, self._qs, self._accuracy)
        values = np.zeros((len(codes), len(self._qs)))
        values[has_any] = found
        flat = pl.Series(values.ravel())
        if not has_any.all():
            flat = flat.set(pl.Series(np.repeat(~has_any, len(self._qs))), None)
        if self._is_single:
            return flat
        return flat.reshape((len(codes), len(self._qs))).cast(pl.List(pl.Float64))

    def export(self, packed: Cells, codes: I64) -> list[pl.Series]:
        buckets = pl.Series("bucket", packed.places - _MIDDLE).cast(pl.Int32)
        items = pl.DataFrame([buckets, pl.Series("n", packed.numbers)]).to_struct()
        return [nest(items, _lengths(packed.codes, codes))]

    def load(self, codes: I64, columns: list[pl.Series]) -> Cells:
        flat, lengths = flatten(columns[0])
        fields = flat.struct.unnest()
        buckets = fields.get_column("bucket").cast(pl.Int64).to_numpy()
        return self.cells(np.repeat(codes, lengths), buckets + _MIDDLE, fields.get_column("n").to_numpy())


_MIDDLE = 1 << 31
_RANKS = hyperloglog.histogram(hyperloglog.empty(1, hyperloglog.LEAST_P)).shape[1]


def _present(picked: Picked, place: int) -> Picked:
    """Return the rows that have a value."""
    present = picked.present(place)
    return picked if present is None else picked.at(np.flatnonzero(present))


def _lengths(ascending: I64, codes: I64) -> I64:
    """Return how often each code stands among ascending ones."""
    return np.searchsorted(ascending, codes, side="right") - np.searchsorted(ascending, codes, side="left")
