"""Running totals: an aggregation without a window.

``emit="each"`` gives the total after each row.  ``emit="update"`` gives what a key came to once per batch: its rows
replace earlier ones, so they go to a sink that knows a key, here a table in memory.
"""

import streamflow as sf
from streamflow import agg

payments = [("ann", 10), ("bob", 5), ("ann", 20), ("bob", 7), ("ann", 1)]

balances = sf.MemorySink()

pipeline = sf.Pipeline("totals")
by_user = pipeline.read("payments", payments).key_by(lambda payment: payment[0])

by_user.all_time(emit="each").aggregate(agg.sum(lambda payment: payment[1]), name="after_each").map(
    lambda total: f"{total.key} has {total.value}", name="say"
).show()
by_user.all_time(emit="update").aggregate(
    agg.sum(lambda payment: payment[1]), agg.count(), agg.max(lambda payment: payment[1]), name="account"
).to(balances)

if __name__ == "__main__":
    pipeline.run()
    for row in balances.table.values():
        total, count, largest = row.value
        print(f"{row.key}: {total} in {count} payments, the largest {largest}")
