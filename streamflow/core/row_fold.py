"""The panes of a step in the row layout: for each aggregation, a dict from key to its state.

Columns of states, not rows of them: each aggregation is one tight loop over a run's keys and values
(``row_accumulators``), and all dicts of a partial have the same keys.

Refused rows
    A row that one aggregation refuses is left out of all.  Reading functions run before anything is folded.  Of what
    runs later only two can refuse a row: a user's fold, and a sum of ints that leaves 64 bits.  A lone user's fold goes
    first, and the others take what it left.  Where more than one could refuse, rows go one by one, and what a refused
    row did is undone; for sums that is only where the magnitudes of all rows so far could leave 64 bits together.

Lazy windows
    ``open_window`` returns a partial of no keys.  ``each`` merges a key from the window's slices when it first asks for
    it; ``fold`` takes only keys that are there, since the others will be merged with their slices later.

Knows no window assignment, no lateness and no watermark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, final

import numpy as np
import polars as pl

from streamflow.core.aggregation import Aggregate, Aggregation
from streamflow.core.arrays import I64, Index
from streamflow.core.batch import Batch
from streamflow.core.connector import Refused
from streamflow.core.folding import Run, Windowed
from streamflow.core.keys import key_frame, key_list
from streamflow.core.row_accumulators import Accumulator
from streamflow.core.row_kinds import accumulator
from streamflow.core.row_partial import Chosen, RowPartial, RowRun, States
from streamflow.core.row_reading import Reading, refusal
from streamflow.core.row_types import KeyType
from streamflow.core.row_values import MOST_INT
from streamflow.core.rows import Rows, pick
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import EARLIEST, LATEST, MAX_TIMESTAMP
from streamflow.errors import DefinitionError, InternalError

Keys = dict[Any, None]
"""A set of keys that keeps their order, so that equal runs emit in the same order in every process."""

Failure = tuple[int, str, Exception]
"""The place of a row among those chosen, the aggregation that refused it, and why."""

_MISSING = object()


@final
class RowFolding:
    """The panes of one step in the row layout; a ``core.folding.Folding``.

    Args:
        aggregations: At least one.
        into: Called with the results of all, in order; without it one result stands for itself and several are a tuple.
            What it raises reaches the caller.

    Attributes:
        tracking: Whether partials made from now on remember which keys changed, for ``changed``; of others, all have.

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
        places = range(len(aggregations))
        self._users = [i for i in places if self._accumulators[i].is_users]
        self._order = [*self._users, *(i for i in places if i not in self._users)]
        self._sums = [i for i in places if self._accumulators[i].can_overflow]

    def __repr__(self) -> str:
        return f"RowFolding({', '.join(each.what for each in self._accumulators)})"

    # Rows in.

    def read(self, batch: Batch) -> tuple[RowRun, Sequence[Refused]]:
        """Return the run of a batch, and the rows on which a reading function failed or gave a wrong type."""
        if not isinstance(batch, Rows):
            raise InternalError(f"the row layout was given a batch of {batch.layout.value}")
        reading = Reading(batch)
        keys = [None] * len(batch) if batch.keys is None else self._key_type.read(reading, batch.keys)
        columns = [each.read(reading) for each in self._accumulators]
        return RowRun(batch, keys, columns), [reading.refused[row] for row in sorted(reading.refused)]

    def new(self) -> RowPartial:
        """Return the partial of no rows."""
        return RowPartial([each.empty() for each in self._accumulators], is_tracked=self.tracking)

    def fold(self, partial: RowPartial, run: Run, rows: Index) -> Sequence[Refused]:
        """Fold these rows into a partial, in place; return those on which a user's fold failed or a sum left 64 bits.

        A lazy window takes only rows of keys that it has merged.
        """
        chosen = Chosen.of(_own(run), rows)
        if partial.cover is not None:
            chosen = chosen.where([key in partial.states[0] for key in chosen.keys])
        failed: list[Failure] = []
        kept = chosen
        if self._may_undo(partial, chosen):
            failed = self._fold_one_by_one(partial, chosen, None)
            kept = chosen.without(place for place, *_ in failed)
        else:
            for i in self._order:
                each, states, values = self._accumulators[i], partial.states[i], kept.values[i]
                if each.is_users:
                    failed = [(place, each.what, error) for place, error in each.try_fold(states, kept.keys, values)]
                    kept = chosen.without(place for place, *_ in failed)
                else:
                    each.fold(states, kept.keys, values, is_clean=chosen.run.columns[i].is_clean)
        partial.touch(kept.keys)
        return _refusals(failed, chosen)

    def each(
        self, partial: RowPartial, run: Run, rows: Index, windows: tuple[I64, I64]
    ) -> tuple[Batch, Sequence[Refused]]:
        """Fold rows into a partial one by one; return the result after each row, with the row's own stamps."""
        chosen = Chosen.of(_own(run), rows)
        if partial.cover is not None:
            self._materialise(partial, chosen.keys, partial.cover)
        failed: list[Failure] = []
        kept = chosen
        peeked: list[list[Any]] = [[] for _ in self._accumulators]
        if self._may_undo(partial, chosen):
            failed = self._fold_one_by_one(partial, chosen, peeked)
            kept = chosen.without(place for place, *_ in failed)
        else:
            for i in self._order:
                each, states, values = self._accumulators[i], partial.states[i], kept.values[i]
                if each.is_users:
                    peeked[i], raised = each.try_each(states, kept.keys, values)
                    failed = [(place, each.what, error) for place, error in raised]
                    kept = chosen.without(place for place, *_ in failed)
                else:
                    peeked[i] = each.each(states, kept.keys, values)
        partial.touch(kept.keys)
        starts, ends = (bound[kept.asked].tolist() for bound in windows)
        results = list(map(Windowed, kept.keys, starts, ends, self._finish(peeked)))
        return Rows(chosen.run.batch.stamps.take(kept.places), results, kept.keys), _refusals(failed, chosen)

    # Partials together.

    def absorb(self, partial: RowPartial, other: RowPartial) -> None:
        """Merge ``other`` into ``partial`` in place; ``other`` is unchanged and shares nothing with it afterwards."""
        for i, each in enumerate(self._accumulators):
            each.absorb(partial.states[i], other.states[i])
            partial.bounds[i] += other.bounds[i]
        partial.touch(other.states[0])

    def merge(self, parts: Sequence[RowPartial]) -> RowPartial:
        """Return a new partial of all the rows of ``parts``, which are unchanged."""
        merged = self.new()
        for part in parts:
            self.absorb(merged, part)
        return merged

    def keyed(self, keys: Sequence[Any]) -> Keys:
        """Return keys that are given one by one as ``results`` takes them."""
        return dict.fromkeys(keys)

    def move(self, partial: RowPartial, old: Sequence[Any], new: Sequence[Any]) -> None:
        """Merge the state of each key of ``old`` into the key of ``new`` beside it; ``old`` keys are gone then."""
        for gone, key in zip(old, new, strict=True):
            if gone not in partial.states[0]:
                continue
            for i, each in enumerate(self._accumulators):
                states = partial.states[i]
                moved = states.pop(gone)
                states[key] = each.merge(states[key], moved) if key in states else moved
                partial.bounds[i] = max(partial.bounds[i], each.bound((states[key],)))
            partial.touch((key,))
            partial.forget(gone)

    def discard(self, partial: RowPartial, keys: Iterable[Any]) -> None:
        """Forget these keys of a partial, in place; keys that it does not have are passed over."""
        for key in keys:
            for states in partial.states:
                states.pop(key, None)
            partial.forget(key)

    def open_window(self, cover: Callable[[], Sequence[RowPartial]]) -> RowPartial:
        """Return a partial that merges a key of the window's slices when ``each`` first asks for it."""
        partial = self.new()
        partial.cover = cover
        partial.dirty = None  # what is derived is never stored
        return partial

    def release(self, partial: RowPartial) -> None:
        """Free nothing: partials share nothing."""

    # Rows out.

    def touched(self, run: Run, rows: Index) -> Keys:
        """Return the distinct keys of these rows, in the order of their first row."""
        return dict.fromkeys(pick(_own(run).keys, rows))

    def union(self, sets: Sequence[Iterable[Any]]) -> Keys:
        """Return the union of sets of keys, in order."""
        return {key: None for keys in sets for key in keys}

    def results(
        self,
        cover: Sequence[RowPartial],
        window: tuple[int, int],
        wm: int,
        *,
        keys: Keys | Sequence[Any] | I64 | None = None,
    ) -> Batch:
        """Return one row per key that has rows in any partial of ``cover``: the window's result.

        Its event time is ``end - 1``; for a window without end it is ``wm``.  Either is kept to the years 1 to 9999.

        Raises:
            DataError: If a sum of ints leaves 64 bits where the partials meet.
        """
        parts = [part for part in cover if len(part)]
        if keys is not None:
            states = self._gather(parts, keys.tolist() if isinstance(keys, np.ndarray) else keys)
        elif len(parts) == 1:
            states = parts[0].states
        else:
            states = self.merge(parts).states
        start, end = window
        found = list(states[0])
        peeked = [list(map(each.peek, s.values())) for each, s in zip(self._accumulators, states, strict=True)]
        time = wm if end == MAX_TIMESTAMP and wm < MAX_TIMESTAMP else end - 1
        stamps = Stamps.at(min(max(time, EARLIEST), LATEST), wm, len(found))
        return Rows(stamps, list(map(Windowed, found, repeat(start), repeat(end), self._finish(peeked))), found)

    def keys(self, partial: RowPartial) -> int:
        """Return how many keys the partial has; of a lazy window, how many it has merged."""
        return len(partial)

    # State.

    def changed(self, partial: RowPartial) -> pl.DataFrame:
        """Return key and state columns of the keys changed since this was last called, and forget that they changed.

        Raises:
            DataError: If a key, a value or a state cannot be stored, or a sum of ints has left 64 bits.
        """
        if partial.dirty is None:
            return self.export(partial)
        frame = self._frame(partial, list(partial.dirty))
        partial.dirty.clear()
        return frame

    def export(self, partial: RowPartial) -> pl.DataFrame:
        """Return key and state columns of all keys.

        Raises:
            DataError: As ``changed``.
        """
        return self._frame(partial, list(partial.states[0]))

    def load(self, frame: pl.DataFrame) -> RowPartial:
        """Return the partial that ``export`` of either layout made this frame of.

        Raises:
            CheckpointError: If the frame is not one of this step's.
        """
        keys = key_list(frame)
        self._key_type.learn(keys)
        states: list[States] = []
        for i, each in enumerate(self._accumulators):
            prefix = f"{i}_"
            columns = {c.removeprefix(prefix): frame.get_column(c) for c in frame.columns if c.startswith(prefix)}
            states.append(each.empty())
            dict.update(states[i], zip(keys, each.load(columns), strict=True))  # a Counter's own would count
        partial = RowPartial(states, is_tracked=self.tracking)
        partial.bounds = [each.bound(s.values()) for each, s in zip(self._accumulators, states, strict=True)]
        return partial

    # Inside.

    def _may_undo(self, partial: RowPartial, chosen: Chosen) -> bool:
        """Return whether a row may be refused after another aggregation has taken it; count in what comes."""
        may_overflow = False
        for i in self._sums:
            coming = chosen.run.columns[i].bound * len(chosen.keys)
            if partial.bounds[i] + coming > MOST_INT:
                partial.bounds[i] = self._accumulators[i].bound(partial.states[i].values())
            partial.bounds[i] += coming
            may_overflow = may_overflow or partial.bounds[i] > MOST_INT
        return may_overflow or len(self._users) > 1

    def _fold_one_by_one(self, partial: RowPartial, chosen: Chosen, peeked: list[list[Any]] | None) -> list[Failure]:
        """Fold row by row, those that can refuse it first; undo what they did to a row that one refuses."""
        failed: list[Failure] = []
        unsure = [*self._users, *self._sums]
        sure = [i for i in self._order if i not in unsure]
        for place, key in enumerate(chosen.keys):
            before = [states.get(key, _MISSING) for states in partial.states]
            i = -1
            try:
                for i in unsure:
                    self._step(partial, i, key, chosen.values[i][place])
            except Exception as error:  # noqa: BLE001  # whatever a user's function raises is the row's fault, and is kept
                for j in unsure:
                    _restore(partial.states[j], key, before[j])
                failed.append((place, self._accumulators[i].what, error))
                continue
            for i in sure:
                self._step(partial, i, key, chosen.values[i][place])
            for i, seen in enumerate(peeked or ()):
                seen.append(self._accumulators[i].peek(partial.states[i][key]))
        return failed

    def _step(self, partial: RowPartial, i: int, key: Any, value: Any) -> None:
        each, states = self._accumulators[i], partial.states[i]
        states[key] = each.step(states[key] if key in states else each.new(), value)

    def _gather(self, parts: Sequence[RowPartial], keys: Iterable[Any]) -> list[States]:
        """Return the states of these keys, merged over the parts; of those that have rows in any."""
        merged = [each.empty() for each in self._accumulators]
        for part in parts:
            mine = [key for key in keys if key in part.states[0]]
            for each, states, others in zip(self._accumulators, merged, part.states, strict=True):
                each.absorb(states, {key: others[key] for key in mine})
        return merged

    def _materialise(self, partial: RowPartial, keys: Iterable[Any], cover: Callable[[], Sequence[RowPartial]]) -> None:
        """Merge the keys that a lazy window has not got."""
        missing = dict.fromkeys(key for key in keys if key not in partial.states[0])
        if not missing:
            return
        parts = cover()
        for i, states in enumerate(self._gather(parts, missing)):
            dict.update(partial.states[i], states)  # a Counter's own would count
            partial.bounds[i] = max(partial.bounds[i], sum(part.bounds[i] for part in parts))

    def _finish(self, peeked: list[list[Any]]) -> Iterable[Any]:
        """Return the value of each row."""
        results = [each.finish(seen) for each, seen in zip(self._accumulators, peeked, strict=True)]
        if self._into is not None:
            return map(self._into, *results)
        return results[0] if len(results) == 1 else zip(*results, strict=True)

    def _frame(self, partial: RowPartial, keys: list[Any]) -> pl.DataFrame:
        columns = key_frame(self._key_type.stored(keys)).get_columns()
        for i, each in enumerate(self._accumulators):
            states = partial.states[i]
            exported = each.export([states[key] for key in keys])
            columns += [series.alias(f"{i}_{name}") for name, series in exported.items()]
        return pl.DataFrame(columns)


def _own(run: Run) -> RowRun:
    if not isinstance(run, RowRun):
        raise InternalError(f"the row layout was given a {type(run).__name__}")
    return run


def _refusals(failed: Sequence[Failure], chosen: Chosen) -> list[Refused]:
    rows = ((int(chosen.places[place]), what, error) for place, what, error in failed)
    return [refusal(row, error, what, chosen.run.batch.values[row]) for row, what, error in rows]


def _restore(states: States, key: Any, state: Any) -> None:
    if state is _MISSING:
        states.pop(key, None)
    else:
        states[key] = state
