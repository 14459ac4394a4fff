"""The manners of a query inside somebody's event loop, and of ``run()``."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import streamflow as sf
from streamflow import agg
from streamflow.errors import DefinitionError, OperatorError, SourceError, StreamflowError

ROWS = [{"user": f"u{i % 7}", "t": i * 1_000, "n": i} for i in range(5_000)]


def counting(sink: Any, rows: Any = ROWS, **settings: Any) -> sf.Pipeline:
    pipeline = sf.Pipeline("counting", **settings)
    keyed = pipeline.read("rows", rows, event_time=lambda r: r["t"], max_delay="0s").key_by(lambda r: r["user"])
    keyed.window(sf.tumbling("1s")).aggregate(agg.sum(lambda r: r["n"]), name="sums").to(sink)
    return pipeline


async def endless() -> AsyncIterator[dict[str, Any]]:
    number = 0
    while True:
        yield {"user": f"u{number % 7}", "t": number * 1_000, "n": number}
        number += 1
        if number % 100 == 0:
            await asyncio.sleep(0)


def left_behind() -> tuple[set[str], set[str]]:
    """Return the names of tasks and threads that are ours."""
    tasks = {t.get_name() for t in asyncio.all_tasks() if t.get_name().startswith("streamflow")}
    return tasks, {t.name for t in threading.enumerate() if t.name.startswith("streamflow")}


async def test_a_query_runs_to_its_end_beside_the_host() -> None:
    sink = sf.MemorySink()
    async with counting(sink).start() as query:
        await query.wait()
    assert sum(r.value for r in sink.rows) == sum(r["n"] for r in ROWS)
    assert left_behind() == (set(), set())


async def test_leaving_the_body_suspends_and_nothing_fires_early() -> None:
    sink = sf.MemorySink()
    async with counting(sink, endless).start() as query:
        while query.progress().rows < 500:
            await asyncio.sleep(0)
    ends = [r.end for r in sink.rows]
    assert ends == sorted(ends)
    assert query.is_done
    assert left_behind() == (set(), set())


async def test_stop_with_finish_fires_everything() -> None:
    sink = sf.MemorySink()
    async with counting(sink, endless).start() as query:
        while query.progress().rows < 500:
            await asyncio.sleep(0)
        await query.stop(finish=True)
        rows = query.progress().rows
    assert sum(r.value for r in sink.rows) == sum(range(rows))


async def test_a_failure_reaches_the_body_at_once() -> None:
    pipeline = sf.Pipeline("failing")
    pipeline.read("rows", endless).map(lambda r: 1 // (r["n"] - 300), name="divide").to(sf.MemorySink())
    with pytest.raises(OperatorError, match=r"step 'divide' failed.*ZeroDivisionError") as caught:
        async with pipeline.start():
            await asyncio.Event().wait()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert left_behind() == (set(), set())


async def test_an_error_of_the_body_is_not_replaced_by_ours() -> None:
    with pytest.raises(KeyError):
        async with counting(sf.MemorySink(), endless).start():
            raise KeyError("the host's own")
    assert left_behind() == (set(), set())


async def test_a_source_that_raises_is_named() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise OSError("no route to host")

    pipeline = sf.Pipeline("broken")
    pipeline.read("feed", broken).to(sf.MemorySink())
    with pytest.raises(SourceError, match=r"source 'feed'.*no route to host"):
        async with pipeline.start() as query:
            await query.wait()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 50, 200])
async def test_cancellation_at_any_await_leaves_nothing(turns: int) -> None:
    async def host() -> None:
        async with counting(sf.MemorySink(), endless).start() as query:
            await query.wait()

    task = asyncio.create_task(host())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_behind() == (set(), set())


async def test_breaking_out_of_the_body_leaves_nothing() -> None:
    for _ in range(2):
        async with counting(sf.MemorySink(), endless).start():
            break
    assert left_behind() == (set(), set())


async def test_the_sources_generator_is_closed_in_its_own_task() -> None:
    closed: list[asyncio.Task[Any] | None] = []
    opened: list[asyncio.Task[Any] | None] = []

    async def source() -> AsyncIterator[int]:
        opened.append(asyncio.current_task())
        try:
            while True:
                yield 1
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            closed.append(asyncio.current_task())

    pipeline = sf.Pipeline("closing")
    pipeline.read("numbers", source).to(sf.MemorySink())
    async with pipeline.start() as query:
        while not query.progress().rows:
            await asyncio.sleep(0)
    assert closed == opened


async def test_embedded_neither_signals_nor_gc_are_touched() -> None:
    before = (
        {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)},
        gc.get_threshold(),
        gc.get_freeze_count(),
    )
    async with counting(sf.MemorySink()).start() as query:
        during = (
            {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)},
            gc.get_threshold(),
            gc.get_freeze_count(),
        )
        await query.wait()
    assert during == before


async def test_run_inside_a_running_loop_names_start() -> None:
    with pytest.raises(DefinitionError) as caught:
        counting(sf.MemorySink()).run()
    assert "start()" in caught.value.__notes__[0]


def test_run_restores_signals_and_gc() -> None:
    before = (
        {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)},
        gc.get_threshold(),
        gc.get_freeze_count(),
    )
    counting(sf.MemorySink()).run()
    after = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}, gc.get_threshold(), gc.get_freeze_count()
    assert after == before


async def test_a_batch_on_the_thread_is_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamflow._runtime.executor import Shared

    pieces: list[int] = []
    do = Shared.do

    async def counted(self: Shared, work: Any, rows: int) -> None:
        pieces.append(rows)
        assert rows <= self.piece_rows
        await do(self, work, rows)

    monkeypatch.setattr(Shared, "do", counted)
    async with counting(sf.MemorySink(), ROWS * 4).start() as query:
        await query.wait()
    assert sum(pieces) == 4 * len(ROWS)
    assert len(pieces) > 4


async def test_checkpoint_without_a_folder_says_what_is_missing() -> None:
    with pytest.raises(StreamflowError, match="has no checkpoint"):
        async with counting(sf.MemorySink(), endless).start() as query:
            await query.checkpoint()


async def test_every_trigger_gives_the_same_rows() -> None:
    wanted = None
    for trigger in (sf.continuous(), sf.micro_batch("20ms"), sf.micro_batch("20ms", rate=sf.pid()), sf.available_now()):
        sink = sf.MemorySink()
        async with counting(sink, trigger=trigger).start() as query:
            await query.wait()
            await query.stop(finish=True)
        rows = sorted((r.key, r.start, r.value) for r in sink.rows)
        wanted = wanted or rows
        assert rows == wanted, trigger


async def test_once_works_off_one_batch_and_leaves_the_rest_to_the_next_run(state_dir: Path) -> None:
    batches = [0]
    for _ in range(200):
        sink = sf.MemorySink()
        pipeline = sf.Pipeline("once", trigger=sf.once(), checkpoint=str(state_dir))
        pipeline.read("numbers", list(range(3_000)), max_rows_per_trigger=1_000).to(sink)
        async with pipeline.start() as query:
            await query.wait()
            if query.was_finished:
                break
        batches.append(batches[-1] + len(sink.rows))
    assert batches == sorted(batches)
    assert batches[-1] == 3_000
    assert len(batches) > 3


async def test_head_returns_and_prints_the_first_rows(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = sf.Pipeline("preview")
    doubled = pipeline.read("numbers", range(1_000)).map(lambda n: {"n": n * 2})
    assert await doubled.head(3) == [{"n": 0}, {"n": 2}, {"n": 4}]
    assert capsys.readouterr().out.split() == ["n=0", "n=2", "n=4"]
