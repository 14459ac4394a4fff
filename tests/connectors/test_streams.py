"""Sources of bytes that come once: sockets and standard input."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from streamflow.connectors.socket import SocketSource
from streamflow.connectors.stdin import StdinSource
from streamflow.core.connector import Replay
from streamflow.core.csv_format import Csv
from streamflow.core.formats import Text
from streamflow.core.splits import ONLY
from streamflow.errors import DefinitionError, SourceError
from tests.connectors.reading import History, read_all, run

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_from(serve: Serve, **options: Any) -> History:
    """Read what a server sends."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        source = SocketSource("127.0.0.1", port, options.pop("format", Text()), **options)
        return await read_all(source, [2], {ONLY: 4}, until=lambda h: h.is_over)
    finally:
        server.close()
        await server.wait_closed()


def sending(*pieces: bytes, reset: bool = False) -> Serve:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        else:
            writer.close()

    return serve


def test_lines_come_until_the_server_closes_the_connection() -> None:
    history = run(read_from(sending(b"a\nb", b"c\n\nd", b"")))
    assert history.rows == {ONLY: [b"a", b"bc", b"", b"d"]}
    assert history.starts == {ONLY: 4}
    assert history.positions == {ONLY: 8}


def test_a_server_that_sends_nothing_gives_nothing() -> None:
    assert run(read_from(sending())).rows == {}


def test_a_header_is_taken_off() -> None:
    history = run(read_from(sending(b"n\n1\n"), format=Csv(names=["n"])))
    assert history.rows == {ONLY: [b"1"]}


def test_a_connection_that_breaks_is_an_error() -> None:
    with pytest.raises(SourceError, match="the connection broke"):
        run(read_from(sending(b"a\n", reset=True)))


def test_a_line_that_is_too_long_is_an_error() -> None:
    with pytest.raises(SourceError, match="longer than 1,000 bytes") as raised:
        run(read_from(sending(b"x" * 5000), max_line_bytes=1000))
    assert "max_line_bytes" in str(raised.value.remedy)


def test_a_server_that_is_not_there_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        source = SocketSource("127.0.0.1", taken.getsockname()[1], Text())
        with pytest.raises(SourceError, match="cannot connect") as raised:
            run(read_all(source))
    assert raised.value.remedy


def test_a_socket_may_be_closed_where_it_waits() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def body() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        reader = SocketSource("127.0.0.1", server.sockets[0].getsockname()[1], Text()).reader()
        await reader.open({})
        waiting = asyncio.ensure_future(reader.read(1, [ONLY]))
        await asyncio.wait([waiting], timeout=0)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        await reader.close()
        server.close()
        await server.wait_closed()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})  # type: ignore[type-var]  # a task it is

    run(body())


@pytest.mark.parametrize("options", [{"port": 0}, {"port": 70_000}, {"max_line_bytes": 0}, {"connect_timeout": "0s"}])
def test_a_socket_that_cannot_be_is_refused_at_definition(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        SocketSource("localhost", options.pop("port", 1), Text(), **options)


def test_they_say_what_they_are() -> None:
    tcp = SocketSource("localhost", 9, Text())
    assert str(tcp) == "lines from tcp://localhost:9"
    assert str(StdinSource()) == "lines of standard input"
    assert str(StdinSource(fd=3)) == "lines of file descriptor 3"
    for source in (tcp, StdinSource()):
        assert source.replay is Replay.AT_MOST_ONCE
        assert not source.is_bounded


# ------------------------------------------------------------------------------------------------ standard input


def test_a_pipe_is_read_as_it_is_written_until_its_end() -> None:
    async def body() -> list[Any]:
        out, into = os.pipe()
        reader = StdinSource(fd=out).reader()
        await reader.open({ONLY: 1})
        seen = []
        try:
            for piece in (b"a\nb\nc", b"c\n"):
                waiting = asyncio.ensure_future(reader.read(10, [ONLY]))
                await asyncio.wait([waiting], timeout=0)
                assert not waiting.done()
                os.write(into, piece)
                seen += await waiting
            os.write(into, b"d")
            os.close(into)
            seen += await reader.read(10, [ONLY])
        finally:
            await reader.close()
            os.close(out)
        return seen

    seen = run(body())
    assert [getattr(event, "data", event) for event in seen[:3]] == [
        type(seen[0].data)(b"a\nb\n"), type(seen[0].data)(b"cc\n"), type(seen[0].data)(b"d\n"),
    ]  # fmt: skip
    assert [event.start for event in seen[:3]] == [1, 3, 4]
    assert [type(event).__name__ for event in seen[3:]] == ["SplitFinished", "SourceFinished"]


def test_a_regular_file_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\nb" * 3)
    with (tmp_path / "a").open("rb") as file:
        assert run(read_all(StdinSource(fd=file.fileno()))).rows == {ONLY: [b"a", b"ba", b"ba", b"b"]}


def test_a_descriptor_that_is_closed_is_an_error() -> None:
    out, into = os.pipe()
    os.close(into)
    os.close(out)
    with pytest.raises(SourceError, match="cannot be read"):
        run(read_all(StdinSource(fd=out)))


def test_where_it_waits_it_can_be_stopped_and_the_pipe_left_as_it_was() -> None:
    async def body(out: int) -> None:
        reader = StdinSource(fd=out).reader()
        await reader.open({})
        waiting = asyncio.ensure_future(reader.read(1, [ONLY]))
        await asyncio.wait([waiting], timeout=0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await reader.close()

    out, into = os.pipe()
    try:
        run(body(out))
        assert os.get_blocking(out)
        os.write(into, b"still there")
        assert os.read(out, 100) == b"still there"
    finally:
        os.close(out)
        os.close(into)


PROGRAM = """
import asyncio
from streamflow.connectors.stdin import StdinSource
from tests.connectors.reading import read_all
history = asyncio.run(read_all(StdinSource(), until=lambda h: h.is_over))
print(history.rows)
"""


def test_standard_input_itself_is_read() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, input=b"one\ntwo", capture_output=True, timeout=50, check=False
    )
    assert done.stdout.decode() == "{'0': [b'one', b'two']}\n", done.stderr.decode()


@pytest.mark.parametrize("options", [{"max_line_bytes": 0}, {"fd": -1}])
def test_an_input_that_cannot_be_is_refused_at_definition(options: dict[str, int]) -> None:
    with pytest.raises(DefinitionError):
        StdinSource(**options)
