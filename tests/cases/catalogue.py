"""The cases of other engines, and which kind each is: by its shape, never by its name."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

Case = dict[str, Any]

DATA = Path(__file__).parent / "data"


@cache
def all_cases() -> tuple[Case, ...]:
    """Return every case of every file, in order."""
    return tuple(case for path in sorted(DATA.glob("*.json")) for case in json.loads(path.read_text("utf-8")))


def kind(case: Case) -> str:
    """Return which kind of case it is: the name of its adapter, or of what is missing."""
    operation = case.get("query", {}).get("op", "")
    if "join" in case or "join" in operation:
        return "join"
    if operation == "dedup":
        return "deduplicate"
    if operation:
        return "spark"
    if "inputs" in case:
        return "valve"
    if "generator" in case:
        return "generator"
    if "top" in case:
        return "top"
    if "dedup" in case:
        return "last_of_window"
    if "rows" in case:
        return "rows"
    if "events" in case:
        return "stretch"
    words = {word for step in case["steps"] for word in step}
    return next((word for word in ("assign", "merge") if word in words), "windows")
