"""W7: how long a row is under way while 5,000 come each second; p50 and p99 in milliseconds, every row counted.

A row is stamped where the source makes it and looked at where the sink is handed it, as in the peers' scripts.  Beside
each run, in the same process, the same rows go from the generator straight into the function: ``direct_p99_ms`` is what
the machine and its loop cost at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import streamflow as sf
from bench import data
from bench.scenario import Outcome, Scenario
from bench.sinks import Each
from streamflow import agg

RATE = 5_000
USERS = 1_000
WINDOW = sf.sliding("10s", every="1s")
Row = dict[str, Any]


class Paced:
    """Rows at a rate: as many as are due, then a millisecond's sleep.  Remembers what it sent."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.sent: list[Row] = []

    async def __call__(self) -> AsyncIterator[Row]:
        started = time.time()
        while len(self.sent) < self.rows:
            due = min(int((time.time() - started) * RATE), self.rows)
            for number in range(len(self.sent), due):
                user = number * 7_919 % USERS
                row = {"t": time.time(), "type": "a", "user": user, "number": number}
                self.sent.append(row)
                yield row
            await asyncio.sleep(0.001)


def stateless(size: str, *, is_embedded: bool = False) -> Outcome:
    """Run W7, with ``run()`` or in a loop of ours with ``start()``."""
    paced = Paced(data.SIZES[size])
    delays: list[float] = []
    numbers: list[int] = []

    def take(rows: list[Row]) -> None:
        now = time.time()
        delays.extend(now - row["t"] for row in rows)
        numbers.extend(row["number"] for row in rows)

    pipeline = sf.Pipeline("W7")
    source = sf.GeneratorSource(paced.__call__, is_bounded=True)
    pipeline.read("events", source).filter(lambda e: e["type"] != "test").to(Each(take))
    seconds = _run(pipeline, is_embedded=is_embedded)
    want = {"rows": float(paced.rows), "order": float(sum(i * n for i, n in enumerate(range(paced.rows))))}
    got = {"rows": float(len(numbers)), "order": float(sum(i * n for i, n in enumerate(numbers)))}
    return Outcome(paced.rows, seconds, got, want, figures(delays) | direct(size))


def windowed(size: str) -> Outcome:
    """Run W7w: each row at once gives the count of its key in the window that ends next."""
    paced = Paced(data.SIZES[size])
    delays: list[float] = []
    counts: list[int] = []

    def take(rows: list[Any]) -> None:
        now = time.time()
        delays.extend(now - row.value[1] for row in rows)
        counts.extend(row.value[0] for row in rows)

    pipeline = sf.Pipeline("W7w")
    source = sf.GeneratorSource(paced.__call__, is_bounded=True)
    events = pipeline.read("events", source, event_time=lambda e: int(e["t"] * 1e6), max_delay="0s")
    windows = events.key_by(lambda e: e["user"]).window(WINDOW, emit="each")
    windows.aggregate(agg.count(), agg.max(lambda e: e["t"])).to(Each(take))
    seconds = _run(pipeline)
    want = {str(i): float(n) for i, n in enumerate(_counts(paced.sent))}
    got = {str(i): float(n) for i, n in enumerate(counts)}
    return Outcome(paced.rows, seconds, got, want, figures(delays) | direct(size))


def over_socket(size: str) -> Outcome:
    """Run W7 with rows that another process stamps and sends as lines over TCP."""
    rows = data.SIZES[size]
    delays: list[float] = []

    def take(stamps: list[float]) -> None:
        now = time.time()
        delays.extend(now - stamp for stamp in stamps)

    with _feeder(rows) as port:
        pipeline = sf.Pipeline("W7-socket")
        source = sf.SocketSource("127.0.0.1", port, sf.Text(), is_bounded=True)
        pipeline.read("events", source).filter(lambda line: line != "test").map(float).to(Each(take))
        seconds = _run(pipeline)
    return Outcome(rows, seconds, {"rows": float(len(delays))}, {"rows": float(rows)}, figures(delays))


def direct(size: str) -> dict[str, float]:
    """Return the delays of the same rows without anything between the generator and the function."""
    delays: list[float] = []

    async def call() -> None:
        rows = Paced(min(data.SIZES[size], RATE))()
        delays.extend([time.time() - row["t"] async for row in rows if row["type"] != "test"])

    asyncio.run(call())
    return {f"direct_{name}": value for name, value in figures(delays).items()}


def figures(delays: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile of some seconds, in milliseconds."""
    ordered = sorted(delays)
    return {f"p{q}_ms": 1e3 * ordered[min(len(ordered) - 1, len(ordered) * q // 100)] for q in (50, 99)}


def _run(pipeline: sf.Pipeline, *, is_embedded: bool = False) -> float:
    async def embed() -> None:
        async with pipeline.start() as query:
            await query.wait()

    started = time.perf_counter()
    if is_embedded:
        asyncio.run(embed())
    else:
        pipeline.run()
    return time.perf_counter() - started


def _counts(sent: list[Row]) -> Iterator[int]:
    """Yield, for each row, how many rows of its key have come in the window that ends next."""
    times: dict[int, list[int]] = defaultdict(list)
    for row in sent:
        time_ = int(row["t"] * 1e6)
        start = (time_ // WINDOW.slide + 1) * WINDOW.slide - WINDOW.size
        times[row["user"]].append(time_)
        yield sum(1 for seen in times[row["user"]] if seen >= start)


@contextlib.contextmanager
def _feeder(rows: int) -> Iterator[int]:
    """Start a process that listens, and once somebody has come sends ``rows`` stamps at the rate; yield its port."""
    process = subprocess.Popen([sys.executable, "-c", _FEEDER, str(rows), str(RATE)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


_FEEDER = """
import socket, sys, time
rows, rate = int(sys.argv[1]), int(sys.argv[2])
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
connection, _ = server.accept()
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
started, sent = time.time(), 0
while sent < rows:
    due = min(int((time.time() - started) * rate), rows) - sent
    if due:
        connection.sendall(b"".join(b"%.6f\\n" % time.time() for _ in range(due)))
    sent += due
    time.sleep(0.001)
connection.close()
"""


def _scenario(name: str, what: str, run: Callable[[str], Outcome], must: float, goal: float) -> Scenario:
    return Scenario(name, what, run, size="20k", must=must, goal=goal, unit="p99_ms")


LATENCY = [
    _scenario("W7", "latency at 5,000 rows/s, stateless", stateless, 2.0, 0.5),
    _scenario("W7-start", "the same inside a host's loop", lambda size: stateless(size, is_embedded=True), 2.0, 0.5),
    _scenario("W7-socket", "the same over TCP from another process", over_socket, 2.0, 0.5),
    _scenario("W7w", "latency through a keyed sliding window, a row each", windowed, 10.0, 3.0),
]
