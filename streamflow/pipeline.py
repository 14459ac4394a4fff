"""``Pipeline``: a named plan, and the doors to run it.

``run()`` owns the process's event loop, for a script; ``start()`` shares somebody's, for an application.  The command
``streamflow run`` goes through ``worker``.  All run the same plan on the same engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack, final, overload

from streamflow._engine.explain import explain
from streamflow._engine.plan import Input, Plan, SourceNode
from streamflow._runtime.query import Query
from streamflow._runtime.run import run_to_end
from streamflow._runtime.settings import Settings
from streamflow._runtime.trigger import Trigger, continuous
from streamflow.coerce import as_source
from streamflow.core.batch import Layout
from streamflow.core.connector import Format, Source
from streamflow.core.timestamp import Duration, TimeUnit, duration
from streamflow.core.watermark import BoundedOutOfOrderness, Punctuated, WatermarkStrategy, bounded
from streamflow.errors import DefinitionError
from streamflow.operators.refusal import OnError, require_policy
from streamflow.stream import Stream
from streamflow.table import Table

T = TypeVar("T")
EventTime = Callable[[T], datetime | int | float] | str
Rows = Iterable[T] | Callable[[], AsyncIterator[T]] | Callable[[int], AsyncIterator[T]] | Callable[[int], Iterable[T]]


class SourceOptions(TypedDict, total=False):
    """What ``read`` and ``table`` take beside the source and the event time.

    Attributes:
        time_unit: What a number given as event time counts: ``"us"`` (the default), ``"ms"``, ``"s"`` or ``"ns"``.
        max_delay: How far out of order rows may come.  There is no default where ``event_time`` is given.
        format: How bytes are decoded, where the source does not say.
        on_error: What happens to rows that cannot be decoded or have no event time; ``"fail"`` by default.
        idle_after: Leave a silent split out of the watermark after this long by the clock.
        idle_advance: While every split is idle, let the watermark follow the clock.
        max_future: Refuse rows with event times this far ahead of the clock.
        max_skew: Pause splits this far ahead of the slowest.
        max_rows_per_trigger: At most this many rows of this source a batch.
    """

    time_unit: TimeUnit
    max_delay: Duration
    format: Format
    on_error: OnError
    idle_after: Duration
    idle_advance: bool
    max_future: Duration
    max_skew: Duration
    max_rows_per_trigger: int


@final
class Pipeline:
    """A named plan of sources, steps and sinks, and how it is to be run.

    Args:
        name: The name: of its state, its tokens in sinks, and its metrics.
        trigger: When a batch is cut: ``continuous()`` (the default), ``micro_batch("1s")``, ``available_now()`` or
            ``once()``.
        checkpoint: The folder for checkpoints (``"file:./state"`` or a path); None keeps state in memory only.
        epoch: How often a checkpoint is committed.  Output of exactly-once sinks is seen once an epoch.
        guarantee: ``"exactly_once"`` refuses to run a path that cannot keep it; None says in ``explain()`` what is
            kept.

    Raises:
        DefinitionError: If one of them says something that cannot run.

    >>> pipeline = Pipeline("hello")
    >>> pipeline.read("numbers", [1, 2, 3]).map(lambda n: n * 2, name="double")
    Stream('double' of pipeline 'hello')
    """

    def __init__(
        self,
        name: str,
        *,
        trigger: Trigger | None = None,
        checkpoint: str | None = None,
        epoch: Duration = "200ms",
        guarantee: str | None = None,
    ) -> None:
        self.plan = Plan(_require_name(name, "a pipeline"))
        self.settings = Settings.of(trigger or continuous(), checkpoint, epoch, guarantee)

    @property
    def name(self) -> str:
        """The name of the pipeline."""
        return self.plan.name

    @overload
    def read(
        self,
        name: str,
        source: Source | str | Path,
        *,
        event_time: EventTime[T] | None = None,
        schema: type[T],
        watermark: Callable[[T], int | None] | WatermarkStrategy | None = None,
        **options: Unpack[SourceOptions],
    ) -> Stream[T]: ...
    @overload
    def read(
        self,
        name: str,
        source: Source | str | Path,
        *,
        event_time: EventTime[Any] | None = None,
        schema: None = None,
        watermark: Callable[[Any], int | None] | WatermarkStrategy | None = None,
        **options: Unpack[SourceOptions],
    ) -> Stream[Any]: ...
    @overload
    def read(
        self,
        name: str,
        source: Rows[T],
        *,
        event_time: EventTime[T] | None = None,
        schema: type[T] | None = None,
        watermark: Callable[[T], int | None] | WatermarkStrategy | None = None,
        **options: Unpack[SourceOptions],
    ) -> Stream[T]: ...
    def read(
        self,
        name: str,
        source: Source | str | Path | Rows[Any],
        *,
        event_time: EventTime[Any] | None = None,
        schema: type[Any] | None = None,
        watermark: Callable[[Any], int | None] | WatermarkStrategy | None = None,
        **options: Unpack[SourceOptions],
    ) -> Stream[Any]:
        """Return the rows of a source as Python values.

        Args:
            name: The name of the source: of its positions in checkpoints, its metrics and its errors.
            source: A ``Source``, an iterable, a path of files, or a function that returns an (async) iterator; one
                that takes the start position can be replayed after a crash.
            event_time: What gives a row's event time: a function, or the name of a field.  None: the time it is read.
            schema: A type to which the values are converted and checked, row by row.
            watermark: Instead of ``max_delay``: a strategy, or a function that says for some rows the watermark after
                it (microseconds). **options: See ``SourceOptions``.

        Raises:
            DefinitionError: If the name is taken or an argument says something that cannot run.
        """
        if event_time is not None and not isinstance(event_time, str) and not callable(event_time):
            raise DefinitionError(
                f"source {name!r}: event_time must be a function of a row or the name of a field, got {event_time!r}"
            )
        strategy = _strategy(name, event_time, watermark, options.get("max_delay"))
        self.plan.add(_source_node(name, source, Layout.ROWS, event_time, strategy, schema, options))
        return Stream(self.plan, Input(name))

    def table(
        self,
        name: str,
        source: Any,
        *,
        event_time: str | None = None,
        schema: Mapping[str, Any] | type | None = None,
        **options: Unpack[SourceOptions],
    ) -> Table:
        """Return the rows of a source as columns.

        Args:
            name: The name of the source.
            source: As in ``read``.
            event_time: The column of event times: Datetime with a time zone, or integers that count ``time_unit``.
            schema: The columns, where the source yields Python values: a type with fields, or ``{name: polars dtype}``.
            **options: See ``SourceOptions``.

        Raises:
            DefinitionError: If the name is taken or an argument says something that cannot run.
        """
        if event_time is not None and not isinstance(event_time, str):
            raise DefinitionError(f"table {name!r}: event_time must be the name of a column, got {event_time!r}")
        strategy = _strategy(name, event_time, None, options.get("max_delay"))
        self.plan.add(_source_node(name, source, Layout.COLUMNS, event_time, strategy, schema, options))
        return Table(self.plan, Input(name))

    def run(self, *, new_generation: bool = False) -> None:
        """Run until the input ends, or until Ctrl-C or SIGTERM suspends it.

        Owns the process's event loop, its signals and its garbage collector for that time.

        Raises:
            DefinitionError: If a loop is running already in this thread: use ``start()`` there.
            StreamflowError: What made the pipeline fail.
        """
        run_to_end(self.plan, self.settings, new_generation=new_generation)

    def start(self, *, new_generation: bool = False) -> Query:
        """Return the pipeline as a query to be entered with ``async with``, on the loop that is running there.

        Touches neither signals, nor gc, nor any setting of the loop.
        """
        return Query(self.plan, self.settings, new_generation=new_generation)

    def explain(self) -> str:
        """Return the plan as people read it: layouts, passes, edges, labels, state and guarantees."""
        return explain(self.plan, self.settings.describe(self.plan))

    def __repr__(self) -> str:
        plan = self.plan
        parts = f"{len(plan.sources)} sources, {len(plan.steps)} steps, {len(plan.sinks)} sinks"
        return f"Pipeline({self.name!r}: {parts})"


def _source_node(
    name: str,
    source: Any,
    layout: Layout,
    event_time: Any,
    strategy: WatermarkStrategy,
    schema: Any,
    options: SourceOptions,
) -> SourceNode:
    rows = options.get("max_rows_per_trigger")
    if rows is not None and rows < 1:
        raise DefinitionError(f"source {name!r}: max_rows_per_trigger must be one or more, got {rows!r}")
    unit = options.get("time_unit", "us")
    if unit not in ("s", "ms", "us", "ns"):
        raise DefinitionError(f"source {name!r}: time_unit must be 's', 'ms', 'us' or 'ns', got {unit!r}")
    return SourceNode(
        _require_name(name, "a source"),
        as_source(source, options.get("format")),
        layout,
        event_time,
        unit,
        strategy,
        on_error=require_policy(options.get("on_error", "fail")),
        idle_after=_optional(options.get("idle_after"), "idle_after"),
        max_future=_optional(options.get("max_future"), "max_future"),
        idle_advance=options.get("idle_advance", False),
        max_skew=_optional(options.get("max_skew"), "max_skew"),
        max_rows=rows,
        schema=schema,
    )


def _strategy(name: str, event_time: object, watermark: Any, max_delay: Duration | None) -> WatermarkStrategy:
    if watermark is not None:
        if max_delay is not None:
            raise DefinitionError(f"source {name!r}: give max_delay or watermark, not both")
        return Punctuated(watermark) if not hasattr(watermark, "before") else watermark
    if event_time is None:
        return BoundedOutOfOrderness(0)
    if max_delay is None:
        raise DefinitionError(
            f"source {name!r} has an event time and no max_delay",
            remedy="say how far out of order its rows may come, for example max_delay='2s'; '0s' makes every row late"
            " that is older than one before it",
        )
    return bounded(max_delay)


def _optional(value: Duration | None, what: str) -> int | None:
    return None if value is None else duration(value, what)


def _require_name(name: object, what: str) -> str:
    if isinstance(name, str) and name and all(c.isalnum() or c in "_-." for c in name) and not name.startswith("."):
        return name
    raise DefinitionError(f"the name of {what} must be letters, digits, '_', '-' and '.', got {name!r}")
