"""What outlives a crash: writes that are on the disk when the call returns, whole files, and the token file.

POSIX promises that a rename replaces a name at once, that ``fsync`` of a file makes its content durable, and
``fsync`` of the directory its name.  All that is written here is built of these three, in this order.

Knows nothing of what is written.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from streamflow.core.connector import Token

LOCK_TIMEOUT = 10.0
"""Seconds to wait for another process that writes the same file: far longer than it takes one to write an epoch."""


class Mark(msgspec.Struct, frozen=True):
    """What a token file says.

    Attributes:
        pipeline: Whose output it is.
        sink: Of which of its sinks.
        token: The last epoch that is there; None before the first.
        length: How many bytes of the file are committed; 0 where the output is a directory.
    """

    pipeline: str
    sink: str
    token: Token | None = None
    length: int = 0


def read_mark(path: Path) -> Mark | None:
    """Return what a token file says; None where there is none.

    Raises:
        ValueError: If it is not a token file.
        OSError: If it cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Mark)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is not a token file: {error}") from error


def write_mark(path: Path, mark: Mark) -> None:
    """Replace a token file at once and for good."""
    write_file(path, path.with_name(path.name + ".tmp"), msgspec.json.encode(mark) + b"\n")


def write_file(path: Path, temporary: Path, content: bytes) -> None:
    """Make a file appear whole, under its name, durably."""
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        write_all(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    temporary.replace(path)
    sync_directory(path.parent)


def write_all(handle: int, content: bytes) -> None:
    """Write all of it where the handle stands; the system may take it in pieces."""
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; nothing where the system has no such thing."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(path: Path) -> None:
    """Make a directory and those above it, durably, where they are not there."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


@contextmanager
def locked(path: Path, flags: int) -> Iterator[int]:
    """Open a file or directory and hold its lock; the system lets go of it when the process dies.

    Raises:
        TimeoutError: If another process holds it for ``LOCK_TIMEOUT``.
    """
    handle = os.open(path, flags, 0o666)
    try:
        if sys.platform != "win32":
            _lock(handle, path)
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    import fcntl  # POSIX only

    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another process has been writing {path} for {LOCK_TIMEOUT:g} s") from None
            time.sleep(0.01)
        else:
            return
