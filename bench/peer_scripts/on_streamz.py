"""streamz: no event time, so the window of W2 and W4 is written by hand.

Origin: ``bench_streamz.py`` of the peers' benchmark of 2026-11-22.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import common
from common import Answer, Event, Run
from streamz import Stream


def feed(stream: Stream, rows: Iterable[Any]) -> float:
    emit = stream.emit
    started = time.perf_counter()
    for row in rows:
        emit(row)
    return time.perf_counter() - started


def w1(size: str) -> Run:
    total, source = common.Total(), Stream()
    projected = (
        source.map(json.loads).filter(lambda e: e["type"] != "test").map(lambda e: (e["user"], e["amount"] * 1.1))
    )
    projected.sink(lambda row: total.add(row[1]))
    return feed(source, common.lines(size)), total.answer()


def w2(size: str) -> Run:
    windows, source = common.Windows(), Stream()
    source.map(json.loads).sink(windows.add)
    return feed(source, common.lines(size)), windows.answer()


def w4(size: str) -> Run:
    windows, source = common.Windows(), Stream()
    raised = source.map(lambda e: {**e, "amount": e["amount"] * 1.1})
    raised.filter(lambda e: e["type"] != "test").sink(windows.add)
    return feed(source, common.events(size)), windows.answer()


def w5(size: str) -> Run:
    users, source = common.users(), Stream()
    last: list[dict[str, int]] = [{}]
    known = source.map(lambda e: {**e, **users[e["user"]]}).filter(lambda e: e["type"] != "test")
    known.map(lambda e: e["segment"]).frequencies().sink(lambda counts: last.__setitem__(0, counts))
    return feed(source, common.events(size)), common.of_counts(last[0].values())


def w6(size: str) -> Run:
    total, source = common.Total(), Stream()

    def running(totals: dict[str, float], e: Event) -> tuple[dict[str, float], float]:
        value = totals[e["user"]] = totals.get(e["user"], 0.0) + e["amount"]
        return totals, value

    source.accumulate(running, returns_state=True, start={}).sink(total.add)
    return feed(source, common.events(size)), total.answer()


def w7(size: str) -> tuple[float, Answer]:
    del size
    delays: list[float] = []
    source = Stream()
    source.filter(lambda e: e["type"] != "test").map(lambda e: e["t"]).sink(lambda t: delays.append(time.time() - t))
    started, sent = time.time(), 0
    while sent < common.RATE * common.SECONDS:
        due = int((time.time() - started) * common.RATE) - sent
        for _ in range(due):
            source.emit({"t": time.time(), "type": "a"})
        sent += due
        time.sleep(0.001)
    return time.time() - started, common.of_delays(delays)


common.main({"W1": w1, "W2": w2, "W4": w4, "W5": w5, "W6": w6, "W7": w7})
