"""Lines from a TCP server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from streamflow.core.connector import Format, ReadEvent, Replay, SplitOpened
from streamflow.core.line_stream import LineStream
from streamflow.core.splits import ONLY, only_position
from streamflow.core.timestamp import Duration, duration
from streamflow.errors import DefinitionError, SourceError

_BLOCK_BYTES = 1 << 18


@final
@dataclass(frozen=True, slots=True)
class SocketSource:
    """The lines that a TCP server sends, until it closes the connection.

    What was read and not committed is lost in a crash, and so is what the server sends while nobody is connected.  A
    connection that breaks is an error; to connect again would hide what was lost.

    Args:
        host: The server.
        port: Its port.
        format: How lines are decoded.
        is_bounded: Whether the server closes the connection by itself, when it has sent everything.
        connect_timeout: How long to wait for the connection.
        max_line_bytes: The longest line.

    Raises:
        DefinitionError: If a number is out of range.
    """

    host: str
    port: int
    format: Format
    is_bounded: bool = field(default=False, kw_only=True)
    connect_timeout: Duration = field(default="10s", kw_only=True)
    max_line_bytes: int = field(default=1 << 20, kw_only=True)

    def __post_init__(self) -> None:
        duration(self.connect_timeout, "connect_timeout", minimum=1)
        if not 0 < self.port < 1 << 16:
            raise DefinitionError(f"port must be 1 to 65535, got {self.port!r}")
        if self.max_line_bytes < 1:
            raise DefinitionError(f"max_line_bytes must be one or more, got {self.max_line_bytes!r}")

    @property
    def replay(self) -> Replay:
        """At most once: a server sends a line once."""
        return Replay.AT_MOST_ONCE

    def reader(self) -> _Reader:
        """Return a reader; it connects when it is opened."""
        return _Reader(self)

    def __str__(self) -> str:
        return f"lines from tcp://{self.host}:{self.port}"


@final
class _Reader:
    def __init__(self, source: SocketSource) -> None:
        self._source = source
        self._lines: LineStream | None = None
        self._stream: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, positions: Mapping[str, Any]) -> Sequence[SplitOpened]:
        source = self._source
        row = only_position(str(source), positions)
        self._lines = LineStream(str(source), source.format, source.max_line_bytes, row)
        try:
            async with asyncio.timeout(duration(source.connect_timeout) / 1_000_000):
                self._stream, self._writer = await asyncio.open_connection(source.host, source.port, limit=_BLOCK_BYTES)
        except OSError as error:  # a TimeoutError is one
            reason = str(error) or f"no connection within {source.connect_timeout}"
            raise SourceError(str(source), f"cannot connect: {reason}", remedy="see that the server is up") from error
        return [SplitOpened(ONLY, row)]

    async def read(self, limit: int, wanted: Sequence[str]) -> Sequence[ReadEvent]:
        assert self._stream is not None, "read before open"
        assert self._lines is not None, "read before open"
        while not self._lines.is_ready:
            try:
                data = await self._stream.read(_BLOCK_BYTES)
            except OSError as error:
                raise SourceError(
                    str(self._source),
                    f"the connection broke: {error}",
                    remedy="start the pipeline again; what the server sends meanwhile is lost",
                ) from error
            self._lines.feed(data)
        return self._lines.take(limit)

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()
            with contextlib.suppress(OSError):  # what broke the connection is not news
                await writer.wait_closed()
