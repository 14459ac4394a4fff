"""The commands and their options.  What they do is imported when they are called, so that ``--help`` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, Unpack

import click

from streamflow import __version__
from streamflow.cli.logs import LEVELS, configure

_TARGET = click.argument("target", metavar="TARGET")


class RunOptions(TypedDict):
    """What ``run`` is told."""

    checkpoint: str | None
    trigger: str | None
    new_generation: bool
    log_level: str
    log_format: str


class DemoOptions(TypedDict):
    """What ``demo`` is told."""

    is_all: bool
    state: Path
    rate: float
    rows: int | None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="streamflow")
def streamflow() -> None:
    """Event-time stream processing for asyncio.

    TARGET is a program that defines a pipeline: a file (fraud.py) or a module (shop.jobs); where it has several, with
    the name of one (fraud.py:pipeline) or a call that makes it (shop.jobs:build('eu')).

    Exit codes: 0 finished, or suspended and resumable; 1 the pipeline failed; 2 the command was not understood; 3 the
    pipeline or its checkpoint must be changed first; 130 a second Ctrl-C.
    """


@streamflow.command(
    short_help="Run a pipeline.", epilog="Example: streamflow run fraud.py --checkpoint ./state --trigger 1s"
)
@_TARGET
@click.option("--checkpoint", metavar="FOLDER", help="Keep checkpoints here, whatever the program says.")
@click.option("--trigger", metavar="WHEN", help="An interval such as 200ms, continuous, available-now or once.")
@click.option(
    "--new-generation",
    is_flag=True,
    help="Go on though sinks hold output of another history, or afresh behind a finished one.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    envvar="STREAMFLOW_LOG_FORMAT",
    help="auto: a live footer on a terminal, else lines of text.",
)
def run(target: str, **options: Unpack[RunOptions]) -> None:
    """Run a pipeline until its input ends or it is stopped.

    Ctrl-C and SIGTERM suspend it: what is in flight is finished and committed, and the next run goes on from there.  A
    second one ends it at once.  SIGUSR1 prints where every task stands.
    """
    from streamflow.cli.running import failures, overridden, run_watched
    from streamflow.cli.target import load

    is_json = options["log_format"] == "json"
    configure(options["log_level"], as_json=is_json)
    with failures(as_json=is_json, is_debug=options["log_level"] == "debug"):
        pipeline = load(target)
        pipeline.settings = overridden(pipeline.settings, options["trigger"], options["checkpoint"])
        run_watched(pipeline, new_generation=options["new_generation"], as_lines=options["log_format"] != "auto")


@streamflow.command(
    short_help="Print the plan of a pipeline.", epilog="Example: streamflow explain fraud.py --format mermaid"
)
@_TARGET
@click.option("--format", "format_", type=click.Choice(["text", "mermaid", "json"]), default="text", show_default=True)
def explain(target: str, format_: str) -> None:
    """Print the plan of a pipeline: layouts, edges, what determines each step's output, state and guarantees."""
    from streamflow.cli.export import as_json, as_mermaid
    from streamflow.cli.running import failures
    from streamflow.cli.target import load
    from streamflow.pipeline import Pipeline

    with failures():
        pipeline = load(target)
        forms = {"text": Pipeline.explain, "mermaid": as_mermaid, "json": as_json}
        click.echo(forms[format_](pipeline))


@streamflow.command(short_help="Check a pipeline without running it.", epilog="Example: streamflow check fraud.py")
@_TARGET
def check(target: str) -> None:
    """Check that a pipeline is well defined, without running it; exit with 3 if it is not."""
    from streamflow._engine.graph import Graph
    from streamflow.cli.figures import plural
    from streamflow.cli.running import failures
    from streamflow.cli.target import load

    with failures(is_check=True):
        pipeline = load(target)
        plan = pipeline.plan
        pipeline.settings.check(plan)
        Graph(plan)
        numbers = {"source": len(plan.sources), "step": len(plan.steps), "sink": len(plan.sinks)}
        click.echo(f"{plan.name} can run: {', '.join(plural(number, word) for word, number in numbers.items())}")


@streamflow.command(short_help="Run a demo: fraud or adsb.", epilog="Example: streamflow demo fraud")
@click.argument("name", required=False, type=click.Choice(["fraud", "adsb"]), default="fraud")
@click.option("--all", "is_all", is_flag=True, help="Run both to their end, interrupt one, check what came out.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("state", "fraud"),
    show_default=True,
    help="Where fraud keeps its checkpoints and alerts.",
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=2000, show_default=True, help="Rows a second."
)
@click.option("--rows", type=click.IntRange(min=1), help="End after so many transactions (fraud).")
def demo(name: str, **options: Unpack[DemoOptions]) -> None:
    """Run a demo: fraud (card transactions, made up) or adsb (positions of real aircraft).

    Nothing has to be installed or started.  fraud runs until it is stopped, and goes on where it stopped; adsb ends
    with its file and compares what it computed with a plain polars query.
    """
    from streamflow.cli import demo as demos
    from streamflow.cli.running import failures

    configure("info", as_json=False)
    with failures():
        if options["is_all"]:
            demos.run_all()
        elif name == "fraud":
            demos.run_fraud(options["state"], rate=options["rate"], rows=options["rows"])
        else:
            demos.run_adsb(rate=options["rate"])
