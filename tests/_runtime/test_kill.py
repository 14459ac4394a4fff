"""kill -9 at any point, run again: nothing is lost and nothing is repeated, in SQLite and in a file."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from streamflow._runtime import failpoint
from streamflow.core.timestamp import timestamp

PROGRAM = Path(__file__).parents[1] / "programs" / "spend.py"
DURABLE = [n for n in failpoint.names() if not n.startswith("store.memory")]


def launch(folder: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # our own program
        [sys.executable, str(PROGRAM), str(folder)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(folder: Path) -> None:
    process = launch(folder)
    output, _ = process.communicate(timeout=50)
    assert process.returncode == 0, output


def results(folder: Path) -> tuple[list[tuple[object, ...]], list[int]]:
    with sqlite3.connect(folder / "out.db") as database:
        totals = sorted(database.execute("select key, window_start, total, n from totals").fetchall())
    lines = (folder / "large.jsonl").read_text().splitlines()
    return totals, sorted(json.loads(line)["id"] for line in lines)


@pytest.fixture(scope="module")
def wanted() -> tuple[int, int]:
    """Return what a plain loop over the same rows comes to: how many windows, and how many large payments."""
    sys.path.insert(0, str(PROGRAM.parent))
    try:
        import spend
    finally:
        sys.path.pop(0)
    import streamflow as sf

    source = sf.generate(spend.payment, rows=spend.ROWS, splits=2, seed=7)
    sink = sf.MemorySink()
    pipeline = sf.Pipeline("plain")
    pipeline.read("payments", source).to(sink)
    pipeline.run()
    windows = {(p["user"], timestamp(p["ts"]) // 200_000) for p in sink.rows}
    return len(windows), sum(p["amount"] > 50 for p in sink.rows)


def check(folder: Path, wanted: tuple[int, int]) -> None:
    totals, large = results(folder)
    assert len(totals) == len({row[:2] for row in totals}) == wanted[0]
    assert len(large) == len(set(large)) == wanted[1]
    assert sum(row[3] for row in totals) == 3_000


def test_an_uncrashed_run_is_right(tmp_path: Path, wanted: tuple[int, int]) -> None:
    finish(tmp_path)
    check(tmp_path, wanted)
    finish(tmp_path)
    check(tmp_path, wanted)


@pytest.mark.parametrize("name", ["checkpoint.create.created", "store.create.linked"])
def test_killed_around_the_commit_it_goes_on(tmp_path: Path, wanted: tuple[int, int], name: str) -> None:
    process = launch(tmp_path, STREAMFLOW_FAILPOINTS=f"{name}=kill@3")
    process.communicate(timeout=50)
    assert process.returncode == -signal.SIGKILL
    finish(tmp_path)
    check(tmp_path, wanted)


@pytest.mark.tier2
@pytest.mark.parametrize("hit", [1, 4])
@pytest.mark.parametrize("name", DURABLE)
def test_killed_at_every_failpoint_it_goes_on(tmp_path: Path, wanted: tuple[int, int], name: str, hit: int) -> None:
    process = launch(tmp_path, STREAMFLOW_FAILPOINTS=f"{name}=kill@{hit}")
    process.communicate(timeout=50)
    finish(tmp_path)
    check(tmp_path, wanted)


@pytest.mark.tier2
@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random_again_and_again_it_goes_on(tmp_path: Path, wanted: tuple[int, int], seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(4):
        process = launch(tmp_path)
        try:
            process.communicate(timeout=0.6 + chance.random())
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    finish(tmp_path)
    check(tmp_path, wanted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_suspends_and_exits_with_zero(tmp_path: Path, wanted: tuple[int, int], number: int) -> None:
    process = launch(tmp_path, STREAMFLOW_FAILPOINTS="")
    while not (tmp_path / "state").exists() and process.poll() is None:
        pass
    process.send_signal(number)
    output, _ = process.communicate(timeout=50)
    assert process.returncode == 0, output
    finish(tmp_path)
    check(tmp_path, wanted)
