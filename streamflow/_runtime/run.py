"""``run()`` and ``serve()``: a query on an event loop of its own, in a process that is ours.

Only here are signals, the garbage collector and the loop's make touched.  SIGINT and SIGTERM suspend: exit 0.  A
second one stops at once: exit 130, and the next run recovers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import FrameType
from typing import Any

from streamflow._engine.plan import Plan
from streamflow._runtime.executor import Inline
from streamflow._runtime.query import Query
from streamflow._runtime.settings import Settings
from streamflow.errors import DefinitionError

EXIT_AT_ONCE = 130
Watcher = Callable[[Query], Any]
"""Called with the running query once it has started; may return a coroutine, which is run beside it."""

_is_left_to_command: ContextVar[bool] = ContextVar("streamflow_is_left_to_command", default=False)


@contextlib.contextmanager
def left_to_command() -> Iterator[None]:
    """Let ``run()`` do nothing meanwhile: the command ``streamflow`` loads a program, and is about to run it itself."""
    token = _is_left_to_command.set(True)
    try:
        yield
    finally:
        _is_left_to_command.reset(token)


def run_to_end(
    plan: Plan,
    settings: Settings,
    *,
    new_generation: bool = False,
    watcher: Watcher | None = None,
    on_signal: Callable[[], None] = lambda: None,
) -> None:
    """Run a plan until its input ends or a signal suspends it.

    Args:
        plan: What to run.
        settings: How.
        new_generation: Go on though sinks hold output of another history, or afresh behind a finished one.
        watcher: Is told when it has started.
        on_signal: Called in the handler of the signal itself, though the loop may be busy.

    Raises:
        DefinitionError: If an event loop is running in this thread already.
        StreamflowError: What made it fail.
        SystemExit: With 130, at the second signal.
    """
    if _is_left_to_command.get():
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise DefinitionError(
            "run() owns its event loop and one is running in this thread already",
            remedy="use: async with pipeline.start() as query: await query.wait()",
        )
    query = Query(plan, settings, new_generation=new_generation, executor=Inline())
    with asyncio.Runner(loop_factory=_loop_factory()) as runner, _calm_collector():
        runner.run(_serve(query, watcher, on_signal))


async def _serve(query: Query, watcher: Watcher | None, on_signal: Callable[[], None]) -> None:
    with _signals(query, on_signal) as seen:
        async with query:
            if seen:  # while it was starting
                query.request_stop()
            beside = watcher(query) if watcher is not None else None
            task = asyncio.ensure_future(beside) if asyncio.iscoroutine(beside) else None
            try:
                await query.wait()
            finally:
                if task is not None:
                    task.cancel()
                    await asyncio.wait({task})


@contextlib.contextmanager
def _signals(query: Query, on_signal: Callable[[], None]) -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM suspend the query while it runs; the second one ends the process.  Yield those seen."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        seen.append(number)
        if len(seen) > 1:
            raise SystemExit(EXIT_AT_ONCE)
        if query.is_started:
            query.request_stop()

    def handler(number: int, frame: FrameType | None) -> None:
        on_signal()
        loop.call_soon_threadsafe(stop, number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield seen
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextlib.contextmanager
def _calm_collector() -> Iterator[None]:
    """Keep the garbage collector from walking what was there before the run, and from running too often."""
    threshold = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # used where installed
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
