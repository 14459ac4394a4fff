"""Our own connectors keep to their contracts, and those that break a clause are caught."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streamflow as sf
from streamflow.connectors.file_sink import committed_lines, committed_parts
from streamflow.core.batch import Batch
from streamflow.core.connector import (
    Chunk,
    Encoded,
    Format,
    Guarantee,
    ReadEvent,
    Replay,
    Sink,
    Source,
    SourceFinished,
    SplitFinished,
    SplitOpened,
    Token,
)
from streamflow.testing import RecordingSink
from streamflow.testing.conformance import Place, check_sink, check_source

# sources


def lines(folder: Path, files: int = 3, rows: int = 7) -> Path:
    for number in range(files):
        text = "".join(json.dumps({"file": number, "n": n}) + "\n" for n in range(rows))
        (folder / f"part-{number}.jsonl").write_text(text)
    return folder


async def numbered(start: int) -> AsyncIterator[int]:
    for n in range(start, 20):
        yield n


def frames(folder: Path) -> Path:
    for number in range(2):
        pl.DataFrame({"n": range(10), "file": [number] * 10}).write_parquet(folder / f"part-{number}.parquet")
    return folder


SOURCES: dict[str, tuple[Callable[[Path], Source], int | None]] = {
    "list": (lambda _: sf.IterableSource(list(range(20))), None),
    "tuple": (lambda _: sf.IterableSource(tuple(range(20))), None),
    "nothing": (lambda _: sf.IterableSource([]), None),
    "frame": (lambda _: sf.IterableSource(pl.DataFrame({"n": range(20)})), None),
    "function of the start": (lambda _: sf.IterableSource(lambda start: range(start, 20)), None),
    "iterator": (lambda _: sf.IterableSource(iter(range(20))), None),
    "async generator": (lambda _: sf.GeneratorSource(numbered, is_bounded=True), None),
    "generated": (lambda _: sf.generate(rows=50, splits=3), None),
    "generated without end": (lambda _: sf.generate(splits=2), 40),
    "jsonl files": (lambda folder: sf.FileSource(str(lines(folder) / "*.jsonl")), None),
    "jsonl files in sequence": (lambda folder: sf.FileSource(str(lines(folder) / "*.jsonl"), sequence=True), None),
    "parquet files": (lambda folder: sf.FileSource(str(frames(folder) / "*.parquet")), None),
    "directory": (lambda folder: sf.DirectorySource(lines(folder), "*.jsonl", poll="10ms"), 21),
}


@pytest.mark.parametrize(("make", "rows"), SOURCES.values(), ids=SOURCES.keys())
async def test_our_sources_keep_to_the_contract(
    make: Callable[[Path], Source], rows: int | None, tmp_path: Path
) -> None:
    await check_source(lambda: make(tmp_path), rows=rows)


async def test_a_queue_keeps_to_the_contract() -> None:
    def make() -> Source:
        queue = sf.QueueSource()
        for n in range(20):
            queue.put_nowait(n)
        return queue

    await check_source(make, rows=20)


async def test_a_socket_keeps_to_the_contract() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(b'{"n": %d}\n' % n for n in range(20)))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        await check_source(lambda: sf.SocketSource("127.0.0.1", port, format=sf.Json(dict), is_bounded=True))


@dataclass
class Numbers:
    """A source of the numbers 0 to 9 in two splits, with one fault."""

    fault: str = ""
    replay: Replay = Replay.REPLAYABLE
    is_bounded: bool = True
    format: Format | None = None

    def reader(self) -> NumbersReader:
        return NumbersReader(self.fault)

    def __str__(self) -> str:
        return "numbers\nand more" if self.fault == "two lines" else "numbers"


@dataclass
class NumbersReader:
    fault: str
    at: dict[str, int] = field(default_factory=dict)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def open(self, positions: Mapping[str, Any]) -> Sequence[SplitOpened]:
        if self.fault == "task":
            waits = asyncio.get_running_loop().create_future()
            self.tasks.append(asyncio.create_task(asyncio.wait_for(waits, None), name="left behind"))
        forgets = self.fault == "forgets its position"
        self.at = {split: 0 if forgets else positions.get(split, 0) for split in "ab"}
        return [SplitOpened(split, at) for split, at in self.at.items() if (split, self.fault) != ("b", "unopened")]

    async def read(self, limit: int, wanted: Sequence[str]) -> Sequence[ReadEvent]:
        if self.fault == "never answers":
            await asyncio.get_running_loop().create_future()
        if self.fault == "is not to be stopped":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
            await asyncio.get_running_loop().create_future()
        events: list[ReadEvent] = []
        extra = {"unwanted": "b", "unopened": "b"}.get(self.fault, "")
        for split in [s for s in "ab" if s in (*wanted, *extra) and (self.at[s] < 10 or self.fault != "unwanted")]:
            events += self._take(split, limit)
        if all(at == 10 for at in self.at.values()):
            events += [SourceFinished()]
            events += [SplitFinished("a")] if self.fault == "speaks on" else []
        return events

    def _take(self, split: str, limit: int) -> list[ReadEvent]:
        start, stop = self.at[split], min(10, self.at[split] + limit)
        if start == 10 and self.fault != "empty chunks":
            return [SplitFinished(split)]
        self.at[split] = stop
        resume: Any = (stop,) if self.fault == "a tuple for a position" else stop
        resume = stop + 1 if self.fault == "skips a row" else resume
        place = 0 if self.fault == "places start over" else start
        events: list[ReadEvent] = [Chunk(split, list(range(start, stop)), place, resume)]
        return [*events, *([SplitFinished(split)] if stop == 10 else [])]

    async def close(self) -> None:
        return None


FAULTY_SOURCES = {
    "two lines": "str() must say in one line",
    "task": "these tasks are still there: left behind",
    "unopened": "Chunk of split 'b', never opened",
    "speaks on": "came behind SourceFinished",
    "a tuple for a position": "the position (3,) is [3] when it is read back",
    "places start over": "a chunk starts at 0, behind row 2",
    "skips a row": "split 'a', read again from 4",
    "forgets its position": "read again from 3: expected",
    "unwanted": "only split 'a' was wanted, and rows of ['b'] came",
    "never answers": "read() has not returned within",
    "is not to be stopped": "a cancelled read() has not ended within",
}


async def test_a_sound_source_passes() -> None:
    await check_source(Numbers)
    await check_source(lambda: Numbers(replay=Replay.AT_MOST_ONCE, fault="forgets its position"))


@pytest.mark.parametrize(("fault", "message"), FAULTY_SOURCES.items(), ids=FAULTY_SOURCES.keys())
async def test_a_source_that_breaks_a_clause_is_caught(
    fault: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamflow.testing.conformance.sources.PATIENCE_SECONDS", 0.05)
    with pytest.raises(AssertionError) as caught:
        await check_source(lambda: Numbers(fault))
    assert message in str(caught.value)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # type: ignore[arg-type]  # there is one
        task.cancel()


# sinks


@pytest.fixture
def new_folder(tmp_path: Path) -> Callable[[], Path]:
    numbers = iter(range(1_000))

    def make() -> Path:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return folder

    return make


async def test_the_sqlite_sink_keeps_to_the_contract(new_folder: Callable[[], Path]) -> None:
    def place() -> Place:
        path = new_folder() / "rows.db"

        def read() -> list[dict[str, Any]]:
            with sqlite3.connect(path) as connection:
                connection.row_factory = sqlite3.Row
                there = connection.execute("SELECT name FROM sqlite_master WHERE name = 'rows'").fetchall()
                found = [dict(row) for row in connection.execute("SELECT * FROM rows")] if there else []
            connection.close()
            return found

        return Place(lambda: sf.SqliteSink(path, "rows"), read)

    await check_sink(place)


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "ipc"])
async def test_the_file_sink_keeps_to_the_contract(format: Any, new_folder: Callable[[], Path]) -> None:
    def place() -> Place:
        path = new_folder() / "out"

        def read() -> list[dict[str, Any]]:
            """Return what the token covers; all there is, where there is no token because there is no checkpoint."""
            if format in ("parquet", "ipc"):
                has_token = (path / "_streamflow.token").exists()
                parts = committed_parts(path) if has_token else sorted(path.glob(f"part-*.{format}"))
                reads = pl.read_parquet if format == "parquet" else pl.read_ipc
                return [row for part in parts for row in reads(part).to_dicts()]
            has_token = path.with_name("out.token").exists()
            text = committed_lines(path) if has_token or not path.exists() else path.read_bytes()
            if format == "jsonl":
                return [json.loads(line) for line in text.splitlines()]
            return pl.read_csv(io.BytesIO(text)).to_dicts() if text else []

        return Place(lambda: sf.FileSink(path, format), read)

    await check_sink(place)


async def test_the_callback_sink_keeps_to_the_contract() -> None:
    def place() -> Place:
        rows: list[Any] = []
        return Place(lambda: sf.CallbackSink(rows.append), lambda: rows)

    await check_sink(place)


async def test_foreach_batch_keeps_to_the_contract() -> None:
    def place() -> Place:
        rows: list[Any] = []
        return Place(lambda: sf.ForeachBatch(lambda frame, _: rows.extend(frame.to_dicts())), lambda: rows)

    await check_sink(place)


async def test_the_memory_sink_keeps_to_the_contract() -> None:
    def place() -> Place:
        sink = sf.MemorySink()
        return Place(lambda: sink, lambda: sink.rows)

    await check_sink(place)


async def test_the_console_sink_keeps_to_the_contract() -> None:
    def place() -> Place:
        shown = io.StringIO()
        return Place(lambda: sf.ConsoleSink(stream=shown), lambda: shown.getvalue().splitlines())

    await check_sink(place, rows=("one", "two", "three", "four"))


async def test_the_recording_sink_keeps_to_the_contract() -> None:
    def place() -> Place:
        sink = RecordingSink("out")
        return Place(lambda: sink, lambda: sink.rows)

    await check_sink(place)


@dataclass
class Table:
    """What a database holds: rows, and a token."""

    rows: list[Any] = field(default_factory=list)
    token: Token | None = None


@dataclass
class TableSink:
    """A sink with one fault."""

    table: Table
    fault: str = ""
    guarantee: Guarantee = Guarantee.EXACTLY_ONCE
    takes_upserts: bool = False

    def writer(self, pipeline: str, name: str) -> TableWriter:
        return TableWriter(self.table, self.fault)

    def __str__(self) -> str:
        return "table"


@dataclass
class TableWriter:
    table: Table
    fault: str

    async def open(self) -> Token | None:
        return None if self.fault == "forgets its token" else self.table.token

    def encode(self, batch: Batch) -> Encoded:
        if self.fault == "shows what it encodes":
            self.table.rows += batch.to_values()
        if self.fault == "changes the batch":
            batch.to_values()[0]["id"] = 7
        return Encoded(json.dumps(batch.to_values()).encode(), len(batch))

    async def apply(self, staged: Sequence[bytes], token: Token) -> None:
        stored = self.table.token
        if stored is not None and self.fault != "writes twice":
            if (token.generation, token.fence) < (stored.generation, stored.fence) and self.fault != "ignores fences":
                raise sf.errors.FencedError("another worker took over")
            same_epoch = (token.generation, token.epoch) == (stored.generation, stored.epoch)
            if same_epoch and self.fault == "knows no chunks":
                return
            if (token.generation, token.epoch, token.chunk) <= (stored.generation, stored.epoch, stored.chunk):
                return
        for data in staged[:1] if self.fault == "loses a piece" else staged:
            self.table.rows += json.loads(data)
        if self.fault == "writes the token later":
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        self.table.token = token

    async def write(self, batch: Batch) -> None:
        self.table.rows += batch.to_values()

    async def close(self) -> None:
        return None


FAULTY_SINKS = {
    "forgets its token": "open() must return the last token applied",
    "shows what it encodes": "encode() must show nothing",
    "changes the batch": "encode() must not change the batch",
    "writes twice": "an epoch that is there must not be written again",
    "ignores fences": "a worker with an older fence must write nothing",
    "knows no chunks": "every chunk of an epoch must be there",
    "loses a piece": "all pieces of an epoch must be there",
    "writes the token later": "rows and token must go together",
}


def table_with(fault: str, guarantee: Guarantee = Guarantee.EXACTLY_ONCE) -> Place:
    table = Table()
    return Place(lambda: TableSink(table, fault, guarantee), lambda: table.rows)


async def test_a_sound_sink_passes() -> None:
    await check_sink(lambda: table_with(""))
    await check_sink(lambda: table_with("writes twice forgets its token", Guarantee.AT_ONCE))


@pytest.mark.parametrize(("fault", "message"), FAULTY_SINKS.items(), ids=FAULTY_SINKS.keys())
async def test_a_sink_that_breaks_a_clause_is_caught(fault: str, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        await check_sink(lambda: table_with(fault))
    assert message in str(caught.value)


def test_what_is_no_connector_is_refused() -> None:
    with pytest.raises(AssertionError, match="expected a Source, with all of its properties, got list"):
        asyncio.run(check_source(list))  # type: ignore[arg-type]  # that is the point
    with pytest.raises(AssertionError, match="expected a Sink, with all of its properties, got list"):
        asyncio.run(check_sink(lambda: Place(list, list)))  # type: ignore[arg-type]  # that is the point
    assert isinstance(TableSink(Table()), Sink)
