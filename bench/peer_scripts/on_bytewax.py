"""bytewax: one worker, rows from memory in batches of 1,000 (its default of 1 is 4.5 times slower).

Its watermark also moves with the system's clock between the rows of a key, so that the bound that is exact, 2 s, loses
0.05 % of the rows; 5 s loses none.

Origin: ``bench_bytewax.py`` of the peers' benchmark of 2026-11-22.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import common
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.operators import windowing
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSource, run_main
from common import Event, Run

BATCH = 1_000
ALIGN = datetime.fromtimestamp(common.T0 / 1_000, UTC)
TUMBLING = windowing.TumblingWindower(length=timedelta(seconds=10), align_to=ALIGN)
SLIDING = windowing.SlidingWindower(length=timedelta(minutes=5), offset=timedelta(seconds=10), align_to=ALIGN)


class Part(StatelessSinkPartition):
    def __init__(self, function: Callable[[list[Any]], object]) -> None:
        self._function = function

    def write_batch(self, items: list[Any]) -> None:
        self._function(items)


class Sink(DynamicSink):
    def __init__(self, function: Callable[[list[Any]], object]) -> None:
        self._function = function

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Part:
        del step_id, worker_index, worker_count
        return Part(self._function)


class PacedPart(StatelessSourcePartition):
    """Rows at a rate, stamped when they are handed over."""

    def __init__(self) -> None:
        self._started, self._sent = time.time(), 0

    def next_batch(self) -> list[Event]:
        if self._sent >= common.RATE * common.SECONDS:
            raise StopIteration
        now = time.time()
        due = int((now - self._started) * common.RATE) - self._sent
        self._sent += due
        return [{"t": now, "type": "a", "amount": 1.0} for _ in range(due)]

    def next_awake(self) -> datetime:
        return datetime.now(UTC) + timedelta(milliseconds=1)


class Paced(DynamicSource):
    def build(self, *_: object) -> PacedPart:
        return PacedPart()


def go(flow: Dataflow) -> float:
    return common.seconds_of(lambda: run_main(flow))


def w1(size: str) -> Run:
    total = common.Total()

    def sink(items: list[tuple[str, float]]) -> None:
        total.rows += len(items)
        total.sum += sum(amount for _, amount in items)

    flow = Dataflow("w1")
    rows = op.map("parse", op.input("in", flow, TestingSource(common.lines(size), batch_size=BATCH)), json.loads)
    kept = op.filter("keep", rows, lambda e: e["type"] != "test")
    op.output("out", op.map("project", kept, lambda e: (e["user"], e["amount"] * 1.1)), Sink(sink))
    return go(flow), total.answer()


def windows(size: str, windower: Any, *, is_parsed: bool, has_functions: bool = False) -> Run:
    out: list[Any] = []
    flow = Dataflow("windows")
    rows = op.input("in", flow, TestingSource((common.events if is_parsed else common.lines)(size), batch_size=BATCH))
    if not is_parsed:
        rows = op.map("parse", rows, json.loads)
    if has_functions:
        rows = op.map("raise", rows, lambda e: {**e, "amount": e["amount"] * 1.1})
        rows = op.filter("keep", rows, lambda e: e["type"] != "test")
    clock = windowing.EventClock(
        lambda e: datetime.fromtimestamp(e["ts"] / 1_000, UTC), wait_for_system_duration=timedelta(seconds=5)
    )
    keyed = op.key_on("key", rows, lambda e: e["user"])
    made = windowing.fold_window("window", keyed, clock, windower, lambda: [0.0, 0], fold, merge)
    op.output("out", made.down, Sink(out.extend))
    seconds = go(flow)
    return seconds, common.of_windows((common.T0 + number * 10_000, user, s, c) for user, (number, (s, c)) in out)


def fold(total: list[Any], e: Event) -> list[Any]:
    total[0] += e["amount"]
    total[1] += 1
    return total


def merge(total: list[Any], other: list[Any]) -> list[Any]:
    total[0] += other[0]
    total[1] += other[1]
    return total


def w5(size: str) -> Run:
    users, out = common.users(), []
    flow = Dataflow("w5")
    rows = op.input("in", flow, TestingSource(common.events(size), batch_size=BATCH))
    known = op.filter("keep", op.map("join", rows, lambda e: {**e, **users[e["user"]]}), lambda e: e["type"] != "test")
    op.output("out", op.count_final("count", known, lambda e: e["segment"]), Sink(out.extend))
    return go(flow), common.of_counts(n for _, n in out)


def w6(size: str) -> Run:
    total = common.Total()

    def sink(items: list[tuple[str, float]]) -> None:
        total.rows += len(items)
        total.sum += sum(value for _, value in items)

    def running(before: float | None, e: Event) -> tuple[float, float]:
        value = (before or 0.0) + e["amount"]
        return value, value

    flow = Dataflow("w6")
    rows = op.input("in", flow, TestingSource(common.events(size), batch_size=BATCH))
    keyed = op.key_on("key", rows, lambda e: e["user"])
    op.output("out", op.stateful_map("total", keyed, running), Sink(sink))
    return go(flow), total.answer()


def w7(size: str) -> Run:
    del size
    delays: list[float] = []

    def sink(stamps: list[float]) -> None:
        now = time.time()
        delays.extend(now - stamp for stamp in stamps)

    flow = Dataflow("w7")
    kept = op.filter("keep", op.input("in", flow, Paced()), lambda e: e["type"] != "test")
    op.output("out", op.map("stamp", kept, lambda e: e["t"]), Sink(sink))
    return go(flow), common.of_delays(delays)


common.main(
    {
        "W1": w1,
        "W2": lambda size: windows(size, TUMBLING, is_parsed=False),
        "W3": lambda size: windows(size, SLIDING, is_parsed=False),
        "W4": lambda size: windows(size, TUMBLING, is_parsed=True, has_functions=True),
        "W5": w5,
        "W6": w6,
        "W7": w7,
    }
)
