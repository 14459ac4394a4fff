"""The state of a column partial as frames, in the form that both layouts read and write (``core.folding``)."""

from __future__ import annotations

import numpy as np
import polars as pl

from streamflow.core.arrays import I64
from streamflow.core.column_kinds import Keeping, Kept
from streamflow.core.column_long import LongState
from streamflow.core.column_partial import ColumnPartial
from streamflow.core.column_values import to_series
from streamflow.core.recast import recast
from streamflow.errors import CheckpointError

_PACKED = "packed"
"""The column in which rows store values that no column can hold."""


def state_columns(keeping: Keeping, partial: ColumnPartial, at: I64) -> list[pl.Series]:
    """Return the state columns of slots in use, named by the place of their aggregation."""
    columns: list[pl.Series] = []
    for place, kept in enumerate(keeping.kept):
        for name, column in zip(kept.columns, _exported(place, kept, partial, at), strict=True):
            columns.append(column.alias(f"{place}_{name}"))
    return columns


def take_state(keeping: Keeping, partial: ColumnPartial, codes: I64, size: int, frame: pl.DataFrame) -> None:
    """Take state columns, one row a code, into a partial of no rows.

    Raises:
        CheckpointError: If a column is missing, or holds values that only rows can.
        DataError: If a value is of a type that is not that of the column it was read from.
    """
    if not len(codes):
        return
    given = [columns_of(place, kept, frame) for place, kept in enumerate(keeping.kept)]
    slots = partial.slots(codes, size)
    rows, counts = _counts(keeping, given, len(codes))
    partial.rows[slots] = rows
    for input_, n in counts.items():
        if not np.array_equal(n, rows):
            partial.own_counts(input_)[slots] = n
    for kept, columns, dense, long in zip(keeping.kept, given, partial.dense, partial.long, strict=True):
        state = [columns[name] for name in kept.columns if name in columns]
        if long is not None:
            long.load(codes, state)
        elif dense is not None:
            n = np.zeros(0, dtype=np.int64) if "n" not in columns else columns["n"].to_numpy()
            dense.load(slots, [columns[name] for name in dense.columns], n)


def columns_of(place: int, kept: Kept, frame: pl.DataFrame) -> dict[str, pl.Series]:
    """Return the state columns of an aggregation, of the types that its values have.

    Raises:
        CheckpointError: If one is missing, or holds values that only rows can.
    """
    prefix = f"{place}_"
    columns = {c[len(prefix) :]: frame.get_column(c) for c in frame.columns if c.startswith(prefix)}
    missing = [name for name in kept.columns if name not in columns and name != "partials"]
    if missing:
        raise CheckpointError(
            f"the restored state of {kept.what} has no {' and no '.join(missing)},"
            f" got {', '.join(columns) or 'nothing'}",
            remedy="keep the aggregation as it was, or start afresh with a new generation",
        )
    if _PACKED in columns and _holds_any(columns[_PACKED]):
        raise CheckpointError(
            f"the restored state of {kept.what} holds Python values that columns cannot hold",
            remedy="restore it with a stream, or start afresh with a new generation",
        )
    for name, dtype in kept.value_types().items():
        columns[name] = recast(columns[name], dtype, f"the restored state of {kept.what}")
    return columns


def types_said(keeping: Keeping, frame: pl.DataFrame) -> list[pl.DataType]:
    """Return the types of the inputs: those known, else what state columns say of them."""
    types = list(keeping.inputs.dtypes)
    for place, kept in enumerate(keeping.kept):
        prefix = f"{place}_"
        columns = {c[len(prefix) :]: frame.schema[c] for c in frame.columns if c.startswith(prefix)}
        for input_, dtype in kept.learn(columns).items():
            if types[input_] == pl.Null:
                types[input_] = dtype
    return types


def _exported(place: int, kept: Kept, partial: ColumnPartial, at: I64) -> list[pl.Series]:
    n = partial.count(kept.reads, at)
    if kept.kind == "count":
        return [pl.Series(n)]
    state = partial.state(place)
    if isinstance(state, LongState):
        return state.export(partial.codes(at))
    assert state is not None
    values = [pl.Series(part) for part in state.export(at)]
    if kept.has_values_type:
        values = [to_series(part, kept.dtype, n > 0) for part in state.export(at)]
    return values if "n" not in kept.columns else [pl.Series(n), *values]


def _counts(keeping: Keeping, given: list[dict[str, pl.Series]], size: int) -> tuple[I64, dict[int, I64]]:
    """Return how many rows each key has had, as far as states say it, and how many values of each counted input."""
    rows = np.ones(size, dtype=np.int64)
    counts: dict[int, I64] = {}
    for kept, columns in zip(keeping.kept, given, strict=True):
        if "n" in columns:
            n = columns["n"].cast(pl.Int64).to_numpy()
            rows = np.maximum(rows, n)
            if kept.reads is not None:
                counts[kept.reads] = n
    for kept, columns in zip(keeping.kept, given, strict=True):
        if kept.needs_counts and kept.reads is not None and kept.reads not in counts:
            counts[kept.reads] = columns["value"].is_not_null().cast(pl.Int64).to_numpy()
    return rows, counts


def _holds_any(packed: pl.Series) -> bool:
    inner = packed.explode() if packed.dtype == pl.List else packed
    return inner.null_count() < len(inner)
