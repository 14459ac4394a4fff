"""Laws of ``core.row_fold``: the row layout keeps panes as a naive model does, however rows are cut and partials met."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow import agg
from streamflow.core import row_values
from streamflow.core.aggregation import Aggregate, Aggregation
from streamflow.core.ddsketch import bucket_of, values_of
from streamflow.core.folding import Windowed
from streamflow.core.row_fold import RowFolding
from streamflow.core.row_partial import RowPartial
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import EARLIEST, LATEST, MAX_TIMESTAMP, MIN_TIMESTAMP
from streamflow.errors import CheckpointError, DataError, DefinitionError

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


# ------------------------------------------------------------------------------------------------ the naive model


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


def itself(value: Any) -> Any:
    return value


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
    "approx_distinct": (agg.approx_distinct(itself, p=12), lambda rows: len(set(numbers(rows)))),
    "a user's": (share, lambda rows: len(numbers(rows)) / len(rows)),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)

dyadic = st.integers(-(2**20), 2**20).map(lambda k: k / 1024)
values = st.one_of(st.none(), st.integers(-50, 50), dyadic)
rows_of = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), values), max_size=20)


def expected(model: Model, rows: Sequence[Row]) -> dict[Any, Any]:
    keys = dict.fromkeys(key for key, *_ in rows)
    return {key: model([row for row in rows if row[0] == key]) for key in keys}


# ------------------------------------------------------------------------------------------------ folding


@EVERY_KIND
@settings(max_examples=40)
@given(rows=rows_of)
def test_a_fold_is_what_the_naive_model_says(kind: str, rows: list[Row]) -> None:
    aggregation, model = KINDS[kind]
    assert folded(RowFolding([aggregation]), rows) == expected(model, rows)


@EVERY_KIND
@settings(max_examples=40)
@given(rows=rows_of, random=st.randoms(), parts=st.integers(1, 4))
def test_rows_in_any_partials_merged_in_any_order_are_one_fold(
    kind: str, rows: list[Row], random: Any, parts: int
) -> None:
    folding = RowFolding([KINDS[kind][0], agg.count()])
    partials = [folding.new() for _ in range(parts)]
    run, _ = folding.read(batch(rows))
    chosen = [random.randrange(parts) for _ in rows]
    for part, partial in enumerate(partials):
        places = np.array([row for row, mine in enumerate(chosen) if mine == part], dtype=np.int64)
        for piece in np.array_split(places, 2):
            folding.fold(partial, run, piece)
    random.shuffle(partials)
    before = [folding.export(partial) for partial in partials]
    met = results(folding, *partials)
    assert met == folded(RowFolding([KINDS[kind][0], agg.count()]), rows)
    assert results(folding, folding.merge(partials)) == met
    while len(partials) > 1:
        other = partials.pop()
        folding.absorb(partials[random.randrange(len(partials))], other)
    partials[0]._check()
    assert results(folding, partials[0]) == met
    assert len(before) == parts


@EVERY_KIND
@settings(max_examples=30)
@given(rows=rows_of, cut=st.integers(0, 20))
def test_partials_are_not_changed_by_what_is_made_of_them(kind: str, rows: list[Row], cut: int) -> None:
    folding = RowFolding([KINDS[kind][0]])
    one, two = (fold_all(folding, batch(part)) for part in (rows[:cut], rows[cut:]))
    before = repr((one, two))
    merged = folding.merge([one, two])
    opened = folding.open_window(lambda: [one, two])
    run, _ = folding.read(batch(rows))
    windows = (np.zeros(len(rows), dtype=np.int64), np.ones(len(rows), dtype=np.int64))
    folding.each(opened, run, everything(run), windows)
    folding.fold(merged, run, everything(run))
    folding.results([one, two], (0, 10), 0)
    assert repr((one, two)) == before


@EVERY_KIND
@settings(max_examples=30)
@given(rows=rows_of)
def test_each_gives_the_fold_of_every_prefix(kind: str, rows: list[Row]) -> None:
    folding = RowFolding([KINDS[kind][0]])
    partial = folding.new()
    run, _ = folding.read(batch(rows))
    starts = np.arange(len(rows), dtype=np.int64)
    out, refused = folding.each(partial, run, everything(run), (starts, starts + 5))
    assert not refused
    assert out.times.tolist() == [time for _, time, _ in rows]
    assert [(row.key, row.start, row.end) for row in out.to_values()] == [
        (k, i, i + 5) for i, (k, *_) in enumerate(rows)
    ]
    prefixes = [folded(RowFolding([KINDS[kind][0]]), rows[: i + 1])[rows[i][0]] for i in range(len(rows))]
    assert [row.value for row in out.to_values()] == prefixes
    assert results(folding, partial) == folded(RowFolding([KINDS[kind][0]]), rows)


@EVERY_KIND
@settings(max_examples=30)
@given(old=rows_of, steps=st.lists(st.tuples(st.booleans(), rows_of), max_size=3))
def test_a_lazy_window_answers_as_one_that_has_all_rows(kind: str, old: list[Row], steps: list[Any]) -> None:
    """Rows are asked about or only folded; each goes into the window first, then into its slice."""
    folding, eager = RowFolding([KINDS[kind][0]]), RowFolding([KINDS[kind][0]])
    piece, whole = fold_all(folding, batch(old)), fold_all(eager, batch(old))
    lazy = folding.open_window(lambda: [piece])
    count = len(old)
    for is_asked, rows in steps:
        positions = range(count, count + len(rows))
        count += len(rows)
        run, _ = folding.read(batch(rows, positions))
        other, _ = eager.read(batch(rows, positions))
        windows = (np.zeros(len(rows), dtype=np.int64), np.ones(len(rows), dtype=np.int64))
        if is_asked:
            answer, _ = folding.each(lazy, run, everything(run), windows)
            assert answer.to_values() == eager.each(whole, other, everything(other), windows)[0].to_values()
        else:
            folding.fold(lazy, run, everything(run))
            eager.fold(whole, other, everything(other))
        folding.fold(piece, run, everything(run))
        lazy._check()
    assert folding.keys(lazy) <= folding.keys(piece)


# ------------------------------------------------------------------------------------------------ state


@EVERY_KIND
@settings(max_examples=30)
@given(rows=rows_of, more=rows_of)
def test_a_loaded_partial_goes_on_as_the_one_exported(kind: str, rows: list[Row], more: list[Row]) -> None:
    folding, restored = RowFolding([KINDS[kind][0], agg.count()]), RowFolding([KINDS[kind][0], agg.count()])
    partial = fold_all(folding, batch(rows))
    frame = folding.export(partial)
    loaded = restored.load(frame)
    loaded._check()
    if rows:
        assert restored.export(loaded).equals(frame) or kind == "distinct"  # a set has no order
    assert results(restored, loaded) == results(folding, partial)
    positions = range(len(rows), len(rows) + len(more))
    fold_all(folding, batch(more, positions), partial)
    fold_all(restored, batch(more, positions), loaded)
    assert results(restored, loaded) == results(folding, partial)


STATE = {
    "count": {"n": pl.Int64},
    "sum": {"total": pl.Float64},
    "min": {"value": pl.Float64},
    "mean": {"total": pl.Float64, "n": pl.Int64},
    "first": {"value": pl.Float64, "time": pl.Int64, "split": pl.Int64, "position": pl.Int64, "packed": pl.Binary},
    "approx_distinct": {"registers": pl.Binary},
    "quantiles": {"buckets": pl.List(pl.Struct({"bucket": pl.Int32, "n": pl.Int64}))},
    "a user's": {"state": pl.Binary},
}


@pytest.mark.parametrize("kind", STATE)
def test_the_state_has_the_columns_that_both_layouts_read(kind: str) -> None:
    folding = RowFolding([KINDS[kind][0]])
    frame = folding.export(fold_all(folding, batch([("a", 0, 1.5), ("b", 1, 2.5)])))
    assert {c: t for c, t in frame.schema.items() if c != "key_0"} == {f"0_{c}": t for c, t in STATE[kind].items()}
    assert frame.get_column("key_0").to_list() == ["a", "b"]


def test_other_layouts_and_columns_of_the_step_do_not_matter() -> None:
    """The column layout stores narrower numbers, no packed values, and the step adds columns of its own."""
    folding = RowFolding([agg.sum(itself), agg.last(), agg.max(itself)])
    frame = pl.DataFrame(
        {
            "key_0": ["a"],
            "0_total": pl.Series([5], dtype=pl.Int64),
            "1_value": pl.Series([3], dtype=pl.Int32),
            "1_time": [2],
            "1_split": [0],
            "1_position": [0],
            "2_value": pl.Series([3], dtype=pl.Int16),
            "slice": [10],
        }
    )
    assert results(folding, fold_all(folding, batch([("a", 1, 4)]), folding.load(frame))) == {"a": (9, 3, 4)}


class Color(StrEnum):
    RED = "red"


class Order(msgspec.Struct, frozen=True):
    item: str
    amounts: tuple[float, ...] = ()


ODD_VALUES: list[list[Any]] = [
    [{"a": 1}, {"b": [1, 2]}],
    [(1, "x"), [1, "x"]],
    [Order("pen", (1.5,)), None, Order("cup")],
    [1, "one", 1.5],
    [2**63, 1],
    [2**53 + 1, 0.5],
    [True, 1],
    [b"raw", "text"],
    [date(2024, 5, 1), datetime(2024, 5, 1, tzinfo=UTC)],
    [float("-inf"), 2.0],
    [None, None],
    [{1, 2}, frozenset({3})],
    [np.float64(0.5), np.int64(3)],
    [Color.RED, "blue"],
]


@pytest.mark.parametrize("odd", ODD_VALUES, ids=repr)
def test_values_of_any_type_survive_a_checkpoint(odd: list[Any]) -> None:
    aggregations = [agg.last(), agg.first(), agg.collect(), agg.arg_max(lambda v: 1), agg.top_k(2, by=lambda v: 1)]
    folding, restored = RowFolding(aggregations), RowFolding(aggregations)
    partial = fold_all(folding, batch([("a", i, value) for i, value in enumerate(odd)]))
    loaded = restored.load(folding.export(partial))
    assert results(restored, loaded) == results(folding, partial) == {"a": (odd[-1], odd[0], odd, odd[0], odd[:2])}
    if not any(isinstance(value, float) for value in odd):  # a column of numbers has one type
        assert repr(results(restored, loaded)["a"][2]) == repr([row_values.plain(value) for value in odd])


@pytest.mark.parametrize("value", [object(), [object()], "\ud800", ["\ud800"]], ids=repr)
def test_a_value_that_cannot_be_stored_is_an_error_that_says_so(value: Any) -> None:
    folding = RowFolding([agg.last()])
    with pytest.raises(DataError, match="cannot be put into a checkpoint"):
        folding.export(fold_all(folding, batch([("a", 0, value)])))


def test_slices_of_one_step_have_one_schema() -> None:
    """A step's frames are concatenated: what one slice has not seen must not change its columns."""
    folding = RowFolding([agg.last(), agg.collect(), agg.max(itself), agg.distinct(itself), agg.sum(itself)])
    slices = [fold_all(folding, batch(rows)) for rows in ([("a", 0, None)], [("b", 0, 2)], [("c", 0, 2.5)])]
    frame = pl.concat([folding.export(piece) for piece in slices], how="vertical_relaxed")
    loaded = RowFolding([agg.last(), agg.collect(), agg.max(itself), agg.distinct(itself), agg.sum(itself)]).load(frame)
    assert results(folding, loaded) == {
        "a": (None, [None], None, 0, 0),
        "b": (2, [2], 2, 1, 2),
        "c": (2.5, [2.5], 2.5, 1, 2.5),
    }


def test_only_changed_keys_are_handed_out_and_only_once() -> None:
    folding = RowFolding([agg.sum(itself)])
    folding.tracking = True
    partial = fold_all(folding, batch([("a", 0, 1), ("b", 0, 2)]))
    assert sorted(folding.changed(partial).get_column("key_0").to_list()) == ["a", "b"]
    assert folding.changed(partial).is_empty()
    fold_all(folding, batch([("b", 1, 5)]), partial)
    assert folding.changed(partial).rows() == [("b", 7)]
    run, _ = folding.read(batch([("a", 1, 5)]))
    folding.each(partial, run, everything(run), (np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)))
    folding.absorb(partial, fold_all(folding, batch([("c", 1, 1)])))
    assert sorted(folding.changed(partial).rows()) == [("a", 6), ("c", 1)]
    assert folding.changed(folding.load(folding.export(partial))).is_empty()


def test_a_partial_made_before_tracking_began_has_all_changed() -> None:
    folding = RowFolding([agg.count()])
    partial = fold_all(folding, batch([("a", 0, 1)]))
    folding.tracking = True
    assert folding.changed(partial).height == 1


# ------------------------------------------------------------------------------------------------ refused rows


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


# ------------------------------------------------------------------------------------------------ the user's own


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
    one, two = folding.new(), folding.new()
    refused = folding.fold(one, run, everything(run))
    assert [r.row for r in refused] == [i for i, row in enumerate(rows) if row[2] in bad]
    assert refused[0].reason == "one: ValueError: one"
    n = len(aggregations)
    model = expected(lambda mine: (len(mine), *[len(mine)] * n, sum(v for *_, v in mine)), good)
    assert results(folding, one) == model
    starts = np.arange(len(rows), dtype=np.int64)
    answer, again = folding.each(two, run, everything(run), (starts, starts))
    assert [r.row for r in again] == [r.row for r in refused]
    assert [row.start for row in answer.to_values()] == [i for i, row in enumerate(rows) if row[2] not in bad]
    assert results(folding, two) == model
    one._check()
    two._check()


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


# ------------------------------------------------------------------------------------------------ values and ties


NAN = float("nan")


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
    folding = RowFolding(
        [agg.first(), agg.last(), agg.collect(), agg.arg_max(lambda _: 1), agg.top_k(2, by=lambda _: 1)]
    )
    partial = fold_all(folding, Rows(stamps, names, ["a"] * 4))
    ordered = ["early", "position 3", "position 7", "split 1"]
    assert results(folding, partial) == {"a": (ordered[0], ordered[-1], ordered, ordered[0], ordered[:2])}


def test_without_identities_arrival_breaks_ties() -> None:
    times = np.array([3, 3, 3])
    folding = RowFolding([agg.first(), agg.last(), agg.collect()])
    partial = fold_all(folding, Rows(Stamps(times, times), ["x", "y", "z"], ["a"] * 3))
    assert results(folding, partial) == {"a": ("x", "z", ["x", "y", "z"])}


# ------------------------------------------------------------------------------------------------ keys and results


def test_one_aggregation_gives_its_value_several_a_tuple_and_into_what_it_makes() -> None:
    rows = [("a", 0, 2), ("a", 0, 3)]
    assert folded(RowFolding([agg.count()]), rows) == {"a": 2}
    assert folded(RowFolding([agg.count(), agg.sum(itself)]), rows) == {"a": (2, 5)}
    assert folded(RowFolding([agg.count(), agg.sum(itself)], into="{}:{}".format), rows) == {"a": "2:5"}
    assert folded(RowFolding([agg.count()], into=str), rows) == {"a": "2"}


def test_results_carry_the_window_and_the_watermark() -> None:
    folding = RowFolding([agg.count()])
    partial = fold_all(folding, batch([("b", 3, 1), ("a", 4, 1), ("b", 5, 1)]))
    out = folding.results([partial], (0, 10), 12)
    assert out.to_values() == [Windowed("b", 0, 10, 2), Windowed("a", 0, 10, 1)]
    assert out.times.tolist() == [9, 9]
    assert out.stamps.wm.tolist() == [12, 12]
    assert isinstance(out, Rows)
    assert out.keys == ["b", "a"]


@pytest.mark.parametrize(
    ("window", "wm", "time"),
    [
        ((0, MAX_TIMESTAMP), 50, 50),
        ((0, MAX_TIMESTAMP), MAX_TIMESTAMP, LATEST),
        ((MIN_TIMESTAMP, MAX_TIMESTAMP), MIN_TIMESTAMP, EARLIEST),
        ((0, 10), MAX_TIMESTAMP, 9),
    ],
)
def test_the_time_of_a_result_is_one_that_a_row_may_have(window: tuple[int, int], wm: int, time: int) -> None:
    folding = RowFolding([agg.count()])
    out = folding.results([fold_all(folding, batch([("a", 0, 1)]))], window, wm)
    assert (out.times.tolist(), out.stamps.wm.tolist()) == ([time], [wm])


def test_no_rows_give_no_results() -> None:
    folding = RowFolding([agg.count(), agg.median(itself), agg.approx_distinct(itself)])
    for cover in ([], [folding.new()], [folding.new(), folding.new()]):
        assert len(folding.results(cover, (0, 10), 0)) == 0
    empty = folding.export(folding.new())
    assert empty.height == 0
    assert folding.keys(folding.load(empty)) == 0
    run, refused = folding.read(batch([]))
    assert not refused
    assert not folding.fold(folding.new(), run, everything(run))


@given(rows_of, rows_of, st.sets(st.sampled_from("abcd")))
def test_results_of_some_keys_are_those_of_all(rows: list[Row], more: list[Row], wanted: set[str]) -> None:
    folding = RowFolding([agg.sum(itself), agg.collect()])
    parts = [fold_all(folding, batch(rows)), fold_all(folding, batch(more, range(len(rows), len(rows) + len(more))))]
    some = folding.results(parts, (0, 10), 0, keys=dict.fromkeys(wanted)).to_values()
    assert {row.key: row.value for row in some} == {k: v for k, v in results(folding, *parts).items() if k in wanted}


@given(rows_of, st.integers(0, 20))
def test_touched_keys_are_those_of_the_rows(rows: list[Row], cut: int) -> None:
    folding = RowFolding([agg.count()])
    run, _ = folding.read(batch(rows))
    parts = [folding.touched(run, slice(0, cut)), folding.touched(run, slice(cut, len(rows)))]
    assert list(folding.union(parts)) == list(dict.fromkeys(key for key, *_ in rows))


@pytest.mark.parametrize(
    ("keys", "distinct"),
    [
        (["a", "b", None], 3),
        ([1, -(2**63), None], 3),
        ([0.0, -0.0, NAN, float("nan")], 2),
        ([True, False], 2),
        ([b"a", b""], 2),
        ([date(2024, 1, 1)], 1),
        ([datetime(2024, 1, 1, tzinfo=UTC)], 1),
        ([("a", 1), ("a", None), (None, 2)], 3),
        ([("a", 0.0), ("a", -0.0), ("b", NAN), ("b", float("nan"))], 2),
        ([Color.RED, "red", "blue"], 2),
    ],
    ids=repr,
)
def test_keys_of_every_type_are_kept_and_restored(keys: list[Any], distinct: int) -> None:
    folding, restored = RowFolding([agg.count()]), RowFolding([agg.count()])
    partial = fold_all(folding, batch([(key, 0, 1) for key in keys]))
    assert folding.keys(partial) == distinct
    loaded = restored.load(folding.export(partial))
    fold_all(restored, batch([(key, 0, 1) for key in keys]), loaded)
    assert restored.keys(loaded) == distinct
    assert sum(results(restored, loaded).values()) == 2 * len(keys)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", 1),
        (1, 1.0),
        (1, True),
        (("a", 1), ("a", "1")),
        (("a", 1), ("a", 1, 2)),
        (("a", 1), "a"),
        ("a", b"a"),
        (1, 2**63),
    ],
)
def test_a_key_of_another_type_is_a_row_error(first: Any, second: Any) -> None:
    folding, restored = RowFolding([agg.count()]), RowFolding([agg.count()])
    found = refusals(folding, [(first, 0, 1), (second, 0, 1), (first, 0, 1)])
    assert list(found) == [1]
    assert found[1].startswith("key: expected")
    restored.load(folding.export(fold_all(folding, batch([(first, 0, 1)]))))
    assert list(refusals(restored, [(second, 0, 1)])) == [0]


def test_a_stream_without_keys_has_one() -> None:
    folding = RowFolding([agg.count()])
    times = np.arange(3)
    partial = fold_all(folding, Rows(Stamps(times, times), [1, 2, 3]))
    assert results(folding, folding.load(folding.export(partial))) == {None: 3}


# ------------------------------------------------------------------------------------------------ definition


@pytest.mark.parametrize(
    ("aggregations", "message"),
    [
        ([], "at least one aggregation"),
        ([agg.col("x").sum()], "sum reads the column .* and a stream has rows"),
        ([agg.col("x").arg_max("y")], "arg_max reads the column"),
        ([Aggregate("product")], "got 'product'"),
        ([len], "expected an aggregation, such as agg.count\\(\\), got <built-in function len>"),
    ],
)
def test_what_the_row_layout_cannot_keep_is_refused(aggregations: list[Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        RowFolding(aggregations)
