"""Rows as fields: the same names whatever Python values the rows are."""

from __future__ import annotations

import enum
from collections import UserDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core import records
from streamflow.core.columns import Columns
from streamflow.core.folding import Windowed
from streamflow.core.records import fields_of, identity, identity_of, iso, key_fields, plain, read_table
from streamflow.core.rows import Rows
from streamflow.core.stamps import DELETE, UPSERT, Stamps
from streamflow.core.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP
from streamflow.errors import DataError

START, END = datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


class Renamed(msgspec.Struct, rename="camel", tag="r", tag_field="kind"):
    first_name: str
    n: int | msgspec.UnsetType = msgspec.UNSET


class Plain(msgspec.Struct):
    a: int
    b: Any = None


@dataclass(slots=True)
class Data:
    a: int
    b: Any = None


class Named(NamedTuple):
    a: int
    b: Any = None


class Colour(enum.Enum):
    RED = "red"


def rows(*values: Any) -> Rows:
    return Rows(Stamps.at(0, 0, len(values)), list(values))


def changes(*entries: tuple[int, Any, Any]) -> Rows:
    kind = np.array([kind for kind, _, _ in entries], dtype=np.int8)
    stamps = Stamps.at(0, 0, len(entries)).with_kind(kind)
    return Rows(stamps, [value for _, _, value in entries], [key for _, key, _ in entries])


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ({"a": 1}, {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (UserDict(a=1), {"a": 1}),
        (Plain(1), {"a": 1, "b": None}),
        (Renamed("x"), {"kind": "r", "firstName": "x"}),
        (Renamed("x", 1), {"kind": "r", "firstName": "x", "n": 1}),
        (Data(1), {"a": 1, "b": None}),
        (Named(1), {"a": 1, "b": None}),
        (7, {"value": 7}),
        (None, {"value": None}),
        ((1, 2), {"value": (1, 2)}),
        (Windowed("k", 0, 1_000_000, 5), {"key": "k", "window_start": START, "window_end": END, "value": 5}),
        (Windowed(("k", 2), 0, 1_000_000, Data(1)), {
            "key_0": "k", "key_1": 2, "window_start": START, "window_end": END, "a": 1, "b": None,
        }),
        (Windowed(None, MIN_TIMESTAMP, MAX_TIMESTAMP, {}), {"key": None}),
    ],
)  # fmt: skip
def test_every_kind_of_row_has_fields(value: Any, fields: dict[str, Any]) -> None:
    assert fields_of(value) == fields
    assert list(fields_of(value)) == list(fields)


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {b"a": 1}, {Colour.RED: 1}])
def test_fields_are_named_by_text(value: Any) -> None:
    with pytest.raises(DataError, match="must be named by str"):
        fields_of(value)


@pytest.mark.parametrize("name", ["key", "window_start", "window_end"])
def test_a_windows_value_must_not_hide_what_the_window_says(name: str) -> None:
    with pytest.raises(DataError, match=rf"named like the window's own: \['{name}'\]; rename"):
        fields_of(Windowed("k", 0, 1, {name: 1}))


def test_a_key_of_one_part_has_one_name() -> None:
    assert key_fields("a") == key_fields(("a",)) == {"key": "a"}
    assert key_fields(("a", 1)) == {"key_0": "a", "key_1": 1}


def test_a_row_that_cannot_be_read_is_refused_and_the_others_keep_their_places() -> None:
    table = read_table(rows({"a": 1}, {1: 2}, {"a": 3}))
    assert (list(table.rows), table.records) == ([0, 2], [{"a": 1}, {"a": 3}])
    assert [(r.row, r.raw) for r in table.refused] == [(1, {1: 2})]


def test_columns_are_read_as_their_rows() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": [None, "x"]})
    table = read_table(Columns(Stamps.at(0, 0, 2), frame))
    assert (list(table.rows), table.records, table.refused) == ([0, 1], frame.to_dicts(), [])


def test_a_struct_with_a_missing_attribute_is_refused() -> None:
    broken = Plain(1)
    del broken.a
    assert [r.row for r in read_table(rows(Plain(1), broken)).refused] == [1]


@pytest.mark.parametrize(
    ("key", "value", "names", "record"),
    [
        (("a",), 1, None, {"key": "a", "value": 1}),
        ("a", {"n": 1}, None, {"key": "a", "n": 1}),
        (("a", 2), {"n": 1}, None, {"key_0": "a", "key_1": 2, "n": 1}),
        (("a",), {"key": "a", "n": 1}, None, {"key": "a", "n": 1}),
        (("a",), 1, ["user"], {"user": "a", "value": 1}),
        (("a",), {"user": "b"}, ["user"], {"user": "b"}),
        (("a", 2), {"n": 1}, ["user", "day"], {"user": "a", "day": 2, "n": 1}),
        (("a", 2), {"n": 1}, ["user"], {"n": 1}),
    ],
)
def test_on_an_upsert_edge_a_row_says_its_key(key: Any, value: Any, names: list[str] | None, record: Any) -> None:
    assert read_table(changes((UPSERT, key, value)), names).records == [record]


def test_a_field_that_contradicts_the_key_is_refused() -> None:
    table = read_table(changes((UPSERT, "a", {"key": "b"}), (DELETE, "a", None)))
    assert [r.row for r in table.refused] == [0]
    assert "they differ: ['key']" in table.refused[0].reason


def test_a_row_is_identified_by_its_key_or_its_window() -> None:
    window = Windowed(("a",), 0, 10, 1)
    frame = pl.DataFrame({"user": ["a"], "day": [1]})
    by_key, by_window = changes((UPSERT, ("a", 1), 1)), changes((UPSERT, ("a",), window))
    in_columns = Columns(Stamps.at(0, 0, 1), frame, ("user", "day"))
    assert [identity(b) for b in (by_key, by_window, in_columns)] == [
        ("key_0", "key_1"),
        ("key", "window_start", "window_end"),
        ("user", "day"),
    ]
    assert [identity_of(b, 0) for b in (by_key, by_window, in_columns)] == [("a", 1), ("a", 0, 10), ("a", 1)]
    assert identity(changes((UPSERT, "a", Windowed("a", MIN_TIMESTAMP, MAX_TIMESTAMP, 1)))) == ("key",)
    assert identity(rows()) == identity(rows(1)) == ()


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not what it is"


class Whole(int):
    def __int__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (np.int32(1), 1),
        (np.float64(1.5), 1.5),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.str_("a"), "a"),
        (np.datetime64("2024-05-01T00:00:00", "s"), datetime(2024, 5, 1)),  # noqa: DTZ001  # numpy's are naive
        (Colour.RED, "red"),
        (enum.IntEnum("N", "A")["A"], 1),
        (Text("a"), "a"),
        (Whole(3), 3),
        (bytearray(b"a"), b"a"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ((1, {"a": Named(1, Data(2))}), [1, {"a": {"a": 1, "b": {"a": 2, "b": None}}}]),
        ({1}, [1]),
        (type("Day", (date,), {})(2024, 5, 1), date(2024, 5, 1)),
        (type("Moment", (datetime,), {})(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)),
        (type("Clock", (time,), {})(1, 2), time(1, 2)),
        (type("Span", (timedelta,), {})(1), timedelta(1)),
        (type("Money", (Decimal,), {})("1.50"), Decimal("1.50")),
    ],
)
def test_plain_is_the_value_in_pythons_own_types(value: Any, result: Any) -> None:
    assert plain(value) == result
    assert type(plain(value)) is type(result)


@pytest.mark.parametrize("value", [object(), 1j, np.longdouble(1), [object()], range(3), lambda: 0])
def test_what_has_no_plain_form_is_a_data_error(value: Any) -> None:
    with pytest.raises(DataError, match="Python's own types"):
        plain(value)


@given(st.datetimes(timezones=st.timezones()) | st.datetimes())
def test_text_of_times_is_the_time_again(value: datetime) -> None:
    try:
        text = iso(value)
    except DataError:
        assert value.year in {1, 9999}
        return
    assert datetime.fromisoformat(text) == (value if value.tzinfo is None else value.astimezone(UTC))
    assert len(text) == (26 if value.tzinfo is None else 32)


@given(st.lists(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), min_size=2, max_size=2))  # noqa: DTZ001
def test_text_of_times_sorts_like_the_times(naive: list[datetime]) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    times = [naive[0].replace(tzinfo=UTC), naive[1].replace(tzinfo=zone)]
    assert sorted(times) == sorted(times, key=iso)


def test_types_without_end_do_not_fill_the_memory() -> None:
    for _ in range(3_000):
        value = type("Made", (), {})()
        assert fields_of(value) == {"value": value}
    assert len(records._READERS) <= 1024
