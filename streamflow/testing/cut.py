"""Where a test cuts its input into batches: nothing that a pipeline commits may depend on it (the cut law)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import final

from streamflow.errors import DefinitionError

Cut = Sequence[int] | int | None
"""Sizes of batches, over and over; or the seed of random sizes; or None: as it is sent."""

LARGEST = 16
"""The largest random batch: beyond it a cut of a test's few rows cuts nothing any more."""


@final
class Cutter:
    """Cuts what is sent.

    Raises:
        DefinitionError: If a size is less than one.

    >>> cutter = Cutter([3, 1])
    >>> list(cutter.cut(5)), list(cutter.cut(2))
    ([(0, 3), (3, 4), (4, 5)], [(0, 1), (1, 2)])
    """

    __slots__ = ("_sizes",)

    def __init__(self, cut: Cut) -> None:
        if cut is None:
            self._sizes: Iterator[int] | None = None
        elif isinstance(cut, int):
            self._sizes = _random_sizes(cut)
        elif cut and all(isinstance(size, int) and size >= 1 for size in cut):
            self._sizes = cycle(cut)
        else:
            raise DefinitionError(f"cut must be sizes of one or more, or a seed, got {cut!r}")

    def cut(self, rows: int) -> Iterator[tuple[int, int]]:
        """Yield where each batch of ``rows`` rows starts and stops."""
        start = 0
        while start < rows:
            stop = rows if self._sizes is None else min(rows, start + next(self._sizes))
            yield start, stop
            start = stop


def _random_sizes(seed: int) -> Iterator[int]:
    lots = random.Random(seed)  # noqa: S311  # the same sizes for the same seed is what is wanted
    while True:
        yield lots.randint(1, LARGEST)
