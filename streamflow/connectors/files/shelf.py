"""The files of a source and how far each has been read, as one split each or as one split in order.

Knows how files become chunks; does not know which files there are, nor when to look for more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, final

import anyio.to_thread

from streamflow.connectors.files.opened import Opener, OpenFile, Position
from streamflow.core.connector import Chunk, ReadEvent, SplitFinished, SplitOpened
from streamflow.core.splits import ONLY, require_known
from streamflow.errors import SourceError

_MOST_OPEN = 32
"""How many files are open at once, with a block of each in memory.  Others are opened again where they were."""


class Shelf(Protocol):
    """The files of a source that are being read."""

    @property
    def is_exhausted(self) -> bool:
        """Whether all files it knows have been read."""
        ...

    def add(self, files: Mapping[str, Path]) -> list[SplitOpened]:
        """Know more files, and return the splits that are new."""
        ...

    async def read(self, limit: int, wanted: Sequence[str]) -> list[ReadEvent]:
        """Return what can be read of the splits wanted, or nothing; the first of them that is not over is read."""
        ...

    def close(self) -> None:
        """Close all files."""
        ...


@final
class _FilesAsSplits:
    """Each file is a split, named like the file."""

    def __init__(self, opener: Opener, positions: Mapping[str, Any]) -> None:
        self._opener = opener
        self._paths: dict[str, Path] = {}
        self._positions = {name: _checked(opener, position) for name, position in positions.items()}
        self._over = [name for name, position in self._positions.items() if "done" in position]
        self._open: OrderedDict[str, OpenFile] = OrderedDict()

    @property
    def is_exhausted(self) -> bool:
        return not self._paths and not self._over

    def add(self, files: Mapping[str, Path]) -> list[SplitOpened]:
        _require_text(self._opener, files)
        opened = []
        for name, path in files.items():
            position = self._positions.setdefault(name, {"row": 0})
            if "done" not in position:
                self._paths[name] = path
            opened.append(SplitOpened(name, position))
        return opened

    async def read(self, limit: int, wanted: Sequence[str]) -> list[ReadEvent]:
        if self._over:  # the checkpoint has their last rows, and may not have heard that they were the last
            over, self._over = self._over, []
            return [SplitFinished(name) for name in over]
        for name in wanted:
            if name in self._paths:
                return await self._read_file(name, limit)
        return []

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()

    async def _read_file(self, name: str, limit: int) -> list[ReadEvent]:
        file = self._get(name)
        if not file.is_ready:
            await anyio.to_thread.run_sync(file.load)
        start, data = file.row, file.take(limit)
        position = self._positions[name] = file.position()
        events: list[ReadEvent] = [Chunk(name, data, start, position)] if file.row > start else []
        if file.is_at_end:
            events.append(SplitFinished(name))
            del self._paths[name], self._open[name]
            file.close()
        return events

    def _get(self, name: str) -> OpenFile:
        if (file := self._open.get(name)) is None:
            file = self._open[name] = self._opener.open(self._paths[name], self._positions[name])
            if len(self._open) > _MOST_OPEN:
                _, oldest = self._open.popitem(last=False)
                oldest.close()
        self._open.move_to_end(name)
        return file


@final
class _FilesInOrder:
    """All files are one split, one after the other."""

    def __init__(self, opener: Opener, positions: Mapping[str, Any]) -> None:
        require_known(opener.source, positions, {ONLY})
        self._opener = opener
        self._position = _checked(opener, positions.get(ONLY, {"row": 0}))
        self._waiting: dict[str, Path] = {}
        self._name: str | None = None  #: the file that is being read, or was read last
        self._file: OpenFile | None = None
        self._is_known = False  #: the first files have been added

    @property
    def is_exhausted(self) -> bool:
        return self._file is None and not self._waiting

    def add(self, files: Mapping[str, Path]) -> list[SplitOpened]:
        _require_text(self._opener, files)
        if not self._is_known:
            self._is_known = True
            self._waiting = self._behind_position(files)
            return [SplitOpened(ONLY, self._position)]
        if self._name is not None and (early := [name for name in files if name < self._name]):
            raise self._opener.error(
                files[early[0]],
                f"has appeared, and sorts before {self._name!r}, which is being read or has been",
                "with sequence=True name files in the order of their rows, or read each as a split of its own",
            )
        self._waiting = dict(sorted({**self._waiting, **files}.items()))
        return []

    async def read(self, limit: int, wanted: Sequence[str]) -> list[ReadEvent]:
        while not self.is_exhausted and ONLY in wanted:
            if self._file is None:
                self._file = self._next()
            file = self._file
            if not file.is_ready:
                await anyio.to_thread.run_sync(file.load)
            start, data = file.row, file.take(limit)
            if file.is_at_end:
                self._file = None
                file.close()
            if rows := file.row - start:
                first = self._position["row"]
                self._position = {"row": first + rows, "file": self._name, "at": file.position()}
                return [Chunk(ONLY, data, first, self._position)]
        return []

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _next(self) -> OpenFile:
        self._name = next(iter(self._waiting))
        is_begun = self._name == self._position.get("file")
        return self._opener.open(self._waiting.pop(self._name), self._position["at"] if is_begun else {"row": 0})

    def _behind_position(self, files: Mapping[str, Path]) -> dict[str, Path]:
        """Return the files that have not been read, in order."""
        name, names = self._position.get("file"), list(files)
        if name is None:
            return dict(files)
        is_done = "done" in self._position["at"]
        if name in files:
            rest = names[names.index(name) + is_done :]
        elif is_done and names == sorted(names):  # moved away since
            rest = [other for other in names if other > name]
        else:
            raise SourceError(
                self._opener.source, f"the checkpoint goes on in file {name!r}, which it does not have", remedy=_REMEDY
            )
        self._name = name
        return {other: files[other] for other in rest}


def shelf_of(opener: Opener, positions: Mapping[str, Any], *, sequence: bool) -> Shelf:
    """Return the shelf of a source whose files are splits, or with ``sequence`` one split; it knows no file yet.

    Raises:
        SourceError: If the positions are those of another source.
    """
    return _FilesInOrder(opener, positions) if sequence else _FilesAsSplits(opener, positions)


def _require_text(opener: Opener, files: Mapping[str, Path]) -> None:
    """Require names that a checkpoint can hold."""
    for name, path in files.items():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise opener.error(path, "has a name that is not UTF-8", "rename it, or leave it out") from error


def _checked(opener: Opener, position: Any) -> Position:
    """Return a position as it was saved.

    Raises:
        SourceError: If it is not one of a file.
    """
    match position:
        case {"row": int() as row, "file": str(), "at": {"row": int()}} | {"row": int() as row} if row >= 0:
            return dict(position)
    raise SourceError(opener.source, f"expected the position of a file, got {position!r}", remedy=_REMEDY)


_REMEDY = "restore the checkpoint with the source it was taken with, or start afresh with --new-generation"
