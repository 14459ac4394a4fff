"""Lines of standard input, or of any file descriptor."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import anyio.to_thread

from streamflow.core.connector import Format, ReadEvent, Replay, SplitOpened
from streamflow.core.formats import Text
from streamflow.core.line_stream import LineStream
from streamflow.core.splits import ONLY, only_position
from streamflow.errors import DefinitionError, SourceError

_BLOCK_BYTES = 1 << 18


@final
@dataclass(frozen=True, slots=True)
class StdinSource:
    """The lines of standard input, until its end.

    What was read and not committed is lost in a crash.  Nothing else may read the same input meanwhile.

    Args:
        format: How lines are decoded; ``str`` by default.
        is_bounded: Whether it ends by itself, as a pipe from ``cat`` does and one from ``tail -f`` does not.
        max_line_bytes: The longest line.
        fd: The file descriptor to read: 0 is standard input.

    Raises:
        DefinitionError: If a number is out of range.
    """

    format: Format = field(default_factory=Text)
    is_bounded: bool = field(default=False, kw_only=True)
    max_line_bytes: int = field(default=1 << 20, kw_only=True)
    fd: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.max_line_bytes < 1 or self.fd < 0:
            raise DefinitionError(
                f"max_line_bytes must be one or more and fd zero or more, got {self.max_line_bytes!r} and {self.fd!r}"
            )

    @property
    def replay(self) -> Replay:
        """At most once: input that has been read is gone."""
        return Replay.AT_MOST_ONCE

    def reader(self) -> _Reader:
        """Return a reader."""
        return _Reader(self)

    def __str__(self) -> str:
        return "lines of standard input" if self.fd == 0 else f"lines of file descriptor {self.fd}"


@final
class _Reader:
    """Waits on the loop until the descriptor can be read, then reads what is there.

    So no thread hangs in a read that nobody can end, and the descriptor stays in blocking mode: that mode belongs to
    the terminal, and the shell and our own output share it.  A regular file can always be read, and is, in a thread.
    """

    def __init__(self, source: StdinSource) -> None:
        self._source = source
        self._lines: LineStream | None = None
        self._is_file = False

    async def open(self, positions: Mapping[str, Any]) -> Sequence[SplitOpened]:
        source = self._source
        row = only_position(str(source), positions)
        try:
            self._is_file = stat.S_ISREG(os.fstat(source.fd).st_mode)
        except OSError as error:
            raise SourceError(str(source), f"cannot be read: {error}", remedy="connect an input to it") from error
        self._lines = LineStream(str(source), source.format, source.max_line_bytes, row)
        return [SplitOpened(ONLY, row)]

    async def read(self, limit: int, wanted: Sequence[str]) -> Sequence[ReadEvent]:
        assert self._lines is not None, "read before open"
        while not self._lines.is_ready:
            try:
                data = await self._read_block()
            except OSError as error:
                raise SourceError(str(self._source), f"cannot be read: {error}") from error
            self._lines.feed(data)
        return self._lines.take(limit)

    async def close(self) -> None:
        self._lines = None  # the descriptor is not ours to close

    async def _read_block(self) -> bytes:
        fd = self._source.fd
        if self._is_file:
            return await anyio.to_thread.run_sync(os.read, fd, _BLOCK_BYTES)
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(fd, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(fd)
        return os.read(fd, _BLOCK_BYTES)
