"""W1 to W6 as streamflow pipelines, written through the public API as a user would write them.

``W2`` reads JSON lines, ``W2c`` columns in memory; ``-rows`` is the same on the ``Stream`` face, ``-file`` reads the
columns from an Arrow file, ``-1k`` cuts batches of 1,000 rows.  Time runs from ``run()`` to its return: opening,
reading, decoding, computing, and handing the results to a sink that keeps them.  Whether they are right is found out
afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec
import polars as pl

import streamflow as sf
from bench import answers, data, limits
from bench.answers import Answer, oracle
from bench.scenario import Outcome, Scenario, timed
from bench.sinks import Collect
from streamflow import agg
from streamflow.pipeline import SourceOptions

BATCHES = {"100": 100, "1k": 1_000, "10k": 10_000, "100k": 100_000}
TUMBLING = sf.tumbling("10s")
SLIDING = sf.sliding("5m", every="10s")
TIME: SourceOptions = {"time_unit": "ms", "max_delay": "2s"}


class Event(msgspec.Struct, gc=False):
    """The fields that the windows need."""

    ts: int
    user: str
    amount: float


class TypedEvent(Event, gc=False):
    """The fields that the filter needs too."""

    type: str


# ---- from JSON lines


def filter_project(size: str) -> Outcome:
    sink = Collect()
    pipeline = sf.Pipeline("W1")
    source = sf.FileSource(data.lines(size), format=sf.Json(TypedEvent))
    events = pipeline.table("events", source)
    events.filter(pl.col("type") != "test").select("user", amount=pl.col("amount") * 1.1).to(sink)
    seconds = timed(pipeline)
    return Outcome(data.SIZES[size], seconds, answers.of_amounts(sink.frame()["amount"]), oracle("W1", size))


def filter_project_rows(size: str) -> Outcome:
    sink = Collect()
    pipeline = sf.Pipeline("W1-rows")
    source = sf.FileSource(data.lines(size), format=sf.Json(TypedEvent))
    events = pipeline.read("events", source)
    events.filter(lambda e: e.type != "test").map(lambda e: (e.user, e.amount * 1.1)).to(sink)
    seconds = timed(pipeline)
    amounts = pl.Series([amount for _, amount in sink.values])
    return Outcome(data.SIZES[size], seconds, answers.of_amounts(amounts), oracle("W1", size))


def windows_of_lines(query: str, window: Any, size: str) -> Outcome:
    sink = Collect()
    pipeline = sf.Pipeline(query)
    source = sf.FileSource(data.lines(size), format=sf.Json(Event))
    events = pipeline.table("events", source, event_time="ts", **TIME)
    events.group_by("user").window(window).agg(s=agg.col("amount").sum(), c=agg.rows()).to(sink)
    seconds = timed(pipeline)
    return Outcome(data.SIZES[size], seconds, of_table(sink.frame()), oracle(query, size))


def windows_of_line_rows(query: str, window: Any, size: str) -> Outcome:
    sink = Collect()
    pipeline = sf.Pipeline(f"{query}-rows")
    source = sf.FileSource(data.lines(size), format=sf.Json(Event))
    events = pipeline.read("events", source, event_time=lambda e: e.ts, **TIME)
    keyed = events.key_by(lambda e: e.user).window(window)
    keyed.aggregate(agg.sum(lambda e: e.amount), agg.count()).to(sink)
    seconds = timed(pipeline)
    return Outcome(data.SIZES[size], seconds, of_stream(sink.values), oracle(query, size))


# ---- from columns


def windows_of_columns(
    query: str, window: Any, size: str, *, rows: int | None = None, is_file: bool = False
) -> Outcome:
    """Run W2c or W3c.

    Args:
        query: The workload with this answer.
        window: Its window.
        size: The data.
        rows: At most so many rows a batch.
        is_file: Whether columns are read from an Arrow file, not from memory.
    """
    sink = Collect()
    source = sf.FileSource(data.arrow(size)) if is_file else sf.IterableSource(data.frame(size))
    pipeline = sf.Pipeline(f"{query}c")
    batch: SourceOptions = {} if rows is None else {"max_rows_per_trigger": rows}
    events = pipeline.table("events", source, event_time="ts", **TIME, **batch)
    events.group_by("user").window(window).agg(s=agg.col("amount").sum(), c=agg.rows()).to(sink)
    seconds = timed(pipeline)
    return Outcome(data.SIZES[size], seconds, of_table(sink.frame()), oracle(query, size))


def join_count(size: str) -> Outcome:
    sink = Collect()
    users = data.users()
    pipeline = sf.Pipeline("W5c")
    events = pipeline.table("events", data.frame(size))
    known = events.join(users, on="user", how="inner").filter(pl.col("type") != "test")
    known.group_by("segment").agg(n=agg.rows()).to(sink)
    seconds = timed(pipeline)
    last = sink.frame().unique("segment", keep="last")
    return Outcome(data.SIZES[size], seconds, answers.of_counts(last["n"]), oracle("W5", size))


def running_total(size: str) -> Outcome:
    sink = Collect()
    pipeline = sf.Pipeline("W6c")
    events = pipeline.table("events", data.frame(size))
    events.group_by("user").agg(total=agg.col("amount").sum(), emit="each").to(sink)
    seconds = timed(pipeline)
    return Outcome(data.SIZES[size], seconds, answers.of_amounts(sink.frame()["total"]), oracle("W6", size))


# ---- Python functions on dicts


def python_functions(size: str) -> Outcome:
    """Run W4, and beside it, on dicts of the same make, the loop that one would write by hand."""
    sink = Collect()
    pipeline = sf.Pipeline("W4")
    totals: sf.Aggregation[Any, tuple[float, int], tuple[float, int]] = sf.Aggregation(
        init=lambda: (0.0, 0),
        fold=lambda a, e: (a[0] + e["amount"], a[1] + 1),
        merge=lambda a, b: (a[0] + b[0], a[1] + b[1]),
        result=lambda a: a,
    )
    events = pipeline.read("events", data.events(size), event_time=lambda e: e["ts"], **TIME)
    raised = events.map(lambda e: {**e, "amount": e["amount"] * 1.1}).filter(lambda e: e["type"] != "test")
    raised.key_by(lambda e: e["user"]).window(TUMBLING).aggregate(totals).to(sink)
    seconds = timed(pipeline)
    return Outcome(data.SIZES[size], seconds, of_stream(sink.values), oracle("W4", size))


def by_hand(size: str) -> float:
    """Return the seconds that W4 takes in a hand-written loop, with a watermark and without a framework.

    Origin: ``bench_floor.py`` of the peers' benchmark of 2026-11-22.
    """
    events: Iterable[dict[str, Any]] = data.events(size)
    started = time.perf_counter()
    raised = map(lambda e: {**e, "amount": e["amount"] * 1.1}, events)  # noqa: C417 - the loop of the peers' benchmark
    closed = _tumble(filter(lambda e: e["type"] != "test", raised))
    seconds = time.perf_counter() - started
    windows = pl.DataFrame(
        closed, schema={"w": pl.Int64, "user": pl.String, "s": pl.Float64, "c": pl.Int64}, orient="row"
    )
    assert answers.agrees(answers.of_windows(windows), oracle("W4", size)), "the loop written by hand is wrong"
    return seconds


def _tumble(
    events: Iterable[dict[str, Any]], width: int = 10_000, delay: int = 2_000
) -> list[tuple[int, str, float, int]]:
    windows: dict[int, dict[str, list[Any]]] = {}
    latest = 0
    closed = []
    for e in events:
        ts = e["ts"]
        start = ts - ts % width
        users = windows.get(start)
        if users is None:
            users = windows[start] = {}
        total = users.get(e["user"])
        if total is None:
            users[e["user"]] = [e["amount"], 1]
        else:
            total[0] += e["amount"]
            total[1] += 1
        if ts > latest:
            latest = ts
            while windows and min(windows) + width <= latest - delay:
                first = min(windows)
                closed += [(first, user, s, c) for user, (s, c) in windows.pop(first).items()]
    for first in sorted(windows):
        closed += [(first, user, s, c) for user, (s, c) in windows[first].items()]
    return closed


# ---- what they come to


def of_table(windows: pl.DataFrame) -> Answer:
    """Return what the windows of a ``Table`` come to."""
    return answers.of_windows(windows.select("s", "c", w=pl.col("window_start").dt.epoch("ms")))


def of_stream(windows: list[Any]) -> Answer:
    """Return what the windows of a ``Stream`` come to, whose values are a sum and a count."""
    return answers.of_windows(
        pl.DataFrame(
            {
                "w": [window.start // 1_000 for window in windows],
                "s": [window.value[0] for window in windows],
                "c": [window.value[1] for window in windows],
            },
            schema={"w": pl.Int64, "s": pl.Float64, "c": pl.Int64},
        )
    )


MILLION = 1_000_000
WORKLOADS = [
    Scenario("W1", "JSON lines: filter, project", filter_project, limits.W1, must=2 * MILLION, goal=4 * MILLION),
    Scenario("W1-rows", "W1 with functions", filter_project_rows, limits.W1),
    Scenario(
        "W2",
        "JSON lines: 10 s tumbling sum and count per user",
        lambda size: windows_of_lines("W2", TUMBLING, size),
        limits.W2,
        must=1.6 * MILLION,
        goal=3.5 * MILLION,
    ),
    Scenario("W2-rows", "W2 with functions", lambda size: windows_of_line_rows("W2", TUMBLING, size), limits.W2),
    Scenario(
        "W2c",
        "W2 from columns",
        lambda size: windows_of_columns("W2", TUMBLING, size),
        limits.W2C,
        must=8 * MILLION,
        goal=20 * MILLION,
    ),
    Scenario(
        "W2c-file",
        "W2 from an Arrow file",
        lambda size: windows_of_columns("W2", TUMBLING, size, is_file=True),
        limits.W2C,
    ),
    Scenario(
        "W3",
        "JSON lines: 5 min window sliding by 10 s",
        lambda size: windows_of_lines("W3", SLIDING, size),
        limits.W3,
        must=1.3 * MILLION,
        goal=2.5 * MILLION,
    ),
    Scenario("W3-rows", "W3 with functions", lambda size: windows_of_line_rows("W3", SLIDING, size), limits.W3),
    Scenario(
        "W3c",
        "W3 from columns",
        lambda size: windows_of_columns("W3", SLIDING, size),
        limits.W3C,
        must=5 * MILLION,
        goal=10 * MILLION,
    ),
    Scenario(
        "W4",
        "Python functions on dicts, 10 s window, Python accumulator",
        python_functions,
        {"loop": by_hand},
        must=0.75,
        goal=0.95,
        unit="of limit",
    ),
    Scenario(
        "W5c", "static join, filter, count by segment", join_count, limits.W5C, must=6 * MILLION, goal=15 * MILLION
    ),
    Scenario("W6c", "running total per key, a row each", running_total, limits.W6C, must=3 * MILLION, goal=8 * MILLION),
]


def _in_batches(query: str, window: Any, label: str, rows: int) -> Scenario:
    return Scenario(
        f"{query}c-{label}",
        f"{query} from columns, {rows:,} rows a batch",
        lambda size: windows_of_columns(query, window, size, rows=rows),
        limits.W2C if query == "W2" else limits.W3C,
        size="100k" if rows == BATCHES["100"] else "1m",
        must={"W2100": 0.4 * MILLION, "W21k": 2 * MILLION}.get(query + label),
    )


WORKLOADS += [
    _in_batches(query, window, label, rows)
    for query, window in (("W2", TUMBLING), ("W3", SLIDING))
    for label, rows in BATCHES.items()
]
