"""Stop and go on: a pipeline that is stopped half way and started again misses nothing and repeats nothing.

What Ctrl-C and SIGTERM do to a script, ``stop()`` does here: it suspends.  The checkpoint holds how far the source was
read and what the open windows hold, so the next run goes on in the middle of a window.
"""

import asyncio
from pathlib import Path

import streamflow as sf

ROWS = 10_000


async def numbers(start: int):
    """Give the same rows each time, from row ``start`` on: that is what makes a source replayable."""
    for n in range(start, ROWS):
        yield {"n": n, "at": n * 1_000}
        if n % 100 == 0:
            await asyncio.sleep(0.002)  # as if they came from a network


def build() -> sf.Pipeline:
    pipeline = sf.Pipeline("numbers", checkpoint="file:./state/numbers")
    (
        pipeline.read("numbers", numbers, event_time=lambda row: row["at"], max_delay="0s")
        .window_all(sf.tumbling("3s"))
        .aggregate(sf.agg.count(), sf.agg.sum(lambda row: row["n"]), into=lambda n, total: {"rows": n, "total": total})
        .to(sf.FileSink("sums.jsonl"), name="sums")
    )
    return pipeline


async def run_half() -> None:
    async with build().start() as query:
        while query.progress().rows < ROWS // 2:  # noqa: ASYNC110  # nothing rings when a number is passed
            await asyncio.sleep(0.001)
        await query.stop()
        print(f"suspended after {query.progress().rows} rows, checkpoint {query.progress().epoch}")


async def run_rest() -> None:
    async with build().start() as query:
        await query.wait()
        print(f"restored checkpoint {query.restored}, read {query.progress().rows} more rows")


if __name__ == "__main__":
    asyncio.run(run_half())
    asyncio.run(run_rest())
    print(Path("sums.jsonl").read_text(), end="")
