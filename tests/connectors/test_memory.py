"""Memory: what arrived, in order, and what an upsert edge comes to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from streamflow.connectors.memory import MemorySink
from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Guarantee, Sink, Token
from streamflow.core.folding import Windowed
from streamflow.core.rows import Rows
from streamflow.core.stamps import DELETE, UPSERT, Stamps
from streamflow.errors import DataError, InternalError


def rows(*values: Any) -> Rows:
    return Rows(Stamps.at(0, 0, len(values)), list(values))


def changes(*entries: tuple[int, Any, Any]) -> Rows:
    kind = np.array([kind for kind, _, _ in entries], dtype=np.int8)
    stamps = Stamps.at(0, 0, len(entries)).with_kind(kind)
    return Rows(stamps, [value for _, _, value in entries], [key for _, key, _ in entries])


def columns(frame: pl.DataFrame, key: tuple[str, ...] = (), kind: Sequence[int] | None = None) -> Columns:
    kinds = None if kind is None else np.array(kind, dtype=np.int8)
    return Columns(Stamps.at(0, 0, frame.height).with_kind(kinds), frame, key)


async def write(sink: MemorySink, *batches: Batch) -> MemorySink:
    writer = sink.writer("p", "out")
    assert await writer.open() is None
    for batch in batches:
        await writer.write(batch)
    await writer.close()
    return sink


def test_it_shows_rows_at_once_and_takes_upserts() -> None:
    sink = MemorySink()
    assert isinstance(sink, Sink)
    assert (sink.guarantee, sink.takes_upserts, str(sink)) == (Guarantee.AT_ONCE, True, "memory")


async def test_rows_are_the_values_in_order_of_arrival_from_all_writers() -> None:
    value, sink = object(), MemorySink()
    await write(sink, rows(value, 2))
    await write(sink, rows(3), columns(pl.DataFrame({"a": [4]})))
    assert sink.rows == [value, 2, 3, {"a": 4}]
    assert sink.rows[0] is value
    assert repr(sink) == "MemorySink(4 rows, 0 keys)"


async def test_the_table_is_what_the_changes_fold_to() -> None:
    sink = await write(
        MemorySink(),
        changes((UPSERT, ("a",), 1), (UPSERT, ("b",), 2), (DELETE, ("c",), None)),
        changes((UPSERT, "a", 3), (DELETE, ("b",), 2)),
    )
    assert sink.table == {"a": 3}
    assert sink.rows == [1, 2, None, 3, 2]


async def test_the_table_of_columns_is_that_of_rows() -> None:
    frame = pl.DataFrame({"user": ["a", "b", "a"], "day": [1, 1, 1], "n": [1, 2, 3]})
    sink = await write(MemorySink(), columns(frame, ("user", "day"), [UPSERT, DELETE, UPSERT]))
    assert sink.table == {("a", 1): {"user": "a", "day": 1, "n": 3}}


async def test_windows_are_told_apart_and_nan_is_one_key() -> None:
    first, second = Windowed("a", 0, 10, 1), Windowed("a", 10, 20, 2)
    nan = float("nan")
    sink = await write(
        MemorySink(), changes((UPSERT, ("a",), first), (UPSERT, ("a",), second), (UPSERT, nan, 1), (UPSERT, -nan, 2))
    )
    assert list(sink.table.values()) == [first, second, 2]
    assert sink.table["a", 0, 10] is first


async def test_a_frame_of_rows_is_flattened_and_a_frame_of_frames_keeps_its_types() -> None:
    sink = await write(MemorySink(), rows(Windowed("a", 0, 1_000_000, {"n": 1}), Windowed("b", 0, 1_000_000, {"n": 2})))
    assert sink.frame().to_dicts()[1] == {
        "key": "b",
        "window_start": datetime(1970, 1, 1, tzinfo=UTC),
        "window_end": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "n": 2,
    }
    frame = pl.DataFrame({"a": [1]}, schema={"a": pl.UInt8})
    assert (await write(MemorySink(), columns(frame), columns(frame))).frame().equals(pl.concat([frame, frame]))
    assert MemorySink().frame().is_empty()


async def test_rows_that_make_no_frame_are_an_error_that_says_which() -> None:
    sink = await write(MemorySink(), rows(1, 2.5))
    with pytest.raises(DataError, match=r"row 1: field 'value': expected Int64, got float 2\.5"):
        sink.frame()
    declared = await write(MemorySink(schema={"value": pl.Float64}), rows(1, 2.5))
    assert declared.frame()["value"].to_list() == [1.0, 2.5]


async def test_clear_forgets_everything() -> None:
    sink = await write(MemorySink(), changes((UPSERT, "a", 1)), columns(pl.DataFrame({"a": [1]})))
    sink.clear()
    assert (sink.rows, sink.table, sink.frame().height) == ([], {}, 0)


async def test_it_cannot_be_staged() -> None:
    writer = MemorySink().writer("p", "out")
    with pytest.raises(InternalError, match="asked to stage 1"):
        writer.encode(rows(1))
    with pytest.raises(InternalError, match="given 1 staged"):
        await writer.apply([b""], Token(1, 1))
