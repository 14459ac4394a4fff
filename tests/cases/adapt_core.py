"""Cases of the pure parts: which windows a time lies in, which windows merge, how watermarks merge.

What is translated
    Flink's status is streamflow's; a watermark on an idle input, which Flink's valve ignores, cannot come here: what
    makes an input say something makes it active first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamflow.core.timestamp import MIN_TIMESTAMP
from streamflow.core.watermark import Status, WatermarkMerge
from streamflow.core.window import Window, session, sliding, tumbling
from streamflow.operators.session_index import Placement, SessionIndex
from tests.cases.catalogue import Case


def window_of(case: Case) -> Window:
    """Return the window of a case."""
    window = case["window"]
    offset = f"{window.get('offset_ms', 0)}ms"
    match window["type"]:
        case "tumbling":
            return tumbling(f"{window['size_ms']}ms", offset=offset)
        case "sliding":
            return sliding(f"{window['size_ms']}ms", every=f"{window['slide_ms']}ms", offset=offset)
        case "session":
            return session(f"{window['gap_ms']}ms")
    raise NotImplementedError(f"{case['name']}: no adapter for a {window['type']} window")


def assignments(case: Case) -> tuple[list[Any], list[Any]]:
    """Return the windows expected for each time, and those that streamflow gives."""
    window = window_of(case)
    expected = [sorted(step["windows"]) for step in case["steps"]]
    got = [
        sorted([start // 1_000, end // 1_000] for start, end in window.windows(step["assign"] * 1_000))
        for step in case["steps"]
    ]
    return expected, got


def merges(case: Case) -> tuple[list[Any], list[Any]]:
    """Return the merges expected of each list of windows, and those that the index of sessions makes."""
    return [sorted((m["from"], m["to"]) for m in step["merges"]) for step in case["steps"]], [
        _merged(case["window"]["gap_ms"], step["merge"]) for step in case["steps"]
    ]


def _merged(gap: int, windows: list[list[int]]) -> list[tuple[list[list[int]], list[int]]]:
    index = SessionIndex(gap, lateness=0)
    nowhere = np.full(0, -1, dtype=np.int64)
    for start, end in windows:
        placement = Placement(nowhere, nowhere, nowhere, fresh=index.next_id)
        index._join(placement, 0, code=0, start=start, end=end, mark=MIN_TIMESTAMP)
        index.commit(placement)
    sessions = [[session.start, session.end] for _, session in index.all()]
    parts = [([w for w in windows if start <= w[0] and w[1] <= end], [start, end]) for start, end in sessions]
    return sorted((members, to) for members, to in parts if len(members) > 1)


def valve(case: Case) -> tuple[list[Any], list[Any]]:
    """Return what comes out of a merge after each step, expected and got."""
    merge = WatermarkMerge()
    for number in range(case["inputs"]):
        merge.add(str(number))
    expected, got = [], []
    for step in case["steps"]:
        expected.append(step["out"])
        got.append(_said(merge, str(step["input"]), step))
    return expected, got


def _said(merge: WatermarkMerge, name: str, step: dict[str, Any]) -> list[dict[str, Any]]:
    before, was_idle = merge.watermark, merge.is_idle
    if "watermark" in step:
        if merge.status[name] is Status.IDLE:
            return []
        merge.advance(name, step["watermark"])
    elif step["status"] == "idle":
        merge.idle(name)
    else:
        merge.active(name)
    out: list[dict[str, Any]] = [{"watermark": merge.watermark}] if merge.watermark > before else []
    if merge.is_idle is not was_idle:
        out.append({"status": "idle" if merge.is_idle else "active"})
    return out
