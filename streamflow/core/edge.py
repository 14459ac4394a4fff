"""What a step says of its output: how rows change (edge), and what determines them (label)."""

from __future__ import annotations

from enum import Enum


class Edge(Enum):
    """How the rows between two steps change (R4)."""

    APPEND = "append"
    """Each row is a fact of its own."""
    UPSERT = "upsert"
    """A row replaces the one with its key, or deletes it."""


class Label(Enum):
    """What determines an output (R3); a step is at least what its inputs are."""

    CONTENT = "content"
    """Only the content of the splits: a replay, a backfill and a batch query give the same."""
    ORDER = "order"
    """Also how splits interleave: the same for one split, or behind ``ordered()``."""
    WORLD = "world"
    """Also clocks, services, or where batches are cut."""

    @property
    def rank(self) -> int:
        """How much it depends on."""
        return list(Label).index(self)

    @staticmethod
    def of(*labels: Label) -> Label:
        """Return the label that depends on most."""
        return max(labels, key=lambda label: label.rank, default=Label.CONTENT)
