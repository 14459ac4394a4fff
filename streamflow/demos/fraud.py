"""Card fraud: transactions come in, alerts go out while the thief is still in the shop.

Transactions come up to two seconds out of order.  Each is put beside what is known of its user; with each, what the
user has spent in the last five minutes is known at once; a small model scores that, and a high score is an alert.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import final

import msgspec
import numpy as np
import numpy.typing as npt

import streamflow as sf
from streamflow import agg

I64 = npt.NDArray[np.int64]

USERS = 50_000
START = 1_704_067_200_000_000
"""2024-01-01, in microseconds: where time that passes faster is anchored."""
COUNTRIES = ["DE", "FR", "ES", "IT", "PL", "NL", "SE", "AT"]
BURST_EVERY = 10_000
"""One card in ten thousand transactions is in the wrong hands, for six transactions."""
ALERT_AT = 0.9


class User(msgspec.Struct, frozen=True):
    """What is known of a user: the country, and how many cents a transaction usually has."""

    country: str
    usual: int


class Transaction(msgspec.Struct, frozen=True):
    """What comes from the terminals; ``time`` is in microseconds."""

    id: int
    user: int
    cents: int
    country: str
    time: int


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


def make_users() -> list[User]:
    """Return the user table: the user's number is the place in it."""
    chance = np.random.default_rng(1)
    countries, usual = chance.integers(0, len(COUNTRIES), USERS), np.exp(chance.normal(7.6, 0.6, USERS))
    return [User(COUNTRIES[i], round(cents)) for i, cents in zip(countries.tolist(), usual.tolist(), strict=True)]


@final
class Transactions:
    """Makes transactions: users by Zipf's law, amounts about what is usual, one in a hundred abroad, and the thefts.

    A transaction arrives up to two seconds after it was made.
    """

    def __init__(self, users: list[User], speed: int = 1) -> None:
        self._speed = speed
        self._usual = np.array([user.usual for user in users])
        self._home = np.array([COUNTRIES.index(user.country) for user in users])
        self._zipf = np.cumsum(1 / np.arange(1, USERS + 1))

    def __call__(self, numbers: I64, arrive: I64, chance: np.random.Generator) -> list[Transaction]:
        """Return the transactions of these numbers, which arrive at these times."""
        n = len(numbers)
        users = np.searchsorted(self._zipf, chance.random(n) * self._zipf[-1])
        factors, abroad = np.exp(chance.normal(0, 0.7, n)), chance.random(n) < 0.01
        victim = victims(numbers)
        stolen = victim >= 0
        users[stolen], factors[stolen], abroad[stolen] = victim[stolen], chance.uniform(8, 16, n)[stolen], True
        countries = (self._home[users] + abroad * chance.integers(1, len(COUNTRIES), n)) % len(COUNTRIES)
        cents = np.maximum(1, self._usual[users] * factors).astype(np.int64)
        made = START + (arrive - START) * self._speed - chance.integers(0, 2_000_000, n)
        columns = (column.tolist() for column in (numbers, users, cents, countries, made))
        return [Transaction(id, user, c, COUNTRIES[i], time) for id, user, c, i, time in zip(*columns, strict=True)]


def victims(numbers: I64) -> I64:
    """Return whose card a thief has for each transaction; -1 for an honest one."""
    burst, within = np.divmod(numbers, BURST_EVERY)
    is_theft = (within % 1_000 == 500) & (within < 6_000)
    victim: I64 = np.where(is_theft, (burst * 7_919 + 4_211) % USERS, -1)
    return victim
