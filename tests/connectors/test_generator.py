from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from streamflow.connectors.generator import GeneratorSource
from streamflow.core.connector import Chunk, Reader, Replay, SourceFinished, SplitFinished
from streamflow.core.splits import ONLY
from streamflow.errors import DefinitionError, SourceError
from tests.connectors.reading import read_all, rows_of, run


async def opened(factory: Callable[..., Any], start: int = 0) -> Reader:
    reader = GeneratorSource(factory).reader()
    await reader.open({ONLY: start} if start else {})
    return reader


async def read(reader: Reader, limit: int = 100) -> list[Any]:
    events = await reader.read(limit, [ONLY])
    return [row for event in events if isinstance(event, Chunk) for row in rows_of(event)]


def test_rows_that_are_ready_come_together_and_the_reader_waits_where_the_generator_waits() -> None:
    async def body() -> list[list[Any]]:
        gate = asyncio.Event()

        async def rows() -> AsyncIterator[int]:
            for number in range(3):
                yield number
            await gate.wait()
            for number in range(3, 8):
                yield number

        reader = await opened(rows)
        first = await read(reader)
        waiting = asyncio.create_task(read(reader, 3))
        await asyncio.wait([waiting], timeout=0)
        assert not waiting.done()
        gate.set()
        result = [first, await waiting, await read(reader)]
        assert list(await reader.read(1, [ONLY])) == [SplitFinished(ONLY), SourceFinished()]
        await reader.close()
        return result

    assert run(body()) == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_one_task_drives_it_however_many_rows_there_are() -> None:
    async def body() -> None:
        tasks = set()

        async def rows() -> AsyncIterator[int]:
            for number in range(10_000):
                tasks.add(asyncio.current_task())
                yield number
            tasks.add(asyncio.current_task())

        reader = await opened(rows)
        count, before = 0, asyncio.all_tasks()
        while count < 10_000:
            count += len(await read(reader, 5000))
            assert asyncio.all_tasks() <= before
        await reader.close()
        assert len(tasks) == 1

    run(body())


def test_a_generator_that_never_waits_lets_the_loop_go_on_and_waits_for_the_reader() -> None:
    async def body() -> None:
        made = 0

        async def rows() -> AsyncIterator[int]:
            nonlocal made
            while True:
                made += 1
                yield made

        reader = await opened(rows)
        await read(reader, 1)
        for _ in range(1000):
            await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=0)
        assert made <= 4096 + 1
        count = made
        await read(reader, 10_000)
        await read(reader, 10_000)
        assert made > count
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if "streamflow" not in task.get_name():
                task.cancel()
        await reader.close()

    asyncio.run(body())


def test_what_it_raises_is_raised_behind_the_rows_before_it() -> None:
    async def body() -> None:
        async def rows() -> AsyncIterator[str]:
            yield "a"
            yield "b"
            raise KeyError("c")

        reader = await opened(rows)
        assert await read(reader) == ["a", "b"]
        with pytest.raises(SourceError, match="after row 2: KeyError: 'c'") as raised:
            await read(reader)
        assert isinstance(raised.value.__cause__, KeyError)
        await reader.close()

    run(body())


def test_a_generator_that_is_cancelled_from_within_has_failed() -> None:
    async def body() -> None:
        async def rows() -> AsyncIterator[str]:
            raise asyncio.CancelledError
            yield "never"

        reader = await opened(rows)
        with pytest.raises(SourceError, match="CancelledError"):
            await read(reader)
        await reader.close()

    run(body())


def test_closed_it_is_cancelled_once_and_cleans_up_in_its_own_task() -> None:
    async def body() -> list[str]:
        seen = []

        async def rows() -> AsyncIterator[int]:
            task = asyncio.current_task()
            try:
                yield 1
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            finally:
                await asyncio.wait([asyncio.ensure_future(nothing())])
                seen.append("cleaned up")
                assert asyncio.current_task() is task

        reader = await opened(rows)
        await read(reader)
        await reader.close()
        return seen

    assert run(body()) == ["cancelled", "cleaned up"]


async def nothing() -> None:
    pass


def test_closed_between_two_rows_it_is_closed_too() -> None:
    async def body() -> list[str]:
        seen = []

        async def rows() -> AsyncIterator[int]:
            try:
                while True:
                    yield 1
            finally:
                seen.append("closed")

        reader = await opened(rows)
        await read(reader, 1)
        await reader.close()
        return seen

    assert run(body()) == ["closed"]


def test_a_generator_that_ignores_its_cancellation_is_ended_at_its_next_row() -> None:
    async def body() -> int:
        made = 0

        async def rows() -> AsyncIterator[int]:
            nonlocal made
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    made += 1
                    yield made

        reader = await opened(rows)
        await asyncio.wait([asyncio.ensure_future(nothing())])
        await reader.close()
        return made

    assert run(body()) == 1


def test_a_cleanup_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async def rows() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                raise OSError("will not close")

        reader = await opened(rows)
        await read(reader)
        await reader.close()

    with caplog.at_level(logging.WARNING, "streamflow"):
        run(body())
    assert "failed while it was closed" in caplog.text
    assert "will not close" in caplog.text


def test_closed_before_it_began_it_is_never_started() -> None:
    async def body() -> None:
        async def rows() -> AsyncIterator[int]:
            pytest.fail("started")
            yield 1

        await (await opened(rows)).close()

    run(body())


def test_the_reader_may_be_cancelled_where_it_waits_and_no_row_is_lost() -> None:
    async def body() -> list[Any]:
        gate = asyncio.Event()

        async def rows() -> AsyncIterator[int]:
            await gate.wait()
            yield 1

        reader = await opened(rows)
        waiting = asyncio.create_task(read(reader))
        await asyncio.wait([waiting], timeout=0)
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.set()
        result = await read(reader)
        await reader.close()
        return result

    assert run(body()) == [1]


def test_one_that_takes_a_start_is_given_it_and_the_other_counts_on() -> None:
    async def body() -> tuple[Any, Any]:
        async def live() -> AsyncIterator[str]:
            yield "x"

        async def stored(start: int) -> AsyncIterator[int]:
            yield start

        chunks = []
        for factory in (live, stored):
            reader = await opened(factory, start=5)
            chunks += await reader.read(1, [ONLY])
            await reader.close()
        return chunks[0], chunks[1]

    live, stored = run(body())
    assert (live.data, live.start, live.resume) == (["x"], 5, 6)
    assert (stored.data, stored.start, stored.resume) == ([5], 5, 6)


def test_a_function_may_return_any_iterable() -> None:
    class Feed:
        def __aiter__(self) -> AsyncIterator[int]:
            return self.rows()

        async def rows(self) -> AsyncIterator[int]:
            yield 1
            yield 2

    for factory in (Feed, lambda: Feed().rows(), lambda: [1, 2], lambda start: iter([1, 2])):
        assert run(read_all(GeneratorSource(factory))).rows == {ONLY: [1, 2]}


def promised() -> Awaitable[None]:
    return nothing()


@pytest.mark.parametrize("factory", [lambda: 5, promised])
def test_a_function_that_returns_no_rows_is_an_error(factory: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(SourceError, match="expected an async generator"):
        run(read_all(GeneratorSource(factory)))  # type: ignore[arg-type]  # what is refused


def test_it_is_replayable_only_if_it_takes_a_start() -> None:
    async def live() -> AsyncIterator[int]:
        yield 1

    async def stored(start: int) -> AsyncIterator[int]:
        yield start

    assert GeneratorSource(live).replay is Replay.AT_MOST_ONCE
    assert GeneratorSource(stored).replay is Replay.REPLAYABLE
    assert str(GeneratorSource(live)).endswith("live()")


async def returns() -> list[int]:
    return [1]


def generator_of(a: int, b: int) -> Iterator[int]:
    yield a + b


@pytest.mark.parametrize("factory", [returns, generator_of, 5, [1]])
def test_what_yields_no_rows_is_refused_at_definition(factory: Any) -> None:
    with pytest.raises(DefinitionError):
        GeneratorSource(factory)
