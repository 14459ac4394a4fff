"""Laws of ``core.column_partial``: few keys of many, keys that come and go, and what changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow import agg
from streamflow.core.column_fold import ColumnFolding
from tests.core.column_rig import (
    SOME,
    WINDOW,
    i,
    keyed,
    s,
    same_but_rounding,
    x,
)


@pytest.mark.parametrize("seed", range(4))
def test_a_partial_of_few_keys_of_many_is_as_any_other(seed: int) -> None:
    random = np.random.default_rng(seed)
    folding = ColumnFolding(SOME, ("k",))
    crowd, batches = folding.new(), [keyed(random.permutation(6_000))]
    folding.fold(crowd, folding.read(batches[0])[0], slice(0, 6_000))
    few = folding.new()
    for size in (1, 3, 40, 700, 5_000):  # from a table of its own to addressing by code
        batches.append(keyed(random.integers(0, 6_500, size), start=sum(map(len, batches))))
        run, _ = folding.read(batches[-1])
        folding.fold(few, run, random.permutation(size))
        few._check()
        whole, some = pl.concat([b.frame for b in batches]), pl.concat([b.frame for b in batches[1:]])
        for cover, rows in (([few], some), ([crowd, few], whole), ([few, crowd], whole)):
            same_but_rounding(folding.results(cover, WINDOW, 0).frame, rows)
        same_but_rounding(folding.results([folding.load(folding.export(few))], WINDOW, 0).frame, some)
        keys = folding.touched(run, slice(0, size))
        wanted = folding.results([few, crowd], WINDOW, 0, keys=folding.union([keys, keys[:1]])).frame
        same_but_rounding(wanted, whole.filter(pl.col("k").is_in(batches[-1].frame.get_column("k").unique().to_list())))
    lonely = folding.merge([folding.new(), few, folding.new()])
    same_but_rounding(folding.results([lonely], WINDOW, 0).frame, some)


def test_a_partial_that_stops_being_dense_makes_room_for_what_it_holds() -> None:
    folding = ColumnFolding({"sum": x.sum()}, ("k",))
    early = folding.new()
    folding.fold(early, folding.read(keyed(np.arange(10)))[0], slice(0, 10))
    late = folding.new()
    run, _ = folding.read(keyed(np.arange(100_000)))
    folding.fold(late, run, slice(0, 100_000))
    folding.fold(early, run, np.array([5, 99_999]))
    early._check()
    assert len(early.rows) <= 64
    got = folding.results([early], WINDOW, 0).frame.sort("k")
    assert got.rows()[5][::3] == (5, 1.25)
    assert got.rows()[10][::3] == (99_999, 99_999 / 8)


@pytest.mark.parametrize("key", [("k",), ("s", "k")])
def test_endless_keys_take_the_codes_of_those_that_have_left(key: tuple[str, ...]) -> None:
    folding = ColumnFolding(SOME, key)
    steady = folding.new()
    run, _ = folding.read(keyed(np.arange(10)))
    folding.fold(steady, run, slice(0, 10))
    for start in range(1_000, 200_000, 1_000):
        window = folding.new()
        run, _ = folding.read(keyed(np.arange(start, start + 1_000), start))
        folding.fold(window, run, slice(0, 1_000))
        out = folding.results([window], WINDOW, 0).frame
        assert out.get_column("max").equals(run.batch.frame.get_column("i"), check_names=False)
        assert out.get_column("k").equals(run.batch.frame.get_column("k"))
        folding.release(window)
    assert folding._codes.size < 20_000
    assert folding.results([steady], WINDOW, 0).frame.get_column("k").to_list() == list(range(10))


def test_a_run_keeps_the_codes_of_its_keys_while_it_is_held() -> None:
    folding = ColumnFolding({"n": agg.rows()}, ("k",))
    held, _ = folding.read(keyed(np.arange(100)))
    for start in range(1_000, 60_000, 1_000):
        folding.read(keyed(np.arange(start, start + 1_000)))
    partial = folding.new()
    folding.fold(partial, held, slice(0, 100))
    assert folding.results([partial], WINDOW, 0).frame.get_column("k").to_list() == list(range(100))


def test_a_million_keys_come_out_as_they_went_in() -> None:
    folding = ColumnFolding({"n": agg.rows(), "sum": x.sum()}, ("k",))
    partial, size = folding.new(), 250_000
    for start in range(0, 1_000_000, size):
        run, _ = folding.read(keyed(pl.Series(np.arange(start, start + size)).cast(pl.String), start))
        folding.fold(partial, run, slice(0, size))
    out = folding.results([partial], WINDOW, 0).frame
    assert out.get_column("k").equals(pl.Series("k", np.arange(1_000_000)).cast(pl.String))
    assert out.get_column("sum").equals(pl.Series("sum", np.arange(1_000_000) / 8))
    assert folding.keys(partial) == 1_000_000


# ------------------------------------------------------------------------------------------------ moving keys


KEY = st.integers(0, 6)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("fold"), st.lists(KEY, min_size=1, max_size=8)),
        st.tuples(st.just("discard"), st.lists(KEY, max_size=3, unique=True)),
        st.tuples(st.just("move"), st.lists(st.tuples(KEY, KEY).filter(lambda pair: pair[0] != pair[1]), max_size=3)),
        st.tuples(st.just("pass"), st.just(20_000)),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(actions=ACTIONS, crowd=st.sampled_from([0, 3_000]))
def test_keys_that_move_take_their_rows_along_and_discarded_ones_leave_none(
    actions: list[tuple[str, Any]], crowd: int
) -> None:
    aggregations = SOME | {"all": s.collect(), "best": s.arg_max("i"), "rank": x.median(), "exact": x.sum(exact=True)}
    folding = ColumnFolding(aggregations, ("k",))
    folding.tracking = True
    other = folding.new()
    folding.fold(other, folding.read(keyed(np.arange(10, 10 + crowd)))[0], slice(0, crowd))
    partial, model, row = folding.new(), dict[int, list[pl.DataFrame]](), 0
    for action, what in actions:
        if action == "fold":
            columns = keyed(np.array(what), row)
            folding.fold(partial, folding.read(columns)[0], slice(0, len(what)))
            for place, key in enumerate(what):
                model.setdefault(key, []).append(columns.frame.slice(place, 1))
            row += len(what)
        elif action == "discard":
            folding.discard(partial, what)
            model = {key: rows for key, rows in model.items() if key not in what}
        elif action == "move":
            folding.move(partial, [old for old, _ in what], [new for _, new in what])
            for old, new in what:
                if old in model:
                    model.setdefault(new, []).extend(model.pop(old))
        else:  # so many new keys that codes are freed
            folding.read(keyed(np.arange(what, 2 * what)))
        partial._check()
        held = [frame.with_columns(k=pl.lit(key, dtype=pl.Int64)) for key, frames in model.items() for frame in frames]
        want = pl.concat(held) if held else keyed(np.array([], dtype=np.int64)).frame
        same_but_rounding(
            folding.results([partial], WINDOW, 0).frame.select("window_start", "window_end", "k", *SOME), want
        )
        lists = folding.results([partial], WINDOW, 0, keys=folding.keyed([1, 2, 8])).frame.sort("k")
        rows = want.filter(pl.col("k").is_in([1, 2])).sort("i").group_by("k", maintain_order=True).agg("s").sort("k")
        assert lists.get_column("all").to_list() == rows.get_column("s").to_list()
        assert lists.get_column("best").to_list() == [texts[-1] for texts in rows.get_column("s").to_list()]
        assert folding.keys(partial) == len(model)
        assert set(folding.changed(partial).get_column("key_0").to_list()) <= set(model)
    assert folding.export(partial).get_column("key_0").sort().to_list() == sorted(model)


# ------------------------------------------------------------------------------------------------ what changed


def test_changed_tells_what_changed_since_it_was_last_asked() -> None:
    folding = ColumnFolding({"n": agg.rows(), "last": s.last()}, ("k",))
    folding.tracking = True
    partial = folding.new()

    def changed() -> list[int]:
        return sorted(folding.changed(partial).get_column("key_0").to_list())

    for keys in ([1, 2, 3], [2], [9, 2]):
        run, _ = folding.read(keyed(np.array(keys)))
        folding.fold(partial, run, slice(0, len(keys)))
        assert changed() == sorted(keys)
    assert changed() == []
    folding.each(partial, run, slice(0, 1), (np.zeros(1, dtype=np.int64), np.full(1, 10)))
    assert changed() == [9]
    other = folding.new()
    folding.fold(other, run, slice(0, 2))
    folding.absorb(partial, other)
    assert changed() == [2, 9]
    crowd = folding.new()
    folding.fold(crowd, folding.read(keyed(np.arange(50_000)))[0], slice(0, 50_000))
    folding.fold(partial, folding.read(keyed(np.array([40_000])))[0], slice(0, 1))
    assert changed() == [40_000]


def test_changed_tells_everything_where_nobody_kept_count() -> None:
    folding = ColumnFolding({"n": agg.rows()}, ("k",))
    partial = folding.new()
    folding.fold(partial, folding.read(keyed(np.array([1, 2])))[0], slice(0, 2))
    assert [folding.changed(partial).height for _ in range(2)] == [2, 2]


def test_what_changed_is_remembered_when_a_batch_says_the_types_better() -> None:
    stored = pl.DataFrame({"key_0": [1, 2], "0_value": [5, 6]})
    folding = ColumnFolding({"max": i.max()}, ("k",))
    folding.tracking = True
    partial = folding.load(stored)
    folding.absorb(partial, folding.load(stored.head(1)))
    columns = keyed(np.array([7]))
    run, _ = folding.read(columns.with_frame(columns.frame.with_columns(i=pl.lit(3, dtype=pl.UInt8))))
    folding.fold(partial, run, slice(0, 1))
    changed = folding.changed(partial)
    assert changed.schema["0_value"] == pl.UInt8
    assert sorted(changed.rows()) == [(1, 5), (7, 3)]
