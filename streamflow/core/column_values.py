"""Polars values as numpy arrays and back, and lists of them.

A **form** says as what an aggregation wants its values: as they are stored (``RAW``), as int64 or float64
(``NUMBER``), or as float64 (``FLOAT``).  Values that are null may be anything in the array: whoever asks knows where
they are.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import polars as pl

from streamflow.core.arrays import I64, Mask
from streamflow.core.column_scan import Values


class Form(Enum):
    """As what an aggregation wants its values."""

    RAW = "raw"
    NUMBER = "number"
    FLOAT = "float"

    def dtype(self, dtype: pl.DataType) -> pl.DataType:
        """Return the type that values of ``dtype`` take: one that numpy has."""
        if self is Form.FLOAT or (self is Form.NUMBER and dtype.is_float()):
            return pl.Float64()
        if self is Form.NUMBER:
            return pl.Int64()
        if dtype == pl.Boolean:
            return pl.UInt8()
        if dtype == pl.Date:
            return pl.Int32()
        return pl.Int64() if dtype.is_temporal() or dtype == pl.Null else dtype


def is_fixed_width(dtype: pl.DataType) -> bool:
    """Return whether values are kept as numbers: numbers of up to 64 bits, bools, dates and times."""
    wide = (pl.Int128, pl.UInt128, pl.Float16, pl.Decimal)
    return (dtype.is_numeric() and dtype not in wide) or dtype.is_temporal() or dtype in (pl.Boolean, pl.Null)


def to_array(series: pl.Series, form: Form) -> Values:
    """Return values as a numpy array, without copying where polars holds them so."""
    dtype = form.dtype(series.dtype)
    cast = series if series.dtype == dtype else series.cast(dtype)
    return (cast.fill_null(0) if cast.null_count() else cast).to_numpy()


def to_series(values: Values, dtype: pl.DataType | None = None, is_value: Mask | None = None) -> pl.Series:
    """Return what ``to_array`` made this of: values of ``dtype``, null where ``is_value`` says so."""
    series = pl.Series(values)
    if is_value is not None and not is_value.all():
        series = series.set(pl.Series(~is_value), None)
    return series if dtype is None or series.dtype == dtype else series.cast(dtype)


def np_dtype(dtype: pl.DataType, form: Form) -> np.dtype[Any]:
    """Return numpy's type of the array."""
    found: np.dtype[Any] = pl.Series(dtype=form.dtype(dtype)).to_numpy().dtype
    return found


def nest(items: pl.Series, lengths: I64) -> pl.Series:
    """Return a column of lists: the first ``lengths[0]`` items, the next ``lengths[1]`` and so on."""
    row = pl.Series("row", np.repeat(np.arange(len(lengths)), lengths))
    lists = (
        pl.DataFrame([row, items.alias("items")]).group_by("row", maintain_order=True).agg("items").get_column("items")
    )
    is_filled = lengths > 0
    if is_filled.all():
        return lists
    places = pl.Series(np.cumsum(is_filled) - 1).set(pl.Series(~is_filled), None)
    return lists.gather(places).fill_null(pl.lit([], dtype=lists.dtype))


def flatten(lists: pl.Series) -> tuple[pl.Series, I64]:
    """Return all items of a column of lists, one after another, and the length of each list; a null has none."""
    lengths = lists.list.len().fill_null(0).cast(pl.Int64)
    return lists.filter(lengths > 0).explode(), lengths.to_numpy()
