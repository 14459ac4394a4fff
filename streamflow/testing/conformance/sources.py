"""``check_source``: a source as the runtime drives it.

The runtime opens a reader with positions, reads in turns, may stop it at any read, and after a crash opens another one
where the last checkpoint says.  It relies on five things:

1. A split is known, by ``open`` or ``SplitOpened``, before its first row; nothing is said of it behind
   ``SplitFinished``, and nothing at all behind ``SourceFinished``.
2. The places of a split's rows rise, and a position is plain: what msgpack reads back is the same.
3. A replayable source gives, from any position it has given, the rest of the same rows under the same places.
4. Only the splits that are wanted are read.
5. ``close`` leaves nothing behind, after everything that can happen before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, final

import msgspec
import polars as pl

from streamflow.core.connector import (
    Chunk,
    Lines,
    Reader,
    ReadEvent,
    Records,
    Replay,
    Source,
    SourceFinished,
    SplitFinished,
    SplitIdle,
    SplitOpened,
)
from streamflow.testing.conformance.leftovers import nothing_left

T = TypeVar("T")

PATIENCE_SECONDS = 20.0
"""How long a reader may think about one answer before it is taken to hang."""
RESTARTS = 12
"""From how many positions, evenly spread, the rest is read again."""

Place = tuple[str, int, Any]
"""Split, place in it, the row."""


async def check_source(make: Callable[[], Source], *, rows: int | None = None, limit: int = 3) -> None:
    """Hold a source to its contract.

    Args:
        make: Returns the source; each one must have the same rows to give.
        rows: How many rows it has, where it does not end by itself; reading stops when they have come.
        limit: How many rows are asked for at a time: few, so that there are many positions to go on from.

    Raises:
        AssertionError: If it breaks a clause, which the message names.
    """
    source = make()
    _check_value(source)
    assert source.is_bounded or rows is not None, "a source that does not end by itself needs rows=, how many to read"
    async with nothing_left("closing a reader that was never opened"):
        await source.reader().close()
    async with nothing_left("closing a reader that has read nothing"):
        reader = source.reader()
        await _within(reader.open({}), "open")
        await reader.close()
    first = await _read(make(), {}, rows=rows, limit=limit)
    assert rows is None or len(first.rows) >= rows, f"expected {rows} rows, got {len(first.rows)}"
    await _check_stopping(make, rows=rows, limit=limit)
    if source.replay is Replay.REPLAYABLE:
        await _check_replay(make, first, rows=rows, limit=limit)
        await _check_wanted(make, first, limit=limit)


@final
@dataclass(slots=True)
class _Log:
    """What a reader has said.

    Attributes:
        rows: Every row with its place.
        positions: After each chunk, where each split goes on, and how many rows had come.
        finished: The splits that are over.
        is_over: Whether the source is.
    """

    rows: list[Place] = field(default_factory=list)
    positions: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    is_over: bool = False
    known: dict[str, Any] = field(default_factory=dict)
    next: dict[str, int] = field(default_factory=dict)

    def opened(self, event: SplitOpened) -> None:
        """Take a split that was opened."""
        assert event.split not in self.known, f"split {event.split!r} was opened twice"
        self.known[event.split] = _plain(event.resume, event.split)

    def take(self, event: ReadEvent, source: Source) -> None:
        """Take one event, and check that it may come now."""
        assert not self.is_over, f"{event} came behind SourceFinished"
        match event:
            case SplitOpened():
                self.opened(event)
            case SourceFinished():
                self.is_over = True
            case Chunk() | SplitIdle() | SplitFinished():
                assert event.split in self.known, f"{type(event).__name__} of split {event.split!r}, never opened"
                assert event.split not in self.finished, f"{type(event).__name__} behind the end of {event.split!r}"
                if isinstance(event, SplitFinished):
                    self.finished.add(event.split)
                elif isinstance(event, Chunk):
                    self._chunk(event, source)
            case _:
                raise AssertionError(f"read() returned {event!r}, which is no event of a source")

    def _chunk(self, chunk: Chunk, source: Source) -> None:
        least = self.next.get(chunk.split, chunk.start)
        assert chunk.start >= least, f"split {chunk.split!r}: a chunk starts at {chunk.start}, behind row {least - 1}"
        values = _rows(chunk, source)
        assert values, f"split {chunk.split!r}: an empty chunk; wait until there is something"
        self.rows += [(chunk.split, chunk.start + i, value) for i, value in enumerate(values)]
        self.next[chunk.split] = chunk.start + len(values)
        self.known[chunk.split] = _plain(chunk.resume, chunk.split)
        self.positions.append((dict(self.known), len(self.rows)))


def _check_value(source: Source) -> None:
    assert isinstance(source, Source), f"expected a Source, with all of its properties, got {type(source).__name__}"
    assert isinstance(source.replay, Replay), f"replay must be a Replay, got {source.replay!r}"
    assert isinstance(source.is_bounded, bool), f"is_bounded must be a bool, got {source.is_bounded!r}"
    text = str(source)
    assert len(text.splitlines()) == 1, f"str() must say in one line what it is, got {text!r}"
    assert source.reader() is not source.reader(), "reader() must return a new reader each time"


async def _read(
    source: Source, positions: Mapping[str, Any], *, rows: int | None, limit: int, stop: int | None = None
) -> _Log:
    """Return what a reader says from these positions on: to its end, or until there are enough rows."""
    log, reader = _Log(), source.reader()
    async with nothing_left("closing a reader"):
        try:
            for opened in await _within(reader.open(positions), "open"):
                assert isinstance(opened, SplitOpened), f"open() returned {opened!r}, expected SplitOpened"
                log.opened(opened)
            missing = set(positions) - set(log.known)
            assert not missing, f"open() was given positions of {sorted(missing)} and did not return these splits"
            enough = stop if stop is not None else rows
            while not log.is_over and (enough is None or len(log.rows) < enough):
                await _turn(reader, source, log, limit)
        finally:
            await reader.close()
    if enough is None:
        open_ends = set(log.next) - log.finished
        assert not open_ends, f"SourceFinished came, and these splits were not finished: {sorted(open_ends)}"
    return log


async def _turn(reader: Reader, source: Source, log: _Log, limit: int) -> None:
    wanted = [split for split in log.known if split not in log.finished]
    for event in await _within(reader.read(limit, wanted), "read"):
        log.take(event, source)


async def _check_stopping(make: Callable[[], Source], *, rows: int | None, limit: int) -> None:
    """A reader is stopped in the middle of a read, once; then it is closed."""
    source, log = make(), _Log()
    reader = source.reader()
    async with nothing_left("closing a reader whose read was cancelled"):
        for opened in await _within(reader.open({}), "open"):
            log.opened(opened)
        read = asyncio.create_task(_awaited(reader.read(limit, list(log.known))))
        await asyncio.sleep(0)
        await _cancel(read, "read")
        if not read.cancelled() and (error := read.exception()) is not None:
            raise AssertionError(f"a cancelled read() must end, and raised {error!r}") from error
        await reader.close()


async def _check_replay(make: Callable[[], Source], first: _Log, *, rows: int | None, limit: int) -> None:
    """From every position the rest is the same, whatever is asked for at a time."""
    step = max(1, len(first.positions) // RESTARTS)
    for positions, count in [*first.positions[::step], first.positions[-1]] if first.positions else []:
        wanted = None if rows is None else rows - count
        if wanted is not None and wanted <= 0:
            continue
        again = await _read(make(), positions, rows=wanted, limit=limit + 1)
        for split in first.next:
            expected = [row for row in first.rows[count:] if row[0] == split]
            got = [row for row in again.rows if row[0] == split][: len(expected) if rows is not None else None]
            assert _same(got, expected, is_whole=rows is None), (
                f"split {split!r}, read again from {positions.get(split)!r}:"
                f" expected {_short(expected)}, got {_short(got)}"
            )


async def _check_wanted(make: Callable[[], Source], first: _Log, *, limit: int) -> None:
    """Of several splits that are known from the start, only the wanted ones are read."""
    source = make()
    reader, log = source.reader(), _Log()
    async with nothing_left("closing a reader of which one split was read"):
        try:
            for opened in await _within(reader.open({}), "open"):
                log.opened(opened)
            busy = [split for split in log.known if split in first.next]
            if len(busy) < 2:
                return
            for event in await _within(reader.read(limit, busy[:1]), "read"):
                log.take(event, source)
            others = {split for split, _, _ in log.rows} - set(busy[:1])
            assert not others, f"only split {busy[0]!r} was wanted, and rows of {sorted(others)} came"
        finally:
            await reader.close()


async def _within(answer: Awaitable[T], what: str) -> T:
    task = asyncio.create_task(_awaited(answer))
    await asyncio.wait([task], timeout=PATIENCE_SECONDS)
    if task.done():
        return task.result()
    await _cancel(task, what)
    raise AssertionError(f"{what}() has not returned within {PATIENCE_SECONDS:g} s; are there fewer rows?")


async def _awaited(answer: Awaitable[T]) -> T:
    return await answer


async def _cancel(task: asyncio.Task[Any], what: str) -> None:
    """Cancel a task once, as the runtime does, and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task], timeout=PATIENCE_SECONDS)
    assert task.done(), f"a cancelled {what}() has not ended within {PATIENCE_SECONDS:g} s"


def _rows(chunk: Chunk, source: Source) -> list[Any]:
    match chunk.data:
        case Lines(blob):
            assert source.format is not None, "a source without a format yields Lines"
            assert blob.endswith(b"\n"), "the last line of Lines must end with a newline too"
            return blob.split(b"\n")[:-1]
        case Records(values):
            assert source.format is not None, "a source without a format yields Records"
            return list(values)
        case pl.DataFrame():
            return chunk.data.to_dicts()
        case list():
            return list(chunk.data)
    raise AssertionError(f"the data of a chunk is Lines, Records, a list or a frame, got {type(chunk.data).__name__}")


def _plain(position: Any, split: str) -> Any:
    try:
        back = msgspec.msgpack.decode(msgspec.msgpack.encode(position))
    except (TypeError, ValueError, OverflowError) as error:
        raise AssertionError(f"split {split!r}: the position {position!r} cannot be stored: {error}") from error
    assert back == position, f"split {split!r}: the position {position!r} is {back!r} when it is read back"
    return back


def _same(got: Sequence[Place], expected: Sequence[Place], *, is_whole: bool) -> bool:
    """Whether the rows are the same; of a source that goes on, as many as have come of this split."""
    return list(got) == list(expected) if is_whole else list(got) == list(expected)[: len(got)]


def _short(rows: Sequence[Place]) -> str:
    shown = ", ".join(f"{place}: {row!r}" for _, place, row in rows[:4])
    return f"{len(rows)} rows [{shown}{', …' if len(rows) > 4 else ''}]"
