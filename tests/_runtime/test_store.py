"""Laws of a store: a name is created once, whole and durable; nothing leads out of it; a failed fsync ends it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamflow._runtime.failpoint import arm
from streamflow._runtime.store import LocalStore, MemoryStore, Store
from streamflow.errors import CheckpointError, DamagedError, StoreFullError


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    arm("")


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, state_dir: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else LocalStore(state_dir)
    yield made
    made.close()


@pytest.fixture
def local(state_dir: Path) -> Iterator[LocalStore]:
    made = LocalStore(state_dir)
    yield made
    made.close()


# ---- any store


def test_what_was_written_is_read(store: Store) -> None:
    store.write("segment-1", [b"a", b"", b"bc"])
    assert store.create("manifest-1", [b"x"])
    assert store.list() == ["manifest-1", "segment-1"]
    assert store.read("segment-1", limit=3) == b"abc"
    assert store.read("other", limit=3) is None


def test_a_name_is_created_once(store: Store) -> None:
    assert store.create("m", [b"first"])
    assert not store.create("m", [b"second"])
    assert store.create("empty", [])
    assert not store.create("empty", [])
    assert store.read("m", limit=9) == b"first"
    assert store.list() == ["empty", "m"]


def test_of_many_workers_one_creates(store: Store) -> None:
    made: list[int] = []
    start = threading.Barrier(8)

    def create(worker: int) -> None:
        start.wait()
        if store.create("m", [b"%d" % worker]):
            made.append(worker)

    workers = [threading.Thread(target=create, args=(worker,)) for worker in range(8)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    assert store.read("m", limit=9) == b"%d" % made[0]
    assert (len(made), store.list()) == (1, ["m"])


def test_a_removed_name_is_free(store: Store) -> None:
    store.create("m", [b"1"])
    store.remove(["m", "never-there", "m"])
    assert store.list() == []
    assert store.create("m", [b"2"])


def test_a_file_larger_than_expected_is_not_read(store: Store) -> None:
    store.create("m", [b"12345"])
    with pytest.raises(DamagedError, match="at most 4 bytes expected, got 5"):
        store.read("m", limit=4)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../m", "a/b", "/etc/passwd", "a\0b", "a\n", ".hidden", "x" * 300, "a..b", "ä"]
)
def test_a_name_that_leads_elsewhere_is_refused(store: Store, name: str) -> None:
    for act in (
        lambda: store.read(name, limit=1),
        lambda: store.write(name, [b""]),
        lambda: store.create(name, [b""]),
        lambda: store.remove([name]),
    ):
        with pytest.raises(CheckpointError, match="plain name"):
            act()


# ---- a directory


def test_a_directory_is_made_for_its_owner_only(local: LocalStore, state_dir: Path) -> None:
    local.create("m", [b"x"])
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((state_dir / "m").stat().st_mode) == 0o600


def test_a_directory_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file/state' cannot be opened: Not a directory"):
        LocalStore(tmp_path / "file" / "state")


def test_nothing_is_read_through_a_symbolic_link(local: LocalStore, state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (state_dir / "m").symlink_to(tmp_path / "secret")
    with pytest.raises(DamagedError, match="m cannot be opened"):
        local.read("m", limit=99)
    assert not local.create("m", [b"x"])  # its name is taken all the same
    with pytest.raises(CheckpointError):
        local.write("m", [b"x"])
    assert (tmp_path / "secret").read_text() == "secret"


@pytest.mark.parametrize("kind", ["directory", "fifo", "sparse"])
def test_what_is_no_plain_file_of_the_size_is_not_read(local: LocalStore, state_dir: Path, kind: str) -> None:
    if kind == "directory":
        (state_dir / "m").mkdir()
    elif kind == "fifo":
        os.mkfifo(state_dir / "m")
    else:
        with (state_dir / "m").open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(DamagedError):
        local.read("m", limit=99)


def test_a_directory_moved_away_is_still_the_one_that_is_written(local: LocalStore, state_dir: Path) -> None:
    state_dir.rename(state_dir.with_name("moved"))
    state_dir.mkdir()
    local.create("m", [b"x"])
    assert list(state_dir.iterdir()) == []
    assert local.read("m", limit=1) == b"x"


# ---- what fails

FULL = [errno.ENOSPC, errno.EDQUOT]


@pytest.mark.parametrize("code", FULL, ids=errno.errorcode.get)
@pytest.mark.parametrize("instant", ["store.file.opened", "store.file.written", "store.create.written"])
def test_without_room_nothing_is_left_and_it_can_be_tried_again(local: LocalStore, instant: str, code: int) -> None:
    arm(f"{instant}=raise:OSError({code})")
    with pytest.raises(StoreFullError, match="no room to create m"):
        local.create("m", [b"x"])
    assert local.list() == []
    assert local.create("m", [b"x"])


def test_without_room_for_a_segment_nothing_is_left_of_it(local: LocalStore) -> None:
    arm("store.file.written=raise:OSError(28)")
    with pytest.raises(StoreFullError, match="no room to write s"):
        local.write("s", [b"x"])
    assert local.list() == []
    local.write("s", [b"x"])


@pytest.mark.parametrize("instant", ["store.file.sync", "store.directory.sync"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_after_a_failed_fsync_nothing_is_written_any_more(local: LocalStore, instant: str, code: int) -> None:
    arm(f"{instant}=raise:OSError({code})")
    for _ in range(3):
        with pytest.raises(CheckpointError, match="could not be made durable") as caught:
            local.create("m", [b"x"])
        assert not isinstance(caught.value, StoreFullError)
    with pytest.raises(CheckpointError, match="nothing more is written"):
        local.sync()


def test_after_an_error_of_the_disk_nothing_is_written_any_more(local: LocalStore) -> None:
    arm("store.file.written=raise:OSError(5)")
    with pytest.raises(CheckpointError, match="could not create m: Input/output error"):
        local.create("m", [b"x"])
    with pytest.raises(CheckpointError, match="nothing more is written"):
        local.write("s", [b"x"])


def test_what_cannot_be_removed_is_said(local: LocalStore, state_dir: Path) -> None:
    (state_dir / "m").mkdir()
    with pytest.raises(CheckpointError, match="m cannot be removed"):
        local.remove(["m"])


# ---- a power cut


def test_what_was_created_outlives_a_crash() -> None:
    store = MemoryStore()
    store.create("m", [b"x"])
    store.crash()
    assert store.list() == ["m"]


def test_what_is_not_synced_may_be_lost_or_kept() -> None:
    for keep in ([], ["m", "old"]):
        store = MemoryStore()
        store.create("old", [b"1"])
        arm("store.memory.made=raise:OSError(5)")
        with pytest.raises(OSError, match="failpoint"):
            store.create("m", [b"x"])
        store.remove(["old"])
        store.crash(keep=keep)
        assert store.list() == (["m"] if keep else ["old"])
