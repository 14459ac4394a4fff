"""``DirectorySource``: a folder into which files are moved, one after the other, without end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, final

import anyio.to_thread

from streamflow.connectors.files.kinds import Kind, kind_of
from streamflow.connectors.files.opened import Opener, reason_of
from streamflow.connectors.files.shelf import Shelf, shelf_of
from streamflow.connectors.files.source import MAX_LINE_BYTES, PAUSE_SECONDS, PathLike
from streamflow.core.connector import Format, ReadEvent, Replay, SplitIdle, SplitOpened
from streamflow.core.splits import ONLY
from streamflow.core.timestamp import Duration, duration
from streamflow.errors import DefinitionError, SourceError


@final
@dataclass(frozen=True, slots=True)
class DirectorySource:
    """The rows of the files in a folder, and of those that will come.

    It is unbounded.  A file must be complete when it appears: write it under a name that begins with ``.`` or ``_`` or
    ends with ``.tmp``, which is not looked at, and rename it.  Files that appear together are taken up by name.  Each
    is a split that is finished when it is read, and then holds no watermark back.  Files that have been read may be
    deleted; checkpoints keep their names.

    Args:
        path: The folder; folders in it are not looked into.
        pattern: What the names of files look like: ``"*.jsonl"``.
        format: How lines are decoded, where the pattern's suffix does not say.
        poll: How often to look for new files.
        sequence: Make all files one split, read by name one after the other: each new file's name must sort behind
            those before it.
        max_line_bytes: The longest line.

    Raises:
        DefinitionError: If the pattern does not say the format and none is given.
    """

    path: PathLike
    pattern: str = "*"
    format: Format | None = None
    poll: Duration = field(default="1s", kw_only=True)
    sequence: bool = field(default=False, kw_only=True)
    max_line_bytes: int = field(default=MAX_LINE_BYTES, kw_only=True)
    _kind: Kind = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        duration(self.poll, "poll", minimum=1)
        if self.max_line_bytes < 1:
            raise DefinitionError(f"max_line_bytes must be one or more, got {self.max_line_bytes!r}")
        kind, format = kind_of([self.pattern], self.format)
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "format", format)

    @property
    def replay(self) -> Replay:
        """Replayable: files stay until they have been read."""
        return Replay.REPLAYABLE

    @property
    def is_bounded(self) -> bool:
        """No: more files may come."""
        return False

    def reader(self) -> _Reader:
        """Return a reader; the folder is not touched before it is opened."""
        return _Reader(self, Opener(str(self), self._kind, self.format, self.max_line_bytes))

    def look(self) -> dict[str, Path]:
        """Return the files that are there, by name and in its order; touches the disk.

        Raises:
            SourceError: If the folder cannot be listed.
        """
        folder = Path(self.path)
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if self._is_ours(entry.name) and entry.is_file())
        except FileNotFoundError as error:
            raise SourceError(str(self), f"folder {str(folder)!r} does not exist", remedy="make it first") from error
        except NotADirectoryError as error:
            raise SourceError(
                str(self), f"{str(folder)!r} is no folder", remedy="read a file with FileSource"
            ) from error
        except OSError as error:
            what, remedy = reason_of(error)
            raise SourceError(str(self), f"folder {str(folder)!r} {what}", remedy=remedy) from error
        return {name: folder / name for name in names}

    def _is_ours(self, name: str) -> bool:
        return not name.startswith((".", "_")) and not name.endswith(".tmp") and fnmatchcase(name, self.pattern)

    def __str__(self) -> str:
        return str(Path(self.path) / self.pattern)


@final
class _Reader:
    def __init__(self, source: DirectorySource, opener: Opener) -> None:
        self._source, self._opener = source, opener
        self._poll_seconds = duration(source.poll) / 1_000_000
        self._next_look = 0.0
        self._known: set[str] = set()
        self._shelf: Shelf | None = None
        self._is_idle = False

    async def open(self, positions: Mapping[str, Any]) -> Sequence[SplitOpened]:
        files = await self._look()
        self._shelf = shelf_of(self._opener, positions, sequence=self._source.sequence)
        if not self._source.sequence:
            files = {**{name: Path(self._source.path) / name for name in positions}, **files}
        self._known = set(files)
        return self._shelf.add(files)

    async def read(self, limit: int, wanted: Sequence[str]) -> Sequence[ReadEvent]:
        assert self._shelf is not None, "read before open"
        if opened := await self._find_more(self._shelf):
            return opened
        if events := await self._shelf.read(limit, wanted):
            self._is_idle = False
            return events
        if not self._shelf.is_exhausted:  # what is left is not wanted yet: ask again soon
            await asyncio.sleep(PAUSE_SECONDS)
        elif self._source.sequence and not self._is_idle:
            self._is_idle = True
            return [SplitIdle(ONLY)]
        else:
            await asyncio.sleep(max(0.0, self._next_look - asyncio.get_running_loop().time()))
        return ()

    async def close(self) -> None:
        if self._shelf is not None:
            self._shelf.close()

    async def _find_more(self, shelf: Shelf) -> list[SplitOpened]:
        """Look for new files if it is time, and return the splits they are."""
        if asyncio.get_running_loop().time() < self._next_look:
            return []
        files = await self._look()
        new = {name: path for name, path in files.items() if name not in self._known}
        self._known |= new.keys()
        return shelf.add(new) if new else []

    async def _look(self) -> dict[str, Path]:
        files = await anyio.to_thread.run_sync(self._source.look)
        self._next_look = asyncio.get_running_loop().time() + self._poll_seconds
        return files
