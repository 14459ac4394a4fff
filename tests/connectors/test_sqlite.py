"""SQLite: exactly once, and what is read is what was written, whatever rows and names are like."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.connectors.sqlite import SqliteSink
from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Guarantee, Refused, Sink, Token
from streamflow.core.folding import Windowed
from streamflow.core.rows import Rows
from streamflow.core.stamps import DELETE, UPSERT, Stamps
from streamflow.errors import DefinitionError, FencedError, SinkError

SECOND = 1_000_000


def rows(*values: Any) -> Rows:
    return Rows(Stamps.at(0, 0, len(values)), list(values))


def changes(*entries: tuple[int, Any, Any]) -> Rows:
    """An upsert edge: (kind, key, value)."""
    kind = np.array([kind for kind, _, _ in entries], dtype=np.int8)
    stamps = Stamps.at(0, 0, len(entries)).with_kind(kind)
    return Rows(stamps, [value for _, _, value in entries], [key for _, key, _ in entries])


def columns(frame: pl.DataFrame, key: tuple[str, ...] = (), kind: Sequence[int] | None = None) -> Columns:
    kinds = None if kind is None else np.array(kind, dtype=np.int8)
    return Columns(Stamps.at(0, 0, frame.height).with_kind(kinds), frame, key)


async def deliver(sink: SqliteSink, *epochs: Sequence[Batch], first: int = 1) -> list[Refused]:
    """Deliver epochs as the runtime does; return the rows that were refused."""
    writer, refused = sink.writer("p", "out"), list[Refused]()
    try:
        await writer.open()
        for number, epoch in enumerate(epochs, first):
            encoded = [writer.encode(batch) for batch in epoch]
            assert sum(e.rows + len(e.refused) for e in encoded) == sum(map(len, epoch))
            refused += [r for e in encoded for r in e.refused]
            await writer.apply([e.data for e in encoded], Token(1, number))
    finally:
        await writer.close()
    return refused


async def token_of(sink: SqliteSink, name: str = "out") -> Token | None:
    """What a new writer finds."""
    writer = sink.writer("p", name)
    try:
        return await writer.open()
    finally:
        await writer.close()


def read(sink: SqliteSink, order: str = "rowid") -> list[dict[str, Any]]:
    with closing(sqlite3.connect(sink.path)) as connection:
        connection.row_factory = sqlite3.Row
        name = sink.table.replace('"', '""')
        return [dict(row) for row in connection.execute(f'SELECT * FROM main."{name}" ORDER BY {order}')]


@pytest.fixture
def sink(tmp_path: Path) -> SqliteSink:
    return SqliteSink(tmp_path / "out.db", "t")


# ------------------------------------------------------------------------------------------------------ definition


def test_it_is_an_exactly_once_sink_that_takes_upserts(sink: SqliteSink) -> None:
    assert isinstance(sink, Sink)
    assert (sink.guarantee, sink.takes_upserts) == (Guarantee.EXACTLY_ONCE, True)
    assert str(sink) == f"sqlite {sink.path} table t"


@pytest.mark.parametrize(
    ("path", "table", "key"),
    [
        (":memory:", "t", None),
        ("", "t", None),
        ("a.db", "sqlite_x", None),
        ("a.db", "SQLITE_x", None),
        ("a.db", "Streamflow_Tokens", None),
        ("a.db", "a\0b", None),
        ("a.db", "\ud800", None),
        ("a.db", "t", "a\0b"),
        ("a.db", "t", ("k", "K")),
    ],
)
def test_what_cannot_be_a_table_is_a_definition_error(path: str, table: str, key: Any) -> None:
    with pytest.raises(DefinitionError):
        SqliteSink(path, table, key)


# -------------------------------------------------------------------------------------------------- token protocol


async def test_a_new_database_has_no_token_and_an_applied_epoch_gives_its_own(sink: SqliteSink) -> None:
    writer = sink.writer("p", "out")
    assert await writer.open() is None
    await writer.apply([writer.encode(rows({"a": 1})).data], Token(2, 5, 1, 4))
    await writer.close()
    assert await token_of(sink) == Token(2, 5, 1, 4)
    assert await token_of(sink, "other") is None


async def test_an_epoch_applied_again_is_there_once(sink: SqliteSink) -> None:
    writer = sink.writer("p", "out")
    await writer.open()
    first, second = (writer.encode(rows({"a": n})).data for n in (1, 2))
    for data, epoch in [(first, 1), (first, 1), (second, 2), (first, 1), (second, 2)]:
        await writer.apply([data], Token(1, epoch))
    await writer.close()
    assert read(sink) == [{"a": 1}, {"a": 2}]


async def test_chunks_of_an_epoch_are_each_there_once(sink: SqliteSink) -> None:
    writer = sink.writer("p", "out")
    await writer.open()
    for chunk in (0, 1, 0, 1, 2):
        await writer.apply([writer.encode(rows({"chunk": chunk})).data], Token(1, 1, chunk))
    await writer.close()
    assert read(sink) == [{"chunk": 0}, {"chunk": 1}, {"chunk": 2}]


async def test_an_empty_epoch_moves_the_token(sink: SqliteSink) -> None:
    await deliver(sink, [])
    assert await token_of(sink) == Token(1, 1)


@pytest.mark.parametrize("stale", [Token(1, 9, fence=3), Token(0, 9, fence=9)])
async def test_a_worker_that_was_taken_over_writes_nothing(sink: SqliteSink, stale: Token) -> None:
    zombie, successor = sink.writer("p", "out"), sink.writer("p", "out")
    await zombie.open()
    await successor.open()
    await successor.apply([successor.encode(rows({"a": 1})).data], Token(1, 4, fence=4))
    with pytest.raises(FencedError, match="fence 4"):
        await zombie.apply([zombie.encode(rows({"a": 2})).data], stale)
    await zombie.close()
    await successor.close()
    assert read(sink) == [{"a": 1}]


async def test_a_new_generation_goes_on_whatever_its_fence(sink: SqliteSink) -> None:
    writer = sink.writer("p", "out")
    await writer.open()
    await writer.apply([writer.encode(rows({"a": 1})).data], Token(1, 7, fence=6))
    await writer.apply([writer.encode(rows({"a": 1})).data], Token(2, 1, fence=1))
    await writer.close()
    assert read(sink) == [{"a": 1}, {"a": 1}]


async def test_what_was_staged_in_an_earlier_life_makes_the_table_in_the_next(sink: SqliteSink) -> None:
    writer = sink.writer("p", "out")
    await writer.open()
    staged = writer.encode(changes((UPSERT, "a", 1))).data
    await writer.close()  # the epoch was committed, and never applied
    writer = sink.writer("p", "out")
    assert await writer.open() is None
    await writer.apply([staged], Token(1, 1))
    encoded = writer.encode(changes((UPSERT, "a", 2), (UPSERT, "b", "text")))
    await writer.apply([encoded.data], Token(1, 2))
    await writer.close()
    assert read(sink) == [{"key": "a", "value": 2}]
    assert [r.row for r in encoded.refused] == [1]


async def test_without_a_checkpoint_batches_are_written_and_no_token(sink: SqliteSink) -> None:
    writer = sink.writer("p", "out")
    await writer.open()
    await writer.write(rows({"a": 1}))
    await writer.write(rows({"a": 2}))
    with pytest.raises(SinkError, match=r"row 1 .*NaN"):
        await writer.write(rows({"a": 3}, {"a": float("nan")}))
    await writer.close()
    assert read(sink) == [{"a": 1}, {"a": 2}]
    assert await token_of(sink) is None


async def test_a_cancelled_apply_is_whole_or_not_there_and_close_waits_for_it(sink: SqliteSink) -> None:
    writer = sink.writer("p", "out")
    await writer.open()
    data = writer.encode(rows(*({"a": n} for n in range(20_000)))).data
    applying = asyncio.create_task(writer.apply([data], Token(1, 1)))
    await asyncio.wait([asyncio.create_task(asyncio.to_thread(lambda: None))])
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    await writer.close()
    again = sink.writer("p", "out")
    token = await again.open()
    await again.apply([data], Token(1, 1))
    await again.close()
    assert token in {None, Token(1, 1)}
    assert len(read(sink)) == 20_000


KILLED = """
import asyncio, sys
from streamflow.connectors.sqlite import SqliteSink
from streamflow.core.connector import Token
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps

async def main(path, epochs):
    writer = SqliteSink(path, "t").writer("p", "out")
    token = await writer.open()
    for epoch in range(token.epoch + 1 if token else 1, epochs + 1):
        values = [{"epoch": epoch, "n": n} for n in range(40)]
        data = [writer.encode(Rows(Stamps.at(0, 0, 40), values)).data]
        print(epoch, flush=True)
        await writer.apply(data, Token(1, epoch))
    await writer.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_a_process_killed_again_and_again_writes_each_row_once(sink: SqliteSink) -> None:
    chance, epochs, kills, done = random.Random(7), 60, 0, 0
    while True:
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(sink.path), str(epochs)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 25)):
                done = int(process.stdout.readline() or epochs)
            if done < epochs:
                process.kill()
        if process.returncode == 0:
            break
        assert process.returncode == -9
        kills += 1
    assert kills >= 2
    assert read(sink) == [{"epoch": epoch, "n": n} for epoch in range(1, epochs + 1) for n in range(40)]


# ------------------------------------------------------------------------------------------------- rows and values


class Point(msgspec.Struct, rename="camel"):
    point_name: str
    x: float


@dataclass
class Reading:
    name: str
    value: float


class Pair(NamedTuple):
    left: int
    right: str


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({"a": 1, "b": "x"}, {"a": 1, "b": "x"}),
        (Point("p", 1.5), {"pointName": "p", "x": 1.5}),
        (Reading("r", 2.5), {"name": "r", "value": 2.5}),
        (Pair(1, "x"), {"left": 1, "right": "x"}),
        (7, {"value": 7}),
        ("text", {"value": "text"}),
        (Windowed("k", 0, SECOND, {"n": 3}), WINDOW := {
            "key": "k",
            "window_start": "1970-01-01T00:00:00.000000+00:00",
            "window_end": "1970-01-01T00:00:01.000000+00:00",
            "n": 3,
        }),
        (Windowed("k", 0, SECOND, 3), {k: v for k, v in WINDOW.items() if k != "n"} | {"value": 3}),
        (Windowed(("a", 2), 0, SECOND, Pair(1, "x")), {
            "key_0": "a", "key_1": 2, "window_start": WINDOW["window_start"], "window_end": WINDOW["window_end"],
            "left": 1, "right": "x",
        }),
    ],
)  # fmt: skip
async def test_the_fields_of_a_row_are_the_columns(sink: SqliteSink, value: Any, stored: dict[str, Any]) -> None:
    assert await deliver(sink, [rows(value)]) == []
    assert read(sink) == [stored]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, 1),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (float("inf"), float("inf")),
        ("a\0b\N{SNOWMAN}", "a\0b\N{SNOWMAN}"),
        ("1e5", "1e5"),
        (b"\0\xff", b"\0\xff"),
        (datetime(2024, 5, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2024-05-01T00:00:00.000000+00:00"),
        (datetime(2024, 5, 1), "2024-05-01T00:00:00.000000"),  # noqa: DTZ001  # a naive one is the case
        (date(2024, 5, 1), "2024-05-01"),
        (timedelta(seconds=90), "PT90S"),
        (Decimal("1.50"), "1.50"),
        (np.int64(5), 5),
        (np.float32(0.5), 0.5),
        ([1, "a", None], '[1,"a",null]'),
        ({"x": {"y": 1}}, '{"x":{"y":1}}'),
        (Pair(1, "x"), '[1,"x"]'),
        (None, None),
    ],
)
async def test_a_value_is_stored_unchanged(sink: SqliteSink, value: Any, stored: Any) -> None:
    assert await deliver(sink, [rows({"a": value})]) == []
    assert read(sink) == [{"a": stored}]


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**63, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        (float("nan"), "NaN"),
        (np.float64("nan"), "NaN"),
        ([float("inf")], "no infinity"),
        ("\ud800", "surrogate"),
        (object(), "got object"),
        (1j, "got complex"),
        (CYCLE, "contains itself"),
        ("text", "INTEGER"),
        (b"blob", "INTEGER"),
    ],
)
async def test_a_value_that_sqlite_would_change_is_refused_and_the_others_are_written(
    sink: SqliteSink, value: Any, reason: str
) -> None:
    refused = await deliver(sink, [rows({"a": 1}, {"a": value}, {"a": 3})])
    assert [r.row for r in refused] == [1]
    assert reason in refused[0].reason
    assert read(sink) == [{"a": 1}, {"a": 3}]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"b": 1}, "unexpected field 'b'"),
        ({"a": 1, "A": 2}, "differ in more than case"),
        ({}, "differ in more than case"),
        ({1: 2}, "named by str"),
        (Windowed("k", 0, 1, {"key": 2}), "named like the window's own"),
        ({"a\0b": 1}, "NUL"),
        ({"\ud800": 1}, "surrogate"),
    ],
)
async def test_a_row_of_other_fields_is_refused(sink: SqliteSink, value: Any, reason: str) -> None:
    refused = await deliver(sink, [rows({"a": 1}, value)])
    assert [r.row for r in refused] == [1]
    assert reason in refused[0].reason
    assert read(sink) == [{"a": 1}]


async def test_a_field_that_a_row_lacks_is_null(sink: SqliteSink) -> None:
    await deliver(sink, [rows({"a": 1, "b": 2}, {"a": 3}, {"B": 4})])
    assert read(sink) == [{"a": 1, "b": 2}, {"a": 3, "b": None}, {"a": None, "b": 4}]


async def test_a_first_row_that_is_refused_makes_no_table(sink: SqliteSink) -> None:
    refused = await deliver(sink, [rows({"a": float("nan")}, {}, {"b": 1})])
    assert [r.row for r in refused] == [0, 1]
    assert read(sink) == [{"b": 1}]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters() | st.sampled_from("\0'\"[]`;-\ud800")),
    st.binary(max_size=8),
    st.lists(st.integers() | st.floats(), max_size=2),
)
NAMES = st.text(st.characters(codec="utf-8") | st.sampled_from("\"'`[];. -\0\ud800aA"), max_size=12)


@settings(max_examples=60)
@given(st.lists(st.dictionaries(NAMES, SCALARS, max_size=3), max_size=6), NAMES, st.integers(1, 6))
def test_what_is_written_is_what_is_read_whatever_names_and_values(
    values: list[dict[str, Any]], table: str, cut: int
) -> None:
    with TemporaryDirectory() as directory:
        try:
            sink = SqliteSink(Path(directory) / "db", table)
        except DefinitionError:
            assert "\0" in table or "\ud800" in table
            return
        batches = [rows(*values[i : i + cut]) for i in range(0, len(values), cut)]
        refused = asyncio.run(deliver(sink, [*batches]))
        kept = [v for v in values if not any(v is r.raw for r in refused)]
        assert len(kept) + len(refused) == len(values)
        if not kept:
            return
        read_back = read(sink)
        names = {ascii_lower(name): name for name in read_back[0]}
        for want, got in zip(kept, read_back, strict=True):
            given_names = {names[ascii_lower(name)]: value for name, value in want.items()}
            assert {n: v for n, v in got.items() if v is not None} == {
                n: msgspec.json.encode(v).decode() if isinstance(v, list) else v
                for n, v in given_names.items()
                if v is not None
            }


def ascii_lower(name: str) -> str:
    return name.encode().lower().decode()


@settings(max_examples=30)
@given(st.lists(st.dictionaries(st.sampled_from("abA"), SCALARS, max_size=3), max_size=6))
def test_the_table_does_not_depend_on_the_cut(values: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as directory:
        tables = []
        for name, cut in [("one", 1), ("two", 2), ("all", 100)]:
            sink = SqliteSink(Path(directory) / name, "t")
            batches = [rows(*values[i : i + cut]) for i in range(0, len(values), cut)]
            refused = asyncio.run(deliver(sink, *([b] for b in batches)))
            tables.append((read(sink) if len(refused) < len(values) else [], len(refused)))
        assert tables[0] == tables[1] == tables[2]


async def test_columns_and_rows_give_the_same_table(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "key": ["a", "b", None],
            "window_start": [datetime(2024, 5, 1, tzinfo=UTC)] * 3,
            "n": [1, None, 3],
            "x": [0.5, float("inf"), -0.0],
            "tags": [["p"], [], None],
            "ok": [True, False, None],
        }
    )
    by_columns, by_rows = (SqliteSink(tmp_path / name, "t") for name in ("columns", "rows"))
    await deliver(by_columns, [columns(frame)])
    await deliver(by_rows, [rows(*frame.to_dicts())])
    assert read(by_columns) == read(by_rows)
    assert len(read(by_rows)) == 3


# --------------------------------------------------------------------------------------------------------- upserts


async def test_an_upsert_edge_is_the_table_that_it_folds_to(sink: SqliteSink) -> None:
    batch = changes(
        (UPSERT, ("a",), 1), (UPSERT, ("b",), 2), (UPSERT, ("a",), 3), (DELETE, ("b",), None), (DELETE, "c", 0)
    )
    assert await deliver(sink, [batch], [changes((UPSERT, "d", 4))]) == []
    assert read(sink, "key") == [{"key": "a", "value": 3}, {"key": "d", "value": 4}]


async def test_a_deletion_needs_the_key_and_nothing_else(sink: SqliteSink) -> None:
    entries = [
        (UPSERT, "a", {"n": 1}),
        (UPSERT, "b", {"n": 2}),
        (DELETE, "a", None),
        (DELETE, "b", {"other": object()}),
    ]
    assert await deliver(sink, [changes(*entries)]) == []
    assert read(sink) == []


async def test_a_windows_key_is_its_key_and_its_bounds(sink: SqliteSink) -> None:
    def pane(start: int, end: int, n: int) -> Windowed[Any, Any]:
        return Windowed(("u", 1), start * SECOND, end * SECOND, {"n": n})

    entries = [(UPSERT, pane(0, 10, 1)), (UPSERT, pane(0, 10, 2)), (UPSERT, pane(10, 20, 3)), (DELETE, pane(0, 10, 2))]
    assert await deliver(sink, [changes(*((kind, ("u", 1), value) for kind, value in entries))]) == []
    assert [(r["key_0"], r["window_start"][17:19], r["n"]) for r in read(sink)] == [("u", "10", 3)]


async def test_the_key_of_columns_is_their_key(sink: SqliteSink) -> None:
    frame = pl.DataFrame({"user": ["a", "b", "a", "b"], "day": [1, 1, 1, 1], "n": [1, 2, 3, 2]})
    await deliver(sink, [columns(frame, ("user", "day"), [UPSERT, UPSERT, UPSERT, DELETE])])
    assert read(sink) == [{"user": "a", "day": 1, "n": 3}]


async def test_the_users_key_names_what_the_row_does_not_say(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path / "db", "t", key="user")
    await deliver(sink, [changes((UPSERT, ("a",), 1), (UPSERT, ("b",), 2), (DELETE, ("a",), None))])
    assert read(sink) == [{"user": "b", "value": 2}]


async def test_with_a_key_rows_of_an_append_edge_replace_each_other(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path / "db", "t", key=["k"])
    await deliver(sink, [rows({"k": 1, "a": 1, "b": 1}, {"k": 2, "a": 2}, {"K": 1, "a": 3})])
    assert read(sink) == [{"k": 1, "a": 3, "b": None}, {"k": 2, "a": 2, "b": None}]


async def test_a_row_without_its_key_is_refused(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path / "db", "t", key=["k", "j"])
    values = [{"k": 1, "j": None}, {"k": 1, "j": 1}, {"k": 1}, {"k": None, "j": 1}]
    refused = await deliver(sink, [rows(*values)])
    assert [r.row for r in refused] == [0, 2, 3]
    assert read(sink) == [{"k": 1, "j": 1}]


async def test_an_integer_key_takes_integers_only(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path / "db", "t", key="k")
    refused = await deliver(sink, [rows({"k": 1}, {"k": 1.5}, {"k": True})])
    assert [r.row for r in refused] == [1]
    assert read(sink) == [{"k": 1}]


async def test_a_field_that_contradicts_the_key_is_refused(sink: SqliteSink) -> None:
    refused = await deliver(sink, [changes((UPSERT, "a", {"key": "a", "n": 1}), (UPSERT, "b", {"key": "c", "n": 1}))])
    assert [r.row for r in refused] == [1]
    assert read(sink) == [{"key": "a", "n": 1}]


async def test_upserts_without_any_key_are_an_error(sink: SqliteSink) -> None:
    with pytest.raises(SinkError, match="by which key") as caught:
        await deliver(sink, [columns(pl.DataFrame({"a": [1]}), (), [UPSERT])])
    assert caught.value.remedy == "give key= to the sink"


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.sampled_from([UPSERT, UPSERT, DELETE]), st.sampled_from("abc"), st.integers(0, 9)), max_size=20
    )
)
def test_the_table_is_what_the_changes_fold_to(entries: list[tuple[int, str, int]]) -> None:
    folded: dict[str, int] = {}
    for kind, key, value in entries:
        if kind == UPSERT:
            folded[key] = value
        else:
            folded.pop(key, None)
    with TemporaryDirectory() as directory:
        sink = SqliteSink(Path(directory) / "db", "t")
        half = len(entries) // 2
        asyncio.run(deliver(sink, [changes(*entries[:half])], [changes(*entries[half:])]))
        if any(kind == UPSERT for kind, _, _ in entries):
            assert {row["key"]: row["value"] for row in read(sink)} == folded


# --------------------------------------------------------------------------------------------- tables of the user


def execute(sink: SqliteSink, *statements: str) -> None:
    with closing(sqlite3.connect(sink.path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def test_a_table_that_is_there_is_used_as_it_is(sink: SqliteSink) -> None:
    execute(sink, "CREATE TABLE t (Name TEXT, n INTEGER, at DATETIME, note TEXT DEFAULT 'none')")
    values = [
        {"name": "a", "n": 1, "at": datetime(2024, 5, 1, tzinfo=UTC)},
        {"name": 5, "n": 1, "at": None},
        {"name": "b", "n": "1", "at": None},
        {"name": "c", "n": 1, "at": "12"},
        {"name": "d", "n": 0.5, "at": 12},
    ]
    refused = await deliver(sink, [rows(*values)])
    assert [r.row for r in refused] == [1, 2, 3]
    assert read(sink) == [
        {"Name": "a", "n": 1, "at": "2024-05-01T00:00:00.000000+00:00", "note": "none"},
        {"Name": "d", "n": 0.5, "at": 12, "note": "none"},
    ]


async def test_strict_tables_are_given_only_what_they_take(sink: SqliteSink) -> None:
    execute(sink, "CREATE TABLE t (i INT, r REAL, b BLOB, a ANY) STRICT")
    values = [{"i": 1.0}, {"r": 1}, {"b": "x"}, {"a": "1"}, {"a": 1}, {"i": 1}]
    refused = await deliver(sink, [rows(*values)])
    assert [r.row for r in refused] == [0, 2]
    assert [tuple(row.values()) for row in read(sink)] == [
        (None, 1.0, None, None),
        (None, None, None, "1"),
        (None, None, None, 1),
        (1, None, None, None),
    ]


async def test_a_key_needs_a_unique_index(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path / "db", "t", key=("a", "b"))
    execute(sink, "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, n INTEGER)")
    with pytest.raises(SinkError, match=r"unique index over exactly \(a, b\)") as caught:
        await token_of(sink)
    assert "CREATE UNIQUE INDEX" in str(caught.value.remedy)
    execute(sink, "CREATE UNIQUE INDEX i ON t (b, a)")
    await deliver(sink, [rows({"a": "x", "b": "y", "n": 1}, {"a": "x", "b": "y", "n": 2})])
    assert read(sink) == [{"id": 1, "a": "x", "b": "y", "n": 2}]


async def test_the_key_of_an_edge_needs_a_unique_index_too(sink: SqliteSink) -> None:
    execute(sink, "CREATE TABLE t (key TEXT, value INTEGER)")
    with pytest.raises(SinkError, match="unique index"):
        await deliver(sink, [changes((UPSERT, "a", 1))])


async def test_a_row_that_a_constraint_refuses_is_named_and_nothing_of_the_epoch_is_there(sink: SqliteSink) -> None:
    execute(sink, "CREATE TABLE t (a INTEGER CHECK (a < 10), b TEXT)")
    with pytest.raises(SinkError, match=r"CHECK constraint failed.*\{'a': 10, 'b': 'x'\}"):
        await deliver(sink, [rows({"a": 1, "b": "v"})], [rows({"a": 2, "b": "w"}, {"a": 10, "b": "x"})])
    assert read(sink) == [{"a": 1, "b": "v"}]
    assert await token_of(sink) == Token(1, 1)


async def test_a_view_is_refused(sink: SqliteSink) -> None:
    execute(sink, "CREATE TABLE u (a)", "CREATE VIEW t AS SELECT a FROM u")
    with pytest.raises(SinkError, match="not a table"):
        await token_of(sink)


async def test_a_locked_database_says_who_must_act(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path / "db", "t", timeout="1ms")
    writer = sink.writer("p", "out")
    await writer.open()
    with closing(sqlite3.connect(sink.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SinkError, match="locked") as caught:
            await writer.apply([writer.encode(rows({"a": 1})).data], Token(1, 1))
        other.execute("ROLLBACK")
    assert "another connection" in str(caught.value.remedy)
    await writer.apply([writer.encode(rows({"a": 1})).data], Token(1, 1))
    await writer.close()
    assert read(sink) == [{"a": 1}]


@pytest.mark.parametrize("content", [b"not a database" * 100, None])
async def test_what_is_no_database_is_a_sink_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.db" if content else tmp_path / "no directory" / "x.db"
    if content:
        path.write_bytes(content)
    writer = SqliteSink(path, "t").writer("p", "out")
    with pytest.raises(SinkError, match="cannot open"):
        await writer.open()
    await writer.close()
