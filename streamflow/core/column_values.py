"""Polars values as numpy arrays and back, for states of fixed width.

A **form** says as what an aggregation wants its values: as they are stored (``RAW``), as int64 or float64 (``NUMBER``), or as float64
(``FLOAT``).  Values that are null may be anything in the array: whoever asks knows where they are.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import polars as pl

from streamflow.core.arrays import Mask
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


def to_series(values: Values, dtype: pl.DataType, is_value: Mask | None = None) -> pl.Series:
    """Return what ``to_array`` made this of, null where ``is_value`` says so."""
    series = pl.Series(values)
    if series.dtype != dtype:
        series = pl.repeat(None, len(values), dtype=dtype, eager=True) if dtype == pl.Null else series.cast(dtype)
    if is_value is None or is_value.all():
        return series
    return series.set(pl.Series(~is_value), None)


def np_dtype(dtype: pl.DataType, form: Form) -> np.dtype[np.generic]:
    """Return numpy's type of the array."""
    empty = pl.Series(dtype=form.dtype(dtype)).to_numpy()
    return empty.dtype
