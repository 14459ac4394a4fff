from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamflow._runtime.progress import Progress, SourceProgress
from streamflow.cli.ending import Ending, summary
from streamflow.cli.footer import panel

NOW = int(time.time() * 1_000_000)


def progress(*, watermark: int | None = NOW - 2_000_000, dead_letters: int = 0, finished: bool = False) -> Progress:
    return Progress(
        name="fraud",
        batches=7,
        rows=60_144,
        rows_per_second=5_012.4,
        latency_ms={"p50": 3.14, "p99": 1_234.0},
        sources={"transactions": SourceProgress(60_144, watermark, {}, 12, dead_letters)},
        ledgers={},
        state={"spend": 1_000},
        late=3,
        dropped=0,
        sinks={"alerts": 31, "terminal": 30},
        dead_letters=dead_letters,
        epoch=42,
        epoch_age=0.1,
        epoch_seconds=0.012,
        finished=finished,
    )


def drawn(what: object, *, colour: bool = False) -> str:
    output = io.StringIO()
    system = "standard" if colour else None
    Console(file=output, width=100, force_terminal=colour, highlight=False, color_system=system).print(what)
    return output.getvalue()


def footer(progress: Progress, running: float, hint: Text) -> Table:
    return panel(progress, running, hint, has_checkpoint=True)


def test_the_footer_has_six_lines_with_everything_that_is_watched() -> None:
    text = drawn(footer(progress(), 12.0, Text("Ctrl-C suspends")))
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    assert [name for name, _ in lines] == ["in", "out", "watermark", "latency", "state", "lost"]
    shown = {name: rest.strip() for name, rest in lines}
    assert shown["in"] == "5,012/s · 60,144 in 12.0 s · lag 12 rows"
    assert shown["out"] == "alerts 31 · terminal 30"
    assert shown["watermark"].endswith(" s behind the clock")
    assert shown["latency"] == "p50 3.1 ms · p99 1.2 s"
    assert shown["state"] == "1,000 entries · checkpoint 42, 100 ms ago, took 12 ms"
    assert shown["lost"] == "late 3 · dropped 0 · dead letters 0    Ctrl-C suspends"


def test_a_footer_without_a_watermark_says_so() -> None:
    assert "none yet" in drawn(footer(progress(watermark=None), 1.0, Text()))


def test_of_old_rows_the_watermark_is_shown_and_its_lag_is_not() -> None:
    text = drawn(footer(progress(watermark=0), 1.0, Text()))
    assert "1970-01-01T00:00:00+00:00" in text
    assert "behind" not in text


def test_dead_letters_stand_out_and_nothing_lost_does_not() -> None:
    red = "\x1b[31m"
    assert f"{red}dead letters 2" in drawn(footer(progress(dead_letters=2), 1.0, Text()), colour=True)
    assert red not in drawn(footer(progress(), 1.0, Text()), colour=True)


@pytest.mark.parametrize(
    ("finished", "was_finished", "checkpoint", "how"),
    [
        (True, False, None, "finished"),
        (False, False, Path("state"), "suspended: run again to continue"),
        (False, False, None, "stopped: without a checkpoint the next run starts afresh"),
        (True, True, Path("state"), "finished before: nothing to read; --new-generation starts afresh"),
    ],
)
def test_the_summary_says_how_it_ended(finished: bool, was_finished: bool, checkpoint: Path | None, how: str) -> None:
    ending = Ending(progress(finished=finished), None, checkpoint, was_finished=was_finished)
    assert drawn(summary(ending)).startswith(f"fraud {how}\n")


def test_the_summary_has_rows_by_source_and_sink() -> None:
    text = drawn(summary(Ending(progress(), 41, Path("state"), was_finished=False)))
    assert "  in          transactions 60,144\n" in text
    assert "  out         alerts 31 · terminal 30\n" in text
    assert "  checkpoint  42 in state\n" in text


def test_on_a_terminal_the_footer_stays_below_the_rows_and_gives_way_to_the_summary(program, tmp_path: Path) -> None:
    text = """
        pipeline = sf.Pipeline("ticks", checkpoint="file:./state")
        pipeline.read("ticks", sf.generate(rate=100)).map(lambda row: row["n"], name="n").show()
    """
    path = program(text)
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "streamflow", "run", path],
        cwd=tmp_path,
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
    )
    os.close(its_end)
    screen = read_until(terminal, "Ctrl-C suspends")
    assert "ticks continuous · checkpoint state" in screen
    process.send_signal(signal.SIGINT)
    assert "suspended: run again to continue" in read_until(terminal, "in state")
    assert process.wait() == 0
    os.close(terminal)


def read_until(terminal: int, text: str) -> str:
    """Read from a terminal until this text has come, and return all that came without colours."""
    screen = ""
    while text not in screen:
        screen = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", screen + os.read(terminal, 65_536).decode(errors="replace"))
    return screen
