from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core.connector import Chunk, Lines, SourceFinished, SplitFinished
from streamflow.core.csv_format import Csv
from streamflow.core.formats import Text
from streamflow.core.line_stream import LineStream
from streamflow.core.lines import LineBuffer
from streamflow.core.splits import ONLY
from streamflow.errors import DataError, SourceError

blobs = st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r", b"def\n"]), max_size=30).map(b"".join)


@given(blob=blobs, cuts=st.lists(st.integers(0, 90)), limits=st.lists(st.integers(1, 5), min_size=1))
def test_however_bytes_arrive_and_lines_are_taken_they_are_the_same(
    blob: bytes, cuts: list[int], limits: list[int]
) -> None:
    buffer, taken = LineBuffer(1000), []
    edges = [0, *sorted(cuts), len(blob)]
    for i, (begin, end) in enumerate(pairwise(edges)):
        buffer.feed(blob[begin:end])
        ready, limit = len(buffer), limits[i % len(limits)]
        lines = buffer.take(limit)
        assert lines.count(b"\n") == min(ready, limit)
        assert len(buffer) == ready - lines.count(b"\n")
        taken.append(lines)
    buffer.finish()
    taken.append(buffer.take(1000))
    ended = blob if blob.endswith(b"\n") or not blob else blob + b"\n"
    assert b"".join(taken) == ended
    assert (len(buffer), buffer.unfinished) == (0, b"")


@pytest.mark.parametrize("pieces", [[b"12345\n"], [b"1234", b"5"], [b"1\n", b"12345\n1\n"], [b"1\n1\n12345\n"]])
def test_a_line_that_is_too_long_is_an_error_however_it_arrives(pieces: list[bytes]) -> None:
    buffer = LineBuffer(4)
    for piece in pieces[:-1]:
        buffer.feed(piece)
    with pytest.raises(DataError, match="longer than 4 bytes") as raised:
        buffer.feed(pieces[-1])
    assert "max_line_bytes" in str(raised.value.remedy)


def test_a_line_of_just_the_limit_is_taken() -> None:
    buffer = LineBuffer(4)
    for piece in (b"1234", b"\n1234\n12", b"34\n"):
        buffer.feed(piece)
    assert buffer.take(9) == b"1234\n1234\n1234\n"


def test_a_stream_numbers_its_rows_and_says_when_it_is_over() -> None:
    stream = LineStream("s", Text(), 100, row=7)
    stream.feed(b"a\nb\nc")
    assert stream.take(1) == [Chunk(ONLY, Lines(b"a\n"), 7, 8)]
    assert stream.take(5) == [Chunk(ONLY, Lines(b"b\n"), 8, 9)]
    assert not stream.is_ready
    stream.feed(b"")
    assert stream.is_ready
    assert stream.take(5) == [Chunk(ONLY, Lines(b"c\n"), 9, 10), SplitFinished(ONLY), SourceFinished()]


def test_a_header_is_taken_off_and_looked_at() -> None:
    stream = LineStream("s", Csv(names=["a", "b"]), 100, row=0)
    stream.feed(b"a,")
    stream.feed(b"b\n1,2\n")
    assert stream.take(9) == [Chunk(ONLY, Lines(b"1,2\n"), 0, 1)]
    with pytest.raises(SourceError, match="expected the header 'a,b', got '1,2'"):
        LineStream("s", Csv(names=["a", "b"]), 100, row=0).feed(b"1,2\n")


def test_an_empty_stream_with_a_header_to_come_is_over() -> None:
    stream = LineStream("s", Csv(names=["a", "b"]), 100, row=0)
    stream.feed(b"")
    assert stream.take(9) == [SplitFinished(ONLY), SourceFinished()]
