"""The panes of a step in the row layout: for each aggregation, a dict from key to its state.

Columns of states, not rows of them: each aggregation is one tight loop over a run's keys and values (``row_accumulators``),
and all dicts of a partial have the same keys.

Refused rows
    A row that one aggregation refuses is left out of all.  Reading functions run before anything is folded.  Of what runs
    later only two can refuse a row: a user's fold, and a sum of ints that leaves 64 bits.  A lone user's fold goes first, and the
    others take what it left.  Where more than one could refuse, rows go one by one, and what a refused row did is undone;
    for sums that is only where the largest magnitudes of all rows so far could leave 64 bits together.

Lazy windows
    ``open_window`` returns a partial of no keys.  ``each`` merges a key from the window's slices when it first asks for
    it; ``fold`` takes only keys that are there, since the others will be merged with their slices later.

Knows no window assignment, no lateness and no watermark.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from typing import Any, final

import numpy as np
import polars as pl

from streamflow.core.aggregation import Aggregate, Aggregation
from streamflow.core.arrays import I64, Index
from streamflow.core.batch import Batch
from streamflow.core.connector import Refused
from streamflow.core.folding import Run, Windowed
from streamflow.core.keys import key_frame, key_list
from streamflow.core.row_accumulators import Accumulator, States
from streamflow.core.row_kinds import accumulator
from streamflow.core.row_reading import Column, Reading
from streamflow.core.row_types import KeyType
from streamflow.core.row_values import MOST_INT, plain
from streamflow.core.rows import Rows, pick
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import EARLIEST, LATEST, MAX_TIMESTAMP
from streamflow.errors import DefinitionError, InternalError


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
class RowPartial:
    """What a run of rows folds to: the states of each aggregation by key.

    Attributes:
        states: One dict per aggregation, all with the same keys.
        bounds: For each aggregation, what no int total is larger than in magnitude.
        dirty: The keys changed since ``changed`` was last called; None where nobody kept count.
        cover: For a lazy window, what gives the partials of its slices.
    """

    __slots__ = ("bounds", "cover", "dirty", "states")

    def __init__(self, states: list[States[Any]], *, is_tracked: bool) -> None:
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

    def _check(self) -> None:
        """Assert what must hold between calls."""
        assert all(states.keys() == self.states[0].keys() for states in self.states), "aggregations differ in keys"
        assert self.dirty is None or self.dirty <= self.states[0].keys(), "a key changed that is not there"


Keys = dict[Any, None]
"""A set of keys that keeps their order, so that equal runs emit in the same order in every process."""


@final
class RowFolding:
    """The panes of one step in the row layout; a ``core.folding.Folding``.

    Args:
        aggregations: At least one.
        into: Called with the results of all, in order; without it one result stands for itself and several are a tuple.
            What it raises reaches the caller.

    Attributes:
        tracking: Whether new partials remember which keys changed, for ``changed``; without it, all have.

    Raises:
        DefinitionError: If there is no aggregation, or one that the row layout cannot keep.
    """

    def __init__(
        self,
        aggregations: Sequence[Aggregate[Any, Any] | Aggregation[Any, Any, Any]],
        into: Callable[..., Any] | None = None,
    ) -> None:
        if not aggregations:
            raise DefinitionError("a window needs at least one aggregation, such as agg.count(), got none")
        self.tracking = False
        self._accumulators: list[Accumulator[Any]] = [accumulator(aggregation) for aggregation in aggregations]
        self._into = into
        self._key_type = KeyType()
        # Those that can refuse come first, so that what a refused row did is undone before anything else sees it.
        self._users = [i for i, a in enumerate(self._accumulators) if a.is_users]
        self._sums = [i for i, a in enumerate(self._accumulators) if a.can_overflow]
        self._sure = [i for i, a in enumerate(self._accumulators) if not a.is_users]

    # ---------------------------------------------------------------------------------------------------- reading

    def read(self, batch: Batch) -> tuple[RowRun, Sequence[Refused]]:
        """Return the run of a batch, and the rows on which a reading function failed or gave a wrong type."""
        if not isinstance(batch, Rows):
            raise InternalError(f"the row layout was given a batch of {batch.layout.value}")
        reading = Reading(batch)
        keys = [None] * len(batch) if batch.keys is None else self._key_type.read(reading, batch.keys)
        columns = [each.read(reading) for each in self._accumulators]
        return RowRun(batch, keys, columns), [reading.refused[row] for row in sorted(reading.refused)]

    # ---------------------------------------------------------------------------------------------------- folding

    def new(self) -> RowPartial:
        """Return the partial of no rows."""
        return RowPartial([each.empty() for each in self._accumulators], is_tracked=self.tracking)

    def fold(self, partial: RowPartial, run: Run, rows: Index) -> Sequence[Refused]:
        """Fold these rows into a partial, in place; return those on which a user's fold failed, or an int sum overflows.

        A lazy window takes only rows of keys that it has merged.
        """
        chosen = self._choose(run, rows)
        if partial.cover is not None:
            chosen = chosen.where([key in partial.states[0] for key in chosen.keys])
        if not chosen.keys:
            return ()
        if self._may_refuse_together(partial, chosen):
            refused, chosen = self._fold_one_by_one(partial, chosen)
        else:
            refused, chosen = self._fold_users(partial, chosen)
            for i in self._sure:
                column = chosen.columns[i]
                self._accumulators[i].fold(
                    partial.states[i], chosen.keys, column.values or (), is_clean=column.is_clean
                )
        partial.touch(chosen.keys)
        return refused

    def each(
        self, partial: RowPartial, run: Run, rows: Index, windows: tuple[I64, I64]
    ) -> tuple[Batch, Sequence[Refused]]:
        """Fold rows into a partial one by one; return the result after each row, with the row's own stamps."""
        chosen = self._choose(run, rows)
        if partial.cover is not None:
            self._materialise(partial, chosen.keys)
        if self._may_refuse_together(partial, chosen):
            refused, chosen, peeked = self._each_one_by_one(partial, chosen)
        else:
            refused, chosen, peeked = self._each_users(partial, chosen)
            for i in self._sure:
                values = chosen.columns[i].values
                peeked[i] = self._accumulators[i].each(
                    partial.states[i], chosen.keys, repeat_nothing(chosen.keys) if values is None else values
                )
        partial.touch(chosen.keys)
        starts, ends = (bound[chosen.kept].tolist() for bound in windows)
        values = self._values([a.finish(p) for a, p in zip(self._accumulators, peeked, strict=True)])
        stamps = chosen.run.batch.stamps.take(chosen.places)
        return Rows(stamps, list(map(Windowed, chosen.keys, starts, ends, values)), chosen.keys), refused
