"""The columns of a record type: their names, their polars types, and how rows are turned into them.

==================================  ==================================
a field of type                     is a column of type
==================================  ==================================
``str``, ``bytes``, ``bool``        ``String``, ``Binary``, ``Boolean``
``int``, ``float``                  ``Int64``, ``Float64``
``datetime``                        ``Datetime("us", "UTC")``
``datetime`` with ``Meta(tz=False)``  ``Datetime("us")``
``date``                            ``Date``
``Literal`` or ``Enum`` of ``str`` or ``int``  ``String``, ``Int64``
``list``, ``tuple[T, ...]``         ``List``
a Struct, dataclass or TypedDict    ``Struct``
any of these or ``None``            the same, with nulls
==================================  ==================================

A column is named like the attribute.  Other types have no column: a table that needs one is refused at definition.

Values have been checked when they come here (``core.record_checks``), so that they fit their columns.  Knows no bytes
and no format.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import Annotated, Any, Final, final

import msgspec
import msgspec.inspect as mi
import polars as pl

from streamflow.errors import DefinitionError

Gather = Callable[[list[Any]], list[Any]]
"""Returns one field of each row."""
Plain = Callable[[Any], Any]
"""Returns a value as polars takes it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@final
@dataclass(frozen=True, slots=True)
class Column:
    """One column of a record type.

    Attributes:
        name: Its name.
        dtype: Its polars type.
        gather: Reads its values from rows.
        plain: Turns one of its values, not None, to what polars takes; None where it takes them as they are.
    """

    name: str
    dtype: pl.DataType
    gather: Gather
    plain: Plain | None = None

    def series(self, values: list[Any]) -> pl.Series:
        """Return the column of gathered values."""
        if self.plain is not None:
            plain = self.plain
            values = [None if value is None else plain(value) for value in values]
        if isinstance(self.dtype, pl.Datetime):
            return self._times(values)
        return pl.Series(self.name, values, dtype=self.dtype, strict=True)

    def _times(self, values: list[Any]) -> pl.Series:
        """Return a column of times: polars takes 3 us for an aware ``datetime``, and 0.3 us for a ``timedelta``."""
        assert isinstance(self.dtype, pl.Datetime)
        epoch = _EPOCH if self.dtype.time_zone is not None else _EPOCH.replace(tzinfo=None)
        since = [None if value is None else value - epoch for value in values]
        return pl.Series(self.name, since, dtype=pl.Duration("us")).cast(pl.Int64).cast(self.dtype)


def columns_of(info: mi.Type, *, wire_names: bool = False) -> tuple[Column, ...]:
    """Return the columns of a record type.

    Args:
        info: What msgspec says of the type.
        wire_names: Call columns what the fields are called in the undecoded record, not after their attributes.

    Raises:
        DefinitionError: If it is no record, or has a field that no column holds.
    """
    if not isinstance(info, mi.StructType | mi.DataclassType | mi.TypedDictType | mi.NamedTupleType):
        raise DefinitionError(
            "columns need the type of a record, and none is given",
            remedy="give a msgspec.Struct, a dataclass or a TypedDict, or schema={'name': pl.String, ...}",
        )
    typing = _Typing(wire_names=wire_names)
    columns = []
    for item in info.fields:
        dtype, plain = typing.column(item.type, f"{info.cls.__name__}.{item.name}")
        if isinstance(info, mi.TypedDictType):
            gather = _gather_entry(item.name, is_required=item.required)
        else:
            gather = _gather_attribute(item.name)
        columns.append(Column(typing.name(item), dtype, gather, plain))
    return tuple(columns)


def to_dict(info: mi.Type) -> Plain:
    """Return what turns a record of this type, and the records in it, to dicts of wire names."""
    _, plain = _Typing(wire_names=True).column(info, "row")
    assert plain is not None, "a record is never taken as it is"
    return plain


def _gather_attribute(name: str) -> Gather:
    if not name.isidentifier() or keyword.iskeyword(name):  # pragma: no cover - a class cannot have it
        return lambda rows: list(map(attrgetter(name), rows))
    # Code of its own for each field lets the interpreter specialise the access: 22 ns a row against 50 of attrgetter.
    gather: Gather = eval(f"lambda rows: [row.{name} for row in rows]", {})  # noqa: S307 - an attribute of a class
    return gather


def _gather_entry(name: str, *, is_required: bool) -> Gather:
    if is_required:
        return lambda rows: [row[name] for row in rows]
    return lambda rows: [row.get(name) for row in rows]


@final
@dataclass(frozen=True, slots=True)
class _Typing:
    """Finds the column type of a field, and what turns its values to what polars takes."""

    wire_names: bool

    def name(self, item: mi.Field) -> str:
        return item.encode_name if self.wire_names else item.name

    def column(self, info: mi.Type, where: str) -> tuple[pl.DataType, Plain | None]:
        if (dtype := _PLAIN.get(type(info))) is not None:
            return dtype, None
        match info:
            case mi.DateTimeType():
                return pl.Datetime("us", None if info.tz is False else "UTC"), None
            case mi.Metadata():
                return self.column(info.type, where)
            case mi.ListType() | mi.VarTupleType():
                return self._list(info.item_type, where)
            case mi.StructType() | mi.DataclassType() | mi.TypedDictType():
                return self._struct(info, where)
        return self._choice(info, where)

    def _choice(self, info: mi.Type, where: str) -> tuple[pl.DataType, Plain | None]:
        match info:
            case mi.UnionType():
                inner = [t for t in info.types if not isinstance(t, mi.NoneType)]
                if len(inner) == 1:
                    return self.column(inner[0], where)
            case mi.LiteralType():
                if (dtype := _common_type(info.values)) is not None:
                    return dtype, None
            case mi.EnumType():
                if (dtype := _common_type(tuple(member.value for member in info.cls))) is not None:
                    return dtype, attrgetter("value")
        raise DefinitionError(
            f"field {where} has a type that no column holds",
            remedy="use str, int, float, bool, bytes, datetime, date, a Literal or Enum of one type, a list, a record,"
            " or any of these or None; or read rows, and make a table of them with as_table()",
        )

    def _list(self, item: mi.Type, where: str) -> tuple[pl.DataType, Plain | None]:
        inner, plain = self.column(item, f"{where}[]")
        if plain is None:
            return pl.List(inner), list
        return pl.List(inner), lambda values: [None if value is None else plain(value) for value in values]

    def _struct(
        self, info: mi.StructType | mi.DataclassType | mi.TypedDictType, where: str
    ) -> tuple[pl.DataType, Plain | None]:
        if where.count(".") > _DEEPEST:
            raise DefinitionError(f"field {where} holds itself: no column can", remedy="leave it out, or read rows")
        fields, parts = [], []
        for item in info.fields:
            dtype, plain = self.column(item.type, f"{where}.{item.name}")
            fields.append(pl.Field(self.name(item), dtype))
            parts.append((self.name(item), item.name, plain))
        get: Callable[[Any, str], Any] = dict.get if isinstance(info, mi.TypedDictType) else getattr

        def record_to_dict(record: Any) -> dict[str, Any]:
            fields = [(name, get(record, attribute), plain) for name, attribute, plain in parts]
            return {name: v if v is None or plain is None else plain(v) for name, v, plain in fields}

        return pl.Struct(fields), record_to_dict


_PLAIN: Final[Mapping[type[mi.Type], pl.DataType]] = {
    mi.StrType: pl.String(),
    mi.IntType: pl.Int64(),
    mi.FloatType: pl.Float64(),
    mi.BoolType: pl.Boolean(),
    mi.BytesType: pl.Binary(),
    mi.DateType: pl.Date(),
}

_DEEPEST = 32
"""How deep records may lie in records: a type that holds itself has no end."""


def _common_type(values: tuple[Any, ...]) -> pl.DataType | None:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return pl.String()
    return pl.Int64() if kinds == {int} else None


# ------------------------------------------------------------------------------------------- from a polars schema


def record_type(schema: Mapping[str, Any]) -> type[msgspec.Struct]:
    """Return a record type whose wire names are the columns of a schema; every field must be there and not null.

    Raises:
        DefinitionError: If a column is of a type that is not decoded.
    """
    return _record_type(dict(pl.Schema(schema)), "")


def _record_type(types: Mapping[str, Any], where: str) -> type[msgspec.Struct]:
    attributes = {f"c{i}": name for i, name in enumerate(types)}  # columns may have names that no attribute has
    fields = [(attribute, _field_type(types[name], where + name)) for attribute, name in attributes.items()]
    return msgspec.defstruct("Row", fields, rename=attributes, frozen=True, gc=False)


_SCALARS: Final[Mapping[type[pl.DataType], Any]] = {
    pl.String: str,
    pl.Binary: bytes,
    pl.Boolean: bool,
    pl.Int64: int,
    pl.Float64: float,
    pl.Date: date,
    **{
        dtype: Annotated[int, msgspec.Meta(ge=low, le=high)]
        for dtype, low, high in [
            (pl.Int8, -(1 << 7), (1 << 7) - 1),
            (pl.Int16, -(1 << 15), (1 << 15) - 1),
            (pl.Int32, -(1 << 31), (1 << 31) - 1),
            (pl.UInt8, 0, (1 << 8) - 1),
            (pl.UInt16, 0, (1 << 16) - 1),
            (pl.UInt32, 0, (1 << 32) - 1),
        ]
    },
}


def _field_type(dtype: pl.DataType, where: str) -> Any:
    match dtype:
        case pl.Datetime(time_unit="us", time_zone="UTC"):
            return datetime
        case pl.Datetime(time_unit="us", time_zone=None):
            return Annotated[datetime, msgspec.Meta(tz=False)]
        case pl.List():
            return list[_field_type(dtype.inner, f"{where}[]")]  # type: ignore[arg-type,misc]  # made at run time
        case pl.Struct():
            return _record_type(dict(dtype.to_schema()), f"{where}.")
    if (kind := _SCALARS.get(dtype.base_type())) is None:
        raise DefinitionError(
            f"column {where!r} is declared as {dtype}, which is not decoded",
            remedy="use String, Int8 to Int64, UInt8 to UInt32, Float64, Boolean, Binary, Date, Datetime('us', 'UTC'),"
            " List or Struct, and cast the column behind the source",
        )
    return kind
