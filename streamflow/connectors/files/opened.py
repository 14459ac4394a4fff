"""One file that is being read: blocks of it in memory, and the position behind what has been taken.

``load`` blocks and is called in a thread; ``take`` does not.  Knows nothing of splits.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, final

import polars as pl

from streamflow.connectors.files.kinds import Kind
from streamflow.core.connector import Format, Lines
from streamflow.core.formats import header_of
from streamflow.core.lines import LineBuffer
from streamflow.errors import DataError, SourceError

BLOCK_BYTES = 1 << 20
"""How much of a file of lines is read at once: about 0.3 ms from the page cache, and a few ms of decoding."""
_FIRST_BLOCK_ROWS = 1 << 16
_MOST_BLOCK_ROWS = 1 << 20
_BLOCK_FRAME_BYTES = 32 << 20
"""How much of a file of columns is read at once, by what its first block weighs: each read costs some 10 ms."""

Position = dict[str, Any]


class OpenFile(Protocol):
    """A file that is being read."""

    row: int
    """The next row to be taken."""

    @property
    def is_ready(self) -> bool:
        """Whether ``take`` has something, or the file is at its end."""
        ...

    @property
    def is_at_end(self) -> bool:
        """Whether all has been taken."""
        ...

    def load(self) -> None:
        """Read on until ``is_ready``; blocks."""
        ...

    def take(self, limit: int) -> Lines | pl.DataFrame:
        """Return the next rows, at most ``limit``."""
        ...

    def position(self) -> Position:
        """Return where to go on."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Opener:
    """Opens files for a source.

    Attributes:
        source: The source as its errors name it.
        kind: How its files are read.
        format: Of their lines.
        max_line_bytes: The longest line.
        columns: The columns of the files opened so far: all must have the same.
    """

    source: str
    kind: Kind
    format: Format | None
    max_line_bytes: int
    columns: dict[str, pl.DataType] = field(default_factory=dict)

    def open(self, path: Path, position: Mapping[str, Any]) -> OpenFile:
        """Return a file, to be read from a position on; does no I/O."""
        if self.kind is Kind.LINES:
            return _LineFile(self, path, int(position.get("row", 0)), int(position.get("offset", 0)))
        return _FrameFile(self, path, int(position.get("row", 0)))

    def error(self, path: Path, reason: str, remedy: str | None = None) -> SourceError:
        """Return an error of one of its files."""
        return SourceError(self.source, f"file {str(path)!r} {reason}", remedy=remedy)


@final
class _LineFile:
    """A file of lines; its position is the offset of the first byte that has not been taken."""

    def __init__(self, opener: Opener, path: Path, row: int, offset: int) -> None:
        self.row = row
        self._opener, self._path = opener, path
        self._offset, self._read_to = offset, offset
        self._file: FileIO | None = None
        self._buffer = LineBuffer(opener.max_line_bytes)
        self._is_whole = False  #: the end of the file has been read

    @property
    def is_ready(self) -> bool:
        return self._is_whole or len(self._buffer) > 0

    @property
    def is_at_end(self) -> bool:
        return self._is_whole and not len(self._buffer)

    def load(self) -> None:
        try:
            if self._file is None:
                self._file = self._open()
            while not self.is_ready:
                self._read_block(self._file)
        except OSError as error:
            raise self._opener.error(self._path, *reason_of(error)) from error
        except DataError as error:
            raise self._opener.error(self._path, f"is not made of lines: {error}", error.remedy) from error

    def take(self, limit: int) -> Lines:
        self.row += min(limit, len(self._buffer))
        blob = self._buffer.take(limit)
        self._offset += len(blob)
        return Lines(blob)

    def position(self) -> Position:
        if self.is_at_end:
            return {"row": self.row, "done": True}
        return {"row": self.row, "offset": self._offset}

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> FileIO:
        if not stat.S_ISREG(self._path.stat().st_mode):  # before it is opened: to open a pipe waits for its other end
            raise self._opener.error(
                self._path,
                "is not a regular file",
                "read a folder with DirectorySource, standard input with StdinSource",
            )
        file = self._path.open("rb", buffering=0)
        if self._offset:
            file.seek(self._offset - 1)
            if file.read(1) != b"\n":
                file.close()
                raise self._opener.error(
                    self._path,
                    f"has no line that begins at byte {self._offset}, where the checkpoint goes on",
                    _CHANGED,
                )
        return file

    def _read_block(self, file: FileIO) -> None:
        data = file.read(BLOCK_BYTES)
        self._read_to += len(data)
        self._buffer.feed(data)
        if not data or self._read_to >= os.fstat(file.fileno()).st_size > 0:
            self._buffer.finish()
            self._is_whole = True
        if self._offset == 0 and len(self._buffer):
            self._take_header()

    def _take_header(self) -> None:
        if (declared := header_of(self._opener.format)) is not None:
            header = self._buffer.take(1)
            if (problem := declared.header_problem(header.removesuffix(b"\n"))) is not None:
                raise self._opener.error(self._path, f"does not begin as declared: {problem}", _HEADER_REMEDY)
            self._offset += len(header)


_CHANGED = "a file must not change once it is read: put it back, or start afresh with --new-generation"
_HEADER_REMEDY = "give the format names in the order of the file, or header=False if it has no header"


@final
class _FrameFile:
    """A file of columns; its position is the number of rows taken."""

    def __init__(self, opener: Opener, path: Path, row: int) -> None:
        self.row = row
        self._opener, self._path = opener, path
        self._scan: pl.LazyFrame | None = None
        self._total = 0
        self._block, self._begin = pl.DataFrame(), row  #: some rows, and the row at which they begin
        self._block_rows = _FIRST_BLOCK_ROWS

    @property
    def is_ready(self) -> bool:
        return self._scan is not None and (self.row < self._begin + self._block.height or self.is_at_end)

    @property
    def is_at_end(self) -> bool:
        return self._scan is not None and self.row >= self._total

    def load(self) -> None:
        try:
            if self._scan is None:
                self._scan = self._open()
            if not self.is_ready:
                self._block, self._begin = self._read_block(self._scan), self.row
        except (FileNotFoundError, PermissionError) as error:
            raise self._opener.error(self._path, *reason_of(error)) from error
        except (
            OSError,
            pl.exceptions.PolarsError,
            pl.exceptions.PanicException,
        ) as error:  # EINVAL, if it is too short
            kind = self._opener.kind.value
            raise self._opener.error(
                self._path,
                f"cannot be read as {kind}: {str(error).partition(chr(10))[0]}",
                f"write it again as {kind}, under a name that says so",
            ) from error

    def take(self, limit: int) -> pl.DataFrame:
        frame = self._block.slice(self.row - self._begin, limit)
        self.row += frame.height
        return frame

    def position(self) -> Position:
        return {"row": self.row, "done": True} if self.is_at_end else {"row": self.row}

    def close(self) -> None:
        self._block = pl.DataFrame()

    def _open(self) -> pl.LazyFrame:
        if self._path.stat().st_size == 0:
            raise pl.exceptions.ComputeError("it is empty")
        if self._opener.kind is Kind.PARQUET:
            scan = pl.scan_parquet(self._path, glob=False, hive_partitioning=False)
        else:
            scan = pl.scan_ipc(self._path, glob=False, hive_partitioning=False)
        self._require_columns(scan.collect_schema())
        self._total = scan.select(pl.len()).collect(engine="in-memory").item()
        if self.row > self._total:
            raise self._opener.error(
                self._path,
                f"has {self._total} rows, and the checkpoint goes on at row {self.row}",
                _CHANGED,
            )
        return scan

    def _require_columns(self, columns: Mapping[str, pl.DataType]) -> None:
        """Require the same columns in each file, in any order."""
        expected = self._opener.columns
        if not expected:
            expected.update(columns)
        elif dict(columns) != expected:
            raise self._opener.error(
                self._path,
                f"has the columns {_show(columns)}, and the files before it have {_show(expected)}",
                "read files of different columns as different sources",
            )

    def _read_block(self, scan: pl.LazyFrame) -> pl.DataFrame:
        frame = scan.select(list(self._opener.columns)).slice(self.row, self._block_rows).collect(engine="in-memory")
        if frame.is_empty():
            raise self._opener.error(self._path, f"has become shorter: it had {self._total} rows", _CHANGED)
        weight = max(1, int(frame.estimated_size()) // frame.height)
        self._block_rows = min(max(1024, _BLOCK_FRAME_BYTES // weight), _MOST_BLOCK_ROWS)
        return frame


def _show(columns: Mapping[str, pl.DataType]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in columns.items())


def reason_of(error: OSError) -> tuple[str, str]:
    """Return what the system said of a file, and what to do."""
    match error:
        case FileNotFoundError():
            return (
                "does not exist",
                "see that the path is right, and that files are not moved away before they are read",
            )
        case PermissionError():
            return "may not be read by this process", "give its user the right to read it"
        case IsADirectoryError() | NotADirectoryError():
            return "is not a regular file", "read a folder with DirectorySource"
    return f"cannot be read: {error.strerror or error}", "see that its disk can be read"
