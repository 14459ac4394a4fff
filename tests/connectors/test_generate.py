from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from streamflow.connectors.generate import BLOCK, GenerateSource, generate
from streamflow.core.connector import SourceFinished, SplitIdle
from streamflow.errors import DefinitionError, SourceError
from streamflow.testing.virtual_loop import run_virtual
from tests.connectors.reading import History, read_all, run

T0 = datetime(2024, 1, 1, tzinfo=UTC)
MICROS = 1_704_067_200_000_000


def test_rows_are_numbers_and_times_unless_a_function_makes_them() -> None:
    source = generate(rate=2, rows=3, start=T0)
    history = run_virtual(read_all(source, until=lambda h: h.is_over))
    assert history.rows == {"0": [(n, T0 + timedelta(seconds=n / 2)) for n in range(3)]}


def test_row_n_is_in_split_n_modulo_splits() -> None:
    rows = run(read_all(generate(lambda n, at, rng: n, rows=10, splits=4))).rows
    assert rows == {"0": [0, 4, 8], "1": [1, 5, 9], "2": [2, 6], "3": [3, 7]}


def test_chance_depends_on_the_seed_and_the_row_alone() -> None:
    def draw(n: int, at: datetime, rng: random.Random) -> float:
        return rng.random()

    def draw_columns(n: Any, at: Any, rng: np.random.Generator) -> pl.DataFrame:
        return pl.DataFrame({"x": rng.random(len(n))})

    for options in ({"make": draw}, {"columns": draw_columns}):
        few = run(read_all(generate(**options, rows=10, seed=1))).rows["0"]
        many = run(read_all(generate(**options, rows=2 * BLOCK + 1, seed=1, start=T0))).rows["0"]
        other = run(read_all(generate(**options, rows=10, seed=2))).rows["0"]
        assert many[:10] == few != other
        assert len(set(many)) == len(many) == 2 * BLOCK + 1


def test_the_rows_never_change() -> None:
    """What was generated once is in people's tests and checkpoints: these are the values of the first release."""

    def bits(n: Any, at: Any, rng: np.random.Generator) -> list[int]:
        return [int(raw) % 1000 for raw in rng.bit_generator.random_raw(len(n))]

    rows = run(read_all(generate(lambda n, at, rng: rng.randrange(1000), rows=5, seed=3))).rows["0"]
    columns = run(read_all(generate(columns=bits, rows=5, seed=3))).rows["0"]
    assert rows == [276, 192, 458, 343, 641]
    assert columns == [280, 861, 238, 484, 46]


def test_a_row_comes_when_it_is_due() -> None:
    async def times(source: GenerateSource) -> list[tuple[float, int]]:
        loop, seen = asyncio.get_running_loop(), []

        def note(history: History) -> bool:
            seen.append((loop.time(), len(history.rows.get("0", ()))))
            return history.is_over

        await read_all(source, until=note)
        return seen

    seen = run_virtual(times(generate(rate=4, rows=5, start=T0)))
    assert [at for at, count in seen if count][:1] == [0.0]
    assert {count: at for at, count in reversed(seen) if count} == {1: 0.0, 2: 0.25, 3: 0.5, 4: 0.75, 5: 1.0}


def test_all_rows_of_a_second_come_within_it_and_fewer_reads_than_rows() -> None:
    async def reads() -> tuple[float, int, int]:
        history = await read_all(generate(rate=100_000, rows=100_001, splits=3, start=T0), until=lambda h: h.is_over)
        return asyncio.get_running_loop().time(), len(history.steps), sum(map(len, history.rows.values()))

    seconds, events, rows = run_virtual(reads())
    assert rows == 100_001
    assert 1.0 <= seconds < 1.01
    assert events < 4_000


def test_started_again_with_a_start_of_its_own_it_goes_on_from_there_at_its_rate() -> None:
    async def resumed() -> tuple[float, list[Any]]:
        source = generate(lambda n, at, rng: at, rate=10, start=T0, splits=2)
        positions = {"0": {"row": 500, "start": MICROS}, "1": {"row": 499, "start": MICROS}}
        history = await read_all(source, [1], positions, until=lambda h: sum(map(len, h.rows.values())) >= 4)
        return asyncio.get_running_loop().time(), history.rows["0"]

    seconds, rows = run_virtual(resumed())
    assert rows == [T0 + timedelta(seconds=n / 10) for n in (1000, 1002)]
    assert seconds == pytest.approx(0.3)


def test_without_a_start_it_begins_now_and_catches_up_after_a_pause() -> None:
    async def catch_up() -> tuple[History, History, float]:
        now = [MICROS]
        source = generate(rate=10, rows=100, clock=lambda: now[0])
        first = await read_all(source, until=lambda h: len(h.rows.get("0", ())) >= 5)
        now[0] += 8_000_000
        loop = asyncio.get_running_loop()
        began = loop.time()
        rest = await read_all(source, [1000], first.positions, until=lambda h: bool(h.rows))
        return first, rest, loop.time() - began

    first, rest, seconds = run_virtual(catch_up())
    assert first.rows["0"][0] == (0, T0)
    assert rest.rows["0"][0] == (5, T0 + timedelta(milliseconds=500))
    assert len(rest.rows["0"]) == 81 - 5
    assert seconds == 0.0


def test_nothing_is_due_means_idle_and_is_said_once() -> None:
    async def first_events() -> list[object]:
        reader = generate(rate=1, rows=3, start=T0).reader()
        await reader.open({})
        events = [event for _ in range(4) for event in await reader.read(10, ["0"])]
        await reader.close()
        return events

    events = run_virtual(first_events())
    assert [type(event).__name__ for event in events] == [
        "Chunk", "SplitIdle", "Chunk", "Chunk", "SplitFinished", "SourceFinished",
    ]  # fmt: skip
    assert events[1] == SplitIdle("0")
    assert events[-1] == SourceFinished()


def test_a_function_that_fails_or_makes_too_few_rows_is_an_error_that_names_the_row() -> None:
    def fail(n: int, at: datetime, rng: random.Random) -> float:
        return 1 / (2 - n)

    with pytest.raises(SourceError, match="row 0 cannot be made: ZeroDivisionError") as raised:
        run(read_all(generate(fail, rows=5)))
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    with pytest.raises(SourceError, match=f"{BLOCK} numbers and made 1 rows"):
        run(read_all(generate(columns=lambda n, at, rng: [1], rows=5)))


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0},
        {"rate": float("inf")},
        {"rate": float("nan")},
        {"rows": -1},
        {"splits": 0},
        {"seed": -1},
        {"start": datetime(2024, 1, 1)},  # noqa: DTZ001 - what is refused
        {"make": lambda n, at, rng: n, "columns": lambda n, at, rng: [n]},
    ],
)
def test_what_cannot_be_made_is_refused_at_definition(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        generate(**options)


@pytest.mark.parametrize(
    "positions", [{"1": {"row": 0, "start": 0}}, {"0": 7}, {"0": {"row": -1, "start": 0}}, {"0": {"row": 1}}]
)
def test_a_position_of_another_source_is_an_error(positions: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"position|splits"):
        run(read_all(generate(rows=5), positions=positions))


def test_it_says_what_it_is() -> None:
    assert str(generate()) == "generated rows"
    assert not generate().is_bounded
    assert generate(rows=1).is_bounded
