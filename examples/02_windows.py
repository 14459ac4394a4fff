"""Windows: how many rows of each key lie in each minute of event time.

``event_time`` says when a row happened, and ``max_delay`` how much later than others it may come.  A window is emitted
when the watermark, which trails the latest event time by that delay, has passed its end; rows may come in any order
until then, and the answer is the same.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import streamflow as sf
from streamflow import agg

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


class Click(NamedTuple):
    """A row may be any value: a dict, a tuple, a dataclass, a msgspec struct."""

    page: str
    seconds: float
    at: datetime


clicks = [
    Click("home", 1.5, NOON + timedelta(seconds=10)),
    Click("shop", 4.0, NOON + timedelta(seconds=70)),
    Click("home", 2.5, NOON + timedelta(seconds=55)),  # 15 seconds behind the one before it, and in time
    Click("home", 3.0, NOON + timedelta(seconds=95)),
    Click("shop", 6.0, NOON + timedelta(seconds=130)),
]

pipeline = sf.Pipeline("windows")
(
    pipeline.read("clicks", clicks, event_time=lambda click: click.at, max_delay="30s")
    .key_by(lambda click: click.page)
    .window(sf.tumbling("1m"))
    .aggregate(agg.count(), agg.mean(lambda click: click.seconds), into=lambda n, mean: {"clicks": n, "mean": mean})
    .show()
)

if __name__ == "__main__":
    pipeline.run()
