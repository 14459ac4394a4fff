"""Nothing is lost in silence: late rows have an output of their own, and so have rows on which a step fails.

A row is late when the watermark has passed its window.  By default it is dropped and counted; ``late()`` gives it back
with how late it was.  A row that cannot be decoded, or on which a function fails, stops the pipeline by default;
``dead_letter(sink)`` sends it elsewhere with the reason.
"""

import streamflow as sf

SECOND = 1_000_000
readings = [
    {"sensor": "a", "celsius": "20.5", "at": 1 * SECOND},
    {"sensor": "a", "celsius": "n/a", "at": 2 * SECOND},  # no number
    {"sensor": "a", "celsius": "21.5", "at": 25 * SECOND},  # with a delay of 5 s the watermark is now at 20 s
    {"sensor": "a", "celsius": "19.0", "at": 3 * SECOND},  # its window [0 s, 10 s) is over
    {"sensor": "a", "celsius": "22.0", "at": 21 * SECOND},
]

results, late, refused = sf.MemorySink(), sf.MemorySink(), sf.MemorySink()

pipeline = sf.Pipeline("late")
highest = (
    pipeline.read("readings", readings, event_time=lambda row: row["at"], max_delay="5s")
    .on_error(sf.dead_letter(refused))
    .map(lambda row: {**row, "celsius": float(row["celsius"])}, name="parse")
    .key_by(lambda row: row["sensor"])
    .window(sf.tumbling("10s"))
    .aggregate(sf.agg.max(lambda row: row["celsius"]))
)
highest.to(results)
highest.late().to(late)

if __name__ == "__main__":
    pipeline.run()
    for window in results.rows:
        print(f"[{window.start // SECOND} s, {window.end // SECOND} s): highest {window.value}")
    for row in late.rows:
        print(f"late by {row.lateness / SECOND} s: {row.value}")
    for letter in refused.rows:
        print(f"refused by {letter.step}: {letter.reason}")
