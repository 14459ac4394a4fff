"""Where the bytes of epochs go: the end of a file of lines, or a file each in a directory; and what of it is committed.

The promise: what the token covers is there, whole and once.  What is beyond it is the rest of an epoch that was cut
short; it is removed when the sink is opened, or replaced by the same epoch whole.  Readers who want only what is
committed look at what the token covers: ``committed_lines`` and ``committed_parts``.

Knows no format and no rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, final

from streamflow.connectors.file_sink.durable import (
    Mark,
    locked,
    make_directory,
    read_mark,
    sync_directory,
    write_all,
    write_file,
)
from streamflow.core.connector import Token


class Storage(Protocol):
    """One of the two; all methods but ``mark_path`` and ``locked`` are called with the lock held."""

    @property
    def mark_path(self) -> Path:
        """Where the token file is."""
        ...

    def locked(self) -> AbstractContextManager[int]:
        """Hold the lock; the handle is of the file or directory."""
        ...

    def is_empty(self) -> bool:
        """Whether nothing is there."""
        ...

    def clear(self) -> None:
        """Remove the output that is there.

        Raises:
            ValueError: If there are other things too.
        """
        ...

    def tidy(self, mark: Mark) -> None:
        """Remove what the token does not cover.

        Raises:
            ValueError: If something that it covers is missing.
        """
        ...

    def append(self, pieces: Sequence[bytes], mark: Mark, token: Token) -> int:
        """Write an epoch, durably, behind what the mark covers; return how long the file is then."""
        ...

    def add(self, pieces: Sequence[bytes]) -> None:
        """Write some more, where there is no token."""
        ...

    def sample(self) -> Path | None:
        """Return a file that shows the fields, if there is one."""
        ...


@final
class LineFile:
    """One file that grows; its token file is beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.mark_path = path.with_name(path.name + ".token")

    def locked(self) -> AbstractContextManager[int]:
        """Hold the lock of the file, which is made if it is not there."""
        make_directory(self._path.parent)
        return locked(self._path, os.O_RDWR | os.O_CREAT)

    def is_empty(self) -> bool:
        """Whether the file has no content."""
        return self._path.stat().st_size == 0

    def clear(self) -> None:
        """Make the file empty."""
        os.truncate(self._path, 0)

    def tidy(self, mark: Mark) -> None:
        """Cut off what is beyond the committed length."""
        size = self._path.stat().st_size
        if size < mark.length:
            raise ValueError(f"{self._path} has {size:,} bytes, and {mark.length:,} were committed")
        if size > mark.length:
            os.truncate(self._path, mark.length)

    def append(self, pieces: Sequence[bytes], mark: Mark, token: Token) -> int:
        """Write behind the committed length."""
        del token
        self.tidy(mark)
        self._write(pieces, durably=True)
        if mark.length == 0:
            sync_directory(self._path.parent)  # its name is durable before a token says that it is there
        return mark.length + sum(map(len, pieces))

    def add(self, pieces: Sequence[bytes]) -> None:
        """Write at the end."""
        self._write(pieces, durably=False)

    def _write(self, pieces: Sequence[bytes], *, durably: bool) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            for piece in pieces:
                write_all(handle, piece)
            if durably:
                os.fsync(handle)
        finally:
            os.close(handle)

    def sample(self) -> Path | None:
        """Return the file, if it has content."""
        return None if self.is_empty() else self._path


@final
class PartDirectory:
    """A directory of files ``part-<generation>-<epoch>-<chunk>``, one an epoch; the token file is among them.

    Their names sort in the order of the epochs.  Readers may move files that the token covers.
    """

    def __init__(self, path: Path, suffix: str) -> None:
        self._path, self._suffix = path, suffix
        self._added = 0
        self.mark_path = path / "_streamflow.token"

    def locked(self) -> AbstractContextManager[int]:
        """Hold the lock of the directory, which is made if it is not there."""
        make_directory(self._path)
        return locked(self._path, os.O_RDONLY)

    def is_empty(self) -> bool:
        """Whether nothing is in the directory but what a first write left unfinished."""
        return all(_TEMPORARY.fullmatch(p.name) for p in self._path.iterdir())

    def clear(self) -> None:
        """Remove all parts; what else there may be stays, and is refused."""
        others = sorted(p.name for p in self._path.iterdir() if _number(p) is None)
        if others:
            raise ValueError(f"{self._path} holds what is not output of streamflow: {', '.join(others[:3])}")
        self._remove(list(self._path.iterdir()))

    def tidy(self, mark: Mark) -> None:
        """Remove the parts that the token does not cover."""
        self._remove([p for p in self._path.iterdir() if not _is_covered(p, mark.token)])

    def _remove(self, paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink()
        if paths:
            sync_directory(self._path)

    def append(self, pieces: Sequence[bytes], mark: Mark, token: Token) -> int:
        """Write the part of the epoch; the directory is not looked through, since it may hold very many."""
        del mark
        for piece in pieces:
            self._write(piece, (token.generation, token.epoch, token.chunk))
        return 0

    def add(self, pieces: Sequence[bytes]) -> None:
        """Write one more part, of generation 0."""
        for piece in pieces:
            self._added += 1
            self._write(piece, (0, self._added, 0))

    def _write(self, content: bytes, number: tuple[int, int, int]) -> None:
        name = f"part-{number[0]:04d}-{number[1]:09d}-{number[2]:04d}.{self._suffix}"
        write_file(self._path / name, self._path / f".{name}.tmp", content)

    def sample(self) -> Path | None:
        """Return the last part, if there is one."""
        return max((p for p in self._path.iterdir() if _PART.fullmatch(p.name)), key=_order, default=None)


_PART = re.compile(r"part-(\d+)-(\d+)-(\d+)\.(?:parquet|ipc)")
_TEMPORARY = re.compile(r"\.part-.*\.tmp|_streamflow\.token\.tmp")


def _number(path: Path) -> tuple[int, int, int] | None:
    """Return the generation, epoch and chunk of a part, larger than any of an unfinished one; None for other files."""
    if _TEMPORARY.fullmatch(path.name):
        return _UNFINISHED
    if (match := _PART.fullmatch(path.name)) is None:
        return None
    generation, epoch, chunk = map(int, match.groups())
    return generation, epoch, chunk


_UNFINISHED = (1 << 62, 0, 0)


def _order(path: Path) -> tuple[int, int, int]:
    return _number(path) or (0, 0, 0)


def _is_covered(path: Path, token: Token | None) -> bool:
    """Whether a file is committed; files that are not parts are not ours to judge."""
    number = _number(path)
    return number is None or (token is not None and number <= (token.generation, token.epoch, token.chunk))


def committed_lines(path: str | os.PathLike[str]) -> bytes:
    """Return the committed lines of a ``FileSink``'s file; nothing where none is committed.

    Raises:
        ValueError: If its token file is damaged.
    """
    file = LineFile(Path(path))
    mark = read_mark(file.mark_path)
    if mark is None or not mark.length:
        return b""
    with Path(path).open("rb") as opened:
        return opened.read(mark.length)


def committed_parts(path: str | os.PathLike[str]) -> list[Path]:
    """Return the committed files of a ``FileSink``'s directory, oldest first.

    Raises:
        ValueError: If its token file is damaged.
    """
    directory = Path(path)
    mark = read_mark(PartDirectory(directory, "").mark_path)
    if mark is None:
        return []
    parts = [p for p in directory.iterdir() if _PART.fullmatch(p.name) and _is_covered(p, mark.token)]
    return sorted(parts, key=_order)
