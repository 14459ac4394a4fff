"""What the fraud demo should have found: the same alerts by a plain loop over the same transactions.

Reads the source as it comes and keeps, for each user, what was spent in each ten seconds.  Knows nothing of windows,
watermarks or checkpoints; shares only the transactions, the user table and the model with the demo.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import final

import numpy as np

import streamflow as sf
from streamflow.core.connector import Chunk
from streamflow.demos.cards import Transaction, Transactions, make_users, victims
from streamflow.demos.fraud import ALERT_AT, Alert, Spend, judge

SLIDE = 10_000_000
SLIDES = 30
"""Thirty slides of ten seconds are five minutes."""


@final
@dataclass(slots=True)
class Slot:
    """What a user did in ten seconds, so far."""

    cents: int = 0
    count: int = 0
    abroad: int = 0
    newest: tuple[int, int, float] = (-1, 0, 0.0)
    """The time, the id and the ratio of the newest transaction."""


async def read_transactions(rows: int, speed: int) -> list[Transaction]:
    """Return the transactions of the demo, in the order in which they arrive."""
    reader = sf.generate(columns=Transactions(make_users(), speed), rows=rows).reader()
    opened = await reader.open({})
    transactions: list[Transaction] = []
    while len(transactions) < rows:
        for event in await reader.read(rows, [split.split for split in opened]):
            if isinstance(event, Chunk):
                transactions += event.data  # type: ignore[arg-type]  # the generator yields values
    await reader.close()
    return transactions


def expected_alerts(transactions: Iterable[Transaction]) -> list[Alert]:
    """Return the alerts, in the order in which they are raised."""
    users = make_users()
    slots: dict[int, dict[int, Slot]] = defaultdict(dict)
    alerts: list[Alert] = []
    for transaction in transactions:
        user = users[transaction.user]
        now = transaction.time // SLIDE
        slot = slots[transaction.user].setdefault(now, Slot())
        slot.cents += transaction.cents
        slot.count += 1
        slot.abroad += transaction.country != user.country
        slot.newest = max(slot.newest, (transaction.time, transaction.id, transaction.cents / user.usual))
        end = (now + 1) * SLIDE
        alert = judge(sf.Windowed(transaction.user, end - SLIDES * SLIDE, end, _spend(slots[transaction.user], now)))
        if alert.score >= ALERT_AT:
            alerts.append(alert)
    return alerts


def _spend(slots: dict[int, Slot], now: int) -> Spend:
    recent = [slot for at, slot in slots.items() if now - SLIDES < at <= now]
    _, newest, ratio = max(slot.newest for slot in recent)
    return Spend(
        sum(slot.cents for slot in recent),
        sum(slot.count for slot in recent),
        sum(slot.abroad for slot in recent),
        newest,
        ratio,
    )


def stored_alerts(folder: Path) -> list[Alert]:
    """Return the alerts in the database, in the order in which they were written."""
    with closing(sqlite3.connect(folder / "alerts.sqlite")) as database:
        rows = database.execute("SELECT user, [transaction], until, spent, count, score FROM alerts ORDER BY rowid")
        return [Alert(u, t, datetime.fromisoformat(until), spent, n, score) for u, t, until, spent, n, score in rows]


@final
@dataclass(frozen=True, slots=True)
class Quality:
    """How good the model is: planted bursts, how many of them raised an alert, and users alerted for nothing."""

    bursts: int
    found: int
    others: int


def quality(alerts: Iterable[Alert], rows: int) -> Quality:
    """Return what the alerts are worth, since here it is known who the thieves are."""
    cards = set(victims(np.arange(rows)).tolist()) - {-1}
    alerted = {alert.user for alert in alerts}
    return Quality(len(cards), len(cards & alerted), len(alerted - cards))
