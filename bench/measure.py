"""One run of one scenario in a process of its own: ``python -m bench.measure NAME SIZE``; prints one line of JSON.

A run on 2,000 rows comes first and is not counted: it pays for imports and thread pools, as a server has by the time
its second row comes.  The peers were measured so too.  The peak is that of the counted run and of all before it.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
from pathlib import Path

from bench.registry import SCENARIOS

WARM_UP = "2k"


def measure(name: str, size: str, *, with_limits: bool) -> dict[str, object]:
    """Return what one run of a scenario came to, and the limits beside it."""
    scenario = SCENARIOS[name]
    scenario.run(WARM_UP)
    gc.collect()
    outcome = scenario.run(size)
    peak = peak_bytes()
    limits = {means: limit(size) for means, limit in scenario.limits.items()} if with_limits else {}
    best = min(limits, key=limits.__getitem__, default=None)
    return {
        "scenario": name,
        "size": size,
        "is_right": outcome.is_right,
        "rows_s": outcome.rows / outcome.seconds,
        "peak_mb": peak / 2**20,
        "limit": best,
        "limit_rows_s": None if best is None else outcome.rows / limits[best],
        "ratio": None if best is None else limits[best] / outcome.seconds,
        "figures": outcome.figures,
    } | ({} if outcome.is_right else {"got": _few(outcome.got), "want": _few(outcome.want)})


def peak_bytes() -> int:
    """Return the most memory that this process has held, without what it was forked from."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, the other system that has it


def _few(answer: dict[str, float]) -> dict[str, float]:
    return dict(list(answer.items())[:8])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("size")
    parser.add_argument("--no-limits", action="store_true")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.name, asked.size, with_limits=not asked.no_limits)))
