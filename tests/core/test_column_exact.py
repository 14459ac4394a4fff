"""Laws of ``core.column_exact``: a sum that rounds once, to the nearest float."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.core.column_fold import ColumnFolding
from tests.core.column_rig import (
    fold,
    folded,
    frame_of,
    results,
    x,
)


@settings(max_examples=60)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30), data=st.data())
def test_an_exact_sum_rounds_once_whatever_the_order(values: list[float], data: st.DataObject) -> None:
    try:
        want = math.fsum(values)
    except OverflowError:
        return  # the sum, or a part of it, is beyond the floats
    folding = ColumnFolding({"sum": x.sum(exact=True)}, ("k",))
    frame = frame_of([("a", v, None, 0, None, None, 1) for v in data.draw(st.permutations(values))])
    parts = [fold(folding, folding.new(), frame.slice(at, 5)) for at in range(0, frame.height, 5)]
    stored = folding.load(folding.export(folding.merge(parts)))
    assert results(folding, *parts).item(0, "sum") == want
    assert results(folding, stored).item(0, "sum") == want


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([math.inf, 1.0], math.inf),
        ([math.inf, -math.inf], math.nan),
        ([1e308, 1e308, -1e308], 1e308),
        ([1e308] * 3, math.inf),
        ([5e-324] * 3, 1.5e-323),
        ([-5e-324, 2.0**-1022], 2.0**-1022 - 5e-324),
        ([1.0, 2.0**-53], 1.0),
        ([1.0, 2.0**-53, 2.0**-105], 1.0 + 2.0**-52),
        ([-1.0, -(2.0**-53), -(2.0**-1074)], -1.0 - 2.0**-52),
        ([1 + 2.0**-52, 2.0**-53], 1 + 2.0**-51),
    ],
)
def test_an_exact_sum_at_the_ends_of_the_floats(values: list[float], total: float) -> None:
    got = folded({"sum": x.sum(exact=True)}, frame_of([("a", v, None, 0, None, None, 1) for v in values])).item(
        0, "sum"
    )
    assert got == total or (math.isnan(got) and math.isnan(total))
