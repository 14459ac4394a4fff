"""Laws of ``core.hyperloglog``."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core import hyperloglog
from streamflow.core.hyperloglog import hash_floats, hash_integers, hash_texts, hash_values
from streamflow.errors import DataError, DefinitionError

INSTANT = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)


def sketch(values: pl.Series, p: int = 12) -> Any:
    made = hyperloglog.empty(1, p)
    hyperloglog.update(made, 0, hash_values(values))
    return made


def count(made: Any) -> int:
    return int(hyperloglog.estimate(hyperloglog.histogram(made))[0])


@pytest.mark.parametrize("p", [6, 10, 12])
@pytest.mark.parametrize("n", [10, 1_000, 5_000, 20_000, 200_000])
def test_the_error_is_within_three_sigma(p: int, n: int) -> None:
    sigma = 1.04 / np.sqrt(1 << p)
    estimates = [count(sketch(pl.Series(np.arange(n) + trial * 10**9), p)) for trial in range(9)]
    errors = np.array(estimates) / n - 1
    assert np.abs(errors).max() < max(4 * sigma, 1.5 / n)  # the largest of nine
    assert abs(errors.mean()) < max(3 * sigma / np.sqrt(9), 1 / n)


@pytest.mark.parametrize(
    "make", [lambda i: f"user-{i}", lambda i: str(i).encode(), lambda i: i * 4096, lambda i: i / 7]
)
def test_every_type_is_spread_evenly(make: Any) -> None:
    assert count(sketch(pl.Series([make(i) for i in range(20_000)]))) == pytest.approx(20_000, rel=3 * 1.04 / 64)


def test_no_values_are_none_and_one_is_one() -> None:
    assert count(hyperloglog.empty(1, 12)) == 0
    assert count(sketch(pl.Series(["a"] * 100))) == 1


def test_a_full_sketch_still_answers() -> None:
    full = np.full((1, 16), 47, dtype=np.uint8)
    assert count(full) > 2**50


@given(st.lists(st.lists(st.integers(0, 500)), min_size=1, max_size=5), st.randoms())
def test_merging_in_any_order_is_one_sketch_of_all(parts: list[list[int]], random: Any) -> None:
    whole = sketch(pl.Series([v for part in parts for v in part], dtype=pl.Int64), 6)
    sketches = [sketch(pl.Series(part, dtype=pl.Int64), 6) for part in parts]
    while len(sketches) > 1:
        random.shuffle(sketches)
        sketches.append(hyperloglog.merge(sketches.pop(), sketches.pop()))
    assert (sketches[0] == whole).all()


def test_many_sketches_are_kept_apart() -> None:
    made = hyperloglog.empty(3, 10)
    hyperloglog.update(made, np.array([2, 0, 2, 0, 0]), hash_values(pl.Series([1, 2, 3, 3, 2])))
    assert hyperloglog.estimate(hyperloglog.histogram(made)).tolist() == [2, 0, 2]


@given(st.lists(st.text(max_size=40)))
def test_a_text_hashes_alike_beside_any_others(texts: list[str]) -> None:
    together = hash_values(pl.Series(texts, dtype=pl.String)).tolist()
    assert together == [int(hash_texts([text])[0]) for text in texts]


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_a_list_hashes_as_its_column(values: list[int]) -> None:
    assert (hash_integers(np.array(values, dtype=np.int64)) == hash_values(pl.Series(values, dtype=pl.Int64))).all()


@given(st.floats())
def test_a_float_hashes_alike_in_both_layouts_and_as_the_int_it_equals(value: float) -> None:
    hashed = hash_floats(np.array([value]))[0]
    assert hashed == hash_values(pl.Series([value]))[0]
    if value == value and value.is_integer() if abs(value) < 2**63 else False:
        assert hashed == hash_integers(np.array([int(value)]))[0]


def test_what_differs_hashes_differently() -> None:
    texts = ["", "\0", "a", "a\0", "a\0\0", "abcdefgh", "abcdefgh\0", "abcdefghi", "x" * 64, "x" * 65]
    numbers: list[Any] = [0, 1, -1, 2**40, 0.5, -0.5, float("nan"), float("inf"), float("-inf")]
    columns = [
        pl.Series(texts),
        pl.Series([t.encode() for t in texts]),
        pl.Series(numbers, dtype=pl.Float64),
        pl.Series([True, False]),
        pl.Series([date(1970, 1, 2)]),
        pl.Series([time(0, 0, 1)]),
        pl.Series([timedelta(1)]),
        pl.Series([INSTANT]),
    ]
    hashes = [h for column in columns for h in hash_values(column).tolist()]
    assert len(set(hashes)) == len(hashes)


def test_equal_values_hash_alike_in_every_width_and_unit() -> None:
    integers = [pl.Series([7], dtype=t) for t in (pl.Int8, pl.Int32, pl.UInt8, pl.UInt64, pl.Float32, pl.Float64)]
    instants = [pl.Series([INSTANT]).dt.cast_time_unit(unit) for unit in ("ms", "us", "ns")]
    words = [pl.Series(["a"], dtype=t) for t in (pl.String, pl.Categorical, pl.Enum(["b", "a"]))]
    for same in (integers, instants, words):
        assert len({int(hash_values(column)[0]) for column in same}) == 1


def test_the_hash_never_changes() -> None:
    # These numbers stand in checkpoints: a change here needs a new format.
    assert hash_values(pl.Series([1, -1])).tolist() == [6755974106381971767, 11977022717111315734]
    assert hash_values(pl.Series(["streamflow", ""])).tolist() == [1307098824171129297, 17160774760686499100]


def test_a_huge_text_costs_what_it_holds() -> None:
    # One long text among short ones must not make a matrix of that width.
    values = pl.Series([f"short-{i}" for i in range(20_000)] + ["x" * 2_000_000])
    assert len(set(hash_values(values).tolist())) == 20_001


@pytest.mark.parametrize("p", [3, 19, 12.0, True, "12"])
def test_a_precision_that_makes_no_sense_is_refused(p: object) -> None:
    with pytest.raises(DefinitionError, match="p must be a whole number from 4 to 18"):
        hyperloglog.require_p(p)


def test_values_without_a_hash_are_refused() -> None:
    with pytest.raises(DataError, match="got List"):
        hash_values(pl.Series([[1], [2]]))
