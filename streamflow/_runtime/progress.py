"""Progress: what a run says of itself, once a batch and on demand.

The record has the fields that Spark's has, in snake case, so that what people know how to read stays what they know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from streamflow._engine.graph import Graph
from streamflow._runtime.outbox import Outbox
from streamflow.core.operator import Ledger
from streamflow.core.timestamp import MIN_TIMESTAMP

_SAMPLES = 512
_WINDOW_SECONDS = 5.0


@final
@dataclass(frozen=True, slots=True)
class SourceProgress:
    """How far a source is.

    Attributes:
        rows: Rows read and worked on.
        watermark: The source's watermark, microseconds; None before there is one.
        positions: Where each split goes on.
        waiting: Rows read and not yet worked on.
        dead_letters: Rows refused.
    """

    rows: int
    watermark: int | None
    positions: Mapping[str, Any]
    waiting: int
    dead_letters: int


@final
@dataclass(frozen=True, slots=True)
class Progress:
    """What a run has done by now; what runs before it did, from whose checkpoint it goes on, only ``ledgers`` counts.

    Attributes:
        name: The pipeline's name.
        batches: Batches worked on.
        rows: Rows read from all sources.
        rows_per_second: Of the last five seconds.
        latency_ms: ``p50`` and ``p99`` of the time from a row's arrival to the end of its batch, of the last batches;
            with staged sinks the epoch comes on top.
        sources: By name.
        ledgers: By step, where its rows went (``semantics`` R8).
        state: By step that remembers: how many entries it holds, one for each key of each live pane, or for each row
            held.
        late: Rows behind the watermark, over all steps.
        dropped: Rows too late for every window, over all steps.
        sinks: Rows given to each sink.
        dead_letters: Rows refused, over all sources and steps.
        epoch: The number of the last committed epoch; None without checkpoints.
        epoch_age: Seconds since it was committed; None before the first.
        epoch_seconds: How long it took from cut to applied.
        finished: Whether the input is over and everything has fired.
    """

    name: str
    batches: int
    rows: int
    rows_per_second: float
    latency_ms: Mapping[str, float]
    sources: Mapping[str, SourceProgress]
    ledgers: Mapping[str, Any]
    state: Mapping[str, int]
    late: int
    dropped: int
    sinks: Mapping[str, int]
    dead_letters: int
    epoch: int | None
    epoch_age: float | None
    epoch_seconds: float | None
    finished: bool


@final
@dataclass(slots=True)
class Meter:
    """Counts while a run goes on; a few additions a batch."""

    name: str
    batches: int = 0
    rows: int = 0
    epoch: int | None = None
    aborted_epochs: int = 0
    last_abort: Exception | None = None
    _committed_at: float | None = None
    _epoch_seconds: float | None = None
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    _recent: deque[tuple[float, int]] = field(default_factory=deque)
    _clock: float = 0.0
    _before: dict[str, Ledger] = field(default_factory=dict)

    def begin(self, ledgers: Mapping[str, Ledger]) -> None:
        """Count from here: ledgers go on where the checkpoint left them, and a run says what it has done itself."""
        self._before = {name: replace(ledger) for name, ledger in ledgers.items()}

    def batch(self, rows: int, started: float, ended: float, oldest: float) -> None:
        """Count a batch: its rows, when it was worked on, and when its oldest row came."""
        self.batches += 1
        self.rows += rows
        self._latencies.append(ended - min(oldest, started))
        self._recent.append((ended, rows))
        self._clock = ended
        while self._recent and self._recent[0][0] < ended - _WINDOW_SECONDS:
            self._recent.popleft()

    def committed(self, epoch: int, seconds: float, at: float) -> None:
        """Note a committed and applied epoch."""
        self.epoch, self._epoch_seconds, self._committed_at = epoch, seconds, at

    def aborted(self, error: Exception) -> None:
        """Note an epoch for which there was no room; its content joins the next."""
        self.aborted_epochs += 1
        self.last_abort = error

    def read(self, graph: Graph, outbox: Outbox, waiting: Mapping[str, int], now: float) -> Progress:
        """Return what the run has done by now (the loop's time); ``waiting`` is what each source has read ahead."""
        ledgers = dict(graph.ledgers)
        sums = [(ledger, self._before.get(name, _NOTHING)) for name, ledger in ledgers.items()]
        latencies = sorted(self._latencies)
        recent = [(at, rows) for at, rows in self._recent if at >= now - _WINDOW_SECONDS]
        span = max(now - recent[0][0], 0.001) if len(recent) > 1 else _WINDOW_SECONDS
        return Progress(
            self.name,
            self.batches,
            self.rows,
            sum(rows for _, rows in recent) / span,
            {"p50": _quantile(latencies, 0.5) * 1000, "p99": _quantile(latencies, 0.99) * 1000},
            {
                name: SourceProgress(
                    ingest.ledger.rows_in - self._before.get(name, _NOTHING).rows_in,
                    ingest.watermark if ingest.watermark > MIN_TIMESTAMP else None,
                    ingest.positions,
                    waiting[name],
                    ingest.ledger.dead_lettered - self._before.get(name, _NOTHING).dead_lettered,
                )
                for name, ingest in graph.ingests.items()
            },
            ledgers,
            {name: station.operator.held for name, station in graph.stations.items() if station.node.is_stateful},
            sum(after.late - before.late for after, before in sums),
            sum(after.dropped - before.dropped for after, before in sums),
            {name: shelf.rows for name, shelf in outbox.shelves.items()},
            sum(after.dead_lettered - before.dead_lettered for after, before in sums)
            + sum(s.dead_letters for s in outbox.shelves.values()),
            self.epoch,
            None if self._committed_at is None else now - self._committed_at,
            self._epoch_seconds,
            graph.is_ended,
        )


_NOTHING = Ledger()


def _quantile(ordered: list[float], q: float) -> float:
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else 0.0
