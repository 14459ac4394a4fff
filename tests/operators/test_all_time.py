"""Aggregations without a window: the pane is the key, and never closes."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import streamflow as sf
from streamflow import agg
from streamflow.testing import drive


def totals(emit: str, layout: str) -> sf.Pipeline:
    """Return the sum of each key over all of time, of rows that never state a watermark."""
    pipeline = sf.Pipeline("totals")
    rows = pipeline.read("rows", [], event_time=lambda _: 0, watermark=lambda _: None)
    if layout == "rows":
        keyed = rows.key_by(lambda row: row["key"])
        keyed.all_time(emit=emit).aggregate(agg.sum(lambda row: row["n"]), name="sum").to(sf.MemorySink(), name="out")
    else:
        table = rows.as_table({"key": pl.String, "n": pl.Int64}).group_by("key")
        table.agg(emit=emit, value=agg.col("n").sum(), name="sum").to(sf.MemorySink(), name="out")
    return pipeline


def sums(rows: Any) -> list[tuple[str, int]]:
    return [(row["key"], row["value"]) if isinstance(row, dict) else (row.key, row.value) for row in rows]


def row(key: str, n: int) -> dict[str, Any]:
    return {"key": key, "n": n}


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("emit", ["each", "update", "complete"])
async def test_totals_survive_a_crash_though_no_watermark_has_come(emit: str, layout: str) -> None:
    async with drive(totals(emit, layout)) as d:
        await d.source("rows").send(row("a", 1), row("b", 10))
        await d.crash_and_restore()
        await d.source("rows").send(row("a", 2))
        await d.crash_and_restore()
        await d.source("rows").send(row("a", 4))
        assert ("a", 7) in sums(d.sink("out").rows)[-2:]
        assert d.watermark("sum") is None


@pytest.mark.parametrize("layout", ["rows", "columns"])
async def test_close_emits_at_the_end_and_not_before(layout: str) -> None:
    async with drive(totals("close", layout)) as d:
        await d.source("rows").send(row("a", 1), row("b", 10))
        await d.crash_and_restore()
        await d.source("rows").send(row("a", 2))
        assert d.sink("out").rows == []
        await d.end()
        assert sorted(sums(d.sink("out").rows)) == [("a", 3), ("b", 10)]


@pytest.mark.parametrize("layout", ["rows", "columns"])
async def test_complete_is_every_key_once_a_batch(layout: str) -> None:
    async with drive(totals("complete", layout)) as d:
        await d.source("rows").send(row("a", 1), row("b", 10))
        assert sorted(sums(d.sink("out").new())) == [("a", 1), ("b", 10)]
        await d.source("rows").send(row("b", 1))
        assert sorted(sums(d.sink("out").new())) == [("a", 1), ("b", 11)]
        assert sorted(sums(d.sink("out").table.values())) == [("a", 1), ("b", 11)]
