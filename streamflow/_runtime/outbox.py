"""The outbox: what has reached the sinks and is not yet written.

With a checkpoint, rows are encoded to the sink's wire form and staged; they are written when their epoch is
committed, with its token.  Rows for sinks that show at once (``AT_ONCE``), and all rows where there is no checkpoint,
are written as they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from streamflow._engine.plan import Plan, SinkNode
from streamflow.core.batch import Batch
from streamflow.core.connector import Guarantee, Refused, Token, Writer
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import MIN_TIMESTAMP
from streamflow.errors import SinkError
from streamflow.operators.refusal import DeadLetter, ToSink


@final
@dataclass(slots=True)
class Shelf:
    """One sink: its writer, and what waits for it."""

    node: SinkNode
    writer: Writer
    is_staged: bool
    staged: list[bytes] = field(default_factory=list)
    staged_bytes: int = 0
    waiting: list[Batch] = field(default_factory=list)
    rows: int = 0
    dead_letters: int = 0
    token: Token | None = None


@final
class Outbox:
    """The sinks of a query."""

    def __init__(self, plan: Plan, *, has_checkpoint: bool) -> None:
        self.shelves = {
            node.name: Shelf(
                node,
                node.sink.writer(plan.name, node.name),
                is_staged=has_checkpoint and node.sink.guarantee is not Guarantee.AT_ONCE,
            )
            for node in plan.sinks
        }
        self._opened: list[Shelf] = []

    async def open(self) -> dict[str, Token | None]:
        """Connect every sink, and return the token that each staged one has."""
        for shelf in self.shelves.values():
            self._opened.append(shelf)
            token = await shelf.writer.open()
            shelf.token = token if shelf.is_staged else None
        return {name: shelf.token for name, shelf in self.shelves.items() if shelf.is_staged}

    def put(self, outputs: Mapping[str, Sequence[Batch]]) -> None:
        """Take what reached the sinks: encode and stage it, or keep it to be written at once.

        Raises:
            SinkError: If a sink can never take a row and its policy is to fail.
        """
        for name, batches in outputs.items():
            shelf = self.shelves[name]
            if not shelf.is_staged:
                shelf.waiting += batches
                continue
            for batch in batches:
                self._stage(shelf, batch)

    async def write(self) -> None:
        """Write what is not staged."""
        for shelf in self.shelves.values():
            waiting, shelf.waiting = shelf.waiting, []
            for batch in waiting:
                await shelf.writer.write(batch)
                shelf.rows += len(batch)

    @property
    def has_waiting(self) -> bool:
        """Whether something is to be written at once."""
        return any(shelf.waiting for shelf in self.shelves.values())

    @property
    def staged_bytes(self) -> int:
        """How many bytes are staged for the next epoch."""
        return sum(shelf.staged_bytes for shelf in self.shelves.values())

    def take_staged(self) -> dict[str, list[bytes]]:
        """Return what is staged for the epoch that is being cut."""
        taken = {name: shelf.staged for name, shelf in self.shelves.items() if shelf.staged}
        for name in taken:
            self.shelves[name].staged = []
            self.shelves[name].staged_bytes = 0
        return taken

    async def apply(self, staged: Mapping[str, Sequence[bytes]], token: Token) -> None:
        """Write a committed epoch to its sinks, each with the token; a sink that has it skips it."""
        for name, data in staged.items():
            shelf = self.shelves.get(name)
            if shelf is None:
                raise SinkError(
                    name,
                    "the checkpoint holds committed output for this sink, which the pipeline no longer has",
                    remedy="bring the sink back until its output is written, or start a new generation",
                )
            if shelf.token is None or shelf.token < token:
                await shelf.writer.apply(data, token)
                shelf.token = token

    async def close(self) -> None:
        """Release every sink that was opened; the first error is raised when all are closed."""
        errors: list[BaseException] = []
        while self._opened:
            try:
                await self._opened.pop().writer.close()
            except Exception as error:  # noqa: BLE001  # every sink is closed before the first error is raised
                errors.append(error)
        if errors:
            raise errors[0]

    def _stage(self, shelf: Shelf, batch: Batch) -> None:
        encoded = shelf.writer.encode(batch)
        if encoded.rows:
            shelf.staged.append(encoded.data)
            shelf.staged_bytes += len(encoded.data)
            shelf.rows += encoded.rows
        if encoded.refused:
            self._refuse(shelf, batch, encoded.refused)

    def _refuse(self, shelf: Shelf, batch: Batch, refused: Sequence[Refused]) -> None:
        policy = shelf.node.on_error
        first = refused[0]
        if policy == "fail":
            raise SinkError(
                shelf.node.name,
                f"cannot take a row: {first.reason} (key {batch.key_of(first.row)!r}, row {first.raw!r})",
                remedy="send such rows elsewhere with on_error(dead_letter(sink)) before to(), or change them",
            ) from first.cause
        shelf.dead_letters += len(refused)
        if not isinstance(policy, ToSink):
            return
        letters = [
            DeadLetter(shelf.node.name, batch.key_of(r.row), int(batch.times[r.row]), r.reason, r.raw) for r in refused
        ]
        times = np.array([letter.event_time for letter in letters], dtype=np.int64)
        stamps = Stamps(times, np.full(len(letters), MIN_TIMESTAMP, dtype=np.int64))
        target = next(s.node.name for s in self.shelves.values() if s.node.sink is policy.sink)
        if target == shelf.node.name:
            raise SinkError(shelf.node.name, f"cannot take a dead letter: {first.reason}")
        self.put({target: [Rows(stamps, letters)]})
