"""Rows to columns and back: conversions are steps of their own, and ``explain()`` prints them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import msgspec
import numpy as np
import polars as pl

from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.element import MAIN, Output
from streamflow.core.operator import Stateless
from streamflow.core.records import identity
from streamflow.core.rows import Rows
from streamflow.core.schema import Schema
from streamflow.operators.refusal import Refusal


@final
class ToColumns(Stateless):
    """The fields of the rows as columns; a row that does not fit the columns is refused."""

    def __init__(self, schema: Mapping[str, Any] | None, refusal: Refusal) -> None:
        super().__init__()
        self._schema = Schema(schema)
        self._refusal = refusal

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the frame beside the same stamps.

        On an upsert edge its key columns are those of the rows' identity.
        """
        frame, places, refused = self._schema.frame(batch)
        out = self._refusal.settle(refused, batch, self.ledger)
        self.ledger.rows_in += len(batch)
        self.ledger.used += frame.height
        self.ledger.rows_out += frame.height
        if not frame.height:
            return out
        stamps = batch.stamps if not refused else batch.stamps.take(np.fromiter(places, dtype=np.int64))
        key = identity(batch) if stamps.kind is not None else ()
        return [*out, (MAIN, Columns(stamps, frame, key))]


@final
class ToRows(Stateless):
    """One value a row, made of its columns."""

    def __init__(self, make: Callable[[pl.DataFrame], list[Any]], refusal: Refusal) -> None:
        super().__init__()
        self._make = make
        self._refusal = refusal

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the values beside the same stamps, keyed on an upsert edge."""
        assert isinstance(batch, Columns), "the planner gives this step columns"
        values = self._make(batch.frame)
        keys: list[Any] | None = None
        if batch.key and batch.stamps.kind is not None:
            columns = batch.frame.select(batch.key)
            keys = columns.to_series().to_list() if len(batch.key) == 1 else columns.rows()
        self.ledger.rows_in += len(batch)
        self.ledger.used += len(values)
        self.ledger.rows_out += len(values)
        return [(MAIN, Rows(batch.stamps, values, keys))]


def maker(kind: type | None) -> Callable[[pl.DataFrame], list[Any]]:
    """Return what makes one value of each row of a frame.

    Dicts, or instances of ``kind`` by the names of its fields.
    """
    if kind is None or kind is dict:
        return lambda frame: frame.to_dicts()

    def make(frame: pl.DataFrame) -> list[Any]:
        return msgspec.convert(frame.to_dicts(), list[kind], strict=False, from_attributes=False)  # type: ignore[valid-type]  # a type given at run time

    return make
