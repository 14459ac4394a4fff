"""How good a guest the engine is: a host's loop while a pipeline runs flat out inside it with ``start()``.

``lag_p99_ms``: how much later than asked a sleep of a millisecond ends.  ``echoes_s``: round trips of 64 bytes over TCP
between two tasks of that loop; ``idle_echoes_s``: the same before the pipeline starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import streamflow as sf
from bench import answers, data
from bench.answers import Answer
from bench.latency import figures
from bench.scenario import Outcome, Scenario
from bench.sinks import Collect
from bench.workloads import TIME, TUMBLING, Event, of_stream, of_table
from streamflow import agg

IDLE_SECONDS = 0.5
Build = Callable[[sf.Pipeline, Collect, str], Callable[[], Answer]]


def columns(pipeline: sf.Pipeline, sink: Collect, size: str) -> Callable[[], Answer]:
    """Build W2c; return what its output comes to, to be called when it has ended."""
    events = pipeline.table("events", data.frame(size), event_time="ts", **TIME)
    events.group_by("user").window(TUMBLING).agg(s=agg.col("amount").sum(), c=agg.rows()).to(sink)
    return lambda: of_table(sink.frame())


def rows(pipeline: sf.Pipeline, sink: Collect, size: str) -> Callable[[], Answer]:
    """Build W2 with functions."""
    source = sf.FileSource(data.lines(size), format=sf.Json(Event))
    events = pipeline.read("events", source, event_time=lambda e: e.ts, **TIME)
    windows = events.key_by(lambda e: e.user).window(TUMBLING)
    windows.aggregate(agg.sum(lambda e: e.amount), agg.count()).to(sink)
    return lambda: of_stream(sink.values)


def guest(build: Build, size: str) -> Outcome:
    """Run a pipeline in a host that sleeps and echoes."""
    sink = Collect()
    pipeline = sf.Pipeline("guest")
    answer = build(pipeline, sink, size)
    seconds, measured = asyncio.run(_host(pipeline))
    return Outcome(data.SIZES[size], seconds, answer(), answers.oracle("W2", size), measured)


async def _host(pipeline: sf.Pipeline) -> tuple[float, dict[str, float]]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        idle = await _beside(asyncio.sleep(IDLE_SECONDS), port)
        async with pipeline.start() as query:
            started = time.perf_counter()
            busy = await _beside(query.wait(), port)
            seconds = time.perf_counter() - started
    lag = {f"lag_{name}": value for name, value in figures(busy[0]).items()}
    idle_lag = {f"idle_lag_{name}": value for name, value in figures(idle[0]).items()}
    return seconds, {**lag, "echoes_s": busy[1], **idle_lag, "idle_echoes_s": idle[1]}


async def _beside(work: object, port: int) -> tuple[list[float], float]:
    """Return the lags, and the round trips a second, while some work is awaited."""
    lags: list[float] = [0.0]
    echoes = [0]
    guests = [asyncio.create_task(_lag(lags)), asyncio.create_task(_ask(port, echoes))]
    started = time.perf_counter()
    try:
        await work  # type: ignore[misc]
    finally:
        for task in guests:
            task.cancel()
        await asyncio.wait(guests)
    return lags, echoes[0] / (time.perf_counter() - started)


async def _lag(lags: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        lags.append(time.perf_counter() - started - 0.001)


async def _ask(port: int, echoes: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            writer.write(b"x" * 64)
            await reader.readexactly(64)
            echoes[0] += 1
    finally:
        writer.close()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionResetError):  # the one who asks is cancelled between question and answer
        while message := await reader.read(64):
            writer.write(message)
    writer.close()


EMBEDDED = [
    Scenario("guest-columns", "W2c inside a host's loop", lambda size: guest(columns, size)),
    Scenario("guest-rows", "W2 with functions inside a host's loop", lambda size: guest(rows, size)),
]
