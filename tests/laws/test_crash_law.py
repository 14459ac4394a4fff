"""The crash law: stop anywhere, restore the last checkpoint, replay.

What is committed is what an uncrashed run commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow._engine.graph import Graph
from streamflow.core.segment import decode_state, encode_state
from streamflow.core.state import Snapshot, compact_snapshots
from tests.laws.harness import SESSIONS, WINDOWS, Case, Ran, collect, elements, expected, feed, start
from tests.laws.test_window_laws import cases, plan_of

SCHEDULE = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from(["go on", "checkpoint", "checkpoint", "full", "crash"])), max_size=12
)


class Worker:
    """A graph with checkpoints: what reached its sinks counts when an epoch with it is committed."""

    def __init__(self, case: Case, layouts: Sequence[str]) -> None:
        self.case, self.layouts, self.lives = case, list(layouts), 0
        self.chain: list[dict[str, Snapshot]] = []
        self.positions: dict[str, Any] = {}
        self.at = self.committed_at = 0
        self.committed = Ran([], [], None)  # type: ignore[arg-type]
        self.uncommitted = Ran([], [], None)  # type: ignore[arg-type]
        self.graph = self._new()

    @property
    def layout(self) -> str:
        return self.layouts[self.lives % len(self.layouts)]

    def _new(self) -> Graph:
        return start(plan_of(self.case, self.layout), is_tracking=True)

    def take(self, items: Sequence[Any]) -> None:
        feed(self.graph, items, as_frames=self.layout == "columns")
        self.at += len(items)
        collect(self.graph, self.uncommitted)

    def checkpoint(self, *, full: bool) -> None:
        snapshot = _through_bytes(self.graph.snapshot(full=full or not self.chain))
        self.chain = [snapshot] if full else [*self.chain, snapshot]
        self.positions = self.graph.positions()
        self.committed_at = self.at
        self.committed.out += self.uncommitted.out
        self.committed.late += self.uncommitted.late
        self.uncommitted = Ran([], [], None)  # type: ignore[arg-type]

    def crash(self) -> None:
        self.lives += 1
        self.graph = self._new()
        self.uncommitted = Ran([], [], None)  # type: ignore[arg-type]
        self.at = self.committed_at
        if self.chain:
            both = {step: [s[step] for s in self.chain] for step in ("source", "window")}
            self.graph.restore({step: compact_snapshots(chain) for step, chain in both.items()}, self.positions, 0)

    def finish(self, items: Sequence[Any]) -> Ran:
        self.take(items[self.at :])
        self.graph.end()
        collect(self.graph, self.uncommitted)
        self.checkpoint(full=False)
        return self.committed


def _through_bytes(state: dict[str, Snapshot]) -> dict[str, Snapshot]:
    written = b"".join(encode_state(list(state.items())))
    return dict(decode_state(written, "a test"))


def run_with_crashes(
    case: Case, layouts: Sequence[str], items: Sequence[Any], schedule: Sequence[tuple[int, str]]
) -> Ran:
    worker = Worker(case, layouts)
    for rows, what in schedule:
        worker.take(items[worker.at : worker.at + rows])
        if what == "crash":
            worker.crash()
        elif what != "go on":
            worker.checkpoint(full=what == "full")
    return worker.finish(items)


LAYOUTS = [["rows"], ["columns"], ["rows", "columns"], ["columns", "rows"]]


@pytest.mark.parametrize("layouts", LAYOUTS, ids="-".join)
@pytest.mark.parametrize("emit", ["close", "each"])
@given(data=st.data())
def test_windows_commit_what_an_uncrashed_run_commits(layouts, emit, data) -> None:
    case = data.draw(cases(emits=(emit,)))
    items = data.draw(elements(case))
    got = run_with_crashes(case, layouts, items, data.draw(SCHEDULE))
    want = expected(case, items)
    assert sorted(got.late) == sorted(want.late)
    assert got.table == want.table
    if case.lateness == 0:
        assert sorted(got.out) == sorted(want.out)


@pytest.mark.parametrize("layouts", LAYOUTS, ids="-".join)
@given(data=st.data())
def test_sessions_commit_what_an_uncrashed_run_commits(layouts, data) -> None:
    case = data.draw(cases(windows=SESSIONS))
    items = data.draw(elements(case))
    got = run_with_crashes(case, layouts, items, data.draw(SCHEDULE))
    want = expected(case, items)
    assert sorted(got.late) == sorted(want.late)
    assert got.table == want.table


@pytest.mark.parametrize("layouts", LAYOUTS, ids="-".join)
@given(data=st.data())
def test_updates_survive_crashes(layouts, data) -> None:
    case = data.draw(cases(windows=WINDOWS, emits=("update",)))
    items = data.draw(elements(case))
    got = run_with_crashes(case, layouts, items, data.draw(SCHEDULE))
    closing = expected(Case(case.window, case.delay, case.lateness, "close", case.late, case.has_filter), items)
    assert got.table == closing.table
