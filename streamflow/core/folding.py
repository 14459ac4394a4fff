"""How a layout keeps the panes of a step: the contract between the windowed steps and the two layouts.

A **partial** is what a run of rows folds to: for each key that has rows, the state of each aggregation of the
step.  In the row layout a partial is dicts of accumulators; in the column layout it stays columns.  The windowed
steps see only the methods below: they decide which rows go into which partial, and which partials make a window.

A **run** is a batch as the aggregations read it: keys, and for each aggregation what it reads of each row.  It is made
once per batch; after that rows are addressed by their place in the batch.

The state of a partial as a frame (``export``/``load``) is the same in both layouts: key columns (``core.keys``) and,
for aggregation ``i``, the columns ``STATE[kind]`` names, prefixed ``"{i}_"``:

==================  ==========================================================================================
kind                state columns
==================  ==========================================================================================
count               ``n`` Int64: rows that are not null (all rows where it reads nothing)
sum                 ``total`` Int64 or Float64: null-free sum, 0 where all were null
min, max            ``value``: null where all were null; NaN only where all were NaN
mean                ``total`` Float64, ``n`` Int64
variance, stddev    ``n`` Int64, ``mean`` Float64, ``m2`` Float64 (Chan, Golub, LeVeque 1979 merge)
first, last         ``value``, ``time`` Int64, ``split`` Int64, ``position`` Int64: by event time, then identity;
                    a null value counts as a value
arg_max, arg_min    ``value``, ``by``, ``time``, ``split``, ``position``: the row with the largest ``by`` (ties: the
                    earliest); null ``by`` skipped
collect             ``items`` List(Struct(time, split, position, value)), result ordered by time, then identity
distinct            ``values`` List: the distinct non-null values; the result is their number
approx_distinct     ``registers`` Binary: 2**p HyperLogLog registers (Flajolet et al. 2007; hash is ours and stable)
quantiles           ``buckets`` List(Struct(bucket Int32, n Int64)): DDSketch (Masson et al. 2019), bucket 0 for zero,
                    negative buckets for negative values
top_k               ``items`` List(Struct(time, split, position, value)): the k largest, ties: the earliest first; with
                    ``by=`` a field ``by`` beside it
user's Aggregation  ``state`` Binary: msgpack
==================  ==========================================================================================

Where values are kept as they came (``first``, ``last``, ``arg_max``, ``collect``, ``top_k``, ``distinct``), a column
``packed`` beside them holds those that no polars column can, as msgpack.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar, final

import msgspec
import polars as pl

from streamflow.core.arrays import I64, Index
from streamflow.core.batch import Batch
from streamflow.core.connector import Refused

P = TypeVar("P")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@final
class Windowed(msgspec.Struct, Generic[K, V], frozen=True, order=True):
    """What a window of a stream emits; a struct, since one is made for every key and window.

    Attributes:
        key: The key.
        start: The start of the window, microseconds; the window is ``[start, end)``.
        end: The end of the window, microseconds.
        value: What the aggregations came to.
    """

    key: K
    start: int
    end: int
    value: V


class Run(Protocol):
    """A batch as the aggregations read it; opaque to the windowed steps."""

    def __len__(self) -> int: ...


class Folding(Protocol[P]):
    """The panes of one step in one layout.  It owns what its partials share (key codes, dtypes).

    Attributes:
        tracking: Whether ``changed`` will be asked; set before anything else.
    """

    tracking: bool

    def read(self, batch: Batch) -> tuple[Run, Sequence[Refused]]:
        """Return the run of a batch, and the rows on which a reading function failed or gave a wrong type.

        A refused row keeps its place in the run; whoever folds must leave it out.
        """
        ...

    def new(self) -> P:
        """Return the partial of no rows."""
        ...

    def fold(self, partial: P, run: Run, rows: Index) -> Sequence[Refused]:
        """Fold these rows into a partial, in place; return rows on which a user's fold failed (left out)."""
        ...

    def absorb(self, partial: P, other: P) -> None:
        """Merge ``other`` into ``partial`` in place; ``other`` is unchanged and shares nothing with it afterwards."""
        ...

    def merge(self, parts: Sequence[P]) -> P:
        """Return a new partial of all the rows of ``parts``, which are unchanged."""
        ...

    def touched(self, run: Run, rows: Index) -> Any:
        """Return the distinct keys of these rows, in a form that ``results`` and ``union`` take."""
        ...

    def union(self, sets: Sequence[Any]) -> Any:
        """Return the union of sets of keys."""
        ...

    def results(self, cover: Sequence[P], window: tuple[int, int], wm: int, *, keys: Any = None) -> Batch:
        """Return one row per key that has rows in any partial of ``cover``: the window's result.

        Args:
            cover: Partials whose rows together are the window's; not changed.
            window: Its start and end.  The rows' event time is ``end - 1`` (R6), or ``wm`` for a window without end.
            wm: The last watermark forwarded, which the rows carry.
            keys: Only these keys, where given.
        """
        ...

    def open_window(self, cover: Callable[[], Sequence[P]]) -> P:
        """Return a partial that stands for the merge of ``cover()``, for ``each``: maybe lazily, key by key.

        From then on the step folds every row of the window into it and into its slice; a lazy partial takes such
        a row only for keys it has already merged.
        """
        ...

    def each(self, partial: P, run: Run, rows: Index, windows: tuple[I64, I64]) -> tuple[Batch, Sequence[Refused]]:
        """Fold rows into a partial one by one; return the result after each row, with the row's own stamps.

        Args:
            partial: A slice's partial where windows have one slice, else one from ``open_window``.
            run: The run.
            rows: Which rows.
            windows: Start and end of the window that answers, for each row.
        """
        ...

    def keyed(self, keys: Sequence[Any]) -> Any:
        """Return keys that are given one by one, of a step with one key column, as ``results`` takes them."""
        ...

    def move(self, partial: P, old: Sequence[Any], new: Sequence[Any]) -> None:
        """Merge the state of each key of ``old`` into the key of ``new`` beside it, in place.

        ``old`` keys are gone then.
        """
        ...

    def discard(self, partial: P, keys: Sequence[Any]) -> None:
        """Forget these keys of a partial, in place; keys that it does not have are passed over."""
        ...

    def keys(self, partial: P) -> int:
        """Return how many keys the partial has; for metrics, and to know whether it is empty."""
        ...

    def release(self, partial: P) -> None:
        """The partial is gone: free what only its keys needed."""
        ...

    def changed(self, partial: P) -> pl.DataFrame:
        """Return key and state columns of the keys changed since this was last called, and forget that they changed."""
        ...

    def export(self, partial: P) -> pl.DataFrame:
        """Return key and state columns of all keys."""
        ...

    def load(self, frame: pl.DataFrame) -> P:
        """Return the partial that ``export`` of either layout made this frame of."""
        ...
