"""Batches as state: the rows that a step holds back, as frames that a checkpoint can keep, and back again."""

from __future__ import annotations

import numpy as np
import polars as pl

from streamflow.core.arrays import I64
from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.core.values import decode_value, encode_values
from streamflow.errors import InternalError

SCOPE = ("split", "position", "index")
"""What names a held row: its identity, and its place among the rows derived from the same source row."""

_STAMPS = ("time", "wm", "mark", "split", "position")


def pack(batch: Batch) -> pl.DataFrame:
    """Return a batch as a frame: stamps, then the values as msgpack, or the columns in one struct."""
    stamps = batch.stamps
    if stamps.split is None or stamps.position is None:
        raise InternalError("a step that holds rows needs their identities")
    columns = [pl.Series(name, getattr(stamps, name)) for name in _STAMPS if getattr(stamps, name) is not None]
    columns.append(pl.Series("index", _index(stamps.split, stamps.position)))
    match batch:
        case Rows():
            columns.append(pl.Series("value", encode_values(batch.values), dtype=pl.Binary))
            if batch.keys is not None:
                columns.append(pl.Series("row_key", encode_values(batch.keys), dtype=pl.Binary))
        case Columns():
            columns.append(batch.frame.to_struct("columns"))
            columns.append(pl.Series("key_names", [list(batch.key)] * len(batch), dtype=pl.List(pl.String)))
        case _:
            raise InternalError(f"a batch of {type(batch).__name__}")
    return pl.DataFrame(columns)


def unpack(frame: pl.DataFrame) -> Batch:
    """Return the batch that ``pack`` made this frame of."""
    arrays = {name: frame.get_column(name).to_numpy() for name in _STAMPS if name in frame.columns}
    stamps = Stamps(**arrays)
    if "columns" in frame.columns:
        key = tuple(frame.get_column("key_names")[0]) if frame.height else ()
        return Columns(stamps, frame.get_column("columns").struct.unnest(), key)
    values = [decode_value(v) for v in frame.get_column("value").to_list()]
    keys = [decode_value(k) for k in frame.get_column("row_key").to_list()] if "row_key" in frame.columns else None
    return Rows(stamps, values, keys)


def _index(split: I64, position: I64) -> I64:
    """Return each row's place among its neighbours of the same identity."""
    places = np.arange(len(position), dtype=np.int64)
    is_new = np.ones(len(position), dtype=bool)
    is_new[1:] = (position[1:] != position[:-1]) | (split[1:] != split[:-1])
    return places - np.maximum.accumulate(np.where(is_new, places, 0))
