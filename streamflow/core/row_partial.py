"""What the row layout folds from and into: runs, the rows chosen of them, and partials.

Knows no aggregation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, final

import numpy as np

from streamflow.core.arrays import I64, Index
from streamflow.core.row_reading import Column
from streamflow.core.rows import Rows

States = dict[Any, Any]
"""The state of one aggregation for each key."""


@final
@dataclass(frozen=True, slots=True)
class RowRun:
    """A batch as the aggregations read it.

    Attributes:
        batch: The batch.
        keys: Its keys as the panes keep them; None for each row of a stream that has none.
        columns: What each aggregation reads.
    """

    batch: Rows
    keys: list[Any]
    columns: list[Column]

    def __len__(self) -> int:
        return len(self.keys)


@final
@dataclass(frozen=True, slots=True)
class Chosen:
    """Some rows of a run.

    Attributes:
        run: The run.
        keys: Their keys.
        values: For each aggregation, what it reads of them.
        places: Their places in the run.
        asked: Their places among the rows that were asked for, before some were left out.
    """

    run: RowRun
    keys: list[Any]
    values: list[list[Any]]
    places: I64
    asked: I64

    @staticmethod
    def of(run: RowRun, rows: Index) -> Chosen:
        """Return these rows of a run; without a copy where they are all."""
        places = np.arange(len(run), dtype=np.int64)[rows]
        asked = np.arange(len(places), dtype=np.int64)
        keys, columns = run.keys, [column.values for column in run.columns]
        if len(places) < len(run):
            wanted = places.tolist()
            keys, columns = [keys[i] for i in wanted], [[column[i] for i in wanted] for column in columns]
        return Chosen(run, keys, columns, places, asked)

    def where(self, mask: Sequence[bool]) -> Chosen:
        """Return the rows for which the mask says so."""
        if all(mask):
            return self
        flags = np.array(mask, dtype=np.bool_)
        values = [list(compress(column, mask)) for column in self.values]
        return Chosen(self.run, list(compress(self.keys, mask)), values, self.places[flags], self.asked[flags])

    def without(self, places: Iterable[int]) -> Chosen:
        """Return the rows but for those at these places of the choice."""
        mask = [True] * len(self.keys)
        for place in places:
            mask[place] = False
        return self.where(mask)


@final
class RowPartial:
    """What a run of rows folds to: the states of each aggregation by key.

    Attributes:
        states: One dict per aggregation, all with the same keys in the same order.
        bounds: For each aggregation, what no int total is larger than in magnitude.
        dirty: The keys changed since ``changed`` was last called; None where nobody kept count.
        cover: For a lazy window, what gives the partials of its slices.
    """

    __slots__ = ("bounds", "cover", "dirty", "states")

    def __init__(self, states: list[States], *, is_tracked: bool) -> None:
        self.states = states
        self.bounds = [0] * len(states)
        self.dirty: set[Any] | None = set() if is_tracked else None
        self.cover: Callable[[], Sequence[RowPartial]] | None = None

    def __len__(self) -> int:
        return len(self.states[0])

    def __repr__(self) -> str:
        keys = ", ".join(f"{key!r}: {tuple(s[key] for s in self.states)!r}" for key in self.states[0])
        return f"RowPartial({{{keys}}})"

    def touch(self, keys: Iterable[Any]) -> None:
        """Remember that these keys changed."""
        if self.dirty is not None:
            self.dirty.update(keys)

    def forget(self, key: Any) -> None:
        """Remember nothing of a key that is gone."""
        if self.dirty is not None:
            self.dirty.discard(key)

    def _check(self) -> None:
        """Assert what must hold between calls."""
        assert all(list(states) == list(self.states[0]) for states in self.states), "aggregations differ in keys"
        assert self.dirty is None or self.dirty <= self.states[0].keys(), "a key changed that is not there"
