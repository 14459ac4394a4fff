"""Laws of ``core.key_codes``: keys of every type there and back, and no more codes than keys alive."""

from __future__ import annotations

import math
from datetime import UTC, date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamflow.core.key_codes import KeyCodes
from streamflow.errors import DataError

COLUMNS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (pl.String, st.text(max_size=20)),
    "bytes": (pl.Binary, st.binary(max_size=20)),
    "int64": (pl.Int64, st.integers(-(1 << 63), (1 << 63) - 1)),
    "int8": (pl.Int8, st.integers(-128, 127)),
    "uint64": (pl.UInt64, st.integers(0, (1 << 64) - 1)),
    "int128": (pl.Int128, st.integers(-(1 << 100), 1 << 100)),
    "float64": (pl.Float64, st.floats()),
    "float32": (pl.Float32, st.floats(width=32)),
    "bool": (pl.Boolean, st.booleans()),
    "date": (pl.Date, st.dates()),
    "time": (pl.Time, st.times()),
    "datetime": (pl.Datetime("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
    "datetime in ms": (pl.Datetime("ms"), st.integers(-(10**12), 10**12)),
    "duration": (pl.Duration("ns"), st.timedeltas(timedelta(-1000), timedelta(1000))),
    "enum": (pl.Enum(["a", "b", "c"]), st.sampled_from("abc")),
    "categorical": (pl.Categorical(pl.Categories.random()), st.text(max_size=5)),
    "decimal": (pl.Decimal(20, 2), st.integers(-1000, 1000).map(lambda n: Decimal(n) / 4)),
    "null": (pl.Null, st.none()),
}
EVERY_COLUMN = pytest.mark.parametrize("column", COLUMNS)


def series(column: str, values: list[Any], name: str = "k") -> pl.Series:
    dtype, _ = COLUMNS[column]
    return pl.Series(name, values, dtype=dtype)


@EVERY_COLUMN
@settings(max_examples=15)
@given(data=st.data())
def test_rows_share_a_code_if_polars_says_that_their_keys_are_one(column: str, data: st.DataObject) -> None:
    _, values = COLUMNS[column]
    pool = data.draw(st.lists(st.one_of(st.none(), values), min_size=1, max_size=6))
    drawn = data.draw(st.lists(st.sampled_from(pool), max_size=20))
    codes = KeyCodes(("k",))
    frame = pl.DataFrame([series(column, drawn)])
    got = np.concatenate([codes.encode(frame.head(7)), codes.encode(frame.slice(7))])
    groups = frame.with_columns(code=pl.Series(got, dtype=pl.Int64)).group_by("k").agg(pl.col("code").n_unique())
    assert groups.get_column("code").to_list() == [1] * groups.height
    assert len(set(got.tolist())) == groups.height == codes.used
    back = pl.DataFrame(codes.keys(got))
    assert_frame_equal(back, frame)
    assert back.schema == frame.schema


def test_nan_is_one_key_and_the_zeros_are_one() -> None:
    codes = KeyCodes(("k",)).encode(pl.DataFrame({"k": [0.0, -0.0, math.nan, -math.nan, None, 1.0]}))
    assert codes[0] == codes[1]
    assert codes[2] == codes[3]
    assert len(set(codes.tolist())) == 4


@settings(max_examples=60)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", None]), st.one_of(st.none(), st.integers(-2, 2)), st.sampled_from([1.5, None])
        ),
        max_size=30,
    )
)
def test_several_columns_are_one_key(rows: list[tuple[Any, ...]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.Int16, "c": pl.Float64}, orient="row")
    codes = KeyCodes(("a", "b", "c"))
    got = codes.encode(frame)
    assert len(set(got.tolist())) == len(set(rows)) == codes.used
    assert_frame_equal(pl.DataFrame(codes.keys(got), schema=frame.schema), frame)
    assert codes.encode(frame).tolist() == got.tolist()


def test_without_key_columns_there_is_one_key() -> None:
    codes = KeyCodes(())
    assert codes.encode(pl.DataFrame({"x": [1, 2]})).tolist() == [0, 0]
    assert codes.keys(np.array([0])) == []
    assert codes.size == 1


@pytest.mark.parametrize("names", [("a",), ("b",), ("a", "b"), ("b", "a", "c")])
def test_endless_keys_take_no_more_codes_than_are_kept(names: tuple[str, ...]) -> None:
    codes = KeyCodes(names)
    for start in range(0, 60_000, 1_000):
        number = pl.Series("b", np.arange(start, start + 1_000))
        frame = pl.DataFrame(
            [number, ("user-number-" + number.cast(pl.String)).alias("a"), (number * 1_000_003).alias("c")]
        )
        mine = codes.encode(frame)
        assert_frame_equal(pl.DataFrame(codes.keys(mine)), frame.select(names))
        live = np.zeros(codes.size, dtype=np.bool_)
        live[mine] = True
        codes.keep(live)
        assert codes.encode(frame).tolist() == mine.tolist()
    assert codes.used == 1_000
    assert codes.size <= 2_000


def test_a_key_that_is_kept_has_its_code_whatever_is_freed() -> None:
    codes = KeyCodes(("k",))
    frame = pl.DataFrame({"k": ["a", None, "b", "c"]})
    first = codes.encode(frame)
    live = np.zeros(codes.size, dtype=np.bool_)
    live[first[[1, 3]]] = True
    codes.keep(live)
    again = codes.encode(pl.DataFrame({"k": ["c", None, "x", "y"]}))
    assert again[:2].tolist() == first[[3, 1]].tolist()
    assert sorted(again.tolist()) == sorted(first.tolist())
    assert codes.keys(again)[0].to_list() == ["c", None, "x", "y"]


def test_a_million_keys_are_told_apart() -> None:
    numbers = pl.Series("k", np.arange(1_000_000))
    for column in (numbers, numbers.cast(pl.String), numbers * 7_919_000_000_007):
        codes = KeyCodes(("k",))
        got = np.concatenate(
            [codes.encode(column.slice(at, 250_000).to_frame()) for at in range(0, 1_000_000, 250_000)]
        )
        assert len(np.unique(got)) == 1_000_000
        assert codes.size == 1_000_000
        assert codes.keys(got[::1_000])[0].equals(column.gather_every(1_000))


# ------------------------------------------------------------------------------------------------ restored keys


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (pl.Series([3, None, 1]), pl.Series([1, None, 3], dtype=pl.Int8)),
        (pl.Series([3, None, 1]), pl.Series([1, None, 3], dtype=pl.UInt64)),
        (pl.Series([3, None, 1]), pl.Series([1, None, 3], dtype=pl.Int128)),
        (pl.Series(["a", None, "b"]), pl.Series(["b", None, "a"], dtype=pl.Categorical)),
        (pl.Series([0.5, None, 2.0]), pl.Series([2.0, None, 0.5], dtype=pl.Float32)),
        (
            pl.Series([5_000, None, 7_000]).cast(pl.Datetime("us")),
            pl.Series([7, None, 5]).cast(pl.Datetime("ms")),
        ),
        (pl.Series([date(2020, 1, 1), None, date(2021, 1, 1)]), pl.Series([date(2021, 1, 1), None, date(2020, 1, 1)])),
        (pl.Series([None, None, None]), pl.Series(["x", None, "y"])),
    ],
)
def test_the_first_batch_says_the_type_of_restored_keys(stored: pl.Series, read: pl.Series) -> None:
    codes = KeyCodes(("k",))
    before = codes.load([stored.alias("k")], len(stored))
    after = codes.encode(read.to_frame("k"))
    assert codes.keys(after)[0].equals(read.alias("k"), check_dtypes=True, null_equal=True)
    assert after[1] == before[1]
    if stored.dtype != pl.Null:
        assert after.tolist() == before[::-1].tolist()


def test_several_restored_columns_take_the_types_of_the_batch() -> None:
    codes = KeyCodes(("a", "b"))
    before = codes.load([pl.Series("key_0", [1, 2]), pl.Series("key_1", ["x", None])], 2)
    frame = pl.DataFrame({"a": [2, 1], "b": [None, "x"]}, schema={"a": pl.Int16, "b": pl.Categorical})
    assert codes.encode(frame).tolist() == before[::-1].tolist()
    assert pl.DataFrame(codes.keys(before)).schema == frame.schema


def test_restored_keys_that_the_type_of_the_batch_cannot_hold_are_refused() -> None:
    codes = KeyCodes(("k",))
    codes.load([pl.Series([0.1])], 1)
    with pytest.raises(DataError, match="restored key column 'k' holds Float64 that are not Float32"):
        codes.encode(pl.DataFrame({"k": [0.1]}, schema={"k": pl.Float32}))


# ------------------------------------------------------------------------------------------------ refusals


def test_a_key_column_of_another_type_than_before_is_refused() -> None:
    codes = KeyCodes(("k",))
    codes.encode(pl.DataFrame({"k": ["a"]}))
    assert codes.encode(pl.DataFrame({"k": [None]})).tolist() == [1]
    with pytest.raises(DataError, match="key column 'k' was String so far, got Int64"):
        codes.encode(pl.DataFrame({"k": [1]}))


def test_a_column_that_cannot_be_a_key_is_refused() -> None:
    with pytest.raises(DataError, match=r"key column 'k' must hold numbers, texts.*got List"):
        KeyCodes(("k",)).encode(pl.DataFrame({"k": [[1]]}))


def test_a_missing_key_column_is_named() -> None:
    with pytest.raises(DataError, match="there is no key column 'k', got \\['x'\\]"):
        KeyCodes(("k",)).encode(pl.DataFrame({"x": [1]}))


def test_times_of_day_are_keys() -> None:
    assert KeyCodes(("k",)).encode(pl.DataFrame({"k": [time(1), time(2), time(1)]})).tolist() == [0, 1, 0]
