"""Python values as msgpack and back, types included: for rows that a checkpoint must hold as they are.

Scalars, lists, dicts, tuples, sets, dates and decimals; msgspec structs, dataclasses and named tuples of them.  A
class is written by name and looked up among the modules that are *already imported*: nothing is imported, constructed
by hooks or executed because a file says so, so a hostile checkpoint can at most build plain records.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec

from streamflow.errors import CheckpointError, DataError

_TUPLE, _RECORD, _SET, _DATE, _DECIMAL, _FROZENSET, _BIGINT = range(1, 8)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ext_hook=lambda code, data: _revive(code, bytes(data)))


def encode_value(value: Any) -> bytes:
    """Return a value as msgpack.

    Raises:
        DataError: If it holds something that cannot be stored.
    """
    return _encoder.encode(_plain(value))


def decode_value(data: bytes) -> Any:
    """Return the value that ``encode_value`` made this of.

    Raises:
        CheckpointError: If it is damaged, or of a class that this program does not have.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"a stored value cannot be read: {error}") from error


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in (str, float, bool, bytes, type(None)) or (kind is datetime and value.tzinfo is not None):
        return value
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 64 else _ext(_BIGINT, str(value))
    if kind is list:
        return [_plain(v) for v in value]
    if kind is dict:
        return {_plain(k): _plain(v) for k, v in value.items()}
    if kind is tuple:
        return _ext(_TUPLE, [_plain(v) for v in value])
    if kind is set or kind is frozenset:
        return _ext(_SET if kind is set else _FROZENSET, [_plain(v) for v in value])
    if kind is date:
        return _ext(_DATE, value.isoformat())
    if kind is Decimal:
        return _ext(_DECIMAL, str(value))
    if (fields := record_fields(kind)) is not None:
        return _ext(_RECORD, [f"{_home(kind)}:{kind.__qualname__}", [_plain(getattr(value, f)) for f in fields]])
    raise DataError(
        f"a value of type {kind.__module__}.{kind.__qualname__} cannot be put into a checkpoint",
        remedy="use scalars, lists, dicts, tuples, sets, and structs, dataclasses or named tuples of them",
    )


def record_fields(kind: type) -> tuple[str, ...] | None:
    """Return the field names of a struct, dataclass or named tuple class; None for any other."""
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    if dataclasses.is_dataclass(kind):
        return tuple(f.name for f in dataclasses.fields(kind))
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return tuple(kind._fields)
    return None


def _ext(code: int, value: Any) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, _encoder.encode(value))


def _revive(code: int, data: bytes) -> Any:
    inner = _decoder.decode(data)
    match code:
        case 1:
            return tuple(inner)
        case 2:
            name, fields = inner
            return _class(name)(**dict(zip(record_fields(_class(name)) or (), fields, strict=True)))
        case 3:
            return set(inner)
        case 4:
            return date.fromisoformat(inner)
        case 5:
            return Decimal(inner)
        case 6:
            return frozenset(inner)
        case 7:
            return int(inner)
        case _:
            raise CheckpointError(f"a stored value has the unknown type {code}")


def _home(kind: type) -> str:
    """Return the module of a class: of one in the program itself the name under which others would import it.

    So ``python shop.py``, ``python -m shop`` and ``streamflow run shop.py`` restore each other's checkpoints.
    """
    return _main_name() if kind.__module__ == "__main__" else kind.__module__


@cache
def _main_name() -> str:
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name)
    return "__main__" if file is None else str(file).replace("\\", "/").rpartition("/")[2].removesuffix(".py")


def _class(name: str) -> type:
    module, _, qualified = name.partition(":")
    found: Any = sys.modules.get("__main__" if module == _main_name() else module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or record_fields(found) is None:
        raise CheckpointError(
            f"the checkpoint holds values of class {name!r}, which this program does not have",
            remedy="keep the class under its old name, or start afresh with a new generation",
        )
    return found


def encode_values(values: Iterable[Any]) -> list[bytes]:
    """Return each value as msgpack."""
    return [encode_value(value) for value in values]
