"""What follows the clock at a source, and how splits hold and leave the watermark."""

from __future__ import annotations

from typing import Any

import pytest

import streamflow as sf
from streamflow import agg
from streamflow._engine.graph import Graph
from streamflow.core.connector import Chunk
from streamflow.core.timestamp import MIN_TIMESTAMP
from streamflow.errors import OperatorError

SECOND = 1_000_000


def graph_of(early: str | None = None, **options: Any) -> Graph:
    pipeline = sf.Pipeline("clock")
    options = {"event_time": lambda row: row[0], "max_delay": "0s", **options}
    rows = pipeline.read("rows", [], **options)
    windows = rows.key_by(lambda row: row[1]).window(sf.tumbling("10s"), early=early)
    windows.aggregate(agg.count(), name="count").to(sf.MemorySink(), name="out")
    graph = Graph(pipeline.plan)
    for split in "AB":
        graph.open("rows", split, 0, 0)
    return graph


def send(graph: Graph, split: str, *seconds: int, now: int = 0) -> None:
    rows = [(second * SECOND, "k") for second in seconds]
    graph.feed("rows", [Chunk(split, rows, 0, len(rows))], now * SECOND)


def results(graph: Graph) -> list[tuple[int, int]]:
    values = [v for batch in graph.take_outputs().get("out", []) for v in batch.to_values()]
    return [(v.end // SECOND, v.value) for v in values]


def test_a_split_that_says_nothing_holds_the_watermark() -> None:
    graph = graph_of()
    send(graph, "A", 1, 30)
    graph.tick(1_000 * SECOND)
    assert results(graph) == []


def test_a_silent_split_leaves_the_watermark_after_idle_after() -> None:
    graph = graph_of(idle_after="5s")
    send(graph, "A", 1, 30, now=6)
    graph.tick(4 * SECOND)
    assert results(graph) == []
    graph.tick(6 * SECOND)
    assert results(graph) == [(10, 1)]


def test_when_all_are_idle_the_largest_watermark_stands_and_no_further() -> None:
    graph = graph_of(idle_after="5s")
    send(graph, "A", 1, 12)
    send(graph, "B", 1)
    graph.tick(100 * SECOND)
    assert results(graph) == [(10, 2)]
    assert graph.ingests["rows"].watermark == 12 * SECOND


def test_idle_advance_lets_the_last_window_of_a_quiet_source_close() -> None:
    graph = graph_of(idle_after="5s", idle_advance=True)
    send(graph, "A", 1, 12)
    graph.tick(100 * SECOND)
    assert results(graph) == [(10, 1)]
    graph.tick(107 * SECOND)
    assert results(graph) == []
    graph.tick(108 * SECOND)
    assert results(graph) == [(20, 1)]


def test_a_time_from_the_future_is_refused_and_makes_nothing_late() -> None:
    graph = graph_of(max_future="1h", on_error="skip")
    send(graph, "B", 1, 2, now=10)
    send(graph, "A", 1, 100_000, 2, now=10)
    graph.end()
    assert results(graph) == [(10, 4)]
    assert graph.ledgers["rows"].dead_lettered == 1
    graph.check_ledgers()


def test_a_time_from_the_future_fails_by_default_and_says_why() -> None:
    graph = graph_of(max_future="1h")
    with pytest.raises(OperatorError, match="more than max_future ahead of the clock"):
        send(graph, "A", 100_000)


def test_a_split_far_ahead_is_paused_and_the_slowest_read_first() -> None:
    graph = graph_of(max_skew="30s")
    ingest = graph.ingests["rows"]
    send(graph, "A", 100)
    send(graph, "B", 10)
    assert ingest.wanted() == ["B"]
    send(graph, "B", 80)
    assert ingest.wanted() == ["B", "A"]


def test_ingestion_time_closes_windows_by_the_clock_alone() -> None:
    pipeline = sf.Pipeline("ingestion")
    rows = pipeline.read("rows", [])
    rows.key_by(lambda row: row).window(sf.tumbling("10s")).count(name="count").to(sf.MemorySink(), name="out")
    graph = Graph(pipeline.plan)
    graph.open("rows", "A", 0, 0)
    graph.feed("rows", [Chunk("A", ["k", "k"], 0, 2)], 3 * SECOND)
    graph.tick(9 * SECOND)
    assert results(graph) == []
    graph.tick(10 * SECOND)
    assert results(graph) == [(10, 2)]


def test_early_firing_emits_what_changed_and_the_close_emits_the_rest() -> None:
    graph = graph_of(early="5s")
    graph.finish("rows", "B")
    send(graph, "A", 1, 2)
    graph.tick(5 * SECOND)
    assert results(graph) == [(10, 2)]
    graph.tick(10 * SECOND)
    assert results(graph) == []
    send(graph, "A", 3)
    graph.tick(15 * SECOND)
    assert results(graph) == [(10, 3)]
    graph.end()
    assert results(graph) == [(10, 3)]


def test_a_punctuated_watermark_moves_only_where_a_row_says_so() -> None:
    pipeline = sf.Pipeline("punctuated")
    rows = pipeline.read(
        "rows", [], event_time=lambda row: row[0], watermark=lambda row: row[0] if row[1] == "mark" else None
    )
    rows.key_by(lambda row: "k").window(sf.tumbling("10s")).count(name="count").to(sf.MemorySink(), name="out")
    graph = Graph(pipeline.plan)
    graph.open("rows", "A", 0, 0)
    graph.feed("rows", [Chunk("A", [(SECOND, "a"), (50 * SECOND, "b")], 0, 2)], 0)
    assert graph.ingests["rows"].watermark == MIN_TIMESTAMP
    graph.feed("rows", [Chunk("A", [(12 * SECOND, "mark")], 2, 3)], 0)
    assert results(graph) == [(10, 1)]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"t": "soon"}, "an event time must be an aware datetime or a number"),
        ({}, "has no field 't' for event_time"),
        ({"t": 10**30}, "years 1 to 9999"),
        ({"t": True}, "an event time must be"),
        ({"t": float("nan")}, "an event time must be"),
    ],
)
def test_a_row_without_a_usable_time_is_refused_by_name_and_reason(value: dict[str, Any], said: str) -> None:
    pipeline = sf.Pipeline("times")
    pipeline.read("rows", [], event_time="t", max_delay="0s").to(sf.MemorySink())
    graph = Graph(pipeline.plan)
    graph.open("rows", "A", 0, 0)
    with pytest.raises(OperatorError, match="step 'rows' failed") as caught:
        graph.feed("rows", [Chunk("A", [value], 0, 1)], 0)
    assert said in str(caught.value)
