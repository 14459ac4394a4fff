"""The cut and crash laws of ``ordered()``, and that a union of sources is what one source of their splits is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamflow as sf
from streamflow import agg
from streamflow._engine.graph import Graph
from streamflow._engine.plan import Plan
from streamflow.core.connector import Chunk
from streamflow.core.state import compact_snapshots
from tests.laws.harness import (
    SPLITS,
    Case,
    Ran,
    Row,
    batches,
    collect,
    elements,
    expected,
    feed,
    public_window,
    start,
    us,
)
from tests.laws.test_window_laws import CUTS, cases, same

PLAIN = Case(None)


def ordered_plan(delay: int) -> Plan:
    pipeline = sf.Pipeline("law")
    rows = pipeline.read("source", [], event_time=lambda r: r.time, max_delay=us(delay)).filter(lambda r: r.value > 0)
    released = rows.ordered(name="ordered")
    released.to(sf.MemorySink(), name="released")
    released.late().to(sf.MemorySink(), name="too_late")
    return pipeline.plan


def take(graph: Graph) -> tuple[list[Any], list[Any]]:
    outputs = graph.take_outputs()
    released = [row for batch in outputs.get("released", []) for row in batch.to_values()]
    return released, [late.value for batch in outputs.get("too_late", []) for late in batch.to_values()]


def run_ordered(delay: int, items: list[Any], cuts: list[int]) -> tuple[list[Any], list[Any]]:
    graph = start(ordered_plan(delay))
    for batch in batches(items, cuts):
        feed(graph, batch, as_frames=False)
    graph.end()
    graph.check_ledgers()
    return take(graph)


@given(data=st.data(), delay=st.sampled_from([0, 2, 5]))
def test_released_rows_do_not_depend_on_the_cut(data, delay) -> None:
    items = data.draw(elements(PLAIN))
    released, late = run_ordered(delay, items, data.draw(CUTS))
    assert (released, late) == run_ordered(delay, items, [1])
    times = [row.time for row in released]
    assert times == sorted(times)
    assert sorted(released + late) == sorted(r for r in items if isinstance(r, Row) and r.value > 0)


@given(data=st.data(), crash_at=st.integers(0, 12), full=st.booleans())
def test_held_rows_survive_a_crash(data, crash_at, full) -> None:
    items = data.draw(elements(PLAIN))
    graph = start(ordered_plan(2), is_tracking=True)
    chain = [graph.snapshot(full=True)]
    for item in items[:crash_at]:
        feed(graph, [item], as_frames=False)
        chain = [graph.snapshot(full=True)] if full else [*chain, graph.snapshot(full=False)]
    before = take(graph)
    restored = start(ordered_plan(2), is_tracking=True)
    restored.restore({step: compact_snapshots([s[step] for s in chain]) for step in chain[-1]}, graph.positions(), 0)
    feed(restored, items[crash_at:], as_frames=False)
    restored.end()
    after = take(restored)
    assert (before[0] + after[0], before[1] + after[1]) == run_ordered(2, items, [1])


def union_plan(case: Case) -> Plan:
    pipeline = sf.Pipeline("law")
    streams = [
        pipeline.read(split, [], event_time=lambda r: r.time, max_delay=us(case.delay)).map(
            lambda r: r, name=f"map_{split}"
        )
        for split in SPLITS
    ]
    rows = streams[0].union(*streams[1:])
    if case.has_filter:
        rows = rows.filter(lambda r: r.value > 0)
    windows = rows.key_by(lambda r: r.key).window(
        public_window(case.window), emit=case.emit, allowed_lateness=us(case.lateness), late=case.late
    )
    results = windows.aggregate(agg.collect(lambda r: f"{r.split}{r.position}"), name="window")
    results.to(sf.MemorySink(), name="out")
    results.late().to(sf.MemorySink(), name="late")
    return pipeline.plan


def run_union(case: Case, items: list[Any], cuts: list[int]) -> Ran:
    graph = Graph(union_plan(case))
    for split in SPLITS:
        graph.open(split, split, 0, 0)
    ran = Ran([], [], graph)
    for batch in batches(items, cuts):
        for run in _runs(batch):
            if isinstance(run[0], Row):
                graph.feed(run[0].split, [Chunk(run[0].split, run, run[0].position, run[-1].position + 1)], 0)
            else:
                graph.idle(run[0].split, run[0].split)
        collect(graph, ran)
    graph.end()
    collect(graph, ran)
    graph.check_ledgers()
    return ran


def _runs(batch: list[Any]) -> list[list[Any]]:
    """Return neighbours of one split together; what is said of a split stands alone."""
    runs: list[list[Any]] = []
    for item in batch:
        last = runs[-1][-1] if runs else None
        if isinstance(item, Row) and isinstance(last, Row) and item.split == last.split:
            runs[-1].append(item)
        else:
            runs.append([item])
    return runs


@pytest.mark.parametrize("emit", ["close", "each"])
@given(data=st.data())
def test_a_union_of_sources_is_one_source_of_their_splits(emit, data) -> None:
    case = data.draw(cases(emits=(emit,)))
    items = data.draw(elements(case))
    same(run_union(case, items, data.draw(CUTS)), expected(case, items), case)
