"""The contract of sources and sinks: what a connector, ours or a third party's, must keep to.

A **source** is a value that opens a **reader**.  A reader yields chunks of one split each, with the position to resume
from; it does not decode, does not know event time, and is never asked to guess when to stop.

A **sink** is a value that opens a **writer**.  ``encode`` turns rows to the sink's wire form, synchronously, *before*
they are staged, so that a row that does not fit is a dead letter of the same epoch.  ``apply`` writes one committed
epoch with its token, atomically; after a crash the runtime reads the token and applies only what is newer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import polars as pl

from streamflow.core.batch import Batch, Layout


@final
@dataclass(frozen=True, slots=True)
class Lines:
    """Undecoded lines in one piece of memory, each ended by a newline (the last one too)."""

    blob: bytes

    def __len__(self) -> int:
        if len(self.blob) < 4096:
            return self.blob.count(b"\n")
        # Asked several times a chunk: 15 ns a row of 80 bytes, against 75 of bytes.count.
        return int(np.count_nonzero(np.frombuffer(self.blob, dtype=np.uint8) == ord("\n")))


@final
@dataclass(frozen=True, slots=True)
class Records:
    """Undecoded messages, one a row."""

    values: list[bytes]

    def __len__(self) -> int:
        return len(self.values)


Payload = Lines | Records | list[Any] | pl.DataFrame
"""Undecoded (``Lines``, ``Records``), or already Python values, or a frame."""


@final
@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one split, in its order.

    Attributes:
        split: Which split.
        data: The rows.
        start: The identity of the first row in its split; the others follow one by one.
        resume: What to give the reader to go on behind the last row: msgpack-able, JSON-like.
    """

    split: str
    data: Payload
    start: int
    resume: Any

    def __len__(self) -> int:
        return self.data.height if isinstance(self.data, pl.DataFrame) else len(self.data)


@final
@dataclass(frozen=True, slots=True)
class SplitOpened:
    """A split exists and starts at ``resume``; committed before its first row is read."""

    split: str
    resume: Any


@final
@dataclass(frozen=True, slots=True)
class SplitIdle:
    """The split is at its end and nothing is pending; any later chunk of it makes it active."""

    split: str


@final
@dataclass(frozen=True, slots=True)
class SplitFinished:
    """The split is over for ever."""

    split: str


@final
@dataclass(frozen=True, slots=True)
class SourceFinished:
    """No split will ever say anything again: when all are read, the input ends."""


ReadEvent = Chunk | SplitOpened | SplitIdle | SplitFinished | SourceFinished


class Replay(Enum):
    """What a crash does to a source's rows."""

    REPLAYABLE = "replayable"
    """Rows can be read again from a position, the same rows in the same order."""
    AT_MOST_ONCE = "at most once"
    """Rows read and not yet committed are lost in a crash (sockets, standard input, a live generator)."""


class Reader(Protocol):
    """An open source.  One task drives it; ``read`` is never timed out, and cancelled only to stop."""

    async def open(self, positions: Mapping[str, Any]) -> Sequence[SplitOpened]:
        """Connect, and return the splits known now: those of ``positions`` from there, others from their start."""
        ...

    async def read(self, limit: int, wanted: Sequence[str]) -> Sequence[ReadEvent]:
        """Wait until there is something and return it.

        Args:
            limit: Return about this many rows at the most.
            wanted: The splits to read, the one furthest behind first; others are paused.
        """
        ...

    async def close(self) -> None:
        """Release everything; called once, also after an error."""
        ...


@runtime_checkable
class Source(Protocol):
    """Where rows come from: a value that opens readers."""

    @property
    def replay(self) -> Replay:
        """What a crash does to its rows."""
        ...

    @property
    def is_bounded(self) -> bool:
        """Whether it ends by itself."""
        ...

    @property
    def format(self) -> Format | None:
        """How its undecoded rows are decoded; None where it yields values or frames."""
        ...

    def reader(self) -> Reader:
        """Return a reader that is not open yet; does no I/O."""
        ...

    def __str__(self) -> str:
        """Say what it is in a few words, for ``explain()``; no secrets."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Refused:
    """A row that could not be decoded or encoded.

    Attributes:
        row: Its place in the chunk or batch.
        reason: What was expected and what was got.
        raw: The row as it came.
        cause: The exception behind it, where there is one.
    """

    row: int
    reason: str
    raw: Any
    cause: Exception | None = None


@final
@dataclass(frozen=True, slots=True)
class Decoded:
    """What a format made of undecoded rows: a list of values or a frame, without the refused rows."""

    data: list[Any] | pl.DataFrame
    refused: Sequence[Refused] = ()


class Format(Protocol):
    """How bytes become rows.  Pure; decoding one row never depends on another."""

    def decode(self, data: Lines | Records, layout: Layout) -> Decoded:
        """Return the rows in the layout asked for, and those that are malformed."""
        ...

    def __str__(self) -> str:
        """Say what it is, for ``explain()``."""
        ...


class Guarantee(Enum):
    """What a sink promises of each row of a committed epoch, when the pipeline has a checkpoint."""

    EXACTLY_ONCE = "exactly once"
    """Rows and token are written in one transaction, or readers look only at what the token covers."""
    EACH_EPOCH = "at least once, each epoch with the same content and a key"
    """``apply`` may be called again with the same epoch after a crash; its content and token are the same."""
    AT_ONCE = "at once, not staged"
    """Shown as soon as it is computed, and again after a crash: terminals and memory, for people and tests."""


@final
@dataclass(frozen=True, slots=True, order=True)
class Token:
    """What a sink stores with an epoch's output to know that it has it."""

    generation: int
    epoch: int
    chunk: int = 0
    fence: int = 0


@final
@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch in the sink's wire form.

    Attributes:
        data: What is staged, and what ``apply`` is given: opaque to the runtime.
        rows: How many rows it holds.
        refused: Rows that the sink can never take; they become dead letters of the same epoch.
    """

    data: bytes
    rows: int
    refused: Sequence[Refused] = ()


class Writer(Protocol):
    """An open sink."""

    async def open(self) -> Token | None:
        """Connect, fence off others, and return the token of the last epoch that the sink has; None if it has none."""
        ...

    def encode(self, batch: Batch) -> Encoded:
        """Return the rows in wire form; pure, called on the engine's side."""
        ...

    async def apply(self, staged: Sequence[bytes], token: Token) -> None:
        """Write one epoch's staged data and the token, atomically where the guarantee says so."""
        ...

    async def write(self, batch: Batch) -> None:
        """Show a batch at once; called only where the guarantee is ``AT_ONCE``, or the pipeline has no checkpoint."""
        ...

    async def close(self) -> None:
        """Release everything; called once, also after an error."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where rows go: a value that opens writers."""

    @property
    def guarantee(self) -> Guarantee:
        """What it promises."""
        ...

    @property
    def takes_upserts(self) -> bool:
        """Whether rows may replace or delete earlier ones (batches with ``stamps.kind``); else only appends."""
        ...

    def writer(self, pipeline: str, name: str) -> Writer:
        """Return a writer for the sink step ``name`` of a pipeline; not open yet, does no I/O."""
        ...

    def __str__(self) -> str:
        """Say what it is in a few words, for ``explain()``; no secrets."""
        ...
