"""Laws of ``core.row_fold``: the row layout keeps panes as a naive model does, however rows are cut and merged."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow import agg
from streamflow.core.aggregation import Aggregate
from streamflow.core.folding import Windowed
from streamflow.core.row_fold import RowFolding
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import EARLIEST, LATEST, MAX_TIMESTAMP, MIN_TIMESTAMP
from streamflow.errors import DefinitionError
from tests.core.row_rig import (
    NAN,
    Color,
    Row,
    batch,
    every_kind,
    everything,
    expected_of_all,
    fold_all,
    folded,
    itself,
    refusals,
    results,
    rows_of,
    windows_of,
)


@given(rows=rows_of)
def test_a_fold_is_what_the_naive_model_says(rows: list[Row]) -> None:
    assert folded(every_kind(), rows) == expected_of_all(rows)


@settings(max_examples=40)
@given(rows=rows_of, random=st.randoms(), parts=st.integers(1, 4))
def test_rows_in_any_partials_merged_in_any_order_are_one_fold(rows: list[Row], random: Any, parts: int) -> None:
    folding = every_kind()
    partials = [folding.new() for _ in range(parts)]
    run, _ = folding.read(batch(rows))
    chosen = [random.randrange(parts) for _ in rows]
    for part, partial in enumerate(partials):
        places = np.array([row for row, mine in enumerate(chosen) if mine == part], dtype=np.int64)
        for piece in np.array_split(places, 2):
            folding.fold(partial, run, piece)
    random.shuffle(partials)
    whole = expected_of_all(rows)
    assert results(folding, *partials) == results(folding, folding.merge(partials)) == whole
    while len(partials) > 1:
        other = partials.pop()
        folding.absorb(partials[random.randrange(len(partials))], other)
    partials[0]._check()
    assert results(folding, partials[0]) == whole


@given(rows=rows_of, cut=st.integers(0, 20))
def test_partials_are_not_changed_by_what_is_made_of_them(rows: list[Row], cut: int) -> None:
    folding = every_kind()
    one, two = (fold_all(folding, batch(part)) for part in (rows[:cut], rows[cut:]))
    before = repr((one, two))
    merged = folding.merge([one, two])
    opened = folding.open_window(lambda: [one, two])
    run, _ = folding.read(batch(rows))
    folding.each(opened, run, everything(run), windows_of(rows))
    folding.fold(merged, run, everything(run))
    folding.results([one, two], (0, 10), 0)
    assert repr((one, two)) == before


@settings(max_examples=30)
@given(rows=rows_of)
def test_each_gives_the_fold_of_every_prefix(rows: list[Row]) -> None:
    folding = every_kind()
    partial = folding.new()
    run, _ = folding.read(batch(rows))
    out, refused = folding.each(partial, run, everything(run), windows_of(rows))
    assert not refused
    assert out.times.tolist() == [time for _, time, _ in rows]
    assert out.to_values() == [
        Windowed(key, i, i + 5, expected_of_all(rows[: i + 1])[key]) for i, (key, *_) in enumerate(rows)
    ]
    assert results(folding, partial) == expected_of_all(rows)


@settings(max_examples=30)
@given(old=rows_of, steps=st.lists(st.tuples(st.booleans(), rows_of), max_size=3))
def test_a_lazy_window_answers_as_one_that_has_all_rows(old: list[Row], steps: list[Any]) -> None:
    """Rows are asked about or only folded; each goes into the window first, then into its slice."""
    folding, eager = every_kind(), every_kind()
    piece, whole = fold_all(folding, batch(old)), fold_all(eager, batch(old))
    lazy = folding.open_window(lambda: [piece])
    count = len(old)
    for is_asked, rows in steps:
        positions = range(count, count + len(rows))
        count += len(rows)
        (run, _), (other, _) = (each.read(batch(rows, positions)) for each in (folding, eager))
        if is_asked:
            answer, _ = folding.each(lazy, run, everything(run), windows_of(rows))
            full, _ = eager.each(whole, other, everything(other), windows_of(rows))
            assert answer.to_values() == full.to_values()
        else:
            folding.fold(lazy, run, everything(run))
            eager.fold(whole, other, everything(other))
        folding.fold(piece, run, everything(run))
        lazy._check()
    assert folding.keys(lazy) <= folding.keys(piece)


@settings(max_examples=25)
@given(rows=rows_of, moves=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), max_size=3))
def test_a_moved_key_is_merged_into_the_other(rows: list[Row], moves: list[tuple[str, str]]) -> None:
    folding = every_kind()
    folding.tracking = True
    partial = fold_all(folding, batch(rows))
    moved = [(old, new) for old, new in moves if old != new]
    for old, new in moved:
        folding.move(partial, [old], [new])
        rows = [(new if key == old else key, time, value) for key, time, value in rows]
    partial._check()
    assert results(folding, partial) == expected_of_all(rows)
    assert folding.changed(partial).height == len({key for key, *_ in rows})


@settings(max_examples=25)
@given(rows=rows_of, keys=st.lists(st.sampled_from("abcd"), max_size=4))
def test_a_discarded_key_is_as_if_it_had_never_been(rows: list[Row], keys: list[str]) -> None:
    folding = every_kind()
    folding.tracking = True
    partial = fold_all(folding, batch(rows))
    folding.discard(partial, keys)
    partial._check()
    kept = [row for row in rows if row[0] not in keys]
    assert results(folding, partial) == expected_of_all(kept)
    assert folding.changed(partial).height == folding.keys(partial) == len({key for key, *_ in kept})


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
