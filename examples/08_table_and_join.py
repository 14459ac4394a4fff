"""The other face: rows as columns, computed by polars expressions, beside a table that does not change.

``table`` gives what ``read`` gives, in columns: faster for numbers, and in the words of polars.  Expressions outside
``agg`` look at one row at a time; one that does not, such as ``pl.col("x").shift()``, is refused where it is written.
"""

from datetime import UTC, datetime, timedelta

import polars as pl

import streamflow as sf
from streamflow import agg

START = datetime(2024, 5, 1, tzinfo=UTC)
sales = pl.DataFrame(
    {
        "article": ["pen", "ink", "pen", "pad", "ink", "pen"],
        "pieces": [3, 1, 2, 5, 4, 1],
        "at": [START + timedelta(seconds=20 * n) for n in range(6)],
    }
)
articles = pl.DataFrame({"article": ["pen", "ink"], "group": ["writing", "writing"], "cents": [120, 450]})

totals = sf.MemorySink()

pipeline = sf.Pipeline("sales")
(
    pipeline.table("sales", sales, event_time="at", max_delay="10s")
    .join(articles, on="article", how="left")  # an article that is not there gets nulls
    .with_columns(group=pl.col("group").fill_null("other"), turnover=pl.col("pieces") * pl.col("cents"))
    .group_by("group")
    .window(sf.tumbling("1m"))
    .agg(pieces=agg.col("pieces").sum(), turnover=agg.col("turnover").sum(), articles=agg.col("article").n_distinct())
    .to(totals)
)

if __name__ == "__main__":
    pipeline.run()
    print(totals.frame())
