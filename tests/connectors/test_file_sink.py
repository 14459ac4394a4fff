"""Files: what the token covers is there, whole and once, wherever a crash cuts."""

from __future__ import annotations

import asyncio
import base64
import csv
import fcntl
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.connectors.file_sink import FileSink, committed_lines, committed_parts, durable
from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Guarantee, Refused, Sink, Token
from streamflow.core.folding import Windowed
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.errors import DefinitionError, FencedError, SinkError

FORMATS = ["jsonl", "csv", "parquet", "ipc"]


def rows(*values: Any) -> Rows:
    return Rows(Stamps.at(0, 0, len(values)), list(values))


def columns(frame: pl.DataFrame) -> Columns:
    return Columns(Stamps.at(0, 0, frame.height), frame)


async def deliver(sink: FileSink, *epochs: Sequence[Batch], first: int = 1) -> list[Refused]:
    """Deliver epochs as the runtime does; return the rows that were refused."""
    writer, refused = sink.writer("p", "out"), list[Refused]()
    await writer.open()
    for number, epoch in enumerate(epochs, first):
        encoded = [writer.encode(batch) for batch in epoch]
        assert sum(e.rows + len(e.refused) for e in encoded) == sum(map(len, epoch))
        refused += [r for e in encoded for r in e.refused]
        await writer.apply([e.data for e in encoded], Token(1, number))
    await writer.close()
    return refused


def committed(sink: FileSink) -> list[dict[str, Any]]:
    """The rows that a reader sees who looks at what the token covers."""
    match sink.format:
        case "jsonl":
            return [json.loads(line) for line in committed_lines(sink.path).splitlines()]
        case "csv":
            text = committed_lines(sink.path)
            return pl.read_csv(text, infer_schema_length=None).to_dicts() if text else []
        case "parquet":
            return [row for part in committed_parts(sink.path) for row in pl.read_parquet(part).to_dicts()]
    return [row for part in committed_parts(sink.path) for row in pl.read_ipc(part).to_dicts()]


def token_of(sink: FileSink) -> Path:
    return next(Path(sink.path).parent.rglob("*.token"))


def files(sink: FileSink) -> list[Path]:
    return sorted(Path(sink.path).iterdir()) if Path(sink.path).is_dir() else [Path(sink.path)]


def clear(sink: FileSink) -> None:
    for path in sorted(Path(sink.path).parent.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


@pytest.fixture(params=FORMATS)
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> FileSink:
    return FileSink(tmp_path / "out" / "x", request.param)


# ------------------------------------------------------------------------------------------------------ definition


def test_it_is_an_exactly_once_sink_for_appends(sink: FileSink) -> None:
    assert isinstance(sink, Sink)
    assert (sink.guarantee, sink.takes_upserts) == (Guarantee.EXACTLY_ONCE, False)
    assert str(sink) == f"{sink.format} {sink.path}"


def test_what_cannot_be_written_is_a_definition_error() -> None:
    with pytest.raises(DefinitionError, match="jsonl, csv, parquet, ipc"):
        FileSink("x", "xml")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="schema"):
        FileSink("x", "jsonl", schema={"a": pl.Int64})
    with pytest.raises(DefinitionError, match="path"):
        FileSink("")


# -------------------------------------------------------------------------------------------------- token protocol


async def test_a_new_place_has_no_token_and_an_applied_epoch_gives_its_own(sink: FileSink) -> None:
    writer = sink.writer("p", "out")
    assert await writer.open() is None
    await writer.apply([writer.encode(rows({"a": 1})).data], Token(2, 5, 1, 4))
    await writer.close()
    assert await sink.writer("p", "out").open() == Token(2, 5, 1, 4)


async def test_an_epoch_applied_again_is_there_once(sink: FileSink) -> None:
    writer = sink.writer("p", "out")
    await writer.open()
    first, second = (writer.encode(rows({"a": n})).data for n in (1, 2))
    for data, epoch in [(first, 1), (first, 1), (second, 2), (first, 1), (second, 2)]:
        await writer.apply([data], Token(1, epoch))
    assert committed(sink) == [{"a": 1}, {"a": 2}]


async def test_batches_and_chunks_of_an_epoch_are_in_order(sink: FileSink) -> None:
    writer = sink.writer("p", "out")
    await writer.open()
    for chunk in range(12):
        await writer.apply([writer.encode(rows({"a": chunk * 2 + n})).data for n in (0, 1)], Token(1, 1, chunk))
    assert committed(sink) == [{"a": n} for n in range(24)]


async def test_an_empty_epoch_moves_the_token_and_writes_nothing(sink: FileSink) -> None:
    await deliver(sink, [], [rows()], [rows({"a": 1})], [])
    assert committed(sink) == [{"a": 1}]
    assert await sink.writer("p", "out").open() == Token(1, 4)


@pytest.mark.parametrize("stale", [Token(1, 9, fence=3), Token(0, 9, fence=9)])
async def test_a_worker_that_was_taken_over_writes_nothing(sink: FileSink, stale: Token) -> None:
    zombie, successor = sink.writer("p", "out"), sink.writer("p", "out")
    await zombie.open()
    await successor.open()
    await successor.apply([successor.encode(rows({"a": 1})).data], Token(1, 4, fence=4))
    with pytest.raises(FencedError, match="fence 4"):
        await zombie.apply([zombie.encode(rows({"a": 2})).data], stale)
    assert committed(sink) == [{"a": 1}]


async def test_a_zombie_frozen_while_it_writes_keeps_its_successor_out(
    sink: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "LOCK_TIMEOUT", 0.0)
    await deliver(sink, [rows({"a": 1})])
    handle = os.open(sink.path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(SinkError, match="another process"):
        await sink.writer("p", "out").open()
    os.close(handle)
    assert await sink.writer("p", "out").open() == Token(1, 1)


async def test_output_of_another_sink_is_refused(sink: FileSink) -> None:
    await deliver(sink, [rows({"a": 1})])
    for pipeline, name in [("p", "other"), ("other", "out")]:
        with pytest.raises(SinkError, match=r"is written by sink 'out' of pipeline 'p'") as caught:
            await sink.writer(pipeline, name).open()
        assert ".token" in str(caught.value.remedy)
    assert committed(sink) == [{"a": 1}]


async def test_output_that_nobody_vouches_for_is_refused_unless_it_may_be_removed(sink: FileSink) -> None:
    await deliver(sink, [rows({"a": 1})])
    token_of(sink).unlink()
    with pytest.raises(SinkError, match="has no token") as caught:
        await sink.writer("p", "out").open()
    assert "overwrite=True" in str(caught.value.remedy)
    replacing = FileSink(sink.path, sink.format, overwrite=True)
    await deliver(replacing, [rows({"a": 2})])
    await deliver(replacing, [rows({"a": 3})], first=2)  # a restart goes on, it does not remove
    assert committed(sink) == [{"a": 2}, {"a": 3}]


async def test_overwriting_removes_only_what_a_sink_wrote(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SinkError, match=r"thesis\.txt"):
        await FileSink(tmp_path, "parquet", overwrite=True).writer("p", "out").open()
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


async def test_what_no_token_covers_is_removed_and_what_is_not_ours_is_left(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, "parquet")
    await deliver(sink, [rows({"a": 1})])
    leftovers = ["part-0001-000000002-0000.parquet", "part-0002-000000001-0000.parquet", ".part-0001-2-0.parquet.tmp"]
    for name in [*leftovers, "_SUCCESS", "part-x.parquet"]:
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in committed_parts(tmp_path)] == ["part-0001-000000001-0000.parquet"]
    await sink.writer("p", "out").open()
    assert sorted(p.name for p in files(sink)) == [
        "_SUCCESS",
        "_streamflow.token",
        "part-0001-000000001-0000.parquet",
        "part-x.parquet",
    ]


async def test_a_file_shorter_than_its_token_is_refused(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "x")
    await deliver(sink, [rows({"a": 1})])
    os.truncate(sink.path, 3)
    with pytest.raises(SinkError, match="has 3 bytes, and 8 were committed"):
        await sink.writer("p", "out").open()


async def test_parts_that_the_token_covers_may_be_moved_by_readers(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "x", "parquet")
    await deliver(sink, [rows({"a": 1})])
    committed_parts(sink.path)[0].unlink()
    await deliver(sink, [rows({"a": 2})], first=2)
    assert committed(sink) == [{"a": 2}]


@pytest.mark.parametrize("content", [b"", b"{", b'{"pipeline": 1}', b"\xff"])
async def test_a_damaged_token_is_refused(sink: FileSink, content: bytes) -> None:
    await deliver(sink, [rows({"a": 1})])
    token_of(sink).write_bytes(content)
    with pytest.raises(SinkError, match="is not a token file"):
        await sink.writer("p", "out").open()


async def test_without_a_checkpoint_batches_are_written_and_no_token(sink: FileSink) -> None:
    writer = sink.writer("p", "out")
    await writer.open()
    await writer.write(rows({"a": 1}))
    await writer.write(rows({"a": 2}))
    with pytest.raises(SinkError, match="row 1 "):
        await writer.write(rows({"a": 3}, {"a": object()}))
    await writer.close()
    read: Callable[[Any], pl.DataFrame] = {
        "jsonl": pl.read_ndjson, "csv": pl.read_csv, "parquet": pl.read_parquet, "ipc": pl.read_ipc
    }[sink.format]  # fmt: skip
    assert [row for path in files(sink) for row in read(path.read_bytes()).to_dicts()] == [{"a": 1}, {"a": 2}]
    with pytest.raises(SinkError, match="has no token"):
        await sink.writer("p", "out").open()


async def test_a_run_without_a_checkpoint_does_not_touch_output_that_has_tokens(sink: FileSink) -> None:
    await deliver(sink, [rows({"a": 1})])
    writer = sink.writer("p", "out")
    await writer.open()
    with pytest.raises(SinkError, match="checkpoint"):
        await writer.write(rows({"a": 2}))
    assert committed(sink) == [{"a": 1}]


async def test_a_directory_where_a_file_should_be_is_a_sink_error_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot write"):
        await FileSink(tmp_path).writer("p", "out").open()
    with pytest.raises(SinkError, match="cannot write"):
        await FileSink(tmp_path / "file", "ipc").writer("p", "out").open()


# --------------------------------------------------------------------------------------------------------- crashes


class PowerCutError(BaseException):
    """The process is gone: nothing that follows is done."""


DURABLE_CALLS = ["write", "fsync", "replace", "truncate", "unlink", "open", "mkdir"]


@contextmanager
def power_cut(at: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let the process live until its ``at``-th call that changes the disk; give the names of the calls made."""
    calls: list[str] = []

    def dying(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if len(calls) >= at:
                raise PowerCutError(name)
            calls.append(name)
            if len(calls) == at and name == "write":  # torn: half of it is there
                return call(args[0], args[1][: len(args[1]) // 2 + 1])
            return call(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        for name in DURABLE_CALLS:
            patch.setattr(os, name, dying(name, getattr(os, name)))
        yield calls


async def test_a_crash_at_any_call_loses_nothing_and_repeats_nothing(
    sink: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = [[{"a": 1, "b": "x"}], [], [{"a": 2, "b": 'y,\n"'}, {"a": 3, "b": None}]]
    staged: dict[int, list[bytes]] = {}

    async def run() -> None:
        """Go on as the runtime does: an epoch once staged is applied as it was staged."""
        writer = sink.writer("p", "out")
        token = await writer.open()
        for number, epoch in enumerate(epochs, 1):
            if token is None or number > token.epoch:
                data = staged.get(number) or [writer.encode(rows(*epoch)).data]
                staged[number] = data
                await writer.apply(data, Token(1, number))
                seen.append(committed(sink))

    want = [row for epoch in epochs for row in epoch]
    cuts, finished = 0, False
    while not finished:
        cuts += 1
        staged.clear()
        seen: list[list[dict[str, Any]]] = []
        clear(sink)
        with power_cut(cuts, monkeypatch) as calls:
            try:
                await run()
                finished = True
            except PowerCutError:
                assert len(calls) == cuts
        assert want[: len(committed(sink))] == committed(sink)
        with power_cut(1 + cuts * 7 % 13, monkeypatch), suppress(PowerCutError):
            await run()  # the recovery is cut short too
        await run()
        assert committed(sink) == want
        assert all(state in (want[:1], want) for state in seen)
    assert cuts > 25


async def test_data_is_durable_before_the_token_and_the_token_before_apply_returns(
    sink: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(sink, [rows({"a": 1})])
    writer = sink.writer("p", "out")
    await writer.open()
    staged = [writer.encode(rows({"a": 2})).data]
    with power_cut(10**9, monkeypatch) as calls:
        await writer.apply(staged, Token(1, 2))
    durable_calls = [call for call in calls if call != "open"]
    whole_file = ["write", "fsync", "replace", "fsync"]
    assert durable_calls == (["write", "fsync"] if sink.format in {"jsonl", "csv"} else whole_file) + whole_file


async def test_after_a_failed_write_nothing_is_written_until_the_sink_is_opened_again(
    sink: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(sink, [rows({"a": 1})])
    writer = sink.writer("p", "out")
    await writer.open()
    staged = [writer.encode(rows({"a": 2})).data]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(SinkError, match="No space left") as caught:
            await writer.apply(staged, Token(1, 2))
    assert "space" in str(caught.value.remedy)
    with pytest.raises(SinkError, match="writing failed before"):
        await writer.apply(staged, Token(1, 2))
    assert committed(sink) == [{"a": 1}]
    assert await writer.open() == Token(1, 1)
    await writer.apply(staged, Token(1, 2))
    assert committed(sink) == [{"a": 1}, {"a": 2}]


def failing(*_: Any) -> None:
    raise OSError(28, "No space left on device")


KILLED = """
import asyncio, sys
from streamflow.connectors.file_sink import FileSink
from streamflow.core.connector import Token
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps

async def main(path, kind, epochs):
    writer = FileSink(path, kind).writer("p", "out")
    token = await writer.open()
    for epoch in range(token.epoch + 1 if token else 1, epochs + 1):
        values = [{"epoch": epoch, "n": n} for n in range(40)]
        data = [writer.encode(Rows(Stamps.at(0, 0, 40), values)).data]
        print(epoch, flush=True)
        await writer.apply(data, Token(1, epoch))
    await writer.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_process_killed_again_and_again_writes_each_row_once(tmp_path: Path, kind: Any) -> None:
    sink, epochs = FileSink(tmp_path / "x", kind), 40
    chance, kills, done = random.Random(7), 0, 0
    while True:
        command = [sys.executable, "-c", KILLED, str(sink.path), kind, str(epochs)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 20)):
                done = int(process.stdout.readline() or epochs)
            if done < epochs:
                process.kill()
        if process.returncode == 0:
            break
        assert process.returncode == -9
        kills += 1
    assert kills >= 2
    assert committed(sink) == [{"epoch": epoch, "n": n} for epoch in range(1, epochs + 1) for n in range(40)]


# ------------------------------------------------------------------------------------------------- rows and values


WINDOW = Windowed("k", 0, 1_000_000, {"n": 3})


async def test_windows_are_flattened(sink: FileSink) -> None:
    await deliver(sink, [rows(WINDOW)])
    (row,) = committed(sink)
    assert list(row) == ["key", "window_start", "window_end", "n"]
    assert (row["key"], row["n"]) == ("k", 3)
    assert str(row["window_end"])[17:19] == "01"


async def test_columns_and_rows_give_the_same_bytes(sink: FileSink, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"at": [datetime(2024, 5, 1, tzinfo=UTC)] * 2, "n": [1, None], "x": [0.5, -1e300], "tags": [["p"], None]}
    )
    other = FileSink(tmp_path / "rows", sink.format)
    await deliver(sink, [columns(frame)])
    await deliver(other, [rows(*frame.to_dicts())])
    if sink.format in {"jsonl", "csv"}:
        assert committed_lines(sink.path) == committed_lines(other.path)
    assert committed(sink) == committed(other)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": object()}, "got object"),
        ({"a": "\ud800"}, "surrogate"),
        ({1: 2}, "named by str"),
        ({"a": 10**5000}, ""),
    ],
)
async def test_a_row_that_the_format_cannot_hold_is_refused_and_the_others_are_written(
    sink: FileSink, value: Any, reason: str
) -> None:
    refused = await deliver(sink, [rows({"a": "1x"}, value, {"a": "2x"})])
    assert [r.row for r in refused] == [1]
    assert reason in refused[0].reason or sink.format in {"parquet", "ipc"}
    assert committed(sink) == [{"a": "1x"}, {"a": "2x"}]


@pytest.mark.parametrize("value", [float("nan"), [1, float("inf")], {"b": {"c": -float("inf")}}])
async def test_json_never_says_null_for_a_number_it_cannot_hold(tmp_path: Path, value: Any) -> None:
    sink = FileSink(tmp_path / "x.jsonl")
    refused = await deliver(sink, [rows({"a": None}, {"a": value}, {"a": "null"})])
    assert [r.row for r in refused] == [1]
    assert committed(sink) == [{"a": None}, {"a": "null"}]


async def test_json_lines_are_lines_even_if_the_json_was_not_ours(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "x.jsonl")
    refused = await deliver(sink, [rows({"a": msgspec.Raw(b"[1,2]")}, {"a": msgspec.Raw(b"[1,\n2]")})])
    assert [r.row for r in refused] == [1]
    assert committed(sink) == [{"a": [1, 2]}]


@pytest.mark.parametrize("kind", ["csv", "parquet", "ipc"])
async def test_fields_are_those_of_the_first_row_across_restarts(tmp_path: Path, kind: Any) -> None:
    sink = FileSink(tmp_path / "x", kind)
    await deliver(sink, [rows({"a": 1, "b": 2})])
    refused = await deliver(sink, [rows({"b": 3}, {"c": 4}, {"b": 5, "a": 6})], first=2)
    assert [r.row for r in refused] == [1]
    assert "unexpected field 'c'" in refused[0].reason
    assert committed(sink) == [{"a": 1, "b": 2}, {"a": None, "b": 3}, {"a": 6, "b": 5}]


@pytest.mark.parametrize("kind", ["parquet", "ipc"])
async def test_types_are_those_of_the_first_value_across_restarts(tmp_path: Path, kind: Any) -> None:
    sink = FileSink(tmp_path / "x", kind)
    await deliver(sink, [rows({"a": 1, "b": None})])
    refused = await deliver(sink, [rows({"a": 1.5}, {"a": 2, "b": ["x"]}, {"b": [1]})], first=2)
    assert [r.row for r in refused] == [0, 2]
    assert "expected Int64, got float 1.5; declare its type in schema=" in refused[0].reason
    assert committed(sink) == [{"a": 1, "b": None}, {"a": 2, "b": ["x"]}]


@pytest.mark.parametrize("kind", ["csv", "parquet", "ipc"])
async def test_a_declared_schema_is_kept(tmp_path: Path, kind: Any) -> None:
    sink = FileSink(tmp_path / "x", kind, schema={"b": pl.Float64, "a": pl.String})
    assert await deliver(sink, [rows({"a": "x"}, {"b": 1})]) == []
    assert committed(sink) == [{"b": None, "a": "x"}, {"b": 1.0, "a": None}]


async def test_a_directory_of_parts_is_read_as_one_table(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "x", "parquet")
    await deliver(sink, [rows({"a": 1})], [rows({"a": 2})])
    assert pl.read_parquet(tmp_path / "x" / "*.parquet").to_dicts() == [{"a": 1}, {"a": 2}]
    assert [p.name for p in committed_parts(sink.path)] == [
        "part-0001-000000001-0000.parquet",
        "part-0001-000000002-0000.parquet",
    ]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(max_size=4),
    st.decimals(allow_nan=False), st.lists(st.integers(), max_size=2),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.fixed_dictionaries({"a": VALUES, '"b,\n': VALUES}), max_size=6), st.integers(1, 6))
def test_csv_is_what_other_readers_read(values: list[dict[str, Any]], cut: int) -> None:
    with TemporaryDirectory() as directory:
        sink = FileSink(Path(directory) / "x.csv", "csv")
        epochs = [[rows(*values[i : i + cut])] for i in range(0, len(values), cut)]
        assert asyncio.run(deliver(sink, *epochs)) == []
        read = list(csv.DictReader(io.StringIO(committed_lines(sink.path).decode(), newline="")))
    for want, got in zip(values, read, strict=True):
        assert want.keys() == got.keys()
        assert all(means(got[name], value) for name, value in want.items())


def means(text: str, value: Any) -> bool:
    match value:
        case None:
            return text == ""
        case bool():
            return text == str(value).lower()
        case int() | float() | Decimal():
            return type(value)(text) == value
        case list():
            return bool(json.loads(text) == value)
        case bytes():
            return base64.b64decode(text) == value
    return bool(text == value)


@settings(max_examples=60)
@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=6), st.integers(1, 6))
def test_json_lines_do_not_depend_on_the_cut(values: list[dict[str, Any]], cut: int) -> None:
    with TemporaryDirectory() as directory:
        whole, cut_up = (FileSink(Path(directory) / name) for name in "ab")
        refused = asyncio.run(deliver(whole, [rows(*values)]))
        asyncio.run(deliver(cut_up, *([rows(*values[i : i + cut])] for i in range(0, len(values), cut))))
        assert committed_lines(whole.path) == committed_lines(cut_up.path)
        assert len(committed(whole)) == len(values) - len(refused)


@settings(max_examples=40)
@given(st.lists(st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2), max_size=6), st.integers(1, 6))
def test_parts_do_not_depend_on_the_cut(values: list[dict[str, Any]], cut: int) -> None:
    with TemporaryDirectory() as directory:
        whole, cut_up = (FileSink(Path(directory) / name, "ipc") for name in "ab")
        refused = asyncio.run(deliver(whole, [rows(*values)]))
        asyncio.run(deliver(cut_up, *([rows(*values[i : i + cut])] for i in range(0, len(values), cut))))
        assert committed(whole) == committed(cut_up)
        refused_rows = {r.row for r in refused}
        kept = [values[row] for row in range(len(values)) if row not in refused_rows]
        for want, got in zip(kept, committed(whole), strict=True):
            assert {name: v for name, v in want.items() if v is not None} == {
                name: v for name, v in got.items() if v is not None
            }
