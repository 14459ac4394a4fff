"""The footer: six lines at the bottom of the terminal while a pipeline runs, below whatever it prints."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from typing import final

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamflow._runtime.progress import Progress
from streamflow._runtime.query import Query
from streamflow._runtime.settings import Settings
from streamflow.cli.ending import Ending, lag, losses, summary
from streamflow.cli.figures import count, seconds
from streamflow.core.timestamp import show_time


@final
class Footer:
    """Shows a run on a terminal.

    Args:
        console: The terminal; standard error where not given, since standard output may be a pipe.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty()
        )
        self._started = time.monotonic()
        self._settings: Settings | None = None

    def shown(self) -> AbstractContextManager[object]:
        """Return the live display."""
        return self._live

    def start(self, query: Query, settings: Settings) -> None:
        """Say what runs and what from, and begin."""
        self._settings, self._started = settings, time.monotonic()
        how = "" if query.restored is None else f"restored checkpoint {query.restored} · "
        where = "no checkpoint" if settings.checkpoint is None else f"checkpoint {settings.checkpoint}"
        self._console.print(Text.assemble((query.name, "bold"), f" {how}{settings.trigger} · {where}"))
        self.update(query, query.progress())

    def update(self, query: Query, progress: Progress) -> None:
        """Draw it afresh."""
        hint = Text("suspending …", "cyan") if query.is_stopping else Text("Ctrl-C suspends", "dim")
        has_checkpoint = self._settings is not None and self._settings.checkpoint is not None
        running = time.monotonic() - self._started
        self._live.update(panel(progress, running, hint, has_checkpoint=has_checkpoint), refresh=True)

    def end(self, ending: Ending) -> None:
        """Print the sums where the footer was."""
        self._console.print(summary(ending))


def panel(progress: Progress, running: float, hint: Text, *, has_checkpoint: bool) -> Table:
    """Return the six lines; ``running`` is for how many seconds it has."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    behind = sum(source.waiting for source in progress.sources.values())
    rows = (
        f"{count(progress.rows_per_second)}/s · {count(progress.rows)} in {seconds(running)} · lag {count(behind)} rows"
    )
    grid.add_row("in", Text(rows, "bold"))
    grid.add_row("out", " · ".join(f"{name} {count(n)}" for name, n in progress.sinks.items()))
    grid.add_row("watermark", _watermark(progress))
    latency = progress.latency_ms
    grid.add_row("latency", f"p50 {seconds(latency['p50'] / 1000)} · p99 {seconds(latency['p99'] / 1000)}")
    grid.add_row(
        "state",
        f"{count(sum(progress.state.values()))} entries · {_checkpoint(progress, has_checkpoint=has_checkpoint)}",
    )
    grid.add_row("lost", Text.assemble(losses(progress), "    ", hint))
    return grid


def _watermark(progress: Progress) -> str:
    marks = [source.watermark for source in progress.sources.values()]
    known = [mark for mark in marks if mark is not None]
    if len(known) < len(marks) or not known:
        return "none yet"
    behind = lag(progress)
    return show_time(min(known)) if behind is None else f"{show_time(min(known))} · {seconds(behind)} behind the clock"


def _checkpoint(progress: Progress, *, has_checkpoint: bool) -> str:
    if progress.epoch is None or progress.epoch_age is None:
        return "no checkpoint yet" if has_checkpoint else "no checkpoint"
    took = "" if progress.epoch_seconds is None else f", took {seconds(progress.epoch_seconds)}"
    return f"checkpoint {progress.epoch}, {seconds(progress.epoch_age)} ago{took}"
