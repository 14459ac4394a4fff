"""From a JSON-lines file to an SQLite table, exactly once.

With a checkpoint a pipeline knows after a crash, a ``kill -9`` too, how far it had read and what the table already
holds.  So each result is in the table once, however often the pipeline is stopped.  ``guarantee`` refuses to run where
a source or a sink could not keep that.
"""

import json
import sqlite3
from pathlib import Path

import msgspec

import streamflow as sf
from streamflow import agg


class Order(msgspec.Struct):
    """Lines are decoded to this and checked; a line that does not fit is refused by name and place."""

    shop: str
    cents: int
    at: int  # milliseconds since 1970


Path("orders.jsonl").write_text(
    "".join(
        json.dumps({"shop": shop, "cents": 100 * n, "at": 1_714_564_800_000 + 1_000 * n}) + "\n"
        for n in range(100)
        for shop in ("berlin", "paris")
    )
)

pipeline = sf.Pipeline("orders", checkpoint="file:./state/orders", guarantee="exactly_once")
(
    pipeline.read(
        "orders",
        sf.FileSource("orders.jsonl", format=sf.Json(Order)),
        event_time=lambda order: order.at,
        time_unit="ms",
        max_delay="5s",
    )
    .key_by(lambda order: order.shop)
    .window(sf.tumbling("1m"))
    .aggregate(agg.count(), agg.sum(lambda order: order.cents), into=lambda n, cents: {"orders": n, "cents": cents})
    .to(sf.SqliteSink("shop.sqlite", "turnover"), name="turnover")
)

if __name__ == "__main__":
    pipeline.run()
    for row in sqlite3.connect("shop.sqlite").execute("SELECT * FROM turnover ORDER BY key, window_start"):
        print(*row)
