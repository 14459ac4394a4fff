"""What the verbs of both faces share when they add a step to the plan."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from streamflow._engine.plan import Input, Plan, StepNode
from streamflow.connectors.console import ConsoleSink
from streamflow.core.batch import Layout
from streamflow.core.connector import Sink
from streamflow.core.edge import Edge
from streamflow.core.element import LATE
from streamflow.errors import DefinitionError
from streamflow.operators.ordered import Ordered
from streamflow.operators.refusal import OnError
from streamflow.operators.stateless import Union


def add_step(plan: Plan, node: StepNode) -> Input:
    """Add a step and return its main output."""
    plan.add(node)
    return Input(node.name)


def edge_of(plan: Plan, input: Input) -> Edge:
    """Return how the rows of an output change; late rows and sources only append."""
    node = plan.step(input.node)
    return node.edge if isinstance(node, StepNode) and input.port != LATE else Edge.APPEND


def require_function(function: object, verb: str) -> None:
    """Check that a verb was given a function it can call.

    Raises:
        DefinitionError: If it is none, or asynchronous.
    """
    if not callable(function):
        raise DefinitionError(f"{verb} takes a function of a row, got {function!r}")
    called = function if inspect.isroutine(function) else type(function).__call__
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise DefinitionError(
            f"{verb} got the asynchronous function {getattr(function, '__name__', function)!r}; steps are synchronous",
            remedy="await in the source, or in the function of a CallbackSink",
        )


def require_append(plan: Plan, input: Input, verb: str) -> None:
    """Check that the rows are facts of their own, not refreshes of earlier ones.

    Raises:
        DefinitionError: If they are refreshes.
    """
    if edge_of(plan, input) is Edge.UPSERT:
        raise DefinitionError(
            f"{verb} behind {input.node!r}: its rows replace earlier ones, and each refresh would count as a fact",
            remedy="use changes() to take the raw refreshes as rows, or emit='close' or 'each'",
        )


def unite(plan: Plan, inputs: Sequence[Input], layout: Layout, name: str | None) -> Input:
    """Add a union of outputs of one layout and return its output.

    Raises:
        DefinitionError: If there is only one, or one is of another pipeline or an upsert edge.
    """
    if len(inputs) < 2:
        raise DefinitionError("union takes at least one other stream")
    for input in inputs:
        if input.node not in plan.nodes:
            raise DefinitionError(f"union: {input.node!r} belongs to another pipeline than {plan.name!r}")
        require_append(plan, input, "union")
    free = name or plan.free_name("union")
    return add_step(plan, StepNode(free, "union", tuple(inputs), lambda _: Union(), layout, layout))


def to_sink(plan: Plan, input: Input, sink: Sink, name: str | None, policy: OnError) -> None:
    """Add a sink.

    Raises:
        DefinitionError: If it is no sink, or only appends and the rows replace earlier ones.
    """
    if not isinstance(sink, Sink):
        raise DefinitionError(f"to() takes a sink such as SqliteSink(...) or MemorySink(), got {sink!r}")
    if edge_of(plan, input) is Edge.UPSERT and not sink.takes_upserts:
        raise DefinitionError(
            f"the rows of {input.node!r} replace earlier ones and {sink} only appends",
            remedy="use a sink with a key, or changes() to write each refresh as a row of its own",
        )
    plan.add_sink(sink, input, name, on_error=policy)


def show(plan: Plan, input: Input, limit: int) -> None:
    """Add a sink that prints."""
    if limit < 1:
        raise DefinitionError(f"show takes a number of rows of one or more, got {limit!r}")
    plan.add_sink(ConsoleSink(limit=limit), input, plan.free_name(f"{input.node}_shown"))


def ordered(plan: Plan, input: Input, layout: Layout, name: str | None) -> Input:
    """Add a buffer that releases rows in event-time order, and return its output.

    Raises:
        DefinitionError: If the rows replace earlier ones.
    """
    require_append(plan, input, "ordered")
    node = StepNode(
        name or f"ordered_{input.node}",
        "ordered",
        (input,),
        lambda around: Ordered(has_late=around.has_late),
        layout,
        layout,
        is_stateful=True,
        waits=True,
        needs=frozenset({"identity"}),
        definition="ordered",
    )
    return add_step(plan, node)
