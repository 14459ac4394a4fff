"""Cases that go through a window: as transcripts, through the public API, in both layouts and however they are cut.

What is translated
    * Flink's watermark ``w`` says that no more rows ``<= w`` come; ours, that none ``< w`` come: one tick more.
    * A row is judged by the watermark stated before it.  Flink judges a session's row by the session it would join,
      which here is ``late="keep"`` (R9).
    * A purging trigger emits what came since it last fired, ours the whole pane: what was expected is added up.
    * Kafka and Quix close a window when the largest time seen, less the grace, has reached its end: ``max_delay``.
    * Their other outputs (every update) are a second run with ``emit="update"``, one row a batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from streamflow.testing import Transcript
from streamflow.testing.transcript import transcript
from tests.cases.catalogue import Case

ALL = "all"
"""The key of rows that have none."""


def window_of(case: Case) -> dict[str, int]:
    """Return the window as a transcript writes it."""
    window = case["window"]
    match window["type"]:
        case "tumbling":
            return {"tumbling": window["size_ms"], "offset": window.get("offset_ms", 0)}
        case "sliding":
            return {"sliding": window["size_ms"], "every": window["slide_ms"], "offset": window.get("offset_ms", 0)}
        case "session":
            return {"session": window["gap_ms"]}
    raise NotImplementedError(f"{case['name']}: no adapter for a {window['type']} window")


def transcripts(case: Case) -> Iterator[Transcript]:
    """Yield the transcripts that say what a case of steps says."""
    words = {word for step in case["steps"] for word in step}
    updates = "expect_updated" in words or "expect_updates" in case
    yield _page(case, emit="close", expects="expect")
    if updates:
        yield _page(case, emit="update", expects="expect_updated")


def _page(case: Case, *, emit: str, expects: str) -> Transcript:
    lateness = case.get("allowed_lateness_ms", 0)
    is_whole = emit == "close" and lateness == 0
    trigger = case.get("trigger", {"type": "event_time"})
    if trigger["type"] != "event_time":
        raise NotImplementedError(f"{case['name']}: no adapter for the trigger {trigger}")
    page = {
        "name": case["name"],
        "source": case["source"],
        "unit": "ms",
        "window": window_of(case),
        "agg": case["agg"].split()[0],
        "emit": emit,
        "lateness": lateness,
        "late": "keep" if case["window"]["type"] == "session" else "drop",
        "max_delay": _delay(case),
        "cuts": ["sent", "row"] if is_whole else ["row"],
        "steps": [*_steps(case, expects), *_outcome(case, emit)],
    }
    return transcript(page)


def _delay(case: Case) -> int | None:
    if "grace_ms" in case:
        return int(case["grace_ms"])
    delay = case.get("watermark_delay_ms")
    return delay if isinstance(delay, int) else None


def _steps(case: Case, expects: str) -> Iterator[Any]:
    tick = 1 if case["name"].startswith("flink") else 0
    totals: dict[tuple[Any, int, int], int] = defaultdict(int)
    is_purging = case.get("trigger", {}).get("purging", False)
    for word, steps in groupby(case["steps"], key=lambda step: next(iter(step))):
        for given in [[s[word] for s in steps]] if word == "event" else ([s[word]] for s in steps):
            match word:
                case "event":
                    yield {"input": [[e["key"], e["ts"], e.get("value", 1)] for e in given]}
                case "watermark":
                    yield {"watermark": given[0] + tick}
                case "checkpoint_restore":
                    yield "crash"
                case "end":
                    yield "end"
                case "expect_late":
                    yield {"expect_late": [[e["key"], e["ts"], e.get("value", 1)] for e in given[0]]}
                case "expect" | "expect_updated":
                    if word == expects:
                        yield {"expect": [_row(case, e, totals if is_purging else None) for e in given[0]]}
                case _:
                    raise NotImplementedError(f"{case['name']}: no adapter for the step {word!r}")


def _outcome(case: Case, emit: str) -> Iterator[Any]:
    """Yield what a case without steps of expectation expects in the end; the input does not end."""
    found = case.get("expect_final" if emit == "close" else "expect_updates")
    if found is not None:
        yield {"expect": [_row(case, row, None) for row in found]}


def _row(case: Case, row: dict[str, Any], totals: dict[tuple[Any, int, int], int] | None) -> list[Any]:
    key, value = row.get("key", _only_key(case)), row["value"]
    if totals is not None:
        totals[key, row["start"], row["end"]] += value
        value = totals[key, row["start"], row["end"]]
    return [key, row["start"], row["end"], value]


def _only_key(case: Case) -> Any:
    keys = {step["event"]["key"] for step in case["steps"] if "event" in step}
    return keys.pop() if len(keys) == 1 else None


def of_rows(case: Case) -> Iterator[Transcript]:
    """Yield the transcripts of a case that runs to the end of its rows: what comes out, and which rows went where."""
    reads = case["agg"].removeprefix("sum(").removesuffix(")")
    key = case.get("key")
    page = {"source": case["source"], "unit": "ms", "window": window_of(case), "agg": "sum"}

    def sent(value: str) -> dict[str, Any]:
        return {"input": [[row[key] if key else ALL, row["ts"], row[value]] for row in case["rows"]]}

    results = [[row.get("key", ALL), row["start"], row["end"], row["value"]] for row in case["expect"]]
    yield transcript(page | {"name": case["name"], "steps": [sent(reads), "end", {"expect": results}]})

    members: dict[tuple[Any, int, int], list[Any]] = defaultdict(list)
    for row in sorted(case["expect_assignment"], key=lambda row: row["ts"]):
        members[row[key] if key else ALL, row["start"], row["end"]].append(row["item"])
    assigned = [[*window, items] for window, items in members.items()]
    name = f"{case['name']}: which rows go where"
    yield transcript(page | {"name": name, "agg": "collect", "steps": [sent("item"), "end", {"expect": assigned}]})


def of_stretch(case: Case) -> Transcript:
    """Return the transcript of a case that names the first and the last row of each session."""
    gap = case["window"]["gap_ms"]
    results = [
        [ALL, row["first_ts"], row["last_ts"] + gap, [row["first_ts"], row["last_ts"]]] for row in case["expect"]
    ]
    steps = [{"input": [[ALL, ts, ts] for ts in case["events"]]}, "end", {"expect": results}]
    return transcript(
        {"name": case["name"], "source": case["source"], "unit": "ms", "window": window_of(case), "steps": steps}
    )
