"""Testing a pipeline: its own engine, under the test's hand, with nothing to wait for.

``drive`` replaces sources, sinks and the clock, so a test needs no file, no server and no sleep.  Rows are sent, the
pipeline is crashed and restored in the middle, and what a sink would hold is looked at.  With pytest the function below
is a test as it stands.
"""

import asyncio

import streamflow as sf
from streamflow.testing import drive

SECOND = 1_000_000

pipeline = sf.Pipeline("logins")
(
    pipeline.read("logins", [], event_time=lambda login: login["at"], max_delay="2s")
    .key_by(lambda login: login["user"])
    .window(sf.tumbling("10s"))
    .count(name="attempts")
    .filter(lambda window: window.value >= 3, name="too_many")
    .map(lambda window: window.key, name="suspect")
    .to(sf.ConsoleSink(), name="suspects")
)


def login(user: str, second: float) -> dict[str, object]:
    return {"user": user, "at": int(second * SECOND)}


async def test_three_attempts_in_ten_seconds_are_suspect_once_whatever_crashes() -> None:
    async with drive(pipeline) as d:
        await d.source("logins").send(login("eve", 1), login("ann", 2), login("eve", 4))
        await d.crash_and_restore()
        await d.source("logins").send(login("eve", 3), login("eve", 11.5))
        assert d.sink("suspects").rows == []  # the watermark is at 9.5 s: the window may still grow
        await d.source("logins").send(login("ann", 12))
        await d.crash_and_restore()
        assert d.sink("suspects").rows == ["eve"]


if __name__ == "__main__":
    asyncio.run(test_three_attempts_in_ten_seconds_are_suspect_once_whatever_crashes())
    print("passed")
