"""``drive``: a pipeline under a test's hand.

The plan runs on the engine itself, through real epochs and a real checkpoint store in memory; only the sources, the
sinks and the clock are the test's.  There are no sleeps and nothing to wait for: when ``send`` returns, everything
that the rows cause has happened, and is committed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self, final

import polars as pl

from streamflow._engine.plan import SourceNode
from streamflow.core.operator import Ledger
from streamflow.core.splits import ONLY
from streamflow.core.timestamp import MIN_TIMESTAMP, Duration, duration, show_duration, show_time
from streamflow.errors import DefinitionError, StreamflowError
from streamflow.pipeline import Pipeline
from streamflow.testing.clock import VirtualClock
from streamflow.testing.cut import Cut, Cutter
from streamflow.testing.journal import Entry, Sent, Word, payloads
from streamflow.testing.recording import RecordingSink
from streamflow.testing.rig import Rig

EpochRule = Literal["each", "manual"]


def drive(pipeline: Pipeline, *, start: datetime | int = 0, epochs: EpochRule = "each", cut: Cut = None) -> Drive:
    """Return a pipeline to be driven by a test: enter it with ``async with``.

    Its sources are not opened, its sinks not written and its trigger not used: the test sends the rows, each call a
    batch, and looks at what the sinks would hold.  Leaving the body suspends it.

    Args:
        pipeline: What to test.
        start: What time it is at first, by the clock.
        epochs: ``"each"`` commits an epoch after each call, so that a sink shows at once what it got; ``"manual"`` only
            at ``checkpoint()`` and on leaving, so that a crash has something to undo.
        cut: Where what is sent is cut into batches: sizes, or the seed of random ones.  Nothing that is labelled
        content
            may depend on it.

    Raises:
        DefinitionError: If the pipeline has no source or no sink, or an argument says something that cannot be.

    >>> import asyncio
    >>> from streamflow.connectors.memory import MemorySink
    >>> pipeline = Pipeline("doubles")
    >>> pipeline.read("numbers", []).map(lambda n: n * 2).to(MemorySink(), name="out")
    >>> async def body() -> list[int]:
    ...     async with drive(pipeline) as d:
    ...         await d.source("numbers").send(1, 2)
    ...         await d.crash_and_restore()
    ...         await d.source("numbers").send(3)
    ...         return d.sink("out").rows
    >>> asyncio.run(body())
    [2, 4, 6]
    """
    if epochs not in ("each", "manual"):
        raise DefinitionError(f"epochs must be 'each' or 'manual', got {epochs!r}")
    pipeline.settings.check(pipeline.plan)
    return Drive(Rig(pipeline.plan, pipeline.settings, VirtualClock(start), Cutter(cut)), is_each=epochs == "each")


@final
class Drive:
    """A pipeline under a test's hand; ``drive`` makes it."""

    def __init__(self, rig: Rig, *, is_each: bool) -> None:
        self._rig = rig
        self._is_each = is_each
        self._seen = dict.fromkeys(rig.sinks, 0)

    @property
    def now(self) -> int:
        """What time it is, microseconds since the Unix epoch."""
        return self._rig.clock.now()

    def source(self, name: str) -> DrivenSource:
        """Return the source of this name, to send rows to."""
        node = next((n for n in self._rig.plan.sources if n.name == name), None)
        if node is None:
            raise DefinitionError(f"no source is named {name!r}; there are: {_names(self._rig.plan.sources)}")
        return DrivenSource(self, self._rig, node)

    def sink(self, name: str) -> DrivenSink:
        """Return the sink of this name, to look at its rows."""
        if name not in self._rig.sinks:
            raise DefinitionError(f"no sink is named {name!r}; there are: {_names(self._rig.plan.sinks)}")
        return DrivenSink(self, self._rig, name, self._seen)

    def ledger(self, step: str) -> Ledger:
        """Return where the rows of a source or step went by now (R8): a copy."""
        ledgers = self._rig.graph.ledgers
        if step not in ledgers:
            raise DefinitionError(f"no step is named {step!r}; there are: {', '.join(ledgers)}")
        return replace(ledgers[step])

    def watermark(self, step: str) -> int | None:
        """Return the watermark of a source or step, microseconds; None before there is one."""
        marks = self._watermarks()
        if step not in marks:
            raise DefinitionError(f"no step is named {step!r}; there are: {', '.join(marks)}")
        return None if marks[step] == MIN_TIMESTAMP else marks[step]

    # time and the end

    async def advance(self, length: Duration) -> None:
        """Let time pass by the clock: splits fall idle, early firings come, ingestion time moves.

        The clock is looked at every 50 ms of it, a thousand times at most.
        """
        for _ in self._rig.pass_time(duration(length, "the time to advance by")):
            pass
        await self.settle()

    async def end(self) -> None:
        """End the input: everything fires, and the last epoch is committed.  Nothing can be sent behind it (R5)."""
        self._rig.require_running()
        self._rig.take([self._rig.journal.say(node.name, "", "end") for node in self._rig.plan.sources])
        await self.settle()

    # epochs and crashes

    async def checkpoint(self) -> None:
        """Commit an epoch: what was sent by now is in the state, and its output in the sinks."""
        await self._rig.commit()

    async def suspend(self) -> None:
        """Stop as Ctrl-C does: commit, and exit; nothing fires (R5).  What is sent now waits for ``resume()``."""
        await self._rig.stop()

    async def crash(self) -> None:
        """Lose everything but the last checkpoint and what the sinks hold.  What is sent now waits for ``resume()``."""
        await self._rig.crash()

    async def resume(self) -> None:
        """Start again from the last checkpoint, and read what was sent behind it.

        Raises:
            StreamflowError: If it is running.
        """
        await self._rig.start()
        await self.settle()

    async def crash_and_restore(self) -> None:
        """Crash, and start again from the last checkpoint: what was sent behind it is read again."""
        await self.crash()
        await self.resume()

    async def settle(self) -> None:
        """Commit, where each call does, and where the input has ended; nothing behind the end."""
        is_over = self._rig.graph.is_ended
        if not self._rig.is_ended and (self._is_each or is_over):
            await self._rig.commit(is_last=is_over)

    async def __aenter__(self) -> Self:
        """Start it."""
        await self._rig.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Suspend it where it runs; checks that every row of every step is in exactly one place (R8)."""
        try:
            if error is None and self._rig.is_running and not self._rig.has_failed and not self._rig.is_ended:
                await self._rig.stop()
        finally:
            await self._rig.close()

    def _watermarks(self) -> dict[str, int]:
        graph = self._rig.graph
        return {n: i.watermark for n, i in graph.ingests.items()} | {n: s.watermark for n, s in graph.stations.items()}

    def describe(self) -> str:
        """Say where it stands, for a test that has failed."""
        if not self._rig.is_running or self._rig.has_failed:
            return "it is not running"
        marks = ", ".join(f"{name} {show_time(mark)}" for name, mark in self._watermarks().items())
        return f"it is {show_time(self.now)}; watermarks: {marks}"


@final
class DrivenSource:
    """A source under a test's hand."""

    def __init__(self, drive: Drive, rig: Rig, node: SourceNode) -> None:
        self._drive = drive
        self._rig = rig
        self._node = node

    async def send(self, *rows: Any, split: str = ONLY) -> None:
        """Send rows of a split, in this order.

        Args:
            *rows: What the source yields: values; for a table dicts or frames; ``bytes`` where it has a format.
            split: The split.  One that is first sent to when others have advanced is new then, and counts for the
                watermark once it has caught up; ``open`` says that it was there from the start.

        Raises:
            StreamflowError: If a step fails on a row and its ``on_error`` is ``"fail"``, as the run would; or if the
                input has ended.
        """
        await self._go(self._sent(split, rows))

    async def send_together(self, *rows: tuple[str, Sequence[Any]]) -> None:
        """Send rows of several splits as one batch: ``(split, rows)`` after ``(split, rows)``, uncut."""
        entries = [sent for split, values in rows for sent in self._sent(split, values)]
        if self._rig.is_running:
            self._rig.take_together(self._node.name, entries)
            await self._drive.settle()

    async def open(self, *splits: str) -> None:
        """Say that there are these splits: each holds the watermark until it has said something."""
        await self._say("open", splits)

    async def idle(self, *splits: str) -> None:
        """Say that splits have nothing to say for now: they leave the watermark, until rows of them come."""
        await self._say("idle", splits or (ONLY,))

    async def finish(self, *splits: str) -> None:
        """Say that splits are over for ever."""
        await self._say("finish", splits or (ONLY,))

    async def end(self) -> None:
        """Say that the whole source is over: what waits for it alone fires."""
        await self._say("end", ("",))

    def _sent(self, split: str, rows: Sequence[Any]) -> list[Sent]:
        self._require_open()
        is_encoded = self._node.source.format is not None
        return [self._rig.journal.send(self._node.name, split, data) for data in payloads(rows, is_encoded=is_encoded)]

    async def _say(self, word: Word, splits: Sequence[str]) -> None:
        self._require_open()
        for split in splits:
            if word in ("idle", "finish") and not self._rig.journal.knows(self._node.name, split):
                raise DefinitionError(
                    f"source {self._node.name!r} has no split {split!r} yet; open() it, or send to it"
                )
        await self._go([self._rig.journal.say(self._node.name, split, word) for split in splits])

    async def _go(self, entries: Sequence[Entry]) -> None:
        if self._rig.is_running:
            self._rig.take(entries)
            await self._drive.settle()

    def _require_open(self) -> None:
        if self._node.name in self._rig.journal.ended:
            raise StreamflowError(f"source {self._node.name!r} has ended: nothing can be sent behind the end")

    def __repr__(self) -> str:
        return f"DrivenSource({self._node.name!r})"


@final
class DrivenSink:
    """A sink under a test's eye: the rows of committed epochs, each exactly once."""

    def __init__(self, drive: Drive, rig: Rig, name: str, seen: dict[str, int]) -> None:
        self._drive = drive
        self._rig = rig
        self._name = name
        self._seen = seen

    @property
    def rows(self) -> list[Any]:
        """All rows in the order they were committed: the values themselves, or a dict for each row of a table.

        On an upsert edge each refresh, without the rows that delete; ``table`` is what they come to.
        """
        return list(self._sink.rows)

    @property
    def table(self) -> dict[Hashable, Any]:
        """What an upsert edge comes to: the last row by key, or by ``(key, start, end)`` of a window."""
        return dict(self._sink.table)

    @property
    def epochs(self) -> list[int]:
        """The numbers of the epochs that brought rows."""
        return list(self._sink.epochs)

    def frame(self) -> pl.DataFrame:
        """Return all rows as a frame."""
        return self._sink.frame()

    def new(self) -> list[Any]:
        """Return the rows that came since ``new`` or ``next`` was last called."""
        seen, self._seen[self._name] = self._seen[self._name], len(self._sink.rows)
        return self._sink.rows[seen:]

    async def next(self, timeout: Duration | float = 0) -> Any:  # noqa: ASYNC109  # virtual: nobody waits
        """Return the first row not seen yet; lets time pass by the clock until there is one.

        Args:
            timeout: How much time at most: a duration, or seconds.

        Raises:
            AssertionError: If there is none by then.
        """
        limit = timeout if isinstance(timeout, str | timedelta) else timedelta(seconds=timeout)
        length = duration(limit, "timeout")
        if self._rig.is_running and not self._rig.is_ended and not self._has_new():
            for _ in self._rig.pass_time(length):
                if self._rig.staged(self._name):
                    break
            await self._drive.settle()
        if not self._has_new():
            raise AssertionError(self._missing(length))
        self._seen[self._name] += 1
        return self._sink.rows[self._seen[self._name] - 1]

    @property
    def _sink(self) -> RecordingSink:
        return self._rig.sinks[self._name]

    def _has_new(self) -> bool:
        return self._seen[self._name] < len(self._sink.rows)

    def _missing(self, length: int) -> str:
        parts = [f"sink {self._name!r} got no new row within {show_duration(length)}"]
        parts += [f"all of its {len(self._sink.rows)} rows have been seen"]
        if staged := self._rig.staged(self._name):
            parts += [f"{staged} batches are staged and not committed: await checkpoint()"]
        with suppress(StreamflowError):
            parts += [self._drive.describe()]
        return "; ".join(parts)

    def __repr__(self) -> str:
        return f"DrivenSink({self._name!r}, {len(self._sink.rows)} rows)"


def _names(nodes: Sequence[Any]) -> str:
    return ", ".join(node.name for node in nodes)
