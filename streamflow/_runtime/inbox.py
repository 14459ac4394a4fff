"""The inbox: what sources have read and the engine has not taken; bounded, and so the back-pressure.

One task per source puts, the query's loop takes; both are on one event loop, so nothing is locked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import polars as pl

from streamflow.core.connector import Chunk, Lines, Payload, ReadEvent, Records, SourceFinished

MAX_BYTES = 64 << 20


@final
@dataclass(slots=True)
class Lane:
    """What one source has read."""

    events: deque[tuple[float, ReadEvent]] = field(default_factory=deque)
    rows: int = 0
    bytes: int = 0
    space: asyncio.Event = field(default_factory=asyncio.Event)


@final
class Inbox:
    """What all sources of a query have read; ``wake`` is set whenever the loop has something to look at."""

    def __init__(self, sources: Iterable[str]) -> None:
        self.wake = asyncio.Event()
        self.is_final = False
        """Whether a source has said that it is over: there is no point in waiting for more of it."""
        self._lanes = {name: Lane() for name in sources}

    def put(self, source: str, events: Sequence[ReadEvent], now: float) -> None:
        """Add what a source has read at ``now`` (the loop's time)."""
        lane = self._lanes[source]
        for event in events:
            lane.events.append((now, event))
            self.is_final = self.is_final or isinstance(event, SourceFinished)
            if isinstance(event, Chunk):
                lane.rows += len(event)
                lane.bytes += weight(event)
        if events:
            self.wake.set()

    async def wait_for_space(self, source: str, max_rows: int) -> None:
        """Return when the source may read on: when fewer than ``max_rows`` rows and ``MAX_BYTES`` bytes wait."""
        lane = self._lanes[source]
        while lane.rows >= max_rows or lane.bytes >= MAX_BYTES:
            lane.space.clear()
            await lane.space.wait()

    def discard(self, source: str) -> None:
        """Forget what a source has read and nobody has taken: it can be read again."""
        self._lanes[source] = Lane()

    def take(self, source: str, max_rows: int) -> tuple[list[ReadEvent], float]:
        """Return what a source has read, oldest first, up to about ``max_rows`` rows, and when the oldest came."""
        lane = self._lanes[source]
        taken: list[ReadEvent] = []
        since = lane.events[0][0] if lane.events else 0.0
        rows = 0
        while lane.events and rows < max_rows:
            _, event = lane.events.popleft()
            taken.append(event)
            if isinstance(event, Chunk):
                rows += len(event)
                lane.rows -= len(event)
                lane.bytes -= weight(event)
        lane.space.set()
        return taken, since

    def rows(self, source: str) -> int:
        """Return how many rows of a source wait."""
        return self._lanes[source].rows

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not any(lane.events for lane in self._lanes.values())


def weight(chunk: Chunk) -> int:
    """Return about how many bytes a chunk holds."""
    match chunk.data:
        case Lines(blob):
            return len(blob)
        case Records(values):
            return sum(map(len, values))
        case pl.DataFrame() as frame:
            return int(frame.estimated_size())
        case values:
            return _OBJECT * len(values)


_OBJECT = 256
"""What a Python value of a row weighs, at a guess."""


def grouped(chunks: Sequence[Chunk], rows: Callable[[], int]) -> Iterator[list[Chunk]]:
    """Yield chunks in groups of at most ``rows()`` rows; a larger chunk is a group of its own."""
    at = 0
    while at < len(chunks):
        group, size, limit = [chunks[at]], len(chunks[at]), rows()
        at += 1
        while at < len(chunks) and size + len(chunks[at]) <= limit:
            group.append(chunks[at])
            size += len(chunks[at])
            at += 1
        yield group


def pieces(chunk: Chunk, rows: Callable[[], int]) -> Iterator[Chunk]:
    """Yield a chunk in pieces; only all of them together reach the chunk's resume position.

    Args:
        chunk: The chunk.
        rows: Asked before each piece how many rows it should have.
    """
    total, data = len(chunk), chunk.data
    if total <= rows():
        yield chunk
        return
    ends = _line_ends(data.blob) if isinstance(data, Lines) else None
    start = 0
    while start < total:
        stop = min(start + rows(), total)
        piece: Payload
        if isinstance(data, Lines):
            assert ends is not None
            piece = Lines(data.blob[ends[start] : ends[stop]])
        elif isinstance(data, Records):
            piece = Records(data.values[start:stop])
        elif isinstance(data, pl.DataFrame):
            piece = data.slice(start, stop - start)
        else:
            piece = data[start:stop]
        yield Chunk(chunk.split, piece, chunk.start + start, chunk.resume)
        start = stop


def _line_ends(blob: bytes) -> list[int]:
    """Return where each line begins, and where the last one ends."""
    newlines = np.flatnonzero(np.frombuffer(blob, dtype=np.uint8) == ord("\n")) + 1
    return [0, *newlines.tolist()]
