"""Reading a source to its end, the way the runtime does: what the tests of all sources have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle
from typing import Any, TypeVar

import msgspec
import polars as pl

from streamflow.core.connector import (
    Chunk,
    Lines,
    Reader,
    Records,
    Source,
    SourceFinished,
    SplitFinished,
    SplitIdle,
    SplitOpened,
)

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on a loop of its own, and require that nothing is left behind on it."""

    async def alone() -> T:
        result = await coroutine
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(alone())


def rows_of(chunk: Chunk) -> list[Any]:
    """Return the rows of a chunk, undecoded ones as bytes, those of a frame as tuples."""
    match chunk.data:
        case Lines(blob):
            assert blob.endswith(b"\n")
            return blob.split(b"\n")[:-1]
        case Records(values):
            return values
        case pl.DataFrame():
            return chunk.data.rows()
    return chunk.data


def stored(position: Any) -> Any:
    """Return a position as a checkpoint gives it back."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(position))


@dataclass
class History:
    """What a reader said.

    Attributes:
        rows: By split, its rows in order, from ``starts`` on.
        starts: By split, the identity of the first row.
        steps: After each event, the positions and how many rows of each split were read by then.
    """

    rows: dict[str, list[Any]] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    positions: dict[str, Any] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    idle: set[str] = field(default_factory=set)
    is_over: bool = False
    steps: list[tuple[dict[str, Any], dict[str, int]]] = field(default_factory=list)

    def note(self, event: object, limit: int) -> None:
        match event:
            case SplitOpened(split, resume):
                assert split not in self.positions
                self.positions[split] = resume
            case Chunk(split, _, start, resume):
                assert 0 < len(event) <= limit
                assert split not in self.finished
                read = self.rows.setdefault(split, [])
                assert start == self.starts.setdefault(split, start) + len(read)
                read += rows_of(event)
                self.positions[split] = resume
                self.idle.discard(split)
            case SplitIdle(split):
                self.idle.add(split)
            case SplitFinished(split):
                assert split in self.positions
                assert split not in self.finished
                self.finished.add(split)
            case SourceFinished():
                assert self.finished == self.positions.keys()
                self.is_over = True
        self.steps.append((stored(self.positions), {split: len(rows) for split, rows in self.rows.items()}))

    @property
    def wanted(self) -> list[str]:
        return [split for split in self.positions if split not in self.finished]

    @property
    def is_at_end(self) -> bool:
        """Whether nothing more will come by itself."""
        return self.is_over or all(split in self.finished | self.idle for split in self.positions)


async def read_all(
    source: Source,
    limits: Iterable[int] = (1000,),
    positions: Mapping[str, Any] | None = None,
    until: Callable[[History], bool] = lambda history: history.is_at_end,
    order: Callable[[Sequence[str]], Sequence[str]] = lambda wanted: wanted,
) -> History:
    """Read a source from some positions, until it is at its end, and close it."""
    history = History()
    reader: Reader = source.reader()
    turns = chain(cycle(limits))
    try:
        for opened in await reader.open({} if positions is None else positions):
            history.note(opened, 0)
        while not until(history):
            limit = next(turns)
            for event in await reader.read(limit, order(history.wanted)):
                history.note(event, limit)
    finally:
        await reader.close()
        await reader.close()
    return history
