"""Law: whatever two workers do to one store, in whatever order and dying wherever, the sink gets each row once.

Two real ``Checkpoints``, each on an event loop and in threads of its own, stop before every access to the store and to
the sink until the schedule lets them go on; Hypothesis makes the schedules.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow._runtime.checkpoint import Checkpoints
from streamflow._runtime.commit import Commits, Identity
from streamflow._runtime.content import EpochData
from streamflow._runtime.failpoint import arm
from streamflow._runtime.store import LocalStore, MemoryStore, Pieces, Store
from streamflow.core.chain import reach
from streamflow.core.connector import Token
from streamflow.errors import CheckpointError, FencedError

ROWS = 5


class Crash(BaseException):
    """The process is gone: nothing after this instant happens."""


class Turn:
    """Where a worker waits until the schedule lets it take one more step."""

    def __init__(self) -> None:
        self.may_go, self.has_stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.is_over = self.crashes = False

    def __call__(self) -> None:
        self.has_stopped.release()
        self.may_go.acquire()
        if self.crashes:
            raise Crash

    def step(self) -> None:
        self.may_go.release()
        self.has_stopped.acquire()


class Gated:
    """A store that waits for its worker's turn before each access."""

    def __init__(self, store: Store, turn: Callable[[], None]) -> None:
        self.store, self.turn = store, turn

    def list(self) -> Sequence[str]:
        self.turn()
        return self.store.list()

    def read(self, name: str, *, limit: int) -> bytes | None:
        self.turn()
        return self.store.read(name, limit=limit)

    def write(self, name: str, content: Pieces) -> None:
        self.turn()
        self.store.write(name, content)

    def create(self, name: str, content: Pieces) -> bool:
        self.turn()
        return self.store.create(name, content)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.turn()
            self.store.remove([name])

    def sync(self) -> None:
        self.store.sync()

    def close(self) -> None:
        pass


class Table:
    """A sink that writes rows and token in one transaction, and checks the token in it."""

    def __init__(self) -> None:
        self.token: Token | None = None
        self.rows: list[int] = []

    def apply(self, pieces: Sequence[bytes], token: Token) -> None:
        if reach(token) > reach(self.token):
            self.token = token
            self.rows += b"".join(pieces)
        assert self.rows == list(range(len(self.rows)))


async def live(checkpoints: Checkpoints, table: Table, turn: Callable[[], None], at_once: int) -> None:
    """Go on from where the last worker stopped until the input is over, ``at_once`` rows an epoch."""
    found = await checkpoints.recover()
    position: int = found.positions["rows"]["0"] if found else 0
    await checkpoints.begin(EpochData(positions={"rows": {"0": position}}))
    turn()
    for token in await checkpoints.due("table", table.token):
        pieces = await checkpoints.staged("table", token)
        turn()
        table.apply(pieces, token)
        checkpoints.applied("table", token)
    while position < ROWS:
        rows = range(position, min(position + at_once, ROWS))
        position = rows.stop
        staged = {"table": [[bytes([row]) for row in rows]]}
        number = await checkpoints.commit(EpochData({}, {"rows": {"0": position}}, staged, full=position % 2 == 0))
        turn()
        table.apply(staged["table"][0], checkpoints.token(number))
        checkpoints.applied("table", checkpoints.token(number))


class Life:
    """A worker from its start to its end, in threads of its own."""

    def __init__(self, store: Store, table: Table, at_once: int) -> None:
        self.turn, self.failure = Turn(), ""
        checkpoints = Checkpoints(Gated(store, self.turn), Identity("p", ["table"]))
        self.thread = threading.Thread(target=self.run, args=(checkpoints, table, at_once))
        self.thread.start()
        self.turn.has_stopped.acquire()

    def run(self, checkpoints: Checkpoints, table: Table, at_once: int) -> None:
        try:
            asyncio.run(live(checkpoints, table, self.turn, at_once))
        except (FencedError, Crash):
            pass
        except (CheckpointError, AssertionError) as error:
            self.failure = repr(error)
        self.turn.is_over = True
        self.turn.has_stopped.release()

    def end(self) -> None:
        self.turn.crashes = True
        while not self.turn.is_over:
            self.turn.step()
        self.thread.join()


def play(store: Store, schedule: list[tuple[int, bool]]) -> tuple[list[int], str]:
    """Return what the sink holds after a schedule of (which worker, does it crash), and what failed."""
    table, lives, failure = Table(), [None, None], ""
    for who, crashes in schedule:
        life = lives[who] or Life(store, table, who + 1)
        lives[who] = life
        if crashes:
            life.end()
        elif not life.turn.is_over:
            life.turn.step()
        if life.turn.is_over:
            failure = failure or life.failure
            life.thread.join()
            lives[who] = None
    for life in filter(None, lives):
        life.end()
    if not failure:
        last = Life(store, table, 1)
        while not last.turn.is_over:
            last.turn.step()
        failure = last.failure
    return table.rows, failure


steps = st.tuples(st.integers(0, 1), st.integers(0, 19).map(lambda n: n == 0))
runs = st.tuples(steps, st.integers(1, 30)).map(lambda run: [run[0]] if run[0][1] else [run[0]] * run[1])
schedules = st.lists(runs, max_size=16).map(lambda found: [step for run in found for step in run])


@settings(max_examples=100)
@given(schedules)
def test_in_memory_each_row_arrives_once(schedule: list[tuple[int, bool]]) -> None:
    assert play(MemoryStore(), schedule) == (list(range(ROWS)), "")


@settings(max_examples=15)
@given(schedules)
def test_in_a_directory_each_row_arrives_once(schedule: list[tuple[int, bool]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = LocalStore(Path(directory))
        assert play(store, schedule) == (list(range(ROWS)), "")
        store.close()


def nothing() -> None:
    """The only worker there is waits for nobody."""


def cut(hit: int, seed: int) -> tuple[list[int], str]:
    """Return what the sink holds when the power fails while the ``hit``-th file is made, and what failed after that.

    Of what was made or removed since the last sync a part has reached the disk, whatever came first.
    """
    store, table, chance = MemoryStore(), Table(), random.Random(seed)
    arm(f"store.memory.made=raise:OSError(5)@{hit}")
    try:
        asyncio.run(live(Checkpoints(store, Identity("p", ["table"])), table, nothing, 1))
    except OSError:
        loose = sorted(set(store._files) ^ set(store._durable))
        store.crash(keep=[name for name in loose if chance.random() < 0.5])
    finally:
        arm("")
    try:
        asyncio.run(live(Checkpoints(store, Identity("p", ["table"])), table, nothing, 1))
    except (CheckpointError, AssertionError) as error:
        return table.rows, repr(error)
    return table.rows, ""


def test_after_a_power_cut_each_row_arrives_once() -> None:
    outcomes = {(hit, seed): cut(hit, seed) for hit in range(1, ROWS + 3) for seed in range(6)}
    assert {at: outcome for at, outcome in outcomes.items() if outcome != (list(range(ROWS)), "")} == {}


def test_a_power_cut_does_harm_where_nothing_is_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "sync", lambda self: None)
    assert any(cut(hit, seed)[1] for hit in range(3, ROWS) for seed in range(4))


def overwrite(store: MemoryStore, name: str, content: Pieces) -> bool:
    store._files[name] = b"".join(content)
    return True


@pytest.mark.parametrize(
    ("owner", "name", "mutant"),
    [
        (MemoryStore, "create", overwrite),
        (Commits, "confirm", lambda self, tip: self.store.list()),
    ],
    ids=["rename", "no-list"],
)
def test_a_stale_worker_does_harm_without(
    owner: object, name: str, mutant: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, mutant)
    a, b = [(0, False)], [(1, False)]
    outcomes = [play(MemoryStore(), a * first + b * n + a * 4 + b * 12) for first in (3, 6) for n in (5, 9)]
    assert any(outcome != (list(range(ROWS)), "") for outcome in outcomes)
