"""Inside an application: a pipeline beside your own tasks, on your event loop.

``start()`` touches neither signals nor the loop's settings, and keeps the loop free: what takes long is worked on
beside it.  If the pipeline fails, the body of the ``async with`` is cancelled and the error comes out of it.
"""

import asyncio

import streamflow as sf
from streamflow import agg

orders = sf.QueueSource(maxsize=2)
totals = sf.MemorySink()

pipeline = sf.Pipeline("shop")
(
    pipeline.read("orders", orders)
    .key_by(lambda order: order["shop"])
    .all_time(emit="each")
    .aggregate(agg.sum(lambda order: order["cents"]))
    .to(totals)
)


async def sell(shop: str) -> None:
    for n in range(1, 4):
        await orders.put({"shop": shop, "cents": n * 100})  # waits while the pipeline is behind


async def main() -> None:
    async with pipeline.start() as query:
        await asyncio.gather(sell("berlin"), sell("paris"))
        orders.close()
        await query.wait()
        print(f"{query.progress().rows} orders")
    for total in totals.rows:
        print(f"{total.key} has sold for {total.value / 100:.2f}")


if __name__ == "__main__":
    asyncio.run(main())
