"""Cases that are driven step by step through the public API: watermark generators, Spark's micro-batches, queries.

What is translated
    * Flink's generator says ``max - delay - 1``: one tick less than ours, with the same meaning.
    * Bytewax's watermark goes on with the clock while nothing comes: here only where the source is idle and asks for it
      (``idle_advance``).
    * Spark judges a batch by the watermark of the batch before, streamflow each row by what its split has seen; the
      cases come out the same.  ``state_rows`` of tumbling windows is the number of (key, slice) rows in a snapshot.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import streamflow as sf
from streamflow import agg
from streamflow.connectors.memory import MemorySink
from streamflow.testing import Drive, drive
from streamflow.testing.transcript import transcript
from streamflow.testing.transcript_run import INPUT, OUTPUT, Row, build
from tests.cases.adapt_core import window_of
from tests.cases.catalogue import Case

MICROS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000}


async def generator(case: Case) -> tuple[list[int | None], list[int | None]]:
    """Return the watermarks expected, and those of a source with this delay."""
    pipeline = sf.Pipeline("generator")
    delay, tick = f"{case['generator']['delay_ms']}ms", 1 if case["name"].startswith("flink") else 0
    rows = pipeline.read(
        INPUT, [], event_time=lambda ts: ts, time_unit="ms", max_delay=delay, idle_after="1d", idle_advance=True
    )
    rows.to(MemorySink())
    steps = case.get("steps", [{"event_ts": ts} for ts in case.get("events", [])])
    steps = [*steps, *([{"expect_watermark": case["expect_watermark"]}] if "expect_watermark" in case else [])]
    expected: list[int | None] = []
    got: list[int | None] = []
    async with drive(pipeline) as d:
        source = d.source(INPUT)
        for step in steps:
            if "event_ts" in step:
                await source.send(step["event_ts"])
            elif "clock_advance_ms" in step:
                await source.idle()
                await d.advance(f"{step['clock_advance_ms']}ms")
            else:
                mark = d.watermark(INPUT)
                expected.append(step["expect_watermark"])
                got.append(None if mark is None else mark // 1_000 - tick)
    return expected, got


async def spark(case: Case, layout: str) -> tuple[list[Any], list[Any]]:
    """Return what each check of a Spark case expects and gets."""
    query, unit = case["query"], _unit(case)
    pages = [_counted(query, row) for step in case["steps"] if "batch" in step for row in step["batch"]["in"]]
    page = transcript(
        {
            "name": case["name"],
            "unit": "s",
            "window": _window(query["window"], unit),
            "agg": "count",
            "emit": {"append": "close"}.get(case["mode"], case["mode"]),
            "max_delay": _delay(query),
            "steps": [{"input": [[word, ts * unit, 1] for rows in pages for word, ts in rows]}],
        }
    )
    checks: list[tuple[Any, Any]] = []
    async with drive(build(page, layout)) as d:
        dropped = 0
        for step in case["steps"]:
            match step:
                case {"batch": {"in": rows}}:
                    dropped = d.ledger("step").dropped
                    sent = [Row(word, ts * unit, 1) for row in rows for word, ts in _counted(query, row)]
                    await d.source(INPUT).send(*sent)
                case {"restart": True}:
                    await d.crash_and_restore()
                case {"expect_new": rows}:
                    checks.append((Counter(map(tuple, rows)), _shown(query, d.sink(OUTPUT).new(), unit)))
                case {"expect_all": rows}:
                    sink = d.sink(OUTPUT)
                    found = list(sink.table.values()) if case["mode"] == "complete" else sink.rows
                    checks.append((Counter(map(tuple, rows)), _shown(query, found, unit)))
                case {"dropped_late": count}:
                    checks.append((count, d.ledger("step").dropped - dropped))
                case {"state_rows": count}:
                    checks.append((count, _state_rows(d)))
                case _:
                    raise NotImplementedError(f"{case['name']}: no adapter for the step {step}")
    return [expected for expected, _ in checks], [got for _, got in checks]


def _unit(case: Case) -> int:
    return 60 if "size_m" in case["query"]["window"] else 1


def _window(window: dict[str, Any], unit: int) -> dict[str, int]:
    size = window.get("size_s", window.get("size_m")) * unit
    if window["type"] == "tumbling":
        return {"tumbling": size}
    return {"sliding": size, "every": window.get("slide_s", window.get("slide_m")) * unit}


def _delay(query: dict[str, Any]) -> int | None:
    return query["watermark_delay_m"] * 60 if "watermark_delay_m" in query else query.get("watermark_delay_s")


def _counted(query: dict[str, Any], row: list[Any]) -> list[tuple[str, int]]:
    """Return the keys that a row counts for, each with its time."""
    words = row[1].split() if query["op"] == "sliding_word_count" else ["all"]
    return [(word, row[0]) for word in words]


def _shown(query: dict[str, Any], rows: list[Any], unit: int) -> Counter[tuple[Any, ...]]:
    shown = query.get("shown", {})
    found: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        is_frame = isinstance(row, dict)
        micros = int(row["window_start"].timestamp()) * MICROS["s"] if is_frame else row.start
        start = micros // MICROS["s"] // unit
        key, value = (row["key"], row["value"]) if is_frame else (row.key, row.value)
        if shown.get("from", start) <= start <= shown.get("to", start):
            found[(start, value) if "word" not in query["out"] else (start, key, value)] += 1
    return found


def _state_rows(d: Drive) -> int:
    snapshot = d._rig.graph.stations["step"].operator.snapshot(full=True)
    return sum(part.frame.height for part in snapshot.parts)


async def last_of_window(case: Case) -> tuple[list[Any], list[Any]]:
    """Return the last row of each window, expected and got."""
    pipeline = sf.Pipeline("last")
    rows = pipeline.read(INPUT, case["rows"], event_time=lambda row: row["ts"], time_unit="ms", max_delay="1d")
    rows.window_all(window_of(case)).aggregate(agg.last(), name="last").to(MemorySink(), name=OUTPUT)
    async with drive(pipeline) as d:
        await d.source(INPUT).send(*case["rows"])
        await d.end()
        got = [w.value | {"start": w.start // 1_000, "end": w.end // 1_000} for w in d.sink(OUTPUT).rows]
    return _by_start(case["expect"]), _by_start(got)


async def top(case: Case) -> tuple[list[Any], list[Any]]:
    """Return the keys with the largest sums of each window, expected and got: a window over the results of a window."""
    pipeline = sf.Pipeline("top")
    key, size = case["key"], window_of(case)
    rows = pipeline.read(INPUT, case["rows"], event_time=lambda row: row["ts"], time_unit="ms", max_delay="1d")
    sums = (
        rows.key_by(lambda row: row[key])
        .window(size)
        .aggregate(agg.sum(lambda row: row["price"]), agg.count(), name="sums")
    )
    best = agg.top_k(case["top"]["n"], by=lambda result: result.value[0])
    sums.window_all(size).aggregate(best, name="best").to(MemorySink(), name=OUTPUT)
    async with drive(pipeline) as d:
        await d.source(INPUT).send(*case["rows"])
        await d.end()
        got = [
            {
                "start": w.start // 1_000,
                "end": w.end // 1_000,
                "key": r.key,
                "sum": r.value[0],
                "count": r.value[1],
                "rank": i,
            }
            for w in d.sink(OUTPUT).rows
            for i, r in enumerate(w.value, 1)
        ]
    return _by_start(case["expect"]), _by_start(got)


def _by_start(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["start"], row.get("rank", 0)))
