"""Sessions: what a user did without a longer pause.

A session has no fixed size: it grows with each row that comes at most ``gap`` after another, two sessions become one
when a row comes between them, and it is over when the watermark has passed its last row by the gap.
"""

from datetime import UTC, datetime, timedelta

import streamflow as sf
from streamflow import agg

MORNING = datetime(2024, 5, 1, 8, 0, tzinfo=UTC)
visits = [
    {"user": user, "page": page, "at": MORNING + timedelta(minutes=minute)}
    for minute, user, page in [
        (0, "ann", "home"),
        (4, "ann", "shoes"),
        (5, "bob", "home"),
        (13, "ann", "basket"),
        (9, "ann", "boots"),  # comes late, and closes the gap between minute 4 and minute 13
        (40, "ann", "home"),
    ]
]

pipeline = sf.Pipeline("sessions")
sessions = (
    pipeline.read("visits", visits, event_time=lambda visit: visit["at"], max_delay="10m")
    .key_by(lambda visit: visit["user"])
    .window(sf.session("5m"))
    .aggregate(agg.count(), agg.collect(lambda visit: visit["page"]), into=lambda n, pages: {"n": n, "pages": pages})
)
sessions.map(
    lambda session: f"{session.key}: {session.value['n']} pages, {' > '.join(session.value['pages'])}", name="say"
).show()

if __name__ == "__main__":
    pipeline.run()
