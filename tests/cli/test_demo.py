from __future__ import annotations

import signal
from pathlib import Path

import pytest

from streamflow.cli.demo import check


def test_the_fraud_demo_goes_on_where_it_was_stopped(command, tmp_path: Path) -> None:
    arguments = ["demo", "fraud", "--rate", "20000"]
    first = command(*arguments)
    first.until("fraud  started")
    first.until(" EUR in ")
    first.send(signal.SIGINT)
    assert first.end() == 0, first.output
    assert "suspended: run again to continue" in first.output
    assert (tmp_path / "state" / "fraud" / "alerts.sqlite").exists()
    second = command(*arguments)
    second.until("fraud  restored checkpoint")
    second.until(" EUR in ")
    second.send(signal.SIGTERM)
    assert second.end() == 0, second.output


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_both_demos_end_by_themselves_and_agree_with_plain_programs(command) -> None:
    demos = command("demo", "--all")
    assert demos.end() == 0, demos.output
    assert "with SIGKILL while" in demos.output
    assert "restored   checkpoint" in demos.output
    assert demos.output.count("agrees") == 4
    assert "DIFFERS" not in demos.output


def test_a_demo_that_disagrees_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        check("legs are the same", "legs: 5 rows, 1 are missing", is_right=False)
    assert ended.value.code == 1
    assert "DIFFERS    legs: 5 rows, 1 are missing" in capsys.readouterr().out
