from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Meta

from streamflow.core import json_format
from streamflow.core.batch import Layout
from streamflow.core.connector import Decoded, Lines, Records
from streamflow.core.json_format import Json, whole_documents
from streamflow.errors import DefinitionError

ROWS, COLUMNS = Layout.ROWS, Layout.COLUMNS


class Colour(Enum):
    RED = "red"


class Seen(msgspec.Struct, frozen=True):
    at: datetime
    again: datetime | None = None


class Home(msgspec.Struct, frozen=True):
    city: str
    since: datetime


class Tx(msgspec.Struct, frozen=True):
    id: int
    user: str
    amount: float
    at: datetime
    home: Home | None = None
    tags: list[int] = []


GOOD = (
    b'{"id":1,"user":"a","amount":1.5,"at":"2024-01-01T00:00:00Z"}',
    b' {"id":-9223372036854775808,"user":"","amount":-0.0,"at":"2024-01-01T00:00:00+05:30"}\r',
    b'{"at":"0001-01-01T05:00:00+05:00","id":9223372036854775807,"user":"\\u0000 \xc3\xa9 {\\"}","amount":3}',
    b'{"id":1,"id":2,"user":"twice","amount":1e300,"at":"9999-12-31T23:59:59.999999Z","unknown":[{},{"a":"}"}]}',
    b'{"id":4,"user":"h","amount":0,"at":"2024-01-01T00:00:00Z","home":{"city":"Oslo","since":"2020-01-01T00:00:00Z"}}',
    b'{"id":5,"user":"t","amount":0,"at":"2024-01-01T00:00:00Z","home":null,"tags":[1,2,3]}',
    b'{"id":6,"user":"skips","amount":0,"at":"2024-01-01T00:00:00Z","x":' + b"9" * 5000 + b',"y":1e999}',
)
BAD = (
    b"",
    b" ",
    b"\r",
    b"null",
    b"5",
    b'"text"',
    b"[]",
    b"{}",
    b"garbage",
    b"{",
    b"}",
    b'{"id":1,',
    b'"user":"a","amount":1.5,"at":"2024-01-01T00:00:00Z"}',
    GOOD[0] + GOOD[0],
    GOOD[0] + b" " + GOOD[0],
    GOOD[0] + b"\r" + GOOD[0],
    GOOD[0] + b",",
    GOOD[0] + b"x",
    b"\xef\xbb\xbf" + GOOD[0],
    b"\x00" + GOOD[0],
    GOOD[0].replace(b'"a"', b'"\x00"'),
    GOOD[0].replace(b'"a"', b'"\xff"'),
    GOOD[0].replace(b'"a"', b'"a","x":"\xff"'),
    GOOD[0].replace(b'"a"', b'"\\ud800"'),
    GOOD[0].replace(b'"a"', b'"a","x":"\\ud800"'),
    GOOD[0].replace(b'"a"', b"5"),
    GOOD[0].replace(b'"a"', b"true"),
    GOOD[0].replace(b'"a"', b"null"),
    GOOD[0].replace(b'"a"', b'{"b":1}'),
    GOOD[0].replace(b'"user"', b'"usr"'),
    GOOD[0].replace(b"1.5", b"NaN"),
    GOOD[0].replace(b"1.5", b"Infinity"),
    GOOD[0].replace(b"1.5", b"1e999"),
    GOOD[0].replace(b"1.5", b'"1.5"'),
    GOOD[0].replace(b"1.5", b"9" * 400),
    GOOD[0].replace(b'"id":1', b'"id":9223372036854775808'),
    GOOD[0].replace(b'"id":1', b'"id":-9223372036854775809'),
    GOOD[0].replace(b'"id":1', b'"id":' + b"9" * 30),
    GOOD[0].replace(b'"id":1', b'"id":' + b"9" * 5000),
    GOOD[0].replace(b'"id":1', b'"id":1.0'),
    GOOD[0].replace(b'"id":1', b'"id":"1"'),
    GOOD[0].replace(b'"id":1', b'"id":true'),
    GOOD[0].replace(b'"id":1', b'"id":01'),
    GOOD[0].replace(b"00Z", b"00"),
    GOOD[0].replace(b"2024-01-01T00:00:00Z", b"0001-01-01T00:00:00+05:00"),
    GOOD[0].replace(b"2024-01-01T00:00:00Z", b"9999-12-31T23:59:59-05:00"),
    GOOD[0].replace(b"00:00:00Z", b"25:00:00Z"),
    GOOD[0].replace(b'"2024-01-01T00:00:00Z"', b"1704067200"),
    GOOD[4].replace(b"2020-01-01T00:00:00Z", b"2020-01-01T00:00:00"),
    GOOD[5].replace(b"[1,2,3]", b"[1,2,9223372036854775808]"),
    GOOD[5].replace(b"[1,2,3]", b'[1,2,"3"]'),
    GOOD[0].replace(b'"a"', b'"a","x":' + b"[" * 100_000 + b"]" * 100_000),
    b"[" * 100_000,
    b'{"a":' * 100_000,
)
lines = st.lists(st.sampled_from(GOOD * 8 + BAD), max_size=30)


@pytest.fixture(params=["as one piece", "row by row"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make few rows take the way of many, too."""
    if request.param == "as one piece":
        monkeypatch.setattr(json_format, "_SMALL", 0)


def blob_of(raws: list[bytes] | tuple[bytes, ...]) -> Lines:
    return Lines(b"".join(raw + b"\n" for raw in raws))


def outcome(decoded: Decoded) -> tuple[list[Any], list[tuple[int, str, bytes]]]:
    """Return the rows as plain values, and what was refused."""
    data = decoded.data
    rows = data.to_dicts() if isinstance(data, pl.DataFrame) else [plain(row) for row in data]
    return rows, [(r.row, r.reason, r.raw) for r in decoded.refused]


def plain(row: Any) -> Any:
    return msgspec.to_builtins(row, builtin_types=(datetime, date, bytes))


@pytest.mark.parametrize("raw", GOOD)
@pytest.mark.parametrize("layout", Layout)
def test_a_good_row_is_decoded(raw: bytes, layout: Layout) -> None:
    rows, refused = outcome(Json(Tx).decode(Records([raw]), layout))
    assert refused == []
    assert rows == [plain(msgspec.json.decode(raw, type=Tx))]


@pytest.mark.parametrize("raw", BAD)
@pytest.mark.parametrize("layout", Layout)
def test_a_malformed_row_is_refused_with_its_bytes(raw: bytes, layout: Layout) -> None:
    rows, refused = outcome(Json(Tx).decode(Records([raw]), layout))
    assert rows == []
    assert [(row, bytes_) for row, _, bytes_ in refused] == [(0, raw)]
    assert 0 < len(refused[0][1]) < 200


@pytest.mark.usefixtures("_way")
@given(raws=lines)
@example([GOOD[0], GOOD[0].replace(b'"a"', b'"a","x":"\xff"')])
@example([GOOD[0], GOOD[0].replace(b"00Z", b"00")])
@example([GOOD[0], GOOD[0].replace(b"2024-01-01T00:00:00Z", b"0001-01-01T00:00:00+05:00")])
@example([GOOD[0], GOOD[0].replace(b'"id":1', b'"id":9223372036854775808')])
@example([GOOD[0] + GOOD[0], GOOD[0][:30], GOOD[0][30:]])
@example([GOOD[0] + GOOD[0], b"", GOOD[0]])
def test_every_row_is_decoded_as_if_alone(raws: list[bytes]) -> None:
    format = Json(Tx)
    alone = [outcome(format.decode(Records([raw]), ROWS)) for raw in raws]
    rows = [row for decoded, _ in alone for row in decoded]
    refused = [(i, reason, raw) for i, (_, bad) in enumerate(alone) for _, reason, raw in bad]
    for layout in Layout:
        assert outcome(format.decode(blob_of(raws), layout)) == (rows, refused)
        assert outcome(format.decode(Records(raws), layout)) == (rows, refused)


@pytest.mark.usefixtures("_way")
@given(raws=lines, cut=st.integers(0, 30))
def test_where_lines_are_cut_into_chunks_does_not_matter(raws: list[bytes], cut: int) -> None:
    format = Json()
    whole, refused = outcome(format.decode(blob_of(raws), ROWS))
    first, first_refused = outcome(format.decode(blob_of(raws[:cut]), ROWS))
    rest, rest_refused = outcome(format.decode(blob_of(raws[cut:]), ROWS))
    begin = len(raws[:cut])
    assert first + rest == whole
    assert first_refused + [(row + begin, why, raw) for row, why, raw in rest_refused] == refused


@pytest.mark.usefixtures("_way")
@given(
    raws=st.lists(
        st.sampled_from([b'{"a":', b"1}", b'{"a":1}', b"}", b"{", b'{"a":{}', b'"}', b'{"x":"', b"{}{}", b"[", b"]"])
    )
)
def test_a_document_never_goes_over_the_end_of_a_line(raws: list[bytes]) -> None:
    expected = [{"a": 1} for raw in raws if raw == b'{"a":1}']
    assert outcome(Json().decode(blob_of(raws), ROWS))[0] == expected


@pytest.mark.usefixtures("_way")
@given(raws=st.lists(st.sampled_from([b'{"a":\n1}', b'{"a":1}', b'{"a":1}\n{"a":1}', b'{"a":1}\n', b"\n"]), min_size=1))
def test_a_message_may_hold_newlines(raws: list[bytes]) -> None:
    rows, refused = outcome(Json().decode(Records(raws), ROWS))
    good = [raw.count(b"{") == 1 for raw in raws]
    assert rows == [{"a": 1}] * sum(good)
    assert [row for row, _, _ in refused] == [i for i, is_good in enumerate(good) if not is_good]


@pytest.mark.usefixtures("_way")
def test_lines_may_end_as_on_windows() -> None:
    assert outcome(Json().decode(Lines(b'{"a":1}\r\n{"a":2}\n{"a":3}\r\n'), ROWS)) == (
        [{"a": 1}, {"a": 2}, {"a": 3}],
        [],
    )
    assert outcome(Json().decode(Lines(b'{"a":"\r\n{"a":2}\r\n'), ROWS))[0] == [{"a": 2}]


def test_many_rows_take_no_other_place_than_few() -> None:
    raws = [b'{"n":%d}' % i if i % 1000 else b"oops" for i in range(30_000)]
    rows, refused = outcome(Json().decode(blob_of(raws), ROWS))
    assert [row["n"] for row in rows] == [i for i in range(30_000) if i % 1000]
    assert [row for row, _, _ in refused] == list(range(0, 30_000, 1000))


@pytest.mark.usefixtures("_way")
def test_dicts_are_refused_for_what_no_checkpoint_can_hold() -> None:
    raws = [
        b'{"n":1}',
        b'{"n":[{"m":' + b"9" * 25 + b"}]}",
        b'{"n":9223372036854775807}',
        b"[1]",
        b'{"n":"' + b"9" * 25 + b'"}',
    ]
    rows, refused = outcome(Json().decode(blob_of(raws), ROWS))
    assert rows == [{"n": 1}, {"n": 9223372036854775807}, {"n": "9" * 25}]
    assert [(row, why) for row, why, _ in refused] == [
        (1, "expected an `int` of 64 bits, got one of 84 bits - at `$.n[0].m`"),
        (3, "Expected `object`, got `array`"),
    ]


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("layout", Layout)
def test_a_time_that_is_no_instant_is_found_where_all_others_are(layout: Layout) -> None:
    times = [
        b"2024-01-01T00:00:00Z",
        b"2024-01-01T00:00:00",
        b"2024-01-01T00:00:00-08:00",
        b"0001-01-01T00:00:00+05:00",
    ]
    rows, refused = outcome(Json(Seen).decode(blob_of([b'{"at":"%s"}' % time for time in times]), layout))
    assert [row["at"] for row in rows] == [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 8, tzinfo=UTC)]
    assert [why.split(",")[0] for _, why, _ in refused] == [
        "expected a `datetime` with a time zone",
        "expected a `datetime` in the years 1 to 9999 of UTC",
    ]


def test_reasons_say_what_was_expected_where() -> None:
    raws = [b'{"id":"1"}', b"", GOOD[0].replace(b"00Z", b"00"), b'"\xff"', b"[" * 5000]
    _, refused = outcome(Json(Tx).decode(Records(raws), ROWS))
    assert [why for _, why, _ in refused[:4]] == [
        "Expected `int`, got `str` - at `$.id`",
        "expected a JSON document, got nothing",
        "expected a `datetime` with a time zone, got `2024-01-01T00:00:00` - at `$.at`",
        "expected UTF-8, got byte 0xff at 1",
    ]


def test_a_users_check_refuses_the_row_whatever_it_raises() -> None:
    class Strict(msgspec.Struct):
        n: int

        def __post_init__(self) -> None:
            if self.n == 2:
                raise KeyError("two")

    raws = [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    for layout in Layout:
        rows, refused = outcome(Json(Strict).decode(Records(raws), layout))
        assert rows == [{"n": 1}, {"n": 3}]
        assert [(row, why) for row, why, _ in refused] == [(1, "KeyError: 'two'")]


def test_columns_have_the_types_declared() -> None:
    class Wide(msgspec.Struct, rename="camel"):
        a_str: str
        b: bytes
        c: bool
        d: date
        e: Annotated[datetime, Meta(tz=False)]
        f: Literal["x", "y"]
        g: Colour
        h: tuple[float, ...]
        i: list[Home] | None
        j: Annotated[int, Meta(ge=0, extra_json_schema={"x": 1})] | None = None

    raw = (
        b'{"aStr":"s","b":"aGk=","c":true,"d":"2024-02-29","e":"2024-01-01T00:00:00","f":"x","g":"red","h":[1,2.5],'
        b'"i":[{"city":"Oslo","since":"2024-01-01T00:00:00+01:00"}]}'
    )
    frame = Json(Wide).decode(Records([raw, raw]), COLUMNS).data
    assert isinstance(frame, pl.DataFrame)
    assert frame.schema == Json(Wide).columns()
    assert dict(frame.schema) == {
        "a_str": pl.String(),
        "b": pl.Binary(),
        "c": pl.Boolean(),
        "d": pl.Date(),
        "e": pl.Datetime("us"),
        "f": pl.String(),
        "g": pl.String(),
        "h": pl.List(pl.Float64()),
        "i": pl.List(pl.Struct({"city": pl.String(), "since": pl.Datetime("us", "UTC")})),
        "j": pl.Int64(),
    }
    assert frame.row(1) == (
        "s",
        b"hi",
        True,
        date(2024, 2, 29),
        datetime(2024, 1, 1),  # noqa: DTZ001 - declared so
        "x",
        "red",
        [1.0, 2.5],
        [{"city": "Oslo", "since": datetime(2023, 12, 31, 23, tzinfo=UTC)}],
        None,
    )


@dataclass
class Point:
    x: int
    y: float | None = None


class Entry(TypedDict):
    x: int
    y: NotRequired[float | None]


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("declared", [Point, Entry])
def test_a_dataclass_and_a_typed_dict_are_records_too(declared: type) -> None:
    raws = [b'{"x":1,"y":2}', b'{"x":2}', b'{"y":2}', b'{"x":9223372036854775808}', b'{"x":3,"y":null}']
    rows = Json(declared).decode(blob_of(raws), ROWS)
    frame = Json(declared).decode(blob_of(raws), COLUMNS)
    assert isinstance(frame.data, pl.DataFrame)
    assert frame.data.rows() == [(1, 2.0), (2, None), (3, None)]
    assert len(rows.data) == 3
    assert [r.row for r in rows.refused] == [r.row for r in frame.refused] == [2, 3]


@pytest.mark.usefixtures("_way")
def test_a_schema_gives_dicts_and_columns_of_its_fields() -> None:
    schema = {
        "user-id": pl.Int8,
        "home": pl.Struct({"the city": pl.String}),
        "at": pl.Datetime("us", "UTC"),
        "tags": pl.List(pl.UInt8),
    }
    good = b'{"user-id":-128,"home":{"the city":"Oslo","x":1},"at":"2024-01-01T01:00:00+01:00","tags":[1,255],"y":2}'
    raws = [good, good.replace(b"-128", b"128"), good.replace(b"255", b"256"), good.replace(b'"at"', b'"et"')]
    raws += [good.replace(b'"Oslo"', b"null"), good.replace(b"+01:00", b"")]
    format = Json(schema=schema)
    rows, refused = outcome(format.decode(blob_of(raws), ROWS))
    frame = format.decode(blob_of(raws), COLUMNS)
    assert isinstance(frame.data, pl.DataFrame)
    assert frame.data.schema == pl.Schema(schema)
    assert outcome(frame) == (rows, refused)
    assert [row for row, _, _ in refused] == [1, 2, 3, 4, 5]
    at = datetime(2024, 1, 1, tzinfo=UTC)
    assert frame.data.to_dicts() == [{"user-id": -128, "home": {"the city": "Oslo"}, "at": at, "tags": [1, 255]}]


def test_no_rows_make_a_frame_of_the_same_columns() -> None:
    frame = Json(Tx).decode(Lines(b""), COLUMNS).data
    assert isinstance(frame, pl.DataFrame)
    assert frame.schema == Json(Tx).columns()
    assert Json(Tx).decode(Records([]), ROWS) == Decoded([], [])


def test_a_type_that_holds_itself_is_checked_to_its_depths() -> None:
    raws = [
        b'{"at":"2024-01-01T00:00:00Z","next":{"at":"2024-01-01T00:00:00Z","next":null}}',
        b'{"at":"2024-01-01T00:00:00Z","next":{"at":"2024-01-01T00:00:00","next":null}}',
        b'{"at":"2024-01-01T00:00:00Z","next":{"at":"2024-01-01T00:00:00Z","next":{"at":"2024-01-01T00:00:00"}}}',
    ]
    decoded = Json(Node).decode(blob_of(raws * 20), ROWS)
    assert len(decoded.data) == 20
    assert {r.reason.split(" - ")[1] for r in decoded.refused} == {"at `$.next.at`", "at `$.next.next.at`"}


class Node(msgspec.Struct):
    at: datetime
    next: Node | None = None


class Loose(msgspec.Struct):
    anything: Any


@pytest.mark.parametrize("declared", [None, Loose, Node, int, list[int]])
def test_columns_that_cannot_be_are_refused_at_definition(declared: Any) -> None:
    with pytest.raises(DefinitionError):
        Json(declared).columns()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Json(lambda: 1),
        lambda: Json(Tx, schema={"a": pl.Int64}),
        lambda: Json(schema={"a": pl.Object}),
        lambda: Json(schema={"a": pl.UInt64}),
        lambda: Json(schema={"a": pl.Datetime("ns", "UTC")}),
    ],
)
def test_what_cannot_be_decoded_is_refused_at_definition(make: Any) -> None:
    with pytest.raises(DefinitionError):
        make()


def test_formats_are_values() -> None:
    assert Json(Tx) == Json(Tx) != Json()
    assert str(Json(Tx)) == "json Tx"
    assert str(Json()) == "json"
    assert str(Json(schema={"a": pl.Int64, "b": pl.String})) == "json a, b"


@pytest.mark.parametrize(
    ("blob", "rows"),
    [(b"{}\n", 1), (b"{}\n{}\n", 2), (b"[]\n[1]\n", 2), (b"{}\n[]\n", 0), (b"\n", 0), (b"{}", 0), (b"{}\n\n", 0)],
)
def test_lines_are_whole_documents_only_if_each_begins_and_ends_one(blob: bytes, rows: int) -> None:
    assert whole_documents(blob) == rows
