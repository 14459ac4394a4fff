r"""How bytes become rows, for every format: one row at a time, however many are decoded at once.

A row that cannot be decoded is ``Refused`` with its place, the reason and its bytes; no other row is touched by it.  A
format may decode many rows in one call, and does; where that call fails, or leaves a doubt which row is which, the
same rows are decoded one by one.  This file holds that frame and the two formats without fields, ``Text`` and ``Raw``.

Lines end at ``\n`` and nowhere else.  A newline at the end of the input begins no row; an empty line is a row, and in
a format that knows fields a malformed one, since to skip it would give all rows behind it another identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, final, runtime_checkable

import polars as pl

from streamflow.core.batch import Layout
from streamflow.core.connector import Decoded, Lines, Records, Refused

T = TypeVar("T")

PIECE_BYTES = 1 << 17
"""How much is decoded in one call: about 0.6 ms, in which no other thread of the process can run (msgspec keeps the
GIL), and small enough to stay in the cache."""
PIECE_ROWS = 1024
"""The same, in messages."""


@final
@dataclass(frozen=True, slots=True)
class Piece:
    """Some undecoded rows, as one piece of bytes.

    Attributes:
        blob: The rows, each ended by a newline.
        raws: The rows one by one, where they came so: a newline may then stand inside a row.
    """

    blob: bytes
    raws: Sequence[bytes] | None = None

    def rows(self) -> Sequence[bytes]:
        """Return the rows one by one, without their newlines."""
        return split_lines(self.blob) if self.raws is None else self.raws


def pieces(data: Lines | Records) -> Iterator[Piece]:
    """Yield the rows in pieces that are decoded in one call each."""
    if isinstance(data, Records):
        for start in range(0, len(data.values), PIECE_ROWS):
            raws = data.values[start : start + PIECE_ROWS]
            yield Piece(b"\n".join(raws) + b"\n", raws)
        return
    blob, start = data.blob, 0
    while start < len(blob):
        end = blob.find(b"\n", start + PIECE_BYTES - 1) + 1 or len(blob)
        yield Piece(blob[start:end])
        start = end


def split_lines(blob: bytes) -> list[bytes]:
    r"""Return the lines without their newlines; what follows the last newline is a line if it is not empty.

    >>> split_lines(b"a\n\nb\n")
    [b'a', b'', b'b']
    """
    lines = blob.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def split_text(text: str) -> list[str]:
    r"""Return the lines of a text without ``\n`` or ``\r\n``; it ends with a newline."""
    lines = text.split("\n")
    lines.pop()
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines


def decode_each(raws: Iterable[bytes], decode: Callable[[bytes], T], first: int, refused: list[Refused]) -> list[T]:
    """Return the rows that can be decoded, and add those that cannot to ``refused``.

    Args:
        raws: The rows.
        decode: Decodes one row; whatever it raises refuses the row, for decoding may call functions of the user's.
        first: The place of the first row.
        refused: Where refused rows go.
    """
    values: list[T] = []
    for row, raw in enumerate(raws, first):
        try:
            values.append(decode(raw))
        except Exception as error:  # noqa: BLE001 - see `decode`; the row goes where on_error says, with the reason
            refused.append(Refused(row, reason_of(error), raw, error))
    return values


def reason_of(error: Exception) -> str:
    """Return why a row could not be decoded, in a few words."""
    match error:
        case RecursionError():
            return "expected a value that is not nested this deep"
        case UnicodeDecodeError():
            return f"expected UTF-8, got byte 0x{error.object[error.start]:02x} at {error.start}"
        case ValueError():
            return str(error)
    return f"{type(error).__name__}: {error}"


@runtime_checkable
class HasHeader(Protocol):
    """A format whose input begins with a line that is no row: sources of lines take it off and show it to it."""

    @property
    def has_header(self) -> bool:
        """Whether there is such a line."""
        ...

    def header_problem(self, line: bytes) -> str | None:
        """Return what is wrong with the first line, or None."""
        ...


def header_of(format: object) -> HasHeader | None:
    """Return the format if its input begins with a header, else None."""
    return format if isinstance(format, HasHeader) and format.has_header else None


@final
@dataclass(frozen=True, slots=True)
class Text:
    r"""Each row is a ``str``; in a table, the column ``text``.

    Lines lose their ``\n`` or ``\r\n``; messages are taken as they are.  A row that is not UTF-8 is refused.
    """

    def decode(self, data: Lines | Records, layout: Layout) -> Decoded:
        """Return the rows, and those that are not UTF-8; about 70 ns a row."""
        values: list[str] = []
        refused: list[Refused] = []
        first = 0
        for piece in pieces(data):
            try:
                rows = split_text(piece.blob.decode()) if piece.raws is None else [raw.decode() for raw in piece.raws]
            except UnicodeDecodeError:
                raws = piece.rows()
                values += decode_each(raws, _line if piece.raws is None else bytes.decode, first, refused)
                first += len(raws)
            else:
                values += rows
                first += len(rows)
        if layout is Layout.ROWS:
            return Decoded(values, refused)
        return Decoded(pl.DataFrame([pl.Series("text", values, dtype=pl.String)]), refused)

    def columns(self) -> pl.Schema:
        """Return the columns it makes."""
        return pl.Schema({"text": pl.String()})

    def __str__(self) -> str:
        return "text"


def _line(raw: bytes) -> str:
    return raw.removesuffix(b"\r").decode()


@final
@dataclass(frozen=True, slots=True)
class Raw:
    r"""Each row is its ``bytes``; in a table, the column ``raw``.  Nothing is refused.

    Lines lose their ``\n`` and nothing else.
    """

    def decode(self, data: Lines | Records, layout: Layout) -> Decoded:
        """Return the rows."""
        values: list[Any] = data.values if isinstance(data, Records) else split_lines(data.blob)
        if layout is Layout.ROWS:
            return Decoded(values)
        return Decoded(pl.DataFrame([pl.Series("raw", values, dtype=pl.Binary)]))

    def columns(self) -> pl.Schema:
        """Return the columns it makes."""
        return pl.Schema({"raw": pl.Binary()})

    def __str__(self) -> str:
        return "raw bytes"
