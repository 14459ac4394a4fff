"""Where the time goes: ``python -m bench.profiling W2c [SIZE]`` prints what costs most, in ns a row, by cProfile.

The profiler makes Python functions dearer than they are and leaves what numpy, polars and msgspec do as it is: trust
the order, and the calls a batch, more than the figures.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from pathlib import Path

import streamflow as sf
from bench.registry import SCENARIOS


def profile(name: str, size: str) -> tuple[pstats.Stats, int]:
    """Return the profile of a scenario's ``run()``, which leaves out how data are loaded and checked, and its rows."""
    SCENARIOS[name].run("2k")
    profiler = cProfile.Profile()
    run = sf.Pipeline.run

    def profiled(pipeline: sf.Pipeline) -> None:
        profiler.enable()
        try:
            run(pipeline)
        finally:
            profiler.disable()

    sf.Pipeline.run = profiled  # type: ignore[method-assign,assignment]  # a tool, not the engine, measures here
    try:
        rows = SCENARIOS[name].run(size).rows
    finally:
        sf.Pipeline.run = run  # type: ignore[method-assign]
    return pstats.Stats(profiler), rows


def show(stats: pstats.Stats, rows: int, top: int, *, is_cumulative: bool) -> None:
    """Print the functions that cost most."""
    column = 3 if is_cumulative else 2
    entries = sorted(stats.stats.items(), key=lambda item: -item[1][column])[:top]  # type: ignore[attr-defined]
    print(f"{'ns/row':>8} {'of it self':>10} {'calls':>9}  function")
    for (file, number, function), (_, calls, own, cumulative, _) in entries:
        place = f"{Path(file).parent.name}/{Path(file).name}:{number} " if number else ""
        print(f"{1e9 * cumulative / rows:8.0f} {1e9 * own / rows:10.0f} {calls:9}  {place}{function}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.profiling", description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("size", nargs="?")
    parser.add_argument("--top", type=int, default=25)
    parser.add_argument("--cumulative", action="store_true", help="with what they call")
    asked = parser.parse_args()
    found, count = profile(asked.name, asked.size or SCENARIOS[asked.name].size)
    show(found, count, asked.top, is_cumulative=asked.cumulative)
