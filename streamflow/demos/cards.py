"""Card transactions, made up: the input of the fraud demo, the same on every machine and after every restart."""

from __future__ import annotations

from typing import final

import msgspec
import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

USERS = 50_000
COUNTRIES = ["DE", "FR", "ES", "IT", "PL", "NL", "SE", "AT"]
BURST_EVERY = 10_000
"""One card in ten thousand transactions is in the wrong hands, for six transactions."""
START = 1_704_067_200_000_000
"""2024-01-01, in microseconds: where time that passes faster is anchored."""


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
