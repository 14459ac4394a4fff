"""Laws of ``core.column_fold``.

The column layout keeps panes as one polars query would, however rows come and partials meet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamflow import agg
from streamflow.core.aggregation import Aggregate
from streamflow.core.column_fold import ColumnFolding
from streamflow.core.column_partial import ColumnPartial
from streamflow.core.columns import Columns
from streamflow.core.ddsketch import bucket_of, values_of
from streamflow.core.row_fold import RowFolding
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import EARLIEST, LATEST, MAX_TIMESTAMP, MIN_TIMESTAMP
from streamflow.errors import DataError

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
    max_size=40,
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


@settings(max_examples=60)
@given(rows=ROWS, data=st.data())
def test_any_cut_into_batches_and_partials_gives_what_one_query_gives(rows: list[Any], data: st.DataObject) -> None:
    frame = frame_of(rows)
    folding = ColumnFolding(ALL, ("k",))
    partials = [folding.new() for _ in range(3)]
    start = 0
    while start < frame.height:
        size = data.draw(st.integers(1, frame.height))
        piece = frame.slice(start, size)
        where = np.array(data.draw(st.lists(st.integers(0, 2), min_size=piece.height, max_size=piece.height)))
        run, _ = folding.read(batch(piece))
        for number, partial in enumerate(partials):
            folding.fold(partial, run, np.flatnonzero(where == number))
        start += size
    want = expected(frame)
    same(results(folding, *partials), want)
    same(results(folding, folding.merge([folding.merge(partials[1:]), partials[0]])), want)
    folding.absorb(partials[1], partials[2])
    same(results(folding, partials[1], partials[0]), want)
    wanted = folding.touched(folding.read(batch(frame.head(1)))[0], slice(0, 1))
    same(results(folding, *partials[:2], keys=wanted), want.filter(pl.col("k").eq_missing(pl.lit(rows[0][0]))))


@settings(max_examples=30)
@given(rows=ROWS, cut=st.integers(0, 40))
def test_each_tells_after_every_row_what_folding_it_would_give(rows: list[Any], cut: int) -> None:
    frame = frame_of(rows)
    folding = ColumnFolding(ALL, ("k",))
    before = fold(folding, folding.new(), frame.head(cut))
    after = frame.slice(cut)
    run, _ = folding.read(batch(after))
    bounds = np.zeros(len(run), dtype=np.int64), np.full(len(run), 10)
    partial = folding.open_window(lambda: [before])
    answer, refused = folding.each(partial, run, slice(0, len(run)), bounds)
    assert not refused
    assert answer.stamps.time.tolist() == after.get_column("t").to_list()
    for row in range(len(run)):
        folding.fold(before, run, slice(row, row + 1))
        key = folding.touched(run, slice(row, row + 1))
        same(answer.frame.slice(row, 1).drop("window_start", "window_end"), results(folding, before, keys=key))
    same(results(folding, partial), results(folding, before))
    partial._check()


@settings(max_examples=30)
@given(rows=ROWS, cut=st.integers(0, 40))
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
@given(rows=ROWS, cut=st.integers(1, 40))
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


# ------------------------------------------------------------------------------------------------ what comes out


def test_a_window_comes_out_with_its_keys_bounds_and_stamps() -> None:
    folding = ColumnFolding({"n": agg.rows()}, ("k",))
    partial = fold(folding, folding.new(), frame_of([("a", None, None, 0, None, None, 1)]))
    out = folding.results([partial], (5_000_000, 10_000_000), 7)
    assert out.key == ("k", "window_start", "window_end")
    assert out.frame.rows() == [
        ("a", datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC), datetime(1970, 1, 1, 0, 0, 10, tzinfo=UTC), 1)
    ]
    assert (out.stamps.time.tolist(), out.stamps.wm.tolist()) == ([9_999_999], [7])


@pytest.mark.parametrize(("wm", "time"), [(7, 7), (MAX_TIMESTAMP, LATEST), (MIN_TIMESTAMP, EARLIEST)])
def test_a_window_without_end_has_no_bounds_and_the_time_of_the_watermark(wm: int, time: int) -> None:
    folding = ColumnFolding({"n": agg.rows()}, ("k",))
    partial = fold(folding, folding.new(), frame_of([("a", None, None, 0, None, None, 1)]))
    out = folding.results([partial], (MIN_TIMESTAMP, MAX_TIMESTAMP), wm)
    assert (out.key, out.frame.columns) == (("k",), ["k", "n"])
    assert (out.stamps.time.tolist(), out.stamps.wm.tolist()) == ([time], [wm])


def test_without_a_key_there_is_one_pane_a_window() -> None:
    folding = ColumnFolding({"n": agg.rows(), "last": agg.col("s").last()}, ())
    frame = frame_of([("a", None, None, 0, "p", None, 2), ("b", None, None, 0, "q", None, 1)])
    partial = fold(folding, folding.new(), frame)
    again = folding.load(folding.export(partial))
    for one in (partial, again):
        assert folding.results([one], WINDOW, 0).frame.select("n", "last").rows() == [(2, "p")]


def test_a_window_of_no_rows_gives_no_rows() -> None:
    folding = ColumnFolding(ALL, ("k",))
    assert folding.results([folding.new()], WINDOW, 0).frame.is_empty()
    assert folding.results([], WINDOW, 0).frame.is_empty()
    assert folding.export(folding.new()).is_empty()
    run, _ = folding.read(batch(frame_of([]).cast({"p": pl.UInt32})))
    assert folding.each(folding.new(), run, slice(0, 0), (np.zeros(0, dtype=np.int64),) * 2)[0].frame.is_empty()


def test_rows_with_one_identity_keep_the_order_in_which_they_come() -> None:
    frame = frame_of([("a", 1.0, n, 0, str(n), None, 1) for n in range(4)]).with_columns(p=pl.lit(0, dtype=pl.UInt32))
    wanted = {
        "first": i.first(),
        "last": i.last(),
        "all": i.collect(),
        "best": i.arg_max("x"),
        "top": s.top_k(2, by="x"),
    }
    folding = ColumnFolding(wanted, ("k",))
    partial = folding.new()
    for row in range(4):
        fold(folding, partial, frame.slice(row, 1))
    assert results(folding, partial).row(0)[1:] == (0, 3, [0, 1, 2, 3], 0, ["0", "1"])
    assert folded(wanted, frame).row(0)[1:] == (0, 3, [0, 1, 2, 3], 0, ["0", "1"])


# ------------------------------------------------------------------------------------------------ numbers


def test_nothing_but_nan_is_nan_and_nothing_at_all_is_null() -> None:
    frame = frame_of([("a", math.nan, None, 0, None, None, 1), ("b", None, None, 0, None, None, 1)])
    got = folded({"lo": x.min(), "hi": x.max(), "sum": x.sum(), "mean": x.mean(), "n": x.count()}, frame)
    assert_frame_equal(
        got,
        pl.DataFrame(
            {
                "k": ["a", "b"],
                "lo": [math.nan, None],
                "hi": [math.nan, None],
                "sum": [math.nan, 0.0],
                "mean": [math.nan, None],
                "n": [1, 0],
            }
        ),
    )


BIG = (1 << 63) - 1


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([BIG], BIG),
        ([-BIG - 1], -BIG - 1),
        ([BIG, -1, 1], BIG),
        ([BIG, -BIG] * 20, 0),
        ([1 << 61] * 3 + [-(1 << 61)] * 3, 0),
    ],
)
def test_sums_of_large_ints_are_right_up_to_the_last_one_that_fits(values: list[int], total: int) -> None:
    frame = frame_of([("a", None, v, 0, None, None, 1) for v in values] + [("b", None, 1, 0, None, None, 1)] * 3)
    folding = ColumnFolding({"sum": i.sum()}, ("k",))
    whole = fold(folding, folding.new(), frame)
    by_row = folding.new()
    for row in range(frame.height):
        fold(folding, by_row, frame.slice(row, 1))
    for partial in (whole, by_row, folding.merge([by_row]), folding.load(folding.export(whole))):
        assert results(folding, partial).rows() == [("a", total), ("b", 3)]


@pytest.mark.parametrize("values", [[BIG, 1], [-BIG - 1, -6], [BIG, 1, -1], [1 << 62] * 2])
def test_a_sum_that_leaves_64_bits_is_an_error_and_changes_nothing(values: list[int]) -> None:
    good = frame_of([("a", None, 1, 0, None, None, 1), ("b", None, 5, 0, None, None, 1)])
    bad = frame_of([("b", None, v, 0, None, None, 1) for v in values])
    folding = ColumnFolding({"n": agg.rows(), "first": s.first(), "sum": i.sum()}, ("k",))
    partial = fold(folding, folding.new(), good)
    run, _ = folding.read(batch(bad))
    for attempt in (
        lambda: folding.fold(partial, run, slice(0, len(run))),
        lambda: folding.each(partial, run, slice(0, len(run)), (np.zeros(len(run), dtype=np.int64),) * 2),
    ):
        with pytest.raises(DataError, match="sum 'sum' leaves the range of 64-bit ints"):
            attempt()
        assert results(folding, partial).rows() == [("a", 1, None, 1), ("b", 1, None, 5)]


def test_merging_sums_that_leave_64_bits_together_is_an_error() -> None:
    folding = ColumnFolding({"sum": i.sum()}, ("k",))
    half = fold(folding, folding.new(), frame_of([("a", None, 1 << 62, 0, None, None, 1)]))
    with pytest.raises(DataError, match="leaves the range of 64-bit ints: 9223372036854775808"):
        folding.results([half, half], WINDOW, 0)


@settings(max_examples=60)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30), data=st.data())
def test_an_exact_sum_rounds_once_whatever_the_order(values: list[float], data: st.DataObject) -> None:
    try:
        want = math.fsum(values)
    except OverflowError:
        return  # the sum, or a part of it, is beyond the floats
    folding = ColumnFolding({"sum": x.sum(exact=True)}, ("k",))
    frame = frame_of([("a", v, None, 0, None, None, 1) for v in data.draw(st.permutations(values))])
    parts = [fold(folding, folding.new(), frame.slice(at, 5)) for at in range(0, frame.height, 5)]
    stored = folding.load(folding.export(folding.merge(parts)))
    assert results(folding, *parts).item(0, "sum") == want
    assert results(folding, stored).item(0, "sum") == want


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([math.inf, 1.0], math.inf),
        ([math.inf, -math.inf], math.nan),
        ([1e308, 1e308, -1e308], 1e308),
        ([1e308] * 3, math.inf),
        ([5e-324] * 3, 1.5e-323),
        ([-5e-324, 2.0**-1022], 2.0**-1022 - 5e-324),
        ([1.0, 2.0**-53], 1.0),
        ([1.0, 2.0**-53, 2.0**-105], 1.0 + 2.0**-52),
        ([-1.0, -(2.0**-53), -(2.0**-1074)], -1.0 - 2.0**-52),
        ([1 + 2.0**-52, 2.0**-53], 1 + 2.0**-51),
    ],
)
def test_an_exact_sum_at_the_ends_of_the_floats(values: list[float], total: float) -> None:
    got = folded({"sum": x.sum(exact=True)}, frame_of([("a", v, None, 0, None, None, 1) for v in values])).item(
        0, "sum"
    )
    assert got == total or (math.isnan(got) and math.isnan(total))


def test_a_variance_far_from_zero_keeps_its_digits() -> None:
    frame = frame_of([("a", 1e9 + n % 3, None, 0, None, None, 1) for n in range(3_000)])
    assert folded({"var": x.var(ddof=0)}, frame).item(0, "var") == pytest.approx(2 / 3, rel=1e-9)
