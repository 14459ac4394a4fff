"""The real query, runner and epochs in virtual time: what follows a timer or the clock, to the microsecond."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import streamflow as sf
from streamflow.connectors.callback import CallbackSink
from streamflow.connectors.queue import QueueSource
from streamflow.testing import VirtualClock, run_virtual, start

SECOND = 1_000_000


class Seen:
    """A sink's function that notes when it was called, by the loop's time."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, Any]] = []

    async def __call__(self, row: Any) -> None:
        self.rows.append((round(asyncio.get_running_loop().time(), 3), row))


async def at(moment: float) -> None:
    """Return when the loop's time is ``moment``."""
    loop = asyncio.get_running_loop()
    come: asyncio.Future[None] = loop.create_future()
    loop.call_at(moment, come.set_result, None)
    await come


def test_a_micro_batch_is_cut_on_its_second() -> None:
    async def body() -> list[tuple[float, Any]]:
        queue, seen = QueueSource(), Seen()
        pipeline = sf.Pipeline("batches", trigger=sf.micro_batch("1s"))
        pipeline.read("numbers", queue).to(CallbackSink(seen))
        async with start(pipeline) as query:
            for moment in (0.25, 0.5, 1.5, 7.75):
                await at(moment)
                queue.put_nowait(moment)
            queue.close()
            await query.wait()
        return seen.rows

    rows = run_virtual(body())
    assert rows[:3] == [(1.0, 0.25), (1.0, 0.5), (2.0, 1.5)]
    assert rows[3][1] == 7.75


def test_an_epoch_is_committed_on_its_time(state_dir: Path) -> None:
    async def body() -> list[tuple[float, Any]]:
        queue, seen = QueueSource(), Seen()
        pipeline = sf.Pipeline("epochs", checkpoint=str(state_dir), epoch="10s")
        pipeline.read("numbers", queue).to(CallbackSink(seen))
        async with start(pipeline):
            for moment in (1.0, 4.0, 12.0):
                await at(moment)
                queue.put_nowait(moment)
            await at(25.0)
        return seen.rows

    assert run_virtual(body()) == [(10.0, 1.0), (10.0, 4.0), (20.0, 12.0)]


def test_a_silent_source_falls_idle_by_the_virtual_clock() -> None:
    clock = VirtualClock(1_000 * SECOND)

    async def body() -> list[tuple[float, Any]]:
        queue, seen = QueueSource(), Seen()
        pipeline = sf.Pipeline("idle")
        rows = pipeline.read(
            "times", queue, event_time=lambda t: t, time_unit="s", max_delay="0s", idle_after="1m", idle_advance=True
        )
        rows.window_all(sf.tumbling("10s")).count(name="count").map(lambda w: w.value, name="n").to(CallbackSink(seen))
        async with start(pipeline):
            queue.put_nowait(1_001)
            await at(120.0)
        return seen.rows

    ((moment, count),) = run_virtual(body(), clock=clock)
    assert count == 1
    assert moment == pytest.approx(69.0, abs=0.2)
    assert clock.now() == (1_000 + 120) * SECOND


def test_two_runs_are_the_same_to_the_last_timer() -> None:
    async def body() -> list[tuple[float, Any]]:
        queue, seen = QueueSource(), Seen()
        pipeline = sf.Pipeline("same", trigger=sf.micro_batch("70ms"))
        pipeline.read("numbers", queue).to(CallbackSink(seen))
        async with start(pipeline) as query:
            for n in range(200):
                await at(n * 0.013)
                queue.put_nowait(n)
            queue.close()
            await query.wait()
        return seen.rows

    first = run_virtual(body())
    assert [row for _, row in first] == list(range(200))
    assert run_virtual(body()) == first
