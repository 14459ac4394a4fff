"""Aggregations: what a pane keeps of its rows.

An aggregation is a monoid: ``init``, ``fold`` a row, ``merge`` two states, ``result``.  The layout decides how runs of
rows are folded; the store of panes merges what they fold to.

``Aggregation`` is the user's own, over Python values.  ``Aggregate`` is one of ours: it names its kind and what it
reads of a row, and each layout has its own way to keep it (``core.row_fold``, ``core.column_fold``).  Both layouts
read and write the same state columns, so either restores the other's snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, final

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")


@final
@dataclass(frozen=True)
class Aggregation(Generic[T, A, R]):
    """An aggregation of your own, over Python values.

    Args:
        init: Returns the state of no rows.
        fold: Returns the state after one more row.
        merge: Returns the state of two runs of rows together.
        result: Returns what the pane emits.

    States are put into checkpoints as msgpack, so keep them to tuples, lists, dicts and scalars; ``state`` names
    their type where it is something else that msgspec can decode (a Struct, a set, a typed tuple).

    >>> longest = Aggregation(
    ...     init=lambda: "",
    ...     fold=lambda a, v: max(a, v, key=len),
    ...     merge=lambda a, b: max(a, b, key=len),
    ...     result=lambda a: a,
    ... )
    >>> longest.fold("ab", "abc")
    'abc'
    """

    init: Callable[[], A]
    fold: Callable[[A, T], A]
    merge: Callable[[A, A], A]
    result: Callable[[A], R]
    state: Any = None
    name: str = "aggregation"


@final
@dataclass(frozen=True)
class Aggregate(Generic[T, R]):
    """One of streamflow's aggregations: ``kind`` of what ``reads`` gives for each row.

    Attributes:
        kind: Its name: ``sum``, ``count``, ``mean``, ``last`` …
        reads: A function of the row (``Stream``), a polars expression (``Table``), or None where it reads nothing.
        options: Its settings, such as ``k`` of ``top_k``.
        by: What ``arg_max`` and its like compare, of the same form as ``reads``.
    """

    kind: str
    reads: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    by: Any = None

    @property
    def is_ordered(self) -> bool:
        """Whether it reads the rows' event time and identity."""
        return self.kind in ("first", "last", "collect", "arg_max", "arg_min", "top_k")
