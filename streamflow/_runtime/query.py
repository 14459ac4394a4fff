"""``Query``: a pipeline that runs inside somebody's event loop.

It is a class and not a generator, and holds no cancel scope across a ``yield``: a ``break`` in the host's body, a
fixture that ends in another task, a cancellation at any await leave nothing behind.  A supervisor task owns all
others; when the pipeline fails, it cancels the body as ``asyncio.timeout`` does, and leaving the body raises the
pipeline's error.

Touches neither signals, nor gc, nor any setting of the loop.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self, final

from streamflow._engine.plan import Plan
from streamflow._runtime.checkpoint import Checkpoints
from streamflow._runtime.clock import CLOCK
from streamflow._runtime.commit import Identity
from streamflow._runtime.epochs import fingerprints
from streamflow._runtime.executor import Executor, Shared
from streamflow._runtime.lease import Lease
from streamflow._runtime.progress import Progress
from streamflow._runtime.runner import Runner
from streamflow._runtime.settings import Settings
from streamflow._runtime.store import LocalStore
from streamflow.errors import StreamflowError


@final
class Query:
    """A running pipeline: enter it with ``async with``.

    Leaving the body suspends it (``stop()``); when the input has ended, ``wait()`` returns.  If it fails, the body is
    cancelled at once and leaving it raises the error.
    """

    def __init__(
        self, plan: Plan, settings: Settings, *, new_generation: bool = False, executor: Executor | None = None
    ) -> None:
        settings.check(plan)
        self._plan = plan
        self._settings = settings
        self._new_generation = new_generation
        self._executor = executor or Shared(plan.name)
        self._runner: Runner | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._host: asyncio.Task[object] | None = None
        self._has_cancelled_host = False
        self._is_leaving = False

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self._plan.name

    @property
    def restored(self) -> int | None:
        """The number of the checkpoint it went on from; None where it started afresh."""
        return self._running().restored

    @property
    def was_finished(self) -> bool:
        """Whether that checkpoint was of a finished run, so that nothing was read."""
        return self._running().was_finished

    @property
    def is_done(self) -> bool:
        """Whether it has ended, by itself, by ``stop`` or by a failure."""
        return self._supervisor is not None and self._supervisor.done()

    @property
    def is_started(self) -> bool:
        """Whether it has been entered and can be asked to stop."""
        return self._runner is not None

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop, or has stopped."""
        return self._running().is_stopping

    def progress(self) -> Progress:
        """Return what it has done by now; O(steps)."""
        return self._running().progress()

    async def wait(self) -> None:
        """Wait until the input has ended and all is written.

        Raises:
            StreamflowError: What made it fail.
        """
        await asyncio.shield(self._supervised())

    async def stop(self, *, finish: bool = False) -> None:
        """Suspend: read no more, finish what is in flight, commit.  With ``finish``, end: everything fires first (R5).

        Raises:
            StreamflowError: What made it fail.
        """
        self._is_leaving = True
        self._running().stop(finish=finish)
        await asyncio.shield(self._supervised())

    def request_stop(self, *, finish: bool = False) -> None:
        """Ask it to suspend, or to end, and return at once."""
        self._running().stop(finish=finish)

    async def checkpoint(self) -> int:
        """Commit an epoch of all that has been worked on, and return its number when its output is applied.

        Raises:
            StreamflowError: If the pipeline has no checkpoint, or failed.
        """
        request = self._running().checkpoint()
        waited: set[asyncio.Future[Any]] = {request, self._supervised()}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not request.done() or request.cancelled():  # the run gives up what it did not get to
            await self.wait()
            raise StreamflowError(f"pipeline {self.name!r} ended before the checkpoint was committed")
        return request.result()

    async def __aenter__(self) -> Self:
        """Start it; return when every source and sink is open."""
        if self._supervisor is not None:
            raise StreamflowError("a query is entered once", remedy="call start() again for another run")
        await asyncio.to_thread(_heavy_imports)
        store = None if self._settings.checkpoint is None else LocalStore(self._settings.checkpoint)
        identity = Identity(self._plan.name, [n.name for n in self._plan.sinks], fingerprints(self._plan))
        checkpoints = None if store is None else Checkpoints(store, identity)
        lease = None if self._settings.checkpoint is None else Lease(self._settings.checkpoint)
        self._runner = Runner(
            self._plan, self._settings, self._executor, CLOCK.get(), checkpoints=checkpoints, lease=lease
        )
        started = asyncio.Event()
        self._supervisor = asyncio.create_task(
            self._runner.run(started.set, new_generation=self._new_generation), name=f"streamflow {self.name}"
        )
        opening = asyncio.create_task(started.wait(), name=f"streamflow {self.name}: start")
        try:
            await asyncio.wait({opening, self._supervisor}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _end(self._supervisor)
            raise
        finally:
            opening.cancel()
        if self._supervisor.done():
            self._supervisor.result()
        self._host = asyncio.current_task()
        self._supervisor.add_done_callback(self._tell_host)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Suspend it, and wait until everything is released."""
        self._is_leaving = True
        supervisor = self._supervised()
        if error is None:
            self._running().stop()
            await self._settled(supervisor)
        else:
            await _end(supervisor)
        failure = None if supervisor.cancelled() else supervisor.exception()
        if failure is not None:
            if self._has_cancelled_host and isinstance(error, asyncio.CancelledError) and self._host is not None:
                self._host.uncancel()
            if error is None or isinstance(error, asyncio.CancelledError):
                raise failure

    async def _settled(self, supervisor: asyncio.Task[None]) -> None:
        try:
            await asyncio.wait({supervisor})
        except asyncio.CancelledError:
            await _end(supervisor)
            raise

    def _tell_host(self, supervisor: asyncio.Task[None]) -> None:
        failed = not supervisor.cancelled() and supervisor.exception() is not None
        if failed and not self._is_leaving and self._host is not None:
            self._has_cancelled_host = True
            self._host.cancel(f"pipeline {self.name!r} failed")

    def _running(self) -> Runner:
        if self._runner is None:
            raise StreamflowError("the query has not been entered", remedy="use: async with pipeline.start() as query")
        return self._runner

    def _supervised(self) -> asyncio.Task[None]:
        self._running()
        assert self._supervisor is not None
        return self._supervisor


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task once and wait until it has ended, even if we are cancelled again."""
    task.cancel()
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:  # its clean-up is short and must not be left half done
            continue


def _heavy_imports() -> None:
    import numpy as np  # on the loop they would freeze the host for a third of a second
    import polars as pl  # as above

    pl.DataFrame({"a": np.zeros(1)}).select(pl.col("a").sum())
