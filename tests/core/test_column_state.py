"""Laws of ``core.column_state``: each layout goes on from the state of either, and refuses what is not its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow import agg
from streamflow.core.aggregation import Aggregate
from streamflow.core.column_fold import ColumnFolding
from streamflow.core.row_fold import RowFolding
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.errors import CheckpointError
from tests.core.column_rig import (
    ALL,
    ROWS,
    WINDOW,
    batch,
    expected,
    fold,
    frame_of,
    results,
    same,
    x,
)


@settings(max_examples=30)
@given(rows=ROWS, cut=st.integers(0, 24))
def test_what_is_exported_loads_into_the_same_panes(rows: list[Any], cut: int) -> None:
    frame = frame_of(rows)
    folding, other = ColumnFolding(ALL, ("k",)), ColumnFolding(ALL, ("k",))
    stored = folding.export(fold(folding, folding.new(), frame.head(cut)))
    partial = other.load(stored)
    partial._check()
    if cut:
        same(results(other, partial), expected(frame.head(cut)))
    same(
        results(other, fold(other, partial, frame.slice(cut))) if cut < frame.height else expected(frame),
        expected(frame),
    )


def read(name: str) -> Any:
    return lambda row: row[name]


ROW_KINDS: dict[str, Aggregate[Any, Any]] = {
    "rows": agg.count(),
    "count": agg.count(read("x")),
    "sum of floats": agg.sum(read("x")),
    "sum of ints": agg.sum(read("i")),
    "exact sum": agg.sum(read("x"), exact=True),
    "exact sum of ints": agg.sum(read("i"), exact=True),
    "min of floats": agg.min(read("x")),
    "max of bytes": agg.max(read("b")),
    "min of texts": agg.min(read("s")),
    "min of dates": agg.min(read("d")),
    "mean": agg.mean(read("i")),
    "variance": agg.variance(read("i")),
    "first text": agg.first(read("s")),
    "last": agg.last(read("d")),
    "arg_max": agg.arg_max(read("x"), read("s")),
    "collect": agg.collect(read("x")),
    "distinct texts": agg.distinct(read("s")),
    "distinct": agg.distinct(read("x")),
    "approx_distinct": agg.approx_distinct(read("i")),
    "median": agg.median(read("x")),
    "quantiles": agg.quantiles(read("i"), [0, 1]),
    "top_k": agg.top_k(2, read("i")),
    "top_k by": agg.top_k(2, read("s"), by=read("x")),
}


def rows_of(frame: pl.DataFrame) -> Rows:
    columns = batch(frame)
    return Rows(columns.stamps, frame.to_dicts(), frame.get_column("k").to_list())


@settings(max_examples=30)
@given(rows=ROWS, cut=st.integers(1, 24))
def test_each_layout_goes_on_from_the_state_of_the_other(rows: list[Any], cut: int) -> None:
    frame, names = frame_of(rows), list(ROW_KINDS)
    columns = ColumnFolding({name: ALL[name] for name in names}, ("k",))
    by_rows = RowFolding(list(ROW_KINDS.values()))
    run, _ = by_rows.read(rows_of(frame.head(cut)))
    partial = by_rows.new()
    by_rows.fold(partial, run, slice(0, len(run)))
    loaded = columns.load(by_rows.export(partial))
    if cut < frame.height:
        fold(columns, loaded, frame.slice(cut))
    if frame.head(cut).height == frame.height:  # no batch has said the types yet
        columns.read(batch(frame))
    want = expected(frame, names)
    same(results(columns, loaded), want)
    back = RowFolding(list(ROW_KINDS.values()))
    values = {row.key: row.value for row in back.results([back.load(columns.export(loaded))], WINDOW, 7).to_values()}
    got = pl.DataFrame(
        [dict(zip(["k", *names], [key, *value], strict=True)) for key, value in values.items()], schema=want.schema
    )
    same(got.sort("k"), want)


def test_a_state_of_other_keys_or_aggregations_is_refused() -> None:
    folding = ColumnFolding({"sum": x.sum()}, ("k",))
    with pytest.raises(CheckpointError, match="the restored state has 2 key columns, and the step groups by 1"):
        folding.load(pl.DataFrame({"key_0": [1], "key_1": [1], "0_total": [1.0]}))
    with pytest.raises(CheckpointError, match="the restored state of sum 'sum' has no total, got n"):
        folding.load(pl.DataFrame({"key_0": [1], "0_n": [1]}))
    with pytest.raises(CheckpointError, match="approx_distinct was stored with 16 registers, and has 4096 now"):
        ColumnFolding({"out": x.approx_n_distinct()}, ("k",)).load(
            pl.DataFrame({"key_0": [1], "0_registers": [bytes(16)]})
        )


@pytest.mark.parametrize("kind", [agg.first(), agg.collect()])
def test_python_values_that_no_column_can_hold_are_refused(kind: Aggregate[Any, Any]) -> None:
    by_rows = RowFolding([kind])
    run, _ = by_rows.read(Rows(Stamps(np.array([1]), np.array([1])), [{"a": 1}], ["a"]))
    partial = by_rows.new()
    by_rows.fold(partial, run, slice(0, 1))
    folding = ColumnFolding({"out": Aggregate(kind.kind, pl.col("x"))}, ("k",))
    with pytest.raises(CheckpointError, match="holds Python values that columns cannot hold"):
        folding.load(by_rows.export(partial))
