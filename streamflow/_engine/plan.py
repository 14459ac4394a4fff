"""The plan: named steps and how they hang together, as both faces build it.  Values only; ``graph`` runs it.

Every verb of ``Stream`` and ``Table`` adds one node.  A node's name is its id: it names the step's state, its metrics
and its errors, so it must be unique and stay the same when code around it moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, final

from streamflow.core.batch import Layout
from streamflow.core.connector import Sink, Source
from streamflow.core.edge import Edge, Label
from streamflow.core.element import DEAD, MAIN, Port
from streamflow.core.operator import Operator
from streamflow.core.timestamp import TimeUnit
from streamflow.core.watermark import WatermarkStrategy
from streamflow.errors import DefinitionError
from streamflow.operators.refusal import OnError, Refusal, ToSink

Need = Literal["mark", "identity"]
"""Columns that a step wants beside each row: the source's watermark before it, its split and position."""


@final
@dataclass(frozen=True, slots=True)
class Input:
    """Where a step's rows come from: a node's name and the way out of it."""

    node: str
    port: Port = MAIN


@final
@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a step may know of the plan around it when it is made.

    Attributes:
        refusal: The step's policy for rows on which it fails.
        has_late: Whether somebody reads its late output.
        is_tracking: Whether its changes are put into checkpoints.
    """

    refusal: Refusal
    has_late: bool
    is_tracking: bool


@final
@dataclass(frozen=True, slots=True)
class SourceNode:
    """A source, and how its rows get their event time.

    Attributes:
        name: Its id.
        source: Where rows come from.
        layout: What its batches are.
        event_time: A function of a row, the name of a column, or None for ingestion time.
        time_unit: What a number given as event time counts.
        strategy: How a split's watermark moves.
        on_error: What happens to rows that cannot be decoded or have no event time.
        idle_after: Leave a silent split out of the watermark after this long by the clock, microseconds; None for
            never.
        max_future: Refuse rows this far ahead of the clock, microseconds; None for no cap.
        idle_advance: Let the watermark follow the clock while every split is idle.
        max_skew: Pause a split this far ahead of the slowest, microseconds.
        schema: The type of the rows or the columns of the frame, where the source yields the other form.
    """

    name: str
    source: Source
    layout: Layout
    event_time: Callable[[Any], Any] | str | None
    time_unit: TimeUnit
    strategy: WatermarkStrategy
    on_error: OnError = "fail"
    idle_after: int | None = None
    max_future: int | None = None
    idle_advance: bool = False
    max_skew: int | None = None
    max_rows: int | None = None
    schema: Any = None

    @property
    def label(self) -> Label:
        """What determines its rows' times and their order."""
        if self.event_time is None or self.max_future is not None or self.idle_advance:
            return Label.WORLD
        return Label.ORDER if self.idle_after is not None else Label.CONTENT


@final
@dataclass(frozen=True, slots=True)
class StepNode:
    """A step between sources and sinks.

    Attributes:
        name: Its id.
        verb: What the user wrote: ``map``, ``window``.
        inputs: Where its rows come from, numbered in this order.
        make: Returns the running step.
        takes: The layout it wants.
        gives: The layout of what leaves it.
        edge: How the rows that leave it change.
        label: What it adds to what determines them.
        detail: The rest of a line of ``explain()``.
        is_stateful: Whether it remembers rows.
        waits: Whether rows leave it only when the watermark passes.
        needs: The columns it wants beside each row.
        on_error: Its policy for rows on which it fails.
        definition: What its state depends on: another definition cannot take over its state.
    """

    name: str
    verb: str
    inputs: tuple[Input, ...]
    make: Callable[[Surroundings], Operator]
    takes: Layout
    gives: Layout
    edge: Edge = Edge.APPEND
    label: Label = Label.CONTENT
    detail: str = ""
    is_stateful: bool = False
    waits: bool = False
    needs: frozenset[Need] = frozenset()
    on_error: OnError = "fail"
    definition: str = ""
    wants_ticks: bool = False

    @property
    def fingerprint(self) -> str:
        """A short name of its definition, for the manifest."""
        return hashlib.blake2b(f"{self.verb}|{self.definition}".encode(), digest_size=8).hexdigest()


@final
@dataclass(frozen=True, slots=True)
class SinkNode:
    """A sink and the outputs it takes; one sink object is one node, so that one token covers all that it gets."""

    name: str
    sink: Sink
    inputs: tuple[Input, ...]
    on_error: OnError = "fail"


Node = SourceNode | StepNode | SinkNode


@final
@dataclass(slots=True)
class Plan:
    """The nodes of a pipeline in the order they were written, which is an order of their dependencies."""

    name: str
    nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Add a node.

        Raises:
            DefinitionError: If its name is taken.
        """
        if node.name in self.nodes:
            raise DefinitionError(
                f"pipeline {self.name!r} has a step named {node.name!r} already",
                remedy="give one of them another name=; a name says whose state, metrics and errors are meant",
            )
        self.nodes[node.name] = node
        if isinstance(node.on_error, ToSink):
            if isinstance(node, SinkNode):
                self._add_dead_letters(node.on_error.sink)
            else:
                self.add_sink(node.on_error.sink, Input(node.name, DEAD), None, "dead_letters")

    def add_sink(
        self, sink: Sink, input: Input, name: str | None, otherwise: str | None = None, on_error: OnError = "fail"
    ) -> None:
        """Add a sink, or one more output to a sink that is there.

        Raises:
            DefinitionError: If the name is taken by another.
        """
        known = next((n for n in self.sinks if n.sink is sink), None)
        if known is not None and name in (None, known.name):
            if input not in known.inputs:
                self.nodes[known.name] = SinkNode(known.name, sink, (*known.inputs, input), known.on_error)
            return
        self.add(SinkNode(name or self.free_name(otherwise or f"{input.node}_sink"), sink, (input,), on_error))

    def _add_dead_letters(self, sink: Sink) -> None:
        """Add a sink that only other sinks send to: rows that they cannot take."""
        if not any(n.sink is sink for n in self.sinks):
            self.add(SinkNode(self.free_name("dead_letters"), sink, ()))

    def free_name(self, wanted: str) -> str:
        """Return ``wanted``, or it with the smallest number that makes it unique."""
        if wanted not in self.nodes:
            return wanted
        number = 2
        while f"{wanted}_{number}" in self.nodes:
            number += 1
        return f"{wanted}_{number}"

    @property
    def sources(self) -> list[SourceNode]:
        """The sources, as written."""
        return [n for n in self.nodes.values() if isinstance(n, SourceNode)]

    @property
    def steps(self) -> list[StepNode]:
        """The steps between sources and sinks, as written."""
        return [n for n in self.nodes.values() if isinstance(n, StepNode)]

    @property
    def sinks(self) -> list[SinkNode]:
        """The sinks, as written."""
        return [n for n in self.nodes.values() if isinstance(n, SinkNode)]

    def step(self, name: str) -> SourceNode | StepNode:
        """Return the source or step of this name."""
        node = self.nodes[name]
        assert not isinstance(node, SinkNode), "a sink has no output"
        return node

    def readers(self, name: str, port: Port) -> Iterator[Node]:
        """Yield the nodes that take this output of a node."""
        for node in self.nodes.values():
            if Input(name, port) in inputs(node):
                yield node

    def upstream(self, name: str) -> set[str]:
        """Return the names of a node and of all it depends on."""
        seen: set[str] = set()
        todo = [name]
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo += [i.node for i in inputs(self.nodes[at])]
        return seen

    def label(self, name: str) -> Label:
        """Return what determines the output of a node: the most of it and of all it depends on."""
        nodes = (self.nodes[n] for n in self.upstream(name))
        return Label.of(*(n.label for n in nodes if not isinstance(n, SinkNode)))

    def waits(self, name: str) -> bool:
        """Return whether rows reach this node only when a watermark has passed them; late rows leave at once."""
        return any(self._output_waits(i) for i in inputs(self.nodes[name]))

    def _output_waits(self, output: Input) -> bool:
        node = self.nodes[output.node]
        waits = isinstance(node, StepNode) and node.waits and output.port == MAIN
        return waits or any(self._output_waits(i) for i in inputs(node))

    def needs(self) -> frozenset[Need]:
        """Return the columns that some step wants beside each row."""
        return frozenset().union(*(step.needs for step in self.steps))

    def only(self, names: set[str]) -> Plan:
        """Return the plan of these nodes alone."""
        return Plan(self.name, {name: node for name, node in self.nodes.items() if name in names})


def inputs(node: Node) -> tuple[Input, ...]:
    """Return where a node's rows come from."""
    match node:
        case SourceNode():
            return ()
        case StepNode():
            return node.inputs
        case SinkNode():
            return node.inputs
