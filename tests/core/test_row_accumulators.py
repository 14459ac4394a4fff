"""Laws of single kinds in the row layout: NaN, ties, exact sums, types of results."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow import agg
from streamflow.core.row_fold import RowFolding
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from tests.core.row_rig import (
    NAN,
    batch,
    fold_all,
    folded,
    itself,
    one,
    refusals,
    results,
)


def test_nan_is_passed_over_by_what_compares_unless_there_is_nothing_else() -> None:
    folding = RowFolding(
        [agg.min(itself), agg.max(itself), agg.arg_max(itself), agg.top_k(2, itself), agg.median(itself)]
    )
    rows = [("a", 0, NAN), ("a", 1, 2.0), ("a", 2, NAN), ("a", 3, None), ("b", 0, NAN), ("c", 0, None), ("c", 1, NAN)]
    for cut in range(len(rows) + 1):
        parts = [fold_all(folding, batch(part)) for part in (rows[:cut], rows[cut:])]
        for order in (parts, parts[::-1]):
            found = results(folding, *order)
            assert found["a"] == (2.0, 2.0, 2.0, [2.0], pytest.approx(2.0, rel=0.01))
            for key in "bc":
                low, high, *rest = found[key]
                assert (math.isnan(low), math.isnan(high), rest) == (True, True, [None, [], None])
            loaded = folding.load(folding.export(folding.merge(order)))
            assert repr(results(folding, loaded)) == repr(results(folding, folding.merge(order)))


def test_nan_is_one_distinct_value() -> None:
    folding = RowFolding([agg.distinct(itself), agg.approx_distinct(itself)])
    partial = fold_all(folding, batch([("a", 0, float("nan")), ("a", 0, float("nan")), ("a", 0, 0.0), ("a", 0, -0.0)]))
    loaded = folding.load(folding.export(partial))
    fold_all(folding, batch([("a", 0, float("nan"))]), loaded)
    assert results(folding, partial) == results(folding, loaded) == {"a": (2, 2)}


def test_tuples_are_counted_as_wholes() -> None:
    folding = RowFolding([agg.distinct(itself)])
    partial = fold_all(
        folding, batch([("a", 0, (1, "x")), ("a", 0, (1, "x")), ("a", 0, (NAN, "x")), ("a", 0, (NAN, "x"))])
    )
    assert results(folding, folding.load(folding.export(partial))) == {"a": 2}
    assert "can be hashed" in refusals(folding, [("a", 0, (1, []))])[0]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.randoms())
def test_an_exact_sum_rounds_once_whatever_the_order_and_the_cut(numbers_: list[float], random: Any) -> None:
    folding, restored = (RowFolding([agg.sum(itself, exact=True)]) for _ in range(2))
    random.shuffle(numbers_)
    cut = random.randrange(len(numbers_) + 1)
    parts = [fold_all(folding, batch([("a", 0, v) for v in part])) for part in (numbers_[:cut], numbers_[cut:])]
    parts[0] = restored.load(folding.export(parts[0]))
    try:
        exact = math.fsum(numbers_)
    except OverflowError:
        return  # fsum gives up on what overflows between; the integers do not
    assert results(folding, *parts) == {"a": exact}


def test_an_exact_sum_of_the_extremes() -> None:
    folding = RowFolding([agg.sum(itself, exact=True)])
    big, inf = 1.7976931348623157e308, math.inf
    rows = [("huge", 0, big), ("huge", 0, big), ("huge", 0, -big), ("over", 0, big), ("over", 0, big)]
    rows += [
        ("inf", 0, inf),
        ("inf", 0, 1.0),
        ("mixed", 0, 2**60),
        ("mixed", 0, 0.5),
        ("ints", 0, 3),
        ("tiny", 0, 5e-324),
    ]
    partial = fold_all(folding, batch(rows))
    model = {"huge": big, "over": inf, "inf": inf, "mixed": 2.0**60, "ints": 3, "tiny": 5e-324}
    assert results(folding, partial) == model
    assert results(folding, folding.load(folding.export(partial))) == model
    assert math.isnan(folded(folding, [("a", 0, inf), ("a", 0, -inf)])["a"])


def test_a_sum_of_ints_is_an_int_and_of_floats_a_float() -> None:
    found = folded(
        RowFolding([agg.sum(itself)]), [("i", 0, 1), ("f", 0, 1.0), ("m", 0, 1), ("m", 0, 0.5), ("n", 0, None)]
    )
    assert found == {"i": 1, "f": 1.0, "m": 1.5, "n": 0}
    assert [type(v) for v in found.values()] == [int, float, float, int]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.integers(0, 20), st.sampled_from([0, 1]))
def test_variance_is_near_that_of_the_definition(given_values: list[float], cut: int, ddof: int) -> None:
    folding = RowFolding([agg.variance(itself, ddof=ddof), agg.stddev(itself, ddof=ddof)])
    parts = [fold_all(folding, batch([("a", 0, v) for v in p])) for p in (given_values[:cut], given_values[cut:])]
    variance, stddev = results(folding, *[folding.load(folding.export(p)) for p in parts if len(p)])["a"]
    if len(given_values) <= ddof:
        assert variance is None
        assert stddev is None
        return
    exact = statistics.pvariance(given_values) * len(given_values) / (len(given_values) - ddof)
    assert variance == pytest.approx(exact, rel=1e-9, abs=1e-3)
    assert stddev == pytest.approx(math.sqrt(variance))


def test_ties_are_broken_by_time_then_split_then_position() -> None:
    stamps = Stamps(
        np.array([5, 5, 5, 4]),
        np.zeros(4, dtype=np.int64),
        split=np.array([1, 0, 0, 9]),
        position=np.array([0, 7, 3, 0]),
    )
    names = ["split 1", "position 7", "position 3", "early"]
    folding = RowFolding([agg.first(), agg.last(), agg.collect(), agg.arg_max(one), agg.top_k(2, by=one)])
    partial = fold_all(folding, Rows(stamps, names, ["a"] * 4))
    ordered = ["early", "position 3", "position 7", "split 1"]
    assert results(folding, partial) == {"a": (ordered[0], ordered[-1], ordered, ordered[0], ordered[:2])}


def test_without_identities_arrival_breaks_ties() -> None:
    times = np.array([3, 3, 3])
    folding = RowFolding([agg.first(), agg.last(), agg.collect()])
    partial = fold_all(folding, Rows(Stamps(times, times), ["x", "y", "z"], ["a"] * 3))
    assert results(folding, partial) == {"a": ("x", "z", ["x", "y", "z"])}
