"""A queue that the host pushes rows into, from its own loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from streamflow.core.connector import (
    Chunk,
    Format,
    ReadEvent,
    Replay,
    SourceFinished,
    SplitFinished,
    SplitIdle,
    SplitOpened,
)
from streamflow.core.splits import ONLY, only_position
from streamflow.errors import DefinitionError, SourceError

_REMEDY_FULL = "await put(), which waits for room, or raise maxsize"


@final
@dataclass(slots=True)
class _State:
    """What runs behind a queue: rows that wait, and who waits for rows or for room."""

    rows: deque[Any] = field(default_factory=deque)
    is_closed: bool = False
    is_open: bool = False  #: a reader has it
    reader: asyncio.Future[None] | None = None
    putters: deque[asyncio.Future[None]] = field(default_factory=deque)

    def wake_reader(self) -> None:
        if self.reader is not None and not self.reader.done():
            self.reader.set_result(None)

    def wake_putters(self, room: int) -> None:
        while self.putters and room > 0:
            putter = self.putters.popleft()
            if not putter.done():
                putter.set_result(None)
                room -= 1


@final
@dataclass(frozen=True, eq=False)
class QueueSource:
    """A bounded queue in memory: rows in the order they are put.

    What is in the queue and not yet committed is lost in a crash.  Use it from one event loop; from another thread,
    ``loop.call_soon_threadsafe(queue.put_nowait, row)``.

    Args:
        maxsize: How many rows may wait; then ``put`` waits, which is the pipeline's back-pressure on the host.

    Raises:
        DefinitionError: If ``maxsize`` is less than one.

    >>> queue = QueueSource(maxsize=1)
    >>> queue.put_nowait("a")
    >>> len(queue)
    1
    """

    maxsize: int = 10_000
    _state: _State = field(default_factory=_State, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.maxsize < 1:
            raise DefinitionError(f"maxsize must be one or more, got {self.maxsize!r}")

    async def put(self, row: Any) -> None:
        """Put a row, and wait for room first if there is none.

        Raises:
            SourceError: If the queue is closed.
        """
        state = self._state
        while len(state.rows) >= self.maxsize and not state.is_closed:
            putter = asyncio.get_running_loop().create_future()
            state.putters.append(putter)
            try:
                await putter
            except asyncio.CancelledError:
                if putter.done() and not putter.cancelled():  # it was our turn: the next one takes it
                    state.wake_putters(1)
                raise
        self.put_nowait(row)

    def put_nowait(self, row: Any) -> None:
        """Put a row.

        Raises:
            SourceError: If the queue is full or closed.
        """
        state = self._state
        if state.is_closed:
            raise SourceError(str(self), "it is closed, and takes no more rows")
        if len(state.rows) >= self.maxsize:
            raise SourceError(str(self), f"it is full: {self.maxsize} rows wait", remedy=_REMEDY_FULL)
        state.rows.append(row)
        state.wake_reader()

    def close(self) -> None:
        """End the input: when the rows that wait have been read, everything fires."""
        self._state.is_closed = True
        self._state.wake_reader()
        self._state.wake_putters(len(self._state.putters))

    def __len__(self) -> int:
        """The number of rows that wait."""
        return len(self._state.rows)

    def __bool__(self) -> bool:
        return True

    @property
    def replay(self) -> Replay:
        """At most once: the rows are in memory only."""
        return Replay.AT_MOST_ONCE

    @property
    def is_bounded(self) -> bool:
        """No: it ends when the host closes it."""
        return False

    @property
    def format(self) -> Format | None:
        """None: the rows are values already."""
        return None

    def reader(self) -> _Reader:
        """Return a reader; one at a time may be open."""
        return _Reader(self, self._state)

    def __str__(self) -> str:
        return f"queue of {self.maxsize} rows"


@final
class _Reader:
    def __init__(self, source: QueueSource, state: _State) -> None:
        self._source, self._state = source, state
        self._row = 0
        self._is_open = self._is_idle = False

    async def open(self, positions: Mapping[str, Any]) -> Sequence[SplitOpened]:
        self._row = only_position(str(self._source), positions)
        if self._state.is_open:
            raise SourceError(
                str(self._source), "it is being read already", remedy="give each pipeline a queue of its own"
            )
        self._state.is_open = self._is_open = True
        return [SplitOpened(ONLY, self._row)]

    async def read(self, limit: int, wanted: Sequence[str]) -> Sequence[ReadEvent]:
        state = self._state
        while not state.rows and not state.is_closed:
            if not self._is_idle:
                self._is_idle = True
                return [SplitIdle(ONLY)]
            state.reader = asyncio.get_running_loop().create_future()
            await state.reader
        self._is_idle = False
        values = [state.rows.popleft() for _ in range(min(limit, len(state.rows)))]
        state.wake_putters(len(values))
        start, self._row = self._row, self._row + len(values)
        events: list[ReadEvent] = [Chunk(ONLY, values, start, self._row)] if values else []
        if state.is_closed and not state.rows:
            events += [SplitFinished(ONLY), SourceFinished()]
        return events

    async def close(self) -> None:
        if self._is_open:
            self._state.is_open = self._is_open = False
