"""Epochs: when one is cut, and its way through commit and sinks.

An epoch is cut between two batches, which takes a copy of what changed; committing and applying it goes on in a task
of its own, one epoch at a time, while the next batches are worked on.  Output is applied only behind its commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, final

import anyio.to_thread

from streamflow._engine.graph import Graph
from streamflow._engine.plan import Plan
from streamflow._runtime.checkpoint import Checkpoints, EpochData, Recovered
from streamflow._runtime.lease import LEASE_TIMEOUT, Lease
from streamflow._runtime.outbox import Outbox
from streamflow._runtime.progress import Meter
from streamflow._runtime.settings import Settings
from streamflow.core.connector import Guarantee
from streamflow.errors import CheckpointError, StoreFullError


@final
class Epochs:
    """The epochs of one run.

    Args:
        checkpoints: Where they are committed.
        lease: What tells a second worker that there is one; None where nobody else can see the store.
        graph: Whose state they hold.
        outbox: Whose staged output they hold.
        settings: How often one is cut.
        meter: What is told of them.
        wake: Set when the loop should look again.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        lease: Lease | None,
        graph: Graph,
        outbox: Outbox,
        *,
        settings: Settings,
        meter: Meter,
        wake: asyncio.Event,
    ) -> None:
        self.is_dirty = False
        """Whether something has changed since the last cut."""
        self._checkpoints = checkpoints
        self._graph = graph
        self._outbox = outbox
        self._settings = settings
        self._meter = meter
        self._wake = wake
        self._commit: asyncio.Task[None] | None = None
        self._requests: list[asyncio.Future[int]] = []
        self._last_cut = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._lease = lease
        self._beat: asyncio.Task[None] | None = None

    async def recover(self, plan: Plan, now: int, *, new_generation: bool) -> Recovered | None:
        """Give the graph the state of the newest checkpoint, and return what it is; None where there is none.

        Raises:
            CheckpointError: If it cannot be read, or its state belongs to other definitions than the plan's.
        """
        if self._lease is not None:
            await anyio.to_thread.run_sync(self._lease.acquire)
            self._beat = asyncio.create_task(self._renew(self._lease), name="streamflow lease")
            self._beat.add_done_callback(lambda _: self._wake.set())
        found = await self._checkpoints.recover(new_generation=new_generation)
        if found is None or (found.finished and new_generation):
            return None
        _require_same_steps(plan, found.plan)
        self._graph.restore(found.snapshots, found.positions, now)
        return found

    async def begin(self, *, is_fresh: bool, new_generation: bool, finished: bool) -> None:
        """Take over: commit the start positions, then bring every sink to where the history is.

        Raises:
            CheckpointError: If a sink has output that this history does not know: it belongs to another one.
        """
        data = EpochData(
            snapshots=self._graph.snapshot(full=is_fresh),
            positions=self._graph.positions(),
            full=is_fresh,
            finished=finished,
        )
        await self._checkpoints.begin(data, new_generation=new_generation)
        for name, token in (await self._outbox.open()).items():
            keeps = self._outbox.shelves[name].node.sink.guarantee is Guarantee.EXACTLY_ONCE
            for due in await self._checkpoints.due(name, token, keeps_token=keeps):
                await self._outbox.apply({name: await self._checkpoints.staged(name, due)}, due)
                self._checkpoints.applied(name, due)
        self._last_cut = asyncio.get_running_loop().time()

    def request(self) -> asyncio.Future[int]:
        """Return a future of the number of an epoch that holds all that has been worked on by now."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._requests.append(future)
        self._wake.set()
        return future

    @property
    def has_work(self) -> bool:
        """Whether somebody waits for an epoch, or the last one failed."""
        return bool(self._requests) or _has_failed(self._commit) or _has_failed(self._beat)

    async def cut_if_due(self) -> None:
        """Cut an epoch where its time has come; wait for the last one where too much output is staged.

        Raises:
            StreamflowError: What made an earlier epoch fail.
        """
        loop = asyncio.get_running_loop()
        if self._beat is not None and _has_failed(self._beat):
            self._beat.result()
        if self.has_work or self._outbox.staged_bytes > self._settings.max_staged_bytes:
            await self.settle()
        remaining = self._last_cut + self._settings.epoch / 1_000_000 - loop.time()
        if self._commit is not None and not self._commit.done():
            return
        if self._requests or (self.is_dirty and remaining <= 0):
            await self.settle()
            self._cut(finished=False)
        elif self.is_dirty and self._timer is None:
            self._timer = loop.call_later(remaining, self._ring)

    async def finish(self, *, finished: bool) -> None:
        """Commit and apply what is left; a last, empty epoch notes that the sinks have it all."""
        await self.settle()
        self._cut(finished=finished)
        await self.settle()
        if self._checkpoints.last_staged:
            self._cut(finished=finished)
            await self.settle()

    async def commit_now(self) -> None:
        """Cut an epoch and wait until it is applied."""
        await self.settle()
        self._cut(finished=False)
        await self.settle()

    async def settle(self) -> None:
        """Wait for the epoch on its way.

        Raises:
            StreamflowError: What made it fail.
        """
        if self._commit is not None:
            commit, self._commit = self._commit, None
            await commit

    async def close(self) -> None:
        """Wait for the epoch on its way, whatever comes of it, and release the store."""
        if self._timer is not None:
            self._timer.cancel()
        if self._commit is not None:
            await asyncio.wait([self._commit])
        for request in self._requests:
            request.cancel()
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.wait([self._beat])
        await self._checkpoints.close()
        if self._lease is not None:
            await anyio.to_thread.run_sync(self._lease.release)

    async def _renew(self, lease: Lease) -> None:
        """Show that this worker lives, three times as often as others would lose patience."""
        while True:
            await asyncio.sleep(LEASE_TIMEOUT / 3)
            await anyio.to_thread.run_sync(lease.renew)

    def _ring(self) -> None:
        self._timer = None
        self._wake.set()

    def _cut(self, *, finished: bool) -> None:
        full = self._checkpoints.wants_full
        data = EpochData(
            snapshots=self._graph.snapshot(full=full),
            positions=self._graph.positions(),
            staged={name: [pieces] for name, pieces in self._outbox.take_staged().items()},
            full=full,
            finished=finished,
        )
        self._last_cut = asyncio.get_running_loop().time()
        self.is_dirty = False
        requests, self._requests = self._requests, []
        self._commit = asyncio.create_task(self._commit_epoch(data, requests), name="streamflow commit")
        self._commit.add_done_callback(lambda _: self._wake.set())

    async def _commit_epoch(self, data: EpochData, requests: list[asyncio.Future[int]]) -> None:
        started = asyncio.get_running_loop().time()
        try:
            epoch = await self._checkpoints.commit(data)
        except StoreFullError as error:
            self._meter.aborted(error)
            self.is_dirty = True
            self._requests += requests
            return
        for name, chunks in self._checkpoints.last_staged.items():
            for chunk, pieces in enumerate(chunks):
                token = self._checkpoints.token(epoch, chunk)
                await self._outbox.apply({name: pieces}, token)
                self._checkpoints.applied(name, token)
        ended = asyncio.get_running_loop().time()
        self._meter.committed(epoch, ended - started, ended)
        for request in requests:
            if not request.done():
                request.set_result(epoch)


def _has_failed(task: asyncio.Task[None] | None) -> bool:
    return task is not None and task.done() and not task.cancelled() and task.exception() is not None


def _require_same_steps(plan: Plan, stored: Mapping[str, str]) -> None:
    """Check that every stored state has its step, defined as it was.

    Raises:
        CheckpointError: If not, naming the step and what to do.
    """
    ours: dict[str, str] = fingerprints(plan)
    for step, fingerprint in stored.items():
        if step not in ours:
            raise CheckpointError(
                f"the checkpoint of pipeline {plan.name!r} holds state of a step {step!r}, which the pipeline does not"
                f" have; its stateful steps are: {', '.join(ours) or 'none'}",
                remedy="give the step its old name= back, or use another checkpoint folder",
            )
        if ours[step] != fingerprint:
            raise CheckpointError(
                f"step {step!r} is defined otherwise than when the checkpoint was written, so its state cannot be"
                " taken over",
                remedy="give the changed step another name=, or use another checkpoint folder",
            )


def fingerprints(plan: Plan) -> dict[str, Any]:
    """Return the fingerprint of each stateful step, by its name: what manifests carry."""
    return {step.name: step.fingerprint for step in plan.steps if step.is_stateful}
