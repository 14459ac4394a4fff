from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamflow.core.batch import Layout
from streamflow.core.connector import Decoded, Lines, Records
from streamflow.core.csv_format import Csv
from streamflow.errors import DefinitionError


class Reading(msgspec.Struct, frozen=True):
    id: int
    place: str
    degrees: float | None
    is_new: bool = True
    at: datetime | None = None


GOOD = {
    b"1,Oslo,-3.5,true,2024-01-01T00:00:00Z": (1, "Oslo", -3.5, True, datetime(2024, 1, 1, tzinfo=UTC)),
    b"2,,,0,\r": (2, "", None, False, None),
    b'3,"Oslo, ""the"" city",1e3,1,': (3, 'Oslo, "the" city', 1000.0, True, None),
    b"-9223372036854775808,\xc3\xa9\xe2\x80\xa8,0,false,": (-9223372036854775808, "é\u2028", 0.0, False, None),
    b'5,"",7,TRUE,2024-01-01T01:00:00+01:00': (5, "", 7.0, True, datetime(2024, 1, 1, tzinfo=UTC)),
    b'6,a"b,7,1,': (6, 'a"b', 7.0, True, None),
}
BAD = (
    b"",
    b"\r",
    b"1",
    b"1,Oslo,-3.5,true",
    b"1,Oslo,-3.5,true,,",
    b",Oslo,-3.5,true,",
    b" 1,Oslo,-3.5,true,",
    b"x,Oslo,-3.5,true,",
    b"1,Oslo,cold,true,",
    b"1,Oslo,1e999,true,",
    b"1,Oslo,1,maybe,",
    b"1,Oslo,1,true,2024-01-01T00:00:00",
    b"1,Oslo,1,true,yesterday",
    b"9223372036854775808,Oslo,1,true,",
    b"9" * 5000 + b",Oslo,1,true,",
    b'1,"Oslo,1,true,',
    b'1,"Oslo"x,1,true,',
    b'1,Oslo,1,true,"',
    b"1,Oslo\rBergen,1,true,",
    b"1,\xff,1,true,",
    b"1,Oslo," + b"1" * 200_000 + b",true,",
)
lines = st.lists(st.sampled_from([*list(GOOD) * 3, *BAD]), max_size=25)


def blob_of(raws: list[bytes]) -> Lines:
    return Lines(b"".join(raw + b"\n" for raw in raws))


def outcome(decoded: Decoded) -> tuple[list[Any], list[tuple[int, str, bytes]]]:
    data = decoded.data
    rows = data.rows() if isinstance(data, pl.DataFrame) else [msgspec.structs.astuple(row) for row in data]
    return rows, [(r.row, r.reason, r.raw) for r in decoded.refused]


@pytest.mark.parametrize("raw", GOOD)
@pytest.mark.parametrize("layout", Layout)
def test_a_good_line_is_converted(raw: bytes, layout: Layout) -> None:
    assert outcome(Csv(Reading).decode(blob_of([raw]), layout)) == ([GOOD[raw]], [])


@pytest.mark.parametrize("raw", BAD)
@pytest.mark.parametrize("layout", Layout)
def test_a_malformed_line_is_refused_with_its_bytes(raw: bytes, layout: Layout) -> None:
    rows, refused = outcome(Csv(Reading).decode(blob_of([raw]), layout))
    assert rows == []
    assert [(row, line) for row, _, line in refused] == [(0, raw)]
    assert 0 < len(refused[0][1]) < 300


@given(raws=lines)
@example([*GOOD, b'1,"Oslo', b'",2,true,'])
@example([*GOOD, b'1,"Oslo,2,true,', b'"', b"2,,,0,"])
@example([*GOOD, b"7," + b"x" * 200_000 + b",1,1,"])
@example([*list(GOOD)[:2], b"7," + b"x" * 200_000 + b",1,1,"])
@example([*list(GOOD)[:2], b"7,x,1,1,2024-01-01T00:00:00"])
def test_every_line_is_decoded_as_if_alone(raws: list[bytes]) -> None:
    format = Csv(Reading)
    alone = [outcome(format.decode(blob_of([raw]), Layout.ROWS)) for raw in raws]
    rows = [row for decoded, _ in alone for row in decoded]
    refused = [(i, reason, raw) for i, (_, bad) in enumerate(alone) for _, reason, raw in bad]
    for layout in Layout:
        assert outcome(format.decode(blob_of(raws), layout)) == (rows, refused)
        assert outcome(format.decode(Records(raws), layout)) == (rows, refused)


def test_without_a_type_rows_are_dicts_of_text() -> None:
    format = Csv(names=["a", "b"], delimiter=";")
    decoded = format.decode(Lines(b"1;x,y\n;\n1;2;3\n"), Layout.ROWS)
    assert decoded.data == [{"a": "1", "b": "x,y"}, {"a": "", "b": ""}]
    assert [r.reason for r in decoded.refused] == ["expected 2 fields, got 3"]


def test_an_empty_line_is_refused_where_an_empty_field_would_do() -> None:
    assert [r.row for r in Csv(names=["a"]).decode(Lines(b"x\n\n"), Layout.ROWS).refused] == [1]
    decoded = Csv(names=["a"]).decode(Lines(b'x\n\n""\n\r\n'), Layout.ROWS)
    assert decoded.data == [{"a": "x"}, {"a": ""}]
    assert [r.row for r in decoded.refused] == [1, 3]


def test_names_say_which_fields_are_there_and_the_type_which_are_kept() -> None:
    format = Csv(Reading, names=["degrees", "comment", "place", "id"])
    decoded = format.decode(Lines(b"1.5,hi,Oslo,7\n"), Layout.ROWS)
    assert decoded.data == [Reading(7, "Oslo", 1.5)]


def test_a_schema_says_the_types_of_columns() -> None:
    format = Csv(schema={"n": pl.Int8, "s": pl.String})
    decoded = format.decode(Lines(b"1,a\n128,b\n2,\n"), Layout.COLUMNS)
    assert isinstance(decoded.data, pl.DataFrame)
    assert decoded.data.schema == format.columns() == pl.Schema({"n": pl.Int8, "s": pl.String})
    assert decoded.data.rows() == [(1, "a"), (2, "")]
    assert [r.row for r in decoded.refused] == [1]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"id,place", None),
        (b"\xef\xbb\xbfid,place\r", None),
        (b'"id","place"', None),
        (b"place,id", "expected the header 'id,place', got 'place,id'"),
        (b"1,Oslo", "expected the header 'id,place', got '1,Oslo'"),
        (b"", "the header cannot be read: expected 2 fields, got nothing"),
        (b"\xff", "the header cannot be read: expected UTF-8, got byte 0xff at 0"),
    ],
)
def test_the_header_must_say_the_names_in_order(line: bytes, problem: str | None) -> None:
    assert Csv(names=["id", "place"]).header_problem(line) == problem


@pytest.mark.parametrize(
    "make",
    [
        Csv,
        lambda: Csv(int),
        lambda: Csv(Reading, delimiter=""),
        lambda: Csv(Reading, delimiter='"'),
        lambda: Csv(Reading, names=["id"]),
        lambda: Csv(names=["a", "a"]),
    ],
)
def test_what_cannot_be_read_is_refused_at_definition(make: Any) -> None:
    with pytest.raises(DefinitionError):
        make()


def test_it_says_what_it_is() -> None:
    assert str(Csv(Reading)) == "csv id,place,degrees,is_new,at"
    assert Csv(Reading) == Csv(Reading) != Csv(Reading, header=False)
