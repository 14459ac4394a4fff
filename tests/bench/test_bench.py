"""The benchmark's answers at tiny sizes: what it measures must be right before how fast it is means anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import answers, compare, data, history, tables
from bench.registry import GROUPS, SCENARIOS, chosen
from bench.run import is_met, main, table_line
from bench.scenario import Scenario

SIZE = "2k"
QUICK = [s for s in SCENARIOS.values() if s.name not in ("one-row", "one-row-rows", "W7-socket")]
WITH_LIMITS = [s for s in SCENARIOS.values() if s.limits and "-" not in s.name]


@pytest.fixture(scope="module", autouse=True)
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    pytest.importorskip("duckdb", reason="the oracle is DuckDB: pip install -r requirements/bench.txt")
    pytest.importorskip("pyarrow", reason="DuckDB hands its answers over as Arrow")
    folder = tmp_path_factory.mktemp("bench-data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(folder))
        yield folder


@pytest.mark.parametrize("scenario", QUICK, ids=lambda s: s.name)
def test_every_scenario_gives_the_oracles_answer(scenario: Scenario) -> None:
    outcome = scenario.run(SIZE)

    assert outcome.want, "an answer of nothing would always agree"
    assert outcome.is_right, (outcome.got, outcome.want)


@pytest.mark.parametrize("scenario", WITH_LIMITS, ids=lambda s: s.name)
def test_every_limit_gives_the_oracles_answer(scenario: Scenario) -> None:
    assert all(limit(SIZE) > 0 for limit in scenario.limits.values())  # each raises if it is wrong


def test_a_wrong_answer_is_seen() -> None:
    want = answers.oracle("W2", SIZE)

    assert not answers.agrees({**want, "wsum": want["wsum"] * 1.001}, want)
    assert not answers.agrees({"rows": want["rows"]}, want)
    assert answers.agrees({**want, "sum": want["sum"] * (1 + 1e-9)}, want)


def test_the_events_are_the_peers_events() -> None:
    events = data.make(5)

    assert events.row(0, named=True) == {
        "id": 0,
        "ts": 1_700_000_100_000,
        "user": "user09726",
        "type": "refund",
        "amount": 37.01,
    }
    assert data.make(5).equals(events)


def test_no_event_is_two_seconds_late() -> None:
    time = data.frame(SIZE)["ts"]

    assert (time.cum_max() - time).max() < 2_000
    assert (time.cum_max() > time).any()


def test_counts_of_sliding_windows_are_those_of_every_window_looked_at() -> None:
    frame = tables.of_keys(300, 3)
    slide, panes = 7, 4
    rows = list(zip(frame["user"], frame["ts"], strict=True))
    starts = range(rows[0][1] // slide - panes, rows[-1][1] // slide + 1)
    counts = [
        sum(1 for user, time in rows if user == key and start * slide <= time < (start + panes) * slide)
        for start in starts
        for key in frame["user"].unique()
    ]
    every = [
        sum(1 for u, t in rows[: i + 1] if u == user and t // slide > time // slide - panes)
        for i, (user, time) in enumerate(rows)
    ]

    assert tables.sliding_counts(frame, slide, panes) == answers.of_counts([n for n in counts if n])
    assert tables.each_counts(frame, slide, panes) == answers.of_counts(every)


def test_names_groups_and_patterns_choose_scenarios() -> None:
    assert chosen(["W2c", "W2c"]) == [SCENARIOS["W2c"]]
    assert chosen(["hostile"]) == GROUPS["hostile"]
    assert {"W3", "W3c", "W3c-1k"} <= {s.name for s in chosen(["W3*"])}
    with pytest.raises(LookupError, match="no scenario is called 'W9'"):
        chosen(["W9"])


def test_a_target_is_met_by_what_it_counts() -> None:
    result = {"rows_s": 10, "ratio": 0.8, "figures": {"p99_ms": 3.0}, "size": SIZE, "peak_mb": 1, "limit": "loop"}
    result["limit_rows_s"] = 12

    assert is_met(Scenario("a", "", SCENARIOS["W1"].run, must=10), result)
    assert is_met(Scenario("a", "", SCENARIOS["W1"].run, must=0.75, unit="of limit"), result)
    assert not is_met(Scenario("a", "", SCENARIOS["W1"].run, must=2, unit="p99_ms"), result)
    assert is_met(Scenario("a", "", SCENARIOS["W1"].run), result) is None
    assert "12 loop" in table_line(Scenario("a", "", SCENARIOS["W1"].run), result)


def test_a_run_is_measured_in_a_process_of_its_own_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "history.jsonl"

    assert main(["W6c", "--size", SIZE, "--reps", "1", "--history", str(log)]) == 0

    (entry,) = history.read(log)
    assert entry["scenario"] == "W6c"
    assert entry["rows_s"] > 0
    assert entry["ratio"] > 0
    assert {"commit", "machine", "python", "versions", "p50", "p99", "peak_mb"} <= set(entry)
    assert "| W6c " in capsys.readouterr().out


def test_compare_takes_the_last_figures_of_two_commits_on_one_machine() -> None:
    def entry(commit: str, rows: int, machine: str = "m") -> history.Entry:
        figures = {"ratio": 0.5, "p99": None, "peak_mb": 10}
        return {"scenario": "W1", "size": "1m", "commit": commit, "rows_s": rows, "machine": machine} | figures

    log = [entry("a", 1), entry("a", 2), entry("x", 9, "other"), entry("b", 3), entry("b", 4)]
    log = json.loads(json.dumps(log))

    assert compare.pairs(log) == [(log[1], log[4])]
    assert compare.pairs(log, "b", "a") == [(log[4], log[1])]
    assert compare.pairs(log[:1]) == []
    assert "2 -> 4 (+100%)" in compare.line(log[1], log[4])
