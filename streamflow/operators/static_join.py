"""A join with a static table: each row is looked up in a frame that does not change while the pipeline runs.

It remembers nothing and waits for nothing; the static side's version is what it was when the pipeline was defined.
A key must be unique on the static side, so that a row stays one row and keeps its identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import numpy as np
import polars as pl

from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.element import MAIN, Output
from streamflow.core.operator import Stateless


@final
class StaticJoin(Stateless):
    """The columns of a static table beside each row.

    ``inner`` leaves out rows that have no match, ``left`` gives nulls.
    """

    def __init__(self, table: pl.DataFrame, on: tuple[str, ...], *, keep_unmatched: bool) -> None:
        super().__init__()
        self._table = table
        self._on = list(on)
        self._how: str = "left" if keep_unmatched else "inner"

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the joined rows, in order, with their own stamps."""
        assert isinstance(batch, Columns), "the planner gives this step columns"
        self.ledger.rows_in += len(batch)
        if self._how == "left":
            frame = batch.frame.join(self._table, on=self._on, how="left", maintain_order="left")
            out = Columns(batch.stamps, frame, batch.key)
        else:
            numbered = batch.frame.with_columns(pl.Series(_PLACE, np.arange(len(batch), dtype=np.int64)))
            frame = numbered.join(self._table, on=self._on, how="inner", maintain_order="left")
            places = frame.get_column(_PLACE).to_numpy()
            stamps = batch.stamps if len(places) == len(batch) else batch.stamps.take(places)
            out = Columns(stamps, frame.drop(_PLACE), batch.key)
        self.ledger.used += len(out)
        self.ledger.filtered += len(batch) - len(out)
        self.ledger.rows_out += len(out)
        return [(MAIN, out)] if len(out) else []


_PLACE = "__streamflow_place"
