"""CSV, one record a line.

A quoted field may hold the delimiter and doubled quotes, never a newline: a record that goes over a line's end is
malformed, as is the line it ends on.  So one line that lacks a quote cannot swallow the lines behind it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import msgspec
import msgspec.inspect as mi
import polars as pl

from streamflow.core.batch import Layout
from streamflow.core.connector import Decoded, Lines, Records, Refused
from streamflow.core.formats import Piece, decode_each, pieces, reason_of, split_text
from streamflow.core.record_type import FrameBuilder, RecordType
from streamflow.errors import DataError, DefinitionError


@final
@dataclass(frozen=True, slots=True)
class Csv:
    r"""CSV, one record a line: rows of ``type``, or the columns of its fields.

    Fields are converted to the types declared: ``12`` to ``int``, ``true`` or ``1`` to ``bool``, RFC 3339 to
    ``datetime``, ``nan`` to ``float``.  An empty field is None where its type allows it, the empty ``str`` where that
    is its type, and else malformed.  A row is refused, with the reason and its bytes, if it has not as many fields as
    there are names, a field that cannot be converted, a quote that is not closed, an ``int`` beyond 64 bits, or a
    ``datetime`` without a time zone.

    Args:
        type: A msgspec Struct, a dataclass or a TypedDict.  Without it rows are dicts of ``str``.
        schema: The columns with their polars types, in place of a type; rows are dicts.
        names: What the fields of a line are called, in order; those that the type does not have are skipped.  The
            fields of the type, in its order, where not given.
        header: Whether the first line of each file is a header: it must say these names in this order.
        delimiter: What separates fields.

    Raises:
        DefinitionError: If there are no names, or a required field of the type is not among them.

    Cost: 1 us a row of five fields.

    >>> Csv(names=["city", "at"]).decode(Lines(b'Oslo,1\n"Bergen, west",2\n'), Layout.ROWS).data
    [{'city': 'Oslo', 'at': '1'}, {'city': 'Bergen, west', 'at': '2'}]
    """

    type: Any = None
    schema: Mapping[str, Any] | None = field(default=None, kw_only=True)
    names: Sequence[str] = field(default=(), kw_only=True)
    header: bool = field(default=True, kw_only=True)
    delimiter: str = field(default=",", kw_only=True)
    _record: RecordType = field(init=False, repr=False, compare=False)
    _may_be_none: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise DefinitionError(
                f"the delimiter must be one character, not a quote or newline, got {self.delimiter!r}"
            )
        schema = self.schema
        if self.type is None and schema is None:
            if not self.names:
                raise DefinitionError(
                    "csv needs a type, a schema or names", remedy="write Csv(Type) or Csv(names=[...])"
                )
            schema = dict.fromkeys(self.names, pl.String)
        record = RecordType(self.type, schema)
        info = record.info
        if not isinstance(info, mi.StructType | mi.DataclassType | mi.TypedDictType):
            raise DefinitionError(
                f"a line of csv is a record, got {self.type!r}", remedy="give a Struct or a dataclass"
            )
        names = tuple(self.names) or tuple(f.encode_name for f in info.fields)
        _require_names(names, info.fields)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "_record", record)
        object.__setattr__(self, "_may_be_none", _may_be_none(names, info.fields))

    def decode(self, data: Lines | Records, layout: Layout) -> Decoded:
        """Return the rows in the layout asked for, and those that are malformed.

        Raises:
            DefinitionError: If columns are asked for, and the type has a field that no column holds.
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
            DefinitionError: If the type has a field that no column holds.
        """
        return pl.Schema({column.name: column.dtype for column in self._record.columns})

    @property
    def has_header(self) -> bool:
        """Whether the first line of each file is a header."""
        return self.header

    def header_problem(self, line: bytes) -> str | None:
        """Return what is wrong with the header, or None."""
        try:
            found = self._split_one(line.removeprefix(b"\xef\xbb\xbf"))
        except (DataError, UnicodeDecodeError, csv.Error) as error:
            return f"the header cannot be read: {reason_of(error)}"
        if found == list(self.names):
            return None
        return f"expected the header {self.delimiter.join(self.names)!r}, got {self.delimiter.join(found)!r}"

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
        """Return the records of a piece converted in one call; None where a row is malformed or in doubt."""
        try:
            lines = split_text(piece.blob.decode())
            if piece.raws is not None and len(lines) != len(piece.raws):
                return None
            fields = self._split_all(lines)
            if set(map(len, fields)) != {len(self.names)}:
                return None
            records: list[Any] = msgspec.convert(self._dicts(fields), list[self._record.decoded], strict=False)  # type: ignore[name-defined]
        except Exception:  # noqa: BLE001 - one of the rows: converting them one by one tells which, and why
            return None
        return records if self._record.checks.is_clean(piece.blob, records) else None

    def _split_all(self, lines: list[str]) -> list[list[str]]:
        """Return the fields of each line; something else than one list a line where one is malformed."""
        if "" in lines:
            return []
        if not any(map(_is_quoted, lines)):
            return [line.split(self.delimiter) for line in lines]
        # A quote left open swallows the next line; then there are fewer records than lines, as each takes at least one.
        fields = list(csv.reader(lines, delimiter=self.delimiter, strict=True))
        return fields if len(fields) == len(lines) else []

    def _split_one(self, raw: bytes) -> list[str]:
        line = raw.decode().removesuffix("\r")
        if not line:
            raise DataError(f"expected {len(self.names)} fields, got nothing")
        if not _is_quoted(line):
            return line.split(self.delimiter)
        return next(csv.reader([line], delimiter=self.delimiter, strict=True))

    def _one(self, raw: bytes) -> Any:
        fields = self._split_one(raw)
        if len(fields) != len(self.names):
            raise DataError(f"expected {len(self.names)} fields, got {len(fields)}")
        record = msgspec.convert(self._dicts([fields])[0], self._record.decoded, strict=False)
        if (flaw := self._record.checks.flaw(record)) is not None:
            raise DataError(flaw)
        return record

    def _dicts(self, fields: list[list[str]]) -> list[dict[str, str | None]]:
        names = self.names
        dicts: list[dict[str, str | None]] = [dict(zip(names, values, strict=True)) for values in fields]
        for name in self._may_be_none:
            for record in dicts:
                record[name] = record[name] or None
        return dicts

    def __str__(self) -> str:
        return f"csv {self.delimiter.join(self.names)}"


def _is_quoted(line: str) -> bool:
    """Return whether there is more to a line than its delimiters."""
    return '"' in line or "\r" in line or "\n" in line


def _require_names(names: tuple[str, ...], fields: Sequence[mi.Field]) -> None:
    if len(set(names)) != len(names):
        raise DefinitionError(f"the names of csv fields must differ, got {', '.join(names)}")
    missing = [f.encode_name for f in fields if f.required and f.encode_name not in names]
    if missing:
        raise DefinitionError(
            f"the type needs {', '.join(missing)}, and names has only {', '.join(names)}",
            remedy="name every field of a line, in order, or give these fields a default",
        )


def _may_be_none(names: tuple[str, ...], fields: Sequence[mi.Field]) -> tuple[str, ...]:
    """Return the names of the fields whose type takes None."""
    return tuple(
        f.encode_name
        for f in fields
        if f.encode_name in names
        and isinstance(f.type, mi.UnionType)
        and any(isinstance(t, mi.NoneType) for t in f.type.types)
    )
