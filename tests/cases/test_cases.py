"""Numbers out of other engines' tests and documentation hold here: through the public API wherever there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streamflow.stream import KeyedStream, Stream
from streamflow.table import Table
from streamflow.testing import Transcript, check_transcript
from tests.cases import adapt_core, adapt_driven, adapt_windows
from tests.cases.catalogue import Case, all_cases, kind
from tests.cases.not_covered import NOT_COVERED

ADAPTED = {
    "assign", "generator", "last_of_window", "merge", "rows", "spark", "stretch", "top", "valve", "windows",
}  # fmt: skip
"""The kinds that one of the tests below runs."""

QUERIES = ("top", "last_of_window")


def of_kind(*kinds: str) -> list[Any]:
    assert set(kinds) <= ADAPTED
    return [pytest.param(case, id=case["name"]) for case in all_cases() if kind(case) in kinds]


def pages() -> list[Any]:
    found: list[Transcript] = []
    for case in all_cases():
        match kind(case):
            case "windows":
                found += adapt_windows.transcripts(case)
            case "rows":
                found += adapt_windows.of_rows(case)
            case "stretch":
                found.append(adapt_windows.of_stretch(case))
    return [
        pytest.param(page, layout, cut, id=f"{page.name} [{page.emit}, {layout}, {cut}]")
        for page in found
        for layout in page.layouts
        for cut in page.cuts
    ]


@pytest.mark.parametrize(("page", "layout", "cut"), pages())
async def test_windows_hold_what_they_hold_elsewhere(page: Transcript, layout: str, cut: str) -> None:
    await check_transcript(page, layout=layout, cut=cut)


@pytest.mark.parametrize("case", of_kind("assign"))
def test_a_time_lies_in_the_same_windows(case: Case) -> None:
    expected, got = adapt_core.assignments(case)
    assert got == expected


@pytest.mark.parametrize("case", of_kind("merge"))
def test_the_same_sessions_merge(case: Case) -> None:
    expected, got = adapt_core.merges(case)
    assert got == expected


@pytest.mark.parametrize("case", of_kind("valve"))
def test_the_same_watermark_comes_out_of_several_inputs(case: Case) -> None:
    expected, got = adapt_core.valve(case)
    assert got == expected


@pytest.mark.parametrize("case", of_kind("generator"))
async def test_rows_make_the_same_watermark(case: Case) -> None:
    expected, got = await adapt_driven.generator(case)
    assert got == expected


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("case", of_kind("spark"))
async def test_micro_batches_give_what_they_give_in_spark(case: Case, layout: str) -> None:
    expected, got = await adapt_driven.spark(case, layout)
    assert got == expected


@pytest.mark.parametrize(
    ("case", "run"),
    [
        pytest.param(case, getattr(adapt_driven, kind(case)), id=case["name"])
        for case in all_cases()
        if kind(case) in QUERIES
    ],
)
async def test_a_query_over_windows_gives_the_same_rows(case: Case, run: Callable[[Case], Any]) -> None:
    expected, got = await run(case)
    assert got == expected


# the table of what is not run


def test_every_case_is_run_or_listed_with_its_reason() -> None:
    names = [case["name"] for case in all_cases()]
    assert len(names) == len(set(names))
    run = {case["name"] for case in all_cases() if kind(case) in ADAPTED}
    assert run | NOT_COVERED.keys() == set(names)
    assert run & NOT_COVERED.keys() == set()
    assert all(NOT_COVERED.values())


def test_what_is_listed_as_missing_is_missing() -> None:
    verbs = {verb for face in (Stream, KeyedStream, Table) for verb in dir(face) if not verb.startswith("_")}
    assert {verb for verb in verbs if "join" in verb or "dup" in verb} == {"join"}, "a listed case can be run now"
    assert "static" in (Table.join.__doc__ or "")
    assert not hasattr(Stream, "join")


def test_every_transcript_of_a_case_expects_something() -> None:
    for param in pages():
        steps = [step for step in param.values[0].steps if not isinstance(step, str)]
        assert any(step.expect or step.expect_late for step in steps), param.id


def test_the_missing_kinds_are_those_that_have_no_adapter() -> None:
    assert {kind(case) for case in all_cases()} - ADAPTED == {"join", "deduplicate"}
