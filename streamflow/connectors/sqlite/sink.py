"""A sink that writes a table of an SQLite database, rows and token in one transaction.

The token is a row of the table ``streamflow_tokens`` beside yours.  An epoch is one ``BEGIN IMMEDIATE`` transaction:
read the token, skip what is there, write the rows, write the token, commit with ``synchronous=FULL``.  So whoever
reads the database sees whole epochs, each once, and two workers cannot both write one.

Knows one table; knows nothing of the runtime.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, final

import anyio.to_thread
import msgspec

from streamflow.connectors.sqlite.columns import RESERVED, folded
from streamflow.connectors.sqlite.statements import creation, deletion, insertion, read_table_of
from streamflow.connectors.sqlite.table import Encoder, Run, Staged, Table
from streamflow.core.batch import Batch
from streamflow.core.connector import Encoded, Guarantee, Token
from streamflow.core.timestamp import Duration, duration
from streamflow.core.tokens import is_new
from streamflow.errors import DefinitionError, SinkError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TOKENS = "streamflow_tokens"
"""The table of tokens: one row for each sink of each pipeline that writes to the database."""


@final
@dataclass(frozen=True, slots=True)
class SqliteSink:
    """Write rows to a table, exactly once.

    A row's fields are the columns (``core.records`` says which fields a row has).  The table is made of the first row
    if it is not there; a row with a field that it lacks, or with a value that it would not hold unchanged, is
    refused.  A column that a row does not give has its default.

    With a key a row replaces all of the row of its key, and a deletion deletes it.  On an upsert edge the key is the
    edge's own where none is given: the key's columns, and for windows ``window_start`` and ``window_end``.  Without a
    key rows are added.

    The database is switched to write-ahead logging, so that readers do not wait for the sink, nor it for them.

    Args:
        path: The database; made if it is not there.
        table: The table.
        key: The columns of the key.
        timeout: How long to wait for another connection's transaction.

    Raises:
        DefinitionError: If ``table`` or ``key`` cannot be names in SQLite, or the database would be in memory.
    """

    path: str | os.PathLike[str]
    table: str
    key: str | Sequence[str] | None = None
    timeout: Duration = field(default="30s", kw_only=True)

    def __post_init__(self) -> None:
        if str(self.path) in {"", ":memory:"}:
            raise DefinitionError(f"path must be a file, got {self.path!r}; use MemorySink to keep rows in memory")
        duration(self.timeout, "timeout")
        for name in (self.table, *(self.key_columns or ())):
            try:
                folded(name)
            except ValueError as error:
                raise DefinitionError(f"SQLite cannot use the name {name!r}: {error}") from error
        if folded(self.table).startswith(RESERVED) or folded(self.table) == TOKENS:
            raise DefinitionError(
                f"the table's name must not be {TOKENS!r} or begin with {RESERVED!r}, got {self.table!r}"
            )
        if self.key_columns is not None and len({folded(name) for name in self.key_columns}) != len(self.key_columns):
            raise DefinitionError(f"key must name different columns, got {self.key!r}")

    @property
    def key_columns(self) -> tuple[str, ...] | None:
        """The key as names of columns; None where it is left to the edge."""
        return (self.key,) if isinstance(self.key, str) else tuple(self.key) if self.key else None

    @property
    def guarantee(self) -> Guarantee:
        """Exactly once."""
        return Guarantee.EXACTLY_ONCE

    @property
    def takes_upserts(self) -> bool:
        """Yes."""
        return True

    def writer(self, pipeline: str, name: str) -> SqliteWriter:
        """Return a writer whose token is that of ``pipeline`` and ``name``."""
        return SqliteWriter(self, pipeline, name)

    def __str__(self) -> str:
        return f"sqlite {os.fspath(self.path)} table {self.table}"


@final
class SqliteWriter:
    """An open ``SqliteSink``: one connection, used by one thread at a time."""

    def __init__(self, sink: SqliteSink, pipeline: str, name: str) -> None:
        self._sink, self._pipeline, self._name = sink, pipeline, name
        self._encoder = Encoder(name, sink.key_columns)
        self._busy = threading.Lock()  # a cancelled call leaves its thread at work: the next one waits for it
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> Token | None:
        """Connect and return the token of the last epoch in the database.

        Raises:
            SinkError: If the database cannot be opened, or the table does not fit the sink.
        """
        return await self._in_thread(self._open)

    def encode(self, batch: Batch) -> Encoded:
        """Return the rows in the form that the table takes."""
        return self._encoder.encode(batch)

    async def apply(self, staged: Sequence[bytes], token: Token) -> None:
        """Write one epoch and its token in one transaction; nothing, if the database has it.

        Raises:
            SinkError: If the database refuses it; nothing of the epoch is there then.
            FencedError: If another worker took over.
        """
        await self._in_thread(self._apply, staged, token)

    async def write(self, batch: Batch) -> None:
        """Write a batch in a transaction of its own, without a token.

        Raises:
            SinkError: If the database refuses it, or the table does not hold one of its rows.
        """
        encoded = self.encode(batch)
        if encoded.refused:
            first = encoded.refused[0]
            raise SinkError(self._name, f"row {first.row} of a batch does not fit the table: {first.reason}")
        await self._in_thread(self._apply, [encoded.data], None)

    async def close(self) -> None:
        """Close the connection, after the transaction that may still be under way."""
        await self._in_thread(self._close)

    async def _in_thread(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        def locked() -> T:
            with self._busy:
                return function(*arguments)

        return await anyio.to_thread.run_sync(locked)

    def _open(self) -> Token | None:
        self._close()  # opened again after an error, it begins anew
        path = Path(self._sink.path).absolute()
        with self._failing(f"cannot open {path}"):
            self._connection = sqlite3.connect(
                path,
                timeout=duration(self._sink.timeout) / 1_000_000,
                isolation_level=None,  # transactions begin and end where the code below says so
                check_same_thread=False,
            )
            self._connection.execute("PRAGMA synchronous = FULL")
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                    raise  # with readers at work it stays as it is: as safe, only slower
            _sync_directory(path.parent)  # the name of a new database outlives a power cut too
            table = read_table_of(self._connection, self._sink.table)
            token = self._read_token(self._connection)
        if table is not None and not table.is_table:
            raise SinkError(
                self._name, f"{self._sink.table!r} is not a table but a view", remedy="name the table itself"
            )
        if table is not None:
            self._encoder.use(table)
        return token

    def _apply(self, staged: Sequence[bytes], token: Token | None) -> None:
        batches = [msgspec.msgpack.decode(data, type=Staged) for data in staged]
        with self._transaction() as connection:
            if token is not None and not is_new(token, self._read_token(connection), self._name):
                return
            for batch in batches:
                if batch.create:
                    connection.execute(creation(self._sink.table, batch))
            table = read_table_of(connection, self._sink.table)
            for batch in batches:
                for run in batch.runs:
                    self._write_run(connection, table or Table({}), batch.key, run)
            if token is not None:
                self._write_token(connection, token)
        if table is not None and self._encoder.table is None:
            self._encoder.use(table)

    def _write_run(self, connection: sqlite3.Connection, table: Table, key: Sequence[str], run: Run) -> None:
        sql = deletion(self._sink.table, run) if run.deletes else insertion(self._sink.table, table, key, run)
        feed = _Feed(run)
        try:
            connection.executemany(sql, feed)
        except (sqlite3.IntegrityError, sqlite3.DataError) as error:
            row = dict(zip(run.columns, feed.last, strict=True))
            raise SinkError(
                self._name,
                f"table {self._sink.table!r} refuses a row: {error}; the row is {row}",
                remedy="drop such rows before the sink, or change the table's constraints",
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        assert self._connection is not None, "open() comes first"
        with self._failing(f"cannot write to {os.fspath(self._sink.path)}"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            is_busy = getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
            remedy = (
                f"another connection has been writing for more than {self._sink.timeout}: let it commit, or set timeout"
                if is_busy
                else "see that the file is an SQLite database, its directory exists and can be written, and has space"
            )
            raise SinkError(self._name, f"{what}: {error}", remedy=remedy) from error

    def _read_token(self, connection: sqlite3.Connection) -> Token | None:
        if not connection.execute("SELECT 1 FROM main.sqlite_master WHERE name = ?", (TOKENS,)).fetchone():
            return None
        row = connection.execute(_READ_TOKEN, (self._pipeline, self._name)).fetchone()
        return None if row is None else Token(*row)

    def _write_token(self, connection: sqlite3.Connection, token: Token) -> None:
        connection.execute(_CREATE_TOKENS)
        stamp = (token.generation, token.epoch, token.chunk, token.fence)
        connection.execute(_WRITE_TOKEN, (self._pipeline, self._name, *stamp))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_CREATE_TOKENS = f"""
    CREATE TABLE IF NOT EXISTS main.{TOKENS} (
        pipeline TEXT NOT NULL, sink TEXT NOT NULL, lane INTEGER NOT NULL,
        generation INTEGER NOT NULL, epoch INTEGER NOT NULL, chunk INTEGER NOT NULL, fence INTEGER NOT NULL,
        PRIMARY KEY (pipeline, sink, lane)
    )
"""
_READ_TOKEN = f"""
    SELECT generation, epoch, chunk, fence FROM main.{TOKENS} WHERE pipeline = ? AND sink = ? AND lane = 0
"""  # noqa: S608  # a constant
_WRITE_TOKEN = f"INSERT OR REPLACE INTO main.{TOKENS} VALUES (?, ?, 0, ?, ?, ?, ?)"  # noqa: S608  # a constant


@final
class _Feed:
    """The rows of a run, for ``executemany``; knows which was taken last, which is the one that failed."""

    def __init__(self, run: Run) -> None:
        self._rows = iter(run.rows)
        self.last: list[Any] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> list[Any]:
        self.last = next(self._rows)
        return self.last


def _sync_directory(path: Path) -> None:
    """Make the names in a directory durable; nothing where the system has no such thing."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
