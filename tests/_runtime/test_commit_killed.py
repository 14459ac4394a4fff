"""Law: killed at any instant of the protocol, and again while it recovers, no row is lost and none written twice."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamflow._runtime.failpoint import names
from tests._runtime.commit_killed import ROWS

INSTANTS = [name for name in names() if name.startswith(("store.", "checkpoint.")) and "memory" not in name]
PROGRAM = Path(__file__).with_name("commit_killed.py")


def play(tmp_path: Path, cases: list[list[str]]) -> tuple[list[dict[str, Any]], str]:
    """Return what became of each case (the failpoints of its lives, one a life), and what was said on the way."""
    lines = []
    for number, lives in enumerate(cases):
        (tmp_path / str(number)).mkdir()
        lines.append(json.dumps({"directory": str(tmp_path / str(number)), "lives": lives}))
    done = subprocess.run(
        [sys.executable, PROGRAM], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, len(outcomes)) == (0, len(cases)), done.stderr
    for lives, outcome in zip(cases, outcomes, strict=True):
        assert outcome["ends"][-1] == 0, (lives, done.stderr)
        assert outcome["rows"] == list(range(ROWS)), lives
        left = [name for name in outcome["files"] if not name.startswith(("manifest-", "segment-")) or ".tmp" in name]
        assert left == [], lives
        assert len(outcome["files"]) <= 6, lives
    return outcomes, done.stderr


def test_killed_once_at_every_instant(tmp_path: Path) -> None:
    cases = [[f"{name}=kill@{hit}"] for name in INSTANTS for hit in (1, 2)]
    outcomes, said = play(tmp_path, cases)
    hit = {case[0].partition("=")[0] for case, outcome in zip(cases, outcomes, strict=True) if outcome["ends"][0] == -9}
    assert hit == set(INSTANTS)  # none of them was missed
    assert said == ""


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_killed_at_every_instant_and_again_at_every_other(tmp_path: Path) -> None:
    _, said = play(tmp_path, [[f"{a}=kill@2", f"{b}=kill"] for a, b in itertools.product(INSTANTS, INSTANTS)])
    assert said == ""


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", ["fsync", "linkat", "unlinkat"])
def test_killed_at_every_call_that_changes_the_directory(tmp_path: Path, call: str) -> None:
    for hit in itertools.count(1):
        directory = tmp_path / str(hit)
        directory.mkdir()
        kill = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={call}",
            "-e",
            f"inject={call}:signal=KILL:when={hit}",
        ]
        first = subprocess.run([*kill, sys.executable, PROGRAM, directory], check=False)
        subprocess.run([sys.executable, PROGRAM, directory], check=True)
        assert json.loads((directory / "sink").read_text())[1] == list(range(ROWS)), hit
        if first.returncode == 0:
            break  # it was not called so often
    assert hit > 3


def test_an_error_of_the_disk_ends_a_worker_and_the_next_one_goes_on(tmp_path: Path) -> None:
    instants = [n for n in INSTANTS if n.startswith(("store.file.", "store.directory.", "store.create.written"))]
    cases = [[f"{name}=raise:OSError({code})@3"] for name in instants for code in (5, 28)]
    outcomes, said = play(tmp_path, cases)
    assert [outcome["ends"] for outcome in outcomes] == [[1, 0]] * len(cases)
    assert "AssertionError" not in said
