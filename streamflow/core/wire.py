"""Rows as bytes: JSON lines, CSV lines, Arrow frames.  What is staged in an epoch and later written to a file.

Nothing is lost in silence: a value that the form cannot hold is an error of its row, where the libraries would write
``null`` for NaN, or a line break into a line.

Knows no file and no sink.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import polars as pl

from streamflow.core.connector import Refused
from streamflow.core.folding import Windowed
from streamflow.core.records import SCALARS, fields_of, is_nested, iso, plain
from streamflow.errors import DataError

UNFIT = (TypeError, ValueError, OverflowError, RuntimeError, AttributeError)
"""What encoders raise on a value that they cannot hold; ``DataError`` and ``UnicodeError`` are ``ValueError``s."""


def python_value(value: Any) -> Any:
    """Return a value that msgspec does not know as one that it knows: its ``enc_hook``.

    Raises:
        DataError: If there is none.
    """
    result = plain(value)
    if type(result) is type(value):
        raise DataError(f"expected a value of Python's own types, got {type(value).__name__}")
    return result


_JSON = msgspec.json.Encoder(enc_hook=python_value)


def reason_of(error: BaseException) -> str:
    """Return what was wrong with a value, for ``Refused``."""
    match error:
        case RecursionError():
            return "the value is nested too deeply, or contains itself"
        case UnicodeEncodeError():
            found = error.object[error.start : error.end]
            return f"expected text that UTF-8 can hold, got the lone surrogate {found!r}"
    return str(error)


def json_text(value: Any) -> bytes:
    """Return a value as JSON.

    Raises:
        DataError: If JSON cannot hold it: NaN, infinities, lone surrogates, foreign types, what contains itself.

    >>> json_text({"at": datetime(2024, 5, 1), "tags": ("a", None)})
    b'{"at":"2024-05-01T00:00:00","tags":["a",null]}'
    """
    try:
        text = _JSON.encode(value)
        if b"null" in text and not _is_finite(value):
            raise DataError("JSON has no NaN and no infinity; map them to None or to text")
    except DataError:
        raise
    except UNFIT as error:
        raise DataError(reason_of(error)) from error
    return text


def json_lines(rows: Sequence[Any]) -> tuple[bytes, list[Refused]]:
    """Return rows as JSON objects, a line each, and the rows that JSON cannot hold; 0.3 us a small row.

    Rows are objects of the fields that ``core.records`` names.
    """
    try:
        objects = rows if all(map(_is_object, set(map(type, rows)))) else [_object(row) for row in rows]
        blob = _JSON.encode_lines(objects)
    except UNFIT:
        return _json_lines_one_by_one(rows)
    has_lines = blob.count(b"\n") == len(rows)
    if has_lines and (b"null" not in blob or _are_flat_and_finite(objects)):
        return blob, []
    return _json_lines_one_by_one(rows)


def _json_lines_one_by_one(rows: Sequence[Any]) -> tuple[bytes, list[Refused]]:
    lines, refused = [], []
    for number, row in enumerate(rows):
        try:
            line = json_text(_object(row))
            if b"\n" in line:
                raise DataError("expected JSON in one line, got a msgspec.Raw with line breaks")
            lines.append(line + b"\n")
        except UNFIT as error:
            refused.append(Refused(number, reason_of(error), row))
    return b"".join(lines), refused


def _is_object(kind: type) -> bool:
    """Whether msgspec itself writes rows of this type as objects, in its own way (``omit_defaults`` and the like)."""
    return issubclass(kind, msgspec.Struct) and kind is not Windowed and not kind.__struct_config__.array_like


def _object(row: Any) -> Any:
    return row if isinstance(row, msgspec.Struct) and _is_object(type(row)) else fields_of(row)


def _are_flat_and_finite(rows: Sequence[Any]) -> bool:
    """Whether it is seen at a glance that no row holds NaN or an infinity: scalars only, and the floats have a sum."""
    values = [v for row in rows for v in (row.values() if type(row) is dict else msgspec.structs.astuple(row))]
    if not set(map(type, values)) <= SCALARS:
        return False
    total = sum(v for v in values if type(v) is float)
    return total - total == 0.0


def _is_finite(value: Any) -> bool:
    """Whether a value holds neither NaN nor an infinity; looks at all of it, without recursion of its own."""
    pending = [value]
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind is float:
            if item - item != 0.0:
                return False
        elif kind is dict:
            pending.extend(item.values())
        elif kind is list or kind is tuple:
            pending.extend(item)
        elif kind not in SCALARS:
            pending.append(msgspec.to_builtins(item, enc_hook=python_value))
    return True


def csv_line(values: Iterable[Any]) -> str:
    r"""Return one line of CSV (RFC 4180, but ended by ``\n``): None is nothing, empty text is ``""``.

    Raises:
        DataError: If a value is not a scalar, and JSON cannot hold it either.

    >>> csv_line([1, None, "a,b", True, float("nan"), [1, 2]])
    '1,,"a,b",true,NaN,"[1,2]"\n'
    """
    line = ",".join([_CELLS.get(type(v), _odd_cell)(v) for v in values])
    return (line or '""') + "\n"  # readers skip an empty line, so a row of one None is written as empty text


def _odd_cell(value: Any) -> str:
    """Return the cell of a value of no usual type: a scalar in disguise, or a list or record as JSON."""
    if isinstance(value, np.generic) or not is_nested(value):
        value = plain(value)
        if type(value) in _CELLS:
            return _CELLS[type(value)](value)
    return _quoted(json_text(value).decode())


def _quoted(text: str) -> str:
    if text and "," not in text and '"' not in text and "\n" not in text and "\r" not in text:
        return text
    return '"' + text.replace('"', '""') + '"'


def _number(value: float) -> str:
    if value - value == 0.0:
        return repr(value)
    return "NaN" if value != value else "inf" if value > 0 else "-inf"  # NaN alone differs from itself


def _text(value: str) -> str:
    if not value.isascii():
        value.encode()  # lone surrogates raise here, not when the file is written
    return _quoted(value)


_CELLS: Mapping[type, Callable[[Any], str]] = {
    type(None): lambda _: "",
    bool: lambda v: "true" if v else "false",
    int: str,
    float: _number,
    str: _text,
    bytes: lambda v: base64.b64encode(v).decode() or '""',
    datetime: iso,
    date: date.isoformat,
    time: time.isoformat,
    Decimal: str,
}


def frame_bytes(frame: pl.DataFrame) -> bytes:
    """Return a frame as an Arrow stream.

    Raises:
        DataError: If it has a column of Python objects (of which polars would write the addresses in memory).
    """
    for name, dtype in frame.schema.items():
        if holds_objects(dtype):
            raise DataError(f"expected columns that Arrow can hold, got Python objects in column {name!r}")
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer)
    return buffer.getvalue()


def holds_objects(dtype: Any) -> bool:
    """Return whether a column of this type holds Python objects, at any depth."""
    match dtype:
        case pl.List() | pl.Array():
            return holds_objects(dtype.inner)
        case pl.Struct():
            return any(map(holds_objects, dtype.to_schema().values()))
    return bool(dtype == pl.Object)


def frame_from(data: bytes) -> pl.DataFrame:
    """Return the frame that ``frame_bytes`` wrote."""
    return pl.read_ipc_stream(io.BytesIO(data))
