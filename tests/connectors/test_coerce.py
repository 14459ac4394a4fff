from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streamflow.coerce import as_source
from streamflow.connectors.files import FileSource
from streamflow.connectors.generate import generate
from streamflow.connectors.queue import QueueSource
from streamflow.core.connector import Replay
from streamflow.core.csv_format import Csv
from streamflow.core.formats import Text
from streamflow.core.json_format import Json
from streamflow.core.splits import ONLY
from streamflow.errors import DefinitionError
from tests.connectors.reading import read_all, run


def plain() -> Iterator[int]:
    yield from (1, 2, 3)


def plain_from(start: int) -> Iterator[int]:
    yield from (1, 2, 3)[start:]


async def awaited() -> AsyncIterator[int]:
    for row in (1, 2, 3):
        yield row


async def awaited_from(start: int) -> AsyncIterator[int]:
    for row in (1, 2, 3)[start:]:
        yield row


class Feed:
    def rows(self, name: str, start: int) -> Iterator[int]:
        return plain_from(start)


@pytest.mark.parametrize(
    ("given", "replay"),
    [
        ([1, 2, 3], Replay.REPLAYABLE),
        ((1, 2, 3), Replay.REPLAYABLE),
        (range(1, 4), Replay.REPLAYABLE),
        (plain_from, Replay.REPLAYABLE),
        (awaited_from, Replay.REPLAYABLE),
        (lambda start: awaited_from(start + 0), Replay.REPLAYABLE),
        (lambda start: [1, 2, 3][start:], Replay.REPLAYABLE),
        (partial(Feed().rows, "name"), Replay.REPLAYABLE),
        (iter([1, 2, 3]), Replay.AT_MOST_ONCE),
        (plain, Replay.AT_MOST_ONCE),
        (awaited, Replay.AT_MOST_ONCE),
        (partial(awaited), Replay.AT_MOST_ONCE),
    ],
)
def test_whatever_gives_rows_is_a_source_of_them(given: Any, replay: Replay) -> None:
    source = as_source(given)
    assert source.replay is replay
    assert run(read_all(source)).rows == {ONLY: [1, 2, 3]}


def test_a_frame_is_a_source_of_its_rows() -> None:
    assert run(read_all(as_source(pl.DataFrame({"a": [1, 2]})))).rows == {ONLY: [(1,), (2,)]}


def test_a_source_is_itself() -> None:
    for source in (generate(), QueueSource(), FileSource("a.txt", Csv(names=["a"]))):
        assert as_source(source) is source
    assert as_source(FileSource("a.txt"), Text()) == FileSource("a.txt")


def test_a_path_is_a_source_of_files() -> None:
    assert as_source("logs/*.jsonl") == FileSource("logs/*.jsonl", Json())
    assert as_source(Path("a.csv"), Csv(names=["a"])) == FileSource(Path("a.csv"), Csv(names=["a"]))


@pytest.mark.parametrize(
    "given", ["ticks", 5, None, {"a": 1}, b"bytes", list, FileSource, awaited(), lambda a, b: [a, b]]
)
def test_anything_else_is_refused_and_told_what_is_allowed(given: Any) -> None:
    with pytest.raises(DefinitionError) as raised:
        as_source(given)
    assert raised.value.remedy


@pytest.mark.parametrize("given", [[1], generate(), QueueSource(), FileSource("a.txt")])
def test_a_format_for_what_has_none_or_another_is_refused(given: Any) -> None:
    with pytest.raises(DefinitionError, match="format"):
        as_source(given, Json())
