"""The console: tables for people, lines for programs, and nothing in a row is obeyed."""

from __future__ import annotations

import io
import os
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from streamflow.connectors.console import ConsoleSink
from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Guarantee, Sink, Token
from streamflow.core.folding import Windowed
from streamflow.core.rows import Rows
from streamflow.core.stamps import DELETE, UPSERT, Stamps
from streamflow.errors import DefinitionError, InternalError, SinkError


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def rows(*values: Any) -> Rows:
    return Rows(Stamps.at(0, 0, len(values)), list(values))


def changes(*entries: tuple[int, Any, Any]) -> Rows:
    kind = np.array([kind for kind, _, _ in entries], dtype=np.int8)
    stamps = Stamps.at(0, 0, len(entries)).with_kind(kind)
    return Rows(stamps, [value for _, _, value in entries], [key for _, key, _ in entries])


async def shown(batch: Batch, stream: io.TextIOBase | None = None, limit: int = 20) -> str:
    stream = io.StringIO() if stream is None else stream
    writer = ConsoleSink(limit, stream).writer("p", "alerts")  # type: ignore[arg-type]  # it is a text stream
    assert await writer.open() is None
    await writer.write(batch)
    await writer.close()
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_it_shows_rows_at_once_and_takes_upserts() -> None:
    sink = ConsoleSink()
    assert isinstance(sink, Sink)
    assert (sink.guarantee, sink.takes_upserts, str(sink)) == (Guarantee.AT_ONCE, True, "console")
    with pytest.raises(DefinitionError, match="limit"):
        ConsoleSink(limit=0)


async def test_a_row_is_a_line_of_its_fields() -> None:
    batch = rows({"user": "alice b", "n": 3}, "hello world", 7, Windowed("a", 0, 60_000_000, {"n": 1}))
    assert await shown(batch) == (
        'user="alice b" n=3\n'
        "hello world\n"
        "7\n"
        'key=a window_start="1970-01-01 00:00:00+00:00" window_end="1970-01-01 00:01:00+00:00" n=1\n'
    )


async def test_columns_are_shown_like_rows() -> None:
    frame = pl.DataFrame({"at": [datetime(2024, 5, 1, tzinfo=UTC)], "n": [None]})
    assert await shown(Columns(Stamps.at(0, 0, 1), frame)) == 'at="2024-05-01 00:00:00+00:00" n=None\n'


async def test_an_upsert_edge_says_what_each_row_does() -> None:
    assert await shown(changes((UPSERT, ("a",), 1), (DELETE, ("b",), None))) == "+ key=a value=1\n- key=b value=None\n"


async def test_only_so_many_rows_of_a_batch_are_shown() -> None:
    assert await shown(rows(*range(5)), limit=3) == "0\n1\n2\n... and 2 more\n"
    assert await shown(rows(*range(3)), limit=3) == "0\n1\n2\n"
    assert await shown(rows()) == ""


async def test_a_terminal_is_shown_a_table() -> None:
    text = await shown(rows(*({"user": "alice", "n": n} for n in range(5))), Terminal(), limit=2)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert [line.strip() for line in plain.splitlines()] == [
        "alerts",
        "╭───────┬───╮",
        "│ user  │ n │",
        "├───────┼───┤",
        "│ alice │ 0 │",
        "│ alice │ 1 │",
        "╰───────┴───╯",
        "... and 3 more",
    ]


async def test_a_table_of_changes_says_what_each_row_does() -> None:
    text = await shown(changes((UPSERT, "a", {"n": 1}), (DELETE, "b", {"x": "y" * 500})), Terminal())
    assert "+" in text
    assert "y" * 500 not in text.replace("\n", "")


HOSTILE = "\x1b[2J\r\n\u202e\ud800\x85[red]x[/red][/]"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
async def test_what_a_row_holds_is_shown_and_not_obeyed(stream: type[io.StringIO]) -> None:
    text = await shown(rows({HOSTILE: HOSTILE}, HOSTILE), stream())
    assert not {"\x1b[2J", "\r", "\u202e", "\ud800", "\x85"} & set(re.split(r"(\x1b\[2J|.)", text))
    if stream is io.StringIO:
        assert text.count("\n") == 2
        assert "[red]x[/red][/]" in text


class Unprintable:
    def __str__(self) -> str:
        raise LookupError


async def test_a_value_that_cannot_be_shown_does_not_stop_the_others() -> None:
    batch = rows({"a": Unprintable()}, {1: 2}, {"a": 1})
    assert await shown(batch) == 'a="<Unprintable that cannot be shown: LookupError>"\n{1: 2}\na=1\n'


async def test_what_the_stream_cannot_encode_is_escaped() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    writer = ConsoleSink(stream=stream).writer("p", "out")
    await writer.write(rows("caf\u00e9"))
    assert buffer.getvalue() == b"caf\\xe9\n"


async def test_standard_output_is_looked_up_when_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    await ConsoleSink().writer("p", "out").write(rows(1))
    assert capsys.readouterr().out == "1\n"


async def test_a_pipe_that_nobody_reads_is_a_sink_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    with pytest.raises(SinkError, match="nobody reads"):
        await ConsoleSink(stream=stream).writer("p", "out").write(rows(1))
    with pytest.raises(BrokenPipeError):
        stream.close()


async def test_a_closed_stream_is_a_sink_error() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(SinkError, match="closed"):
        await ConsoleSink(stream=stream).writer("p", "out").write(rows(1))


async def test_it_cannot_be_staged() -> None:
    writer = ConsoleSink().writer("p", "out")
    with pytest.raises(InternalError, match="asked to stage 1"):
        writer.encode(rows(1))
    with pytest.raises(InternalError, match="given 1 staged"):
        await writer.apply([b""], Token(1, 1))
