"""How a run ended, and its sums: the last thing that is shown."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from streamflow._runtime.progress import Progress
from streamflow.cli.figures import count
from streamflow.core.timestamp import EARLIEST, LATEST

if TYPE_CHECKING:
    from rich.text import Text


@final
@dataclass(frozen=True, slots=True)
class Ending:
    """What a run came to.

    Attributes:
        progress: What it had done when it ended.
        restored: The checkpoint that it went on from; None where it started afresh.
        checkpoint: The folder of its checkpoints; None where it had none.
        was_finished: Whether that checkpoint was of a finished run, so that nothing was read.
    """

    progress: Progress
    restored: int | None
    checkpoint: Path | None
    was_finished: bool

    @property
    def how(self) -> str:
        """How it ended, and what that means for the next run."""
        if self.was_finished:
            return "finished before: nothing to read; --new-generation starts afresh"
        if self.progress.finished:
            return "finished"
        if self.checkpoint is None:
            return "stopped: without a checkpoint the next run starts afresh"
        return "suspended: run again to continue"


def summary(ending: Ending) -> Text:
    """Return the sums of a run for a terminal; what was lost or refused stands out."""
    from rich.text import Text

    progress = ending.progress
    lines = [Text.assemble((progress.name, "bold"), " ", (ending.how, "green" if progress.finished else "cyan"))]
    lines.append(_row("in", [f"{name} {count(source.rows)}" for name, source in progress.sources.items()]))
    lines.append(_row("out", [f"{name} {count(rows)}" for name, rows in progress.sinks.items()]))
    lines.append(Text("  ").append_text(losses(progress)))
    if progress.epoch is not None:
        lines.append(_row("checkpoint", [f"{progress.epoch} in {ending.checkpoint}"]))
    return Text("\n").join(lines)


def losses(progress: Progress) -> Text:
    """Return how many rows were late, dropped and refused; in colour where there are any."""
    from rich.text import Text

    parts = [("late", progress.late, "yellow"), ("dropped", progress.dropped, "red")]
    parts.append(("dead letters", progress.dead_letters, "red"))
    shown = [Text(f"{name} {count(n)}", style if n else "dim") for name, n, style in parts]
    return Text(" · ").join(shown)


def lag(progress: Progress) -> float | None:
    """Return how many seconds the watermark is behind the clock; None beyond a day: of old rows it says nothing."""
    marks = [source.watermark for source in progress.sources.values() if source.watermark is not None]
    known = [mark for mark in marks if EARLIEST <= mark <= LATEST]
    behind = time.time() - min(known, default=0) / 1_000_000
    return behind if behind < _DAY else None


_DAY = 86_400.0


def _row(name: str, parts: list[str]) -> Text:
    from rich.text import Text

    return Text.assemble("  ", (f"{name:<12}", "dim"), " · ".join(parts) or "nothing")
