"""A pipeline for the tests that kill it: made-up payments, windows by user, into SQLite and a file, exactly once.

python spend.py FOLDER
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from random import Random

import streamflow as sf
from streamflow import agg

ROWS = 3_000


def payment(number: int, time: datetime, rng: Random) -> dict[str, object]:
    return {"id": number, "user": f"user{rng.randrange(20)}", "amount": rng.randrange(1, 100), "ts": time}


def build(folder: Path) -> sf.Pipeline:
    pipeline = sf.Pipeline("spend", checkpoint=str(folder / "state"), epoch="10ms", guarantee="exactly_once")
    rows = pipeline.read(
        "payments",
        sf.generate(payment, rows=ROWS, splits=2, seed=7),
        event_time=lambda p: p["ts"],
        max_delay="0s",
        max_rows_per_trigger=100,
    )
    keyed = rows.key_by(lambda p: p["user"])
    totals = keyed.window(sf.tumbling("200ms")).aggregate(
        agg.sum(lambda p: p["amount"]), agg.count(), into=lambda total, n: {"total": total, "n": n}, name="totals"
    )
    totals.to(sf.SqliteSink(folder / "out.db", "totals"))
    rows.filter(lambda p: p["amount"] > 50).to(sf.FileSink(folder / "large.jsonl"))
    return pipeline


if __name__ == "__main__":
    build(Path(sys.argv[1])).run()
