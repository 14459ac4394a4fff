"""Which accumulator keeps which kind of aggregation in the row layout."""

from __future__ import annotations

from typing import Any

import polars as pl

from streamflow.core.aggregation import Aggregate, Aggregation
from streamflow.core.row_accumulators import NUMBERS, Accumulator
from streamflow.core.row_exact import exact_sum
from streamflow.core.row_extremes import EXTREMES
from streamflow.core.row_ordered import ORDERED
from streamflow.core.row_sketches import SKETCHES
from streamflow.core.row_user import user_accumulator
from streamflow.errors import DefinitionError

_KINDS = {**NUMBERS, **EXTREMES, **ORDERED, **SKETCHES}


def accumulator(aggregation: Aggregate[Any, Any] | Aggregation[Any, Any, Any]) -> Accumulator[Any]:
    """Return how the row layout keeps an aggregation.

    Raises:
        DefinitionError: If it is none, is of an unknown kind, or reads columns.
    """
    if isinstance(aggregation, Aggregation):
        return user_accumulator(aggregation)
    if not isinstance(aggregation, Aggregate):
        raise DefinitionError(
            f"expected an aggregation, such as agg.count(), got {aggregation!r}",
            remedy="use the functions of streamflow.agg, or an Aggregation of your own",
        )
    if isinstance(aggregation.reads, pl.Expr) or isinstance(aggregation.by, pl.Expr):
        raise DefinitionError(
            f"{aggregation.kind} reads the column {aggregation.reads}, and a stream has rows",
            remedy=f"give it a function of the row: agg.{aggregation.kind}(lambda row: ...), or use a table",
        )
    if aggregation.kind not in _KINDS:
        raise DefinitionError(f"expected an aggregation of kind {', '.join(_KINDS)}, got {aggregation.kind!r}")
    if aggregation.kind == "sum" and aggregation.options.get("exact"):
        return exact_sum(aggregation)
    return _KINDS[aggregation.kind](aggregation)
