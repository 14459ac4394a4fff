"""Schemas: fields and types are those of the first row, whatever the cut, and no value is changed to fit."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.core.columns import Columns
from streamflow.core.rows import Rows
from streamflow.core.schema import Schema
from streamflow.core.stamps import Stamps
from streamflow.errors import DefinitionError


def rows(*values: Any) -> Rows:
    return Rows(Stamps.at(0, 0, len(values)), list(values))


def columns(frame: pl.DataFrame) -> Columns:
    return Columns(Stamps.at(0, 0, frame.height), frame)


NAIVE = datetime(2024, 5, 1)  # noqa: DTZ001  # a naive one is a case
AWARE = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (True, pl.Boolean),
        (1, pl.Int64),
        (1.5, pl.Float64),
        ("a", pl.String),
        (b"a", pl.Binary),
        (date(2024, 5, 1), pl.Date),
        (time(1), pl.Time),
        (timedelta(1), pl.Duration("us")),
        (NAIVE, pl.Datetime("us")),
        (AWARE, pl.Datetime("us", "UTC")),
        (Decimal("1.50"), pl.Decimal(38, 2)),
        ([None, [1]], pl.List(pl.List(pl.Int64))),
        ({"x": 1, "y": []}, pl.Struct({"x": pl.Int64, "y": pl.List(pl.Null)})),
        (None, pl.Null),
    ],
)
def test_a_value_teaches_its_type_and_is_kept(value: Any, dtype: Any) -> None:
    schema = Schema()
    frame, kept, refused = schema.frame(rows({"a": value}))
    assert (schema.types, list(kept), refused) == ({"a": dtype}, [0], [])
    assert frame["a"].to_list() == [value]


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (1, 1.5), (1, True), (1, "1"), (1, 2**63), (1, AWARE), (1.5, 2**60 + 1), (1.5, True), (1.5, "1"),
        ("a", 1), ("a", b"a"), ("a", "\ud800"), (b"a", "a"), (True, 1), (AWARE, NAIVE), (NAIVE, AWARE),
        (AWARE, date(2024, 5, 1)), (date(2024, 5, 1), NAIVE), (Decimal("1.5"), Decimal("1.55")), (Decimal(1), 1.5),
        (Decimal(1), Decimal("NaN")), ([1], ["a"]), ([1], [1.5]), ([1], 1), ({"a": 1}, {"a": "x"}),
        ({"a": 1}, {"b": 1}), ({"a": 1}, {"a": 1, "b": 2}), (1, object()), (1, [1]), ([{"a": 1}], [{"a": 1.5}]),
    ],
)  # fmt: skip
def test_a_value_that_polars_would_change_is_refused(first: Any, other: Any) -> None:
    frame, kept, refused = Schema().frame(rows({"a": first}, {"a": other}, {"a": None}))
    assert (frame["a"].to_list(), list(kept)) == ([first, None], [0, 2])
    assert [r.row for r in refused] == [1]
    assert refused[0].reason.startswith("field 'a': ")


@pytest.mark.parametrize(
    ("first", "other"), [(1.5, 2), (Decimal("1.5"), 2), ([1.5], [2, None]), ({"a": 1.5}, {"a": 2})]
)
def test_an_integer_is_taken_where_it_loses_nothing(first: Any, other: Any) -> None:
    frame, _, refused = Schema().frame(rows({"a": first}, {"a": other}))
    assert refused == []
    assert frame["a"].to_list() == [first, other]


def test_fields_are_those_of_the_first_row() -> None:
    schema = Schema()
    assert schema.frame(rows())[0].is_empty()
    assert schema.types is None
    frame, kept, refused = schema.frame(rows({}, {"\ud800": 1}, {"a": 1, "b": 2}, {"b": 3}, {"a": 1, "c": 2}))
    assert frame.to_dicts() == [{"a": 1, "b": 2}, {"a": None, "b": 3}]
    assert list(kept) == [2, 3]
    assert [r.row for r in refused] == [0, 1, 4]
    assert refused[2].reason == "unexpected field 'c': the first row had a, b; declare it in schema="


def test_what_was_left_open_is_learned_from_the_first_value_that_says_it() -> None:
    schema = Schema()
    for value in (None, [], [[]], [["x"]]):
        assert schema.frame(rows({"a": value}))[2] == []
    assert schema.types == {"a": pl.List(pl.List(pl.String))}
    assert repr(schema) == "Schema({'a': List(List(String))})"
    assert len(schema.frame(rows({"a": [1]}))[2]) == 1


def test_what_is_declared_is_not_learned() -> None:
    frame, _, refused = Schema({"b": pl.UInt8, "a": pl.Enum(["x"])}).frame(
        rows({"a": "x"}, {"b": 255}, {"b": 256}, {"b": -1}, {"a": "y"})
    )
    assert frame.to_dicts() == [{"b": None, "a": "x"}, {"b": 255, "a": None}]
    assert [r.row for r in refused] == [2, 3, 4]


@pytest.mark.parametrize(
    "declared",
    [
        {"a": "x"},
        {"a": pl.Object},
        {"a": pl.List(pl.Object)},
        {"a": pl.Struct({"x": pl.Object})},
        {"\ud800": int},
        {"a": pl.List},
        5,
    ],
)
def test_a_schema_that_is_none_is_a_definition_error(declared: Any) -> None:
    with pytest.raises(DefinitionError, match="schema must"):
        Schema(declared)


def test_a_declared_type_may_be_a_class_at_any_depth() -> None:
    schema = Schema({"a": list[int], "b": pl.List(pl.Datetime)})
    assert schema.frame(rows({"a": [1], "b": [NAIVE]}, {"a": ["x"]}))[2][0].row == 1
    assert schema.types == {"a": pl.List(pl.Int64), "b": pl.List(pl.Datetime("us"))}


def test_a_frame_is_taken_whole() -> None:
    frame = pl.DataFrame({"a": [1, 2]}, schema={"a": pl.Int16})
    schema = Schema()
    assert schema.frame(columns(frame))[0] is frame
    assert schema.frame(rows({"a": 1}, {"a": 2**15}))[0].equals(frame[:1])
    other = pl.DataFrame({"a": [1, 2**15]})
    taken, _, refused = schema.frame(columns(other))
    assert taken.equals(frame[:1])
    assert [r.row for r in refused] == [1]


VALUES = st.recursive(
    st.sampled_from(
        [None, True, 1, 2**63, 1.5, float("nan"), "a", b"a", "\ud800", Decimal("1.5"), AWARE, NAIVE, object()]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200)
@given(st.lists(st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2), max_size=6), st.integers(1, 5))
def test_the_outcome_does_not_depend_on_the_cut(values: list[dict[str, Any]], cut: int) -> None:
    whole, cut_up = Schema(), Schema()
    frame, kept, refused = whole.frame(rows(*values))
    parts = [(start, cut_up.frame(rows(*values[start : start + cut]))) for start in range(0, len(values), cut)]
    assert sorted([*kept, *(r.row for r in refused)]) == list(range(len(values)))
    assert [start + row for start, (_, rows_kept, _) in parts for row in rows_kept] == list(kept)
    assert whole.types == cut_up.types
    together = pl.concat([part for _, (part, _, _) in parts], how="diagonal_relaxed") if parts else pl.DataFrame()
    assert str(together.to_dicts()) == str(frame.to_dicts())
