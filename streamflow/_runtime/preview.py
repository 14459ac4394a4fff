"""``head(n)``: the first rows of an output, without its sinks and without checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Generic, TypeVar, final

from streamflow._engine.plan import Input, Plan, SinkNode
from streamflow._runtime.query import Query
from streamflow._runtime.settings import Settings
from streamflow._runtime.trigger import continuous
from streamflow.connectors.console import ConsoleSink
from streamflow.connectors.memory import MemorySink
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import MIN_TIMESTAMP

T = TypeVar("T")


@final
class Preview(Generic[T]):
    """The first rows of an output: ``await`` it, and it is run, printed and returned as a list."""

    def __init__(self, plan: Plan, input: Input, rows: int) -> None:
        self._plan = plan
        self._input = input
        self._rows = rows

    def __await__(self) -> Generator[Any, None, list[T]]:
        """Run what leads here until there are enough rows or the input ends."""
        return self._run().__await__()

    async def _run(self) -> list[T]:
        memory = MemorySink()
        plan = self._plan.only(self._plan.upstream(self._input.node))
        plan.nodes["head"] = SinkNode("head", memory, (self._input,))
        settings = Settings.of(continuous(), None, "1s", None)
        async with Query(plan, settings) as query:
            while len(memory.rows) < self._rows and not query.is_done:  # noqa: ASYNC110  # no event to await
                await asyncio.sleep(_LOOK_SECONDS)
        rows: list[T] = memory.rows[: self._rows]
        printer = ConsoleSink(limit=self._rows).writer(plan.name, self._input.node)
        await printer.open()
        await printer.write(Rows(Stamps.at(0, MIN_TIMESTAMP, len(rows)), rows))
        await printer.close()
        return rows


_LOOK_SECONDS = 0.01
