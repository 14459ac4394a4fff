"""``serve()``: a pipeline as a process that something else supervises: systemd, Kubernetes, a shell.

SIGTERM and SIGINT suspend it: sources stop, what is in flight is finished and committed, and the process can end
with 0.  Whoever sends SIGTERM sends SIGKILL some time later, so suspending has a budget; past it the process says
where it hangs and ends with 1, and the next one goes on from the last checkpoint.  A second signal ends it at once,
with 130.

SIGUSR1 writes where every task and thread stands to standard error, and changes nothing.

Knows nothing of how a run is shown; the command line gives it a watcher for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from streamflow._runtime.run import Watcher, run_to_end
from streamflow.core.timestamp import Duration, duration
from streamflow.pipeline import Pipeline

BUDGET = "25s"
"""Kubernetes kills 30 s after it has asked."""

_STDERR = 2
"""The file descriptor itself: what is written to it in distress must not go through a terminal's live display."""


def serve(
    pipeline: Pipeline, *, new_generation: bool = False, watcher: Watcher | None = None, budget: Duration = BUDGET
) -> None:
    """Run a pipeline until its input ends or a signal suspends it.

    Args:
        pipeline: What to run.
        new_generation: Go on though sinks hold output of another history, or afresh behind a finished one.
        watcher: Called with the running query; may return a coroutine, which is run beside it.
        budget: How long suspending may take.

    Raises:
        DefinitionError: If an event loop is running in this thread already, or the pipeline cannot run.
        StreamflowError: What made it fail.
        SystemExit: With 130, at the second signal.
    """
    seconds = duration(budget, "budget", minimum=1) / 1_000_000

    def limit() -> None:
        # faulthandler's watchdog is a thread that needs no interpreter: it works where Python blocks the loop for ever
        faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)

    try:
        with _stacks_on_request():
            run_to_end(
                pipeline.plan, pipeline.settings, new_generation=new_generation, watcher=watcher, on_signal=limit
            )
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _stacks_on_request() -> Iterator[None]:
    """Write threads (by faulthandler, even if one blocks in C) and then tasks when SIGUSR1 comes."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        with open(_STDERR, "w", encoding="utf-8", closefd=False) as stderr:
            stderr.write(task_stacks())

    before = signal.signal(signal.SIGUSR1, handler)
    faulthandler.register(signal.SIGUSR1, file=_STDERR, all_threads=True, chain=True)
    try:
        yield
    finally:
        faulthandler.unregister(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, before)


def task_stacks() -> str:
    """Return where each task of the running loop stands, through everything it awaits, the innermost call last."""
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return "no event loop is running\n"
    lines: list[str] = []
    for task in sorted(tasks, key=asyncio.Task.get_name):
        lines.append(f"Task {task.get_name()!r} (most recent call last):\n")
        lines += traceback.format_list(traceback.StackSummary.extract(_frames(task)))
    return "".join(lines)


def _frames(task: asyncio.Task[Any]) -> Iterator[tuple[FrameType, int]]:
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            yield frame, frame.f_lineno
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
