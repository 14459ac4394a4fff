"""Law: whatever happens to the files of a checkpoint, what is read is what was written, or a CheckpointError."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
import pytest

from streamflow._runtime import commit
from streamflow._runtime.checkpoint import Checkpoints, EpochData, Identity, Recovered
from streamflow._runtime.store import MemoryStore
from streamflow.core.connector import Token
from streamflow.core.state import Snapshot, StatePart
from streamflow.errors import CheckpointError

Files = Mapping[str, bytes]

EPOCHS = range(2, 10)
FULL = 5  # the state is whole at 1 and at 5
KNOWN = 3  # the sink was known to have this epoch, so that 4 stays for its output; it has 7 by now


@pytest.fixture(autouse=True)
def small_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the full snapshots be files of their own, and the others stand in their manifests."""
    monkeypatch.setattr(commit, "INLINE", 2_000)


def checkpoints(store: MemoryStore) -> Checkpoints:
    return Checkpoints(store, Identity("p", ["out"], writer="w", now=lambda: 0.0))


def state(epoch: int, *, full: bool) -> dict[str, Snapshot]:
    keys = range(100 if full else 3)
    frame = pl.DataFrame({"key_0": [f"k{key}" for key in keys], "n": [epoch] * len(keys)})
    return {"step": Snapshot({"epoch": epoch}, (StatePart("keys", frame, ("key_0",)),))}


def said(found: Recovered) -> Any:
    """What a checkpoint says, to be compared."""
    [part] = found.snapshots["step"].parts
    return found.epoch, found.snapshots["step"].meta, found.positions, sorted(part.frame.rows())


async def written() -> tuple[Files, dict[int, Any]]:
    """Return the files of a few epochs, and what each of them says."""
    store, says = MemoryStore(), {}
    worker = checkpoints(store)
    await worker.recover()
    await worker.begin(EpochData())
    for epoch in EPOCHS:
        full = epoch == FULL
        data = EpochData(state(epoch, full=full), {"s": {"0": epoch}}, {"out": [[b"%d" % epoch]]}, full=full)
        await worker.commit(data)
        if epoch == KNOWN:
            worker.applied("out", worker.token(epoch))
        found = await checkpoints(store).recover()
        assert found is not None
        says[epoch] = said(found)
    return dict(store._files), says


def damages(files: Files) -> Iterator[tuple[str, Files]]:
    chance = random.Random(1)
    names = sorted(files)
    for name in names:
        data = files[name]
        yield f"{name} is gone", {n: d for n, d in files.items() if n != name}
        for eighth in range(8):
            yield f"{name} is cut at {eighth}/8", {**files, name: data[: len(data) * eighth // 8]}
        for at in sorted(chance.sample(range(len(data)), 32)):
            flipped = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
            yield f"{name} is changed at {at}", {**files, name: flipped}
        yield f"{name} has a page of zeros", {**files, name: data[:100] + bytes(len(data[100:200])) + data[200:]}
        yield f"{name} has more behind it", {**files, name: data + b"\0"}
        for other in names:
            if other < name:
                yield f"{name} and {other} are swapped", {**files, name: files[other], other: data}
                yield f"{name} is what {other} is", {**files, name: files[other]}


def over(files: Files) -> MemoryStore:
    store = MemoryStore()
    store._files = dict(files)
    return store


async def test_what_is_read_is_the_newest_checkpoint_or_an_error() -> None:
    files, says = await written()
    refused = read = 0
    for damage, changed in damages(files):
        try:
            found = await checkpoints(over(changed)).recover()
        except CheckpointError:
            refused += 1
            continue
        assert found is not None, damage
        if damage == f"{max(n for n in files if n.startswith('manifest'))} is gone":
            continue  # nobody can know that it was there
        assert said(found) == says[9], damage
        read += 1
    assert refused > 150
    assert read > 30


async def test_what_is_passed_over_is_never_newer_than_what_a_sink_has() -> None:
    files, says = await written()
    older = 0
    for damage, changed in damages(files):
        try:
            found = await checkpoints(over(changed)).recover(applied={"out": Token(1, 7)})
        except CheckpointError:
            continue
        assert found is not None, damage
        assert found.epoch >= 7, damage
        assert said(found) == says[found.epoch], damage
        if found.warning:
            assert found.epoch < 9, damage
            older += 1
    assert older > 50


async def test_what_a_sink_is_given_is_what_was_staged_or_an_error() -> None:
    files, _ = await written()
    given = 0
    for damage, changed in damages(files):
        worker = checkpoints(over(changed))
        try:
            found = await worker.recover(applied={"out": Token(1, 7)})
            await worker.begin(EpochData())
            owed = await worker.due("out", Token(1, 7))
            pieces = [await worker.staged("out", token) for token in owed]
        except CheckpointError:
            continue
        assert found is not None, damage
        assert pieces == [[b"%d" % epoch] for epoch in range(8, found.epoch + 1)], damage
        given += 1
    assert given > 100


async def test_damage_that_cannot_be_passed_over_names_the_file_and_the_way_out() -> None:
    files, _ = await written()
    newest = "manifest-000000000009"
    with pytest.raises(CheckpointError, match=f"{newest} is damaged.*sink 'out' has epoch 9 of generation 1") as caught:
        await checkpoints(over({**files, newest: b"torn"})).recover(applied={"out": Token(1, 9)})
    assert "--new-generation" in (caught.value.remedy or "")
    found = await checkpoints(over({**files, newest: b"torn"})).recover(new_generation=True)
    assert found is not None
    assert (found.epoch, newest in (found.warning or "")) == (8, True)


async def test_a_number_counts_though_its_manifest_cannot_be_read() -> None:
    files, _ = await written()
    store = over({**files, "manifest-000000000009": b"torn"})
    worker = checkpoints(store)
    await worker.recover(applied={"out": Token(1, 8)})
    assert await worker.begin(EpochData()) == 10
    assert await worker.due("out", Token(1, 8)) == []
    await worker.commit(EpochData(state(11, full=True), full=True))
    assert "manifest-000000000009" not in store.list()


async def test_three_damaged_ones_at_the_end_are_not_passed_over() -> None:
    files, _ = await written()
    torn = {f"manifest-{number:012d}": b"torn" for number in (7, 8, 9)}
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        await checkpoints(over({**files, **torn})).recover(new_generation=True)


async def test_output_in_a_manifest_that_is_damaged_in_the_middle_is_not_skipped() -> None:
    files, _ = await written()
    worker = checkpoints(over({**files, "manifest-000000000004": b"torn"}))
    found = await worker.recover()
    assert found is not None  # the state is whole from 5 on
    await worker.begin(EpochData())
    with pytest.raises(CheckpointError, match="it has not got epoch 4, which is damaged or missing"):
        await worker.due("out", Token(1, KNOWN))
    assert [token.epoch for token in await worker.due("out", Token(1, 4))] == [5, 6, 7, 8, 9]
