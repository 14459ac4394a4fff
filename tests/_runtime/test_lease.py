"""Laws of the lease: one holder at a time, by courtesy; the dead and the silent hold nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from streamflow._runtime.lease import Holder, Lease, this_process
from streamflow.errors import CheckpointError, FencedError


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lease(directory: Path, clock: Clock) -> Lease:
    return Lease(directory, timeout=10, now=clock)


def hold(directory: Path, clock: Clock, **change: object) -> None:
    """Make it look as if another process held the lease."""
    content = msgspec.to_builtins(this_process()) | change
    (directory / "lease").write_bytes(msgspec.json.encode(content))
    os.utime(directory / "lease", (clock.now, clock.now))


def test_a_second_worker_is_refused_by_name(tmp_path: Path, clock: Clock) -> None:
    lease(tmp_path, clock).acquire()
    clock.now += 9.9
    with pytest.raises(
        CheckpointError, match=rf"process {os.getpid()} on .* works on .* sign of life is 9\.9 s old"
    ) as caught:
        lease(tmp_path, clock).acquire()
    assert "--take-over" in (caught.value.remedy or "")


def test_a_lease_given_back_can_be_taken_at_once(tmp_path: Path, clock: Clock) -> None:
    first = lease(tmp_path, clock)
    first.acquire()
    first.release()
    lease(tmp_path, clock).acquire()


def test_a_worker_that_does_not_beat_loses_the_lease_and_learns_it(tmp_path: Path, clock: Clock) -> None:
    first, second = lease(tmp_path, clock), lease(tmp_path, clock)
    first.acquire()
    clock.now += 10
    second.acquire()
    with pytest.raises(FencedError, match="is process"):
        first.renew()
    first.release()  # not its own any more
    second.renew()


def test_a_worker_that_beats_keeps_the_lease(tmp_path: Path, clock: Clock) -> None:
    first = lease(tmp_path, clock)
    first.acquire()
    for _ in range(5):
        clock.now += 3
        first.renew()
    with pytest.raises(CheckpointError):
        lease(tmp_path, clock).acquire()


def test_a_lease_can_be_taken_over_by_force(tmp_path: Path, clock: Clock) -> None:
    first, second = lease(tmp_path, clock), lease(tmp_path, clock)
    first.acquire()
    second.acquire(take_over=True)
    with pytest.raises(FencedError):
        first.renew()


def test_a_dead_process_of_this_machine_holds_nothing(tmp_path: Path, clock: Clock) -> None:
    program = (
        "import pathlib, sys; from streamflow._runtime.lease import Lease; Lease(pathlib.Path(sys.argv[1])).acquire()"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    os.utime(tmp_path / "lease", (clock.now, clock.now))
    lease(tmp_path, clock).acquire()


def test_a_process_number_that_was_given_again_is_another_process(tmp_path: Path, clock: Clock) -> None:
    hold(tmp_path, clock, started="1")
    lease(tmp_path, clock).acquire()


@pytest.mark.parametrize("change", [{"boot": "another machine"}, {"boot": ""}], ids=str)
def test_a_process_that_cannot_be_looked_up_holds_it_until_the_timeout(
    tmp_path: Path, clock: Clock, change: dict[str, str]
) -> None:
    hold(tmp_path, clock, pid=2**22 + 1, **change)
    with pytest.raises(CheckpointError):
        lease(tmp_path, clock).acquire()
    clock.now += 10
    lease(tmp_path, clock).acquire()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 9_999, b'{"pid": "x"}', b"\xff" * 9_999], ids=lambda c: repr(c[:9])
)
def test_a_torn_lease_is_somebodys_until_the_timeout(tmp_path: Path, clock: Clock, content: bytes) -> None:
    (tmp_path / "lease").write_bytes(content)
    os.utime(tmp_path / "lease", (clock.now, clock.now))
    with pytest.raises(CheckpointError, match="another worker works on"):
        lease(tmp_path, clock).acquire()
    clock.now += 10
    lease(tmp_path, clock).acquire()


def test_a_lease_is_not_written_through_a_symbolic_link(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "lease").symlink_to(tmp_path / "target")
    with pytest.raises(CheckpointError, match="cannot be written"):
        lease(tmp_path, clock).acquire(take_over=True)
    assert (tmp_path / "target").read_text() == "precious"


def test_a_holder_says_who_it_is() -> None:
    assert str(Holder("box", 7, "", "", "")) == "process 7 on box"
    assert not this_process().is_dead
