"""A sink that writes files, exactly once: data first, then a token that covers it.

An epoch is written in this order, each step durable before the next: cut off what the last token does not cover,
write the data, replace the token file by a rename.  A crash between any two of them leaves data that no token covers,
which the next start cuts off; the runtime then applies the epoch again.

Knows its format only as an ``Encoder``, and its place only as a ``Storage``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, TypeVarTuple, final, get_args

import anyio.to_thread

from streamflow.connectors.file_sink.durable import Mark, read_mark, write_mark
from streamflow.connectors.file_sink.encoders import CsvLines, Encoder, Frames, JsonLines
from streamflow.connectors.file_sink.storage import LineFile, PartDirectory, Storage
from streamflow.core.batch import Batch
from streamflow.core.connector import Encoded, Guarantee, Token
from streamflow.core.schema import Schema
from streamflow.core.tokens import is_new
from streamflow.errors import DefinitionError, SinkError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
FileFormat = Literal["jsonl", "csv", "parquet", "ipc"]


@final
@dataclass(frozen=True, slots=True)
class FileSink:
    """Write rows to files, exactly once.

    ``jsonl`` and ``csv``: one file, which grows.  Beside it ``<path>.token`` says how many bytes are committed;
    ``committed_lines(path)`` reads those.  ``parquet`` and ``ipc``: a directory, one file for each epoch that has rows;
    ``committed_parts(path)`` names those that are committed, and you may move them.  The token file is among them, so a
    tool that reads all of them is given ``<path>/*.parquet``.

    Without a checkpoint there are no tokens: rows are appended as they come, and the next run refuses the file.

    A row's fields are what ``core.records`` says.  All but ``jsonl`` have fixed columns: those of ``schema``, or the
    first row's; ``parquet`` and ``ipc`` also fixed types (``core.schema``).  A row that does not fit is refused.

    Args:
        path: The file or directory; directories above it are made.
        format: What is written.
        overwrite: Whether output that is there without a token is removed first; output with a token is gone on with.
        schema: The fields and polars types; ``csv`` looks at the names only, ``jsonl`` takes none.

    Raises:
        DefinitionError: If ``format`` is none of these, ``schema`` is not one, or ``jsonl`` is given one.
    """

    path: str | os.PathLike[str]
    format: FileFormat = "jsonl"
    overwrite: bool = field(default=False, kw_only=True)
    schema: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.format not in get_args(FileFormat):
            raise DefinitionError(f"format must be one of {', '.join(get_args(FileFormat))}, got {self.format!r}")
        if self.format == "jsonl" and self.schema is not None:
            raise DefinitionError("jsonl has no columns: leave out schema=, or choose another format")
        Schema(self.schema)
        if not str(self.path):
            raise DefinitionError("path must name a file or a directory, got ''")

    @property
    def guarantee(self) -> Guarantee:
        """Exactly once, for readers who look at what the token covers."""
        return Guarantee.EXACTLY_ONCE

    @property
    def takes_upserts(self) -> bool:
        """No: what is written stays."""
        return False

    def writer(self, pipeline: str, name: str) -> FileWriter:
        """Return a writer whose token is that of ``pipeline`` and ``name``."""
        return FileWriter(self, pipeline, name)

    def __str__(self) -> str:
        return f"{self.format} {os.fspath(self.path)}"


@final
class FileWriter:
    """An open ``FileSink``.  All work on files is done in a thread, one call at a time."""

    def __init__(self, sink: FileSink, pipeline: str, name: str) -> None:
        self._sink, self._pipeline, self._name = sink, pipeline, name
        self._path = Path(sink.path).absolute()
        self._storage = _storage(sink, self._path)
        self._encoder = _encoder(sink)
        self._busy = threading.Lock()  # a cancelled call leaves its thread at work: the next one waits for it
        self._failed: str | None = None
        self._is_recalled = False

    async def open(self) -> Token | None:
        """Remove what no token covers, and return the token.

        Raises:
            SinkError: If output is there that is not ours to go on with.
        """
        return await self._in_thread(self._open)

    def encode(self, batch: Batch) -> Encoded:
        """Return the rows in the file's format."""
        return self._encoder.encode(batch)

    async def apply(self, staged: Sequence[bytes], token: Token) -> None:
        """Write one epoch, then the token; nothing, if the token covers it.

        Raises:
            SinkError: If it cannot be written.  Then nothing more can be until the sink is opened again: after a failed
                ``fsync`` the system may have forgotten what it did not write.
            FencedError: If another worker took over.
        """
        await self._in_thread(self._apply, staged, token)

    async def write(self, batch: Batch) -> None:
        """Append a batch, without a token.

        Raises:
            SinkError: If it cannot be written, a row does not fit, or the file is of a pipeline with a checkpoint.
        """
        encoded = self.encode(batch)
        if encoded.refused:
            first = encoded.refused[0]
            raise SinkError(self._name, f"row {first.row} of a batch cannot be written: {first.reason}")
        await self._in_thread(self._add, encoded.data)

    async def close(self) -> None:
        """Wait for what may still be under way; no file is held open."""
        await self._in_thread(lambda: None)

    async def _in_thread(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        def locked() -> T:
            with self._busy:
                return function(*arguments)

        return await anyio.to_thread.run_sync(locked)

    def _open(self) -> Token | None:
        with self._failing(), self._storage.locked():
            mark = read_mark(self._storage.mark_path)
            if mark is None:
                self._begin()
            else:
                self._require_own(mark)
                self._storage.tidy(mark)
            self._recall()
        self._failed = None
        return None if mark is None else mark.token

    def _begin(self) -> None:
        if self._storage.is_empty():
            return
        if not self._sink.overwrite:
            raise SinkError(
                self._name,
                f"{self._path} is there already and has no token, so it is not known what of it is committed",
                remedy="move it away, or let it be removed with overwrite=True",
            )
        self._storage.clear()

    def _require_own(self, mark: Mark) -> None:
        if (mark.pipeline, mark.sink) != (self._pipeline, self._name):
            raise SinkError(
                self._name,
                f"{self._path} is written by sink {mark.sink!r} of pipeline {mark.pipeline!r},"
                f" this is sink {self._name!r} of pipeline {self._pipeline!r}",
                remedy=f"choose another path; or move it away, with {self._storage.mark_path}",
            )

    def _apply(self, staged: Sequence[bytes], token: Token) -> None:
        self._require_sound()
        with self._failing(), self._storage.locked():
            mark = read_mark(self._storage.mark_path)
            if mark is None:
                self._begin()
                mark = Mark(self._pipeline, self._name)
                write_mark(self._storage.mark_path, mark)  # so that a first epoch cut short is known for ours
            self._require_own(mark)
            if not is_new(token, mark.token, self._name):
                return
            pieces = self._encoder.pieces(staged, at_start=mark.length == 0)
            length = self._storage.append(pieces, mark, token)
            write_mark(self._storage.mark_path, Mark(self._pipeline, self._name, token, length))
            self._recall()

    def _add(self, data: bytes) -> None:
        self._require_sound()
        with self._failing(), self._storage.locked():
            if read_mark(self._storage.mark_path) is not None:
                raise SinkError(
                    self._name,
                    f"{self._path} is written by a pipeline with a checkpoint, and this run has none",
                    remedy="give the run its checkpoint, or choose another path",
                )
            self._storage.add(self._encoder.pieces([data], at_start=self._storage.is_empty()))

    def _recall(self) -> None:
        """Learn the fields from what was written by an earlier life of the worker."""
        if not self._is_recalled and (sample := self._storage.sample()) is not None:
            self._encoder.recall(sample)
            self._is_recalled = True

    def _require_sound(self) -> None:
        if self._failed is not None:
            raise SinkError(self._name, f"writing failed before: {self._failed}", remedy="start the pipeline again")

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failed = str(error)
            raise SinkError(
                self._name,
                f"cannot write {self._path}: {error}",
                remedy="see that there is space, and that the directory can be written by this process only",
            ) from error
        except ValueError as error:  # from the storage: what is there is not what should be
            raise SinkError(
                self._name, str(error), remedy=f"restore it, or move it away with {self._storage.mark_path}"
            ) from error


def _storage(sink: FileSink, path: Path) -> Storage:
    return LineFile(path) if sink.format in {"jsonl", "csv"} else PartDirectory(path, sink.format)


def _encoder(sink: FileSink) -> Encoder:
    match sink.format:
        case "jsonl":
            return JsonLines()
        case "csv":
            return CsvLines(None if sink.schema is None else list(sink.schema))
    return Frames(sink.format, sink.schema)
