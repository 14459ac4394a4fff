"""Laws of the checkpoints: what was committed comes back; what failed is joined, refused or fenced, and says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streamflow._runtime.checkpoint import FULL_EVERY, Checkpoints, EpochData, Identity
from streamflow._runtime.commit import INLINE
from streamflow._runtime.failpoint import arm
from streamflow._runtime.store import LocalStore, MemoryStore, Pieces, Store
from streamflow.core.connector import Token
from streamflow.core.manifest import largest, manifest_name
from streamflow.core.state import Snapshot, StatePart
from streamflow.errors import CheckpointError, DamagedError, FencedError, InternalError, StoreFullError


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    arm("")


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, state_dir: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else LocalStore(state_dir)
    yield made
    made.close()


def checkpoints(store: Store, *sinks: str, pipeline: str = "p", **more: Any) -> Checkpoints:
    return Checkpoints(store, Identity(pipeline, sinks, **more))


def counts(**by_key: int) -> dict[str, Snapshot]:
    frame = pl.DataFrame({"key_0": list(by_key), "n": list(by_key.values())})
    return {"count": Snapshot({"total": sum(by_key.values())}, (StatePart("keys", frame, ("key_0",)),))}


def rows(snapshots: Any) -> dict[str, int]:
    return dict(snapshots["count"].parts[0].frame.iter_rows())


async def started(store: Store, *sinks: str, **more: Any) -> Checkpoints:
    made = checkpoints(store, *sinks, **more)
    await made.recover()
    await made.begin(EpochData())
    return made


# ---- what was committed comes back


async def test_an_empty_store_has_nothing_and_begins_with_epoch_one(store: Store) -> None:
    fresh = checkpoints(store)
    assert await fresh.recover() is None
    assert await fresh.begin(EpochData(positions={"s": {"0": "latest"}})) == 1
    assert (fresh.last, fresh.next_epoch, fresh.generation, fresh.fence) == (1, 2, 1, 1)


async def test_state_positions_and_the_rest_come_back(store: Store) -> None:
    first = await started(store, plan={"count": "v1"})
    await first.commit(EpochData(counts(a=1, b=1), {"s": {"0": 10, "1": [1]}, "t": {"x": None}}, meta={"w": 5}))
    assert await first.commit(EpochData(counts(b=2), {"s": {"0": 20}}, meta={"w": 7}, finished=True)) == 3
    second = checkpoints(store)
    found = await second.recover()
    assert found is not None
    assert (found.epoch, found.generation, found.finished, found.warning) == (3, 1, True, None)
    assert (rows(found.snapshots), found.snapshots["count"].meta) == ({"a": 1, "b": 2}, {"total": 2})
    assert (found.positions, found.meta, found.plan) == (
        {"s": {"0": 20, "1": [1]}, "t": {"x": None}},
        {"w": 7},
        {"count": "v1"},
    )


async def test_a_start_position_outlives_a_crash_before_the_first_row(store: Store) -> None:
    first = checkpoints(store)
    await first.recover()
    await first.begin(EpochData(positions={"s": {"0": 99}}))
    found = await checkpoints(store).recover()
    assert found is not None
    assert found.positions == {"s": {"0": 99}}


async def test_a_take_over_goes_on_with_the_state_and_not_with_less(store: Store) -> None:
    first = await started(store)
    await first.commit(EpochData(counts(a=1), {"s": {"0": 1}}))
    for _ in range(3):
        last = checkpoints(store)
        await last.recover()
        await last.begin(EpochData(positions={"s": {"0": 1, "new": 0}}))
    found = await checkpoints(store).recover()
    assert found is not None
    assert (rows(found.snapshots), found.positions, found.epoch) == ({"a": 1}, {"s": {"0": 1, "new": 0}}, 5)


async def test_a_full_snapshot_starts_the_chain_again_and_old_files_go(store: Store) -> None:
    worker = await started(store)
    for n in range(1, 10):
        await worker.commit(EpochData(counts(a=n), {"s": {"0": n}}))
    assert len(store.list()) == 10
    await worker.commit(EpochData(counts(b=1), {"s": {"0": 0}}, full=True))
    for n in (2, 3):
        await worker.commit(EpochData(counts(b=n), {"s": {"0": n}}))
    assert list(store.list()) == [manifest_name(n) for n in (11, 12, 13)]
    found = await checkpoints(store).recover()
    assert found is not None
    assert rows(found.snapshots) == {"b": 3}


async def test_a_large_segment_is_a_file_of_its_own_and_goes_with_its_manifest(store: Store) -> None:
    worker = await started(store, "out")
    big = bytes(INLINE)
    number = await worker.commit(EpochData(counts(a=1), staged={"out": [[b"x", big]]}, full=True))
    assert [name.rpartition("-")[0] for name in store.list() if name.startswith("segment")] == ["segment-000000000002"]
    token = worker.token(number)
    assert await worker.staged("out", token) == [b"x", big]
    found = await checkpoints(store).recover()
    assert found is not None
    assert rows(found.snapshots) == {"a": 1}
    worker.applied("out", token)
    for _ in range(3):
        await worker.commit(EpochData(counts(a=1), full=True))
    assert list(store.list()) == [manifest_name(n) for n in (3, 4, 5)]


async def test_a_full_snapshot_is_wanted_after_many_epochs_or_many_bytes() -> None:
    worker = await started(MemoryStore())
    for _ in range(FULL_EVERY):
        assert not worker.wants_full
        await worker.commit(EpochData(counts(a=1)))
    assert worker.wants_full
    await worker.commit(EpochData(counts(a=1), full=True))
    assert not worker.wants_full
    await worker.commit(EpochData({"s": Snapshot({"blob": bytes(1 << 20)})}))
    assert worker.wants_full


async def test_only_positions_that_changed_are_written_again() -> None:
    store = MemoryStore()
    worker = await started(store)
    splits = {f"part-{n}": n for n in range(10_000)}
    await worker.commit(EpochData(positions={"s": splits}))
    number = await worker.commit(EpochData(positions={"s": splits | {"part-7": 0}}))
    assert len(store.read(manifest_name(number), limit=1 << 20) or b"") < 1_000


# ---- sinks


async def test_output_is_owed_until_the_sink_has_it(store: Store) -> None:
    first = await started(store, "out", "other")
    for n in (2, 3):
        await first.commit(EpochData(staged={"out": [[b"%d" % n]], "other": [[b"x"], [b"y", b"z"]]}))
    second = await started(store, "out", "other")
    assert await second.due("out", Token(1, 2)) == [Token(1, 3, 0, fence=4)]
    owed = await second.due("other", Token(1, 2, 0))
    assert owed == [Token(1, 2, 1, 4), Token(1, 3, 0, 4), Token(1, 3, 1, 4)]
    assert [await second.staged("other", token) for token in owed] == [[b"y", b"z"], [b"x"], [b"y", b"z"]]


async def test_output_that_a_sink_waits_for_stays_however_many_epochs_follow(store: Store) -> None:
    first = await started(store, "slow")
    await first.commit(EpochData(staged={"slow": [[b"precious"]]}))
    for _ in range(10):
        await first.commit(EpochData(counts(a=1), full=True))
    second = await started(store, "slow")
    [token] = await second.due("slow", None)
    assert await second.staged("slow", token) == [b"precious"]
    second.applied("slow", token)
    for _ in range(3):
        await second.commit(EpochData(counts(a=1), full=True))
    assert len(store.list()) == 3


async def test_a_sink_that_keeps_no_token_gets_what_it_was_not_known_to_have(store: Store) -> None:
    first = await started(store, "call")
    for n in range(3):
        number = await first.commit(EpochData(staged={"call": [[b"%d" % n]]}))
        first.applied("call", first.token(number))
    second = await started(store, "call")
    assert second.known("call") == Token(1, 3)
    assert await second.due("call", None, keeps_token=False) == [Token(1, 4, 0, 5)]


async def test_a_sink_newer_than_the_checkpoint_is_refused_and_a_new_generation_goes_on(store: Store) -> None:
    worker = await started(store, "out")
    with pytest.raises(CheckpointError, match="it has epoch 500 of generation 1"):
        await worker.due("out", Token(1, 500))
    again = checkpoints(store, "out")
    await again.recover(new_generation=True)
    await again.begin(EpochData(), new_generation=True, above=3)
    assert again.generation == 4
    assert await again.due("out", Token(3, 500)) == []
    number = await again.commit(EpochData(staged={"out": [[b"x"]]}))
    assert again.token(number) > Token(3, 500)


async def test_output_for_a_sink_that_is_gone_is_not_dropped_in_silence(store: Store) -> None:
    first = await started(store, "out")
    await first.commit(EpochData(staged={"out": [[b"x"]]}))
    second = checkpoints(store)
    await second.recover()
    with pytest.raises(CheckpointError, match="has no sink 'out' now"):
        await second.begin(EpochData())
    third = checkpoints(store)
    await third.recover()
    await third.begin(EpochData(), new_generation=True)


async def test_starting_afresh_forgets_the_state_and_keeps_what_sinks_are_owed(store: Store) -> None:
    first = await started(store, "out")
    await first.commit(EpochData(counts(a=1), {"s": {"0": 1}}, {"out": [[b"x"]]}, finished=True))
    second = checkpoints(store, "out")
    await second.recover(new_generation=True)
    await second.begin(EpochData(positions={"s": {"0": 0}}, full=True), new_generation=True)
    assert await second.due("out", None) == [Token(1, 2, 0, 3)]
    found = await checkpoints(store).recover()
    assert found is not None
    assert (found.snapshots, found.positions, found.finished, found.generation) == ({}, {"s": {"0": 0}}, False, 2)


async def test_a_sink_cannot_have_what_was_not_committed() -> None:
    worker = await started(MemoryStore(), "out")
    with pytest.raises(InternalError, match="has applied epoch 2, the last one committed is 1"):
        worker.applied("out", worker.token(2))


# ---- other workers


async def test_a_worker_that_was_taken_over_commits_nothing_more(store: Store) -> None:
    first = await started(store)
    await first.commit(EpochData(counts(a=1)))
    second = await started(store)
    for _ in range(2):
        with pytest.raises(FencedError, match=r"epoch 3 in .* is its"):
            await first.commit(EpochData(counts(a=2)))
    await second.commit(EpochData(counts(b=1)))
    found = await checkpoints(store).recover()
    assert found is not None
    assert rows(found.snapshots) == {"a": 1, "b": 1}


async def test_of_two_that_start_together_one_goes_on(store: Store) -> None:
    first, second = checkpoints(store), checkpoints(store)
    await first.recover()
    await second.recover()
    await first.begin(EpochData())
    with pytest.raises(FencedError):
        await second.begin(EpochData())


async def test_the_fence_can_be_asked_for(store: Store) -> None:
    first = await started(store)
    await first.check_fence()
    await started(store)
    with pytest.raises(FencedError):
        await first.check_fence()


async def test_a_store_is_of_one_pipeline(store: Store) -> None:
    await started(store, pipeline="orders")
    with pytest.raises(CheckpointError, match="of pipeline 'orders', not of 'p'"):
        await checkpoints(store).recover()


async def test_a_sealed_store_is_read_with_its_key_only(store: Store) -> None:
    await started(store, key=b"secret")
    assert await checkpoints(store, key=b"secret").recover() is not None
    with pytest.raises(CheckpointError, match="sealed with another key"):
        await checkpoints(store).recover()


# ---- what fails


async def test_without_room_the_epoch_joins_the_next(state_dir: Path) -> None:
    store = LocalStore(state_dir)
    worker = await started(store, "out")
    await worker.commit(EpochData(counts(a=1, b=1), {"s": {"0": 1}}))
    for n in (2, 3):
        arm("store.file.written=raise:OSError(28)")
        with pytest.raises(StoreFullError):
            await worker.commit(EpochData(counts(a=n), {"s": {"0": n, "1": n}}, {"out": [[b"%d" % n]]}))
    assert worker.last == 2
    number = await worker.commit(EpochData(counts(b=4), {"s": {"0": 4}}, {"out": [[b"4"]]}, meta={"w": 4}))
    assert number == 3
    assert worker.last_staged == {"out": [[b"2", b"3", b"4"]]}
    assert await worker.staged("out", worker.token(number)) == [b"2", b"3", b"4"]
    found = await checkpoints(store).recover()
    assert found is not None
    assert (rows(found.snapshots), found.positions) == ({"a": 3, "b": 4}, {"s": {"0": 4, "1": 3}})
    await worker.commit(EpochData(counts(a=5)))
    assert worker.last_staged == {}


async def test_a_full_disk_under_a_full_snapshot_leaves_the_old_chain(state_dir: Path) -> None:
    store = LocalStore(state_dir)
    worker = await started(store)
    await worker.commit(EpochData(counts(a=1)))
    arm("store.file.written=raise:OSError(28)")
    with pytest.raises(StoreFullError):
        await worker.commit(EpochData(counts(b=2), full=True))
    await worker.commit(EpochData(counts(c=3)))
    found = await checkpoints(store).recover()
    assert found is not None
    assert rows(found.snapshots) == {"b": 2, "c": 3}


async def test_after_a_failed_fsync_the_worker_is_over_and_the_next_goes_on(state_dir: Path) -> None:
    worker = await started(LocalStore(state_dir))
    await worker.commit(EpochData(counts(a=1)))
    arm("store.file.sync=raise:OSError(5)")
    with pytest.raises(CheckpointError, match="could not be made durable"):
        await worker.commit(EpochData(counts(a=2)))
    with pytest.raises(CheckpointError, match="may or may not be committed"):
        await worker.commit(EpochData(counts(a=3)))
    found = await checkpoints(LocalStore(state_dir)).recover()
    assert found is not None
    assert rows(found.snapshots) == {"a": 1}


async def test_what_cannot_be_removed_does_not_fail_the_epoch(
    state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalStore(state_dir)
    (state_dir / "segment-000000000001-ab").mkdir()
    worker = await started(store)
    assert await worker.commit(EpochData(counts(a=1))) == 2
    assert "clean-up stopped" in caplog.text


class Slow:
    """A store that waits in ``create`` until it is told to go on."""

    def __init__(self, store: Store) -> None:
        self.store, self.is_in, self.may_go = store, threading.Event(), threading.Event()

    def create(self, name: str, content: Pieces) -> bool:
        self.is_in.set()
        self.may_go.wait()
        return self.store.create(name, content)

    def list(self) -> Sequence[str]:
        return self.store.list()

    def read(self, name: str, *, limit: int) -> bytes | None:
        return self.store.read(name, limit=limit)

    def write(self, name: str, content: Pieces) -> None:
        self.store.write(name, content)

    def remove(self, names: Iterable[str]) -> None:
        self.store.remove(names)

    def sync(self) -> None:
        self.store.sync()

    def close(self) -> None:
        self.store.close()


async def test_a_commit_that_is_cancelled_is_known_when_the_cancellation_arrives() -> None:
    store = Slow(MemoryStore())
    store.may_go.set()
    worker = await started(store)
    store.may_go.clear()
    store.is_in.clear()
    commit = asyncio.create_task(worker.commit(EpochData(counts(a=1))))
    await asyncio.to_thread(store.is_in.wait)
    commit.cancel()
    await asyncio.sleep(0)
    assert not commit.done()  # the disk is not waited for by nobody
    store.may_go.set()
    with pytest.raises(asyncio.CancelledError):
        await commit
    assert (worker.last, largest(store.list())) == (2, 2)
    assert await worker.commit(EpochData(counts(a=2))) == 3


async def test_a_state_that_cannot_be_stored_is_refused_by_step() -> None:
    worker = await started(MemoryStore())
    with pytest.raises(CheckpointError, match="one of count"):
        await worker.commit(EpochData({"count": Snapshot({"x": object()})}))


async def test_nothing_is_written_before_it_is_known_what_is_there() -> None:
    with pytest.raises(InternalError, match="before they have been recovered"):
        await checkpoints(MemoryStore()).begin(EpochData())


# ---- savepoints


async def test_a_savepoint_can_be_restored_twice(store: Store) -> None:
    first = await started(store, "out")
    await first.commit(EpochData(counts(a=1), {"s": {"0": 1}}))
    number = await first.commit(EpochData(counts(b=2), {"s": {"0": 2}}, {"out": [[b"x"]]}, meta={"w": 1}))
    with pytest.raises(CheckpointError, match="sink 'out' has not got epoch 3 yet"):
        await first.savepoint("before")
    first.applied("out", first.token(number))
    await first.savepoint("before")
    with pytest.raises(CheckpointError, match="has a savepoint 'before' already"):
        await first.savepoint("before")
    for generation in (2, 3):
        for _ in range(5):
            await first.commit(EpochData(counts(a=9), full=True))
        first = checkpoints(store, "out")
        found = await first.recover(savepoint="before")
        assert found is not None
        assert (rows(found.snapshots), found.positions, found.meta) == ({"a": 1, "b": 2}, {"s": {"0": 2}}, {"w": 1})
        await first.begin(EpochData(positions={"s": {"1": 0}}))
        assert first.generation == generation
        assert await first.due("out", Token(1, number)) == []
    found = await checkpoints(store).recover()
    assert found is not None
    assert (rows(found.snapshots), found.positions) == ({"a": 1, "b": 2}, {"s": {"0": 2, "1": 0}})


async def test_a_savepoint_that_is_not_there_is_refused_with_those_that_are(store: Store) -> None:
    worker = await started(store)
    await worker.savepoint("monday")
    with pytest.raises(CheckpointError, match="has no savepoint 'friday'") as caught:
        await checkpoints(store).recover(savepoint="friday")
    assert "monday" in (caught.value.remedy or "")


async def test_a_savepoint_outlives_the_loss_of_all_else(store: Store) -> None:
    worker = await started(store)
    await worker.commit(EpochData(counts(a=1)))
    await worker.savepoint("s")
    store.remove([manifest_name(1), manifest_name(2)])
    store.create(manifest_name(2), [b"torn"])
    with pytest.raises(DamagedError, match="no checkpoint can be read"):
        await checkpoints(store).recover()
    again = checkpoints(store)
    found = await again.recover(savepoint="s")
    assert found is not None
    assert rows(found.snapshots) == {"a": 1}
    assert "damaged" in (found.warning or "")
    assert await again.begin(EpochData()) == 3


async def test_what_else_is_kept_stays_until_it_is_replaced(store: Store) -> None:
    worker = await started(store)
    await worker.commit(EpochData(meta={"w": 1}))
    await worker.commit(EpochData(counts(a=1)))
    worker = checkpoints(store)
    await worker.recover()
    await worker.begin(EpochData())
    found = await checkpoints(store).recover()
    assert found is not None
    assert found.meta == {"w": 1}
