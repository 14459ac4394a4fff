"""Card fraud: transactions come in, alerts go out while the thief is still in the shop.

Transactions come up to two seconds out of order.  Each is put beside what is known of its user; with each, what the
user has spent in the last five minutes is known at once; a small model scores that, and a high score is an alert.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

import streamflow as sf
from streamflow import agg
from streamflow.demos.cards import Transaction, Transactions, make_users

ALERT_AT = 0.9


class Payment(msgspec.Struct, frozen=True):
    """A transaction beside what is known of its user."""

    id: int
    user: int
    cents: int
    abroad: int
    ratio: float


class Spend(msgspec.Struct, frozen=True):
    """What a user did in the last five minutes; ``id`` and ``ratio`` are those of the newest transaction."""

    cents: int
    count: int
    abroad: int
    id: int
    ratio: float


class Alert(msgspec.Struct, frozen=True):
    """A user whose card should be stopped.  ``count`` says after how many transactions of the window it was raised."""

    user: int
    transaction: int
    until: datetime
    spent: float
    count: int
    score: float


def build(
    folder: Path,
    *,
    rows: int | None = None,
    rate: float | None = None,
    speed: int = 1,
    say: Callable[[Alert], None] | None = None,
) -> sf.Pipeline:
    """Return the pipeline.

    Args:
        folder: Where the checkpoint and the alerts are kept.
        rows: How many transactions there are; None: no end.
        rate: Transactions a second; None: as fast as they are worked on, their times a millisecond apart.
        speed: How many times faster than that the time of day passes.
        say: Called with each alert.
    """
    users = make_users()

    def enrich(transaction: Transaction) -> Payment:
        user = users[transaction.user]
        abroad = int(transaction.country != user.country)
        return Payment(transaction.id, transaction.user, transaction.cents, abroad, transaction.cents / user.usual)

    pipeline = sf.Pipeline("fraud", checkpoint=str(folder / "checkpoint"))
    transactions = pipeline.read(
        "transactions",
        sf.generate(columns=Transactions(users, speed), rows=rows, rate=rate),
        event_time=lambda transaction: transaction.time,
        max_delay="2s",
    )
    spend = (
        transactions.map(enrich)
        .key_by(lambda payment: payment.user)
        .window(sf.sliding("5m", every="10s"), emit="each")  # one row for each transaction, at once
        .aggregate(
            agg.sum(lambda payment: payment.cents),
            agg.count(),
            agg.sum(lambda payment: payment.abroad),
            agg.last(lambda payment: payment.id),
            agg.last(lambda payment: payment.ratio),
            into=Spend,
            name="spend",
        )
    )
    alerts = spend.map(judge).filter(lambda alert: alert.score >= ALERT_AT, name="suspicious")
    alerts.to(sf.SqliteSink(folder / "alerts.sqlite", "alerts"), name="alerts")
    if say is not None:
        alerts.to(sf.CallbackSink(say, type=Alert), name="terminal")
    return pipeline


def judge(spend: sf.Windowed[int, Spend]) -> Alert:
    """Return what the model thinks of a user's last five minutes: a logistic regression, its weights set by hand."""
    value = spend.value
    share_abroad = value.abroad / (value.count + 2)
    evidence = -9.0 + 1.5 * math.log2(value.ratio) + 9.0 * share_abroad
    score = 1 / (1 + math.exp(-evidence))
    until = datetime.fromtimestamp(spend.end / 1_000_000, UTC)
    return Alert(spend.key, value.id, until, value.cents / 100, value.count, round(score, 4))
