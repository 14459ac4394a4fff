"""The laws of growth: what a row costs as keys and open windows grow, beside what it costs polars or a dict.

``keys-*``: one sum and count per key in a window that nothing leaves, over so many keys.  The law holds if the ratio to
the limit does not fall as keys grow.  ``bytes_a_key`` is what the peak of
the process grew by, result rows and all: nothing where loading the data held more before, so a hint and no proof.

``panes-*``: a window of 6 to 600 slides of one second, over 100 keys.  The law holds if rows/s stay the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import polars as pl

import streamflow as sf
from bench import data, tables
from bench.scenario import Outcome, Scenario, seconds_of, timed
from bench.sinks import Collect
from bench.workloads import TIME
from streamflow import agg

KEYS = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
PANES = (6, 60, 600)
DAY = sf.tumbling("1d")


def _key_counts(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by("user").agg(s=pl.col("amount").sum(), c=pl.len())


def keys_of_columns(keys: int, size: str) -> Outcome:
    frame = tables.of_keys(data.SIZES[size], keys)
    sink = Collect()
    pipeline = sf.Pipeline("keys")
    events = pipeline.table("events", frame, event_time="ts", **TIME)
    events.group_by("user").window(DAY).agg(s=agg.col("amount").sum(), c=agg.rows()).to(sink)
    before = _resident_bytes()
    seconds = timed(pipeline)
    grown = max(0, _resident_bytes() - before)
    result = sink.frame()
    figures = {"ns_a_row": 1e9 * seconds / frame.height, "bytes_a_key": grown / result.height}
    want = tables.of_counts(_key_counts(frame)["c"])
    return Outcome(frame.height, seconds, tables.of_counts(result["c"]), want, figures)


def keys_of_rows(keys: int, size: str) -> Outcome:
    frame = tables.of_keys(data.SIZES[size], keys)
    sink = Collect()
    pipeline = sf.Pipeline("keys-rows")
    events = pipeline.read("events", frame.rows(), event_time=lambda e: e[0], **TIME)
    windows = events.key_by(lambda e: e[2]).window(DAY)
    windows.aggregate(agg.sum(lambda e: e[1]), agg.count()).to(sink)
    seconds = timed(pipeline)
    got = tables.of_counts(pl.Series([window.value[1] for window in sink.values], dtype=pl.Int64))
    want = tables.of_counts(_key_counts(frame)["c"])
    return Outcome(frame.height, seconds, got, want, {"ns_a_row": 1e9 * seconds / frame.height})


def polars_keys(keys: int, size: str) -> float:
    """Return the seconds of polars' own ``group_by``."""
    frame = tables.of_keys(data.SIZES[size], keys)
    return seconds_of(lambda: _key_counts(frame))


def dict_keys(keys: int, size: str) -> float:
    """Return the seconds of a plain dict."""
    rows = tables.of_keys(data.SIZES[size], keys).rows()
    started = time.perf_counter()
    totals: dict[str, list[float]] = {}
    for _, amount, user in rows:
        total = totals.get(user)
        if total is None:
            totals[user] = [amount, 1]
        else:
            total[0] += amount
            total[1] += 1
    return time.perf_counter() - started


def panes(slides: int, emit: str, size: str) -> Outcome:
    frame = tables.of_keys(data.SIZES[size], 100)
    sink = Collect()
    pipeline = sf.Pipeline("panes")
    events = pipeline.table("events", frame, event_time="ts", **TIME)
    window = sf.sliding(f"{slides}s", every="1s")
    events.group_by("user").window(window, emit=emit).agg(s=agg.col("amount").sum(), c=agg.rows()).to(sink)
    seconds = timed(pipeline)
    want = (tables.each_counts if emit == "each" else tables.sliding_counts)(frame, 1_000, slides)
    got = tables.of_counts(sink.frame()["c"])
    return Outcome(frame.height, seconds, got, want, {"ns_a_row": 1e9 * seconds / frame.height})


def _resident_bytes() -> int:
    from bench.measure import peak_bytes  # it imports the registry, which imports this

    return peak_bytes()


def _keyed(label: str, keys: int) -> list[Scenario]:
    of_columns: Callable[[str], Outcome] = lambda size: keys_of_columns(keys, size)  # noqa: E731 - a table of them
    return [
        Scenario(
            f"keys-{label}", f"{keys:,} keys, columns", of_columns, {"polars": lambda size: polars_keys(keys, size)}
        ),
        Scenario(
            f"keys-{label}-rows",
            f"{keys:,} keys, Python rows",
            lambda size: keys_of_rows(keys, size),
            {"dict": lambda size: dict_keys(keys, size)},
        ),
    ]


def _paned(slides: int, emit: str) -> Scenario:
    return Scenario(f"panes-{slides}-{emit}", f"{slides} slides a window", lambda size: panes(slides, emit, size))


SCALING = [
    *(scenario for label, keys in KEYS.items() for scenario in _keyed(label, keys)),
    *(_paned(slides, emit) for emit in ("close", "each") for slides in PANES),
]
