"""Laws of ``core.ddsketch``."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamflow.core import ddsketch
from streamflow.errors import DefinitionError

ACCURACIES = st.sampled_from([0.0001, 0.005, 0.01, 0.1, 0.5])
NUMBERS = st.floats(allow_nan=False)
NORMAL = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)


def one(values: list[float], qs: list[float], accuracy: float = 0.01) -> list[float]:
    counts = sorted(Counter(ddsketch.buckets(np.array(values), accuracy).tolist()).items())
    bucket, n = np.array(counts, dtype=np.int64).T
    found = ddsketch.quantiles(np.zeros(len(n), dtype=np.int64), bucket, n, qs, accuracy)
    return found[0].tolist()  # type: ignore[no-any-return]


@given(NORMAL, ACCURACIES)
@example(1.7976931348623157e308, 0.01)
@example(2.2250738585072014e-308, 0.01)
@example(1.0, 0.01)
def test_a_value_is_within_the_accuracy_of_what_stands_for_its_bucket(value: float, accuracy: float) -> None:
    (stands,) = ddsketch.values_of(ddsketch.buckets(np.array([value]), accuracy), accuracy)
    assert abs(stands - value) <= accuracy * (1 + 1e-12) * abs(value)


@given(st.lists(NUMBERS, min_size=1), ACCURACIES)
def test_one_value_falls_where_it_falls_among_others(values: list[float], accuracy: float) -> None:
    together = ddsketch.buckets(np.array(values), accuracy).tolist()
    assert together == [ddsketch.bucket_of(value, accuracy) for value in values]


@given(NUMBERS, NUMBERS, ACCURACIES)
def test_buckets_are_ordered_as_values_are(a: float, b: float, accuracy: float) -> None:
    low, high = sorted((a, b))
    assert ddsketch.bucket_of(low, accuracy) <= ddsketch.bucket_of(high, accuracy)
    assert ddsketch.bucket_of(-a, accuracy) == -ddsketch.bucket_of(a, accuracy)


@pytest.mark.parametrize("value", [0.0, -0.0, math.inf, -math.inf])
def test_zero_and_the_infinities_have_buckets_of_their_own(value: float) -> None:
    assert one([value], [0.5]) == [value]


def test_what_lies_at_a_bound_lies_above_it() -> None:
    # Powers of two are bounds at every accuracy.
    for power in range(-1000, 1000, 50):
        at, below = 2.0**power, math.nextafter(2.0**power, 0)
        assert ddsketch.bucket_of(at, 0.01) == ddsketch.bucket_of(below, 0.01) + 1


@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=50),
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
def test_a_quantile_is_within_the_accuracy_of_the_value_at_its_place(values: list[float], qs: list[float]) -> None:
    values = [v if abs(v) > 1e-300 else 0.0 for v in values]
    expected = [sorted(values)[math.floor(q * (len(values) - 1))] for q in qs]
    for found, exact in zip(one(values, qs), expected, strict=True):
        assert abs(found - exact) <= 0.01 * (1 + 1e-12) * abs(exact)


@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=20), min_size=1, max_size=5))
def test_many_sketches_answer_as_each_alone(groups: list[list[float]]) -> None:
    qs = [0.0, 0.3, 1.0]
    entries = [
        (sketch, bucket, n)
        for sketch, values in enumerate(groups)
        for bucket, n in sorted(Counter(ddsketch.buckets(np.array(values), 0.01).tolist()).items())
    ]
    sketch, bucket, n = np.array(entries, dtype=np.int64).T
    found = ddsketch.quantiles(sketch, bucket, n, qs, 0.01).tolist()
    assert found == [one(values, qs) for values in groups]


def test_no_sketches_have_no_quantiles() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert ddsketch.quantiles(none, none, none, [0.5], 0.01).shape == (0, 1)


@given(st.lists(st.lists(NUMBERS), min_size=1, max_size=4), st.randoms())
def test_merging_in_any_order_is_one_sketch_of_all(parts: list[list[float]], random: Any) -> None:
    whole = Counter(ddsketch.buckets(np.array([v for part in parts for v in part]), 0.01).tolist())
    sketches = [Counter(ddsketch.buckets(np.array(part), 0.01).tolist()) for part in parts]
    random.shuffle(sketches)
    assert sum(sketches, Counter()) == whole


def test_the_buckets_never_change() -> None:
    # These numbers stand in checkpoints: a change here needs a new format.
    values = np.array([1.0, -1.0, 3.14159, 5e-324, 1e308])
    assert ddsketch.buckets(values, 0.01).tolist() == [37591, -37591, 37648, 1, 73401]


@pytest.mark.parametrize("accuracy", [0, 0.00001, 0.6, True, "0.01", math.nan])
def test_an_accuracy_that_makes_no_sense_is_refused(accuracy: object) -> None:
    with pytest.raises(DefinitionError, match="accuracy must be a number from"):
        ddsketch.require_accuracy(accuracy)
