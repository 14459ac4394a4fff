"""The cut, layout and batch laws of windows, against the reference model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws.harness import SESSIONS, WINDOWS, Case, Ran, columns_plan, elements, expected, rows_plan, run

CUTS = st.lists(st.integers(1, 7), min_size=1, max_size=4)


@st.composite
def cases(draw, windows=WINDOWS, emits=("close",), lates=("drop", "keep")):
    return Case(
        draw(st.sampled_from(windows)),
        delay=draw(st.sampled_from([0, 2, 5])),
        lateness=draw(st.sampled_from([0, 0, 5])),
        emit=draw(st.sampled_from(emits)),
        late=draw(st.sampled_from(lates)),
        has_filter=draw(st.booleans()),
    )


def plan_of(case, layout):
    return rows_plan(case) if layout == "rows" else columns_plan(case)


def same(got: Ran, want: Ran, case: Case) -> None:
    assert sorted(got.late) == sorted(want.late)
    assert got.table == want.table
    if case.lateness == 0:
        assert sorted(got.out) == sorted(want.out)


@pytest.mark.parametrize("layout", ["rows", "columns"])
@given(data=st.data())
def test_closed_windows_are_what_one_row_at_a_time_gives(layout, data) -> None:
    case = data.draw(cases())
    items = data.draw(elements(case))
    got = run(plan_of(case, layout), items, data.draw(CUTS), as_frames=layout == "columns")
    same(got, expected(case, items), case)


@pytest.mark.parametrize("layout", ["rows", "columns"])
@given(data=st.data())
def test_each_answers_every_row_as_one_row_at_a_time_does(layout, data) -> None:
    case = data.draw(cases(emits=("each",)))
    items = data.draw(elements(case))
    got = run(plan_of(case, layout), items, data.draw(CUTS), as_frames=layout == "columns")
    want = expected(case, items)
    assert got.out == want.out
    assert sorted(got.late) == sorted(want.late)


@pytest.mark.parametrize("layout", ["rows", "columns"])
@given(data=st.data())
def test_updates_fold_to_the_table_that_closing_would_give(layout, data) -> None:
    case = data.draw(cases(emits=("update",)))
    items = data.draw(elements(case))
    got = run(plan_of(case, layout), items, data.draw(CUTS), as_frames=layout == "columns")
    closing = expected(Case(case.window, case.delay, case.lateness, "close", case.late, case.has_filter), items)
    assert got.table == closing.table


@pytest.mark.parametrize("layout", ["rows", "columns"])
@given(data=st.data())
def test_complete_is_the_plain_query_over_all_rows(layout, data) -> None:
    case = data.draw(cases(emits=("complete",)))
    items = data.draw(elements(case))
    got = run(plan_of(case, layout), items, data.draw(CUTS), as_frames=layout == "columns")
    assert got.late == []
    plain: dict[tuple[str, int, int], list[str]] = {}
    for row in items:
        if hasattr(row, "value") and (row.value > 0 or not case.has_filter):
            for start, end in case.window.windows(row.time):
                plain.setdefault((row.key, start, end), []).append(f"{row.split}{row.position}")
    assert got.table == {place: tuple(sorted(ids)) for place, ids in plain.items()}


@pytest.mark.parametrize("layout", ["rows", "columns"])
@given(data=st.data())
def test_sessions_are_what_one_row_at_a_time_gives(layout, data) -> None:
    case = data.draw(cases(windows=SESSIONS))
    items = data.draw(elements(case))
    got = run(plan_of(case, layout), items, data.draw(CUTS), as_frames=layout == "columns")
    same(got, expected(case, items), case)


@pytest.mark.parametrize("layout", ["rows", "columns"])
@given(data=st.data())
def test_sessions_answer_each_row_as_one_row_at_a_time_does(layout, data) -> None:
    case = data.draw(cases(windows=SESSIONS, emits=("each",)))
    items = data.draw(elements(case))
    got = run(plan_of(case, layout), items, data.draw(CUTS), as_frames=layout == "columns")
    assert got.out == expected(case, items).out
