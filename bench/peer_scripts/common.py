"""What the peers' scripts share; the standard library only, since each runs in an environment of its own.

A script says ``main({"W2": function, ...})``; ``function(size)`` returns the seconds of one run and what its output
came to.  ``bench.peers`` gives the workload, the size, how often, and where the data are, and compares with the oracle.

Origin: ``common.py`` of the peers' benchmark of 2026-11-22.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

T0 = 1_700_000_100_000
ROWS = {"2k": 2_000, "20k": 20_000, "100k": 100_000, "1m": 1_000_000, "10m": 10_000_000}
RATE = 5_000
SECONDS = 10
Event = dict[str, Any]
Answer = dict[str, float]
Run = tuple[float, Answer]


def folder() -> Path:
    return Path(os.environ["BENCH_DATA"])


@lru_cache(maxsize=1)
def lines(size: str) -> list[str]:
    """Return one JSON document a line."""
    return (folder() / f"{size}.jsonl").read_text().splitlines()


@lru_cache(maxsize=1)
def events(size: str) -> list[Event]:
    """Return the lines decoded, each into a dict with keys of its own."""
    return [json.loads(line) for line in lines(size)]


def users() -> dict[str, Event]:
    """Return the table of users by name."""
    known: dict[str, Event] = json.loads((folder() / "users.json").read_text())
    return known


def of_windows(windows: Iterable[tuple[int, str, float, int]]) -> Answer:
    """Return what windows (start in ms, user, sum, count) come to."""
    rows, total, count, weighted, squares = 0, 0.0, 0, 0.0, 0
    for start, _, s, c in windows:
        rows += 1
        total += s
        count += c
        weighted += ((start - T0) // 10_000 + 100) * s
        squares += c * c
    return {"rows": rows, "sum": total, "cnt": count, "wsum": weighted, "sq": squares}


def of_counts(counts: Iterable[int]) -> Answer:
    """Return what counts by segment come to."""
    known = list(counts)
    return {"rows": len(known), "cnt": sum(known), "sq": sum(n * n for n in known)}


def of_delays(delays: list[float]) -> Answer:
    """Return the percentiles of some seconds, in milliseconds."""
    ordered = sorted(delays)
    return {f"p{q}_ms": 1e3 * ordered[len(ordered) * q // 100] for q in (50, 99)}


class Total:
    """A sink that counts and adds up."""

    def __init__(self) -> None:
        self.rows, self.sum = 0, 0.0

    def add(self, amount: float) -> None:
        self.rows += 1
        self.sum += amount

    def answer(self) -> Answer:
        return {"rows": self.rows, "sum": self.sum}


class Windows:
    """Tumbling windows with a watermark, written by hand: for peers that have no event time."""

    def __init__(self) -> None:
        self.closed: list[tuple[int, str, float, int]] = []
        self._open: dict[int, dict[str, list[Any]]] = {}
        self._latest = 0

    def add(self, event: Event) -> None:
        ts = event["ts"]
        users = self._open.setdefault(ts - ts % 10_000, {})
        total = users.get(event["user"])
        if total is None:
            users[event["user"]] = [event["amount"], 1]
        else:
            total[0] += event["amount"]
            total[1] += 1
        if ts > self._latest:
            self._latest = ts
            while min(self._open) + 10_000 <= ts - 2_000:
                self._close(min(self._open))

    def answer(self) -> Answer:
        for start in sorted(self._open):
            self._close(start)
        return of_windows(self.closed)

    def _close(self, start: int) -> None:
        self.closed += [(start, user, s, c) for user, (s, c) in self._open.pop(start).items()]


def main(workloads: dict[str, Callable[[str], Run]]) -> None:
    """Run one workload as often as asked, and print a line for each run."""
    name, size, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if name not in workloads:
        print(json.dumps({"absent": True}))
        return
    for _ in range(times):
        gc.collect()
        seconds, answer = workloads[name](size)
        print("RESULT " + json.dumps({"rows": ROWS[size], "seconds": seconds, "answer": answer}), flush=True)


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
