"""State as it is stored: frames of (step, part, key group, key, namespace, state), the same for both layouts.

Delta and snapshot
    A step hands out what changed since it was last asked.  A row replaces all earlier rows of its *scope* (for a
    pane: key, slice and floor; for a session: the key), a row marked ``deleted`` removes them, and rows at or below
    the part's *dead line* are gone (a pane whose time has passed is never deleted row by row).  ``compact`` folds a
    chain of deltas to the state; restoring is compacting, then handing each step its parts.

Knows no file and no manifest: those are the runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import polars as pl

DELETED = "deleted"
"""The name of the column that says that a row removes its scope."""


@final
@dataclass(frozen=True, slots=True)
class StatePart:
    """A named table of a step's state, or what changed of it.

    Attributes:
        name: Which table of the step.
        frame: Its rows: key columns (``core.keys``), namespace columns, state columns, maybe ``deleted``.
        scope: The columns whose values a row stands for.
        dead_line: ``(column, value)``: rows whose column is at or below the value are gone; None keeps all.
    """

    name: str
    frame: pl.DataFrame
    scope: tuple[str, ...]
    dead_line: tuple[str, int] | None = None


@final
@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a step remembers: a few plain values (whole, each time) and its tables (whole, or what changed)."""

    meta: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[StatePart, ...] = ()


def compact(parts: Sequence[StatePart]) -> StatePart:
    """Return one part that says what a chain of deltas of it says, oldest first; O(rows of the chain)."""
    last = parts[-1]
    filled = [p for p in parts if p.frame.height]
    if not filled:
        return last
    scope = filled[-1].scope
    frame = pl.concat(
        [p.frame.with_columns(pl.lit(i, dtype=pl.Int64).alias("_sequence")) for i, p in enumerate(filled)],
        how="diagonal_relaxed",
    )
    if len(filled) > 1:
        frame = frame.filter(pl.col("_sequence") == pl.col("_sequence").max().over(list(scope)))
    if DELETED in frame.columns:
        frame = frame.filter(~pl.col(DELETED).fill_null(value=False)).drop(DELETED)
    if last.dead_line is not None:
        column, bound = last.dead_line
        frame = frame.filter(pl.col(column) > bound)
    return StatePart(last.name, frame.drop("_sequence"), scope, last.dead_line)


def compact_snapshots(chain: Sequence[Snapshot]) -> Snapshot:
    """Return the snapshot that a chain of deltas of one step leaves, oldest first."""
    by_name: dict[str, list[StatePart]] = {}
    for snapshot in chain:
        for part in snapshot.parts:
            by_name.setdefault(part.name, []).append(part)
    return Snapshot(chain[-1].meta, tuple(compact(parts) for parts in by_name.values()))
