"""What every source keeps to that can be read again: the same rows, from wherever, however they are asked for."""

from __future__ import annotations

import random
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.connectors import generate as generate_module
from streamflow.connectors.files import DirectorySource, FileSource, opened
from streamflow.connectors.generate import generate
from streamflow.connectors.generator import GeneratorSource
from streamflow.connectors.iterable import IterableSource
from streamflow.core.connector import Replay, Source
from streamflow.core.csv_format import Csv
from tests.connectors.reading import History, read_all, run, stored

T0 = datetime(2024, 1, 1, tzinfo=UTC)


def numbers_from(start: int) -> Iterator[int]:
    yield from range(start, 23)


async def numbers_to_await(start: int) -> AsyncIterator[int]:
    for number in range(start, 23):
        yield number


def a_row(n: int, at: datetime, rng: random.Random) -> tuple[int, datetime, float]:
    return n, at, rng.random()


def some_columns(n: Any, at: Any, rng: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame({"n": n, "at": at, "x": rng.random(len(n))})


def some_values(n: Any, at: Any, rng: np.random.Generator) -> list[tuple[int, int, float]]:
    return list(zip(n.tolist(), at.tolist(), rng.random(len(n)).tolist(), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind, some empty, some whose last line has no newline."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "a.jsonl").write_bytes(b"".join(b'{"n":%d}\n' % n for n in range(17)))
    (folder / "b.jsonl").write_bytes(b"")
    (folder / "c.jsonl").write_bytes(b'\n{"n":1}\r\n\n{"n":"\xc3\xa9"}')
    (folder / "d.jsonl").write_bytes(b"\n")
    (folder / "e.jsonl").write_bytes(b"x" * 100 + b"\n" + b"y" * 50)
    (folder / "a.csv").write_bytes(b"n,text\n1,a\n2,b\n3,c")
    (folder / "b.csv").write_bytes(b"n,text\r\n")
    (folder / "c.csv").write_bytes(b"\xef\xbb\xbfn,text\n4,d\n")
    frame = pl.DataFrame({"n": range(41), "text": [f"row {n}" for n in range(41)]})
    frame.write_parquet(folder / "a.parquet", row_group_size=7)
    frame.clear().write_parquet(folder / "b.parquet")
    frame.select("text", "n").head(3).write_parquet(folder / "c.parquet")
    frame.write_ipc(folder / "a.arrow", record_batch_size=7)
    frame.head(0).write_ipc(folder / "b.arrow")
    return folder


def sources(folder: Path) -> dict[str, Source]:
    csv = Csv(names=["n", "text"])
    return {
        "list": IterableSource(list(range(23))),
        "empty list": IterableSource([]),
        "tuple": IterableSource(tuple("abcdefg")),
        "range": IterableSource(range(23)),
        "frame": IterableSource(pl.DataFrame({"n": range(23)})),
        "function": IterableSource(numbers_from),
        "async generator": GeneratorSource(numbers_to_await, is_bounded=True),
        "generate": generate(rows=50, start=T0),
        "generate nothing": generate(rows=0),
        "generate in splits": generate(rows=50, splits=3),
        "generate fewer rows than splits": generate(rows=2, splits=3),
        "generate rows": generate(a_row, rows=50, splits=2, seed=7),
        "generate columns": generate(columns=some_columns, rows=50, splits=2),
        "generate values": generate(columns=some_values, rows=50),
        "file": FileSource(folder / "a.jsonl"),
        "files": FileSource(str(folder / "*.jsonl")),
        "files in order": FileSource([folder / f"{name}.jsonl" for name in "dacbe"], sequence=True),
        "csv files": FileSource(str(folder / "*.csv"), csv),
        "csv files in order": FileSource(str(folder / "*.csv"), csv, sequence=True),
        "parquet files": FileSource(str(folder / "*.parquet")),
        "parquet files in order": FileSource(str(folder / "*.parquet"), sequence=True),
        "arrow files": FileSource(str(folder / "*.arrow")),
        "directory": DirectorySource(folder, "*.jsonl"),
        "directory in order": DirectorySource(folder, "*.jsonl", sequence=True),
        "directory of parquet": DirectorySource(folder, "*.parquet"),
    }


NAMES = list(sources(Path()))


@pytest.fixture(scope="module", params=NAMES)
def source(request: pytest.FixtureRequest, folder: Path) -> Source:
    return sources(folder)[request.param]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small inputs go over many blocks."""
    monkeypatch.setattr(opened, "BLOCK_BYTES", 16)
    monkeypatch.setattr(opened, "_FIRST_BLOCK_ROWS", 5)
    monkeypatch.setattr(opened, "_MOST_BLOCK_ROWS", 6)
    monkeypatch.setattr(generate_module, "BLOCK", 8)


def test_there_is_no_source_that_reads_nothing_by_mistake(folder: Path) -> None:
    counts = {name: sum(map(len, run(read_all(s)).rows.values())) for name, s in sources(folder).items()}
    assert {name for name, count in counts.items() if not count} == {"empty list", "generate nothing"}
    assert counts["files"] == counts["files in order"] == counts["directory"] == 17 + 4 + 1 + 2
    assert counts["csv files"] == counts["csv files in order"] == 4
    assert counts["parquet files"] == 44


def test_it_says_that_it_can_be_read_again(source: Source) -> None:
    assert source.replay is Replay.REPLAYABLE
    assert str(source)


@settings(max_examples=10)
@given(limits=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_however_many_rows_are_asked_for_they_are_the_same(source: Source, limits: list[int]) -> None:
    whole, bit_by_bit = run(read_all(source)), run(read_all(source, limits))
    assert bit_by_bit.rows == whole.rows
    assert set(bit_by_bit.starts.values()) <= {0}
    assert bit_by_bit.finished == whole.finished
    assert bit_by_bit.is_over is whole.is_over is source.is_bounded


def test_whichever_split_is_asked_for_first_they_are_the_same(source: Source) -> None:
    chance = random.Random(0)
    shuffled = run(read_all(source, [3], order=lambda wanted: chance.sample(wanted, len(wanted))))
    assert shuffled.rows == run(read_all(source)).rows


def test_from_every_position_it_goes_on_with_the_rows_behind_it(source: Source) -> None:
    whole = run(read_all(source, [4]))
    for positions, counts in whole.steps:
        assert_goes_on(whole, run(read_all(source, [3], positions)), positions, counts)


def assert_goes_on(whole: History, rest: History, positions: dict[str, Any], counts: dict[str, int]) -> None:
    assert positions.keys() <= rest.positions.keys()
    for split, rows in whole.rows.items():
        count = counts.get(split, 0)
        assert rest.rows.get(split, []) == rows[count:]
        assert rest.starts.get(split, count) == count
    assert rest.finished == whole.finished
    assert rest.is_over is whole.is_over


def test_the_last_position_has_nothing_behind_it(source: Source) -> None:
    positions = stored(run(read_all(source)).positions)
    assert run(read_all(source, positions=positions)).rows == {}


def test_to_open_it_again_gives_the_positions_it_was_given(source: Source) -> None:
    positions, _ = run(read_all(source, [2])).steps[-1]
    reopened = run(read_all(source, positions=positions, until=lambda history: True))
    assert reopened.positions == positions


def open_files() -> set[str]:
    return {fd.name for fd in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("rows", [0, 5])
def test_closed_at_any_time_it_leaves_nothing_behind(source: Source, rows: int) -> None:
    files, threads = open_files(), set(threading.enumerate())
    run(read_all(source, [1], until=lambda h: h.is_at_end or sum(map(len, h.rows.values())) >= rows))
    assert open_files() == files
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=10)  # workers of anyio end with the loop, a moment after it
        assert not thread.is_alive()


@pytest.mark.parametrize("limits", [[1], [7]])
def test_more_files_than_may_be_open_are_read_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: list[int]
) -> None:
    monkeypatch.setattr("streamflow.connectors.files.shelf._MOST_OPEN", 2)
    for name in "abcde":
        (tmp_path / f"{name}.txt").write_text("".join(f"{name}{n}\n" for n in range(20)))
    turn = iter(range(10_000))

    def rotate(wanted: Any) -> list[str]:
        shift = next(turn) % len(wanted)
        return [*wanted[shift:], *wanted[:shift]]

    history = run(read_all(FileSource(str(tmp_path / "*.txt")), limits, order=rotate))
    assert {Path(split).stem: rows for split, rows in history.rows.items()} == {
        name: [f"{name}{n}".encode() for n in range(20)] for name in "abcde"
    }
