"""``Stream``: a pipeline's rows as Python values, typed from the source to the user's lambda.

Every verb adds one step to the plan and returns what leaves it.  A verb that cannot run as written raises
``DefinitionError`` on its own line.  Windows over keyed streams are in ``windowing``; the columnar face is ``Table``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final, overload

from streamflow._engine.plan import Input, Plan, StepNode, Surroundings
from streamflow._runtime.preview import Preview
from streamflow.building import add_step, ordered, require_append, require_function, show, to_sink, unite
from streamflow.core.aggregation import Aggregate, Aggregation
from streamflow.core.batch import Layout
from streamflow.core.connector import Sink
from streamflow.core.edge import Edge, Label
from streamflow.core.element import LATE
from streamflow.core.folding import Windowed
from streamflow.core.operator import Operator
from streamflow.core.rows import Late
from streamflow.core.timestamp import Duration
from streamflow.core.window import Global, Window
from streamflow.operators.refusal import OnError, require_policy
from streamflow.operators.stateless import Branch, Changes, Filter, FlatMap, KeyBy, Map, MapBatch
from streamflow.windowing import Spec, add_rows_aggregation, emission, reduction, running

if TYPE_CHECKING:
    from streamflow.table import Table

T = TypeVar("T")
U = TypeVar("U")
K = TypeVar("K", bound=Hashable)
A = TypeVar("A")
R = TypeVar("R")
R1 = TypeVar("R1")
R2 = TypeVar("R2")
R3 = TypeVar("R3")
R4 = TypeVar("R4")
R5 = TypeVar("R5")
R6 = TypeVar("R6")
Agg = Aggregate[T, R] | Aggregation[T, Any, R]


class Stream(Generic[T]):
    """Rows that are Python values of type ``T``."""

    def __init__(self, plan: Plan, input: Input, policy: OnError = "fail") -> None:
        self._plan = plan
        self._input = input
        self._policy = policy

    def on_error(self, policy: OnError) -> Stream[T]:
        """Return the same rows; the steps that follow treat rows on which they fail by this policy.

        Args:
            policy: ``"fail"``, ``"skip"`` or ``dead_letter(sink)``.
        """
        return Stream(self._plan, self._input, require_policy(policy))

    def map(self, function: Callable[[T], U], *, name: str | None = None) -> Stream[U]:
        """Return ``function`` of each row.

        Raises:
            DefinitionError: If the function is asynchronous; steps are synchronous.
        """
        require_function(function, "map")
        return Stream(*self._step("map", lambda s: Map(function, s.refusal), function, name))

    def filter(self, predicate: Callable[[T], object], *, name: str | None = None) -> Stream[T]:
        """Return the rows for which ``predicate`` is true.

        Behind an upsert edge it works on the table: a row that stops matching is deleted.
        """
        require_function(predicate, "filter")
        return Stream(*self._step("filter", lambda s: Filter(predicate, s.refusal), predicate, name))

    def flat_map(self, function: Callable[[T], Iterable[U]], *, name: str | None = None) -> Stream[U]:
        """Return all values that ``function`` gives for each row, in order, with the row's event time."""
        require_function(function, "flat_map")
        require_append(self._plan, self._input, "flat_map")
        return Stream(*self._step("flat_map", lambda s: FlatMap(function, s.refusal), function, name))

    def map_batch(self, function: Callable[[list[T]], Sequence[U]], *, name: str | None = None) -> Stream[U]:
        """Return what ``function`` makes of lists of rows, one value a row: for code that is fast on many rows at once.

        The function must treat each row for itself; how many it gets at a time is not part of the result.
        """
        require_function(function, "map_batch")
        return Stream(*self._step("map_batch", lambda s: MapBatch(function, s.refusal), function, name))

    def key_by(self, function: Callable[[T], K], *, name: str | None = None) -> KeyedStream[K, T]:
        """Return the same rows, each under the key that ``function`` gives.

        A key is a str, int, float, bool, bytes, datetime or date, or a tuple of these, and all have one type.
        """
        require_function(function, "key_by")
        require_append(self._plan, self._input, "key_by")
        return KeyedStream(*self._step("key_by", lambda s: KeyBy(function, s.refusal), function, name))

    def union(self, *others: Stream[T], name: str | None = None) -> Stream[T]:
        """Return the rows of all these streams; the watermark is the smallest of theirs."""
        inputs = [self._input, *(other._input for other in others)]  # noqa: SLF001  # of our own class
        return Stream(self._plan, unite(self._plan, inputs, Layout.ROWS, name), self._policy)

    def branch(self, *predicates: Callable[[T], object], name: str | None = None) -> tuple[Stream[T], ...]:
        """Return one stream for each predicate, of the rows that match it first, and last the rows that match none."""
        for predicate in predicates:
            require_function(predicate, "branch")
        require_append(self._plan, self._input, "branch")
        ways = [(f"branch {i}", predicate) for i, predicate in enumerate(predicates)]
        plan, rest, policy = self._step("branch", lambda s: Branch(ways, s.refusal), None, name)
        return (*(Stream[T](plan, Input(rest.node, port), policy) for port, _ in ways), Stream(plan, rest, policy))

    def ordered(self, *, name: str | None = None) -> OrderedStream[T]:
        """Return the rows in event-time order, each once the watermark has passed it; late rows go to ``late()``."""
        input = ordered(self._plan, self._input, Layout.ROWS, name)
        return OrderedStream(self._plan, input, self._policy)

    def window_all(
        self,
        window: Window,
        *,
        emit: str = "close",
        allowed_lateness: Duration = "0s",
        late: str = "drop",
        early: Duration | None = None,
    ) -> WindowedStream[None, T]:
        """Return windows over all rows together, as under one key; see ``KeyedStream.window``."""
        keyed: KeyedStream[None, T] = self.key_by(lambda _: None, name=f"{self._input.node}_all")
        return keyed.window(window, emit=emit, allowed_lateness=allowed_lateness, late=late, early=early)

    def as_table(self, schema: Any = None, *, name: str | None = None) -> Table:
        """Return the rows as columns.

        Args:
            schema: A type with fields, or ``{name: polars dtype}``; None where the rows are structs or dataclasses.
            name: The name of the step.
        """
        from streamflow.table import stream_to_table  # the two faces cross: the one import upwards

        return stream_to_table(self._plan, self._input, schema, name, self._policy)

    def to(self, sink: Sink, *, name: str | None = None) -> None:
        """Send the rows to a sink.

        Raises:
            DefinitionError: If the sink only appends and these rows replace earlier ones; the remedy is ``changes()``.
        """
        to_sink(self._plan, self._input, sink, name, self._policy)

    def show(self, limit: int = 20) -> None:
        """Print the rows as they come, at most ``limit`` a batch."""
        show(self._plan, self._input, limit)

    def head(self, rows: int = 5) -> Preview[T]:
        """Return the first rows when awaited.

        Runs what leads here, without checkpoint and sinks, and prints a table.
        """
        return Preview(self._plan, self._input, rows)

    def _step(
        self, verb: str, make: Callable[[Surroundings], Operator], function: object, name: str | None
    ) -> tuple[Plan, Input, OnError]:
        before = self._plan.step(self._input.node)
        edge = before.edge if isinstance(before, StepNode) and self._input.port != LATE else Edge.APPEND
        called = getattr(function, "__name__", "")
        node = StepNode(
            name or self._plan.free_name(f"{verb}_{called}" if called.isidentifier() else verb),
            verb,
            (self._input,),
            make,
            Layout.ROWS,
            Layout.ROWS,
            edge=edge,
            detail=called,
            on_error=self._policy,
        )
        return self._plan, add_step(self._plan, node), self._policy

    def __repr__(self) -> str:
        port = "" if self._input.port == "main" else f" ({self._input.port})"
        return f"{type(self).__name__}({self._input.node!r}{port} of pipeline {self._plan.name!r})"


@final
class OrderedStream(Stream[T]):
    """Rows in event-time order."""

    def late(self) -> Stream[Late[T]]:
        """Return the rows that came behind the watermark, which are not in order."""
        return Stream(self._plan, Input(self._input.node, LATE), self._policy)


@final
class Results(Stream[Windowed[K, R]], Generic[K, R, T]):
    """What windows emit, and the rows that came too late for them."""

    def on_error(self, policy: OnError) -> Results[K, R, T]:
        """Return the same rows; the steps that follow treat rows on which they fail by this policy."""
        return Results(self._plan, self._input, require_policy(policy))

    def late(self) -> Stream[Late[T]]:
        """Return the rows that some window dropped, with how late they were and which windows they missed."""
        return Stream(self._plan, Input(self._input.node, LATE), self._policy)

    def changes(self, *, name: str | None = None) -> Stream[Windowed[K, R]]:
        """Return each refresh of a pane as a row of its own, for sinks that only append; labelled world.

        How often a pane is refreshed depends on where batches are cut; so do these rows.
        """
        node = StepNode(
            name or self._plan.free_name(f"{self._input.node}_changes"),
            "changes",
            (self._input,),
            lambda _: Changes(),
            Layout.ROWS,
            Layout.ROWS,
            label=Label.WORLD,
        )
        return Stream(self._plan, add_step(self._plan, node), self._policy)


class KeyedStream(Stream[T], Generic[K, T]):
    """Rows under keys: what windows and aggregations need."""

    def on_error(self, policy: OnError) -> KeyedStream[K, T]:
        """Return the same rows under the same keys; the steps that follow treat rows they fail on by this policy."""
        return KeyedStream(self._plan, self._input, require_policy(policy))

    def filter(self, predicate: Callable[[T], object], *, name: str | None = None) -> KeyedStream[K, T]:
        """Return the rows for which ``predicate`` is true, under the same keys."""
        require_function(predicate, "filter")
        return KeyedStream(*self._step("filter", lambda s: Filter(predicate, s.refusal), predicate, name))

    def map_values(self, function: Callable[[T], U], *, name: str | None = None) -> KeyedStream[K, U]:
        """Return ``function`` of each row, under the same keys."""
        require_function(function, "map_values")
        return KeyedStream(*self._step("map_values", lambda s: Map(function, s.refusal), function, name))

    def window(
        self,
        window: Window,
        *,
        emit: str = "close",
        allowed_lateness: Duration = "0s",
        late: str = "drop",
        early: Duration | None = None,
    ) -> WindowedStream[K, T]:
        """Return windows of the rows of each key.

        Args:
            window: ``tumbling(...)``, ``sliding(...)`` or ``session(...)``.
            emit: ``"close"``: one row when the watermark passes the end.  ``"each"``: one for each row, at once, for
                the window that ends next.  ``"update"``: changed windows once per batch.  ``"complete"``: all windows,
                once per batch.
            allowed_lateness: How long after its end a window still takes rows; it is then emitted again.
            late: ``"drop"`` judges a row by its own split's watermark too, so that a replay drops the same rows;
                ``"keep"`` by the step's alone, which keeps more and depends on timing.
            early: Emit what changed every so often by the clock before a window closes.

        Raises:
            DefinitionError: If one of them says something that cannot run.
        """
        require_append(self._plan, self._input, "window")
        return WindowedStream(
            self._plan, self._input, self._policy, emission(window, emit, allowed_lateness, late, early)
        )

    def all_time(self, *, emit: str = "update") -> WindowedStream[K, T]:
        """Return one window over all of time for each key: running aggregations.

        With ``emit="close"`` it closes at the end of the input, and is refused on a source that has none.
        """
        require_append(self._plan, self._input, "all_time")
        return WindowedStream(self._plan, self._input, self._policy, emission(Global(), emit, "0s", "drop", None))

    def reduce_by_key(self, function: Callable[[T, T], T], *, name: str | None = None) -> Results[K, T, T]:
        """Return the running reduction of each key, updated once per batch."""
        return self.all_time(emit="update").reduce(function, name=name)

    def scan(
        self, init: Callable[[], A], function: Callable[[A, T], A], *, name: str | None = None
    ) -> Results[K, A, T]:
        """Return the state after each row: ``function`` of the state before it and the row."""
        return self.all_time(emit="each").aggregate(running(init, function), name=name)


class WindowedStream(Generic[K, T]):
    """Windows of the rows of each key; an aggregation says what they come to."""

    def __init__(self, plan: Plan, input: Input, policy: OnError, spec: Spec) -> None:
        self._plan = plan
        self._input = input
        self._policy = policy
        self._spec = spec

    @overload
    def aggregate(self, a: Agg[T, R], /, *, name: str | None = None) -> Results[K, R, T]: ...
    @overload
    def aggregate(
        self, a: Agg[T, R1], b: Agg[T, R2], /, *, name: str | None = None
    ) -> Results[K, tuple[R1, R2], T]: ...
    @overload
    def aggregate(
        self, a: Agg[T, R1], b: Agg[T, R2], c: Agg[T, R3], /, *, name: str | None = None
    ) -> Results[K, tuple[R1, R2, R3], T]: ...
    @overload
    def aggregate(
        self, a: Agg[T, R1], b: Agg[T, R2], c: Agg[T, R3], d: Agg[T, R4], /, *, name: str | None = None
    ) -> Results[K, tuple[R1, R2, R3, R4], T]: ...
    @overload
    def aggregate(
        self, a: Agg[T, R1], b: Agg[T, R2], c: Agg[T, R3], d: Agg[T, R4], e: Agg[T, R5], /, *, name: str | None = None
    ) -> Results[K, tuple[R1, R2, R3, R4, R5], T]: ...
    @overload
    def aggregate(
        self,
        a: Agg[T, R1],
        b: Agg[T, R2],
        c: Agg[T, R3],
        d: Agg[T, R4],
        e: Agg[T, R5],
        f: Agg[T, R6],
        /,
        *,
        name: str | None = None,
    ) -> Results[K, tuple[R1, R2, R3, R4, R5, R6], T]: ...
    @overload
    def aggregate(self, a: Agg[T, R1], /, *, into: Callable[[R1], R], name: str | None = None) -> Results[K, R, T]: ...
    @overload
    def aggregate(
        self, a: Agg[T, R1], b: Agg[T, R2], /, *, into: Callable[[R1, R2], R], name: str | None = None
    ) -> Results[K, R, T]: ...
    @overload
    def aggregate(
        self,
        a: Agg[T, R1],
        b: Agg[T, R2],
        c: Agg[T, R3],
        /,
        *,
        into: Callable[[R1, R2, R3], R],
        name: str | None = None,
    ) -> Results[K, R, T]: ...
    @overload
    def aggregate(
        self,
        a: Agg[T, R1],
        b: Agg[T, R2],
        c: Agg[T, R3],
        d: Agg[T, R4],
        /,
        *,
        into: Callable[[R1, R2, R3, R4], R],
        name: str | None = None,
    ) -> Results[K, R, T]: ...
    @overload
    def aggregate(
        self,
        a: Agg[T, R1],
        b: Agg[T, R2],
        c: Agg[T, R3],
        d: Agg[T, R4],
        e: Agg[T, R5],
        /,
        *,
        into: Callable[[R1, R2, R3, R4, R5], R],
        name: str | None = None,
    ) -> Results[K, R, T]: ...
    @overload
    def aggregate(
        self,
        a: Agg[T, R1],
        b: Agg[T, R2],
        c: Agg[T, R3],
        d: Agg[T, R4],
        e: Agg[T, R5],
        f: Agg[T, R6],
        /,
        *,
        into: Callable[[R1, R2, R3, R4, R5, R6], R],
        name: str | None = None,
    ) -> Results[K, R, T]: ...
    def aggregate(
        self, *aggregations: Any, into: Callable[..., Any] | None = None, name: str | None = None
    ) -> Results[K, Any, T]:
        """Return what the rows of each window come to: one row per key and window, as ``emit`` says.

        Args:
            *aggregations: One gives its result, several a tuple of theirs.
            into: A class or function that takes their results, in order.
            name: The name of the step, which is the name of its state.

        Raises:
            DefinitionError: If an argument is not an aggregation, or ``into`` cannot take as many results.
        """
        input = add_rows_aggregation(self._plan, self._input, self._spec, aggregations, into, name, self._policy)
        return Results(self._plan, input, self._policy)

    def reduce(self, function: Callable[[T, T], T], *, name: str | None = None) -> Results[K, T, T]:
        """Return the rows of each window reduced two by two; ``function`` must be associative."""
        require_function(function, "reduce")
        return self.aggregate(reduction(function), name=name)

    def count(self, *, name: str | None = None) -> Results[K, int, T]:
        """Return how many rows each window has."""
        rows: Aggregate[T, int] = Aggregate("count")
        return self.aggregate(rows, name=name)

    @overload
    def collect(self, function: None = None, *, name: str | None = None) -> Results[K, list[T], T]: ...
    @overload
    def collect(self, function: Callable[[T], R], *, name: str | None = None) -> Results[K, list[R], T]: ...
    def collect(
        self, function: Callable[[T], Any] | None = None, *, name: str | None = None
    ) -> Results[K, list[Any], T]:
        """Return the rows of each window, or ``function`` of them, in event-time order; state holds them all."""
        values: Aggregate[T, list[Any]] = Aggregate("collect", function)
        return self.aggregate(values, name=name)
