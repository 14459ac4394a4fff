"""``make bench-compare``: what changed between the last two commits that were measured.

    python -m bench.compare                the last commit, and for each scenario the one measured before it
    python -m bench.compare 1a2b3c4 5d6e7f8

Only figures of one machine are compared.  Rows a second say little on a shared machine; the ratio to the limit, taken
in the same process, says more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench import history
from bench.history import Entry
from bench.run import print_table

HEADER = ("scenario", "size", "before", "after", "rows/s", "ratio to limit", "p99 ms", "peak MB")


def pairs(entries: Sequence[Entry], before: str | None = None, after: str | None = None) -> list[tuple[Entry, Entry]]:
    """Return for each scenario and size the last entry of two commits.

    Args:
        entries: The log.
        before: A commit; None is the last one with this scenario that is not ``after``.
        after: A commit; None is the last one in the log.
    """
    if not entries:
        return []
    after = after or entries[-1]["commit"]
    found = []
    for key in dict.fromkeys((e["scenario"], e["size"]) for e in entries):
        same = [e for e in entries if (e["scenario"], e["size"]) == key]
        new = next((e for e in reversed(same) if e["commit"] == after), None)
        if new is None:
            continue
        older = same[: same.index(new)] if before is None else same
        wanted = (
            e for e in reversed(older) if e["machine"] == new["machine"] and e["commit"] == (before or e["commit"])
        )
        old = next((e for e in wanted if e["commit"] != after), None)
        if old is not None:
            found.append((old, new))
    return found


def line(old: Entry, new: Entry) -> tuple[str, ...]:
    """Return the cells of one line of the table."""
    return (
        new["scenario"],
        new["size"],
        old["commit"],
        new["commit"],
        _change(old["rows_s"], new["rows_s"], "{:,.0f}"),
        _change(old["ratio"], new["ratio"], "{:.3f}"),
        _change(old["p99"], new["p99"], "{:.2f}"),
        _change(old["peak_mb"], new["peak_mb"], "{:,.0f}"),
    )


def _change(old: float | None, new: float | None, form: str) -> str:
    if old is None or new is None:
        return "" if new is None else form.format(new)
    percent = f" ({new / old - 1:+.0%})" if old else ""
    return f"{form.format(old)} -> {form.format(new)}{percent}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.splitlines()[0])
    parser.add_argument("before", nargs="?")
    parser.add_argument("after", nargs="?")
    asked = parser.parse_args(arguments)
    found = pairs(history.read(history.PATH), asked.before, asked.after)
    if not found:
        print("nothing to compare: measure two commits first, with make bench")
        return 0
    print_table([HEADER, *(line(old, new) for old, new in found)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
