from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core import formats
from streamflow.core.batch import Layout
from streamflow.core.connector import Decoded, Lines, Records, Refused
from streamflow.core.csv_format import Csv
from streamflow.core.formats import Raw, Text, header_of, pieces, split_lines

raws = st.lists(
    st.sampled_from([b"", b"a", b"b\r", b"\r", b"\xc3\xa9", b"\xff", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0b"])
)


def blob_of(raws: list[bytes]) -> Lines:
    return Lines(b"".join(raw + b"\n" for raw in raws))


@given(raws=raws)
def test_each_line_is_a_str_or_refused(raws: list[bytes]) -> None:
    decoded = Text().decode(blob_of(raws), Layout.ROWS)
    assert decoded.data == [raw.removesuffix(b"\r").decode() for raw in raws if raw != b"\xff"]
    assert [(r.row, r.raw) for r in decoded.refused] == [(i, raw) for i, raw in enumerate(raws) if raw == b"\xff"]


@given(raws=raws)
def test_text_columns_hold_the_same_rows(raws: list[bytes]) -> None:
    for data in (blob_of(raws), Records(raws)):
        rows, columns = Text().decode(data, Layout.ROWS), Text().decode(data, Layout.COLUMNS)
        assert isinstance(columns.data, pl.DataFrame)
        assert columns.data.schema == Text().columns()
        assert columns.data.to_series().to_list() == rows.data
        assert [r.row for r in columns.refused] == [r.row for r in rows.refused]


@given(raws=raws)
def test_raw_bytes_are_left_as_they_are(raws: list[bytes]) -> None:
    for data in (blob_of(raws), Records(raws)):
        frame = Raw().decode(data, Layout.COLUMNS).data
        assert Raw().decode(data, Layout.ROWS) == Decoded(raws)
        assert isinstance(frame, pl.DataFrame)
        assert frame.schema == Raw().columns()
        assert frame.to_series().to_list() == raws


def test_a_message_is_taken_with_its_newlines() -> None:
    assert Text().decode(Records([b"a\n", b"b\r\n\r"]), Layout.ROWS).data == ["a\n", "b\r\n\r"]


@given(
    raws=st.lists(st.binary(max_size=6).map(lambda raw: raw.replace(b"\n", b"")), max_size=40), size=st.integers(1, 20)
)
def test_pieces_together_are_the_whole(raws: list[bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "PIECE_BYTES", size)
        patch.setattr(formats, "PIECE_ROWS", size)
        for data in (blob_of(raws), Records(raws)):
            assert [row for piece in pieces(data) for row in piece.rows()] == raws
        assert b"".join(piece.blob for piece in pieces(blob_of(raws))) == blob_of(raws).blob


def test_a_reason_names_what_failed() -> None:
    def fail(raw: bytes) -> str:
        if raw == b"deep":
            raise RecursionError
        raise KeyError(raw)

    refused: list[Refused] = []
    assert formats.decode_each([b"deep", b"x"], fail, 7, refused) == []
    assert [(r.row, r.reason, r.raw) for r in refused] == [
        (7, "expected a value that is not nested this deep", b"deep"),
        (8, "KeyError: b'x'", b"x"),
    ]
    assert isinstance(refused[1].cause, KeyError)


def test_only_some_formats_have_a_header() -> None:
    assert header_of(Text()) is None
    assert header_of(None) is None
    assert header_of(Csv(names=["a"], header=False)) is None
    assert header_of(Csv(names=["a"])) == Csv(names=["a"])


@pytest.mark.parametrize(
    ("blob", "lines"), [(b"", []), (b"\n", [b""]), (b"a", [b"a"]), (b"a\r\n\nb", [b"a\r", b"", b"b"])]
)
def test_a_newline_at_the_end_begins_no_line(blob: bytes, lines: list[bytes]) -> None:
    assert split_lines(blob) == lines
