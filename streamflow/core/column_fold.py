"""The panes of a step in the column layout: keys as codes, states as arrays, no Python object per row, key or group.

A batch is read once: its keys become codes (``key_codes``), its columns arrays (``column_run``).  Folding adds them into the
arrays of a partial (``column_partial``), which ``column_dense`` and the long tables of ``column_long`` keep.  At 1,000
rows a batch costs what some forty numpy calls cost, about 0.2 ms; at 100,000 rows a row costs 30 to 60 ns.

Codes belong to keys while a partial holds them.  Every so often, when as many new codes were given as were alive, those
that no partial and no run holds are freed: so memory follows the keys alive, and nobody counts references.

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
from streamflow.core.column_kinds import Kept, keep_all
from streamflow.core.column_partial import ColumnPartial
from streamflow.core.column_run import ColumnRun, Inputs, Picked, taken
from streamflow.core.column_scan import Groups, Values, distinct
from streamflow.core.column_values import to_series
from streamflow.core.columns import Columns
from streamflow.core.connector import Refused
from streamflow.core.folding import Run
from streamflow.core.key_codes import KeyCodes
from streamflow.core.keys import key_columns
from streamflow.core.recast import recast
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import EARLIEST, LATEST, MAX_TIMESTAMP
from streamflow.errors import CheckpointError, DataError, InternalError

_WINDOW = ("window_start", "window_end")
_INSTANT = pl.Datetime("us", "UTC")
_FEW_CODES = 4096


@final
class ColumnFolding:
    """The panes of one step in the column layout; a ``core.folding.Folding``.

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
        self._inputs = Inputs()
        self._kept = keep_all(aggregations, self._inputs)
        self._counted = sorted({k.reads for k in self._kept if k.needs_counts and k.reads is not None})
        self._key = key
        self._codes = KeyCodes(key)
        self._alive = 0
        """How many codes were in use after they were last swept."""
        self._partials: WeakSet[ColumnPartial] = WeakSet()
        self._runs: WeakSet[ColumnRun] = WeakSet()
        self._is_loaded = False
        """Whether types are those of a restored state, which may say less than the batches to come."""

    # ---------------------------------------------------------------------------------------------------- reading

    def read(self, batch: Batch) -> tuple[ColumnRun, Sequence[Refused]]:
        """Return the run of a batch; no row is refused, since an expression fails for a batch or not at all.

        Raises:
            DataError: If a column is missing or of another type than before, or an expression cannot be computed.
        """
        if not isinstance(batch, Columns):
            raise InternalError(f"the column layout was given a batch of {batch.layout.value}")
        self._sweep()
        series = self._settled(self._inputs.read(batch.frame))
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

    # ---------------------------------------------------------------------------------------------------- folding

    def new(self) -> ColumnPartial:
        """Return the partial of no rows."""
        partial = ColumnPartial(self, len(self._inputs.expressions), is_tracked=self.tracking)
        self._partials.add(partial)
        return partial
