"""Laws of ``core.column_fold``.

The column layout keeps panes as one polars query would, however rows come and partials meet.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamflow import agg
from streamflow.core.aggregation import Aggregate, Aggregation
from streamflow.core.column_fold import ColumnFolding
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import EARLIEST, LATEST, MAX_TIMESTAMP, MIN_TIMESTAMP
from streamflow.errors import DataError, DefinitionError, InternalError
from tests.core.column_rig import (
    ALL,
    ROWS,
    WINDOW,
    batch,
    expected,
    fold,
    folded,
    frame_of,
    i,
    keyed,
    results,
    s,
    same,
    x,
)


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
@given(rows=ROWS, cut=st.integers(0, 24))
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


TYPED: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "uint64": (pl.UInt64(), st.integers(0, (1 << 64) - 1)),
    "int8": (pl.Int8(), st.integers(-128, 127)),
    "int128": (pl.Int128(), st.integers(-(1 << 100), 1 << 100)),
    "float32": (pl.Float32(), st.floats(width=32)),
    "bool": (pl.Boolean(), st.booleans()),
    "date": (pl.Date(), st.dates()),
    "time": (pl.Time(), st.times()),
    "datetime": (pl.Datetime("ms", "Europe/Berlin"), st.integers(-(10**12), 10**12)),
    "duration": (pl.Duration("ns"), st.integers(-(10**18), 10**18)),
    "enum": (pl.Enum(["b", "a", "c"]), st.sampled_from("abc")),
    "decimal": (pl.Decimal(20, 2), st.integers(-1000, 1000).map(lambda n: Decimal(n) / 4)),
    "bytes": (pl.Binary(), st.binary(max_size=20)),
    "text": (pl.String(), st.text(max_size=20)),
}


@pytest.mark.parametrize("name", TYPED)
@settings(max_examples=10)
@given(data=st.data())
def test_values_of_every_type_come_out_as_they_are(name: str, data: st.DataObject) -> None:
    dtype, values = TYPED[name]
    drawn = data.draw(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), values)), min_size=1, max_size=12))
    frame = keyed(np.array([key for key, _ in drawn])).frame
    frame = frame.with_columns(v=pl.Series([value for _, value in drawn], dtype=dtype), p=pl.col("i"), t=pl.col("i"))
    v, present = agg.col("v"), pl.col("v").drop_nulls()
    present = present.drop_nans() if dtype.is_float() else present
    kinds = {
        "min": (v.min(), pl.col("v").min()),
        "max": (v.max(), pl.col("v").max()),
        "first": (v.first(), pl.col("v").first()),
        "last": (v.last(), pl.col("v").last()),
        "all": (v.collect(), pl.col("v")),
        "n": (v.n_distinct(), pl.col("v").drop_nulls().n_unique().cast(pl.Int64)),
        "top": (v.top_k(2), present.sort(descending=True).head(2)),
        "best": (agg.col("i").arg_max("v"), pl.col("i").filter(pl.col("v") == present.max()).first()),
        "count": (v.count(), pl.col("v").count().cast(pl.Int64)),
    }
    aggregations = {kind: aggregate for kind, (aggregate, _) in kinds.items()}
    want = frame.group_by("k").agg(said.alias(kind) for kind, (_, said) in kinds.items()).sort("k")
    folding, other = ColumnFolding(aggregations, ("k",)), ColumnFolding(aggregations, ("k",))
    partials = [fold(folding, folding.new(), frame.slice(at, 5)) for at in range(0, frame.height, 5)]
    assert_frame_equal(results(folding, *partials), want)
    assert_frame_equal(results(other, other.load(folding.export(folding.merge(partials)))), want)
    run, _ = other.read(batch(frame))
    bounds = np.zeros(len(run), dtype=np.int64), np.full(len(run), 10)
    each, _ = other.each(other.new(), run, slice(0, len(run)), bounds)
    last = each.frame.drop("window_start", "window_end").group_by("k", maintain_order=True).last().sort("k")
    assert_frame_equal(last, want)


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


# ------------------------------------------------------------------------------------------------ refusals


def test_a_batch_of_another_type_than_before_is_refused() -> None:
    folding = ColumnFolding({"sum": x.sum()}, ("k",))
    folding.read(keyed(np.array([1])))
    columns = keyed(np.array([1]))
    assert len(folding.read(columns.with_frame(columns.frame.with_columns(x=None)))[0]) == 1
    with pytest.raises(DataError, match="column 'x' was Float64 so far, got String"):
        folding.read(columns.with_frame(columns.frame.with_columns(x=pl.lit("1"))))


@pytest.mark.parametrize(
    ("aggregate", "message"),
    [
        (s.sum(), "sum 'out' needs whole or floating-point numbers of up to 64 bits, got String in 's'"),
        (agg.expr(pl.col("i") > 1).mean(), "mean 'out' needs whole .* got Boolean in .*col"),
        (agg.expr(pl.col("i").cast(pl.Decimal(10, 2))).sum(), "got Decimal"),
        (agg.expr(pl.concat_list("i")).max(), r"max 'out' needs values that can be compared, got List\(Int64\)"),
        (i.arg_max(pl.struct("i", "x")), "arg_max 'out' needs values that can be compared, got Struct"),
        (agg.col("nothing").sum(), "an aggregation reads a column that is not there: .*nothing"),
        (agg.expr(pl.col("nothing") * 2).sum(), "an aggregation reads a column that is not there: .*nothing"),
        (agg.expr(pl.col("s").str.to_integer()).sum(), None),
    ],
)
def test_what_cannot_be_aggregated_is_refused_by_the_first_batch(
    aggregate: Aggregate[Any, Any], message: str | None
) -> None:
    folding = ColumnFolding({"out": aggregate}, ("k",))
    columns = keyed(np.array([1]))
    if message is None:
        columns = columns.with_frame(columns.frame.with_columns(s=pl.lit("x")))
    with pytest.raises(DataError, match=message or "what an aggregation reads cannot be computed"):
        folding.read(columns)


@pytest.mark.parametrize(
    ("aggregations", "message"),
    [
        ({}, "at least one aggregation"),
        ({"out": "sum"}, "must be one of streamflow's aggregations, got 'sum'"),
        ({"out": Aggregation(list, lambda a, v: a, lambda a, b: a, len)}, "must be one of streamflow's aggregations"),
        ({"out": Aggregate("mode", pl.col("x"))}, "expected an aggregation of kind count, sum.* got 'mode'"),
        ({"out": agg.sum(len)}, "sum 'out' reads .*len.*, and a table has columns"),
        ({"out": agg.first()}, "first 'out' reads None, and a table has columns"),
        ({"out": Aggregate("arg_max", pl.col("x"))}, "arg_max 'out' compares by None"),
    ],
)
def test_what_columns_cannot_keep_is_refused_at_definition(aggregations: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        ColumnFolding(aggregations, ("k",))


def test_rows_given_to_columns_are_our_own_fault() -> None:
    with pytest.raises(InternalError, match="the column layout was given a batch of rows"):
        ColumnFolding({"n": agg.rows()}, ()).read(Rows(Stamps(np.array([1]), np.array([1])), [1]))
