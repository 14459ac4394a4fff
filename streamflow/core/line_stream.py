"""The rows of one stream of bytes that cannot be read twice, such as a socket: bytes to chunks, without the I/O."""

from __future__ import annotations

from typing import final

from streamflow.core.connector import Chunk, Format, Lines, ReadEvent, SourceFinished, SplitFinished
from streamflow.core.formats import header_of
from streamflow.core.lines import LineBuffer
from streamflow.core.splits import ONLY
from streamflow.errors import DataError, SourceError


@final
class LineStream:
    """Takes bytes as they arrive and gives the events of a reader.

    Args:
        source: The source as its errors name it.
        format: How lines are decoded; one with a header has the first line taken off and shown to it.
        max_line_bytes: The longest line.
        row: The identity of the first row.
    """

    def __init__(self, source: str, format: Format, max_line_bytes: int, row: int) -> None:
        self._source = source
        self._row = row
        self._buffer = LineBuffer(max_line_bytes)
        self._header = header_of(format)
        self._is_over = False

    @property
    def is_ready(self) -> bool:
        """Whether ``take`` gives something."""
        return len(self._buffer) > 0 or self._is_over

    def feed(self, data: bytes) -> None:
        """Take what has arrived; nothing is the end of the stream.

        Raises:
            SourceError: If a line is too long, or the first one is not the header declared.
        """
        try:
            if data:
                self._buffer.feed(data)
            else:
                self._is_over = True
                self._buffer.finish()
        except DataError as error:
            raise SourceError(self._source, str(error), remedy=error.remedy) from error
        if self._header is not None and len(self._buffer):
            header = self._buffer.take(1).removesuffix(b"\n")
            if (problem := self._header.header_problem(header)) is not None:
                raise SourceError(self._source, f"it does not begin as declared: {problem}", remedy=_HEADER_REMEDY)
            self._header = None

    def take(self, limit: int) -> list[ReadEvent]:
        """Return the next rows, at most ``limit``, and behind the last ones that it is over."""
        events: list[ReadEvent] = []
        if count := min(limit, len(self._buffer)):
            start, self._row = self._row, self._row + count
            events.append(Chunk(ONLY, Lines(self._buffer.take(count)), start, self._row))
        if self._is_over and not len(self._buffer):
            events += [SplitFinished(ONLY), SourceFinished()]
        return events


_HEADER_REMEDY = "give the format names in the order of the lines, or header=False if there is no header"
