"""A batch as the aggregations of a step read it: a code for each key, and what they read, each evaluated once.

Knows no state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64, Index, Mask
from streamflow.core.column_scan import Values
from streamflow.core.column_values import Form, to_array
from streamflow.core.columns import Columns
from streamflow.core.stamps import Stamps
from streamflow.errors import DataError

_READ = "__streamflow_read_{}"


@final
class Inputs:
    """The distinct expressions that the aggregations of a step read, and their types.

    Types are settled by the first batch.  A restored state may say them before, but less well (ints of Python are all
    Int64): then the first batch has the last word.

    Attributes:
        expressions: The expressions, each once.
        dtypes: The type of each; Null while nothing better is known.
    """

    __slots__ = ("_computed", "_is_settled", "_names", "dtypes", "expressions")

    def __init__(self) -> None:
        self.expressions: list[pl.Expr] = []
        self.dtypes: list[pl.DataType] = []
        self._is_settled = False
        self._names: list[str | None] = []
        """The column that an expression is, None where it must be computed."""
        self._computed: list[pl.Expr] = []

    def add(self, expression: pl.Expr) -> int:
        """Return the place of an expression; the same one has one place."""
        for place, known in enumerate(self.expressions):
            if known.meta.eq(expression):
                return place
        place = len(self.expressions)
        self.expressions.append(expression)
        self.dtypes.append(pl.Null())
        self._names.append(_plain_column(expression))
        if self._names[place] is None:
            self._computed.append(expression.alias(_READ.format(place)))
        return place

    def read(self, frame: pl.DataFrame) -> list[pl.Series]:
        """Return what each expression gives for each row; one polars call for all that are not plain columns.

        Raises:
            DataError: If a column is missing, or an expression cannot be computed.
        """
        try:
            computed = frame.with_columns(self._computed) if self._computed else frame
            return [computed.get_column(name or _READ.format(place)) for place, name in enumerate(self._names)]
        except pl.exceptions.ColumnNotFoundError as error:
            raise DataError(
                f"an aggregation reads a column that is not there: {error}; there are {frame.columns}"
            ) from error
        except pl.exceptions.PolarsError as error:
            raise DataError(f"what an aggregation reads cannot be computed: {error}") from error

    def fits(self, series: Sequence[pl.Series]) -> bool:
        """Return whether what was read has the types that are settled."""
        return self._is_settled and all(s.dtype == dtype for s, dtype in zip(series, self.dtypes, strict=True))

    def settle(self, series: Sequence[pl.Series]) -> list[pl.DataType]:
        """Return the types that what was read settles; they are not taken yet.

        Raises:
            DataError: If one was settled as another type before.
        """
        types = list(self.dtypes)
        for place, (one, known) in enumerate(zip(series, self.dtypes, strict=True)):
            if one.dtype in (known, pl.Null):
                continue
            if self._is_settled and known != pl.Null:
                raise DataError(
                    f"column {self.name(place)} was {known} so far, got {one.dtype}",
                    remedy="cast it to one type before agg",
                )
            types[place] = one.dtype
        self._is_settled = True
        return types

    def name(self, place: int) -> str:
        """Return what an expression is called in messages."""
        name = self._names[place]
        return str(self.expressions[place]) if name is None else repr(name)


@final
class ColumnRun:
    """A batch as the aggregations read it.

    It is read once and folded in parts: what a part needs is made once for the batch.
    """

    __slots__ = ("__weakref__", "_arrays", "_present", "batch", "codes", "series")

    def __init__(self, batch: Columns, codes: I64, series: list[pl.Series]) -> None:
        self.batch = batch
        self.codes = codes
        self.series = series
        self._arrays: dict[tuple[int, Form], Values] = {}
        self._present: list[Mask | None] = [None if not s.null_count() else s.is_not_null().to_numpy() for s in series]

    def __len__(self) -> int:
        return len(self.codes)

    def present(self, place: int) -> Mask | None:
        """Return where an expression gave a value; None where it did for every row."""
        return self._present[place]

    def array(self, place: int, form: Form) -> Values:
        """Return an expression's values; anything where they are null."""
        array = self._arrays.get((place, form))
        if array is None:
            array = self._arrays[place, form] = self._made(place, form)
        return array

    def _made(self, place: int, form: Form) -> Values:
        series = self.series[place]
        dtype = form.dtype(series.dtype)
        for (other, made_form), array in self._arrays.items():
            if other == place and made_form.dtype(series.dtype) == dtype:
                return array
        try:
            return to_array(series, form)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"an aggregation cannot take what it reads: {error}") from error


@final
class Picked:
    """Some rows of a run."""

    __slots__ = ("_present", "_values", "codes", "rows", "run")

    def __init__(self, run: ColumnRun, rows: Index, codes: I64 | None = None) -> None:
        self.run = run
        self.rows = _stretch(rows, len(run))
        self.codes: I64 = run.codes[self.rows] if codes is None else codes
        self._values: dict[int, Values] = {}
        self._present: dict[int, Mask | None] = {}

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def stamps(self) -> Stamps:
        """The stamps of the rows."""
        return self.run.batch.stamps.take(self.rows)

    def present(self, place: int) -> Mask | None:
        """Return which rows have a value of an expression; None where all have."""
        if place not in self._present:
            present = self.run.present(place)
            if present is not None:
                present = present[self.rows]
            self._present[place] = None if present is None or present.all() else present
        return self._present[place]

    def array(self, place: int, form: Form) -> Values:
        """Return an expression's values; anything where they are null."""
        whole = self.run.array(place, form)
        if id(whole) not in self._values:  # the run holds it, so no other array takes its id
            self._values[id(whole)] = whole[self.rows]
        return self._values[id(whole)]

    def series(self, place: int) -> pl.Series:
        """Return an expression's values in memory that does not hold the batch, unless they are most of it."""
        return taken(self.run.series[place], self.rows)

    def split(self) -> I64:
        """Return the split of each row; 0 where the batch does not carry it."""
        return self._identity(self.run.batch.stamps.split)

    def position(self) -> I64:
        """Return the place of each row in its split; 0 where the batch does not carry it."""
        return self._identity(self.run.batch.stamps.position)

    def only(self, place: int) -> Picked:
        """Return the rows that have a value of an expression."""
        present = self.present(place)
        return self if present is None else self.at(np.flatnonzero(present))

    def at(self, places: I64, codes: I64 | None = None) -> Picked:
        """Return some of these rows, maybe under other codes."""
        return Picked(
            self.run, np.arange(len(self.run))[self.rows][places], self.codes[places] if codes is None else codes
        )

    def _identity(self, column: I64 | None) -> I64:
        return np.zeros(len(self), dtype=np.int64) if column is None else column[self.rows]


def taken(series: pl.Series, rows: Index) -> pl.Series:
    """Return some values; they do not keep the rest alive where they are less than half of it."""
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(len(series))
        if 2 * (stop - start) >= len(series):
            return series[start:stop]
        rows = np.arange(start, stop)
    some = series[rows]
    # A text taken from a column holds the memory of all its texts; a copy does not.
    return some + "" if some.dtype == pl.String and 2 * len(some) < len(series) else some


def _stretch(rows: Index, size: int) -> Index:
    """Return rows as a slice where they lie side by side: what is cut from an array is then not copied."""
    if isinstance(rows, slice) or not len(rows):
        return rows
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows) and (len(rows) < 3 or bool((rows[1:] > rows[:-1]).all())):
        return slice(first, last + 1)
    return rows


def _plain_column(expression: pl.Expr) -> str | None:
    """Return the name of the column that an expression is, maybe under another name."""
    inner: Any = expression.meta.undo_aliases()
    names = inner.meta.root_names()
    return names[0] if len(names) == 1 and inner.meta.eq(pl.col(names[0])) else None
