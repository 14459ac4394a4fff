"""The last minute, with each row: a sliding window that answers at once.

A sliding window with ``emit="close"`` answers when it is over.  With ``emit="each"`` it answers for each row, for the
window that ends next, so an alert does not wait for the watermark.  A row costs the same however many windows overlap.
"""

import streamflow as sf

SECOND = 1_000_000
logins = [
    {"user": user, "ok": ok, "at": at * SECOND}
    for at, user, ok in [
        (0, "ann", True),
        (5, "eve", False),
        (12, "eve", False),
        (14, "ann", True),
        (13, "eve", False),  # out of order, and counted in its place
        (75, "eve", False),  # the first three are more than a minute ago
        (76, "eve", True),
    ]
]

pipeline = sf.Pipeline("logins")
failures = (
    pipeline.read("logins", logins, event_time=lambda login: login["at"], max_delay="10s")
    .filter(lambda login: not login["ok"], name="failed")
    .key_by(lambda login: login["user"])
    .window(sf.sliding("1m", every="1s"), emit="each")
    .count(name="failures")
)
failures.map(lambda window: f"{window.key}: {window.value} failed logins in the last minute", name="say").show()
failures.filter(lambda window: window.value >= 3, name="too_many").map(
    lambda window: f"ALERT: lock the account of {window.key}", name="alert"
).show()

if __name__ == "__main__":
    pipeline.run()
