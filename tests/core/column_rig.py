"""What the tests of the column layout share: frames and keys to fold, and what one polars query says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamflow import agg
from streamflow.core.aggregation import Aggregate
from streamflow.core.column_fold import ColumnFolding
from streamflow.core.column_partial import ColumnPartial
from streamflow.core.columns import Columns
from streamflow.core.ddsketch import bucket_of, values_of
from streamflow.core.stamps import Stamps

SCHEMA = {
    "k": pl.String(),
    "x": pl.Float64(),
    "i": pl.Int64(),
    "b": pl.Int8(),
    "s": pl.String(),
    "d": pl.Date(),
    "t": pl.Int64(),
}
WINDOW = (0, 10)

dyadic = st.integers(-(2**20), 2**20).map(lambda k: k / 1024)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "a much longer key than fits", None]),
        st.one_of(st.none(), st.just(math.nan), dyadic),
        st.one_of(st.none(), st.integers(-50, 50)),
        st.integers(-128, 127),
        st.one_of(st.none(), st.sampled_from(["p", "q", "", "a text longer than twelve bytes"])),
        st.one_of(st.none(), st.dates(date(1960, 1, 1), date(2030, 1, 1))),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=24,
)


def frame_of(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").with_row_index("p")


def batch(frame: pl.DataFrame) -> Columns:
    times = frame.get_column("t").to_numpy()
    splits, places = np.zeros(len(times), dtype=np.int64), frame.get_column("p").cast(pl.Int64).to_numpy()
    return Columns(Stamps(times, times, split=splits, position=places), frame, ("k",))


def fold(folding: ColumnFolding, partial: ColumnPartial, frame: pl.DataFrame, rows: Any = None) -> ColumnPartial:
    run, refused = folding.read(batch(frame))
    assert not refused
    assert not folding.fold(partial, run, slice(0, len(run)) if rows is None else rows)
    partial._check()
    return partial


def results(folding: ColumnFolding, *cover: ColumnPartial, keys: Any = None) -> pl.DataFrame:
    return folding.results(cover, WINDOW, 7, keys=keys).frame.drop("window_start", "window_end").sort("k")


def folded(aggregations: dict[str, Aggregate[Any, Any]], frame: pl.DataFrame) -> pl.DataFrame:
    folding = ColumnFolding(aggregations, ("k",))
    return results(folding, fold(folding, folding.new(), frame))


# ------------------------------------------------------------------------------------------------ what polars says


def bucketed(values: pl.Series, q: float) -> float | None:
    present = values.drop_nulls().drop_nans().sort().to_list()
    if not present:
        return None
    bucket = bucket_of(present[math.floor(q * (len(present) - 1))], 0.01)
    return float(values_of(np.array([bucket]), 0.01)[0])


x, i, b, s, d = (agg.col(name) for name in "xibsd")
number = pl.col("x").is_not_nan()  # null where x is null: neither counts
has_text = pl.col("s").is_not_null()
by_x = pl.col("s").filter(number)
AGGREGATES: dict[str, tuple[Aggregate[Any, Any], pl.Expr]] = {
    "rows": (agg.rows(), pl.len().cast(pl.Int64)),
    "count": (x.count(), pl.col("x").count().cast(pl.Int64)),
    "sum of floats": (x.sum(), pl.col("x").sum()),
    "sum of ints": (i.sum(), pl.col("i").sum()),
    "sum of bytes": (b.sum(), pl.col("b").cast(pl.Int64).sum()),
    "exact sum": (x.sum(exact=True), pl.col("x").sum()),
    "exact sum of ints": (i.sum(exact=True), pl.col("i").sum()),
    "sum of an expression": (agg.expr(pl.col("x") * 2).sum(), (pl.col("x") * 2).sum()),
    "min of floats": (x.min(), pl.col("x").min()),
    "max of floats": (x.max(), pl.col("x").max()),
    "min of ints": (i.min(), pl.col("i").min()),
    "max of bytes": (b.max(), pl.col("b").max()),
    "min of texts": (s.min(), pl.col("s").min()),
    "max of texts": (s.max(), pl.col("s").max()),
    "min of dates": (d.min(), pl.col("d").min()),
    "max of bools": (agg.expr(pl.col("i") > 0).max(), (pl.col("i") > 0).max()),
    "mean": (i.mean(), pl.col("i").mean()),
    "mean of floats": (x.mean(), pl.col("x").mean()),
    "variance": (i.var(), pl.col("i").var()),
    "stddev of all": (i.std(ddof=0), pl.when(pl.col("i").count() > 0).then(pl.col("i").std(ddof=0))),
    "variance of floats": (x.var(), pl.col("x").var()),
    "first": (x.first(), pl.col("x").first()),
    "first text": (s.first(), pl.col("s").first()),
    "last": (d.last(), pl.col("d").last()),
    "arg_max": (s.arg_max("x"), by_x.gather(pl.col("x").filter(number).arg_max()).first()),
    "arg_min": (i.arg_min("b"), pl.col("i").gather(pl.col("b").arg_min()).first()),
    "arg_max by text": (
        x.arg_max("s"),
        pl.col("x")
        .filter(has_text)
        .sort_by(pl.col("s").filter(has_text), descending=True, maintain_order=True)
        .first(),
    ),
    "collect": (x.collect(), pl.col("x")),
    "distinct": (x.n_distinct(), pl.col("x").drop_nulls().n_unique().cast(pl.Int64)),
    "distinct texts": (s.n_distinct(), pl.col("s").drop_nulls().n_unique().cast(pl.Int64)),
    "approx_distinct": (i.approx_n_distinct(), pl.col("i").drop_nulls().n_unique().cast(pl.Int64)),
    "approx_distinct texts": (s.approx_n_distinct(p=14), pl.col("s").drop_nulls().n_unique().cast(pl.Int64)),
    "median": (
        x.median(),
        pl.col("x").map_batches(lambda v: pl.Series([bucketed(v, 0.5)], dtype=pl.Float64), returns_scalar=True),
    ),
    "quantiles": (
        i.quantiles([0, 1]),
        pl.col("i")
        .cast(pl.Float64)
        .map_batches(
            lambda v: pl.Series([[bucketed(v, 0), bucketed(v, 1)]], dtype=pl.List(pl.Float64)), returns_scalar=True
        ),
    ),
    "top_k": (i.top_k(2), pl.col("i").drop_nulls().sort(descending=True).head(2)),
    "top_k by": (
        s.top_k(2, by="x"),
        by_x.sort_by(pl.col("x").filter(number), descending=True, maintain_order=True).head(2),
    ),
}
ALL = {name: aggregate for name, (aggregate, _) in AGGREGATES.items()}


def expected(frame: pl.DataFrame, names: Sequence[str] = tuple(AGGREGATES)) -> pl.DataFrame:
    ordered = frame.sort("t", "p", maintain_order=True)
    groups = ordered.group_by("k", maintain_order=True)
    return groups.agg(AGGREGATES[name][1].alias(name) for name in names).sort("k")


def same(got: pl.DataFrame, want: pl.DataFrame) -> None:
    """All to the bit, but for variances, whose squares round."""
    rounded = [name for name in got.columns if "variance" in name or "stddev" in name]
    assert_frame_equal(got.drop(rounded), want.drop(rounded), check_exact=True)
    assert_frame_equal(got.select(rounded), want.select(rounded), rel_tol=1e-9, abs_tol=1e-9)


def keyed(keys: np.ndarray | pl.Series, start: int = 0) -> Columns:
    """One row a key, all numbers dyadic."""
    number = pl.Series("i", np.arange(start, start + len(keys)))
    frame = pl.DataFrame([pl.Series("k", keys), number, (number / 8).alias("x"), number.cast(pl.String).alias("s")])
    times = number.to_numpy()
    return Columns(Stamps(times, times, split=times * 0, position=times), frame, ("k",))


SOME = {"n": agg.rows(), "sum": x.sum(), "max": i.max(), "var": x.var(), "last": s.last(), "kinds": s.n_distinct()}
SAID = [
    pl.len().cast(pl.Int64).alias("n"),
    pl.col("x").sum().alias("sum"),
    pl.col("i").max().alias("max"),
    pl.col("x").var().alias("var"),
    pl.col("s").last().alias("last"),
    pl.col("s").n_unique().cast(pl.Int64).alias("kinds"),
]


def same_but_rounding(got: pl.DataFrame, rows: pl.DataFrame) -> None:
    want = rows.sort("i").group_by("k").agg(SAID).sort("k")
    assert_frame_equal(got.drop("window_start", "window_end").sort("k"), want, rel_tol=1e-9)
