"""``FileSource``: a given set of files, read once to their end."""

from __future__ import annotations

import asyncio
import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import anyio.to_thread

from streamflow.connectors.files.kinds import Kind, kind_of
from streamflow.connectors.files.opened import Opener
from streamflow.connectors.files.shelf import Shelf, shelf_of
from streamflow.core.connector import Format, ReadEvent, Replay, SourceFinished, SplitFinished, SplitOpened
from streamflow.core.splits import ONLY
from streamflow.errors import DefinitionError, SourceError

PathLike = str | os.PathLike[str]
MAX_LINE_BYTES = 16 << 20


@final
@dataclass(frozen=True, slots=True)
class FileSource:
    """The rows of files: lines of any format, parquet, or Arrow IPC.

    Which files a pattern names is found out once, when the source is opened, and then it is bounded.  Each file is a
    split, so files are read side by side, the one furthest behind first, and after a crash each from where it was; they
    must not change.  A last line without a newline counts.

    Args:
        path: A file, a list of files, or a pattern such as ``"logs/*.jsonl"`` or ``"logs/**/*.parquet"``.
        format: How lines are decoded; ``.jsonl`` (dicts) and ``.txt`` need none, ``.parquet`` and ``.arrow`` take none.
        sequence: Make all files one split, read one after the other, in the order given or by name: for files that
            continue each other, whose rows are in order of time from each to the next.
        max_line_bytes: The longest line; what bounds the memory of a file that has no lines at all.

    Raises:
        DefinitionError: If there is no path, or the names do not say the format and none is given.

    Lines are read 1 MiB at a time in a thread, parquet and Arrow about 32 MiB at a time.
    """

    path: PathLike | Sequence[PathLike]
    format: Format | None = None
    sequence: bool = field(default=False, kw_only=True)
    max_line_bytes: int = field(default=MAX_LINE_BYTES, kw_only=True)
    _kind: Kind = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.max_line_bytes < 1:
            raise DefinitionError(f"max_line_bytes must be one or more, got {self.max_line_bytes!r}")
        kind, format = kind_of(self._patterns(), self.format)
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "format", format)

    @property
    def replay(self) -> Replay:
        """Replayable: files stay where they are."""
        return Replay.REPLAYABLE

    @property
    def is_bounded(self) -> bool:
        """Yes: it ends with its last file."""
        return True

    def reader(self) -> _Reader:
        """Return a reader; no file is touched before it is opened."""
        return _Reader(self, Opener(str(self), self._kind, self.format, self.max_line_bytes))

    def resolve(self) -> dict[str, Path]:
        """Return the files by name, patterns by what they match; touches the disk.

        Raises:
            SourceError: If a pattern matches nothing, or a file is named twice.
        """
        names: list[str] = []
        for pattern in self._patterns():
            found = [pattern]
            if glob.has_magic(pattern) and not os.path.lexists(pattern):
                found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - of one Path there is no pattern
            if not found:
                raise SourceError(
                    str(self), f"no file matches {pattern!r}", remedy=f"it is looked for from {Path.cwd()}"
                )
            names += found
        if len(set(names)) < len(names):
            raise SourceError(str(self), "a file is named twice", remedy="name each once")
        return {name: Path(name) for name in names}

    def _patterns(self) -> list[str]:
        paths = [self.path] if isinstance(self.path, str | os.PathLike) else list(self.path)
        if not paths or not all(isinstance(path, str | os.PathLike) for path in paths):
            raise DefinitionError(f"expected a path or a list of paths, got {self.path!r}")
        return [os.fspath(path) for path in paths]

    def __str__(self) -> str:
        patterns = self._patterns()
        return patterns[0] if len(patterns) == 1 else f"{len(patterns)} files from {patterns[0]}"


@final
class _Reader:
    def __init__(self, source: FileSource, opener: Opener) -> None:
        self._source, self._opener = source, opener
        self._shelf: Shelf | None = None

    async def open(self, positions: Mapping[str, Any]) -> Sequence[SplitOpened]:
        files = await anyio.to_thread.run_sync(self._source.resolve)
        self._shelf = shelf_of(self._opener, positions, sequence=self._source.sequence)
        if not self._source.sequence:
            files = {**{name: Path(name) for name in positions}, **files}
        return self._shelf.add(files)

    async def read(self, limit: int, wanted: Sequence[str]) -> Sequence[ReadEvent]:
        assert self._shelf is not None, "read before open"
        events = await self._shelf.read(limit, wanted)
        if self._shelf.is_exhausted:
            return [*events, *([SplitFinished(ONLY)] if self._source.sequence else []), SourceFinished()]
        if not events:
            await asyncio.sleep(PAUSE_SECONDS)
        return events

    async def close(self) -> None:
        if self._shelf is not None:
            self._shelf.close()


PAUSE_SECONDS = 0.005
"""How long to wait when nothing wanted can be read, before asking what is wanted now."""
