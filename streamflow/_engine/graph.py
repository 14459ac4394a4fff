"""The running graph: steps, the watermarks between them, and what reaches the sinks.

One call, one element: it goes through the graph depth first, and everything it causes has left before the call
returns.  There is no queue, no task and no await between steps, so neighbouring steps are one pass by construction.

Order at a watermark (R1): what a step fires leaves it first, then the watermark is forwarded.  A step with several
inputs sees the minimum over those that count; an input that is silent may leave the minimum and return (R6).

Knows no clock and no sink: sinks are names, and what reached them waits in ``take_outputs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from streamflow._engine.ingest import Ingest
from streamflow._engine.plan import Plan, StepNode, Surroundings
from streamflow.core.batch import Batch
from streamflow.core.connector import Chunk
from streamflow.core.element import LATE, Output, Port
from streamflow.core.operator import Ledger, Operator
from streamflow.core.stamps import constant
from streamflow.core.state import Snapshot
from streamflow.core.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, show_time
from streamflow.core.watermark import WatermarkMerge
from streamflow.errors import DataError, InternalError, OperatorError, StreamflowError
from streamflow.operators.refusal import Refusal


@final
@dataclass(slots=True)
class Station:
    """A step in the graph: its operator, where it stands in event time, and who takes its output."""

    node: StepNode
    operator: Operator
    merge: WatermarkMerge
    forwarded: int = MIN_TIMESTAMP

    @property
    def watermark(self) -> int:
        """The step's watermark."""
        return self.merge.watermark


@final
class Graph:
    """A plan that runs.

    Feed it with ``feed`` (chunks of a source), ``idle``, ``finish``, ``tick`` and ``end``; take what reached the
    sinks with ``take_outputs``; ``snapshot`` and ``restore`` between any two calls.
    """

    def __init__(self, plan: Plan, *, is_tracking: bool = False) -> None:
        self.plan = plan
        needs = plan.needs()
        self.ingests = {node.name: Ingest(node, needs) for node in plan.sources}
        self.stations: dict[str, Station] = {}
        self._targets: dict[tuple[str, Port], list[tuple[str, int]]] = {}
        self._outputs: dict[str, list[Batch]] = {node.name: [] for node in plan.sinks}
        self._sinks: dict[tuple[str, Port], list[str]] = {}
        self._ended: set[str] = set()
        self._forwarded: dict[str, int] = dict.fromkeys(self.ingests, MIN_TIMESTAMP)
        self._idle: dict[str, bool] = dict.fromkeys(self.ingests, False)
        for step in plan.steps:
            self._add_step(step, is_tracking=is_tracking)
        for sink in plan.sinks:
            for input in sink.inputs:
                self._sinks.setdefault((input.node, input.port), []).append(sink.name)
        self._ticking = [s for s in self.stations.values() if s.node.wants_ticks]

    # what goes in

    def open(self, source: str, split: str, resume: Any, now: int) -> None:
        """Know a split of a source."""
        self.ingests[source].open(split, resume, now)

    def feed(self, source: str, chunks: Sequence[Chunk], now: int) -> None:
        """Take chunks of one source."""
        for outputs in self._taken(source, chunks, now):
            self._tell_status(source)
            for port, batch in outputs:
                self._deliver(source, port, batch)
            self._advance_source(source)

    def _taken(self, source: str, chunks: Sequence[Chunk], now: int) -> Iterator[list[Output]]:
        try:
            yield from self.ingests[source].take(chunks, now)
        except DataError as error:
            raise OperatorError(source, reason=str(error)) from error

    def idle(self, source: str, split: str) -> None:
        """A split has nothing to say for now."""
        self.ingests[source].idle(split)
        self._advance_source(source)
        self._tell_status(source)

    def finish(self, source: str, split: str) -> None:
        """A split is over for ever."""
        self.ingests[source].finish(split)
        self._advance_source(source)

    def end_source(self, source: str) -> None:
        """A source is over: its watermark is past every time, and what waits for it alone fires (R5)."""
        self._ended.add(source)
        self.ingests[source].merge.end()
        self._advance_source(source)

    def end(self) -> None:
        """Everything has been seen: the watermark is past every time, and everything fires (R5)."""
        for source in self.ingests:
            self.end_source(source)

    def tick(self, now: int) -> None:
        """Tell the clock's time to the sources and the steps that ask for it."""
        for source, ingest in self.ingests.items():
            ingest.tick(now)
            self._advance_source(source)
            self._tell_status(source)
        for station in self._ticking:
            self._send(station, station.operator.on_tick(now))

    # what comes out

    def take_outputs(self) -> dict[str, list[Batch]]:
        """Return what reached each sink since the last call, in order."""
        taken = {name: batches for name, batches in self._outputs.items() if batches}
        for name in taken:
            self._outputs[name] = []
        return taken

    @property
    def is_ended(self) -> bool:
        """Whether every source is over."""
        return self._ended == set(self.ingests)

    @property
    def ledgers(self) -> Mapping[str, Ledger]:
        """Where the rows of each source and step went."""
        return {n: i.ledger for n, i in self.ingests.items()} | {n: s.operator.ledger for n, s in self.stations.items()}

    def check_ledgers(self) -> None:
        """Check that every row of every step is in exactly one place.

        Raises:
            InternalError: If one is not.
        """
        for name, ledger in self.ledgers.items():
            if not ledger.is_balanced:
                raise InternalError(f"the ledger of step {name!r} does not balance: {ledger}")

    # state

    def snapshot(self, *, full: bool) -> dict[str, Snapshot]:
        """Return the state of every source and step, whole or what changed; later calls do not change it."""
        state = {name: _with_ledger(i.snapshot(), i.ledger) for name, i in self.ingests.items()}
        for name, station in self.stations.items():
            snapshot = _with_ledger(station.operator.snapshot(full=full), station.operator.ledger)
            meta = {**snapshot.meta, "_merge": station.merge.snapshot(), "_forwarded": station.forwarded}
            state[name] = Snapshot(meta, snapshot.parts)
        return state

    def positions(self) -> dict[str, dict[str, Any]]:
        """Return where to go on, by source and split."""
        return {name: ingest.positions for name, ingest in self.ingests.items()}

    def restore(self, state: Mapping[str, Snapshot], positions: Mapping[str, Mapping[str, Any]], now: int) -> None:
        """Take the state of a snapshot of the same plan; a step it does not have starts empty."""
        for name, ingest in self.ingests.items():
            if name in state:
                ingest.restore(state[name], positions.get(name, {}), now)
                _restore_ledger(ingest.ledger, state[name])
                self._forwarded[name] = ingest.watermark
                self._idle[name] = ingest.merge.is_idle
        for name, station in self.stations.items():
            if name in state:
                station.merge.restore(state[name].meta["_merge"])
                station.forwarded = state[name].meta["_forwarded"]
                station.operator.restore(state[name])
                _restore_ledger(station.operator.ledger, state[name])

    # within

    def _add_step(self, step: StepNode, *, is_tracking: bool) -> None:
        has_late = any(True for _ in self.plan.readers(step.name, LATE))
        around = Surroundings(Refusal(step.name, step.on_error), has_late, is_tracking)
        merge = WatermarkMerge()
        for number, source in enumerate(step.inputs):
            merge.add(str(number))
            self._targets.setdefault((source.node, source.port), []).append((step.name, number))
        self.stations[step.name] = Station(step, step.make(around), merge)

    def _deliver(self, node: str, port: Port, batch: Batch) -> None:
        for sink in self._sinks.get((node, port), ()):
            self._outputs[sink].append(batch)
        for target, number in self._targets.get((node, port), ()):
            station = self.stations[target]
            prepared = self._prepared(station, number, batch)
            try:
                outputs = station.operator.on_batch(number, prepared)
            except Exception as error:
                if isinstance(error, StreamflowError) and not isinstance(error, DataError):
                    raise
                raise _blame(station, prepared, error) from error
            self._send(station, outputs)

    def _prepared(self, station: Station, number: int, batch: Batch) -> Batch:
        """Return the batch with this step's own watermark beside each row, where a step from here on wants it."""
        mark = batch.stamps.mark
        if mark is None:
            if "mark" not in station.node.needs:
                return batch
            return batch.with_stamps(batch.stamps.with_mark(constant(station.watermark, len(batch))))
        if len(station.node.inputs) == 1:
            return batch
        other = station.merge.least_other(str(number))
        merged = np.maximum(np.minimum(mark, other), station.watermark)
        return batch.with_stamps(batch.stamps.with_mark(merged))

    def _send(self, station: Station, outputs: Iterable[Output]) -> None:
        for port, batch in outputs:
            self._deliver(station.node.name, port, batch)

    def _advance_source(self, source: str) -> None:
        watermark = self.ingests[source].watermark
        if watermark > self._forwarded[source]:
            self._forwarded[source] = watermark
            for target, number in self._all_targets(source):
                self._advance(target, number, watermark)

    def _advance(self, target: str, number: int, watermark: int) -> None:
        station = self.stations[target]
        before = station.watermark
        if watermark >= MAX_TIMESTAMP:
            station.merge.finish(str(number))
            station.merge.marks[str(number)] = MAX_TIMESTAMP
            if all(mark == MAX_TIMESTAMP for mark in station.merge.marks.values()):
                station.merge.end()
        else:
            station.merge.advance(str(number), watermark)
        self._moved(station, before)

    def _moved(self, station: Station, before: int) -> None:
        now = station.watermark
        if now <= before:
            return
        try:
            outputs = station.operator.on_watermark(now)
        except Exception as error:
            if isinstance(error, StreamflowError) and not isinstance(error, DataError):
                raise
            raise _blame(station, None, error) from error
        self._send(station, outputs)
        held = station.operator.held_watermark(now)
        if held > station.forwarded:
            station.forwarded = held
            for target, number in self._all_targets(station.node.name):
                self._advance(target, number, held)

    def _tell_status(self, source: str) -> None:
        """Tell the steps behind a source that it has fallen idle, or that it counts again."""
        is_idle = self.ingests[source].merge.is_idle
        if is_idle != self._idle[source]:
            self._idle[source] = is_idle
            for target, number in self._all_targets(source):
                self._set_idle(target, number, is_idle=is_idle)

    def _set_idle(self, target: str, number: int, *, is_idle: bool) -> None:
        station = self.stations[target]
        before, was_idle = station.watermark, station.merge.is_idle
        if is_idle:
            station.merge.idle(str(number))
        else:
            station.merge.active(str(number))
        self._moved(station, before)
        if station.merge.is_idle != was_idle:
            for following, its_number in self._all_targets(target):
                self._set_idle(following, its_number, is_idle=not was_idle)

    def _all_targets(self, node: str) -> list[tuple[str, int]]:
        return [target for (name, _), targets in self._targets.items() if name == node for target in targets]


def _blame(station: Station, batch: Batch | None, error: Exception) -> OperatorError:
    """Return the error of a step whose function failed where no single row can be named."""
    when = None
    if batch is not None and len(batch):
        first, last = show_time(int(batch.times.min())), show_time(int(batch.times.max()))
        when = first if first == last else f"{first} to {last}"
    text = str(error).partition("\n")[0]
    reason = text if isinstance(error, DataError) else f"{type(error).__name__}: {text}"
    return OperatorError(station.node.name, event_time=when, reason=reason)


def _with_ledger(snapshot: Snapshot, ledger: Ledger) -> Snapshot:
    return Snapshot({**snapshot.meta, "_ledger": asdict(ledger)}, snapshot.parts)


def _restore_ledger(ledger: Ledger, snapshot: Snapshot) -> None:
    for name, value in snapshot.meta["_ledger"].items():
        setattr(ledger, name, value)
