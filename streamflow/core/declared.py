"""Declared columns: what ``schema=`` of a table may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from streamflow.core.record_type import RecordType


def declared_columns(declared: Any) -> Mapping[str, Any] | None:
    """Return the columns that a type or a mapping of polars types declares; None where nothing is declared.

    Raises:
        DefinitionError: If it is neither, or has a field that no column holds.
    """
    if declared is None:
        return None
    if isinstance(declared, Mapping):
        return dict(pl.Schema(declared))
    return {column.name: column.dtype for column in RecordType(declared, None).columns}
