"""Laws of the row layout's state: what is exported is loaded as it was, whatever the values."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from streamflow import agg
from streamflow.core import row_values
from streamflow.core.row_fold import RowFolding
from streamflow.errors import DataError
from tests.core.row_rig import (
    KINDS,
    Color,
    Order,
    Row,
    batch,
    every_kind,
    everything,
    fold_all,
    itself,
    one,
    results,
    rows_of,
)


@settings(max_examples=25)
@given(rows=rows_of, more=rows_of)
def test_a_loaded_partial_goes_on_as_the_one_exported(rows: list[Row], more: list[Row]) -> None:
    folding, restored = every_kind(), every_kind()
    partial = fold_all(folding, batch(rows))
    frame = folding.export(partial)
    loaded = restored.load(frame)
    loaded._check()
    assert results(restored, loaded) == results(folding, partial)
    if rows:
        unordered = pl.col(f"{list(KINDS).index('distinct')}_values").list.sort()
        assert restored.export(loaded).with_columns(unordered).equals(frame.with_columns(unordered))
    positions = range(len(rows), len(rows) + len(more))
    fold_all(folding, batch(more, positions), partial)
    fold_all(restored, batch(more, positions), loaded)
    assert results(restored, loaded) == results(folding, partial)


STATE: dict[str, dict[str, Any]] = {
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
    aggregations: list[Any] = [agg.last(), agg.first(), agg.collect(), agg.arg_max(one), agg.top_k(2, by=one)]
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
