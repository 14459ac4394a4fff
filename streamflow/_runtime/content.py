"""Content of an epoch: what it brings, what a manifest is to hold of it, and how an aborted epoch joins the next one.

Values only: knows no store and no number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from streamflow.core.segment import Changes
from streamflow.core.state import Snapshot

Staged = Mapping[str, Sequence[Sequence[bytes]]]
"""Output by sink: chunks (usually one), each of pieces as the sink encoded them."""

Positions = Mapping[str, Mapping[str, Any]]
"""By source and split, where to go on."""


@final
@dataclass(frozen=True, slots=True)
class EpochData:
    """What one epoch brings.

    Attributes:
        snapshots: By step id, what changed of its state; the whole state of every step where ``full``.
        positions: By source and split, where to go on; what did not change may be left out, except where ``full``.
        staged: By sink, the output in chunks (usually one), each of pieces as the sink encoded them.
        meta: What else the engine keeps, whole: watermarks, statuses, the ledger; None: as before.
        full: Whether snapshots and positions are whole.
        finished: Whether the input is over.
    """

    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    positions: Positions = field(default_factory=dict)
    staged: Staged = field(default_factory=dict)
    meta: Mapping[str, Any] | None = None
    full: bool = False
    finished: bool = False


@final
@dataclass(frozen=True, slots=True)
class Content:
    """What a manifest is to hold.

    Attributes:
        changes: What changed of the state, or all of it.
        positions: By source and split, those that changed, or all.
        staged: Output for the sinks.
        meta: What else the engine keeps; None: as before.
        full: Whether state and positions are whole.
        finished: Whether the input is over.
    """

    changes: Changes = ()
    positions: Positions = field(default_factory=dict)
    staged: Staged = field(default_factory=dict)
    meta: Mapping[str, Any] | None = None
    full: bool = False
    finished: bool = False


def gather(epochs: Sequence[EpochData]) -> Content:
    """Return what a manifest is to hold of some epochs: those that were aborted, and the one that takes them in."""
    whole = max((i for i, epoch in enumerate(epochs) if epoch.full), default=0)
    last = epochs[-1]
    positions: Positions = {}
    for epoch in epochs[whole:]:
        positions = merged(positions, epoch.positions)
    staged: Staged = {}
    for epoch in epochs:
        staged = _together(staged, epoch.staged)
    return Content(
        tuple(change for epoch in epochs[whole:] for change in epoch.snapshots.items()),
        positions,
        staged,
        next((epoch.meta for epoch in reversed(epochs) if epoch.meta is not None), None),
        full=any(epoch.full for epoch in epochs),
        finished=last.finished,
    )


def _together(earlier: Staged, later: Staged) -> Staged:
    together = dict(earlier)
    for sink, chunks in later.items():
        before = together.get(sink, ())
        is_one = len(before) <= 1 and len(chunks) <= 1  # then it stays one transaction
        together[sink] = [[p for chunk in (*before, *chunks) for p in chunk]] if is_one else [*before, *chunks]
    return together


def merged(earlier: Positions, later: Positions) -> dict[str, dict[str, Any]]:
    """Return the positions after those of ``later`` have replaced earlier ones."""
    return {source: {**earlier.get(source, {}), **later.get(source, {})} for source in {**earlier, **later}}


def changed(earlier: Positions, later: Positions) -> Positions:
    """Return the positions in ``later`` that are not the same in ``earlier``."""
    changes = {}
    for source, splits in later.items():
        known = earlier.get(source, {})
        new = {split: at for split, at in splits.items() if split not in known or known[split] != at}
        if new:
            changes[source] = new
    return changes
