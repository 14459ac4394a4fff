"""DDSketch: quantiles within a relative error, of values counted in buckets.

Masson, Rim and Lee (2019).  A sketch is a number of values per bucket, and the merge of two adds the numbers: exactly
associative and commutative, so no cut or order changes a bit of it.

Buckets cut each power of two into the same ``K`` parts of equal ratio, with ``K`` as small as the accuracy allows.
They are found by comparing with bounds, never by a logarithm, and the bounds are computed in decimal: so a value falls
into the same bucket on every machine and in both layouts.  Bucket 0 is zero, positive values have positive buckets, and
``-x`` has minus the bucket of ``x``: buckets are ordered as values are, from ``-inf`` to ``inf``.

Knows nothing of keys, panes and batches.  Nulls and NaN have no bucket: leave them out.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from streamflow.core.arrays import I64
from streamflow.errors import DefinitionError

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]

LEAST_ACCURACY, MOST_ACCURACY = 0.0001, 0.5

_LEAST_EXPONENT = -1073  # of 5e-324, as frexp counts
_INFINITE_EXPONENT = 1025  # one more than that of the largest float


def require_accuracy(accuracy: Any) -> float:
    """Return the relative error that quantiles may have.

    Raises:
        DefinitionError: If it is not a number from 0.0001 to 0.5.
    """
    is_number = isinstance(accuracy, int | float) and not isinstance(accuracy, bool)
    if not is_number or not LEAST_ACCURACY <= accuracy <= MOST_ACCURACY:
        raise DefinitionError(f"accuracy must be a number from {LEAST_ACCURACY} to {MOST_ACCURACY}, got {accuracy!r}")
    return float(accuracy)


def buckets(values: F64, accuracy: float) -> I32:
    """Return the bucket of each value; NaN must be left out before."""
    table, _ = _bounds(accuracy)
    mantissa, exponent = np.frexp(np.abs(values))
    part = np.searchsorted(table, mantissa, side="right") - 1
    found = (exponent.astype(np.int64) - _LEAST_EXPONENT) * len(table) + part + 1
    found = np.where(np.isinf(values), _infinite(len(table)), found)
    return np.where(values == 0.0, 0, np.copysign(found, values)).astype(np.int32)


def bucket_of(value: float, accuracy: float) -> int:
    """Return the bucket of one value, the same as ``buckets`` gives it."""
    if value == 0.0:
        return 0
    _, table = _bounds(accuracy)
    if math.isinf(value):
        found = _infinite(len(table))
    else:
        mantissa, exponent = math.frexp(abs(value))
        found = (exponent - _LEAST_EXPONENT) * len(table) + bisect_right(table, mantissa)
    return found if value > 0 else -found


def values_of(bucket: npt.NDArray[np.integer], accuracy: float) -> F64:
    """Return the value that stands for each bucket: all of the bucket are within ``accuracy`` of it, relatively."""
    table, _ = _bounds(accuracy)
    parts = len(table)
    place = np.abs(bucket.astype(np.int64)) - 1
    exponent, part = place // parts + _LEAST_EXPONENT, place % parts
    low, high = table[part], np.append(table[1:], 1.0)[part]
    with np.errstate(over="ignore", under="ignore"):
        # The harmonic mean of the bounds is off by the same ratio at both.
        value = np.ldexp(2.0 * low * high / (low + high), exponent.astype(np.int32))
    value = np.where(np.abs(bucket) >= _infinite(parts), np.inf, np.minimum(value, np.finfo(np.float64).max))
    return np.where(bucket == 0, 0.0, np.copysign(value, bucket))


def quantiles(sketch: I64, bucket: npt.NDArray[np.integer], n: I64, qs: Sequence[float], accuracy: float) -> F64:
    """Return the quantiles of many sketches at once: one row per sketch, one column per ``q``.

    The ``q`` quantile of ``n`` values is the one at place ``floor(q * (n - 1))`` in order, off by at most ``accuracy``
    times itself.

    Args:
        sketch: Which sketch an entry belongs to, from 0 without gaps, ascending.
        bucket: The entry's bucket, ascending within a sketch.
        n: How many values it holds, more than zero.
        qs: From 0 to 1.
        accuracy: That of the buckets.
    """
    if not len(sketch):
        return np.zeros((0, len(qs)), dtype=np.float64)
    counted = np.cumsum(n)
    first = np.flatnonzero(np.diff(sketch, prepend=-1))
    before = counted[first] - n[first]
    total = np.diff(before, append=counted[-1])
    values = values_of(bucket, accuracy)
    places = [np.searchsorted(counted, before + np.floor(q * (total - 1)).astype(np.int64), side="right") for q in qs]
    return np.column_stack([values[place] for place in places]) if places else np.zeros((len(first), 0))


def _infinite(parts: int) -> int:
    return (_INFINITE_EXPONENT - _LEAST_EXPONENT) * parts + 1


@lru_cache(maxsize=64)
def _bounds(accuracy: float) -> tuple[F64, list[float]]:
    """Return where the parts of [0.5, 1) begin, for numpy and for ``bisect``."""
    with localcontext() as context:
        context.prec = 50
        alpha = Decimal(accuracy)
        gamma = (1 + alpha) / (1 - alpha)
        parts = math.ceil(Decimal(2).ln() / gamma.ln())
        ratio = Decimal(2) ** (1 / Decimal(parts))
        bounds, bound = [], Decimal("0.5")
        for _ in range(parts):
            bounds.append(float(bound))
            bound *= ratio
    return np.array(bounds), bounds
