"""Laws of ``streamflow.agg``: what it builds, for both faces, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from streamflow import agg
from streamflow.core.aggregation import Aggregate
from streamflow.errors import DefinitionError


def amount(row: Any) -> float:
    return float(row)


QUANTILES = {"qs": (0.5,), "accuracy": 0.01, "is_single": True}

BOTH_FACES: list[tuple[Aggregate[Any, Any], Aggregate[Any, Any], str, dict[str, Any]]] = [
    (agg.count(amount), agg.col("x").count(), "count", {}),
    (agg.sum(amount), agg.col("x").sum(), "sum", {"exact": False}),
    (agg.sum(amount, exact=True), agg.col("x").sum(exact=True), "sum", {"exact": True}),
    (agg.min(amount), agg.col("x").min(), "min", {}),
    (agg.max(amount), agg.col("x").max(), "max", {}),
    (agg.mean(amount), agg.col("x").mean(), "mean", {}),
    (agg.variance(amount), agg.col("x").var(), "variance", {"ddof": 1}),
    (agg.stddev(amount, ddof=0), agg.col("x").std(ddof=0), "stddev", {"ddof": 0}),
    (agg.first(amount), agg.col("x").first(), "first", {}),
    (agg.last(amount), agg.col("x").last(), "last", {}),
    (agg.collect(amount), agg.col("x").collect(), "collect", {}),
    (agg.distinct(amount), agg.col("x").n_distinct(), "distinct", {}),
    (agg.approx_distinct(amount), agg.col("x").approx_n_distinct(), "approx_distinct", {"p": 12}),
    (agg.quantile(amount, 0.5), agg.col("x").quantile(0.5), "quantiles", QUANTILES),
    (agg.median(amount), agg.col("x").median(), "quantiles", QUANTILES),
    (
        agg.quantiles(amount, [0, 1], accuracy=0.1),
        agg.col("x").quantiles([0, 1], accuracy=0.1),
        "quantiles",
        {"qs": (0, 1), "accuracy": 0.1, "is_single": False},
    ),
    (agg.top_k(3, amount), agg.col("x").top_k(3), "top_k", {"k": 3}),
    (agg.top_k(3, amount, by=amount), agg.col("x").top_k(3, by="y"), "top_k", {"k": 3}),
    (agg.arg_max(amount, amount), agg.col("x").arg_max("y"), "arg_max", {}),
    (agg.arg_min(amount, amount), agg.col("x").arg_min(by=pl.col("y")), "arg_min", {}),
]


@pytest.mark.parametrize(
    ("row", "column", "kind", "options"), BOTH_FACES, ids=lambda x: x if isinstance(x, str) else ""
)
def test_both_faces_build_the_same_aggregate(
    row: Aggregate[Any, Any], column: Aggregate[Any, Any], kind: str, options: dict[str, Any]
) -> None:
    for built in (row, column):
        assert (built.kind, built.options) == (kind, options)
    assert row.reads is amount
    assert str(column.reads) == str(pl.col("x"))
    assert (row.by is None) == (column.by is None)
    assert row.by in (None, amount)
    assert column.by is None or str(column.by) == str(pl.col("y"))


def test_rows_and_count_of_nothing_are_one() -> None:
    assert agg.rows() == agg.count() == Aggregate("count")


def test_an_expression_is_read_as_it_is() -> None:
    doubled = pl.col("x") * 2
    assert agg.expr(doubled).max().reads is doubled
    assert repr(agg.expr(doubled)) == f"agg.expr({doubled})"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: agg.sum("amount"), "agg.sum takes a function of a row, .* got 'amount'"),  # type: ignore[arg-type]
        (lambda: agg.max(None), "agg.max takes a function of a row, .* got None"),  # type: ignore[arg-type]
        (lambda: agg.last(pl.col("x")), "agg.last takes a function of a row"),  # type: ignore[call-overload]
        (lambda: agg.arg_max(None), "agg.arg_max takes a function"),  # type: ignore[call-overload]
        (lambda: agg.top_k(2), "top_k needs a function"),  # type: ignore[call-overload]
        (lambda: agg.top_k(0, amount), "k of top_k must be a whole number of 1 or more, got 0"),
        (lambda: agg.top_k(True, amount), "k of top_k must be a whole number of 1 or more, got True"),
        (lambda: agg.variance(amount, ddof=-1), "ddof of variance must be a whole number of 0 or more, got -1"),
        (lambda: agg.stddev(amount, ddof=0.5), "ddof of stddev must be"),  # type: ignore[arg-type]
        (lambda: agg.quantile(amount, 1.5), "a quantile must be a number from 0 to 1, got 1.5"),
        (lambda: agg.quantile(amount, float("nan")), "a quantile must be a number from 0 to 1, got nan"),
        (lambda: agg.quantiles(amount, []), "at least one quantile"),
        (lambda: agg.median(amount, accuracy=0), "accuracy must be a number from 0.0001 to 0.5, got 0"),
        (lambda: agg.approx_distinct(amount, p=2), "p must be a whole number from 4 to 18, got 2"),
        (lambda: agg.col(3), "agg.col takes the name of a column, got 3"),  # type: ignore[arg-type]
        (lambda: agg.expr("x"), "agg.expr takes a polars expression, got 'x'"),  # type: ignore[arg-type]
        (lambda: agg.col("x").arg_max(3), "by of arg_max must be the name of a column"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(build: Callable[[], object], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        build()


def test_row_aggregates_do_not_import_polars() -> None:
    program = "import sys; from streamflow import agg; agg.sum(len); agg.count(); print('polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
