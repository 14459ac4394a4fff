"""The events that every system is measured on, made once and kept; the same bits on every machine.

Events lie in the order of their arrival, 5,000 a second of event time.  30 % are delayed, by 400 ms on average and by
1,999 ms at most, so that a watermark which trails by 2 s finds no row late.  10,000 users, Zipf 1.1; ``type`` has five
values, 10 % are ``test``; ``amount`` has two decimals.  About 81 bytes of JSON a row.

Origin: ``gen.py`` of the peers' benchmark of 2026-11-22.  The random draws are the same, in the same order; the sizes
below 1m are the first rows of 1m, as they were for the peers.

    python -m bench.data 1m 10m
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

T0 = 1_700_000_100_000  # milliseconds, a multiple of five minutes
RATE = 5_000  # events a second of event time
USERS = 10_000
TYPES = np.array(["click", "view", "buy", "refund", "test"])
SEGMENTS = ["free", "basic", "pro", "team", "enterprise", "trial", "churned", "partner"]
COUNTRIES = ["US", "DE", "IN", "BR", "JP"]
SIZES = {"2k": 2_000, "20k": 20_000, "100k": 100_000, "1m": 1_000_000, "10m": 10_000_000}
COLUMNS = {"id": pl.Int64, "ts": pl.Int64, "user": pl.String, "type": pl.String, "amount": pl.Float64}
OF_THEIR_OWN = ("2k", "1m", "10m")  # the other sizes are heads of 1m; 2k is for tests, which need no more


def folder() -> Path:
    """Return where data are kept: ``$BENCH_DATA``, or a folder in the user's cache."""
    return Path(os.environ.get("BENCH_DATA", "~/.cache/streamflow-bench/data")).expanduser()


def frame(size: str) -> pl.DataFrame:
    """Return the events of a size, read from disk, in one piece of memory."""
    return pl.read_ipc(_file(size, "arrow")).rechunk()


def lines(size: str) -> Path:
    """Return the path of the events as JSON lines."""
    return _file(size, "jsonl")


def arrow(size: str) -> Path:
    """Return the path of the events as an Arrow IPC file in batches of 65,536 rows."""
    return _file(size, "arrow")


def events(size: str) -> list[dict[str, Any]]:
    """Return the events as dicts, decoded line by line as the peers' are, so that each has keys of its own."""
    with lines(size).open("rb") as file:
        return [json.loads(line) for line in file]


def users() -> pl.DataFrame:
    """Return the table of users: ``user``, ``segment``, ``country``."""
    path = folder() / "users.parquet"
    if not path.exists():
        _keep(_make_users(), path)
    return pl.read_parquet(path)


def parquet(size: str) -> Path:
    """Return the path of the events as parquet."""
    return _file(size, "parquet")


def _file(size: str, kind: str) -> Path:
    path = folder() / f"{size}.{kind}"
    if not path.exists():
        events = make(SIZES[size]) if size in OF_THEIR_OWN else frame("1m").head(SIZES[size])
        _keep(events, path)
    return path


def _keep(events: pl.DataFrame, path: Path) -> None:
    """Write a frame, whole or not at all: another process may be looking for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f"{path.suffix}.{os.getpid()}")
    match path.suffix:
        case ".jsonl":
            events.write_ndjson(partial)
        case ".arrow":
            events.write_ipc(partial, record_batch_size=65_536)
        case _:
            events.write_parquet(partial, row_group_size=262_144)
    partial.rename(path)


def make(rows: int, seed: int = 42) -> pl.DataFrame:
    """Return the first ``rows`` events of a seed; other numbers of rows are other events."""
    random = np.random.default_rng(seed)
    arrival = (np.arange(rows, dtype=np.int64) * 1_000) // RATE
    delay = np.where(random.random(rows) < 0.30, np.minimum(random.exponential(400, rows), 1_999), 0).astype(np.int64)
    time = T0 + np.maximum(arrival - delay, 0)
    weight = 1.0 / np.arange(1, USERS + 1) ** 1.1
    place = random.permutation(USERS)
    user = place[np.searchsorted(np.cumsum(weight / weight.sum()), random.random(rows)).clip(0, USERS - 1)]
    names = np.array([f"user{i:05d}" for i in range(USERS)])
    kind = TYPES[np.searchsorted(np.cumsum([0.45, 0.30, 0.12, 0.03, 0.10]), random.random(rows)).clip(0, 4)]
    amount = np.round(random.gamma(2.0, 20.0, rows) + 0.01, 2)
    return pl.DataFrame(
        {
            "id": np.arange(rows, dtype=np.int64),
            "ts": time,
            "user": names[user].tolist(),
            "type": kind.tolist(),
            "amount": amount,
        },
        schema=COLUMNS,
    )


def _make_users() -> pl.DataFrame:
    random = np.random.default_rng(7)
    return pl.DataFrame(
        {
            "user": [f"user{i:05d}" for i in range(USERS)],
            "segment": [SEGMENTS[i] for i in random.integers(0, len(SEGMENTS), USERS)],
            "country": [COUNTRIES[i] for i in random.integers(0, len(COUNTRIES), USERS)],
        }
    )


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ["1m"]:
        print(lines(wanted), arrow(wanted), parquet(wanted))
