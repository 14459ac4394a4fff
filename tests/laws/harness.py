"""What the laws share: random elements, the plan that a case describes, and how it is run over a cut of them.

The oracle is ``tests/reference/model.py``: the rules as a program, one row at a time, which knows no batch.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

import streamflow as sf
from streamflow import agg
from streamflow._engine.graph import Graph
from streamflow._engine.plan import Plan
from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Chunk
from streamflow.core.stamps import DELETE

_spec = importlib.util.spec_from_file_location(
    "reference_model", Path(__file__).parent.parent / "reference" / "model.py"
)
assert _spec is not None
assert _spec.loader is not None
model = importlib.util.module_from_spec(_spec)
sys.modules["reference_model"] = model
_spec.loader.exec_module(model)

Row, Idle, Finished = model.Row, model.Idle, model.Finished
SPLITS = "AB"


@dataclass(frozen=True)
class Case:
    """A windowed step, as the model and the pipeline both understand it."""

    window: Any
    delay: int = 0
    lateness: int = 0
    emit: str = "close"
    late: str = "drop"
    has_filter: bool = False

    def model(self) -> Any:
        where = (lambda row: row.value > 0) if self.has_filter else (lambda row: True)
        return model.Model(self.window, SPLITS, self.delay, self.lateness, self.emit, self.late, where)


def us(value: int) -> timedelta:
    return timedelta(microseconds=value)


def public_window(window: Any) -> Any:
    if isinstance(window, model.Session):
        return sf.session(us(window.gap))
    return sf.sliding(us(window.size), every=us(window.slide), offset=us(window.offset))


def rows_plan(case: Case, aggregation: Any = None) -> Plan:
    pipeline = sf.Pipeline("law")
    rows = pipeline.read("source", [], event_time=lambda r: r.time, max_delay=us(case.delay))
    if case.has_filter:
        rows = rows.filter(lambda r: r.value > 0)
    keyed = rows.key_by(lambda r: r.key)
    windows = keyed.window(
        public_window(case.window), emit=case.emit, allowed_lateness=us(case.lateness), late=case.late
    )
    results = windows.aggregate(aggregation or agg.collect(lambda r: f"{r.split}{r.position}"), name="window")
    results.to(sf.MemorySink(), name="out")
    results.late().to(sf.MemorySink(), name="late")
    return pipeline.plan


def columns_plan(case: Case, **aggregations: Any) -> Plan:
    pipeline = sf.Pipeline("law")
    schema = {"split": pl.String, "position": pl.Int64, "time": pl.Int64, "key": pl.String, "value": pl.Float64}
    rows = pipeline.table("source", [], schema=schema, event_time="time", max_delay=us(case.delay))
    rows = rows.with_columns(id=pl.col("split") + pl.col("position").cast(pl.String))
    if case.has_filter:
        rows = rows.filter(pl.col("value") > 0)
    windows = rows.group_by("key").window(
        public_window(case.window), emit=case.emit, allowed_lateness=us(case.lateness), late=case.late
    )
    results = windows.agg(name="window", **(aggregations or {"value": agg.col("id").collect()}))
    results.to(sf.MemorySink(), name="out")
    results.late().to(sf.MemorySink(), name="late")
    return pipeline.plan


def elements(case: Case, *, max_rows: int = 12) -> st.SearchStrategy[list[Any]]:
    """Return interleavings of two splits' rows, with idleness."""
    row = st.tuples(
        st.sampled_from(SPLITS), st.integers(-12, 40), st.sampled_from("kkj"), st.sampled_from([1.0, 0.5, -1.0])
    )
    idle = st.sampled_from(SPLITS).map(lambda s: ("idle", s))
    return st.lists(st.one_of(row, row, row, idle), max_size=max_rows).map(_number)


def _number(drawn: Sequence[Any]) -> list[Any]:
    positions = dict.fromkeys(SPLITS, 0)
    found: list[Any] = []
    for item in drawn:
        if item[0] == "idle":
            found.append(Idle(item[1]))
        else:
            split, time, key, value = item
            found.append(Row(split, positions[split], time, key, value))
            positions[split] += 1
    return found


@dataclass
class Ran:
    """What left the pipeline: changes in order, and late rows."""

    out: list[tuple[str, str, int, int, tuple[str, ...]]]
    late: list[tuple[str, int, int]]
    graph: Graph

    @property
    def table(self) -> dict[tuple[str, int, int], tuple[str, ...]]:
        folded: dict[tuple[str, int, int], tuple[str, ...]] = {}
        for kind, key, start, end, rows in self.out:
            if kind == "-":
                folded.pop((key, start, end), None)
            else:
                folded[key, start, end] = rows
        return folded


def batches(items: Sequence[Any], cuts: Iterable[int]) -> Iterator[list[Any]]:
    """Yield the elements in runs as long as the cuts say, over and over."""
    lengths = list(cuts) or [1]
    at = i = 0
    while at < len(items):
        yield list(items[at : at + lengths[i % len(lengths)]])
        at += lengths[i % len(lengths)]
        i += 1


def start(plan: Plan, *, is_tracking: bool = False) -> Graph:
    graph = Graph(plan, is_tracking=is_tracking)
    for split in SPLITS:
        graph.open("source", split, 0, 0)
    return graph


def feed(graph: Graph, batch: Sequence[Any], *, as_frames: bool) -> None:
    """Give a batch of elements: rows next to each other go in one call, in chunks of one split each."""
    chunks: list[Chunk] = []
    for item in batch:
        if isinstance(item, Row):
            if chunks and chunks[-1].split == item.split:
                before = chunks.pop()
                rows = [*before.data, item]
                chunks.append(Chunk(item.split, rows, before.start, item.position + 1))
            else:
                chunks.append(Chunk(item.split, [item], item.position, item.position + 1))
            continue
        _flush(graph, chunks, as_frames=as_frames)
        chunks = []
        if isinstance(item, Idle):
            graph.idle("source", item.split)
        else:
            graph.finish("source", item.split)
    _flush(graph, chunks, as_frames=as_frames)


def _flush(graph: Graph, chunks: Sequence[Chunk], *, as_frames: bool) -> None:
    if chunks:
        graph.feed("source", [_framed(c) for c in chunks] if as_frames else chunks, 0)


def _framed(chunk: Chunk) -> Chunk:
    return Chunk(chunk.split, pl.DataFrame([r._asdict() for r in chunk.data]), chunk.start, chunk.resume)  # type: ignore[union-attr]


def collect(graph: Graph, ran: Ran) -> None:
    outputs = graph.take_outputs()
    for batch in outputs.get("out", []):
        ran.out += _changes(batch)
    for batch in outputs.get("late", []):
        ran.late += _late(batch)


def _changes(batch: Batch) -> Iterator[tuple[str, str, int, int, tuple[str, ...]]]:
    kinds = batch.stamps.kind.tolist() if batch.stamps.kind is not None else [0] * len(batch)
    for kind, (key, start, end, value) in zip(kinds, _results(batch), strict=True):
        sign = "-" if kind == DELETE else "+"
        yield (
            sign,
            key,
            start,
            end,
            tuple(sorted(value)) if isinstance(value, list) and sign == "+" else (() if sign == "-" else value),
        )


def _results(batch: Batch) -> Iterator[tuple[str, int, int, Any]]:
    if isinstance(batch, Columns):
        names = [c for c in batch.frame.columns if c not in ("key", "window_start", "window_end")]
        frame = batch.frame.with_columns(pl.col("window_start", "window_end").to_physical())
        for row in frame.iter_rows(named=True):
            values = [row[n] for n in names]
            yield row["key"], row["window_start"], row["window_end"], values[0] if len(values) == 1 else tuple(values)
        return
    for value in batch.to_values():
        yield value.key, value.start, value.end, value.value


def _late(batch: Batch) -> Iterator[tuple[str, int, int]]:
    if isinstance(batch, Columns):
        frame = batch.frame.with_columns(pl.col("missed_windows").list.eval(pl.element().to_physical()))
        for row in frame.iter_rows(named=True):
            for first in row["missed_windows"]:
                yield row["id"], first, 0
        return
    for late in batch.to_values():
        for first, _ in late.windows:
            yield f"{late.value.split}{late.value.position}", first, 0


def run(plan: Plan, items: Sequence[Any], cuts: Iterable[int], *, as_frames: bool = False, end: bool = True) -> Ran:
    """Run a plan over elements, cut into batches."""
    graph = start(plan)
    ran = Ran([], [], graph)
    for batch in batches(items, cuts):
        feed(graph, batch, as_frames=as_frames)
        collect(graph, ran)
    if end:
        graph.end()
        collect(graph, ran)
    graph.check_ledgers()
    return ran


def expected(case: Case, items: Sequence[Any]) -> Ran:
    """Return what the model says."""
    oracle = case.model()
    for item in items:
        oracle.step(item)
    oracle.end()
    out = [(o.kind, o.key, o.start, o.end, tuple(sorted(f"{s}{p}" for s, p in o.rows))) for o in oracle.out]
    late = [(f"{missed.row.split}{missed.row.position}", missed.start, 0) for missed in oracle.late]
    return Ran(out, late, None)  # type: ignore[arg-type]


WINDOWS = [
    model.Tumbling(10),
    model.Tumbling(7, 3),
    model.Sliding(10, 5),
    model.Sliding(6, 4),
    model.Sliding(12, 3, 1),
    model.Sliding(3, 5),
]
SESSIONS = [model.Session(5), model.Session(10)]
