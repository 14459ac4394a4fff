"""``make bench``: measure scenarios, print a table, and append to the log.

    python -m bench.run                       the targets of issue 4
    python -m bench.run W2* hostile --reps 5  names, patterns and groups
    python -m bench.run --list                what there is

Each repetition is a process of its own, in which the limit is measured too; the figures are medians.  A wrong answer
does not count: it is printed, is not logged, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import history
from bench.registry import GROUPS, SCENARIOS, chosen
from bench.scenario import Scenario

HEADER = ("scenario", "size", "rows/s", "limit rows/s", "ratio", "must", "goal", "met", "peak MB", "figures")


class RunError(Exception):
    """A repetition that gave no figures, or a wrong answer."""


def median(scenario: Scenario, size: str, reps: int, *, with_limits: bool) -> dict[str, Any]:
    """Return the medians of a scenario's repetitions.

    Raises:
        RunError: If one of them fails or is wrong.
    """
    runs = [_one(scenario.name, size, with_limits=with_limits) for _ in range(reps)]
    figures = {name: statistics.median(run["figures"][name] for run in runs) for name in runs[0]["figures"]}
    result = {
        "scenario": scenario.name,
        "size": size,
        "reps": reps,
        "rows_s": round(statistics.median(run["rows_s"] for run in runs)),
        "spread": [round(min(run["rows_s"] for run in runs)), round(max(run["rows_s"] for run in runs))],
        "p50": figures.get("p50_ms"),
        "p99": figures.get("p99_ms"),
        "peak_mb": round(statistics.median(run["peak_mb"] for run in runs)),
        "ratio": None,
        "figures": {name: round(value, 3) for name, value in figures.items()},
    }
    if with_limits and scenario.limits:
        result["limit"] = statistics.mode(run["limit"] for run in runs)
        result["limit_rows_s"] = round(statistics.median(run["limit_rows_s"] for run in runs))
        result["ratio"] = round(statistics.median(run["ratio"] for run in runs), 3)
    return result


def _one(name: str, size: str, *, with_limits: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.measure", name, size, *([] if with_limits else ["--no-limits"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"{name} failed:\n{done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if not result["is_right"]:
        raise RunError(f"{name} is wrong: got {result['got']}, expected {result['want']}")
    return result


def is_met(scenario: Scenario, result: dict[str, Any]) -> bool | None:
    """Return whether a result is what issue 4 asks for at least; None where it asks for nothing."""
    if scenario.must is None:
        return None
    match scenario.unit:
        case "rows/s":
            return bool(result["rows_s"] >= scenario.must)
        case "of limit":
            return None if result["ratio"] is None else bool(result["ratio"] >= scenario.must)
        case figure:
            return bool(result["figures"][figure] <= scenario.must)


def table_line(scenario: Scenario, result: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of one line of the table."""
    met = is_met(scenario, result)
    figures = " ".join(f"{name}={_short(value)}" for name, value in result["figures"].items())
    limit = f"{_short(result['limit_rows_s'])} {result['limit']}" if result["ratio"] is not None else ""
    return (
        scenario.name,
        result["size"],
        _short(result["rows_s"]),
        limit,
        "" if result["ratio"] is None else f"{result['ratio']:.2f}",
        _target(scenario, scenario.must),
        _target(scenario, scenario.goal),
        {True: "yes", False: "no", None: ""}[met],
        f"{result['peak_mb']:,}",
        figures,
    )


def _target(scenario: Scenario, value: float | None) -> str:
    if value is None:
        return ""
    if scenario.unit == "p99_ms":
        return f"p99 {value:g} ms"
    return f"{value:.0%} of limit" if scenario.unit == "of limit" else _short(value)


def _short(value: float) -> str:
    if value >= 999_500:
        return f"{value / 1e6:.2f}M"
    if value >= 10_000:
        return f"{value / 1e3:.0f}k"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """Print a markdown table whose columns are as wide as they need."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.splitlines()[0])
    parser.add_argument(
        "scenarios", nargs="*", default=["targets"], help="names, patterns, groups: " + ", ".join(GROUPS)
    )
    parser.add_argument("--reps", type=int, default=3, help="processes a scenario (3)")
    parser.add_argument("--size", help="2k, 20k, 100k, 1m or 10m rows, instead of each scenario's own")
    parser.add_argument("--no-limits", action="store_true", help="leave out the batch queries")
    parser.add_argument("--history", type=Path, default=history.PATH, help="the log to append to")
    parser.add_argument("--no-history", action="store_true", help="append to no log")
    parser.add_argument("--list", action="store_true", help="say what there is")
    asked = parser.parse_args(arguments)
    if asked.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:16} {scenario.what}")
        return 0
    lines: list[tuple[str, ...]] = [HEADER]
    entries: list[history.Entry] = []
    failures: list[str] = []
    around = history.circumstances()
    for scenario in chosen(asked.scenarios):
        print(f"{scenario.name} ...", file=sys.stderr, flush=True)
        try:
            result = median(scenario, asked.size or scenario.size, asked.reps, with_limits=not asked.no_limits)
        except RunError as failure:
            failures.append(str(failure))
            continue
        lines.append(table_line(scenario, result))
        entries.append(around | {"load": round(os.getloadavg()[0], 1)} | result)
    print_table(lines)
    print(f"\n{around['machine']}; Python {around['python']}, {around['versions']}; commit {around['commit']}")
    print(f"load {around['load']} at the start: above 1, compare ratios and nothing else")
    if not asked.no_history:
        history.append(entries, asked.history)
    for message in failures:
        print(message, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
