"""Running a pipeline from the command line: watched, and whatever comes of it as an exit code."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import click

from streamflow._runtime.settings import Settings
from streamflow._runtime.trigger import Trigger, available_now, continuous, micro_batch, once
from streamflow.cli.ending import Ending
from streamflow.cli.failure import CHECK_FAILED, SECOND_SIGNAL, describe, exit_code
from streamflow.cli.watch import Watch, display
from streamflow.pipeline import Pipeline
from streamflow.worker import serve

logger = logging.getLogger("streamflow.cli")


def run_watched(pipeline: Pipeline, *, new_generation: bool = False, as_lines: bool = False) -> Ending | None:
    """Run a pipeline until its input ends or a signal suspends it, show it, and return how it ended.

    Raises:
        StreamflowError: What made it fail; how far it was has been shown.
        SystemExit: With 130, at the second signal.
    """
    shown = display(as_lines=as_lines)
    watch = Watch(pipeline.settings, shown)
    with shown.shown():
        serve(pipeline, new_generation=new_generation, watcher=watch)
    if watch.ending is not None:
        shown.end(watch.ending)
    return watch.ending


def overridden(settings: Settings, trigger: str | None, checkpoint: str | None) -> Settings:
    """Return the settings with what the command line says instead.

    Raises:
        DefinitionError: If it says something that cannot run.
    """
    epoch = timedelta(microseconds=settings.epoch)
    asked = Settings.of(
        settings.trigger if trigger is None else parse_trigger(trigger),
        settings.checkpoint if checkpoint is None else checkpoint,
        epoch,
        settings.promise,
    )
    return replace(settings, trigger=asked.trigger, checkpoint=asked.checkpoint)


def parse_trigger(text: str) -> Trigger:
    """Return the trigger of these words.

    Raises:
        DefinitionError: If it is neither one of the words nor a length of time.
    """
    words: dict[str, Callable[[], Trigger]] = {"continuous": continuous, "available-now": available_now, "once": once}
    return words[text]() if text in words else micro_batch(text)


@contextlib.contextmanager
def failures(*, as_json: bool = False, is_debug: bool = False, is_check: bool = False) -> Iterator[None]:
    """End the process with what the error means, said in words, if one comes out.

    Args:
        as_json: Say it as a log record.
        is_debug: Add the traceback.
        is_check: Whether the error means that a check has failed, whatever it is.
    """
    try:
        yield
    except (click.exceptions.Exit, click.ClickException):
        raise
    except KeyboardInterrupt:
        sys.exit(SECOND_SIGNAL)
    except Exception as error:  # noqa: BLE001  # the last place where it can be put in words
        text = describe(error, with_traceback=is_debug)
        if as_json:
            logger.error(str(error), extra={"error": type(error).__name__, "details": text})  # noqa: TRY400  # in text
        else:
            click.secho(text, fg="red", err=True)
        sys.exit(CHECK_FAILED if is_check else exit_code(error))
