"""csp in simulated time: one clock for the engine, no event time and no keyed windows, so W2's and W4's are by hand.

Rows come from a pull adapter: ``csp.curve`` over Python objects takes 15 times as long, most of it to build the graph.

Origin: ``bench_csp.py`` of the peers' benchmark of 2026-11-22.
"""
# ruff: noqa: RET503 - a node that returns nothing does not tick
# csp reads annotations when it builds a graph, so they are not postponed here

import json
import threading
import time
from datetime import datetime, timedelta

import common
import csp
from csp import ts
from csp.impl.pulladapter import PullInputAdapter
from csp.impl.pushadapter import PushInputAdapter
from csp.impl.wiring import py_pull_adapter_def, py_push_adapter_def

START = datetime(2023, 11, 14)  # noqa: DTZ001 - csp takes times without a zone
STEP = timedelta(microseconds=200)


class Held:
    """Rows that csp is not to look into."""

    def __init__(self, rows):
        self.rows = rows


class Pull(PullInputAdapter):
    def __init__(self, held):
        self._held = held
        super().__init__()

    def start(self, start, end):
        self._rows = ((START + STEP * i, row) for i, row in enumerate(self._held.rows))
        super().start(start, end)

    def next(self):
        return next(self._rows, None)


class Push(PushInputAdapter):
    """Rows at a rate, stamped in a thread of their own."""

    def __init__(self, rate, seconds):
        self._rate, self._rows, self._is_running = rate, rate * seconds, True

    def start(self, start, end):
        self._thread = threading.Thread(target=self._push)
        self._thread.start()

    def stop(self):
        self._is_running = False
        self._thread.join()

    def _push(self):
        started, sent = time.time(), 0
        while self._is_running and sent < self._rows:
            due = int((time.time() - started) * self._rate) - sent
            for _ in range(due):
                self.push_tick({"t": time.time(), "type": "a"})
            sent += due
            time.sleep(0.001)


pull = py_pull_adapter_def("pull", Pull, ts[object], held=object)
push = py_push_adapter_def("push", Push, ts[object], rate=int, seconds=int)


@csp.node
def parse(x: ts[object]) -> ts[object]:
    if csp.ticked(x):
        return json.loads(x)


@csp.node
def keep(x: ts[object]) -> ts[object]:
    if csp.ticked(x) and x["type"] != "test":
        return x


@csp.node
def project(x: ts[object]) -> ts[object]:
    if csp.ticked(x):
        return (x["user"], x["amount"] * 1.1)


@csp.node
def raised(x: ts[object]) -> ts[object]:
    if csp.ticked(x):
        return {**x, "amount": x["amount"] * 1.1}


@csp.node
def enriched(x: ts[object], users: object) -> ts[object]:
    if csp.ticked(x):
        return {**x, **users[x["user"]]}


@csp.node
def running(x: ts[object]) -> ts[object]:
    with csp.state():
        s_totals = {}
    if csp.ticked(x):
        value = s_totals[x["user"]] = s_totals.get(x["user"], 0.0) + x["amount"]
        return (x["user"], value)


@csp.node
def add_up(x: ts[object], total: object):
    if csp.ticked(x):
        total.add(x[1])


@csp.node
def windowed(x: ts[object], windows: object):
    if csp.ticked(x):
        windows.add(x)


@csp.node
def count_segments(x: ts[object], counts: object):
    if csp.ticked(x):
        counts[x["segment"]] = counts.get(x["segment"], 0) + 1


@csp.node
def delay(x: ts[object], delays: object):
    if csp.ticked(x):
        delays.append(time.time() - x["t"])


@csp.graph
def graph1(held: object, total: object):
    add_up(project(keep(parse(pull(held)))), total)


@csp.graph
def graph2(held: object, windows: object):
    windowed(parse(pull(held)), windows)


@csp.graph
def graph4(held: object, windows: object):
    windowed(keep(raised(pull(held))), windows)


@csp.graph
def graph5(held: object, users: object, counts: object):
    count_segments(keep(enriched(pull(held), users)), counts)


@csp.graph
def graph6(held: object, total: object):
    add_up(running(pull(held)), total)


@csp.graph
def graph7(delays: object):
    delay(keep(push(common.RATE, common.SECONDS)), delays)


def go(graph, *arguments):
    return common.seconds_of(lambda: csp.run(graph, *arguments, starttime=START, endtime=timedelta(days=1)))


def w1(size):
    total = common.Total()
    return go(graph1, Held(common.lines(size)), total), total.answer()


def w2(size):
    windows = common.Windows()
    return go(graph2, Held(common.lines(size)), windows), windows.answer()


def w4(size):
    windows = common.Windows()
    return go(graph4, Held(common.events(size)), windows), windows.answer()


def w5(size):
    counts = {}
    return go(graph5, Held(common.events(size)), common.users(), counts), common.of_counts(counts.values())


def w6(size):
    total = common.Total()
    return go(graph6, Held(common.events(size)), total), total.answer()


def w7(size):
    del size
    delays = []
    span = timedelta(seconds=common.SECONDS + 0.5)
    seconds = common.seconds_of(lambda: csp.run(graph7, delays, realtime=True, endtime=span))
    return seconds, common.of_delays(delays)


common.main({"W1": w1, "W2": w2, "W4": w4, "W5": w5, "W6": w6, "W7": w7})
