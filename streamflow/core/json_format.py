"""JSON, one document a row.

How many rows are decoded in one call, and each is still decoded as if alone
    msgspec decodes a whole piece of lines in one call, at twice the speed of a call for each, but it does not look at
    the lines: two documents on one line and one document over two lines are as good to it as two on two.  So that no
    row can take another's place, a piece is decoded so only if every line begins with ``{`` and ends with ``}`` (or
    ``[`` and ``]``).  Then no document goes over a newline: none inside a string (JSON forbids it there), and none
    between ``}`` and ``{``, since what follows a value inside a document is ``,``, ``}`` or ``]``.  So each line holds
    at least one document, and if there are as many documents as lines, each holds one.  Whatever leaves a doubt is
    decoded line by line.  The same holds for messages, joined by newlines, none of which has one inside.

Why not polars
    Its reader of lines takes a number for a string, keeps the first of two fields of one name where everything else
    keeps the last, leaves a missing field null, skips an empty line and turns a lone surrogate into a NUL, all without
    a word.  Below some 10,000 rows it is slower than msgspec and lists (1.4 to 2 times at 1,000); above, a fifth
    faster, and to find out whether it did any of this costs more than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import msgspec
import numpy as np
import polars as pl

from streamflow.core.batch import Layout
from streamflow.core.connector import Decoded, Lines, Records, Refused
from streamflow.core.formats import Piece, decode_each, pieces
from streamflow.core.record_type import FrameBuilder, RecordType
from streamflow.errors import DataError


@final
@dataclass(frozen=True, slots=True)
class Json:
    r"""JSON, one document a row: rows of ``type``, or the columns of its fields.

    A row is refused, with the reason and its bytes, if it is not one JSON document in UTF-8, lacks a field that has no
    default, has a value of another type (nothing is converted, but an integer where a float is expected), an ``int``
    beyond 64 bits, or a ``datetime`` without a time zone (unless declared ``Annotated[datetime, Meta(tz=False)]``).
    Unknown fields are skipped; of two fields with one name the last counts.

    Args:
        type: A msgspec Struct (fastest), a dataclass, a TypedDict, or any type msgspec decodes.  Without it rows are
            dicts, whatever their fields.  Leave out fields you do not need: they cost nothing then.
        schema: The columns with their polars types, in place of a type.  All must be there and not null; use a Struct
            with ``| None`` where they need not.  Rows are dicts of these fields.

    Raises:
        DefinitionError: If msgspec cannot decode the type.

    Cost of a row of five fields: about 0.4 us as a Struct, 0.6 as a dict, 0.8 as columns.

    >>> Json().decode(Lines(b'{"n": 1}\n{"n": \n{"n": 3}\n'), Layout.ROWS).data
    [{'n': 1}, {'n': 3}]
    """

    type: Any = None
    schema: Mapping[str, Any] | None = field(default=None, kw_only=True)
    _record: RecordType = field(init=False, repr=False, compare=False)
    _decoder: msgspec.json.Decoder[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        untyped = self.type is None and self.schema is None
        record = RecordType(dict[str, Any] if untyped else self.type, self.schema)
        object.__setattr__(self, "_record", record)
        object.__setattr__(self, "_decoder", msgspec.json.Decoder(record.decoded))

    def decode(self, data: Lines | Records, layout: Layout) -> Decoded:
        """Return the rows in the layout asked for, and those that are malformed.

        Raises:
            DefinitionError: If columns are asked for, and the type has a field that no column holds, or there is none.
        """
        refused: list[Refused] = []
        if layout is Layout.ROWS:
            rows: list[Any] = []
            for records in self._decoded(data, refused):
                rows += self._record.rows(records)
            return Decoded(rows, refused)
        builder = FrameBuilder(self._record.columns)
        for records in self._decoded(data, refused):
            builder.add(records)
        return Decoded(builder.frame(), refused)

    def columns(self) -> pl.Schema:
        """Return the columns it makes.

        Raises:
            DefinitionError: If the type has a field that no column holds, or there is none.
        """
        return pl.Schema({column.name: column.dtype for column in self._record.columns})

    def _decoded(self, data: Lines | Records, refused: list[Refused]) -> Iterator[list[Any]]:
        """Yield the records of each piece; refused rows go to ``refused``."""
        first = 0
        for piece in pieces(data):
            records = self._at_once(piece)
            if records is not None:
                first += len(records)
                yield records
                continue
            raws = piece.rows()
            yield decode_each(raws, self._one, first, refused)
            first += len(raws)

    def _at_once(self, piece: Piece) -> list[Any] | None:
        """Return the records of a piece decoded in one call; None where a row is malformed or in doubt."""
        blob = piece.blob
        if len(blob) < _SMALL:
            return None
        if blob.endswith(b"\r\n"):  # white space to JSON, and in the way of the next look
            blob = blob.replace(b"\r\n", b"\n")
        rows = whole_documents(blob)
        if not rows or (piece.raws is not None and rows != len(piece.raws)):
            return None
        try:
            if not blob.isascii():
                blob.decode()
            records = self._decoder.decode_lines(blob)
        except Exception:  # noqa: BLE001 - one of the rows: decoding them one by one tells which, and why
            return None
        return records if len(records) == rows and self._record.checks.is_clean(blob, records) else None

    def _one(self, raw: bytes) -> Any:
        if not raw.isascii():
            raw.decode()
        elif not raw:
            raise DataError("expected a JSON document, got nothing")
        record = self._decoder.decode(raw)
        if (flaw := self._record.checks.flaw(record)) is not None:
            raise DataError(flaw)
        return record

    def __str__(self) -> str:
        if self.schema is not None:
            return f"json {', '.join(self.schema)}"
        return "json" if self.type is None else f"json {getattr(self.type, '__name__', self.type)}"


_SMALL = 2048
"""Bytes below which rows are decoded one by one: looking at them as one piece costs more than it saves."""


def whole_documents(blob: bytes) -> int:
    """Return the number of lines if no document can go over the end of one, as each begins and ends one; else 0.

    About 30 ns a row.  The theory is in the docstring of the module.
    """
    if len(blob) < 3 or (blob[0], blob[-2]) not in _PAIRS or blob[-1] != _NEWLINE:
        return 0
    opening, closing = blob[0], blob[-2]
    codes = np.frombuffer(blob, dtype=np.uint8)
    newline = codes == _NEWLINE
    between = newline[1:-1] & (codes[:-2] == closing) & (codes[2:] == opening)
    lines = int(np.count_nonzero(newline))
    return lines if np.count_nonzero(between) == lines - 1 else 0


_NEWLINE = ord("\n")
_PAIRS = {(ord("{"), ord("}")), (ord("["), ord("]"))}
