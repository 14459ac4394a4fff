from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamflow.connectors.queue import QueueSource
from streamflow.core.connector import Chunk, ReadEvent, Replay, SourceFinished, SplitFinished, SplitIdle
from streamflow.core.splits import ONLY
from streamflow.errors import DefinitionError, SourceError
from tests.connectors.reading import run


async def turn() -> None:
    """Let every task that can go on have its turn."""
    for _ in range(5):
        await asyncio.wait([asyncio.ensure_future(nothing())])


async def nothing() -> None:
    pass


def test_rows_come_in_the_order_they_were_put() -> None:
    async def body() -> list[ReadEvent]:
        queue = QueueSource()
        reader = queue.reader()
        await reader.open({ONLY: 3})
        for row in "abc":
            queue.put_nowait(row)
        events = [*await reader.read(2, [ONLY]), *await reader.read(2, [ONLY]), *await reader.read(2, [ONLY])]
        queue.put_nowait("d")
        queue.close()
        events += await reader.read(2, [ONLY])
        await reader.close()
        return events

    assert run(body()) == [
        Chunk(ONLY, ["a", "b"], 3, 5),
        Chunk(ONLY, ["c"], 5, 6),
        SplitIdle(ONLY),
        Chunk(ONLY, ["d"], 6, 7),
        SplitFinished(ONLY),
        SourceFinished(),
    ]


def test_a_reader_waits_for_a_row_or_the_end() -> None:
    async def body() -> None:
        queue = QueueSource()
        reader = queue.reader()
        await reader.open({})
        assert list(await reader.read(1, [ONLY])) == [SplitIdle(ONLY)]
        for act, expected in (
            (lambda: queue.put_nowait(1), [Chunk(ONLY, [1], 0, 1)]),
            (queue.close, [SplitFinished(ONLY), SourceFinished()]),
        ):
            waiting = asyncio.create_task(reader.read(1, [ONLY]))  # type: ignore[arg-type]  # a coroutine it is
            await turn()
            if waiting.done():  # idle is said before each wait
                assert list(waiting.result()) == [SplitIdle(ONLY)]
                waiting = asyncio.create_task(reader.read(1, [ONLY]))  # type: ignore[arg-type]  # as above
                await turn()
            assert not waiting.done()
            act()
            assert list(await waiting) == expected
        await reader.close()

    run(body())


def test_put_waits_for_room_and_keeps_the_order_of_who_waits() -> None:
    async def body() -> list[Any]:
        queue = QueueSource(maxsize=2)
        reader = queue.reader()
        await reader.open({})
        putters = [asyncio.create_task(queue.put(row)) for row in range(6)]
        await turn()
        assert len(queue) == 2
        with pytest.raises(SourceError, match="full"):
            queue.put_nowait("more")
        rows: list[Any] = []
        while len(rows) < 6:
            for event in await reader.read(2, [ONLY]):
                assert isinstance(event, Chunk)
                rows += event.data  # type: ignore[arg-type]  # a list it is
            await turn()
            assert len(queue) <= 2
        await asyncio.gather(*putters)
        await reader.close()
        return rows

    assert run(body()) == list(range(6))


def test_a_putter_that_is_cancelled_gives_its_turn_to_the_next() -> None:
    async def body() -> None:
        queue = QueueSource(maxsize=1)
        reader = queue.reader()
        await reader.open({})
        queue.put_nowait(0)
        first, second = asyncio.create_task(queue.put(1)), asyncio.create_task(queue.put(2))
        await turn()
        await reader.read(1, [ONLY])
        first.cancel()  # it has been woken and has not run
        await turn()
        assert second.done()
        assert len(queue) == 1
        await reader.close()

    run(body())


def test_closed_it_takes_no_more_rows_and_those_who_wait_are_told() -> None:
    async def body() -> None:
        queue = QueueSource(maxsize=1)
        queue.put_nowait(0)
        waiting = asyncio.create_task(queue.put(1))
        await turn()
        queue.close()
        with pytest.raises(SourceError, match="closed"):
            await waiting
        with pytest.raises(SourceError, match="closed"):
            queue.put_nowait(2)

    run(body())


def test_it_outlives_a_loop_and_a_reader() -> None:
    queue = QueueSource()

    async def body(row: int) -> Any:
        reader = queue.reader()
        await reader.open({ONLY: row})
        waiting = asyncio.create_task(reader.read(1, [ONLY]))  # type: ignore[arg-type]  # a coroutine it is
        await turn()
        if waiting.done():
            waiting = asyncio.create_task(reader.read(1, [ONLY]))  # type: ignore[arg-type]  # as above
            await turn()
        queue.put_nowait(row)
        (event,) = await waiting
        await reader.close()
        return event

    assert run(body(0)) == Chunk(ONLY, [0], 0, 1)
    assert run(body(1)) == Chunk(ONLY, [1], 1, 2)


def test_one_reader_at_a_time() -> None:
    async def body() -> None:
        queue = QueueSource()
        first, second = queue.reader(), queue.reader()
        await first.open({})
        with pytest.raises(SourceError, match="read already"):
            await second.open({})
        await second.close()
        with pytest.raises(SourceError, match="read already"):
            await queue.reader().open({})
        await first.close()
        await second.open({})
        await second.close()

    run(body())


def test_it_says_what_it_is() -> None:
    queue = QueueSource(maxsize=5)
    assert str(queue) == "queue of 5 rows"
    assert (queue.replay, queue.is_bounded, queue.format) == (Replay.AT_MOST_ONCE, False, None)
    assert queue != QueueSource(maxsize=5)
    assert queue
    with pytest.raises(DefinitionError):
        QueueSource(maxsize=0)
