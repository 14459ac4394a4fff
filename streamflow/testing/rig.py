"""The rig: a plan on the real engine, with real epochs in a real store; journal, sinks and clock are the test's.

``crash`` destroys what a crash destroys, the graph and what has not been committed; journal, store and sinks stay, as a
broker, a disk and a database would.

Knows how to run; what a test may ask of it is ``driving``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from streamflow._engine.graph import Graph
from streamflow._engine.plan import Plan, SinkNode
from streamflow._runtime.checkpoint import Checkpoints, Identity
from streamflow._runtime.epochs import Epochs, fingerprints
from streamflow._runtime.outbox import Outbox
from streamflow._runtime.progress import Meter
from streamflow._runtime.settings import Settings
from streamflow._runtime.store import MemoryStore
from streamflow.errors import StreamflowError
from streamflow.testing.clock import VirtualClock
from streamflow.testing.cut import Cutter
from streamflow.testing.journal import Entry, Journal, Said, Sent
from streamflow.testing.recording import RecordingSink

TICK = 50_000
"""Microseconds between two looks at the clock while it advances: what the runner does."""
TICKS = 1_000
"""How many looks at most: a test that lets a year pass does not wait for it."""


@final
@dataclass(frozen=True, slots=True)
class _Run:
    """What a crash destroys."""

    graph: Graph
    outbox: Outbox
    epochs: Epochs


@final
class Rig:
    """A plan that a test runs."""

    def __init__(self, plan: Plan, settings: Settings, clock: VirtualClock, cutter: Cutter) -> None:
        self.clock = clock
        self.journal = Journal()
        self.sinks = {node.name: RecordingSink(node.name, str(node.sink)) for node in plan.sinks}
        self.plan = _recorded(plan, self.sinks)
        self.is_ended = False
        self._settings = settings
        self._cutter = cutter
        self._store = MemoryStore()
        self._run: _Run | None = None
        self._failure: Exception | None = None

    # starting and stopping

    @property
    def is_running(self) -> bool:
        """Whether it has been started, and neither stopped nor crashed."""
        return self._run is not None

    @property
    def has_failed(self) -> bool:
        """Whether a step has failed, which ends the run."""
        return self._failure is not None

    async def start(self) -> None:
        """Go on from the last checkpoint, and take in what the journal holds behind it.

        Raises:
            StreamflowError: If it is running.
        """
        if self._run is not None:
            raise StreamflowError("it is running", remedy="resume() goes on after crash() or suspend()")
        identity = Identity(self.plan.name, list(self.sinks), fingerprints(self.plan))
        graph, outbox = Graph(self.plan, is_tracking=True), Outbox(self.plan, has_checkpoint=True)
        checkpoints = Checkpoints(self._store, identity)
        epochs = Epochs(
            checkpoints,
            None,
            graph,
            outbox,
            settings=self._settings,
            meter=Meter(self.plan.name),
            wake=asyncio.Event(),
        )
        self._run, self._failure = _Run(graph, outbox, epochs), None
        found = await epochs.recover(self.plan, self.clock.now(), new_generation=False)
        self.is_ended = found is not None and found.finished
        await epochs.begin(is_fresh=found is None, new_generation=False, finished=self.is_ended)
        if not self.is_ended:
            self.take(list(self.journal.after(graph.positions())))

    async def stop(self) -> None:
        """Suspend: commit what is in flight; nothing fires."""
        await self.commit(is_last=True)
        await self.close()

    async def crash(self) -> None:
        """Lose everything but what is durable."""
        self._store.crash()
        await self.close()

    async def close(self) -> None:
        """Release everything; commits nothing."""
        run, self._run = self._run, None
        if run is not None:
            await run.epochs.close()
            await run.outbox.close()

    # running

    def require_running(self) -> None:
        """Check that something can be done with it now.

        Raises:
            StreamflowError: If it is not running, or has failed.
        """
        self._running()

    @property
    def graph(self) -> Graph:
        """The graph.

        Raises:
            StreamflowError: If it is not running, or has failed.
        """
        return self._running().graph

    def take(self, entries: Sequence[Entry]) -> None:
        """Let entries of the journal go in, one after another, rows cut as the test said."""
        for entry in entries:
            with self._acting() as graph:
                if isinstance(entry, Said):
                    self._say(graph, entry)
                else:
                    for start, stop in self._cutter.cut(len(entry)):
                        chunk = entry.chunk(entry.start + start, entry.start + stop)
                        graph.feed(entry.source, [chunk], self.clock.now())

    def take_together(self, source: str, rows: Sequence[Sent]) -> None:
        """Let rows of several splits go in as one batch."""
        with self._acting() as graph:
            graph.feed(source, [sent.chunk(sent.start, sent.stop) for sent in rows], self.clock.now())

    def pass_time(self, length: int) -> Iterator[None]:
        """Let ``length`` microseconds pass, and yield after each look at the clock."""
        step = max(TICK, -(-length // TICKS))
        self._tick()
        while length > 0:
            self.clock.move_to(self.clock.now() + min(step, length))
            length -= step
            self._tick()
            yield

    async def commit(self, *, is_last: bool = False) -> None:
        """Commit an epoch and apply it to the sinks."""
        run = self._running()
        run.graph.check_ledgers()
        if is_last:
            await run.epochs.finish(finished=run.graph.is_ended)
            self.is_ended = run.graph.is_ended
        else:
            await run.epochs.commit_now()
        self.journal.commit()

    def staged(self, sink: str) -> int:
        """Return how many batches wait for the next epoch of a sink."""
        return 0 if self._run is None else len(self._run.outbox.shelves[sink].staged)

    def _tick(self) -> None:
        with self._acting() as graph:
            graph.tick(self.clock.now())

    def _say(self, graph: Graph, said: Said) -> None:
        match said.word:
            case "open":
                graph.open(said.source, said.split, 0, self.clock.now())
            case "idle":
                graph.idle(said.source, said.split)
            case "finish":
                graph.finish(said.source, said.split)
            case "end":
                graph.end_source(said.source)

    @contextmanager
    def _acting(self) -> Iterator[Graph]:
        """Let the graph act, and stage what reaches the sinks.

        What fails ends the run, as it would outside of a test.
        """
        run = self._running()
        try:
            yield run.graph
            run.outbox.put(run.graph.take_outputs())
        except Exception as error:
            self._failure = error
            raise

    def _running(self) -> _Run:
        if self._run is None:
            raise StreamflowError("it is not running", remedy="enter it with async with, or resume() it")
        if self._failure is not None:
            raise StreamflowError(
                f"it has failed: {type(self._failure).__name__}: {self._failure}",
                remedy="crash_and_restore() starts again from the last checkpoint, and reads the same rows",
            ) from self._failure
        return self._run


def _recorded(plan: Plan, sinks: dict[str, RecordingSink]) -> Plan:
    """Return the plan with recording sinks in place of its own."""
    recorded = Plan(plan.name, dict(plan.nodes))
    for node in plan.sinks:
        recorded.nodes[node.name] = SinkNode(node.name, sinks[node.name], node.inputs, node.on_error)
    return recorded
