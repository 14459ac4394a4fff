"""A partial of the column layout: for each key that has rows, a slot; for each aggregation, what it keeps of the slot.

Slots
    While a partial holds a good part of all keys, the slot of a key is its code: nothing is looked up, and two
    partials merge array by array.  One that holds few keys of many has a table of its own from codes to slots, so
    that it costs what it holds.  A partial changes between the two as it grows.

Knows neither keys nor windows.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np

from streamflow.core.arrays import I64, Index, Mask
from streamflow.core.code_table import CodeTable
from streamflow.core.column_dense import DenseState, grown
from streamflow.core.column_kinds import Keeping
from streamflow.core.column_long import LongState
from streamflow.core.column_run import Picked
from streamflow.core.column_scan import Values

_FEW, _SHARE_OF_FEW, _SHARE = 1 << 16, 16, 8
"""A slot is its code where at least one code in 16 has rows, one in 8 of many codes."""
_ALWAYS = 1024
"""And wherever there are no more codes than this."""
_FEW_GONE = 1024
"""A table of a partial's own keeps no more discarded codes than live ones and this many."""


@final
class ColumnPartial:
    """What a run of rows folds to.

    Args:
        keeping: The aggregations.
        is_tracked: Whether somebody will ask what changed.
        expected: How many keys it is likely to have: those that the one before it had.

    Attributes:
        rows: How many rows each slot has had; a slot with none is not in use.
        counts: For each input, how many values each slot has had; None while that is the number of rows.
        dense: What each aggregation keeps in arrays; None where it does not.
        long: What each aggregation keeps in a long table; None where it does not.
        dirty: The slots changed since they were last asked for; None where nobody asks.
    """

    __slots__ = ("__weakref__", "_expected", "_keeping", "_table", "counts", "dense", "dirty", "long", "rows")

    def __init__(self, keeping: Keeping, *, is_tracked: bool, expected: int = 0) -> None:
        self._keeping = keeping
        self._expected = expected
        self._table: CodeTable | None = None
        self.rows: I64 = np.zeros(0, dtype=np.int64)
        self.counts: list[I64 | None] = [None] * len(keeping.inputs.expressions)
        self.dense: list[DenseState | None] = []
        self.long: list[LongState[Any] | None] = []
        self.dirty: Mask | None = np.zeros(0, dtype=np.bool_) if is_tracked else None

    def __len__(self) -> int:
        return int(np.count_nonzero(self.rows))

    def __repr__(self) -> str:
        how = "codes" if self._table is None else "slots"
        return f"ColumnPartial({len(self)} keys, {len(self.rows)} {how})"

    def slots(self, codes: I64, size: int) -> I64:
        """Return the slot of each code, with room for all of them.

        Args:
            codes: The codes, in any order.
            size: One more than the largest code in use by anybody.
        """
        if self._table is None:
            if size <= len(self.rows):
                return codes
            if _is_dense(max(len(codes) // 2, len(self), self._expected), size):
                self._grow(_power(size))
                return codes
            self._move(CodeTable(), self.codes())
        assert self._table is not None
        slots, _ = self._table.encode(codes)
        if self._table.size > len(self.rows):
            self._grow(_power(self._table.size))
            if _is_dense(self._table.size, size):
                self._move(None, self.codes(), _power(size))
                return codes
        return slots

    def state(self, place: int) -> DenseState | LongState[Any] | None:
        """Return what an aggregation keeps; None if all that it needs is counts."""
        if not self.dense:
            self._grow(_power(1))
        return self.dense[place] or self.long[place]

    def used(self) -> I64:
        """Return the slots in use."""
        return np.flatnonzero(self.rows)

    def codes(self, slots: I64 | None = None) -> I64:
        """Return the codes of slots in use, of all where none are given."""
        slots = self.used() if slots is None else slots
        return slots if self._table is None else self._table.tokens(slots)

    def find(self, codes: I64) -> I64:
        """Return the slots in use of these codes, without those that have none."""
        slots = codes[codes < len(self.rows)] if self._table is None else self._table.find(codes)
        slots = slots[slots >= 0]
        return slots[self.rows[slots] > 0]

    def count(self, place: int | None, at: Index) -> I64:
        """Return how many values of an input some slots have had; how many rows, for no input."""
        counts = None if place is None else self.counts[place]
        return (self.rows if counts is None else counts)[at]

    def own_counts(self, place: int) -> I64:
        """Return the number of values of an input, from now on apart from the number of rows."""
        counts = self.counts[place]
        if counts is None:
            counts = self.counts[place] = self.rows.copy()
        return counts

    def touch(self, slots: Index) -> None:
        """Remember that slots changed."""
        if self.dirty is not None:
            self.dirty[slots] = True

    def offers(self, picked: Picked, slots: I64) -> list[tuple[I64, Values] | None]:
        """Return for each aggregation the slots and values that its arrays are to take, none of them null.

        Raises:
            DataError: If they cannot; nothing is changed.
        """
        chosen: dict[int, I64] = {}
        offers: list[tuple[I64, Values] | None] = []
        for kept, state in zip(self._keeping.kept, self.dense, strict=True):
            if state is None or kept.reads is None:
                offers.append(None)
                continue
            values, present = picked.array(kept.reads, kept.form), picked.present(kept.reads)
            if kept.reads not in chosen:
                chosen[kept.reads] = slots if present is None else slots[present]
            offer = chosen[kept.reads], values if present is None else values[present]
            state.admit(*offer)
            offers.append(offer)
        return offers

    def fold(self, picked: Picked, slots: I64) -> None:
        """Fold rows of a run into the slots beside them.

        Raises:
            DataError: If a sum of ints would leave 64 bits, or a value cannot be aggregated; nothing is changed.
        """
        pieces = [None if state is None else state.digest(picked) for state in self.long]
        for state, offer in zip(self.dense, self.offers(picked, slots), strict=True):
            if state is not None and offer is not None:
                state.fold(*offer)
        for long, piece in zip(self.long, pieces, strict=True):
            if long is not None:
                long.add(piece)
        for place in self._keeping.counted:
            present = picked.present(place)
            if present is not None or self.counts[place] is not None:
                np.add.at(self.own_counts(place), slots if present is None else slots[present], 1)
        np.add.at(self.rows, slots, 1)

    def dirty_codes(self) -> I64:
        """Return the codes of the keys that changed since ``clean``; none where nobody keeps count."""
        return _NO_CODES if self.dirty is None else self.codes(np.flatnonzero(self.dirty))

    def clean(self) -> I64 | None:
        """Return the slots that changed, and forget that they did; None where nobody keeps count."""
        if self.dirty is None:
            return None
        dirty = np.flatnonzero(self.dirty)
        self.dirty[dirty] = False
        return dirty

    def absorb(self, other: ColumnPartial, size: int, only: I64 | None = None) -> None:
        """Merge another partial, or what it holds of some codes, into this one."""
        if not len(other.rows):
            return
        if (
            only is None
            and self._table is None
            and other._table is None
            and len(other.rows) <= max(size, len(self.rows))
        ):
            if len(self.rows) < len(other.rows):
                self._grow(len(other.rows))
            to = at = slice(0, len(other.rows))
            self._merge(to, other, at)
            if self.dirty is not None:
                self.dirty[at] |= other.rows > 0
        else:
            found = other.used() if only is None else other.find(only)
            slots = self.slots(other.codes(found), size)
            self._merge(slots, other, found)
            self.touch(slots)
        for mine, theirs in zip(self.long, other.long, strict=True):
            if mine is not None and theirs is not None:
                mine.merge(theirs, only)

    def _merge(self, to: Index, other: ColumnPartial, at: Index) -> None:
        for mine, theirs in zip(self.dense, other.dense, strict=True):
            if mine is not None and theirs is not None:
                mine.merge(to, theirs, at)
        for place, counts in enumerate(other.counts):
            if counts is not None or self.counts[place] is not None:
                self.own_counts(place)[to] += other.count(place, at)
        self.rows[to] += other.rows[at]

    def _grow(self, capacity: int) -> None:
        if not self.dense:
            self.dense, self.long = self._keeping.dense(capacity), self._keeping.long()
        else:
            for state in self.dense:
                if state is not None:
                    state.grow(capacity)
        self.rows = grown(self.rows, capacity)
        self.counts = [None if counts is None else grown(counts, capacity) for counts in self.counts]
        self.dirty = None if self.dirty is None else grown(self.dirty, capacity)

    def _move(self, table: CodeTable | None, codes: I64, capacity: int = 0) -> None:
        """Put every state into the slot that its code has under another table."""
        moved = ColumnPartial(self._keeping, is_tracked=self.dirty is not None)
        to = codes if table is None else table.encode(codes)[0]
        moved._grow(capacity or _power(len(codes)))
        at = self.used()
        if self.dense:
            moved._merge(to, self, at)
        if self.dirty is not None and moved.dirty is not None:
            moved.dirty[to] = self.dirty[at]
        self.long = self.long or moved.long
        self._table, self.rows, self.counts, self.dense, self.dirty = (
            table,
            moved.rows,
            moved.counts,
            moved.dense,
            moved.dirty,
        )

    def discard(self, codes: I64) -> None:
        """Forget what is held of some codes; costs what is forgotten, all told."""
        at = self.find(codes)
        if not len(at):
            return
        gone = self.codes(at)
        for state in self.dense:
            if state is not None:
                state.reset(at)
        for long in self.long:
            if long is not None:
                long.discard(gone)
        for counts in (self.rows, *self.counts):
            if counts is not None:
                counts[at] = 0
        if self.dirty is not None:
            self.dirty[at] = False
        if self._table is not None and self._table.size > 2 * len(self) + _FEW_GONE:
            self._move(CodeTable(), self.codes())

    def move(self, old: I64, new: I64, size: int) -> None:
        """Merge what is held of each old code into the new one beside it; codes of both are distinct."""
        is_held = np.isin(old, self.codes(self.find(old)))
        old, new = old[is_held], new[is_held]
        to = self.slots(new, size)
        self._merge(to, self, self.slots(old, size))
        self.touch(to)
        for long in self.long:
            if long is not None:
                long.move(old, new)
        self.discard(old)

    def clear(self) -> None:
        """Forget everything."""
        new = ColumnPartial(self._keeping, is_tracked=self.dirty is not None)
        self._table, self.rows, self.counts, self.dense, self.long, self.dirty = (
            new._table,
            new.rows,
            new.counts,
            new.dense,
            new.long,
            new.dirty,
        )

    def _check(self) -> None:
        """Assert what must hold between calls."""
        assert (self.rows >= 0).all(), "a slot has fewer rows than none"
        assert self._table is None or self._table.size <= 2 * len(self) + _FEW_GONE, "too few slots are in use"


_NO_CODES = np.zeros(0, dtype=np.int64)


def _is_dense(keys: int, size: int) -> bool:
    """Return whether so many keys are a good part of ``size`` codes."""
    return size <= _ALWAYS or keys * (_SHARE_OF_FEW if size <= _FEW else _SHARE) >= size


def _power(size: int) -> int:
    return max(8, 1 << (size - 1).bit_length())
