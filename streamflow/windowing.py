"""Windowed aggregations as both faces write them.

What ``window(...)`` collects and ``aggregate`` or ``agg`` adds to the plan.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, final

from streamflow._engine.plan import Input, Need, Plan, StepNode, Surroundings
from streamflow.building import add_step
from streamflow.core.aggregation import Aggregate, Aggregation
from streamflow.core.batch import Layout
from streamflow.core.edge import Edge, Label
from streamflow.core.folding import Folding
from streamflow.core.operator import Operator
from streamflow.core.row_fold import RowFolding
from streamflow.core.session_keys import ID, session_keys
from streamflow.core.timestamp import Duration, duration, show_duration
from streamflow.core.window import Global, Session, Window, require_window
from streamflow.errors import DefinitionError
from streamflow.operators.refusal import OnError
from streamflow.operators.sessions import SessionAggregation
from streamflow.operators.windowed import Emission, WindowedAggregation

T = TypeVar("T")
A = TypeVar("A")

_EMITS = ("close", "each", "update", "complete")


@final
@dataclass(frozen=True, slots=True)
class Spec:
    """What ``window(...)`` says."""

    window: Window
    emission: Emission

    @property
    def label(self) -> Label:
        """What a windowed step adds to what determines its output (R3)."""
        if self.emission.early:
            return Label.WORLD
        if self.emission.emit == "each" or self.emission.keep:
            return Label.ORDER
        return Label.ORDER if isinstance(self.window, Global) and self.emission.emit != "close" else Label.CONTENT

    @property
    def edge(self) -> Edge:
        """How the rows that leave it change (R4)."""
        return Edge.UPSERT if self.emission.is_upsert else Edge.APPEND

    def __str__(self) -> str:
        e = self.emission
        extras = [f"emit {e.emit}"]
        extras += [f"lateness {show_duration(e.lateness)}"] if e.lateness else []
        extras += ["late kept"] if e.keep else []
        extras += [f"early every {show_duration(e.early)}"] if e.early else []
        return f"{self.window}, {', '.join(extras)}"


def emission(window: object, emit: str, allowed_lateness: Duration, late: str, early: Duration | None) -> Spec:
    """Return what ``window(...)`` says, checked.

    Raises:
        DefinitionError: If an argument says something that cannot run.
    """
    checked = require_window(window)
    if emit not in _EMITS:
        raise DefinitionError(f"emit must be one of {', '.join(map(repr, _EMITS))}, got {emit!r}")
    if late not in ("drop", "keep"):
        raise DefinitionError(f"late must be 'drop' or 'keep', got {late!r}")
    if early is not None and emit != "close":
        raise DefinitionError(f"early goes with emit='close'; emit={emit!r} emits before a window closes anyway")
    return Spec(
        checked,
        Emission(
            emit,  # type: ignore[arg-type]  # just checked
            duration(allowed_lateness, "allowed_lateness"),
            keep=late == "keep",
            early=0 if early is None else duration(early, "early", minimum=1),
        ),
    )


def reduction(function: Callable[[T, T], T]) -> Aggregation[T, Any, T]:
    """Return the aggregation that reduces rows two by two."""

    def fold(state: Any, value: T) -> Any:
        return (value,) if state is None else (function(state[0], value),)

    def merge(a: Any, b: Any) -> Any:
        return b if a is None else a if b is None else (function(a[0], b[0]),)

    return Aggregation(lambda: None, fold, merge, lambda state: state[0], name=_name(function, "reduce"))


def running(init: Callable[[], A], function: Callable[[A, T], A]) -> Aggregation[T, A, A]:
    """Return the aggregation of ``scan``: a state that is only ever folded, never merged."""

    def merge(a: A, b: A) -> A:
        raise DefinitionError("the states of scan cannot be merged; use aggregate(Aggregation(...)) with a merge")

    return Aggregation(init, function, merge, lambda state: state, name=_name(function, "scan"))


def add_rows_aggregation(
    plan: Plan,
    input: Input,
    spec: Spec,
    aggregations: Sequence[Any],
    into: Callable[..., Any] | None,
    name: str | None,
    policy: OnError,
) -> Input:
    """Add an aggregation of rows and return its output.

    Raises:
        DefinitionError: If an argument is not an aggregation, or ``into`` cannot take as many results.
    """
    if not aggregations:
        raise DefinitionError("aggregate needs at least one aggregation, such as agg.count()")
    for value in aggregations:
        if not isinstance(value, Aggregate | Aggregation):
            raise DefinitionError(
                f"aggregate takes aggregations such as agg.sum(f) and Aggregation(...), got {value!r}"
            )
    _require_arity(into, len(aggregations))
    kinds = ", ".join(_kind(a) for a in aggregations)
    return _add(plan, input, spec, Layout.ROWS, (), kinds, name, policy, lambda _: RowFolding(aggregations, into))


def add_columns_aggregation(
    plan: Plan,
    input: Input,
    spec: Spec,
    key: tuple[str, ...],
    aggregations: Mapping[str, Any],
    name: str | None,
    policy: OnError,
) -> Input:
    """Add an aggregation of columns and return its output.

    Raises:
        DefinitionError: If an argument is not an aggregation of columns, or its name is a key or a window column.
    """
    if not aggregations:
        raise DefinitionError("agg needs at least one aggregation, such as total=agg.col('amount').sum()")
    for column, value in aggregations.items():
        if not isinstance(value, Aggregate):
            raise DefinitionError(f"agg({column}=...) takes aggregations such as agg.col('x').sum(), got {value!r}")
        if column in (*key, "window_start", "window_end"):
            raise DefinitionError(f"agg({column}=...): the output has a column {column!r} already")
    from streamflow.core.column_fold import ColumnFolding

    kinds = ", ".join(f"{column} {_kind(a)}" for column, a in aggregations.items())
    detail = f"by {', '.join(key)}: {kinds}" if key else kinds
    return _add(
        plan, input, spec, Layout.COLUMNS, key, detail, name, policy, lambda names: ColumnFolding(aggregations, names)
    )


def _add(
    plan: Plan,
    input: Input,
    spec: Spec,
    layout: Layout,
    key: tuple[str, ...],
    kinds: str,
    name: str | None,
    policy: OnError,
    fold: Callable[[tuple[str, ...]], Folding[Any]],
) -> Input:
    _require_end(plan, input, spec)
    is_session = isinstance(spec.window, Session)
    ordered = any(word in kinds for word in ("first", "last", "collect", "arg_m", "top_k"))
    needs: set[Need] = {"mark"} if is_session or spec.emission.keep else set()
    needs |= {"identity"} if ordered else set()

    def make(around: Surroundings) -> Operator:
        folding = fold((ID,) if isinstance(spec.window, Session) else key)
        folding.tracking = around.is_tracking
        emits = replace(spec.emission, has_late=around.has_late)
        if isinstance(spec.window, Session):
            return SessionAggregation(spec.window, session_keys(layout, key), folding, emits, around.refusal)
        return WindowedAggregation(spec.window, folding, emits, around.refusal)

    definition = f"{spec.window}|{spec.emission.emit}|{spec.emission.lateness}|{kinds}"
    if name is None:
        name = "_".join("".join(c if c.isalnum() else " " for c in f"{spec.window} {kinds}").split())
        if name in plan.nodes:
            raise DefinitionError(
                f"two aggregations without a name have the same definition ({spec.window}: {kinds})",
                remedy="give them names with name=; a name says whose state is meant",
            )
    node = StepNode(
        name,
        "window",
        (input,),
        make,
        layout,
        layout,
        edge=spec.edge,
        label=spec.label,
        detail=f"{spec}: {kinds}",
        is_stateful=True,
        waits=spec.emission.emit == "close" and not spec.emission.early,
        needs=frozenset(needs),
        on_error=policy,
        definition=definition,
        wants_ticks=spec.emission.early > 0,
    )
    return add_step(plan, node)


def _require_end(plan: Plan, input: Input, spec: Spec) -> None:
    """Refuse a window that closes at the end of an input that has none."""
    if not isinstance(spec.window, Global) or spec.emission.emit != "close":
        return
    for source in plan.sources:
        if source.name in plan.upstream(input.node) and not source.source.is_bounded:
            raise DefinitionError(
                f"emit='close' without a window emits at the end of the input, and source {source.name!r} has no end",
                remedy="use emit='update' or 'each', or a window",
            )


def _kind(aggregation: Aggregate[Any, Any] | Aggregation[Any, Any, Any]) -> str:
    return aggregation.kind if isinstance(aggregation, Aggregate) else aggregation.name


def _name(function: object, otherwise: str) -> str:
    name = getattr(function, "__name__", "")
    return name if name.isidentifier() else otherwise


def _require_arity(into: Callable[..., Any] | None, results: int) -> None:
    if into is None:
        return
    if not callable(into):
        raise DefinitionError(f"into takes a class or a function, got {into!r}")
    try:
        signature = inspect.signature(into)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*range(results))
    except TypeError as error:
        raise DefinitionError(
            f"into={getattr(into, '__name__', into)} cannot take the {results} results of these aggregations: {error}"
        ) from None
