"""A record type, compiled for decoding: what bytes are decoded to, what is checked, and the frame it makes.

What ``Json`` and ``Csv`` have in common.  Both layouts are made of the same decoded and checked records, so that they
hold the same rows and refuse the same ones.  Knows no bytes but to look at them for long numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import msgspec.inspect as mi
import polars as pl

from streamflow.core.record_checks import Checks
from streamflow.core.record_columns import Column, columns_of, record_type, to_dict
from streamflow.errors import DefinitionError


@final
class RecordType:
    """The record type behind a format.

    Args:
        declared: A msgspec Struct, a dataclass, a TypedDict, or any type msgspec decodes.
        schema: The columns and their polars types, in place of a type.

    Attributes:
        decoded: The type that msgspec decodes to.
        info: What msgspec says of it.
        checks: What it does not check.

    Raises:
        DefinitionError: If msgspec cannot decode it, or a column of the schema is of a type that is not decoded.
    """

    def __init__(self, declared: Any, schema: Mapping[str, Any] | None) -> None:
        if declared is not None and schema is not None:
            raise DefinitionError("a format takes a type or a schema, got both", remedy="give the type alone")
        self.schema = None if schema is None else dict(pl.Schema(schema))
        self.decoded: Any = declared if self.schema is None else record_type(self.schema)
        try:
            self.info = mi.type_info(self.decoded)
        except (TypeError, NameError) as error:
            raise DefinitionError(
                f"expected a type that msgspec can decode, got {declared!r}: {error}",
                remedy="give a msgspec.Struct, a dataclass or a TypedDict; its annotations are looked up in its module",
            ) from error
        self.checks = Checks(self.info)
        self._columns: tuple[Column, ...] | None = None
        self._to_dict = None if schema is None else to_dict(self.info)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns.

        Raises:
            DefinitionError: If it has a field that no column holds, or is no record.
        """
        if self._columns is None:
            columns = columns_of(self.info, wire_names=self.schema is not None)
            if self.schema is not None:
                columns = tuple(replace(column, dtype=self.schema[column.name]) for column in columns)
            self._columns = columns
        return self._columns

    def rows(self, records: list[Any]) -> list[Any]:
        """Return the rows as the row layout has them: the records, or dicts where a schema was given."""
        return records if self._to_dict is None else [self._to_dict(record) for record in records]

    def __repr__(self) -> str:
        return f"RecordType({self.decoded!r})"


@final
class FrameBuilder:
    """Gathers records column by column, so that no record has to live until the frame is made."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._values: list[list[Any]] = [[] for _ in columns]

    def add(self, records: list[Any]) -> None:
        """Take the fields of some records."""
        for i, column in enumerate(self._columns):
            values = column.gather(records)
            if self._values[i]:
                self._values[i].extend(values)
            else:  # most batches are one piece: no copy
                self._values[i] = values

    def frame(self) -> pl.DataFrame:
        """Return the frame of all records, in order."""
        pairs = zip(self._columns, self._values, strict=True)
        return pl.DataFrame([column.series(values) for column, values in pairs])
