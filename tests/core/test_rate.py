"""The PID rate estimator: what Spark's does."""

from __future__ import annotations

import pytest

from streamflow.core.rate import RateEstimator, pid
from streamflow.errors import DefinitionError


def test_the_first_batch_sets_the_rate_at_which_it_was_worked_on() -> None:
    estimator = RateEstimator(pid(), 1.0)
    assert estimator.limit() is None
    estimator.batch(ended=1.0, rows=1_000, processing=0.5, scheduling=0.0)
    assert estimator.rate == 2_000


def test_a_batch_that_is_slower_than_its_rate_lowers_it_to_what_was_done() -> None:
    estimator = RateEstimator(pid(), 1.0)
    estimator.batch(ended=1.0, rows=1_000, processing=0.5, scheduling=0.0)
    estimator.batch(ended=2.0, rows=2_000, processing=2.0, scheduling=0.0)
    assert estimator.rate == 1_000


def test_what_waits_lowers_it_further() -> None:
    estimator = RateEstimator(pid(), 1.0)
    estimator.batch(ended=1.0, rows=1_000, processing=1.0, scheduling=0.0)
    estimator.batch(ended=2.0, rows=1_000, processing=1.0, scheduling=2.0)
    assert estimator.rate == 1_000 - 0.2 * 2_000


def test_the_derivative_damps_a_change() -> None:
    estimator = RateEstimator(pid(1.0, 0.0, 0.5), 1.0)
    estimator.batch(ended=1.0, rows=1_000, processing=1.0, scheduling=0.0)
    estimator.batch(ended=2.0, rows=800, processing=1.0, scheduling=0.0)
    assert estimator.rate == 1_000 - 200 - 0.5 * 200


def test_it_never_falls_below_the_least_rate() -> None:
    estimator = RateEstimator(pid(least=50), 1.0)
    estimator.batch(ended=1.0, rows=100, processing=1.0, scheduling=0.0)
    estimator.batch(ended=2.0, rows=1, processing=10.0, scheduling=100.0)
    assert estimator.rate == 50


@pytest.mark.parametrize(("rows", "processing"), [(0, 1.0), (10, 0.0)])
def test_a_batch_without_rows_or_time_says_nothing(rows: int, processing: float) -> None:
    estimator = RateEstimator(pid(), 1.0)
    estimator.batch(ended=1.0, rows=rows, processing=processing, scheduling=0.0)
    assert estimator.rate is None


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(DefinitionError, match="zero or more"):
        pid(-1.0)
