"""SQLite: exactly once, whatever rows and names are like."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.connectors.sqlite import SqliteSink
from streamflow.connectors.sqlite.sink import SqliteWriter
from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Encoded, Guarantee, Sink, Token
from streamflow.core.folding import Windowed
from streamflow.core.rows import Rows
from streamflow.core.stamps import DELETE, UPSERT, Stamps
from streamflow.errors import DefinitionError, FencedError, SinkError

SECOND = 1_000_000


def rows(*values: Any) -> Rows:
    return Rows(Stamps.at(0, 0, len(values)), list(values))


def changes(*changes: tuple[int, Any, Any]) -> Rows:
    """An upsert edge: (kind, key, value)."""
    stamps = Stamps.at(0, 0, len(changes)).with_kind(np.array([kind for kind, _, _ in changes], dtype=np.int8))
    return Rows(stamps, [value for _, _, value in changes], [key for _, key, _ in changes])


def columns(frame: pl.DataFrame, *, kind: Sequence[int] | None = None, key: tuple[str, ...] = ()) -> Columns:
    kinds = None if kind is None else np.array(kind, dtype=np.int8)
    return Columns(Stamps.at(0, 0, frame.height).with_kind(kinds), frame, key)


def with_writer[T](sink: SqliteSink, use: Callable[[SqliteWriter], Coroutine[Any, Any, T]], name: str = "out") -> T: ...
