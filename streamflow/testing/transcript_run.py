"""Run a transcript: build the pipeline it describes, drive it step by step, compare.

A transcript runs four times, unless it says otherwise: as Python values and as columns, in batches as they are sent
and one row a batch.  What is expected is the same each time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, final

from streamflow import agg
from streamflow.connectors.memory import MemorySink
from streamflow.core.aggregation import Aggregate
from streamflow.core.folding import Windowed
from streamflow.core.timestamp import MICROSECOND
from streamflow.core.window import Window, session, sliding, tumbling
from streamflow.errors import DefinitionError, StreamflowError
from streamflow.operators.refusal import dead_letter
from streamflow.pipeline import Pipeline
from streamflow.stream import Stream
from streamflow.testing.driving import Drive, drive
from streamflow.testing.transcript import Step, Transcript, WindowSpec, load

_MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AGGREGATIONS = ("collect", "count", "first", "last", "max", "mean", "min", "sum")

INPUT, OUTPUT, LATE, DEAD = "input", "output", "late", "dead"
"""The names of the source and the sinks."""


class Row(NamedTuple):
    """What the source yields; a row with a ``mark`` states the watermark and is nothing else."""

    key: Any
    time: int
    value: Any
    mark: int | None = None


def run_transcript(path: str | Path) -> int:
    """Run the transcripts of a YAML file, each in every way it asks for, and return how many runs that were.

    Raises:
        AssertionError: If something else came out, or one that must fail did not.
        DefinitionError: If the file does not hold transcripts.
    """
    runs = 0
    for transcript in load(path):
        for layout in transcript.layouts:
            for cut in transcript.cuts:
                asyncio.run(check(transcript, layout=layout, cut=cut))
                runs += 1
    return runs


async def check(transcript: Transcript, *, layout: str = "rows", cut: str = "sent") -> None:
    """Run one transcript one way.

    Raises:
        AssertionError: If something else came out, or it must fail and did not.
    """
    where = f"{transcript.name} [{layout}, batches as {'sent' if cut == 'sent' else 'single rows'}]"
    if not transcript.reject:
        await _Played(transcript, layout, cut, where).play()
        return
    try:
        await _Played(transcript, layout, cut, where).play()
    except (StreamflowError, AssertionError) as error:
        if isinstance(transcript.reject, str) and transcript.reject not in str(error):
            raise AssertionError(f"{where}: expected an error with {transcript.reject!r}, got: {error}") from error
    else:
        raise AssertionError(f"{where}: this had to fail, and did not")


def build(transcript: Transcript, layout: str) -> Pipeline:
    """Return the pipeline that a transcript describes: a source, a filter, a window, and sinks.

    Raises:
        DefinitionError: If it describes one that cannot run.
    """
    pipeline = Pipeline("transcript")
    unit = transcript.unit
    options: dict[str, Any] = {"time_unit": unit, "idle_advance": transcript.idle_advance}
    options |= {
        name: f"{length}{unit}"
        for name in ("max_delay", "idle_after", "max_future")
        if (length := getattr(transcript, name)) is not None
    }
    if transcript.max_future is not None:
        options["on_error"] = dead_letter(MemorySink())
    stated = None if transcript.max_delay is not None else _stated(unit)
    rows: Stream[Row] = pipeline.read(INPUT, [], event_time=lambda row: row.time, watermark=stated, **options)
    dropped = set(transcript.drop)
    kept = rows.filter(lambda row: row.mark is None and row.value not in dropped, name="kept")
    output, late = (_as_columns if layout == "columns" else _as_rows)(transcript, kept)
    output.to(MemorySink(), name=OUTPUT)
    late.to(MemorySink(), name=LATE)
    return pipeline


def _as_rows(transcript: Transcript, rows: Stream[Row]) -> tuple[Any, Any]:
    if transcript.window is None:
        ordered = rows.ordered(name="step")
        return ordered, ordered.late()
    keyed = rows.key_by(lambda row: row.key, name="keyed")
    windows = keyed.window(_window(transcript.window, transcript.unit), **_emission(transcript))
    aggregation = getattr(agg, _aggregation(transcript.agg))(lambda row: row.value)
    results = windows.aggregate(aggregation, name="step")
    return results, results.late()


def _as_columns(transcript: Transcript, rows: Stream[Row]) -> tuple[Any, Any]:
    table = rows.as_table(_columns(transcript), name="columns")
    if transcript.window is None:
        ordered = table.ordered(name="step")
        return ordered, ordered.late()
    grouped = table.group_by("key")
    windows = grouped.window(_window(transcript.window, transcript.unit), **_emission(transcript))
    aggregation: Aggregate[Any, Any] = getattr(agg.col("value"), _aggregation(transcript.agg))()
    results = windows.agg(value=aggregation, name="step")
    return results, results.late()


def _stated(unit: str) -> Callable[[Row], int | None]:
    return lambda row: None if row.mark is None else row.mark * _MICROS[unit]


def _columns(transcript: Transcript) -> dict[str, Any]:
    import polars as pl

    rows = [row for step in transcript.steps if isinstance(step, Step) for row in step.input or ()]
    types = {str: pl.String, int: pl.Int64, float: pl.Float64}
    key, value = ({type(row[i]) for row in rows} or {int} for i in (0, 2))
    return {
        "key": types[max(key, key=list(types).index)],
        "time": pl.Int64,
        "value": types[max(value, key=list(types).index)],
        "mark": pl.Int64,
    }


def _window(spec: WindowSpec, unit: str) -> Window:
    offset = f"{spec.offset}{unit}"
    if spec.tumbling is not None:
        return tumbling(f"{spec.tumbling}{unit}", offset=offset)
    if spec.sliding is not None:
        return sliding(f"{spec.sliding}{unit}", every=f"{spec.every}{unit}", offset=offset)
    return session(f"{spec.session}{unit}")


def _emission(transcript: Transcript) -> dict[str, Any]:
    return {
        "emit": transcript.emit,
        "allowed_lateness": f"{transcript.lateness}{transcript.unit}",
        "late": transcript.late,
        "early": None if transcript.early is None else f"{transcript.early}{transcript.unit}",
    }


def _aggregation(name: str) -> str:
    if name not in _AGGREGATIONS:
        raise DefinitionError(f"agg must be one of {', '.join(_AGGREGATIONS)}, got {name!r}")
    return name


@final
class _Played:
    """A transcript while it runs."""

    def __init__(self, transcript: Transcript, layout: str, cut: str, where: str) -> None:
        self._transcript = transcript
        self._where = where
        self._scale = _MICROS[transcript.unit]
        self._pipeline = build(transcript, layout)
        self._cut = [1] if cut == "row" else None

    async def play(self) -> None:
        """Do every step."""
        start = self._transcript.start * self._scale
        async with drive(self._pipeline, start=start, cut=self._cut) as driven:
            if self._transcript.splits:
                await driven.source(INPUT).open(*self._transcript.splits)
            for number, step in enumerate(self._transcript.steps, 1):
                self._number = number
                await self._do(driven, step)

    async def _do(self, driven: Drive, step: Step | str) -> None:
        source, unit = driven.source(INPUT), self._transcript.unit
        match step:
            case str():
                await self._obey(driven, step)
            case Step(input=rows) if rows is not None:
                await source.send(*(Row(*row) for row in rows), split=step.split)
            case Step(watermark=mark) if mark is not None:
                await source.send(Row(None, mark, None, mark), split=step.split)
            case Step(idle=split) if split is not None:
                await source.idle(split)
            case Step(finish=split) if split is not None:
                await source.finish(split)
            case Step(advance=length) if length is not None:
                await driven.advance(f"{length}{unit}")
            case _:
                self._compare(driven, step)

    async def _obey(self, driven: Drive, word: str) -> None:
        match word:
            case "crash":
                await driven.crash_and_restore()
            case "suspend":
                await driven.suspend()
                await driven.resume()
            case "checkpoint":
                await driven.checkpoint()
            case "end":
                await driven.end()

    def _compare(self, driven: Drive, step: Step) -> None:
        output = driven.sink(OUTPUT)
        if step.expect is not None:
            in_order = self._transcript.ordered
            self._require(step.expect, map(self._result, output.new()), "rows", in_order=in_order)
        elif step.expect_late is not None:
            self._require(step.expect_late, map(self._late, driven.sink(LATE).new()), "late rows")
        elif step.expect_dead is not None:
            dead = (letter.value.value for letter in driven.sink("dead_letters").new())
            self._require([(value,) for value in step.expect_dead], ((value,) for value in dead), "dead letters")
        elif step.expect_table is not None:
            self._require(step.expect_table, map(self._result, output.table.values()), "table")
        else:
            mark = driven.watermark("step")
            self._require([(step.expect_watermark,)], [(self._time(mark),)], "watermark")

    def _require(
        self, expected: Sequence[Sequence[Any]], got: Iterable[Sequence[Any]], what: str, *, in_order: bool = False
    ) -> None:
        wanted, found = [_frozen(row) for row in expected], [_frozen(row) for row in got]
        if wanted == found or (not in_order and Counter(wanted) == Counter(found)):
            return
        missing, extra = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
        raise AssertionError(
            f"{self._where}, step {self._number}: other {what} than expected"
            f"\n  expected: {wanted}\n  got:      {found}"
            f"\n  missing:  {list(missing.elements())}\n  too many: {list(extra.elements())}"
        )

    def _result(self, row: Any) -> tuple[Any, ...]:
        """Return a row as a transcript writes it: key, start, end, value; or key, time, value."""
        if isinstance(row, Windowed):
            return row.key, self._time(row.start), self._time(row.end), row.value
        if isinstance(row, Row):
            return row.key, row.time, row.value
        if "window_start" in row:
            return row["key"], self._bound(row["window_start"]), self._bound(row["window_end"]), row["value"]
        return row["key"], row["time"], row["value"]

    def _late(self, row: Any) -> tuple[Any, ...]:
        came = row if isinstance(row, dict) else row.value._asdict()
        return came["key"], came["time"], came["value"]

    def _bound(self, time: datetime) -> Any:
        return self._time((time - _EPOCH) // MICROSECOND)

    def _time(self, micros: int | None) -> Any:
        if micros is None or micros % self._scale:
            return micros if micros is None else micros / self._scale
        return micros // self._scale


def _frozen(value: Any) -> Any:
    """Return a value that can be counted: lists as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
