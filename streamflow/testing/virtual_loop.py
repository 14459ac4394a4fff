"""Virtual time for whatever runs on asyncio: a loop whose clock jumps to the next timer when nothing is left to do.

An hour of ``micro_batch("1s")`` passes in milliseconds, in the same order each time.  The clock moves only between two
turns of the loop, when no task can go on and no thread is at work; while one is, the loop waits for it and time stands
still.  So a checkpoint or the read of a file takes no time at all, and no time-out strikes while it lasts.

Counted as threads at work: ``loop.run_in_executor``, ``asyncio.to_thread`` and ``anyio.to_thread``.  A thread of your
own that calls ``call_soon_threadsafe`` is not: time may jump while it works.  One that waits for ever, on standard
input say, stops time for ever.

Knows of pipelines only how to start one.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import datetime
from typing import Any, TypeVar, TypeVarTuple, final

from anyio._backends import _asyncio as anyio_threads

from streamflow._runtime.clock import CLOCK
from streamflow._runtime.executor import Inline
from streamflow._runtime.query import Query
from streamflow.errors import StreamflowError
from streamflow.pipeline import Pipeline
from streamflow.testing.clock import VirtualClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PATIENCE_SECONDS = 10.0
"""How long, really, a loop without timers and without threads at work waits for somebody else to wake it.

Long enough for a thread of the test's own, short enough to be told what hangs.
"""


def run_virtual(main: Coroutine[Any, Any, T], *, clock: VirtualClock | None = None, start: datetime | int = 0) -> T:
    """Return what a coroutine returns, run in virtual time on a loop of its own.

    Pipelines started in it read the virtual clock too.

    Args:
        main: The coroutine.
        clock: The clock to follow, where the test wants to look at it; its ``advance`` fires timers.
        start: What time it is at first, without a ``clock``.

    Raises:
        StreamflowError: If nothing can go on any more: no task is ready, no timer is set and no thread is at work.

    >>> async def body() -> float:
    ...     await asyncio.sleep(3600)
    ...     return asyncio.get_running_loop().time()
    >>> run_virtual(body())
    3600.0
    """
    followed = clock or VirtualClock(start)
    token = CLOCK.set(followed)  # the tasks of the loop copy this context
    try:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(followed)) as runner:
            return runner.run(_watched(main))
    finally:
        CLOCK.reset(token)


def start(pipeline: Pipeline, *, new_generation: bool = False) -> Query:
    """Return what ``pipeline.start()`` returns, but with every batch worked on in the loop itself.

    ``pipeline.start()`` hands larger batches to a thread, and in virtual time it would show how fast that is.
    """
    return Query(pipeline.plan, pipeline.settings, new_generation=new_generation, executor=Inline())


async def _watched(main: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "run_virtual made it"
    # anyio keeps its threads in two variables of the loop that have no public name; a test notices if they change
    anyio_threads._threadpool_workers.set(loop.workers)  # noqa: SLF001
    anyio_threads._threadpool_idle_workers.set(loop.idle_workers)  # noqa: SLF001
    return await main


@final
class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that follows a ``VirtualClock``; ``time()`` is seconds since the loop was made."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.workers: set[anyio_threads.WorkerThread] = set()
        self.idle_workers: deque[anyio_threads.WorkerThread] = deque()
        self._began = clock.now()
        self._jobs = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return (self.clock.now() - self._began) / 1_000_000

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run a function in a thread; virtual time stands still until it has returned."""
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._job_done)
        return future

    @property
    def has_threads_at_work(self) -> bool:
        """Whether a thread has a job whose end this loop waits for."""
        return self._jobs > 0 or len(self.workers) > len(self.idle_workers)

    def jump(self) -> None:
        """Move the clock to the next timer: to the first microsecond that is not before it."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # of the base class: the heap
        when = timers[0].when()
        micros = math.ceil(when * 1_000_000)
        while micros / 1_000_000 < when:  # the product was rounded down
            micros += 1
        self.clock.move_to(max(self.clock.now(), self._began + micros))

    def describe(self) -> str:
        """Say which tasks wait."""
        waiting = sorted(task.get_name() for task in asyncio.all_tasks(self))
        return ", ".join(waiting) or "no task"

    def _job_done(self, _: asyncio.Future[Any]) -> None:
        self._jobs -= 1


@final
class _JumpingSelector(selectors.DefaultSelector):
    """A selector that, asked to wait for a timer, moves the clock instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now; wait only for threads, or where nothing else could ever happen."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._loop.has_threads_at_work:
            return super().select(None)
        if timeout is not None:
            self._loop.jump()
            return []
        ready = super().select(PATIENCE_SECONDS)
        if not ready:
            raise StreamflowError(
                "virtual time stands still for ever: no task is ready, no timer is set, and these wait:"
                f" {self._loop.describe()}",
                remedy="something they wait for never happens; set a time-out with asyncio.timeout() to see where",
            )
        return ready
