from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from streamflow.connectors.file_sink import committed_lines

ENDLESS = """
    pipeline = sf.Pipeline("ticks", checkpoint="file:./state", epoch="20ms")
    ticks = pipeline.read("ticks", sf.generate(rate=2_000))
    ticks.map(lambda row: {"n": row["n"]}, name="numbers").to(sf.FileSink("out.jsonl"), name="out")
    ticks.filter(lambda row: row["n"] % 100 == 0, name="hundreds").show()

    if __name__ == "__main__":
        pipeline.run()
"""

BOUNDED = """
    pipeline = sf.Pipeline("three")
    pipeline.read("numbers", [1, 2, 3]).map(lambda n: n * n, name="square").show()
"""

STUCK = """
    import asyncio

    async def stuck(row):
        print("stuck", flush=True)
        await asyncio.Event().wait()

    pipeline = sf.Pipeline("stuck")
    pipeline.read("ticks", sf.generate(rate=100)).to(sf.CallbackSink(stuck), name="out")
"""


def numbers(folder: Path) -> list[int]:
    return [json.loads(line)["n"] for line in committed_lines(folder / "out.jsonl").splitlines()]


def test_a_bounded_pipeline_runs_to_its_end_and_says_so(program, invoke) -> None:
    run = invoke("run", program(BOUNDED))
    assert run.exit_code == 0
    assert run.stdout == "1\n4\n9\n"
    assert "three  finished" in run.output
    assert "rows_in=numbers:3" in run.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_suspends_and_the_next_run_goes_on_without_loss_or_repetition(
    program, command, tmp_path: Path, number: signal.Signals
) -> None:
    path = program(ENDLESS)
    first = command("run", path)
    first.until("n=100 ")
    first.send(number)
    assert first.end() == 0, first.output
    assert "suspended: run again to continue" in first.output
    seen = numbers(tmp_path)
    assert seen == list(range(len(seen)))
    second = command("run", path)
    second.until("restored checkpoint")
    second.until("n=", times=2)
    second.send(number)
    assert second.end() == 0, second.output
    both = numbers(tmp_path)
    assert both == list(range(len(both)))
    assert len(both) > len(seen)


def test_a_script_run_by_python_suspends_too_and_the_command_goes_on_with_its_checkpoint(
    program, spawn, command, tmp_path: Path
) -> None:
    path = program(ENDLESS)
    script = spawn(path)
    script.until("n=100 ")
    script.send(signal.SIGINT)
    assert script.end() == 0, script.output
    run = command("run", path)
    run.until("restored checkpoint")
    run.until("n=", times=2)
    run.send(signal.SIGINT)
    assert run.end() == 0, run.output
    both = numbers(tmp_path)
    assert both == list(range(len(both)))


def test_records_in_state_are_restored_whichever_door_the_program_is_run_by(program, spawn, tmp_path: Path) -> None:
    text = """
        import msgspec

        class Row(msgspec.Struct):
            n: int

        pipeline = sf.Pipeline("shop", checkpoint="file:./state")
        rows = pipeline.read("rows", sf.generate(rate=1_000)).map(lambda row: Row(row["n"]), name="row")
        last = rows.key_by(lambda row: "all").all_time(emit="each").aggregate(sf.agg.last(), name="last")
        last.filter(lambda window: window.value.n % 100 == 50, name="some").show()

        if __name__ == "__main__":
            pipeline.run()
    """
    program(text, "shop.py")
    doors = [["shop.py"], ["-m", "streamflow", "run", "shop.py"], ["-m", "streamflow", "run", "shop"], ["-m", "shop"]]
    for door in doors:
        run = spawn(*door)
        run.until("n=")
        run.send(signal.SIGINT)
        assert run.end() == 0, run.output


def test_a_second_signal_ends_at_once_with_130(program, command) -> None:
    run = command("run", program(STUCK))
    run.until("stuck")
    run.send(signal.SIGINT)
    run.until("suspending")
    run.send(signal.SIGINT)
    assert run.end() == 130, run.output


def test_run_in_a_program_without_a_guard_is_left_to_the_command(program, invoke) -> None:
    run = invoke("run", program(BOUNDED + "\n    pipeline.run()\n"))
    assert run.exit_code == 0
    assert run.stdout == "1\n4\n9\n"


def test_the_command_line_goes_before_the_program(program, invoke, tmp_path: Path) -> None:
    run = invoke("run", program(BOUNDED), "--checkpoint", "elsewhere", "--trigger", "available-now")
    assert run.exit_code == 0
    assert 'trigger="available now"' in run.output
    assert any((tmp_path / "elsewhere").iterdir())


def test_a_finished_pipeline_says_that_there_is_nothing_to_read(program, invoke) -> None:
    path = program(BOUNDED)
    assert invoke("run", path, "--checkpoint", "state").exit_code == 0
    again = invoke("run", path, "--checkpoint", "state")
    assert again.exit_code == 0
    assert "finished before: nothing to read" in again.output


def test_json_logs_are_one_object_a_line(program, invoke) -> None:
    run = invoke("run", program(BOUNDED), "--log-format", "json")
    assert run.exit_code == 0
    records = [json.loads(line) for line in run.output.splitlines() if line.startswith("{")]
    assert [record["event"] for record in records] == ["started", "finished"]
    assert records[-1]["rows_in"] == {"numbers": 3}
    assert {"ts", "level", "logger", "pipeline"} <= records[0].keys()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["missing.py"], 2, "there is no file missing.py"),
        (["job.py", "--trigger", "soon"], 3, "'soon'"),
        (["job.py:other"], 2, "there is no 'other'"),
    ],
)
def test_what_cannot_be_run_is_said_with_its_exit_code(program, invoke, arguments, code: int, says: str) -> None:
    program(BOUNDED)
    run = invoke("run", *arguments)
    assert run.exit_code == code
    assert says in run.output
    assert "Traceback" not in run.output


def test_a_failing_function_is_named_with_its_row_and_line_and_without_a_traceback(program, invoke) -> None:
    text = """
        def amount(row):
            return row["amount"]

        pipeline = sf.Pipeline("orders")
        pipeline.read("orders", [{"id": 1}], event_time=lambda row: row["id"], max_delay="0s").map(amount).show()
    """
    run = invoke("run", program(text))
    assert run.exit_code == 1
    assert "streamflow.OperatorError: step 'map_amount' failed at event time 1970-01-01T00:00:00.000001" in run.output
    assert "on_error=dead_letter(sink)" in run.output
    assert "(caused by KeyError: 'amount', at" in run.output
    assert 'return row["amount"]' in run.output
    assert "Traceback" not in run.output


def test_a_checkpoint_of_another_pipeline_is_refused_with_3(program, invoke) -> None:
    counted = """
        pipeline = sf.Pipeline("counted", checkpoint="file:./state")
        rows = pipeline.read("numbers", sf.generate(rows=10)).key_by(lambda row: row["n"] % 2)
        rows.all_time(emit="update").count(name={name!r}).to(sf.SqliteSink("out.sqlite", "counts"), name="out")
    """
    assert invoke("run", program(counted.format(name="counts"), "one.py"), "--trigger", "once").exit_code == 0
    run = invoke("run", program(counted.format(name="renamed"), "two.py"))
    assert run.exit_code == 3
    assert "streamflow.CheckpointError" in run.output
    assert "'counts'" in run.output


def test_the_version_is_printed(invoke) -> None:
    run = invoke("--version")
    assert run.exit_code == 0
    assert run.output.startswith("streamflow, version ")
