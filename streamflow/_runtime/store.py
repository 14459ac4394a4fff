"""Stores: where checkpoints are kept.  Flat names, whole files, and one act that only one of two workers can do.

A store needs five things of what it stands on, and an object store has them all: put, put if absent, get, list, delete.
``create``, which makes a file under a name that must be free, is the one on which the commit protocol rests.

Nothing a store returns was checked against anything but its length; names are checked, since they may come from a file.
A failed fsync ends a store for good: the kernel has dropped what it could not write, and an attempt that "succeeds"
afterwards lies.

Does not know what is in the files.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, final

from streamflow._runtime.failpoint import failpoint
from streamflow.errors import CheckpointError, DamagedError, StoreFullError

_NAME = re.compile(r"[a-z0-9][A-Za-z0-9_-]{0,199}(?:\.[A-Za-z0-9]{1,20}){0,2}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

Pieces = Sequence[bytes]
"""The content of a file, in pieces, so that a large one is never copied together."""


class Store(Protocol):
    """Where checkpoints are kept.  Blocks; called from one thread at a time, except ``MemoryStore``."""

    def list(self) -> Sequence[str]:
        """Return the names of all files, sorted."""
        ...

    def read(self, name: str, *, limit: int) -> bytes | None:
        """Return a file of at most ``limit`` bytes; None if there is none.

        Raises:
            DamagedError: If it is larger, or is no plain file; nothing is read then.
        """
        ...

    def write(self, name: str, content: Pieces) -> None:
        """Make a file under a name that was made up for it; durable on return.

        Raises:
            StoreFullError: If there is no room; nothing is left of it.
            CheckpointError: If it failed otherwise; the store refuses to write from then on.
        """
        ...

    def create(self, name: str, content: Pieces) -> bool:
        """Make a file under this name if the name is free, whole or not at all; durable on return.

        Returns:
            Whether it was made; False means that a file of that name exists, readable or not.

        Raises:
            StoreFullError: If there is no room; nothing is left of it.
            CheckpointError: If it failed otherwise: the file may exist.  The store refuses to write from then on.
        """
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, in this order; those that are not there are no matter."""
        ...

    def sync(self) -> None:
        """Make durable what this store lists: who made it may have died before that."""
        ...

    def close(self) -> None:
        """Release what is held; called once."""
        ...

    def __str__(self) -> str:
        """Say where it is, for errors."""
        ...


def require_name(name: str) -> str:
    """Return a name that is safe in every store: no separator, nothing that leads out of it.

    Raises:
        CheckpointError: If it is not.
    """
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"a file of a store has a plain name without '/', got {name[:80]!r}")
    return name


@final
class LocalStore:
    """A directory.  Made if it is not there; only its owner can read it.

    All files are opened below the directory's descriptor and never through a symbolic link.

    Args:
        directory: Where.

    Raises:
        CheckpointError: If it cannot be made or opened.
    """

    __slots__ = ("_directory", "_fd", "_lost")

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lost: str | None = None
        try:
            _make(directory)
            self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise CheckpointError(
                f"{self} cannot be opened: {error.strerror}", remedy="name a directory that this user can write"
            ) from error

    def __str__(self) -> str:
        """Say where it is."""
        return f"checkpoint directory {str(self._directory)!r}"

    def list(self) -> Sequence[str]:
        """Return the names of all files, sorted."""
        try:
            return sorted(os.listdir(self._fd))  # noqa: PTH208  a path could lead elsewhere by now
        except OSError as error:
            raise CheckpointError(f"{self} cannot be listed: {error.strerror}") from error

    def read(self, name: str, *, limit: int) -> bytes | None:
        """Return a file of at most ``limit`` bytes; None if there is none."""
        try:  # not blocking: a FIFO in the place of a file would wait for a writer
            fd = os.open(
                require_name(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedError(f"{name} cannot be opened: {error.strerror}") from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
                raise DamagedError(f"{name}: a plain file of at most {limit} bytes expected, got {status.st_size}")
            with os.fdopen(fd, "rb", buffering=0, closefd=False) as file:
                return file.read()
        except OSError as error:
            raise DamagedError(f"{name} cannot be read: {error.strerror}") from error
        finally:
            os.close(fd)

    def write(self, name: str, content: Pieces) -> None:
        """Make a file under a name that was made up for it; durable on return."""
        self._require_sound()
        try:
            self._write(require_name(name), content)
        except OSError as error:
            self._undo(name)
            raise self._failed(f"write {name}", error) from error
        self.sync()
        failpoint("store.write.durable")

    def create(self, name: str, content: Pieces) -> bool:
        """Make a file under this name if the name is free, whole or not at all; durable on return."""
        self._require_sound()
        draft = f"{require_name(name)}.{secrets.token_hex(8)}.tmp"
        try:
            self._write(draft, content)
            failpoint("store.create.written")
            is_made = self._link(draft, name)
        except OSError as error:
            self._undo(draft)
            raise self._failed(f"create {name}", error) from error
        failpoint("store.create.linked")
        self._undo(draft)
        failpoint("store.create.unlinked")
        if is_made:
            self.sync()
            failpoint("store.create.durable")
        return is_made

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, in this order; those that are not there are no matter."""
        for name in names:
            try:
                os.unlink(require_name(name), dir_fd=self._fd)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CheckpointError(f"{self}: {name} cannot be removed: {error.strerror}") from error
            failpoint("store.remove.removed")

    def sync(self) -> None:
        """Make durable what this store lists."""
        self._require_sound()
        try:
            failpoint("store.directory.sync")
            os.fsync(self._fd)
        except OSError as error:
            self._lost = f"the directory could not be made durable: {error.strerror}"
            raise self._loss() from error

    def close(self) -> None:
        """Release the directory."""
        os.close(self._fd)

    def _write(self, name: str, content: Pieces) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=self._fd)
        try:
            failpoint("store.file.opened")
            for piece in content:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(fd, rest) :]
            failpoint("store.file.written")
            self._sync_file(fd)
            failpoint("store.file.synced")
        finally:
            os.close(fd)

    def _link(self, draft: str, name: str) -> bool:
        try:
            os.link(draft, name, src_dir_fd=self._fd, dst_dir_fd=self._fd, follow_symlinks=False)
        except OSError as error:
            # Over NFS the answer to a link that was made may be lost, and asking again finds the name taken: by us.
            if os.stat(draft, dir_fd=self._fd, follow_symlinks=False).st_nlink == 2:
                return True
            if error.errno == errno.EEXIST:
                return False
            raise
        return True

    def _sync_file(self, fd: int) -> None:
        try:
            failpoint("store.file.sync")
            os.fsync(fd)
        except OSError as error:
            self._lost = f"a file could not be made durable: {error.strerror}"
            raise

    def _undo(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._fd)
        except OSError:
            return  # it was never made, or stays as a file that no manifest names: the next clean-up takes it

    def _failed(self, act: str, error: OSError) -> CheckpointError:
        if self._lost is None and error.errno in _FULL:
            return StoreFullError(
                f"{self}: no room to {act}: {error.strerror}", remedy="free space; the epoch is tried again"
            )
        self._lost = self._lost or f"could not {act}: {error.strerror}"
        return self._loss()

    def _loss(self) -> CheckpointError:
        return CheckpointError(
            f"{self}: {self._lost}; nothing more is written there by this process",
            remedy="see to the disk, then start again: the last committed epoch is whole",
        )

    def _require_sound(self) -> None:
        if self._lost is not None:
            raise self._loss()


def _make(directory: Path) -> None:
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)  # else a power cut takes the directory, and all that was fsynced in it
        finally:
            os.close(fd)


@final
class MemoryStore:
    """Files in memory, for a pipeline without a checkpoint directory.  May be shared by several workers.

    Keeps to the same rules as a directory: what is made is visible at once and durable only once it is synced.
    ``crash`` is the power cut.
    """

    __slots__ = ("_durable", "_files", "_lock")

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._durable: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """Say where it is."""
        return "checkpoint in memory"

    def list(self) -> Sequence[str]:
        """Return the names of all files, sorted."""
        with self._lock:
            return sorted(self._files)

    def read(self, name: str, *, limit: int) -> bytes | None:
        """Return a file of at most ``limit`` bytes; None if there is none."""
        data = self._files.get(require_name(name))
        if data is not None and len(data) > limit:
            raise DamagedError(f"{name}: a file of at most {limit} bytes expected, got {len(data)} bytes")
        return data

    def write(self, name: str, content: Pieces) -> None:
        """Make a file under a name that was made up for it; durable on return."""
        self.create(name, content)

    def create(self, name: str, content: Pieces) -> bool:
        """Make a file under this name if the name is free; durable on return."""
        data = b"".join(content)
        with self._lock:
            if require_name(name) in self._files:
                return False
            self._files[name] = data
        failpoint("store.memory.made")
        self.sync()
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, in this order; those that are not there are no matter."""
        for name in names:
            with self._lock:
                self._files.pop(require_name(name), None)

    def sync(self) -> None:
        """Make durable what this store lists."""
        with self._lock:
            self._durable = dict(self._files)

    def close(self) -> None:
        """Keep everything: another worker may go on with it."""

    def crash(self, *, keep: Iterable[str] = ()) -> None:
        """Fall back to what is durable, and what else had reached the disk: files of these names, made or removed."""
        with self._lock:
            reached = {name: self._files.get(name) for name in keep}
            kept = {**self._durable, **reached}
            self._durable = {name: data for name, data in kept.items() if data is not None}
            self._files = dict(self._durable)
