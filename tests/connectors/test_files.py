from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streamflow.connectors.files import DirectorySource, FileSource
from streamflow.core.connector import ReadEvent, SplitIdle, SplitOpened
from streamflow.core.csv_format import Csv
from streamflow.core.formats import Text
from streamflow.core.json_format import Json
from streamflow.errors import DefinitionError, SourceError
from streamflow.testing.virtual_loop import run_virtual
from tests.connectors.reading import History, read_all, run, stored

TEXT = Text()


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def error_of(source: FileSource | DirectorySource, positions: dict[str, Any] | None = None) -> SourceError:
    with pytest.raises(SourceError) as raised:
        run(read_all(source, positions=positions))
    assert raised.value.remedy
    return raised.value


# ------------------------------------------------------------------------------------------------ which files


def test_files_keep_the_order_given_and_patterns_are_sorted(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write(tmp_path / f"{name}.txt", name)
    files = FileSource([tmp_path / "c.txt", str(tmp_path / "[ab].txt")], sequence=True)
    assert run(read_all(files)).rows == {"0": [b"c", b"a", b"b"]}


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a[1].txt", "x")
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "b[1].parquet")
    assert run(read_all(FileSource(path))).rows == {str(path): [b"x"]}
    assert list(run(read_all(FileSource(tmp_path / "b[1].parquet"))).rows.values()) == [[(1,)]]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.jsonl", Json()),
        ("a.NDJSON", Json()),
        ("a.txt", Text()),
        ("a.log", Text()),
        ("a.parquet", None),
        ("a.arrow", None),
    ],
)
def test_the_name_says_the_format(name: str, format: Any) -> None:
    assert FileSource(name).format == format
    assert DirectorySource("folder", f"*.{name.split('.')[1]}").format == format


@pytest.mark.parametrize(
    "make",
    [
        lambda: FileSource("a.csv"),
        lambda: FileSource("a"),
        lambda: FileSource([]),
        lambda: FileSource([1]),  # type: ignore[list-item]  # what is refused
        lambda: FileSource(["a.jsonl", "b.txt"]),
        lambda: FileSource(["a.parquet", "b.arrow"]),
        lambda: FileSource(["a.parquet", "b.txt"], TEXT),
        lambda: FileSource("a.parquet", TEXT),
        lambda: FileSource("a.txt", max_line_bytes=0),
        lambda: DirectorySource("a"),
        lambda: DirectorySource("a", "*.txt", poll="0s"),
        lambda: DirectorySource("a", "*.txt", max_line_bytes=0),
    ],
)
def test_what_says_too_little_or_too_much_is_refused_at_definition(make: Callable[[], Any]) -> None:
    with pytest.raises(DefinitionError):
        make()


def test_it_says_what_it_is() -> None:
    assert str(FileSource("a/*.jsonl")) == "a/*.jsonl"
    assert str(FileSource(["a.txt", "b.txt"])) == "2 files from a.txt"
    assert str(DirectorySource("a", "*.txt")) == "a/*.txt"
    assert FileSource("a.txt").is_bounded
    assert not DirectorySource("a", "*.txt").is_bounded


# ------------------------------------------------------------------------------------------------ what goes wrong


def test_a_file_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    for name in ("a.txt", "a.parquet", "a.arrow"):
        assert "does not exist" in str(error_of(FileSource(tmp_path / name)))
    assert "no file matches" in str(error_of(FileSource(str(tmp_path / "*.txt"))))
    assert "does not exist" in str(error_of(DirectorySource(tmp_path / "none", "*.txt")))
    assert "is no folder" in str(error_of(DirectorySource(write(tmp_path / "f.txt"), "*.txt")))


def test_what_is_no_regular_file_is_an_error_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    for name in ("pipe.txt", "folder.txt"):
        assert "is not a regular file" in str(error_of(FileSource(tmp_path / name)))
    assert run(read_all(DirectorySource(tmp_path, "*.txt"))).positions == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "x").chmod(0)
    assert "may not be read" in str(error_of(FileSource(tmp_path / "a.txt")))


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_damaged_file_of_columns_is_an_error_wherever_the_damage_is(tmp_path: Path, suffix: str) -> None:
    whole, damaged = tmp_path / f"whole.{suffix}", tmp_path / f"damaged.{suffix}"
    frame = pl.DataFrame({"n": range(500), "text": [f"row {n}" for n in range(500)]})
    frame.write_parquet(whole) if suffix == "parquet" else frame.write_ipc(whole)
    data, chance = whole.read_bytes(), random.Random(1)
    for cut in (0, 1, 8, len(data) // 2, len(data) - 1):
        damaged.write_bytes(data[:cut])
        assert "cannot be read as" in str(error_of(FileSource(damaged)))
    for _ in range(40):
        place = chance.randrange(len(data))
        damaged.write_bytes(data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :])
        with contextlib.suppress(SourceError):  # and nothing else; damage that leaves it readable is not ours to find
            run(read_all(FileSource(damaged)))


def test_files_of_other_columns_are_an_error_and_another_order_of_them_is_not(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"b": ["y"], "a": [2]}).write_parquet(tmp_path / "2.parquet")
    source = FileSource(str(tmp_path / "*.parquet"), sequence=True)
    assert run(read_all(source)).rows == {"0": [(1, "x"), (2, "y")]}
    pl.DataFrame({"b": ["z"], "a": [3.5]}).write_parquet(tmp_path / "3.parquet")
    assert "a Float64" in str(error_of(source))


def test_a_line_without_end_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"short\n" + b"x" * 3_000_000)
    error = error_of(FileSource(path, max_line_bytes=1_000_000))
    assert "longer than 1,000,000 bytes" in str(error)
    assert "max_line_bytes" in str(error.remedy)
    assert run(read_all(FileSource(path))).rows == {str(path): [b"short", b"x" * 3_000_000]}


def test_a_file_that_has_changed_since_the_checkpoint_is_an_error(tmp_path: Path) -> None:
    lines, frame = write(tmp_path / "a.txt", "one", "two", "three"), tmp_path / "a.parquet"
    pl.DataFrame({"n": range(5)}).write_parquet(frame)
    positions = run(read_all(FileSource(lines), [2], until=lambda h: bool(h.rows))).positions
    assert positions == {str(lines): {"row": 2, "offset": 8}}
    for text in ("one\n", "one, two\nthree\n", ""):
        lines.write_text(text)
        assert "no line that begins at byte 8" in str(error_of(FileSource(lines), positions))
    error = error_of(FileSource(frame), {str(frame): {"row": 6}})
    assert "has 5 rows" in str(error)


def test_a_header_that_is_not_as_declared_is_an_error_and_not_a_lost_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "1,Oslo", "2,Bergen")
    error = error_of(FileSource(path, Csv(names=["id", "place"])))
    assert "expected the header 'id,place', got '1,Oslo'" in str(error)
    assert "header=False" in str(error.remedy)


@pytest.mark.parametrize("sequence", [False, True])
def test_a_name_that_no_checkpoint_can_hold_is_an_error(tmp_path: Path, sequence: bool) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).write_text("x")
    for source in (FileSource(str(tmp_path / "*.txt"), sequence=sequence), DirectorySource(tmp_path, "*.txt")):
        assert "not UTF-8" in str(error_of(source))


def test_a_file_named_twice_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "x")
    assert "named twice" in str(error_of(FileSource([str(tmp_path / "a.txt"), str(tmp_path / "*.txt")])))


@pytest.mark.parametrize("position", [5, {}, {"row": "1"}, {"row": -1}, None])
@pytest.mark.parametrize("sequence", [False, True])
def test_a_position_that_is_none_is_an_error(tmp_path: Path, position: Any, sequence: bool) -> None:
    path = write(tmp_path / "a.txt", "x")
    error = error_of(FileSource(path, sequence=sequence), {"0" if sequence else str(path): position})
    assert "expected the position of a file" in str(error)


# ------------------------------------------------------------------------------------------------ files that go away


def test_a_file_that_was_read_may_be_deleted_and_one_that_was_not_may_not(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.txt", "1", "2"), write(tmp_path / "b.txt", "3", "4")
    source = FileSource(str(tmp_path / "*.txt"))
    halfway = run(read_all(source, [2], until=lambda h: len(h.finished) == 1))
    a.unlink()
    rest = run(read_all(source, positions=stored(halfway.positions)))
    assert rest.rows == {str(b): [b"3", b"4"]}
    assert rest.finished == {str(a), str(b)}
    b.unlink()
    write(tmp_path / "c.txt")
    assert "b.txt' does not exist" in str(error_of(source, stored(halfway.positions)))


def test_in_order_too_a_file_that_was_read_may_be_deleted(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.txt", "1"), write(tmp_path / "b.txt", "2", "3")
    source = FileSource(str(tmp_path / "*.txt"), sequence=True)
    behind_a = run(read_all(source, [1], until=lambda h: sum(map(len, h.rows.values())) == 1)).positions
    in_b = run(read_all(source, [1], until=lambda h: sum(map(len, h.rows.values())) == 2)).positions
    a.unlink()
    for positions, rows in ((behind_a, [b"2", b"3"]), (in_b, [b"3"])):
        assert run(read_all(source, positions=stored(positions))).rows == {"0": rows}
    b.unlink()
    write(tmp_path / "c.txt", "4")
    assert run(read_all(source, positions=stored(behind_a))).rows == {"0": [b"4"]}
    assert "goes on in file" in str(error_of(source, stored(in_b)))


def test_a_split_that_is_not_wanted_is_not_read(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.txt", "1", "2"), write(tmp_path / "b.txt", "3", "4")

    async def body() -> list[list[ReadEvent]]:
        reader = FileSource([a, b]).reader()
        await reader.open({})
        seen = [list(await reader.read(1, wanted)) for wanted in ([str(b)], [], [str(b)], [str(b)], ["other", str(a)])]
        await reader.close()
        return seen

    seen = run_virtual(body())
    assert [[getattr(event, "split", None) for event in events] for events in seen] == [
        [str(b)], [], [str(b), str(b)], [], [str(a)],
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ a folder that grows


class Follower:
    """Reads a folder as the runtime does, in virtual time."""

    def __init__(self, source: DirectorySource) -> None:
        self.history = History()
        self.reader = source.reader()

    async def open(self, positions: dict[str, Any] | None = None) -> None:
        for opened in await self.reader.open(positions or {}):
            self.history.note(opened, 0)

    async def read(self) -> list[ReadEvent]:
        events = list(await self.reader.read(100, self.history.wanted))
        for event in events:
            self.history.note(event, 100)
        return events

    async def read_until(self, split: str) -> None:
        while split not in self.history.finished:
            await self.read()


def test_new_files_are_new_splits_found_by_name_and_finished_when_read(tmp_path: Path) -> None:
    async def body() -> None:
        follower = Follower(DirectorySource(tmp_path, "*.txt", poll="10s"))
        await follower.open()
        assert follower.history.positions == {}
        write(tmp_path / "b.txt", "2")
        write(tmp_path / "a.txt", "1")
        for name in (".hidden.txt", "_hidden.txt", "c.txt.tmp", "c.other"):
            write(tmp_path / name, "hidden")
        while not (events := await follower.read()):
            pass
        assert events == [SplitOpened("a.txt", {"row": 0}), SplitOpened("b.txt", {"row": 0})]
        assert asyncio.get_running_loop().time() == pytest.approx(10)
        await follower.read_until("b.txt")
        assert follower.history.rows == {"a.txt": [b"1"], "b.txt": [b"2"]}
        assert asyncio.get_running_loop().time() == pytest.approx(10)
        write(tmp_path / "0.txt", "3")
        await follower.read_until("0.txt")
        assert asyncio.get_running_loop().time() == pytest.approx(20)
        await follower.reader.close()

    run_virtual(body())


def test_after_a_restart_read_files_are_not_read_again_and_new_ones_are(tmp_path: Path) -> None:
    async def body() -> None:
        source = DirectorySource(tmp_path, "*.txt")
        write(tmp_path / "a.txt", "1")
        write(tmp_path / "b.txt")
        first = await read_all(source)
        write(tmp_path / "c.txt", "2")
        (tmp_path / "a.txt").unlink()
        second = await read_all(source, positions=stored(first.positions))
        assert (first.rows, second.rows) == ({"a.txt": [b"1"]}, {"c.txt": [b"2"]})
        assert second.finished == {"a.txt", "b.txt", "c.txt"}

    run_virtual(body())


def test_while_files_are_read_new_ones_are_found(tmp_path: Path) -> None:
    async def body() -> None:
        write(tmp_path / "a.txt", *map(str, range(1000)))
        follower = Follower(DirectorySource(tmp_path, "*.txt", poll="1s"))
        await follower.open()
        await follower.read()
        write(tmp_path / "b.txt", "x")
        asyncio.get_running_loop().clock.advance("1s")  # type: ignore[attr-defined]  # virtual
        assert await follower.read() == [SplitOpened("b.txt", {"row": 0})]
        assert len(follower.history.rows["a.txt"]) == 100
        await follower.reader.close()

    run_virtual(body())


def test_in_order_files_are_one_split_that_is_idle_at_its_end(tmp_path: Path) -> None:
    async def body() -> None:
        write(tmp_path / "1.txt", "a", "b")
        follower = Follower(DirectorySource(tmp_path, "*.txt", sequence=True))
        await follower.open()
        said = []
        while len(said) < 4:
            said += await follower.read() or [None]
            if said[-1] is None and not (tmp_path / "3.txt").exists():
                write(tmp_path / "3.txt", "d")
                write(tmp_path / "2.txt", "c")
        assert [type(event).__name__ for event in said] == ["Chunk", "SplitIdle", "NoneType", "Chunk"]
        while follower.history.positions["0"]["row"] < 4:
            await follower.read()
        assert await follower.read() == [SplitIdle("0")]
        assert follower.history.rows == {"0": [b"a", b"b", b"c", b"d"]}
        write(tmp_path / "2a.txt", "too late")
        asyncio.get_running_loop().clock.advance("1s")  # type: ignore[attr-defined]  # virtual
        with pytest.raises(SourceError, match=r"sorts before '3.txt'"):
            await follower.read()
        await follower.reader.close()

    run_virtual(body())
