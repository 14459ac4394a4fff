"""Following a run: what is shown at its start, while it goes on and at its end.

On a terminal a footer of six lines that stays below whatever the pipeline prints (``footer``); elsewhere log lines, of
progress at most one in ten seconds.  Either looks at ``Query.progress`` four times a second, and costs nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, final

from streamflow._runtime.progress import Progress
from streamflow._runtime.query import Query
from streamflow._runtime.settings import Settings
from streamflow.cli.ending import Ending, lag
from streamflow.cli.footer import Footer

logger = logging.getLogger("streamflow.cli")

LOOK_SECONDS = 0.25
LINE_SECONDS = 10.0


class Display(Protocol):
    """How a run is shown."""

    def shown(self) -> AbstractContextManager[object]:
        """Return what is entered while there is something to show."""
        ...

    def start(self, query: Query, settings: Settings) -> None:
        """Show that it runs."""
        ...

    def update(self, query: Query, progress: Progress) -> None:
        """Show how far it is."""
        ...

    def end(self, ending: Ending) -> None:
        """Show what came of it."""
        ...


def display(*, as_lines: bool) -> Display:
    """Return the footer where standard error is a terminal and lines were not asked for, else log lines."""
    return LogLines() if as_lines or not sys.stderr.isatty() else Footer()


@final
class Watch:
    """Follows one query; give it to ``serve`` as the watcher.

    Args:
        settings: What the query runs by.
        display: How it is shown.
    """

    def __init__(self, settings: Settings, display: Display) -> None:
        self.ending: Ending | None = None
        """How it ended, or how far it was when it failed; None if it never started."""
        self._settings = settings
        self._display = display

    def __call__(self, query: Query) -> Coroutine[Any, Any, None]:
        """Show the start, and return what shows the rest."""
        self._note(query)
        self._display.start(query, self._settings)
        return self._follow(query)

    async def _follow(self, query: Query) -> None:
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self._display.update(query, self._note(query))
        finally:
            self._note(query)

    def _note(self, query: Query) -> Progress:
        progress = query.progress()
        self.ending = Ending(progress, query.restored, self._settings.checkpoint, was_finished=query.was_finished)
        return progress


@final
class LogLines:
    """Shows a run in log lines."""

    def __init__(self) -> None:
        self._next = 0.0
        self._is_suspending = False

    def shown(self) -> AbstractContextManager[object]:
        """Nothing has to be entered."""
        return nullcontext()

    def start(self, query: Query, settings: Settings) -> None:
        """Log that it runs, and what from."""
        self._next = time.monotonic() + LINE_SECONDS
        how = {"pipeline": query.name, "trigger": settings.trigger, "checkpoint": settings.checkpoint or "none"}
        if query.restored is None:
            logger.info("started", extra=how)
        else:
            logger.info("restored checkpoint %d", query.restored, extra=how)

    def update(self, query: Query, progress: Progress) -> None:
        """Log that it suspends, once; else how far it is, where ten seconds have passed."""
        if query.is_stopping and not self._is_suspending:
            self._is_suspending = True
            logger.info("suspending", extra={"pipeline": query.name, "lag_rows": lag_rows(progress)})
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            logger.info("progress", extra={"pipeline": query.name, **_figures(progress)})

    def end(self, ending: Ending) -> None:
        """Log how it ended, and the sums."""
        progress = ending.progress
        extra: dict[str, object] = {
            "pipeline": progress.name,
            "rows_in": {name: source.rows for name, source in progress.sources.items()},
            "rows_out": dict(progress.sinks),
            "late": progress.late,
            "dropped": progress.dropped,
            "dead_letters": progress.dead_letters,
        }
        logger.info(ending.how, extra=extra if progress.epoch is None else extra | {"checkpoint": progress.epoch})


def lag_rows(progress: Progress) -> int:
    """Return how many rows have been read and not yet worked on."""
    return sum(source.waiting for source in progress.sources.values())


def _figures(progress: Progress) -> dict[str, object]:
    behind = lag(progress)
    figures: dict[str, object] = {
        "rows_per_second": round(progress.rows_per_second),
        "rows_in": progress.rows,
        "rows_out": sum(progress.sinks.values()),
        "lag_rows": lag_rows(progress),
        "p50_ms": progress.latency_ms["p50"],
        "p99_ms": progress.latency_ms["p99"],
        "state": sum(progress.state.values()),
        "late": progress.late,
        "dropped": progress.dropped,
        "dead_letters": progress.dead_letters,
    }
    if behind is not None:
        figures["watermark_lag_s"] = round(behind, 1)
    if progress.epoch is not None and progress.epoch_age is not None:
        figures |= {"checkpoint": progress.epoch, "checkpoint_age_s": progress.epoch_age}
    return figures
