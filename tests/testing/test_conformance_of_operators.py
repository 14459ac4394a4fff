"""Our own operators keep to their contract, and those that break a clause are caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import streamflow as sf
from streamflow import agg
from streamflow._engine.plan import StepNode, Surroundings
from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.element import Element, Output, Watermark
from streamflow.core.operator import Ledger, Operator, Stateless
from streamflow.core.rows import Rows
from streamflow.core.state import Snapshot
from streamflow.operators.refusal import Refusal
from streamflow.testing.conformance import check_operator, stamped

SECOND = 1_000_000

WINDOWS = {
    "tumbling": sf.tumbling("10s"),
    "sliding": sf.sliding("10s", every="4s", offset="1s"),
    "session": sf.session("3s"),
}


def step_of(build: Callable[[Any], Any], *, layout: str = "rows") -> Callable[[], Operator]:
    """Return what makes the last step that ``build`` adds to a stream or a table."""
    pipeline = sf.Pipeline("conformance")
    rows = pipeline.read("rows", [], event_time=lambda row: row["t"], max_delay="2s")
    build(rows if layout == "rows" else rows.as_table({"k": pl.String, "v": pl.Int64}))
    node = [node for node in pipeline.plan.nodes.values() if isinstance(node, StepNode)][-1]
    return lambda: node.make(Surroundings(Refusal(node.name, node.on_error), has_late=True, is_tracking=True))


def elements(layout: str = "rows") -> list[Element]:
    """Return batches out of order by two seconds and more, and the watermarks that go with them."""
    times = [[3, 5, 4, 9], [8, 12, 2, 13, 11], [14, 14, 30, 28]]
    found: list[Element] = []
    mark = -1 << 62
    for number, batch_times in enumerate(times):
        at = [time * SECOND for time in batch_times]
        keys = [f"k{(number + i) % 2}" for i in range(len(at))]
        values = [{"k": key, "v": (number + 1) * 10 + i} for i, key in enumerate(keys)]
        batch: Batch = stamped(values, at, delay=2 * SECOND, after=mark, start=100 * number, keys=keys)
        if layout == "columns":
            assert isinstance(batch, Rows)
            batch = columns_of(batch)
        mark = max(mark, max(at) - 2 * SECOND)
        found += [batch, Watermark(mark)]
    return [*found, Watermark(100 * SECOND)]


def columns_of(batch: Rows) -> Batch:
    return Columns(batch.stamps, pl.DataFrame(batch.values))


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize(
    ("emit", "lateness"), [("close", "0s"), ("close", "3s"), ("each", "0s"), ("update", "3s"), ("complete", "0s")]
)
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
def test_windows_keep_to_the_contract(window: Any, emit: str, layout: str, lateness: str) -> None:
    def build(rows: Any) -> None:
        options = {"emit": emit, "allowed_lateness": lateness}
        if layout == "rows":
            rows.key_by(lambda row: row["k"]).window(window, **options).aggregate(agg.sum(lambda row: row["v"]))
        else:
            rows.group_by("k").window(window, **options).agg(total=agg.col("v").sum())

    is_table = emit in ("update", "complete") or lateness != "0s"
    check_operator(step_of(build, layout=layout), elements(layout), as_table=is_table)


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_ordered_keeps_to_the_contract(layout: str) -> None:
    check_operator(step_of(lambda rows: rows.ordered(), layout=layout), elements(layout))


@pytest.mark.parametrize(
    "verb",
    [
        lambda rows: rows.map(lambda row: row["v"]),
        lambda rows: rows.filter(lambda row: row["v"] % 2),
        lambda rows: rows.flat_map(lambda row: range(row["v"] % 3)),
        lambda rows: rows.key_by(lambda row: row["k"]),
        lambda rows: rows.branch(lambda row: row["v"] > 20),
    ],
    ids=["map", "filter", "flat_map", "key_by", "branch"],
)
def test_stateless_verbs_keep_to_the_contract(verb: Callable[[Any], Any]) -> None:
    check_operator(step_of(verb), elements())


class First(Stateless):
    """Passes on the first row of each batch: what that is depends on the cut."""

    def on_batch(self, input: int, batch: Batch) -> list[Output]:
        self.ledger.rows_in += len(batch)
        self.ledger.used += len(batch)
        return [("main", batch.take(slice(0, 1)))]


class Count(Stateless):
    """Says how many rows have come, and forgets it in a crash."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def on_batch(self, input: int, batch: Batch) -> list[Output]:
        self.ledger.rows_in += len(batch)
        self.ledger.used += len(batch)
        self.rows += len(batch)
        return []

    def on_watermark(self, watermark: int) -> list[Output]:
        return [("main", stamped([self.rows], [watermark]))]


class Kept(Count):
    """Keeps what it counts, whole each time."""

    def snapshot(self, *, full: bool) -> Snapshot:
        return Snapshot({"rows": self.rows})

    def restore(self, snapshot: Snapshot) -> None:
        self.rows = snapshot.meta["rows"]


class Loses(Stateless):
    """Takes rows that are nowhere afterwards."""

    def on_batch(self, input: int, batch: Batch) -> list[Output]:
        self.ledger.rows_in += len(batch)
        return []


class Changes(Loses):
    """Changes the batch that it was given."""

    def on_batch(self, input: int, batch: Batch) -> list[Output]:
        batch.times[0] += 1
        self.ledger = Ledger()
        return []


class RunsAhead(First):
    """Forwards more than it has."""

    def held_watermark(self, watermark: int) -> int:
        return watermark + 1


def test_an_operator_that_keeps_its_state_passes() -> None:
    check_operator(Kept, elements())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (First, "the cut law: cut otherwise: these rows came out too often"),
        (Count, "the crash law: restored before element"),
        (Loses, "every row must be in exactly one place of the ledger"),
        (Changes, "on_batch() must not change the batch"),
        (RunsAhead, "it must not go back or run ahead"),
    ],
)
def test_an_operator_that_breaks_a_clause_is_caught(make: Callable[[], Operator], message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_operator(make, elements())
    assert message in str(caught.value)
