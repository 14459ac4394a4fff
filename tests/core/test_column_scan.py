"""Laws of ``core.column_scan``: running values by group are what a loop comes to, bit for bit where it promises so."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core.column_scan import Groups, distinct, ranges, stable_order

slots_of = st.one_of(
    st.lists(st.integers(0, 5), min_size=1, max_size=120),
    st.lists(st.integers(0, 1 << 40), min_size=1, max_size=20),
)


def column(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@given(slots=slots_of, data=st.data())
def test_a_running_sum_adds_from_left_to_right(slots: list[int], data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(allow_nan=False, width=32), min_size=len(slots), max_size=len(slots)))
    groups = Groups(column(slots))
    state = dict(zip(groups.slots.tolist(), [0.1] * len(groups.slots), strict=True))
    with np.errstate(all="ignore"):
        got = groups.running(np.add, np.full(len(state), 0.1), np.array(values))
    want = []
    for slot, value in zip(slots, values, strict=True):
        state[slot] += value
        want.append(state[slot])
    assert np.array_equal(got, np.array(want), equal_nan=True)
    assert np.array_equal(got[groups.last], np.array(list(state.values())), equal_nan=True)


@given(slots=slots_of)
def test_groups_are_the_rows_of_each_slot_in_order(slots: list[int]) -> None:
    groups = Groups(column(slots))
    assert groups.slots.tolist() == sorted(set(slots))
    assert groups.lengths.tolist() == [slots.count(slot) for slot in groups.slots.tolist()]
    assert groups.slots[groups.of_rows].tolist() == slots
    assert groups.numbers.tolist() == [slots[:row].count(slot) for row, slot in enumerate(slots)]
    before = [max((r for r in range(row) if slots[r] == slot), default=-1) for row, slot in enumerate(slots)]
    assert groups.previous.tolist() == before
    for width in (1, 3):
        blocks = [rows.tolist() for rows in groups.blocks(width)]
        assert all((slots[a], a) < (slots[b], b) for rows in blocks for a, b in pairwise(rows))
        assert all(max(Counter(slots[row] for row in rows).values()) <= width for rows in blocks)
        assert sorted(row for rows in blocks for row in rows) == list(range(len(slots)))


@given(slots=slots_of)
def test_a_scan_of_parts_is_what_combining_one_by_one_gives(slots: list[int]) -> None:
    """Texts of digits are joined as (10 ** length, number): associative, and not commutative."""
    digits = column([slot % 10 for slot in slots])[:17]
    groups = Groups(column([slot % 3 for slot in slots])[:17])
    shift, number = groups.scan(
        lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1]),
        (np.ones(len(groups.slots), dtype=np.int64), np.zeros(len(groups.slots), dtype=np.int64)),
        (np.full(len(digits), 10), digits),
    )
    for row in range(len(digits)):
        mine = [str(d) for d, s in zip(digits[: row + 1].tolist(), slots, strict=False) if s % 3 == slots[row] % 3]
        assert (int(shift[row]), int(number[row])) == (10 ** len(mine), int("".join(mine)))


@given(slots=st.lists(st.integers(0, 5), max_size=40))
def test_a_running_total_of_several_columns_is_that_of_each(slots: list[int]) -> None:
    groups, added = Groups(column(slots)), np.arange(2 * len(slots)).reshape(-1, 2)
    initial = np.full((len(groups.slots), 2), 7)
    got = groups.running_total(initial, added)
    for place in (0, 1):
        assert np.array_equal(got[:, place], groups.running(np.add, initial[:, place], added[:, place]))


def test_ranges_stand_one_after_another() -> None:
    assert ranges(column([5, 0, 9]), column([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert ranges(column([]), column([])).tolist() == []


@pytest.mark.parametrize("rows", [31, 32, 100, 1_000])
def test_one_hot_group_is_scanned_by_doubling(rows: int) -> None:
    groups = Groups(np.zeros(rows, dtype=np.int64))
    (total,) = groups.scan(lambda a, b: (a[0] + b[0],), (column([7]),), (np.arange(rows),))
    assert total.tolist() == (7 + np.cumsum(np.arange(rows))).tolist()


@given(numbers=st.lists(st.integers(0, 1 << 50), max_size=600))
def test_a_radix_order_is_the_stable_order(numbers: list[int]) -> None:
    assert stable_order(column(numbers)).tolist() == np.argsort(column(numbers), kind="stable").tolist()


def test_a_radix_order_of_many_is_the_stable_order() -> None:
    numbers = np.random.default_rng(7).integers(0, 1 << 40, 5_000) // 1_000
    assert np.array_equal(stable_order(numbers), np.argsort(numbers, kind="stable"))


@given(numbers=st.lists(st.integers(0, 99), max_size=50), limit=st.sampled_from([100, 100_000]))
def test_distinct_numbers_and_the_places_of_all_among_them(numbers: list[int], limit: int) -> None:
    found, places = distinct(column(numbers), limit)
    assert found.tolist() == sorted(set(numbers))
    assert found[places].tolist() == numbers
