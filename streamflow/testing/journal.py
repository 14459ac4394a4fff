"""What a test has sent: the replayable source that every source of a pipeline under test is replaced by.

Keeps every row and everything that was said of a split, in the order of the test, so that after a crash the same goes
in again from the positions of the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import polars as pl

from streamflow.core.connector import Chunk, Lines, Payload, Records

Word = Literal["open", "idle", "finish", "end"]
"""What can be said of a split; ``end`` is said of a whole source."""


@final
@dataclass(frozen=True, slots=True)
class Sent:
    """Rows of one split; ``start`` is the place of the first in its split."""

    source: str
    split: str
    start: int
    data: Payload

    def __len__(self) -> int:
        return self.data.height if isinstance(self.data, pl.DataFrame) else len(self.data)

    @property
    def stop(self) -> int:
        """The place behind the last row."""
        return self.start + len(self)

    def chunk(self, start: int, stop: int) -> Chunk:
        """Return the rows from place ``start`` to ``stop`` of the split."""
        return Chunk(self.split, _slice(self.data, start - self.start, stop - self.start), start, stop)


@final
@dataclass(frozen=True, slots=True)
class Said:
    """Something said of a split."""

    source: str
    split: str
    word: Word


Entry = Sent | Said
Positions = Mapping[str, Mapping[str, Any]]


@final
@dataclass(slots=True)
class Journal:
    """What was sent and said, in order.

    Attributes:
        entries: All of it.
        committed: How much of it the last checkpoint has seen.
        ended: The sources that are over.
    """

    entries: list[Entry] = field(default_factory=list)
    committed: int = 0
    ended: set[str] = field(default_factory=set)
    _rows: dict[tuple[str, str], int] = field(default_factory=dict)

    def send(self, source: str, split: str, data: Payload) -> Sent:
        """Note rows, and return them with their place in the split."""
        sent = Sent(source, split, self._rows.get((source, split), 0), data)
        self._rows[source, split] = sent.stop
        self.entries.append(sent)
        return sent

    def say(self, source: str, split: str, word: Word) -> Said:
        """Note what is said of a split."""
        said = Said(source, split, word)
        if word == "open":
            self._rows.setdefault((source, split), 0)
        if word == "end":
            self.ended.add(source)
        self.entries.append(said)
        return said

    def knows(self, source: str, split: str) -> bool:
        """Return whether rows of a split have been sent, or it has been opened."""
        return (source, split) in self._rows

    def commit(self) -> None:
        """Everything noted by now is in a checkpoint."""
        self.committed = len(self.entries)

    def after(self, positions: Positions) -> Iterator[Entry]:
        """Yield what goes in again, given where each split goes on.

        Rows by their positions; what is said of a split where no checkpoint has seen it.  That a split or a source is
        over is said again each time, as the reader of a real one does.
        """
        for place, entry in enumerate(self.entries):
            if isinstance(entry, Said):
                if place >= self.committed or entry.word in ("finish", "end"):
                    yield entry
                continue
            resume = positions.get(entry.source, {}).get(entry.split, 0)
            if resume < entry.stop:
                start = max(resume, entry.start)
                yield Sent(entry.source, entry.split, start, entry.chunk(start, entry.stop).data)


def payloads(values: Sequence[Any], *, is_encoded: bool) -> Iterator[Payload]:
    """Yield rows as a source would: each frame for itself, bytes for the source's format together, values together.

    Args:
        values: Frames and rows, as the test wrote them.
        is_encoded: Whether the source has a format, so that ``bytes`` are encoded rows.
    """
    together: list[Any] = []
    for value in values:
        if together and _kind(value, is_encoded=is_encoded) != _kind(together[-1], is_encoded=is_encoded):
            yield _payload(together, is_encoded=is_encoded)
            together = []
        if isinstance(value, pl.DataFrame):
            yield value
        else:
            together.append(value)
    if together:
        yield _payload(together, is_encoded=is_encoded)


def _kind(value: Any, *, is_encoded: bool) -> str:
    if isinstance(value, pl.DataFrame):
        return "frame"
    return "bytes" if is_encoded and isinstance(value, bytes) else "value"


def _payload(values: list[Any], *, is_encoded: bool) -> Payload:
    return Records(values) if _kind(values[0], is_encoded=is_encoded) == "bytes" else values


def _slice(data: Payload, start: int, stop: int) -> Payload:
    match data:
        case pl.DataFrame():
            return data.slice(start, stop - start)
        case Records(values):
            return Records(values[start:stop])
        case Lines():
            raise AssertionError("a test sends rows, not blobs")
        case values:
            return values[start:stop]
