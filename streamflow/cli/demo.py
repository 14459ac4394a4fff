"""``streamflow demo``: runs the demos, says what they do and checks what came out."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from streamflow import __version__
from streamflow.cli.figures import count, seconds
from streamflow.cli.running import run_watched
from streamflow.demos import adsb, fraud
from streamflow.demos.adsb_check import compare
from streamflow.demos.cards import USERS
from streamflow.demos.fraud_check import expected_alerts, quality, read_transactions, stored_alerts
from streamflow.errors import InternalError

ROWS, SPEED = 120_000, 3
"""Six minutes of event time at a transaction every three milliseconds: more than the five minutes of a window."""


def run_fraud(folder: Path, *, rate: float, rows: int | None = None) -> None:
    """Run the fraud demo until it is stopped, or all of ``rows`` transactions are worked on."""
    folder.mkdir(parents=True, exist_ok=True)
    _say(f"card transactions, made up, {count(rate)} a second; alerts go to {folder / 'alerts.sqlite'}")
    _say(f"stop it with Ctrl-C and start it again: it goes on.  Remove {folder} to start afresh.")
    run_watched(fraud.build(folder, rows=rows, rate=rate, say=announce))


def run_all() -> None:
    """Run both demos as fast as they go, in a fresh state folder, to their end; exit with 1 if a check fails."""
    started = time.monotonic()
    _say(f"streamflow {__version__}: two pipelines on real and made-up input, no server")
    with tempfile.TemporaryDirectory(prefix="streamflow-demo-") as folder:
        _fraud_with_a_crash(Path(folder))
    run_adsb(rate=None)
    _say(f"\nboth demos agree with plain programs over the same input; {seconds(time.monotonic() - started)} in all")


def announce(alert: fraud.Alert) -> None:
    """Print one alert."""
    what = f"{alert.spent:>9,.2f} EUR in {alert.count} transactions of the last five minutes"
    _say(f"{alert.until:%H:%M:%S}  user {alert.user:>5}  {what}  score {alert.score:.2f}")


def _fraud_with_a_crash(folder: Path) -> None:
    _say(
        f"\nfraud: {count(ROWS)} card transactions of {count(USERS)} users, up to 2 s out of order,"
        f"\n       spend of the last five minutes with each, alerts to SQLite exactly once"
    )
    _run_and_kill(folder)
    _say(f"  killed     with SIGKILL while an epoch was written; {len(stored_alerts(folder))} alerts are in SQLite")
    ending = run_watched(fraud.build(folder, rows=ROWS, speed=SPEED, say=announce))
    if ending is None or ending.restored is None or not (ending.progress.finished or ending.was_finished):
        raise InternalError("the fraud demo did not go on from its checkpoint to its end")
    _say(f"  restored   checkpoint {ending.restored}, and went on to the end")
    alerts = stored_alerts(folder)
    expected = expected_alerts(asyncio.run(read_transactions(ROWS, SPEED)))
    once = len({(alert.user, alert.until, alert.count) for alert in alerts}) == len(alerts)
    check(
        f"SQLite holds {len(alerts)} alerts, each once, the same as a plain loop over all transactions",
        f"SQLite holds {len(alerts)} alerts, a plain loop over all transactions gives {len(expected)} others",
        is_right=once and alerts == expected,
    )
    worth = quality(alerts, ROWS)
    _say(f"  model      {worth.found} of {worth.bursts} stolen cards found, {worth.others} alerts for honest ones")


def _run_and_kill(folder: Path) -> None:
    """Run the fraud demo in a process that is killed while it writes an alert from the second half."""
    program = f"from streamflow.cli.demo import run_until_killed; run_until_killed({str(folder)!r})"
    ended = subprocess.run([sys.executable, "-c", program], check=False)  # noqa: S603  # our own program
    if ended.returncode != -signal.SIGKILL:
        raise InternalError(f"the process of the fraud demo was to be killed, and ended with {ended.returncode}")


def run_until_killed(folder: str) -> None:
    """Run the fraud demo, and kill this process when an alert from the second half is to be said."""

    def kill(alert: fraud.Alert) -> None:
        if alert.transaction >= ROWS // 2:
            os.kill(os.getpid(), signal.SIGKILL)

    fraud.build(Path(folder), rows=ROWS, speed=SPEED, say=kill).run()


def run_adsb(*, rate: float | None) -> None:
    """Run the aircraft demo, and compare with the queries if it comes to its end; exit with 1 if they differ.

    Args:
        rate: Positions a second, so that it can be watched; None: as fast as they are worked on.
    """
    positions = adsb.load_positions()
    _say(
        f"\nadsb: {count(positions.height)} positions of real aircraft, replayed up to {adsb.DISORDER} s out of order;"
        "\n      climb and way by minute, traffic by cell, flights"
    )
    demo = adsb.Demo(adsb.disordered(positions), rate=rate)
    ending = run_watched(demo.pipeline)
    if ending is None or not ending.progress.finished:
        _say("  stopped before the end of the file: nothing to compare")
        return
    for answer in compare(demo, positions):
        check(
            f"{answer.question:<8} {count(answer.rows):>6} rows, the same as a plain polars query over the whole file",
            f"{answer.question}: {count(answer.rows)} rows, {answer.missing} are missing and {answer.extra} are extra",
            is_right=answer.agrees,
        )


def check(right: str, wrong: str, *, is_right: bool) -> None:
    """Say what a check found; end the process with 1 if it failed."""
    if is_right:
        _say(f"  {click.style('agrees', fg='green')}     {right}")
    else:
        _say(f"  {click.style('DIFFERS', fg='red')}    {wrong}")
        sys.exit(1)


def _say(text: str) -> None:
    click.echo(text)
