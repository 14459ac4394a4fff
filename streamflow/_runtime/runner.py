"""The runner: one query while it runs.  Decides when to call the engine; decides nothing about rows.

Its loop: wait for the trigger; take what has arrived; let the graph work on it; write or stage what reached the
sinks; cut an epoch where one is due (``epochs``).

Start is an epoch: the take-over is committed with every start position before a row is read.  Suspend (R5) reads no
more, finishes what is in flight and commits; end lets everything fire first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar, final

from streamflow._engine.graph import Graph
from streamflow._engine.plan import Plan, SourceNode
from streamflow._runtime.checkpoint import Checkpoints
from streamflow._runtime.clock import Clock
from streamflow._runtime.epochs import Epochs
from streamflow._runtime.executor import Executor
from streamflow._runtime.inbox import Inbox, grouped, pieces
from streamflow._runtime.lease import Lease
from streamflow._runtime.outbox import Outbox
from streamflow._runtime.progress import Meter, Progress
from streamflow._runtime.settings import Settings
from streamflow._runtime.trigger import AvailableNow, MicroBatch, Once
from streamflow.core.connector import (
    Chunk,
    Reader,
    ReadEvent,
    Replay,
    SourceFinished,
    SplitFinished,
    SplitIdle,
    SplitOpened,
)
from streamflow.core.rate import RateEstimator
from streamflow.errors import SourceError, StreamflowError

T = TypeVar("T")
_log = logging.getLogger("streamflow.runtime")

BATCH_ROWS = 131_072
"""The most rows of one source that one batch takes."""
READ_ROWS = 65_536
"""The most rows that a source is asked for at a time."""
QUEUED_ROWS = 262_144
"""The most rows of one source that wait for the loop."""
TICK_SECONDS = 0.05
"""How often the clock is looked at, where something follows it."""


@final
class Runner:
    """One run of a pipeline."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        executor: Executor,
        clock: Clock,
        *,
        checkpoints: Checkpoints | None,
        lease: Lease | None,
    ) -> None:
        self.plan = plan
        self.graph = Graph(plan, is_tracking=checkpoints is not None)
        self.outbox = Outbox(plan, has_checkpoint=checkpoints is not None)
        self.meter = Meter(plan.name)
        self.restored: int | None = None
        """The number of the checkpoint that the run went on from."""
        self.was_finished = False
        """Whether that checkpoint was of a finished run, so that there was nothing to do."""
        self._settings = settings
        self._executor = executor
        self._clock = clock
        self._inbox = Inbox(self.graph.ingests)
        self._epochs = (
            None
            if checkpoints is None
            else Epochs(
                checkpoints,
                lease,
                self.graph,
                self.outbox,
                settings=settings,
                meter=self.meter,
                wake=self._inbox.wake,
            )
        )
        self._readers: dict[str, Reader] = {}
        self._open = set(self.graph.ingests)
        self._at_end: set[tuple[str, str]] = set()
        self._is_stopping = False
        self._is_finishing = False
        self._is_tick_due = False
        self._batches = 0
        self._rate: RateEstimator | None = None
        if isinstance(settings.trigger, MicroBatch) and settings.trigger.rate is not None:
            self._rate = RateEstimator(settings.trigger.rate, settings.trigger.interval / 1_000_000)

    @property
    def is_stopping(self) -> bool:
        """Whether ``stop`` was called."""
        return self._is_stopping

    def progress(self) -> Progress:
        """Return what the run has done by now."""
        waiting = {name: self._inbox.rows(name) for name in self.graph.ingests}
        return self.meter.read(self.graph, self.outbox, waiting, asyncio.get_running_loop().time())

    def stop(self, *, finish: bool = False) -> None:
        """Ask the run to suspend; with ``finish``, to end: everything fires first.  Returns at once."""
        self._is_stopping = True
        self._is_finishing = self._is_finishing or finish
        self._inbox.wake.set()

    def checkpoint(self) -> asyncio.Future[int]:
        """Return a future of the number of an epoch that holds all that has been worked on by now.

        Raises:
            DefinitionError: If the pipeline has no checkpoint.
        """
        if self._epochs is None:
            raise StreamflowError(
                f"pipeline {self.plan.name!r} has no checkpoint", remedy="give it checkpoint='file:./state'"
            )
        return self._epochs.request()

    async def run(self, started: Callable[[], None], *, new_generation: bool = False) -> None:
        """Run until the input ends or ``stop`` is called.

        Args:
            started: Called once, when everything is open and the first row may come.
            new_generation: Go on though sinks hold output of another history, or afresh behind a finished one.
        """
        pumps: list[asyncio.Task[None]] = []
        ticker = None
        try:
            await self._start(new_generation=new_generation)
            started()
            if self.was_finished:
                return
            for name in self._readers:
                pump = asyncio.create_task(self._pump(name), name=f"streamflow {self.plan.name}: read {name}")
                pump.add_done_callback(lambda _: self._inbox.wake.set())
                pumps.append(pump)
            if self._follows_clock():
                ticker = asyncio.create_task(self._tick_regularly(), name=f"streamflow {self.plan.name}: tick")
                pumps.append(ticker)
            await self._loop(pumps)
            await _cancel(pumps)
            await self._finish()
        finally:
            await _cancel(pumps)
            await self._close()

    async def _start(self, *, new_generation: bool) -> None:
        now = self._clock.now()
        found = None
        if self._epochs is not None:
            found = await self._epochs.recover(self.plan, now, new_generation=new_generation)
            self.restored = found.epoch if found is not None else None
            self.was_finished = found is not None and found.finished
        self.meter.begin(self.graph.ledgers)
        if not self.was_finished:
            for node in self.plan.sources:
                await self._open_source(node, now)
        if self._epochs is None:
            await self.outbox.open()
        else:
            await self._epochs.begin(is_fresh=found is None, new_generation=new_generation, finished=self.was_finished)
        if self.was_finished:
            _log.warning(
                "pipeline %s finished in an earlier run (checkpoint %s): nothing is read;"
                " a new generation starts afresh",
                self.plan.name,
                self.restored,
            )

    async def _open_source(self, node: SourceNode, now: int) -> None:
        reader = self._readers[node.name] = node.source.reader()
        positions = {name: split.resume for name, split in self.graph.ingests[node.name].splits.items()}
        for opened in await _reading(node, reader.open(positions)):
            self.graph.open(node.name, opened.split, opened.resume, now)

    # reading

    async def _pump(self, source: str) -> None:
        """Drive one source: the only task that reads it, never timed out, cancelled only to stop."""
        node = next(n for n in self.plan.sources if n.name == source)
        reader, ingest = self._readers[source], self.graph.ingests[source]
        loop = asyncio.get_running_loop()
        while True:
            await self._inbox.wait_for_space(source, min(QUEUED_ROWS, 32 * self._executor.piece_rows))
            limit = min(READ_ROWS, node.max_rows or READ_ROWS, self._executor.chunk_rows)
            events = await _reading(node, reader.read(limit, ingest.wanted()))
            self._inbox.put(source, events, loop.time())
            if any(isinstance(event, SourceFinished) for event in events):
                return
            await asyncio.sleep(0)

    def _follows_clock(self) -> bool:
        """Whether something follows the clock; else an idle pipeline does nothing at all."""
        return any(step.wants_ticks for step in self.plan.steps) or any(
            node.event_time is None or node.idle_after is not None or node.idle_advance for node in self.plan.sources
        )

    async def _tick_regularly(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._is_tick_due = True
            self._inbox.wake.set()

    # the loop

    async def _loop(self, pumps: Sequence[asyncio.Task[None]]) -> None:
        while not self._is_stopping:
            await self._wait()
            for pump in pumps:
                if pump.done() and not pump.cancelled() and (error := pump.exception()) is not None:
                    raise error
            await self._batch()
            if self._epochs is not None:
                await self._epochs.cut_if_due()
            if self._is_done():
                return

    async def _wait(self) -> None:
        """Wait until the trigger says that a batch is to be cut, or there is something else to do."""
        if isinstance(self._settings.trigger, MicroBatch):
            await self._wait_for_interval(self._settings.trigger.interval)
        elif self._inbox.is_empty:
            self._inbox.wake.clear()
            if not self._is_urgent():
                await self._inbox.wake.wait()

    async def _wait_for_interval(self, interval: int) -> None:
        loop = asyncio.get_running_loop()
        passed = round(loop.time() * 1_000_000) // interval  # in whole numbers: 0.77 // 0.07 * 0.07 + 0.07 is 0.77
        due = (passed + 1) * interval / 1_000_000
        timer = loop.call_at(due, self._inbox.wake.set)
        try:
            while loop.time() < due and not self._is_urgent() and not self._inbox.is_final:
                self._inbox.wake.clear()
                await self._inbox.wake.wait()
        finally:
            timer.cancel()

    def _is_urgent(self) -> bool:
        return self._is_stopping or (self._epochs is not None and self._epochs.has_work)

    async def _batch(self) -> None:
        """Work on what has arrived, one source after the other."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        rows, oldest = 0, started
        for node in self.plan.sources:
            events, since = self._inbox.take(node.name, self._limit(node))
            if events:
                oldest = min(oldest, since)
                rows += await self._work(node.name, events)
        if self._is_tick_due:
            self._is_tick_due = False
            now = self._clock.now()
            await self._act(lambda: self.graph.tick(now))
        if self.outbox.has_waiting:
            await self.outbox.write()
        if rows:
            self._batches += 1
            ended = loop.time()
            self.meter.batch(rows, started, ended, oldest)
            if self._rate is not None:
                self._rate.batch(ended=ended, rows=rows, processing=ended - started, scheduling=started - oldest)

    def _limit(self, node: SourceNode) -> int:
        """Return how many rows of a source the next batch takes."""
        limit = min(node.max_rows or BATCH_ROWS, BATCH_ROWS)
        estimated = None if self._rate is None else self._rate.limit()
        return limit if estimated is None else min(limit, max(1, estimated // len(self.plan.sources)))

    async def _work(self, source: str, events: Sequence[ReadEvent]) -> int:
        rows = 0
        chunks: list[Chunk] = []
        for event in events:
            if isinstance(event, Chunk):
                chunks.append(event)
                continue
            rows += await self._feed(source, chunks)
            chunks = []
            if self._may_leave(source):
                return rows
            await self._note(source, event)
        return rows + await self._feed(source, chunks)

    async def _feed(self, source: str, chunks: Sequence[Chunk]) -> int:
        total = sum(map(len, chunks))
        if not total:
            return 0
        self._touch()
        self._at_end -= {(source, chunk.split) for chunk in chunks}
        now = self._clock.now()
        fed = 0
        for group in grouped(chunks, lambda: self._executor.piece_rows):
            if self._may_leave(source):
                break
            if len(group) > 1 or len(group[0]) <= self._executor.piece_rows:
                await self._act(partial(self.graph.feed, source, group, now), sum(map(len, group)))
            else:
                for piece in pieces(group[0], lambda: self._executor.piece_rows):
                    await self._act(partial(self.graph.feed, source, [piece], now), len(piece))
            fed += sum(map(len, group))
        return fed

    def _may_leave(self, source: str) -> bool:
        """Whether what a source has read may be left to the next run: it is to suspend, and can be read again."""
        is_suspending = self._is_stopping and not self._is_finishing
        return is_suspending and self.graph.ingests[source].node.source.replay is Replay.REPLAYABLE

    async def _note(self, source: str, event: ReadEvent) -> None:
        """Tell the graph what a source says of its splits."""
        self._touch()
        match event:
            case SplitOpened(split, resume):
                self.graph.open(source, split, resume, self._clock.now())
                if self._epochs is not None:
                    await self._epochs.commit_now()
            case SplitIdle(split):
                self._at_end.add((source, split))
                if self.graph.ingests[source].node.idle_after == 0:
                    await self._act(lambda: self.graph.idle(source, split))
            case SplitFinished(split):
                await self._act(lambda: self.graph.finish(source, split))
            case SourceFinished():
                self._open.discard(source)
                await self._act(lambda: self.graph.end_source(source))

    async def _act(self, act: Callable[[], None], rows: int = 0) -> None:
        """Let the graph act, and take what reached the sinks."""

        def work() -> None:
            act()
            self.outbox.put(self.graph.take_outputs())

        await self._executor.do(work, rows)

    def _touch(self) -> None:
        if self._epochs is not None:
            self._epochs.is_dirty = True

    def _is_done(self) -> bool:
        if not self._open and self._inbox.is_empty:
            return True
        match self._settings.trigger:
            case Once():
                return self._batches > 0 or self._is_at_end()
            case AvailableNow():
                return self._is_at_end()
            case _:
                return False

    def _is_at_end(self) -> bool:
        splits = {(source, split) for source in self._open for split in self.graph.ingests[source].wanted()}
        return self._inbox.is_empty and splits <= self._at_end

    # stopping

    async def _finish(self) -> None:
        """Finish what is in flight, let everything fire if the input is over, and commit.

        Rows that nobody has worked on and that can be read again are left to the next run.
        """
        self._is_stopping = True
        for node in self.plan.sources:
            if self._may_leave(node.name):
                self._inbox.discard(node.name)
        while not self._inbox.is_empty:
            await self._batch()
        if self._is_finishing and not self.graph.is_ended:
            await self._act(self.graph.end)
        await self.outbox.write()
        self.graph.check_ledgers()
        if self._epochs is not None:
            await self._epochs.finish(finished=self.graph.is_ended)

    async def _close(self) -> None:
        """Release everything; an error on the way does not keep the rest open."""
        errors: list[Exception] = []
        closes = [
            *([self._epochs.close] if self._epochs else []),
            *(r.close for r in self._readers.values()),
            self.outbox.close,
        ]
        for close in closes:
            try:
                await close()
            except Exception as error:  # noqa: BLE001  # everything is closed before the first error is raised
                errors.append(error)
        self._executor.close()
        if errors:
            raise errors[0]


async def _reading(node: SourceNode, answer: Awaitable[T]) -> T:
    """Await a source's answer; what it raises becomes a ``SourceError`` that names it."""
    try:
        return await answer
    except SourceError as error:
        raise SourceError(node.name, str(error), remedy=error.remedy) from error.__cause__ or error
    except StreamflowError:
        raise
    except Exception as error:
        raise SourceError(node.name, f"{type(error).__name__}: {error}") from error


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks once and wait until they have ended."""
    for task in tasks:
        task.cancel()
    while pending := [t for t in tasks if not t.done()]:
        await asyncio.wait(pending)
