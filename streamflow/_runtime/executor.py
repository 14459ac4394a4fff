"""Where a batch is worked on: on the query's own loop, or beside somebody else's.

``run()`` and ``serve()`` own their loop and work on it, in pieces of about 20 ms, so that signals, commits and sources
have their turn (``Inline``).

``start()`` shares its host's loop (``Shared``): a batch predicted below 0.2 ms is worked on at once; longer ones go in
pieces of about 1 ms, one at a time, to one thread that the query owns, and the thread waits for the loop between
pieces.  So the host's loop is never kept longer than one piece, whatever the load; a thread that ran freely would keep
it for the interpreter's switch interval again and again.

Only one piece is ever worked on, so the engine needs no lock.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol, final

INLINE_SECONDS = 0.0002
PIECE_SECONDS = 0.001
TURN_SECONDS = 0.020
MOST_ROWS = 131_072
FIRST_ROWS = 4_096
"""How many rows the first piece has on a loop of our own, before anything is known of what they cost."""
FEW_ROWS = 256
"""Fewer rows say more of what a batch costs than of what a row does."""


class Executor(Protocol):
    """Works on pieces of a batch."""

    @property
    def piece_rows(self) -> int:
        """How many rows a piece should have."""
        ...

    @property
    def chunk_rows(self) -> int:
        """How many rows a source should give at a time."""
        ...

    async def do(self, work: Callable[[], None], rows: int) -> None:
        """Do the work, which has about ``rows`` rows; return when it is done, or raise what it raised."""
        ...

    def close(self) -> None:
        """Release the thread, if there is one; nothing is being worked on."""
        ...


@final
class Inline:
    """Works on the loop, and lets others run between two pieces; learns what a row costs."""

    def __init__(self) -> None:
        self._seconds_a_row = TURN_SECONDS / FIRST_ROWS

    @property
    def piece_rows(self) -> int:
        """As many rows as take about 20 ms."""
        return max(1, min(MOST_ROWS, int(TURN_SECONDS / self._seconds_a_row)))

    @property
    def chunk_rows(self) -> int:
        """One piece: a run can stop between two chunks, not within one."""
        return self.piece_rows

    async def do(self, work: Callable[[], None], rows: int) -> None:
        """Do the work at once."""
        started = time.perf_counter()
        work()
        spent = time.perf_counter() - started
        if rows >= FEW_ROWS or spent > TURN_SECONDS / 4:
            self._seconds_a_row += 0.5 * (spent / max(rows, 1) - self._seconds_a_row)
        await asyncio.sleep(0)

    def close(self) -> None:
        """Nothing to release."""


@final
class Shared:
    """Works beside a host's loop; learns what a row costs."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seconds_a_row = PIECE_SECONDS / 256
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def piece_rows(self) -> int:
        """As many rows as take about a millisecond."""
        return max(16, min(MOST_ROWS, int(PIECE_SECONDS / self._seconds_a_row)))

    @property
    def chunk_rows(self) -> int:
        """Some pieces: what a chunk costs beside its rows is spread over them."""
        return 8 * self.piece_rows

    async def do(self, work: Callable[[], None], rows: int) -> None:
        """Do the work here if it is short, else on the thread."""
        predicted = rows * self._seconds_a_row
        started = time.perf_counter()
        if predicted < INLINE_SECONDS:
            work()
            await asyncio.sleep(0)
        else:
            await self._hand_over(work)
        if rows:
            spent = (time.perf_counter() - started) / rows
            weight = 0.2 if spent < 8 * self._seconds_a_row else 0.05
            self._seconds_a_row += weight * (spent - self._seconds_a_row)

    async def _hand_over(self, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._serve, args=(loop,), name=f"streamflow {self._name}", daemon=True
            )
            self._thread.start()
        done: asyncio.Future[None] = loop.create_future()
        self._jobs.put((work, done))
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            if not done.done():
                await _settled(done)
            raise

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            try:
                work()
            except BaseException as error:  # noqa: BLE001  # carried over to the loop, where it is raised
                loop.call_soon_threadsafe(_fail, done, error)
            else:
                loop.call_soon_threadsafe(_finish, done)

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _fail(done: asyncio.Future[None], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)


async def _settled(done: asyncio.Future[None]) -> None:
    """Wait for a piece that is being worked on, though we were cancelled: the engine must not be left half way."""
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:  # a second cancel changes nothing: a piece lasts a millisecond
            continue
        except BaseException:  # noqa: BLE001  # what the piece raised is not lost: our cancellation goes on instead
            return
