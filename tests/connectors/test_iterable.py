from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

import polars as pl
import pytest

from streamflow.connectors.iterable import IterableSource
from streamflow.core.connector import Replay
from streamflow.core.splits import ONLY
from streamflow.errors import DefinitionError, SourceError
from tests.connectors.reading import read_all, run


def test_an_iterator_is_consumed_and_counted_on() -> None:
    source = IterableSource(iter("abc"))
    history = run(read_all(source, [2], {ONLY: 7}))
    assert history.rows == {ONLY: ["a", "b", "c"]}
    assert history.starts == {ONLY: 7}
    assert source.replay is Replay.AT_MOST_ONCE
    assert run(read_all(source)).rows == {}


@pytest.mark.parametrize(
    ("rows", "replay"),
    [
        ([1], Replay.REPLAYABLE),
        (deque([1]), Replay.REPLAYABLE),
        (range(1), Replay.REPLAYABLE),
        (pl.DataFrame({"a": [1]}), Replay.REPLAYABLE),
        (lambda start: [1][start:], Replay.REPLAYABLE),
        ({1}, Replay.AT_MOST_ONCE),
        ({1: 2}.keys(), Replay.AT_MOST_ONCE),
        ((n for n in [1]), Replay.AT_MOST_ONCE),
    ],
)
def test_what_can_be_read_again_says_so(rows: Any, replay: Replay) -> None:
    source = IterableSource(rows)
    assert source.replay is replay
    assert source.is_bounded
    assert sum(map(len, run(read_all(source)).rows.values())) == 1


def test_rows_that_the_checkpoint_has_and_the_list_has_not_are_an_error() -> None:
    with pytest.raises(SourceError, match="goes on at row 3") as raised:
        run(read_all(IterableSource([1, 2]), positions={ONLY: 3}))
    assert "--new-generation" in str(raised.value.remedy)


def test_what_the_iterator_raises_is_a_source_error() -> None:
    def rows(start: int) -> Iterator[int]:
        yield 1
        raise KeyError("two")

    with pytest.raises(SourceError, match="at row 1: KeyError: 'two'") as raised:
        run(read_all(IterableSource(rows), [1]))
    assert isinstance(raised.value.__cause__, KeyError)


def test_a_generator_is_closed() -> None:
    closed = []

    def rows(start: int) -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(start)

    run(read_all(IterableSource(rows), [2], until=lambda history: bool(history.rows)))
    assert closed == [0]


async def awaited() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    "rows", ["text", b"bytes", {"a": 1}, 5, None, lambda: [1], awaited, awaited(), lambda a, b: []]
)
def test_what_is_no_series_of_rows_is_refused_at_definition(rows: Any) -> None:
    with pytest.raises(DefinitionError):
        IterableSource(rows)


def test_it_says_what_it_is() -> None:
    assert str(IterableSource([1, 2])) == "list of 2 rows"
    assert str(IterableSource(pl.DataFrame({"a": [1]}))) == "frame of 1 rows"
    assert str(IterableSource(iter([]))) == "rows of list_iterator"
    assert not IterableSource(iter([]), is_bounded=False).is_bounded
