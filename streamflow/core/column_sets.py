"""The long state that keeps the distinct values of each key, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64
from streamflow.core.column_run import Picked
from streamflow.core.column_scan import Groups, lengths_of, stable_order
from streamflow.core.column_values import flatten, nest

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
        some = picked.only(self._reads)
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
        return pl.Series(lengths_of(packed.codes, codes))

    def each(self, packed: Members, rows: Members, picked: Picked, groups: Groups) -> pl.Series | None:
        """Count a row where its value is the first of its key, in the state or the batch."""
        present = picked.present(self._reads)
        table = self.join([packed, rows])
        is_new = np.zeros(len(picked), dtype=np.int64)
        first = table.frame().to_struct().is_first_distinct().to_numpy()
        is_new[slice(None) if present is None else present] = first[len(packed) :]
        initial = lengths_of(packed.codes, picked.codes[groups.last])
        return pl.Series(groups.running(np.add, initial, is_new))

    def export(self, packed: Members, codes: I64) -> list[pl.Series]:
        return [nest(packed.values, lengths_of(packed.codes, codes))]

    def load(self, codes: I64, columns: list[pl.Series]) -> Members:
        values, lengths = flatten(columns[0])
        return Members(np.repeat(codes, lengths), values)
