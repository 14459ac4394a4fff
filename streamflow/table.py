"""``Table``: a pipeline's rows as columns, computed by polars expressions and never by a loop over rows.

The same verbs as ``Stream`` where they mean the same.  Expressions outside ``agg`` are row-wise: what looks at other
rows is refused where it is written, since its answer would depend on where a batch ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, final

import polars as pl

from streamflow._engine.plan import Input, Plan, StepNode, Surroundings
from streamflow._runtime.preview import Preview
from streamflow.building import add_step, edge_of, ordered, require_append, show, to_sink, unite
from streamflow.core.aggregation import Aggregate
from streamflow.core.batch import Layout
from streamflow.core.connector import Sink
from streamflow.core.declared import declared_columns
from streamflow.core.edge import Edge, Label
from streamflow.core.element import LATE
from streamflow.core.expressions import require_row_wise, row_wise
from streamflow.core.operator import Operator
from streamflow.core.timestamp import Duration
from streamflow.core.window import Global, Window
from streamflow.errors import DefinitionError
from streamflow.operators.convert import ToColumns, ToRows, maker
from streamflow.operators.refusal import OnError, require_policy
from streamflow.operators.stateless import Changes, Project, Where
from streamflow.operators.static_join import StaticJoin
from streamflow.stream import Stream
from streamflow.windowing import Spec, add_columns_aggregation, emission

T = TypeVar("T")


class Table:
    """Rows that are columns."""

    def __init__(self, plan: Plan, input: Input, policy: OnError = "fail", key: tuple[str, ...] = ()) -> None:
        self._plan = plan
        self._input = input
        self._policy = policy
        self._key = key

    def on_error(self, policy: OnError) -> Table:
        """Return the same rows; the steps that follow treat rows on which they fail by this policy."""
        return Table(self._plan, self._input, require_policy(policy), self._key)

    def select(self, *columns: str | pl.Expr, name: str | None = None, **named: Any) -> Table:
        """Return these columns and no others.

        Raises:
            DefinitionError: If an expression is not row-wise; or behind an upsert edge, which keeps its key columns.
        """
        expressions = row_wise(columns, named, "select")
        require_append(self._plan, self._input, "select")
        return self._add("select", lambda _: Project(expressions, (), replace=True), expressions, name)

    def with_columns(self, *columns: pl.Expr, name: str | None = None, **named: Any) -> Table:
        """Return the rows with these columns added or replaced.

        Raises:
            DefinitionError: If an expression is not row-wise, or replaces a column of an upsert edge's key.
        """
        expressions = row_wise(columns, named, "with_columns")
        key = self._key
        for expression in expressions:
            if not expression.meta.has_multiple_outputs() and expression.meta.output_name() in key:
                raise DefinitionError(
                    f"with_columns replaces {expression.meta.output_name()!r}, which says whose row it is"
                )
        return self._add("with_columns", lambda _: Project(expressions, key, replace=False), expressions, name)

    def filter(self, *predicates: pl.Expr, name: str | None = None) -> Table:
        """Return the rows for which all predicates are true; null is not true.

        Behind an upsert edge it works on the table: a row that stops matching is deleted.
        """
        if not predicates or not all(isinstance(p, pl.Expr) for p in predicates):
            raise DefinitionError(f"filter takes polars expressions, got {predicates!r}")
        predicate = require_row_wise(pl.all_horizontal(*predicates) if len(predicates) > 1 else predicates[0], "filter")
        return self._add("filter", lambda _: Where(predicate), [predicate], name)

    def join(
        self, static: pl.DataFrame | str | Path, *, on: str | list[str], how: str = "left", name: str | None = None
    ) -> Table:
        """Return the rows with the columns of a static table beside them.

        Args:
            static: A frame, or the path of a parquet, csv, ndjson or Arrow IPC file; read now, and the same until
                the end.
            on: The columns that both have.  They must be unique in the static table.
            how: ``"left"`` keeps rows without a match, with nulls; ``"inner"`` leaves them out.
            name: The name of the step.

        Raises:
            DefinitionError: If a key of the static table is not unique, or a column is missing.
        """
        if how not in ("left", "inner"):
            raise DefinitionError(f"join takes how='left' or how='inner', got {how!r}")
        table = _static(static)
        keys = (on,) if isinstance(on, str) else tuple(on)
        missing = [k for k in keys if k not in table.columns]
        if missing:
            raise DefinitionError(
                f"join: the static table has no column {missing[0]!r}, it has {', '.join(table.columns)}"
            )
        if table.select(keys).is_duplicated().any():
            raise DefinitionError(
                f"join: {', '.join(keys)} is not unique in the static table; a row would become several"
            )
        known = table.drop_nulls(list(keys))
        verb = lambda _: StaticJoin(known, keys, keep_unmatched=how == "left")  # noqa: E731  # as the other verbs
        return self._add("join", verb, [], name, detail=f"{how} on {', '.join(keys)}, {table.height} rows")

    def group_by(self, *columns: str) -> GroupedTable:
        """Return the rows by key: what windows and aggregations need.  Without columns, all rows under one key."""
        if not all(isinstance(c, str) for c in columns):
            raise DefinitionError(
                f"group_by takes names of columns, got {columns!r}", remedy="add it with with_columns first"
            )
        require_append(self._plan, self._input, "group_by")
        return GroupedTable(self._plan, self._input, columns, self._policy)

    def union(self, *others: Table, name: str | None = None) -> Table:
        """Return the rows of all these tables, which have the same columns; the watermark is the smallest of theirs."""
        inputs = [self._input, *(other._input for other in others)]  # noqa: SLF001  # of our own class
        return Table(self._plan, unite(self._plan, inputs, Layout.COLUMNS, name), self._policy)

    def ordered(self, *, name: str | None = None) -> OrderedTable:
        """Return the rows in event-time order, each once the watermark has passed it; late rows go to ``late()``."""
        input = ordered(self._plan, self._input, Layout.COLUMNS, name)
        return OrderedTable(self._plan, input, self._policy)

    def as_stream(self, kind: type[T] | None = None, *, name: str | None = None) -> Stream[T]:
        """Return the rows as Python values: instances of ``kind`` by the names of its fields, or dicts."""
        make = maker(kind)
        node = StepNode(
            name or self._plan.free_name(f"{self._input.node}_rows"),
            "columns -> rows",
            (self._input,),
            lambda s: ToRows(make, s.refusal),
            Layout.COLUMNS,
            Layout.ROWS,
            edge=edge_of(self._plan, self._input),
            on_error=self._policy,
        )
        return Stream(self._plan, add_step(self._plan, node), self._policy)

    def to(self, sink: Sink, *, name: str | None = None) -> None:
        """Send the rows to a sink.

        Raises:
            DefinitionError: If the sink only appends and these rows replace earlier ones; the remedy is ``changes()``.
        """
        to_sink(self._plan, self._input, sink, name, self._policy)

    def show(self, limit: int = 20) -> None:
        """Print the rows as they come, at most ``limit`` a batch."""
        show(self._plan, self._input, limit)

    def head(self, rows: int = 5) -> Preview[dict[str, Any]]:
        """Return the first rows when awaited.

        Runs what leads here, without checkpoint and sinks, and prints a table.
        """
        return Preview(self._plan, self._input, rows)

    def _add(
        self, verb: str, make: Any, expressions: list[pl.Expr], name: str | None, *, detail: str | None = None
    ) -> Table:
        node = StepNode(
            name or self._plan.free_name(verb),
            verb,
            (self._input,),
            make,
            Layout.COLUMNS,
            Layout.COLUMNS,
            edge=edge_of(self._plan, self._input),
            detail=detail or ", ".join(map(str, expressions)),
            on_error=self._policy,
        )
        return Table(self._plan, add_step(self._plan, node), self._policy, self._key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._input.node!r} of pipeline {self._plan.name!r})"


@final
class OrderedTable(Table):
    """Rows in event-time order."""

    def late(self) -> Table:
        """Return the rows that came behind the watermark, which are not in order."""
        return Table(self._plan, Input(self._input.node, LATE), self._policy)


@final
class ResultTable(Table):
    """What windows emit, and the rows that came too late for them."""

    def late(self) -> Table:
        """Return the rows that some window dropped, with ``event_time``, ``lateness`` and ``missed_windows``."""
        return Table(self._plan, Input(self._input.node, LATE), self._policy)

    def changes(self, *, name: str | None = None) -> Table:
        """Return each refresh of a pane as a row of its own, for sinks that only append; labelled world."""
        node = StepNode(
            name or self._plan.free_name(f"{self._input.node}_changes"),
            "changes",
            (self._input,),
            lambda _: Changes(),
            Layout.COLUMNS,
            Layout.COLUMNS,
            label=Label.WORLD,
        )
        return Table(self._plan, add_step(self._plan, node), self._policy)


@final
class GroupedTable:
    """Rows by key."""

    def __init__(self, plan: Plan, input: Input, key: tuple[str, ...], policy: OnError) -> None:
        self._plan = plan
        self._input = input
        self._key = key
        self._policy = policy

    def window(
        self,
        window: Window,
        *,
        emit: str = "close",
        allowed_lateness: Duration = "0s",
        late: str = "drop",
        early: Duration | None = None,
    ) -> WindowedTable:
        """Return windows of the rows of each key; arguments as in ``KeyedStream.window``."""
        spec = emission(window, emit, allowed_lateness, late, early)
        return WindowedTable(self._plan, self._input, self._key, spec, self._policy)

    def agg(self, *, emit: str = "update", name: str | None = None, **aggregations: Aggregate[Any, Any]) -> ResultTable:
        """Return running aggregations over all of time; with ``emit="each"`` one row per row, the running total."""
        spec = emission(Global(), emit, "0s", "drop", None)
        return WindowedTable(self._plan, self._input, self._key, spec, self._policy).agg(name=name, **aggregations)


@final
class WindowedTable:
    """Windows of the rows of each key."""

    def __init__(self, plan: Plan, input: Input, key: tuple[str, ...], spec: Spec, policy: OnError) -> None:
        self._plan = plan
        self._input = input
        self._key = key
        self._spec = spec
        self._policy = policy

    def agg(self, *, name: str | None = None, **aggregations: Aggregate[Any, Any]) -> ResultTable:
        """Return the key columns, ``window_start``, ``window_end`` and one column per aggregation.

        Args:
            name: The name of the step, which is the name of its state.
            **aggregations: ``total=agg.col("amount").sum()`` and the like, by the names of their columns.

        Raises:
            DefinitionError: If an argument is not an aggregation of columns.
        """
        for column, value in aggregations.items():
            for part in (getattr(value, "reads", None), getattr(value, "by", None)):
                if isinstance(part, pl.Expr):
                    require_row_wise(part, f"agg({column}=...)")
        input = add_columns_aggregation(
            self._plan, self._input, self._spec, self._key, aggregations, name, self._policy
        )
        is_upsert = edge_of(self._plan, input) is Edge.UPSERT
        bounds = () if isinstance(self._spec.window, Global) else ("window_start", "window_end")
        return ResultTable(self._plan, input, self._policy, (*self._key, *bounds) if is_upsert else ())


def stream_to_table(
    plan: Plan, input: Input, schema: Mapping[str, Any] | type | None, name: str | None, policy: OnError
) -> Table:
    """Return a stream's rows as a table: what ``Stream.as_table`` does."""
    columns = declared_columns(schema)

    def make(around: Surroundings) -> Operator:
        return ToColumns(columns, around.refusal)

    node = StepNode(
        name or plan.free_name(f"{input.node}_columns"),
        "rows -> columns",
        (input,),
        make,
        Layout.ROWS,
        Layout.COLUMNS,
        edge=edge_of(plan, input),
        detail="" if columns is None else ", ".join(columns),
        on_error=policy,
    )
    return Table(plan, add_step(plan, node), policy)


def _static(source: pl.DataFrame | str | Path) -> pl.DataFrame:
    if isinstance(source, pl.DataFrame):
        return source
    readers: dict[str, Callable[[str | Path], pl.DataFrame]] = {
        ".parquet": pl.read_parquet,
        ".csv": pl.read_csv,
        ".ndjson": pl.read_ndjson,
        ".jsonl": pl.read_ndjson,
        ".ipc": pl.read_ipc,
        ".arrow": pl.read_ipc,
    }
    reader = readers.get(Path(source).suffix)
    if reader is None:
        raise DefinitionError(f"join takes a frame or a file that ends in {', '.join(readers)}, got {str(source)!r}")
    return reader(source)
