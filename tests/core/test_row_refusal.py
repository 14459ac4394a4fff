"""Laws of refused rows in the row layout: named once, left out of everything; and of functions of the user's."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow import agg
from streamflow.core.aggregation import Aggregate, Aggregation
from streamflow.core.row_fold import RowFolding
from streamflow.errors import CheckpointError, DataError
from tests.core.row_rig import (
    Order,
    batch,
    everything,
    expected,
    fold_all,
    folded,
    itself,
    refusals,
    results,
)


class Reader:
    """A function of the row that fails on some, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, value: Any) -> Any:
        self.asked += 1
        if value == "stop":
            raise StopIteration
        return 1 // value


@given(st.lists(st.sampled_from([1, 0, "stop", -1]), max_size=12))
def test_a_function_is_called_once_a_row_and_its_failures_are_named(given_values: list[Any]) -> None:
    reader = Reader()
    folding = RowFolding([agg.sum(reader), agg.count()])
    rows = [("a", 0, value) for value in given_values]
    found = refusals(folding, rows)
    assert reader.asked == len(rows)
    assert list(found) == [i for i, v in enumerate(given_values) if v in (0, "stop")]
    assert all("StopIteration" in r or "ZeroDivisionError" in r for r in found.values())
    good = sum(v for v in given_values if v in (1, -1))
    assert folded(folding, rows) == (
        {"a": (good, sum(v in (1, -1) for v in given_values))} if set(given_values) & {1, -1} else {}
    )


def test_a_refusal_has_the_row_and_the_exception() -> None:
    _, (refused,) = RowFolding([agg.sum(lambda row: row["x"])]).read(batch([("a", 0, {"x": 1}), ("a", 0, {"y": 1})]))
    assert (refused.row, refused.raw, refused.reason) == (1, {"y": 1}, "sum: KeyError: 'x'")
    assert isinstance(refused.cause, KeyError)


NUMERIC = [agg.sum(itself), agg.sum(itself, exact=True), agg.mean(itself), agg.variance(itself), agg.median(itself)]


@pytest.mark.parametrize("aggregation", NUMERIC, ids=lambda a: a.kind)
@pytest.mark.parametrize("wrong", ["1", True, 2**63, -(2**63) - 1, [1], b"1", np.True_, date(2024, 1, 1), 1j])
def test_what_is_not_a_number_of_64_bits_is_refused(aggregation: Aggregate[Any, Any], wrong: Any) -> None:
    found = refusals(RowFolding([aggregation]), [("a", 0, 1), ("a", 0, wrong), ("a", 0, 2.5), ("a", 0, None)])
    assert list(found) == [1]
    assert found[1].startswith(f"{aggregation.kind}: expected")


@pytest.mark.parametrize("aggregation", NUMERIC, ids=lambda a: a.kind)
def test_numpy_numbers_are_numbers(aggregation: Aggregate[Any, Any]) -> None:
    given_rows = [("a", 0, np.int32(1)), ("a", 0, np.float64(2.5))]
    assert folded(RowFolding([aggregation]), given_rows) == folded(
        RowFolding([aggregation]), [("a", 0, 1), ("a", 0, 2.5)]
    )


COMPARING = [agg.min(itself), agg.max(itself), agg.arg_max(itself), agg.top_k(1, itself), agg.distinct(itself)]
SCALARS: list[Any] = [1, "a", b"a", True, date(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize("aggregation", COMPARING, ids=lambda a: a.kind)
@pytest.mark.parametrize("first", SCALARS, ids=repr)
@pytest.mark.parametrize("second", SCALARS, ids=repr)
def test_values_that_are_compared_have_the_type_of_the_first(aggregation: Any, first: Any, second: Any) -> None:
    found = refusals(RowFolding([aggregation]), [("a", 0, None), ("a", 0, first), ("a", 0, second), ("a", 0, first)])
    assert list(found) == ([] if type(first) is type(second) else [2])


def test_the_type_of_values_outlives_a_checkpoint() -> None:
    folding, restored = RowFolding([agg.max(itself)]), RowFolding([agg.max(itself)])
    restored.load(folding.export(fold_all(folding, batch([("a", 0, "x")]))))
    assert "expected str, as before, got number 1" in refusals(restored, [("a", 0, 1)])[0]


def test_a_sum_of_ints_refuses_the_row_that_would_leave_64_bits() -> None:
    rows = [("a", 0, 2**62), ("b", 0, 1), ("a", 0, 2**62), ("a", 0, -(2**62)), ("a", 0, 2**62 - 1), ("a", 0, 2**62)]
    for aggregation in (agg.sum(itself), agg.sum(itself, exact=True)):
        folding = RowFolding([aggregation, agg.count(), agg.collect()])
        run, _ = folding.read(batch(rows))
        partial = folding.new()
        refused = folding.fold(partial, run, everything(run))
        assert [(r.row, r.raw) for r in refused] == [(2, 2**62)]
        assert "leaves the range of 64-bit ints" in refused[0].reason
        total = 2**63 - 1
        assert results(folding, partial) == {"a": (total, 4, [2**62, -(2**62), 2**62 - 1, 2**62]), "b": (1, 1, [1])}
        starts = np.zeros(len(rows), dtype=np.int64)
        answer, again = folding.each(folding.new(), run, everything(run), (starts, starts))
        assert [r.row for r in again] == [2]
        assert [row.value[0] for row in answer.to_values()] == [2**62, 1, 0, 2**62 - 1, total]


def test_a_sum_that_leaves_64_bits_where_partials_meet_is_an_error_and_never_wraps() -> None:
    folding = RowFolding([agg.sum(itself)])
    parts = [fold_all(folding, batch([("a", 0, 2**62)])) for _ in range(2)]
    with pytest.raises(DataError, match="sum leaves the range of 64-bit ints: 9223372036854775808"):
        folding.results(parts, (0, 10), 0)
    with pytest.raises(DataError, match="sum leaves the range"):
        folding.export(folding.merge(parts))


def test_many_small_ints_never_need_the_slow_path() -> None:
    """The bound grows with every row; the totals themselves bring it back."""
    folding = RowFolding([agg.sum(itself)])
    partial = fold_all(folding, batch([("a", 0, 1)]))
    partial.bounds[0] = 2**63
    fold_all(folding, batch([("a", 0, 1)]), partial)
    assert partial.bounds[0] < 2**42


def failing(name: str, bad: Any) -> Aggregation[Any, int, int]:
    def fold(state: int, value: Any) -> int:
        if value == bad:
            raise ValueError(name)
        return state + 1

    return Aggregation(init=int, fold=fold, merge=lambda a, b: a + b, result=itself, name=name)


@pytest.mark.parametrize("aggregations", [[failing("one", 1)], [failing("one", 1), failing("two", 2)]], ids=len)
def test_a_row_that_one_fold_refuses_is_left_out_of_all(aggregations: list[Any]) -> None:
    bad = {1, 2} if len(aggregations) == 2 else {1}
    rows = [("x", 0, 1), ("y", 0, 2), ("x", 1, 3), ("y", 1, 1), ("z", 0, 2), ("x", 2, 2)]
    folding = RowFolding([agg.count(), *aggregations, agg.sum(itself)])
    good = [row for row in rows if row[2] not in bad]
    run, _ = folding.read(batch(rows))
    left, right = folding.new(), folding.new()
    refused = folding.fold(left, run, everything(run))
    assert [r.row for r in refused] == [i for i, row in enumerate(rows) if row[2] in bad]
    assert refused[0].reason == "one: ValueError: one"
    n = len(aggregations)
    model = expected(lambda mine: (len(mine), *[len(mine)] * n, sum(v for *_, v in mine)), good)
    assert results(folding, left) == model
    starts = np.arange(len(rows), dtype=np.int64)
    answer, again = folding.each(right, run, everything(run), (starts, starts))
    assert [r.row for r in again] == [r.row for r in refused]
    assert [row.start for row in answer.to_values()] == [i for i, row in enumerate(rows) if row[2] not in bad]
    assert results(folding, right) == model
    left._check()
    right._check()


def appended(state: list[Any], value: Any) -> list[Any]:
    state.append(value)
    return state


def extended(state: list[Any], other: list[Any]) -> list[Any]:
    state.extend(other)
    return state


def test_a_mutable_state_is_never_shared() -> None:
    folding = RowFolding([Aggregation(init=list, fold=appended, merge=extended, result=itself)])
    one, two = fold_all(folding, batch([("a", 0, 1)])), fold_all(folding, batch([("a", 0, 2)]))
    fired = results(folding, one)
    met = results(folding, one, two)
    merged = folding.merge([one, two])
    fold_all(folding, batch([("a", 0, 3)]), merged)
    fold_all(folding, batch([("a", 0, 4)]), one)
    assert (fired, met) == ({"a": [1]}, {"a": [1, 2]})
    assert [results(folding, p) for p in (one, two, merged)] == [{"a": [1, 4]}, {"a": [2]}, {"a": [1, 2, 3]}]


def test_a_state_comes_back_with_its_types() -> None:
    state = (1, [2, (3, None)], {"k": (4,)}, {5})
    plain: Aggregation[Any, Any, Any] = Aggregation(
        init=lambda: state, fold=lambda s, _: s, merge=lambda a, _: a, result=itself
    )
    typed: Aggregation[Any, Any, Any] = Aggregation(
        init=lambda: Order("pen"), fold=lambda s, _: s, merge=lambda a, _: a, result=itself, state=Order
    )
    folding, restored = RowFolding([plain, typed]), RowFolding([plain, typed])
    loaded = restored.load(folding.export(fold_all(folding, batch([("a", 0, 1)]))))
    assert results(restored, loaded) == {"a": (state, Order("pen"))}


def test_a_state_that_cannot_be_stored_or_read_is_named() -> None:
    opaque: Aggregation[Any, Any, Any] = Aggregation(
        init=object, fold=lambda s, _: s, merge=lambda a, _: a, result=itself, name="mine"
    )
    folding = RowFolding([opaque])
    with pytest.raises(DataError, match="a state of mine cannot be put into a checkpoint"):
        folding.export(fold_all(folding, batch([("a", 0, 1)])))
    typed: Aggregation[Any, Any, Any] = Aggregation(
        init=int, fold=lambda s, _: s, merge=lambda a, _: a, result=itself, state=Order
    )
    with pytest.raises(CheckpointError, match="is not a"):
        RowFolding([typed]).load(pl.DataFrame({"key_0": ["a"], "0_state": [msgspec.msgpack.encode(3)]}))


def test_what_result_and_into_raise_reaches_the_caller() -> None:
    broken: Aggregation[Any, int, Any] = Aggregation(
        init=int, fold=lambda s, _: s, merge=lambda a, _: a, result=lambda s: 1 // s
    )
    for folding in (RowFolding([broken]), RowFolding([agg.count()], into=lambda n: 1 // 0)):
        with pytest.raises(ZeroDivisionError):
            folded(folding, [("a", 0, 1)])
