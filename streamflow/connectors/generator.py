"""Rows from an async generator: a web socket, a client library, whatever can be awaited."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import Any, final

from streamflow.core.connector import (
    Chunk,
    Format,
    ReadEvent,
    Replay,
    SourceFinished,
    SplitFinished,
    SplitOpened,
)
from streamflow.core.splits import ONLY, only_position, takes_start
from streamflow.errors import DefinitionError, SourceError

logger = logging.getLogger("streamflow.connectors.generator")

_BUFFER_ROWS = 4096
"""Rows gathered ahead of the pipeline; a generator that is further ahead waits."""
_TURN_SECONDS = 0.001
"""How long a generator that never has to wait may keep the loop."""


@final
@dataclass(frozen=True, slots=True)
class GeneratorSource:
    """The rows of an async generator, in its order.

    One task drives the generator and gathers the rows that are ready, so that a chunk is one row when it is quiet and
    thousands under load.  The generator is never timed out; when the pipeline stops it is cancelled where it waits,
    once, and its ``finally`` runs in the task that iterated it.

    Args:
        factory: A function that returns the async generator (or any async or plain iterable).  One that takes the row
            to start at, and gives the same rows each time from there on, can be replayed after a crash; with one that
            takes nothing, rows read and not committed are lost in a crash.
        is_bounded: Whether it ends by itself.

    Raises:
        DefinitionError: If it is not such a function.
    """

    factory: Callable[..., AsyncIterable[Any] | Iterable[Any]]
    is_bounded: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not callable(self.factory):
            raise DefinitionError(
                f"expected a function that returns an async generator, got {type(self.factory).__name__}",
                remedy="give the function itself, without calling it",
            )
        if inspect.iscoroutinefunction(self.factory):
            raise DefinitionError("expected a function that yields rows, got one that returns", remedy="yield each row")
        takes_start(self.factory)

    @property
    def replay(self) -> Replay:
        """Replayable if the function takes the row to start at."""
        return Replay.REPLAYABLE if takes_start(self.factory) else Replay.AT_MOST_ONCE

    @property
    def format(self) -> Format | None:
        """None: the rows are values already."""
        return None

    def reader(self) -> _Reader:
        """Return a reader; the function is not called before it is opened."""
        return _Reader(self)

    def __str__(self) -> str:
        return f"rows of {getattr(self.factory, '__qualname__', type(self.factory).__name__)}()"


@final
class _Reader:
    """A reader, and the task that drives the generator.

    The task fills the buffer and the reader empties it; ``_ready`` says that there is something in it or that the task
    has ended, ``_space`` that there is room.
    """

    def __init__(self, source: GeneratorSource) -> None:
        self._source = source
        self._row = 0
        self._buffer: deque[Any] = deque()
        self._ready, self._space = asyncio.Event(), asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._turn_ends = 0.0
        self._is_closing = False
        self._is_reported = False

    async def open(self, positions: Mapping[str, Any]) -> Sequence[SplitOpened]:
        self._row = only_position(str(self._source), positions)
        self._pump = asyncio.create_task(self._drive(self._row), name=f"streamflow source: {self._source}")
        self._pump.add_done_callback(lambda _: self._ready.set())
        return [SplitOpened(ONLY, self._row)]

    async def read(self, limit: int, wanted: Sequence[str]) -> Sequence[ReadEvent]:
        assert self._pump is not None, "read before open"
        while not self._buffer and not self._pump.done():
            self._ready.clear()
            await self._ready.wait()
        if not self._buffer:
            self._require_success(self._pump)
            return [SplitFinished(ONLY), SourceFinished()]
        buffer = self._buffer
        values = [buffer.popleft() for _ in range(min(limit, len(buffer)))]
        self._space.set()
        start, self._row = self._row, self._row + len(values)
        return [Chunk(ONLY, values, start, self._row)]

    async def close(self) -> None:
        pump, self._pump = self._pump, None
        if pump is None:
            return
        self._is_closing = True
        pump.cancel()
        await asyncio.wait([pump])
        if not pump.cancelled() and (error := pump.exception()) is not None and not self._is_reported:
            logger.warning("source %s failed while it was closed", self._source, exc_info=error)

    def _require_success(self, pump: asyncio.Task[None]) -> None:
        """Raise what the generator raised; it has ended."""
        error = asyncio.CancelledError() if pump.cancelled() else pump.exception()
        if error is None:
            return
        self._is_reported = True
        raise SourceError(
            str(self._source), f"its generator failed after row {self._row}: {type(error).__name__}: {error}"
        ) from error

    async def _drive(self, start: int) -> None:
        factory = self._source.factory
        rows = _awaitable(factory(start) if takes_start(factory) else factory())
        buffer = self._buffer
        try:
            async for row in rows:
                buffer.append(row)
                if len(buffer) == 1:
                    self._ready.set()
                if len(buffer) % 16 == 0:
                    await self._give_way()
                if self._is_closing:  # the generator has swallowed its cancellation
                    break
        finally:
            if isinstance(rows, AsyncGenerator):
                await rows.aclose()

    async def _give_way(self) -> None:
        """Wait for room in the buffer, or let the loop have its turn if the generator has had its own."""
        loop = asyncio.get_running_loop()
        if len(self._buffer) >= _BUFFER_ROWS:
            self._space.clear()
            await self._space.wait()
        elif loop.time() >= self._turn_ends:
            await asyncio.sleep(0)
        else:
            return
        self._turn_ends = loop.time() + _TURN_SECONDS


def _awaitable(rows: object) -> AsyncIterable[Any]:
    if isinstance(rows, AsyncIterable):
        return rows
    if isinstance(rows, Iterable):
        return _one_by_one(rows)
    if inspect.iscoroutine(rows):
        rows.close()
    raise TypeError(f"expected an async generator from the function, got {type(rows).__name__}")


async def _one_by_one(rows: Iterable[Any]) -> AsyncIterator[Any]:
    try:
        for row in rows:
            yield row
    finally:
        if isinstance(rows, Generator):
            rows.close()
