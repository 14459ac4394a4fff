"""Sinks that cost next to nothing, written against the public contract of sinks as a user would write one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

import streamflow as sf
from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Encoded, Guarantee, Token


class Collect:
    """Keep frames as they come, and Python values in one list."""

    guarantee = Guarantee.AT_ONCE
    takes_upserts = True

    def __init__(self) -> None:
        self.frames: list[pl.DataFrame] = []
        self.values: list[Any] = []

    def writer(self, pipeline: str, name: str) -> _Writer:
        del pipeline, name
        return _Writer(self.take)

    def take(self, batch: Batch) -> None:
        if isinstance(batch, Columns):
            self.frames.append(batch.frame)
        else:
            self.values += batch.to_values()

    def frame(self) -> pl.DataFrame:
        """Return all frames as one."""
        return pl.concat(self.frames)

    def __str__(self) -> str:
        return "memory"


class Each:
    """Call a function of each batch's values, on the loop, at once: for latency."""

    guarantee = Guarantee.AT_ONCE
    takes_upserts = True

    def __init__(self, function: Callable[[list[Any]], None]) -> None:
        self._function = function

    def writer(self, pipeline: str, name: str) -> _Writer:
        del pipeline, name
        return _Writer(lambda batch: self._function(batch.to_values()))

    def __str__(self) -> str:
        return "function"


class _Writer:
    def __init__(self, take: Callable[[Batch], None]) -> None:
        self._take = take

    async def open(self) -> Token | None:
        return None

    def encode(self, batch: Batch) -> Encoded:
        raise sf.errors.InternalError(f"the sink shows rows at once, and was asked to stage {len(batch)}")

    async def apply(self, staged: Sequence[bytes], token: Token) -> None:
        raise sf.errors.InternalError(f"the sink shows rows at once, and was given {len(staged)} staged for {token}")

    async def write(self, batch: Batch) -> None:
        self._take(batch)

    async def close(self) -> None:
        pass
