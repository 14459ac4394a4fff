"""What a scenario is: work with an answer, perhaps a limit beside it, and a target."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import streamflow as sf
from bench.answers import Answer, agrees


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run.

    Attributes:
        rows: Input rows.
        seconds: How long the pipeline took; nothing else.
        got: What its output comes to.
        want: What it must come to.
        figures: What else was measured, by name and unit: ``p99_ms``, ``ns_a_key`` …
    """

    rows: int
    seconds: float
    got: Answer
    want: Answer
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        return agrees(self.got, self.want)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something to measure.

    Attributes:
        name: ``W2c`` …
        what: What it does, in a few words.
        run: Runs it on a size of ``bench.data``.
        limits: The same answer by other means in the same process: seconds, by the name of the means.
        size: The size that it is measured on unless told otherwise.
        must: Rows a second that issue 4 asks for; for latency, and where ``unit`` says so, something else.
        goal: Rows a second that it hopes for.
        unit: What ``must`` and ``goal`` count: ``rows/s``, ``of limit`` or a key of ``figures`` (less is better).
    """

    name: str
    what: str
    run: Callable[[str], Outcome]
    limits: dict[str, Callable[[str], float]] = field(default_factory=dict)
    size: str = "1m"
    must: float | None = None
    goal: float | None = None
    unit: str = "rows/s"


def timed(pipeline: sf.Pipeline) -> float:
    """Return how many seconds ``run()`` takes to the end of the input."""
    started = time.perf_counter()
    pipeline.run()
    return time.perf_counter() - started


def seconds_of(work: Callable[[], object]) -> float:
    """Return how many seconds a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
