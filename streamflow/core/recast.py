"""Values in another type, or an error: how a restored state meets the types of the batches that follow it."""

from __future__ import annotations

import polars as pl

from streamflow.errors import DataError


def recast(values: pl.Series, dtype: pl.DataType, what: str) -> pl.Series:
    """Return the same values as another type.

    Args:
        values: The values.
        dtype: The type they must have.
        what: What they are, for the message.

    Raises:
        DataError: If a value would change.

    >>> recast(pl.Series([1, 2]), pl.Int8(), "the count").dtype
    Int8
    """
    if values.dtype == dtype:
        return values
    try:
        cast = values.cast(dtype, strict=True)
        if cast.cast(values.dtype, strict=True).equals(values, null_equal=True):
            return cast
    except pl.exceptions.PolarsError:
        pass  # the same message as for a value that would change
    raise DataError(
        f"{what} holds {values.dtype} that are not {dtype}",
        remedy="keep the type that it had when the checkpoint was written, or start afresh with a new generation",
    )
