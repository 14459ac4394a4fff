"""The keys of sessions, in both layouts: a small number a key, and the session's id in place of the key.

Sessions of one key merge, so their state cannot lie under the key: it lies under the id of the session.  This is what
both layouts need for that: codes for keys, batches under ids, and results under keys and bounds again.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Protocol, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64
from streamflow.core.batch import Batch, Layout
from streamflow.core.columns import Columns
from streamflow.core.folding import Windowed
from streamflow.core.key_codes import KeyCodes
from streamflow.core.keys import key_columns, key_frame, key_list, normal
from streamflow.core.rows import Rows

ID = "session"
"""The key column under which the column layout keeps sessions."""


class SessionKeys(Protocol):
    """The keys of a step in one layout."""

    def encode(self, batch: Batch) -> I64:
        """Return the code of each row's key."""
        ...

    def under_ids(self, batch: Batch, ids: I64) -> Batch:
        """Return the batch with session ids for keys."""
        ...

    def ids(self, results: Batch) -> list[int]:
        """Return the session id of each result."""
        ...

    def labelled(self, results: Batch, codes: I64, starts: I64, ends: I64) -> Batch:
        """Return results under their keys, with the bounds of their sessions."""
        ...

    def frame(self, codes: I64) -> pl.DataFrame:
        """Return the keys of these codes as columns ``key_0``, ``key_1`` and so on."""
        ...

    def load(self, frame: pl.DataFrame) -> I64:
        """Return codes of the keys of a frame that ``frame`` of either layout made."""
        ...

    def keep(self, codes: Sequence[int]) -> None:
        """Forget every key but these."""
        ...


def session_keys(layout: Layout, key: tuple[str, ...]) -> SessionKeys:
    """Return the keys of a step, by its layout."""
    return RowKeys() if layout is Layout.ROWS else ColumnKeys(key)


@final
class RowKeys:
    """Keys that are Python values."""

    def __init__(self) -> None:
        self._codes: dict[Hashable, int] = {}
        self._keys: dict[int, Any] = {}
        self._next = 0

    def encode(self, batch: Batch) -> I64:
        """Return the code of each row's key."""
        assert isinstance(batch, Rows), "the planner gives this step rows"
        return self._encode([normal(key) for key in batch.keys or ()])

    def under_ids(self, batch: Batch, ids: I64) -> Batch:
        """Return the batch with session ids for keys."""
        assert isinstance(batch, Rows), "the planner gives this step rows"
        return batch.with_keys(ids.tolist())

    def ids(self, results: Batch) -> list[int]:
        """Return the session id of each result."""
        assert isinstance(results, Rows), "results are rows"
        return [value.key for value in results.values]

    def labelled(self, results: Batch, codes: I64, starts: I64, ends: I64) -> Batch:
        """Return results under their keys, with the bounds of their sessions."""
        assert isinstance(results, Rows), "results are rows"
        keys = [self._keys[code] for code in codes.tolist()]
        bounds = zip(keys, starts.tolist(), ends.tolist(), results.values, strict=True)
        return Rows(results.stamps, [Windowed(k, s, e, v.value) for k, s, e, v in bounds], keys)

    def frame(self, codes: I64) -> pl.DataFrame:
        """Return the keys of these codes as columns."""
        return key_frame([self._keys[code] for code in codes.tolist()])

    def load(self, frame: pl.DataFrame) -> I64:
        """Return codes of the keys of a frame."""
        return self._encode(key_list(frame))

    def keep(self, codes: Sequence[int]) -> None:
        """Forget every key but these."""
        self._keys = {code: self._keys[code] for code in codes}
        self._codes = {key: code for code, key in self._keys.items()}

    def _encode(self, keys: Sequence[Any]) -> I64:
        codes = np.empty(len(keys), dtype=np.int64)
        for row, key in enumerate(keys):
            code = self._codes.get(key)
            if code is None:
                code = self._codes[key] = self._next
                self._keys[code] = key
                self._next += 1
            codes[row] = code
        return codes


@final
class ColumnKeys:
    """Keys that are columns."""

    def __init__(self, key: tuple[str, ...]) -> None:
        self._names = key
        self._codes = KeyCodes(key)

    def encode(self, batch: Batch) -> I64:
        """Return the code of each row's key."""
        assert isinstance(batch, Columns), "the planner gives this step columns"
        return self._codes.encode(batch.frame)

    def under_ids(self, batch: Batch, ids: I64) -> Batch:
        """Return the batch with session ids for keys."""
        assert isinstance(batch, Columns), "the planner gives this step columns"
        return replace(batch, frame=batch.frame.with_columns(pl.Series(ID, ids)), key=(ID,))

    def ids(self, results: Batch) -> list[int]:
        """Return the session id of each result."""
        assert isinstance(results, Columns), "results are columns"
        ids: list[int] = results.frame.get_column(ID).to_list()
        return ids

    def labelled(self, results: Batch, codes: I64, starts: I64, ends: I64) -> Batch:
        """Return results under their keys, with the bounds of their sessions."""
        assert isinstance(results, Columns), "results are columns"
        times = pl.Datetime("us", "UTC")
        bounds = [pl.Series("window_start", starts).cast(times), pl.Series("window_end", ends).cast(times)]
        values = results.frame.drop(ID, "window_start", "window_end").get_columns()
        frame = pl.DataFrame([*self._codes.keys(codes), *bounds, *values])
        return Columns(results.stamps, frame, (*self._names, "window_start", "window_end"))

    def frame(self, codes: I64) -> pl.DataFrame:
        """Return the keys of these codes as columns."""
        return pl.DataFrame([s.alias(f"key_{i}") for i, s in enumerate(self._codes.keys(codes))])

    def load(self, frame: pl.DataFrame) -> I64:
        """Return codes of the keys of a frame."""
        columns = [frame.get_column(c).alias(n) for c, n in zip(key_columns(frame), self._names, strict=True)]
        return self._codes.load(columns, frame.height)

    def keep(self, codes: Sequence[int]) -> None:
        """Forget every key but these."""
        live = np.zeros(self._codes.size, dtype=bool)
        live[list(codes)] = True
        self._codes.keep(live)
