"""Laws of ``core.column_dense``: NaN, nulls, sums of ints that never wrap, and variances that keep their digits."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streamflow import agg
from streamflow.core.column_fold import ColumnFolding
from streamflow.errors import DataError
from tests.core.column_rig import (
    WINDOW,
    batch,
    fold,
    folded,
    frame_of,
    i,
    results,
    s,
    x,
)


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


def test_a_variance_far_from_zero_keeps_its_digits() -> None:
    frame = frame_of([("a", 1e9 + n % 3, None, 0, None, None, 1) for n in range(3_000)])
    assert folded({"var": x.var(ddof=0)}, frame).item(0, "var") == pytest.approx(2 / 3, rel=1e-9)
