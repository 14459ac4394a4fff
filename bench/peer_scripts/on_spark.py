"""PySpark Structured Streaming on two cores: files of a tenth of the rows, one a micro-batch, watermark of 2 s.

A far-future row closes the windows that the end of the input leaves open; no filter on the user stands behind the
window, since Spark would push it below the watermark, which that row would then not move.

Origin: ``bench_spark.py`` of the peers' benchmark of 2026-11-22.  Needs Java 17 and ``bench.peers --only pyspark``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import common
from common import Answer, Run

os.environ["PYSPARK_PYTHON"] = sys.executable  # else workers run the python3 of PATH

from pyspark.sql import Column, DataFrame, SparkSession  # after the variable that it reads
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.driver.memory": "6g",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.session.timeZone": "UTC",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.streaming.metricsEnabled": "false",
}
COLUMNS = "id BIGINT, ts BIGINT, user STRING, type STRING, amount DOUBLE"
FLUSH = json.dumps({"id": -1, "ts": common.T0 + 36_000_000, "user": "zzz_flush", "type": "test", "amount": 0.0}) + "\n"


def session() -> SparkSession:
    builder = SparkSession.builder.master("local[2]").appName("bench")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    return made


spark = session()


def read(size: str) -> DataFrame:
    """Return the stream of ten parts of the lines, and the row that closes the windows."""
    folder = common.folder() / f"{size}.spark"
    if not folder.exists():
        folder.mkdir()
        rows = common.lines(size)
        step = len(rows) // 10
        for i in range(10):
            (folder / f"p{i:03d}.json").write_text("\n".join(rows[i * step : (i + 1) * step]) + "\n")
        (folder / "p998.json").write_text(FLUSH)
    return spark.readStream.schema(COLUMNS).option("maxFilesPerTrigger", 1).json(str(folder))


def run(frame: DataFrame, *sums: Column, mode: str = "append") -> Run:
    """Return the seconds of a query to its end, and what its batches come to: added up, or of the last one."""
    total: dict[str, float] = {}

    def each(batch: DataFrame, number: int) -> None:
        del number
        for name, value in batch.agg(*sums).collect()[0].asDict().items():
            total[name] = (value or 0) if mode == "complete" else total.get(name, 0) + (value or 0)

    with tempfile.TemporaryDirectory() as checkpoint:
        writer = frame.writeStream.foreachBatch(each).outputMode(mode).option("checkpointLocation", checkpoint)
        seconds = common.seconds_of(lambda: writer.trigger(availableNow=True).start().awaitTermination())
    return seconds, total


def w1(size: str) -> Run:
    kept = read(size).filter("type <> 'test'").select("user", (F.col("amount") * 1.1).alias("a"))
    return run(kept, F.count("*").alias("rows"), F.sum("a").alias("sum"))


def windows(size: str, window: Callable[[], Column]) -> Run:
    timed = read(size).withColumn("et", F.timestamp_millis("ts")).withWatermark("et", "2 seconds")
    made = timed.groupBy(window().alias("win"), "user").agg(F.sum("amount").alias("s"), F.count("*").alias("c"))
    place = F.floor((F.unix_millis("w") - common.T0) / 10_000) + 100
    sums: list[Any] = [
        F.count("*").alias("rows"),
        F.sum("s").alias("sum"),
        F.sum("c").alias("cnt"),
        F.sum(place * F.col("s")).alias("wsum"),
        F.sum(F.col("c") * F.col("c")).alias("sq"),
    ]
    return run(made.select(F.col("win.start").alias("w"), "user", "s", "c"), *sums)


def w5(size: str) -> tuple[float, Answer]:
    users = spark.read.parquet(str(common.folder() / "users.parquet"))
    known = read(size).join(F.broadcast(users), "user").filter("type <> 'test'")
    counts = known.groupBy("segment").agg(F.count("*").alias("c"))
    count = F.col("c")
    sums = (F.count("*").alias("rows"), F.sum(count).alias("cnt"), F.sum(count * count).alias("sq"))
    return run(counts, *sums, mode="complete")


common.main(
    {
        "W1": w1,
        "W2": lambda size: windows(size, lambda: F.window("et", "10 seconds")),
        "W3": lambda size: windows(size, lambda: F.window("et", "5 minutes", "10 seconds")),
        "W5": w5,
    }
)
spark.stop()
