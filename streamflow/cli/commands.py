"""The commands and their options.  What they do is imported when they are called, so that ``--help`` is quick."""

from __future__ import annotations

from pathlib import Path

import click

from streamflow import __version__
from streamflow.cli.logs import LEVELS, configure

_TARGET = click.argument("target", metavar="TARGET")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="streamflow")
def streamflow() -> None:
    """Event-time stream processing for asyncio.

    TARGET is a program that defines a pipeline: a file (fraud.py) or a module (shop.jobs); where it has several, with
    the name of one (fraud.py:pipeline) or a call that makes it (shop.jobs:build('eu')).

    Exit codes: 0 finished, or suspended and resumable; 1 the pipeline failed; 2 the command was not understood; 3 the
    pipeline or its checkpoint must be changed first; 130 a second Ctrl-C.
    """


@streamflow.command()
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
def run(
    target: str,
    checkpoint: str | None,
    trigger: str | None,
    new_generation: bool,  # noqa: FBT001  # click passes it by name
    log_level: str,
    log_format: str,
) -> None:
    """Run a pipeline until its input ends or it is stopped.

    Ctrl-C and SIGTERM suspend it: what is in flight is finished and committed, and the next run goes on from there.  A
    second one ends it at once.  SIGUSR1 prints where every task stands.

    \b
    Example:  streamflow run fraud.py --checkpoint ./state --trigger 1s
    """
    from streamflow.cli.running import failures, overridden, run_watched
    from streamflow.cli.target import load

    is_json = log_format == "json"
    configure(log_level, as_json=is_json)
    with failures(as_json=is_json, is_debug=log_level == "debug"):
        pipeline = load(target)
        pipeline.settings = overridden(pipeline.settings, trigger, checkpoint)
        run_watched(pipeline, new_generation=new_generation, as_lines=log_format != "auto")


@streamflow.command()
@_TARGET
@click.option("--format", "format_", type=click.Choice(["text", "mermaid", "json"]), default="text", show_default=True)
def explain(target: str, format_: str) -> None:
    """Print the plan of a pipeline: layouts, edges, what determines each step's output, state and guarantees.

    \b
    Example:  streamflow explain fraud.py --format mermaid
    """
    from streamflow.cli.export import as_json, as_mermaid
    from streamflow.cli.running import failures
    from streamflow.cli.target import load

    with failures():
        pipeline = load(target)
        printed = {"text": lambda: pipeline.explain(), "mermaid": lambda: as_mermaid(pipeline)}
        click.echo(printed.get(format_, lambda: as_json(pipeline))())


@streamflow.command()
@_TARGET
def check(target: str) -> None:
    """Check that a pipeline is well defined, without running it; exit with 3 if it is not.

    \b
    Example:  streamflow check fraud.py
    """
    from streamflow._engine.graph import Graph
    from streamflow.cli.figures import plural
    from streamflow.cli.running import failures
    from streamflow.cli.target import load

    with failures():
        pipeline = load(target)
        plan = pipeline.plan
        pipeline.settings.check(plan)
        Graph(plan)
        parts = [(plan.sources, "source"), (plan.steps, "step"), (plan.sinks, "sink")]
        click.echo(f"{plan.name} can run: {', '.join(plural(len(nodes), word) for nodes, word in parts)}")


@streamflow.command()
@click.argument("name", required=False, type=click.Choice(["fraud", "adsb"]), default="fraud")
@click.option("--all", "is_all", is_flag=True, help="Run both to their end, interrupt one, check what came out.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="Where state is kept (./state/NAME).")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Rows a second; fraud 2,000, adsb 2,000.")
@click.option("--rows", type=click.IntRange(min=1), help="End after so many transactions (fraud).")
@click.option("--kill-after", type=click.IntRange(min=1), help="Kill the process after so many rows (kill -9).")
def demo(
    name: str,
    is_all: bool,  # noqa: FBT001  # click passes it by name
    state: Path | None,
    rate: float | None,
    rows: int | None,
    kill_after: int | None,
) -> None:
    """Run a demo: fraud (card transactions, made up) or adsb (positions of real aircraft).

    Nothing has to be installed or started.  fraud runs until it is stopped, and goes on where it stopped; adsb ends
    with its file and compares what it computed with a plain polars query.

    \b
    Example:  streamflow demo fraud
    """
    from streamflow.cli import demo as demos
    from streamflow.cli.running import failures

    configure("info", as_json=False)
    with failures():
        if is_all:
            demos.run_all()
        elif name == "fraud":
            demos.run_fraud(state or Path("state/fraud"), rate=rate, rows=rows, kill_after=kill_after)
        else:
            demos.run_adsb(rate=rate)
