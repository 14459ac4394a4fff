"""Rows as bytes: what is read is what was written, and what cannot be is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core.wire import csv_line, frame_bytes, frame_from, json_lines, json_text
from streamflow.errors import DataError


class Array(msgspec.Struct, array_like=True):
    a: int


class Sparse(msgspec.Struct, omit_defaults=True):
    a: int
    b: Any = None


@dataclass
class Data:
    a: int


class Named(NamedTuple):
    a: int


def test_rows_of_every_kind_are_objects() -> None:
    values = [{"a": 1}, Array(1), Sparse(1), Data(1), Named(1), 1, None]
    blob, refused = json_lines(values)
    assert refused == []
    assert blob.decode().splitlines() == ['{"a":1}'] * 5 + ['{"value":1}', '{"value":null}']


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), np.float64("nan"), Sparse(1, -float("inf")), [{"x": (float("nan"),)}]]
)
def test_numbers_that_json_does_not_have_are_refused_not_null(value: Any) -> None:
    with pytest.raises(DataError, match="no NaN"):
        json_text(value)
    blob, refused = json_lines([{"a": None}, {"a": value}, {"a": "null"}])
    assert [r.row for r in refused] == [1]
    assert [json.loads(line) for line in blob.splitlines()] == [{"a": None}, {"a": "null"}]


def test_what_is_nested_without_end_is_refused() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    _, refused = json_lines([deep, cycle, {"a": None}])
    assert [r.row for r in refused] == [0, 1]
    assert all("nested too deeply" in r.reason for r in refused)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5))
def test_json_lines_are_read_back(values: list[dict[str, Any]]) -> None:
    blob, refused = json_lines(values)
    assert [json.loads(line) for line in blob.split(b"\n")[:-1]] == values
    assert refused == []


def test_a_line_of_one_empty_cell_is_not_an_empty_line() -> None:
    assert csv_line([None]) == '""\n'
    assert csv_line([]) == '""\n'
    assert csv_line([None, None]) == ",\n"
    assert csv_line([b"", ""]) == '"",""\n'


@pytest.mark.parametrize(
    "value", [object(), "\ud800", ["\ud800"], 1j, [float("nan")], pytest.param(10**5000, id="huge")]
)
def test_a_cell_that_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # DataError and UnicodeError are
        csv_line([value])


def test_a_frame_comes_back_with_its_types() -> None:
    frame = pl.DataFrame({"a": [1, None], "b": [["x"], []], "c": pl.Series([1, 2], dtype=pl.UInt8)})
    assert frame_from(frame_bytes(frame)).equals(frame)
    assert frame_from(frame_bytes(frame)).schema == frame.schema


def test_objects_are_never_written_as_their_addresses() -> None:
    with pytest.raises(DataError, match="Python objects in column 'a'"):
        frame_bytes(pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}))
