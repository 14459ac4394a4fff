"""The panes of a step in the column layout: keys as codes, states as arrays, no Python object per row, key or group.

A batch is read once: its keys become codes (``key_codes``), its columns arrays (``column_run``).  Folding adds them
to the arrays of a partial (``column_dense``), or appends them to its long tables (``column_long``).

Codes belong to keys while a partial holds them.  When as many new codes were given as were alive, those that no partial
and no run holds are freed: so memory follows the keys alive, and nobody counts references.

Knows no window assignment, no lateness and no watermark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final
from weakref import WeakSet

import numpy as np
import polars as pl

from streamflow.core.aggregation import Aggregate
from streamflow.core.arrays import I64, Index
from streamflow.core.batch import Batch
from streamflow.core.column_answer import answer_all, answer_each
from streamflow.core.column_kinds import Keeping
from streamflow.core.column_partial import ColumnPartial
from streamflow.core.column_run import ColumnRun, Picked
from streamflow.core.column_scan import distinct
from streamflow.core.column_state import state_columns, take_state, types_said
from streamflow.core.columns import Columns
from streamflow.core.connector import Refused
from streamflow.core.folding import Run
from streamflow.core.key_codes import KeyCodes
from streamflow.core.keys import key_columns
from streamflow.errors import CheckpointError, InternalError

_FEW_CODES = 1 << 14
"""So many new codes are given before anybody looks whether some can be freed: keys that come and go stay known."""


@final
class ColumnFolding:
    """The panes of one step in the column layout; a ``core.folding.Folding``.

    At 1,000 rows a batch costs what some forty numpy calls cost; at 100,000 a row costs about 50 ns, with a text key
    and two aggregations of numbers.

    Args:
        aggregations: The output columns, and what each comes to.
        key: The key columns; none for one pane a window.

    Attributes:
        tracking: Whether new partials remember which keys changed, for ``changed``; without it, all have.

    Raises:
        DefinitionError: If there is no aggregation, or one that columns cannot keep.
    """

    def __init__(self, aggregations: Mapping[str, Aggregate[Any, Any]], key: tuple[str, ...]) -> None:
        self.tracking = False
        self._keeping = Keeping(aggregations)
        self._codes = KeyCodes(key)
        self._alive = 0
        """How many codes were in use when they were last swept."""
        self._usual = 0
        """How many keys the last partial had that was let go of."""
        self._partials: WeakSet[ColumnPartial] = WeakSet()
        self._runs: WeakSet[ColumnRun] = WeakSet()

    # ---------------------------------------------------------------------------------------------------- reading

    def read(self, batch: Batch) -> tuple[ColumnRun, Sequence[Refused]]:
        """Return the run of a batch; no row is refused, since an expression fails for a batch or not at all.

        Raises:
            DataError: If a column is missing or of another type than before, or an expression cannot be computed.
        """
        if not isinstance(batch, Columns):
            raise InternalError(f"the column layout was given a batch of {batch.layout.value}")
        self._sweep()
        inputs = self._keeping.inputs
        series = inputs.read(batch.frame)
        if not inputs.fits(series):
            self._retype(inputs.settle(series))
            series = [s if s.dtype == dtype else s.cast(dtype) for s, dtype in zip(series, inputs.dtypes, strict=True)]
        run = ColumnRun(batch, self._codes.encode(batch.frame), series)
        self._runs.add(run)
        return run, ()

    def _sweep(self) -> None:
        """Free the codes that nobody holds, where many may be free."""
        if self._codes.used < 2 * self._alive + _FEW_CODES:
            return
        live = np.zeros(self._codes.size, dtype=np.bool_)
        for partial in self._partials:
            live[partial.codes()] = True
        for run in self._runs:
            live[run.codes] = True
        self._codes.keep(live)
        self._alive = self._codes.used

    def _retype(self, dtypes: list[pl.DataType]) -> None:
        """Take the types of the inputs; what partials hold already takes them too."""
        if dtypes == self._keeping.inputs.dtypes:
            self._keeping.settle(dtypes)
            return
        held = [(p, p.codes(), state_columns(self._keeping, p, p.used()), p.dirty_codes()) for p in self._partials]
        self._keeping.settle(dtypes)
        for partial, codes, columns, dirty in held:
            partial.clear()
            take_state(self._keeping, partial, codes, self._codes.size, pl.DataFrame(columns))
            partial.touch(partial.find(dirty))

    # ---------------------------------------------------------------------------------------------------- folding

    def new(self) -> ColumnPartial:
        """Return the partial of no rows."""
        partial = ColumnPartial(self._keeping, is_tracked=self.tracking, expected=self._usual)
        self._partials.add(partial)
        return partial

    def fold(self, partial: ColumnPartial, run: Run, rows: Index) -> Sequence[Refused]:
        """Fold these rows into a partial, in place; no row is refused.

        Raises:
            DataError: If a sum of ints would leave 64 bits; the partial is unchanged.
        """
        picked = _picked(run, rows)
        if not len(picked):
            return ()
        slots = partial.slots(picked.codes, self._codes.size)
        partial.fold(picked, slots)
        partial.touch(slots)
        return ()

    def absorb(self, partial: ColumnPartial, other: ColumnPartial) -> None:
        """Merge ``other`` into ``partial`` in place.

        ``other`` is unchanged and shares nothing that could be changed.
        """
        partial.absorb(other, self._codes.size)

    def merge(self, parts: Sequence[ColumnPartial]) -> ColumnPartial:
        """Return a new partial of all the rows of ``parts``, which are unchanged."""
        merged = self.new()
        for part in parts:
            merged.absorb(part, self._codes.size)
        return merged

    def touched(self, run: Run, rows: Index) -> I64:
        """Return the distinct keys of these rows, as codes in ascending order."""
        return distinct(_picked(run, rows).codes, self._codes.size)[0]

    def union(self, sets: Sequence[I64]) -> I64:
        """Return the union of sets of keys."""
        return np.unique(np.concatenate(sets)) if len(sets) != 1 else sets[0]

    # ---------------------------------------------------------------------------------------------------- answering

    def results(
        self, cover: Sequence[ColumnPartial], window: tuple[int, int], wm: int, *, keys: I64 | None = None
    ) -> Columns:
        """Return one row per key that has rows in any partial of ``cover``: the window's result.

        Costs a few passes over the arrays of the cover, or over the ``keys`` where they are given.
        """
        if len(cover) == 1:
            whole = cover[0]
        else:
            whole = ColumnPartial(self._keeping, is_tracked=False)
            for part in cover:
                whole.absorb(part, self._codes.size, keys)
        at = whole.used() if keys is None else whole.find(keys)
        return answer_all(self._keeping, self._codes, whole, at, window, wm)

    def open_window(self, cover: Callable[[], Sequence[ColumnPartial]]) -> ColumnPartial:
        """Return the merge of ``cover()``, of all keys at once."""
        return self.merge(cover())

    def each(
        self, partial: ColumnPartial, run: Run, rows: Index, windows: tuple[I64, I64]
    ) -> tuple[Columns, Sequence[Refused]]:
        """Fold rows into a partial one by one; return the result after each row, with the row's own stamps.

        Sums of floats are added in the order of the rows.  A row of ``collect``, ``top_k`` or ``quantiles`` costs what
        its key holds.
        """
        picked = _picked(run, rows)
        slots = partial.slots(picked.codes, self._codes.size)
        answer = answer_each(self._keeping, self._codes.names, partial, picked, slots, windows)
        partial.touch(slots)
        return answer, ()

    # ---------------------------------------------------------------------------------------------------- keeping

    def keyed(self, keys: Sequence[Any]) -> I64:
        """Return keys that are given one by one, of a step with one key column, as codes."""
        return self._codes.load([pl.Series(self._codes.names[0], keys)], len(keys))

    def move(self, partial: ColumnPartial, old: Sequence[Any], new: Sequence[Any]) -> None:
        """Merge the state of each key of ``old`` into the key of ``new`` beside it; ``old`` keys are gone then.

        Costs what is moved where all of these keys are distinct, else they move one after another.

        Raises:
            DataError: If a sum of ints would leave 64 bits.
        """
        if not len(old):
            return
        codes = self.keyed([*old, *new]).reshape(2, -1)
        at_once = len(old) if len(np.unique(codes)) == codes.size else 1
        for start in range(0, len(old), at_once):
            gone, into = codes[:, start : start + at_once]
            if not np.array_equal(gone, into):
                partial.move(gone, into, self._codes.size)

    def discard(self, partial: ColumnPartial, keys: Sequence[Any]) -> None:
        """Forget these keys of a partial, in place; keys that it does not have are passed over."""
        if len(keys):
            partial.discard(self.keyed(keys))

    def keys(self, partial: ColumnPartial) -> int:
        """Return how many keys the partial has; one pass over an array."""
        return len(partial)

    def release(self, partial: ColumnPartial) -> None:
        """Let go of the partial: its keys' codes are freed at the next sweep."""
        self._usual = len(partial)
        self._partials.discard(partial)

    def changed(self, partial: ColumnPartial) -> pl.DataFrame:
        """Return key and state columns of the keys changed since this was last called.

        Of all keys, if it was not tracked.
        """
        dirty = partial.clean()
        return self._frame(partial, partial.used() if dirty is None else dirty)

    def export(self, partial: ColumnPartial) -> pl.DataFrame:
        """Return key and state columns of all keys."""
        return self._frame(partial, partial.used())

    def load(self, frame: pl.DataFrame) -> ColumnPartial:
        """Return the partial that ``export`` of either layout made this frame of.

        Raises:
            CheckpointError: If it is the state of other keys or aggregations, or holds values that only rows can.
        """
        names = key_columns(frame)
        if len(names) != len(self._codes.names) and frame.height:
            raise CheckpointError(
                f"the restored state has {len(names)} key columns, and the step groups by {len(self._codes.names)}",
                remedy="group by the same columns as before, or start afresh with a new generation",
            )
        partial = self.new()
        if frame.height:
            self._retype(types_said(self._keeping, frame))
            codes = self._codes.load([frame.get_column(name) for name in names], frame.height)
            take_state(self._keeping, partial, codes, self._codes.size, frame)
        return partial

    def _frame(self, partial: ColumnPartial, at: I64) -> pl.DataFrame:
        keys = self._codes.keys(partial.codes(at))
        columns = [column.alias(f"key_{place}") for place, column in enumerate(keys)]
        return pl.DataFrame(columns + state_columns(self._keeping, partial, at))


def _picked(run: Run, rows: Index) -> Picked:
    if not isinstance(run, ColumnRun):
        raise InternalError(f"the column layout was given a run of {type(run).__name__}")
    return Picked(run, rows)
