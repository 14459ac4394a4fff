"""What exactly-once costs: W2 into a file, with an epoch every second or every 200 ms, against the same without any.

The ratio is the share of throughput that is left.  One epoch needs a second of work: take ``--size 10m`` for figures.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl

import streamflow as sf
from bench import answers, data
from bench.scenario import Outcome, Scenario, timed
from bench.workloads import TIME, TUMBLING, Event
from streamflow import agg


def with_epochs(every: str | None, size: str) -> Outcome:
    """Run W2 from lines to lines.

    Args:
        every: How long an epoch is; None runs without checkpoints.
        size: The data.
    """
    with tempfile.TemporaryDirectory(prefix="streamflow-bench-") as folder:
        output = Path(folder) / "windows.jsonl"
        state = None if every is None else f"{folder}/state"
        pipeline = sf.Pipeline("epochs", checkpoint=state, epoch=every or "1s")
        source = sf.FileSource(data.lines(size), format=sf.Json(Event))
        events = pipeline.table("events", source, event_time="ts", **TIME)
        windows = events.group_by("user").window(TUMBLING).agg(s=agg.col("amount").sum(), c=agg.rows())
        windows.to(sf.FileSink(output), name="windows")
        seconds = timed(pipeline)
        result = pl.read_ndjson(output, infer_schema_length=1)
    start = pl.col("window_start").str.to_datetime(time_zone="UTC").dt.epoch("ms")
    got = answers.of_windows(result.select("s", "c", w=start))
    return Outcome(data.SIZES[size], seconds, got, answers.oracle("W2", size))


def without(size: str) -> float:
    """Return the seconds of the same work without checkpoints."""
    return with_epochs(None, size).seconds


def _scenario(every: str, must: float) -> Scenario:
    run = lambda size: with_epochs(every, size)  # noqa: E731 - a table of them
    return Scenario(
        f"epoch-{every}", f"W2 to a file, an epoch every {every}", run, {"none": without}, must=must, unit="of limit"
    )


EPOCHS = [_scenario("1s", 0.95), _scenario("200ms", 0.90)]
