"""The layout law where it begins: rows and columns fold to the same results, and each restores the other's state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow import agg
from streamflow.core.batch import Batch
from streamflow.core.column_fold import ColumnFolding
from streamflow.core.columns import Columns
from streamflow.core.row_fold import RowFolding
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps

x, y = (lambda row: row["x"]), (lambda row: row["y"])
X, Y = agg.col("x"), agg.col("y")

BOTH: dict[str, tuple[Any, Any]] = {
    "rows": (agg.count(), agg.rows()),
    "count": (agg.count(x), X.count()),
    "sum": (agg.sum(x), X.sum()),
    "exact": (agg.sum(x, exact=True), X.sum(exact=True)),
    "min": (agg.min(x), X.min()),
    "max": (agg.max(x), X.max()),
    "least": (agg.min(y), Y.min()),
    "mean": (agg.mean(x), X.mean()),
    "variance": (agg.variance(x), X.var()),
    "stddev": (agg.stddev(x, ddof=0), X.std(ddof=0)),
    "first": (agg.first(x), X.first()),
    "last": (agg.last(y), Y.last()),
    "collect": (agg.collect(y), Y.collect()),
    "distinct": (agg.distinct(y), Y.n_distinct()),
    "about": (agg.approx_distinct(x, p=8), X.approx_n_distinct(p=8)),
    "about texts": (agg.approx_distinct(y, p=8), Y.approx_n_distinct(p=8)),
    "quantiles": (agg.quantiles(x, [0, 0.5, 0.9]), X.quantiles([0, 0.5, 0.9])),
    "median": (agg.median(x), X.median()),
    "top": (agg.top_k(2, x), X.top_k(2)),
    "top by": (agg.top_k(2, y, by=x), Y.top_k(2, by="x")),
    "arg_max": (agg.arg_max(x, y), Y.arg_max("x")),
    "arg_min": (agg.arg_min(x, y), Y.arg_min("x")),
}

TYPES: dict[str, tuple[Any, Any]] = {
    "ints": (pl.Int64, st.integers(-20, 20)),
    "floats": (pl.Float64, st.one_of(st.integers(-2000, 2000).map(lambda k: k / 1024), st.just(math.nan))),
}


def foldings() -> tuple[RowFolding, ColumnFolding]:
    rows = RowFolding([row for row, _ in BOTH.values()], into=lambda *found: dict(zip(BOTH, found, strict=True)))
    return rows, ColumnFolding({name: column for name, (_, column) in BOTH.items()}, ("k",))


def batches(drawn: list[tuple[str, int, Any, Any]], dtype: Any) -> tuple[Rows, Columns]:
    keys, times, xs, ys = (list(column) for column in zip(*drawn, strict=True))
    at = np.array(times, dtype=np.int64)
    stamps = Stamps(at, at, split=np.zeros(len(at), dtype=np.int64), position=np.arange(len(at)))
    frame = pl.DataFrame({"k": keys, "x": pl.Series(xs, dtype=dtype), "y": pl.Series(ys, dtype=pl.String)})
    return Rows(stamps, [{"x": a, "y": b} for a, b in zip(xs, ys, strict=True)], keys), Columns(stamps, frame, ("k",))


def by_key(batch: Batch) -> dict[str, dict[str, Any]]:
    if isinstance(batch, Rows):
        return {row.key: row.value for row in batch.values}
    return {row["k"]: {name: row[name] for name in BOTH} for row in batch.to_values()}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, list | dict):
        pairs = zip(a, b, strict=True) if isinstance(a, list) else ((a[name], b[name]) for name in a)
        return len(a) == len(b) and all(same(*pair) for pair in pairs)
    if isinstance(a, float) and isinstance(b, int | float):
        return (a != a and b != b) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    return bool(a == b)


@pytest.mark.parametrize("numbers", TYPES)
@settings(max_examples=25)
@given(data=st.data())
def test_both_layouts_agree_and_restore_each_other(numbers: str, data: st.DataObject) -> None:
    dtype, values = TYPES[numbers]
    row = st.tuples(
        st.sampled_from("abc"), st.integers(0, 4), st.none() | values, st.sampled_from([None, "a", "b", "ü"])
    )
    rows, columns = batches(data.draw(st.lists(row, min_size=1, max_size=25)), dtype)
    found = []
    (folding, other), (folding_2, other_2) = foldings(), foldings()
    left, right = folding.new(), other.new()
    run, refused = folding.read(rows)
    column_run, _ = other.read(columns)
    assert not refused
    folding.fold(left, run, slice(0, len(rows)))
    other.fold(right, column_run, slice(0, len(rows)))
    found.append(by_key(folding.results([left], (0, 10), 5)))
    found.append(by_key(other.results([right], (0, 10), 5)))
    found.append(by_key(folding_2.results([folding_2.load(other.export(right))], (0, 10), 5)))
    found.append(by_key(other_2.results([other_2.load(folding.export(left))], (0, 10), 5)))
    for results in found[1:]:
        assert same(found[0], results)
