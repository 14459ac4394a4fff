"""The lease: a heartbeat file beside the checkpoints, so that a second worker started by mistake says so and goes.

A courtesy and not the fence.  Two workers that both believe to hold it do no harm: the manifests decide.  So a clock
that jumps, a file that is torn or two starts at the same instant cost a wrong refusal, or a take-over, at the worst.

A holder of the same machine that is dead (no process of that number and start time) is replaced at once; one that
cannot be looked up, and one that lives but does not beat, after the timeout.

Does not know manifests.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import final

import msgspec

from streamflow.errors import CheckpointError, FencedError

LEASE_TIMEOUT = 10.0
"""Seconds without a heartbeat after which a lease may be taken; beat three times as often."""

_FILE = "lease"
_PROC = Path("/proc")
_MAX_SIZE = 4096


@final
class Holder(msgspec.Struct, frozen=True):
    """A process, named so that another one can tell whether it still runs.

    Attributes:
        host: The machine, for people.
        pid: Its number.
        started: When the kernel started it, in clock ticks since boot; empty where the kernel does not say.
        boot: Which boot of which machine, and whose process numbers (containers have their own); empty likewise.
        nonce: Made up, so that two leases of one process differ.
    """

    host: str
    pid: int
    started: str
    boot: str
    nonce: str

    def __str__(self) -> str:
        """Say who it is."""
        return f"process {self.pid} on {self.host}"

    @property
    def is_dead(self) -> bool:
        """Whether it certainly runs no more; False where that cannot be known from here."""
        return bool(self.boot) and self.boot == _boot() and _started(self.pid) != self.started


def this_process() -> Holder:
    """Return this process as a holder."""
    pid = os.getpid()
    return Holder(socket.gethostname(), pid, _started(pid), _boot(), secrets.token_hex(8))


def _boot() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        status = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    state, *fields = status.rpartition(")")[2].split()  # the name of a program may hold spaces and brackets
    return "" if state in "ZX" else fields[18]


@final
class Lease:
    """The right, by courtesy, to work on a checkpoint directory.  Its methods block for a call to the file system.

    Args:
        directory: The directory of the checkpoints; it exists.
        timeout: Seconds without a heartbeat after which the lease may be taken.
        now: The wall clock, in seconds.
    """

    __slots__ = ("_file", "_holder", "_now", "_timeout")

    def __init__(
        self, directory: Path, *, timeout: float = LEASE_TIMEOUT, now: Callable[[], float] = time.time
    ) -> None:
        self._file = directory / _FILE
        self._timeout = timeout
        self._now = now
        self._holder: Holder | None = None

    def acquire(self, *, take_over: bool = False) -> None:
        """Take the lease.

        Args:
            take_over: Take it whoever holds it.

        Raises:
            CheckpointError: If another worker holds it.
        """
        held_for = self._age()
        holder = self._read()
        if held_for is not None and held_for < self._timeout and not take_over and not (holder and holder.is_dead):
            raise CheckpointError(
                f"{holder or 'another worker'} works on {str(self._file.parent)!r}: its last sign of life is"
                f" {max(held_for, 0.0):.1f} s old",
                remedy=f"stop it, wait {self._timeout:g} s with --standby, or pass --take-over to fence it off now",
            )
        self._holder = this_process()
        self._write(msgspec.json.encode(self._holder))

    def renew(self) -> None:
        """Show that this worker lives.

        Raises:
            FencedError: If another worker has taken the lease.
        """
        if self._holder is None or self._read() != self._holder:
            raise FencedError(f"the lease on {str(self._file.parent)!r} is {self._read() or 'nobody'}'s now")
        now = self._now()
        os.utime(self._file, (now, now), follow_symlinks=False)

    def release(self) -> None:
        """Give the lease back, if it is still this worker's, so that the next one need not wait."""
        if self._holder is not None and self._read() == self._holder:
            self._file.unlink(missing_ok=True)
        self._holder = None

    def _age(self) -> float | None:
        try:
            return self._now() - self._file.lstat().st_mtime
        except FileNotFoundError:
            return None

    def _read(self) -> Holder | None:
        try:
            fd = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return msgspec.json.decode(os.read(fd, _MAX_SIZE), type=Holder)
        except (msgspec.MsgspecError, OSError, ValueError, RecursionError):
            return None  # torn, or not ours: then its age alone decides
        finally:
            os.close(fd)

    def _write(self, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(self._file, flags, 0o600), "wb") as file:
                file.write(content)
            now = self._now()
            os.utime(self._file, (now, now), follow_symlinks=False)
        except OSError as error:
            raise CheckpointError(f"the lease {str(self._file)!r} cannot be written: {error.strerror}") from error
