"""Card fraud: transactions come in, alerts go out while the thief is still in the shop.

Transactions come up to two seconds out of order.  Each is put beside what is known of its user; with each, what the
user has spent in the last five minutes is known at once; a small model scores that, and a high score is an alert.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import final

import msgspec

import streamflow as sf
from streamflow import agg

USERS = 50_000
COUNTRIES = ["DE", "FR", "ES", "IT", "PL", "NL", "SE", "AT"]
BURST_EVERY = 10_000
"""One card in ten thousand transactions is in the wrong hands, for six transactions."""
ALERT_AT = 0.9


class User(msgspec.Struct, frozen=True):
    """What is known of a user: the country, and how many cents a transaction usually has."""

    country: str
    usual: int


class Transaction(msgspec.Struct, frozen=True):
    """What comes from the terminals."""

    id: int
    user: int
    cents: int
    country: str
    time: datetime


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
    folder: Path, *, rows: int | None = None, rate: float | None = None, say: Callable[[Alert], None] | None = None
) -> sf.Pipeline:
    """Return the pipeline.

    Args:
        folder: Where the checkpoint and the alerts are kept.
        rows: How many transactions there are; None: no end.
        rate: Transactions a second; None: as fast as they are worked on.
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
        sf.generate(Transactions(users), rows=rows, rate=rate),
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


def make_users() -> list[User]:
    """Return the user table: the user's number is the place in it."""
    chance = random.Random(1)
    return [
        User(chance.choice(COUNTRIES), round(math.exp(chance.gauss(7.6, 0.6)))) for _ in range(USERS)
    ]


@final
class Transactions:
    """Makes transactions: users by Zipf's law, amounts about what is usual, one in a hundred abroad, and the thefts.

    Transaction ``n`` arrives at its time and was made up to two seconds before.
    """

    def __init__(self, users: list[User]) -> None:
        self._users = users
        self._zipf = list(accumulate(1 / rank for rank in range(1, USERS + 1)))

    def __call__(self, number: int, arrives: datetime, chance: random.Random) -> Transaction:
        """Return transaction ``number``."""
        made = arrives - timedelta(microseconds=chance.randrange(2_000_000))
        thief = victim(number)
        if thief is not None:
            user, factor, is_abroad = thief, chance.uniform(8, 16), True
        else:
            user = chance.choices(range(USERS), cum_weights=self._zipf)[0]
            factor, is_abroad = math.exp(chance.gauss(0, 0.7)), chance.random() < 0.01
        home = self._users[user]
        country = chance.choice([c for c in COUNTRIES if c != home.country]) if is_abroad else home.country
        return Transaction(number, user, max(1, round(home.usual * factor)), country, made)


def victim(number: int) -> int | None:
    """Return whose card a thief has for this transaction; None for an honest one."""
    burst, within = divmod(number, BURST_EVERY)
    is_theft = within % 1_000 == 500 and within < 6_000
    return (burst * 7_919 + 4_211) % USERS if is_theft else None
