"""The sink that stands in for every sink of a pipeline under test: it keeps what an exactly-once sink would have.

Rows are staged with their epoch, and kept when the epoch is committed, once, whatever crashes in between: the token
decides. What is staged is the place of a batch in memory, so a test gets back the very objects that its pipeline
made.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, final

import polars as pl

from streamflow.connectors.memory import MemorySink
from streamflow.core.batch import Batch
from streamflow.core.connector import Encoded, Guarantee, Token
from streamflow.core.stamps import DELETE
from streamflow.core.tokens import is_new


@final
class RecordingSink:
    """Keeps committed rows in memory, each exactly once; it outlives the crashes of a test.

    Args:
        name: Its name in the plan.
        instead_of: The sink it stands in for, as ``explain()`` shows it.
    """

    def __init__(self, name: str, instead_of: str = "") -> None:
        self.token: Token | None = None
        self.epochs: list[int] = []
        """The numbers of the epochs that brought rows."""
        self.rows: list[Any] = []
        """The rows in the order they were committed; on an upsert edge each refresh, without the rows that delete."""
        self._name = name
        self._instead_of = instead_of
        self._kept = MemorySink()
        self._staged: list[Batch] = []

    @property
    def table(self) -> dict[Hashable, Any]:
        """What an upsert edge comes to: the last row of each key that was not deleted."""
        return self._kept.table

    def frame(self) -> pl.DataFrame:
        """Return every committed row as a frame, those that delete too."""
        return self._kept.frame()

    @property
    def guarantee(self) -> Guarantee:
        """Exactly once."""
        return Guarantee.EXACTLY_ONCE

    @property
    def takes_upserts(self) -> bool:
        """Yes: the sink it stands in for was asked when the pipeline was written."""
        return True

    def writer(self, pipeline: str, name: str) -> RecordingWriter:
        """Return a writer into this sink."""
        del pipeline, name
        return RecordingWriter(self)

    def stage(self, batch: Batch) -> bytes:
        """Return what stands for a batch in an epoch."""
        if not self._staged or self._staged[-1] is not batch:
            self._staged.append(batch)
        return str(len(self._staged) - 1).encode()

    def keep(self, staged: Sequence[bytes], token: Token) -> None:
        """Keep the batches of an epoch, unless they are there."""
        if not is_new(token, self.token, self._name):
            return
        self.token = token
        for place in staged:
            self.show(self._staged[int(place)])
        self.epochs.append(token.epoch)

    def show(self, batch: Batch) -> None:
        """Keep a batch at once."""
        self._kept.add(batch)
        values, kind = batch.to_values(), batch.stamps.kind
        self.rows += values if kind is None else [v for v, k in zip(values, kind.tolist(), strict=True) if k != DELETE]

    def __str__(self) -> str:
        return f"recording of {self._instead_of or self._name}"

    def __repr__(self) -> str:
        return f"RecordingSink({self._name!r}, {len(self.rows)} rows)"


@final
class RecordingWriter:
    """Writes to a ``RecordingSink``."""

    __slots__ = ("_sink",)

    def __init__(self, sink: RecordingSink) -> None:
        self._sink = sink

    async def open(self) -> Token | None:
        """Return the token of the last epoch that was kept."""
        return self._sink.token

    def encode(self, batch: Batch) -> Encoded:
        """Return the place of the batch; every row is taken."""
        return Encoded(self._sink.stage(batch), len(batch))

    async def apply(self, staged: Sequence[bytes], token: Token) -> None:
        """Keep the rows of one epoch and its token, together."""
        self._sink.keep(staged, token)

    async def write(self, batch: Batch) -> None:
        """Keep the rows at once: there is no checkpoint."""
        self._sink.show(batch)

    async def close(self) -> None:
        """Keep what there is."""
