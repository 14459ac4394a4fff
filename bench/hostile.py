"""What flatters nobody: one hot key, rows too late, one row a batch, wide rows."""

from __future__ import annotations

import numpy as np
import polars as pl

import streamflow as sf
from bench import answers, data
from bench.scenario import Outcome, Scenario, timed
from bench.sinks import Collect
from bench.workloads import TIME, TUMBLING, of_stream, of_table, windows_of_columns
from streamflow import agg


def hot_key(size: str) -> Outcome:
    """Run W2c with every row under one key."""
    frame = data.frame(size).with_columns(user=pl.lit("user00000"))
    return _windows(frame, frame)


def late_rows(size: str) -> Outcome:
    """Run W2c with 30 % of the rows a minute behind: they are dropped, one by one."""
    frame = data.frame(size)
    is_late = np.random.default_rng(3).random(frame.height) < 0.30
    is_late[0] = False  # the first row moves the watermark; until then nothing is late
    late = pl.Series(is_late)
    return _windows(frame.with_columns(ts=pl.col("ts") - pl.lit(late).cast(pl.Int64) * 60_000), frame.filter(~late))


def wide_rows(size: str) -> Outcome:
    """Run W2c on 50 columns, all of which come to the window."""
    frame = data.frame(size)
    more = [(pl.col("amount") + i).alias(f"more{i}") for i in range(50 - frame.width)]
    return _windows(frame.with_columns(more), frame)


def one_row(size: str) -> Outcome:
    """Run W2c in batches of one row."""
    return windows_of_columns("W2", TUMBLING, size, rows=1)


def one_row_of_rows(size: str) -> Outcome:
    """Run W2 on Python dicts in batches of one row."""
    sink = Collect()
    pipeline = sf.Pipeline("one-row-rows")
    rows = data.frame(size).to_dicts()
    events = pipeline.read("events", rows, event_time=lambda e: e["ts"], **TIME, max_rows_per_trigger=1)
    windows = events.key_by(lambda e: e["user"]).window(TUMBLING)
    windows.aggregate(agg.sum(lambda e: e["amount"]), agg.count()).to(sink)
    seconds = timed(pipeline)
    return Outcome(len(rows), seconds, of_stream(sink.values), answers.oracle("W2", size))


def _windows(frame: pl.DataFrame, on_time: pl.DataFrame) -> Outcome:
    sink = Collect()
    pipeline = sf.Pipeline("hostile")
    events = pipeline.table("events", frame, event_time="ts", **TIME)
    events.group_by("user").window(TUMBLING).agg(s=agg.col("amount").sum(), c=agg.rows()).to(sink)
    seconds = timed(pipeline)
    panes = on_time.group_by(w=pl.col("ts") // 10_000 * 10_000, user="user").agg(s=pl.col("amount").sum(), c=pl.len())
    return Outcome(frame.height, seconds, of_table(sink.frame()), answers.of_windows(panes))


HOSTILE = [
    Scenario("hot-key", "W2c, every row under one key", hot_key),
    Scenario("late-rows", "W2c, 30 % of the rows a minute late", late_rows),
    Scenario("wide-rows", "W2c, 50 columns", wide_rows),
    Scenario("one-row", "W2c, one row a batch", one_row, size="20k"),
    Scenario("one-row-rows", "W2 on dicts, one row a batch", one_row_of_rows, size="20k"),
]
