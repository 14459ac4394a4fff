from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from itertools import pairwise

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow._runtime.clock import CLOCK, SystemClock
from streamflow.errors import DataError, DefinitionError, StreamflowError
from streamflow.testing.clock import VirtualClock
from streamflow.testing.virtual_loop import VirtualLoop, run_virtual

HOUR = 3_600.0


async def after(seconds: float) -> float:
    """Return what time it is when a timer of so many seconds has struck."""
    loop = asyncio.get_running_loop()
    struck: asyncio.Future[float] = loop.create_future()
    loop.call_later(seconds, lambda: struck.set_result(loop.time()))
    return await struck


def test_a_clock_moves_only_when_it_is_told_to() -> None:
    clock = VirtualClock(datetime(2024, 5, 1, tzinfo=UTC))
    before = clock.now()
    assert clock.now() == before
    assert clock.advance("1ms") == before + 1_000 == clock.now()


def test_a_clock_does_not_go_back() -> None:
    clock = VirtualClock(5)
    with pytest.raises(DefinitionError, match="does not go back"):
        clock.move_to(4)
    with pytest.raises(DefinitionError, match="zero or more"):
        clock.advance("-1s")
    with pytest.raises(DataError, match="time zone"):
        VirtualClock(datetime(2024, 5, 1))  # noqa: DTZ001  # that is the point


def test_an_hour_takes_no_time() -> None:
    before = time.monotonic()
    assert run_virtual(after(1000 * HOUR)) == 1000 * HOUR
    assert time.monotonic() - before < HOUR


def test_timers_strike_in_their_order_at_their_time() -> None:
    async def body() -> list[float]:
        return list(await asyncio.gather(after(3.0), after(1.0), after(2.0)))

    clock = VirtualClock(10_000_000)
    assert run_virtual(body(), clock=clock) == [3.0, 1.0, 2.0]
    assert clock.now() == 13_000_000


@given(st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=20))
def test_no_timer_strikes_early_and_time_never_goes_back(lengths: list[float]) -> None:
    async def body() -> list[float]:
        loop = asyncio.get_running_loop()
        seen: list[float] = []
        done: asyncio.Future[None] = loop.create_future()

        def strike(when: float) -> None:
            seen.append(loop.time())
            assert loop.time() >= when - 1e-9  # the resolution that asyncio gives every loop
            if len(seen) == len(lengths):
                done.set_result(None)

        for length in lengths:
            when = loop.time() + length
            loop.call_at(when, strike, when)
        await done
        return seen

    seen = run_virtual(body())
    assert all(a <= b for a, b in pairwise(seen))
    assert seen[-1] == pytest.approx(max(lengths), abs=2e-6)


def test_time_stands_still_while_a_thread_is_at_work() -> None:
    async def body() -> tuple[float, float, float]:
        loop = asyncio.get_running_loop()
        gate = threading.Event()
        timer = asyncio.create_task(after(1.0))
        waits = asyncio.create_task(anyio.to_thread.run_sync(gate.wait, limiter=anyio.CapacityLimiter(1)))
        for _ in range(10):
            await asyncio.wait({timer}, timeout=0)
        threading.Timer(0.01, gate.set).start()
        await waits
        return loop.time(), await timer, loop.time()

    assert run_virtual(body()) == (0.0, 1.0, 1.0)


def test_time_stands_still_while_an_executor_is_at_work() -> None:
    async def body() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        gate = threading.Event()
        timer = asyncio.create_task(after(1.0))
        waits = loop.run_in_executor(None, gate.wait)
        for _ in range(10):
            await asyncio.wait({timer}, timeout=0)
        threading.Timer(0.01, gate.set).start()
        await waits
        return loop.time(), await timer

    assert run_virtual(body()) == (0.0, 1.0)


def test_advancing_the_clock_fires_the_timers_on_the_way() -> None:
    clock = VirtualClock()

    async def body() -> float:
        loop = asyncio.get_running_loop()
        struck: asyncio.Future[float] = loop.create_future()
        loop.call_later(60.0, lambda: struck.set_result(loop.time()))
        clock.advance("2m")
        return await struck

    assert run_virtual(body(), clock=clock) == 120.0


def test_what_waits_for_ever_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamflow.testing.virtual_loop.PATIENCE_SECONDS", 0.01)

    async def body() -> None:
        asyncio.current_task().set_name("the one that hangs")  # type: ignore[union-attr]
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StreamflowError, match=r"stands still for ever.*the one that hangs"):
        run_virtual(body())


def test_runs_started_in_it_read_its_clock_and_others_do_not() -> None:
    clock = VirtualClock(7)

    async def body() -> int:
        assert isinstance(asyncio.get_running_loop(), VirtualLoop)
        return CLOCK.get().now()

    assert run_virtual(body(), clock=clock) == 7
    assert isinstance(CLOCK.get(), SystemClock)


def test_what_a_coroutine_raises_is_raised() -> None:
    async def body() -> None:
        await after(1.0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_virtual(body())
