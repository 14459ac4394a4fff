"""What the tests of the row layout share: batches, a naive model of every kind of aggregation, and strategies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st

from streamflow import agg
from streamflow.core import hyperloglog
from streamflow.core.aggregation import Aggregate, Aggregation
from streamflow.core.ddsketch import bucket_of, values_of
from streamflow.core.row_fold import RowFolding
from streamflow.core.row_partial import RowPartial
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps

Row = tuple[Any, int, Any]
"""Key, event time and value; the row's place in the list of all rows is its identity."""


def batch(rows: Sequence[tuple[Any, int, Any]], positions: Sequence[int] | None = None) -> Rows:
    times = np.array([time for _, time, _ in rows], dtype=np.int64)
    places = np.array(range(len(rows)) if positions is None else positions, dtype=np.int64)
    stamps = Stamps(times, times.copy(), split=np.zeros(len(rows), dtype=np.int64), position=places)
    return Rows(stamps, [value for *_, value in rows], [key for key, *_ in rows])


def everything(run: Any) -> slice:
    return slice(0, len(run))


def fold_all(folding: RowFolding, rows: Rows, partial: RowPartial | None = None) -> RowPartial:
    partial = folding.new() if partial is None else partial
    run, refused = folding.read(rows)
    left_out = {r.row for r in refused}
    kept = np.array([row for row in range(len(run)) if row not in left_out], dtype=np.int64)
    assert not folding.fold(partial, run, kept)
    partial._check()
    return partial


def results(folding: RowFolding, *cover: RowPartial) -> dict[Any, Any]:
    return {row.key: row.value for row in folding.results(cover, (0, 10), 7).to_values()}


def folded(folding: RowFolding, rows: Sequence[Row]) -> dict[Any, Any]:
    return results(folding, fold_all(folding, batch(rows)))


def refusals(folding: RowFolding, rows: Sequence[Row]) -> dict[int, str]:
    run, refused = folding.read(batch(rows))
    more = folding.fold(folding.new(), run, np.setdiff1d(np.arange(len(run)), [r.row for r in refused]))
    return {r.row: r.reason for r in (*refused, *more)}


class Color(StrEnum):
    RED = "red"


class Order(msgspec.Struct, frozen=True):
    item: str
    amounts: tuple[float, ...] = ()


NAN = float("nan")


# The naive model.


def numbers(rows: Sequence[Row]) -> list[Any]:
    return [v for *_, v in rows if v is not None]


def in_order(rows: Sequence[Row]) -> list[Any]:
    return [v for _, _, v in sorted(rows, key=lambda row: row[1])]


def ranked(rows: Sequence[Row]) -> list[Any]:
    """Return the values, largest first, of equals the earliest: what is left of order is the order of arrival."""
    present = sorted((row for row in rows if row[2] is not None), key=lambda row: row[1])
    return [v for *_, v in sorted(present, key=lambda row: row[2], reverse=True)]


def quantile(rows: Sequence[Row], q: float) -> Any:
    values = sorted(numbers(rows))
    if not values:
        return None
    bucket = bucket_of(float(values[math.floor(q * (len(values) - 1))]), 0.01)
    return float(values_of(np.array([bucket]), 0.01)[0])


def about(rows: Sequence[Row]) -> int:
    sketch = hyperloglog.empty(1, 10)
    hyperloglog.update(sketch, 0, hyperloglog.hash_floats(np.array(numbers(rows), dtype=np.float64)))
    return int(hyperloglog.estimate(hyperloglog.histogram(sketch))[0])


def itself(value: Any) -> Any:
    return value


def one(_: Any) -> int:
    return 1


share: Aggregation[Any, tuple[int, int], float] = Aggregation(
    init=lambda: (0, 0),
    fold=lambda state, value: (state[0] + 1, state[1] + (value is not None)),
    merge=lambda a, b: (a[0] + b[0], a[1] + b[1]),
    result=lambda state: state[1] / state[0],
    name="share",
)

Model = Callable[[Sequence[Row]], Any]
KINDS: dict[str, tuple[Aggregate[Any, Any] | Aggregation[Any, Any, Any], Model]] = {
    "rows": (agg.count(), len),
    "count": (agg.count(itself), lambda rows: len(numbers(rows))),
    "sum": (agg.sum(itself), lambda rows: sum(numbers(rows))),
    "exact sum": (agg.sum(itself, exact=True), lambda rows: sum(numbers(rows))),
    "min": (agg.min(itself), lambda rows: min(numbers(rows), default=None)),
    "max": (agg.max(itself), lambda rows: max(numbers(rows), default=None)),
    "mean": (agg.mean(itself), lambda rows: sum(numbers(rows)) / len(numbers(rows)) if numbers(rows) else None),
    "first": (agg.first(), lambda rows: in_order(rows)[0]),
    "last": (agg.last(), lambda rows: in_order(rows)[-1]),
    "collect": (agg.collect(), in_order),
    "distinct": (agg.distinct(itself), lambda rows: len(set(numbers(rows)))),
    "arg_max": (agg.arg_max(itself), lambda rows: next(iter(ranked(rows)), None)),
    "arg_min": (agg.arg_min(itself), lambda rows: min(numbers(rows), default=None)),
    "top_k": (agg.top_k(2, itself), lambda rows: ranked(rows)[:2]),
    "top_k by": (agg.top_k(2, by=itself), lambda rows: ranked(rows)[:2]),
    "quantiles": (agg.quantiles(itself, [0, 0.5, 1]), lambda rows: [quantile(rows, q) for q in (0, 0.5, 1)]),
    "median": (agg.median(itself), lambda rows: quantile(rows, 0.5)),
    "approx_distinct": (agg.approx_distinct(itself, p=10), about),
    "a user's": (share, lambda rows: len(numbers(rows)) / len(rows)),
}
ALL = [aggregation for aggregation, _ in KINDS.values()]


def every_kind() -> RowFolding:
    """Return a folding of every kind at once; a result says the kind of each value."""
    return RowFolding(ALL, into=lambda *found: dict(zip(KINDS, found, strict=True)))


dyadic = st.integers(-(2**20), 2**20).map(lambda k: k / 1024)
values = st.one_of(st.none(), st.integers(-50, 50), dyadic)
rows_of = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), values), max_size=20)


def expected(model: Model, rows: Sequence[Row]) -> dict[Any, Any]:
    keys = dict.fromkeys(key for key, *_ in rows)
    return {key: model([row for row in rows if row[0] == key]) for key in keys}


def expected_of_all(rows: Sequence[Row]) -> dict[Any, Any]:
    return expected(lambda mine: {kind: model(mine) for kind, (_, model) in KINDS.items()}, rows)


def windows_of(rows: Sequence[Any]) -> tuple[Any, Any]:
    starts = np.arange(len(rows), dtype=np.int64)
    return starts, starts + 5
