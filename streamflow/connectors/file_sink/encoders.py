"""Rows as what is staged, and what is staged as the bytes of files, for each format.

What is staged says by itself what it is (CSV with its header, frames with their types), since the epoch may be
written by another life of the worker than the one that staged it.

Pure, but for ``recall``, which reads the fields of a file that is there already.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, final

import msgspec
import polars as pl

from streamflow.core.batch import Batch
from streamflow.core.connector import Encoded, Refused
from streamflow.core.records import Record, read_table
from streamflow.core.schema import Schema
from streamflow.core.wire import UNFIT, csv_line, frame_bytes, frame_from, json_lines, reason_of
from streamflow.errors import DataError


class Encoder(Protocol):
    """What a format does."""

    def encode(self, batch: Batch) -> Encoded:
        """Return the batch as it is staged."""
        ...

    def pieces(self, staged: Sequence[bytes], *, at_start: bool) -> list[bytes]:
        """Return what is written of an epoch; of lines to be appended, or else of one file (none for no rows)."""
        ...

    def recall(self, path: Path) -> None:
        """Go on with the fields of a file that is there, where they are not known."""
        ...


@final
class JsonLines:
    """JSON objects, a line each; rows may have different fields."""

    def encode(self, batch: Batch) -> Encoded:
        """Return the lines."""
        data, refused = json_lines(batch.to_values())
        return Encoded(data, len(batch) - len(refused), refused)

    def pieces(self, staged: Sequence[bytes], *, at_start: bool) -> list[bytes]:
        """Return the lines as they are."""
        del at_start
        return list(staged)

    def recall(self, path: Path) -> None:
        """Nothing: lines do not depend on each other."""


@final
class CsvLines:
    """Lines of CSV below one header: the fields that were declared, or those of the first row.

    Args:
        fields: The fields declared, in order.
    """

    def __init__(self, fields: Sequence[str] | None = None) -> None:
        self._fields = None if fields is None else tuple(fields)

    def encode(self, batch: Batch) -> Encoded:
        """Return the header and the lines; a row with a field that the header lacks is refused."""
        table = read_table(batch)
        lines, refused = [], table.refused
        for row, record in zip(table.rows, table.records, strict=True):
            try:
                lines.append(csv_line(self._values(record)))
            except UNFIT as error:
                refused.append(Refused(row, reason_of(error), record))
        header = "" if self._fields is None else csv_line(self._fields)
        data = msgspec.msgpack.encode((header, "".join(lines)))
        return Encoded(data, len(lines), sorted(refused, key=lambda r: r.row))

    def _values(self, record: Record) -> Sequence[Any]:
        names = tuple(record)
        if self._fields is None:
            if not names:
                raise DataError("expected at least one field, got none")
            csv_line(names)  # raises if no header can be written of them
            self._fields = names
        if names == self._fields:
            return list(record.values())
        extra = sorted(set(names) - set(self._fields))
        if extra:
            raise DataError(f"unexpected field {extra[0]!r}: the columns are {', '.join(self._fields)}")
        return [record.get(name) for name in self._fields]

    def pieces(self, staged: Sequence[bytes], *, at_start: bool) -> list[bytes]:
        """Return the lines, below the header where the file begins."""
        parts = [msgspec.msgpack.decode(data, type=tuple[str, str]) for data in staged]
        header = next((header for header, lines in parts if lines), "") if at_start else ""
        return [header.encode(), *(lines.encode() for _, lines in parts)]

    def recall(self, path: Path) -> None:
        """Go on with the header of the file."""
        if self._fields is None:
            with path.open(encoding="utf-8", newline="") as file:
                self._fields = tuple(next(csv.reader(file), ())) or None


@final
class Frames:
    """Columns of one type each: the fields that were declared, or those of the first row.

    Args:
        file_format: ``parquet`` or ``ipc``.
        schema: The fields declared, and their polars types.
    """

    def __init__(self, file_format: str, schema: Mapping[str, Any] | None = None) -> None:
        self._is_parquet = file_format == "parquet"
        self._schema = Schema(schema)

    def encode(self, batch: Batch) -> Encoded:
        """Return the rows as an Arrow stream; a row that does not fit the columns is refused."""
        frame, _, refused = self._schema.frame(batch)
        return Encoded(frame_bytes(frame), frame.height, refused)

    def pieces(self, staged: Sequence[bytes], *, at_start: bool) -> list[bytes]:
        """Return one file of all rows; none where there are no rows."""
        del at_start
        frames = [frame for data in staged if (frame := frame_from(data)).height]
        if not frames:
            return []
        frame, buffer = pl.concat(frames, how="diagonal_relaxed"), io.BytesIO()
        if self._is_parquet:
            frame.write_parquet(buffer)
        else:
            frame.write_ipc(buffer)
        return [buffer.getvalue()]

    def recall(self, path: Path) -> None:
        """Go on with the types of the file."""
        if self._schema.types is None:
            self._schema = Schema(pl.read_parquet_schema(path) if self._is_parquet else pl.read_ipc_schema(path))
