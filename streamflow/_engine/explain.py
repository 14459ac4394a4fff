"""``explain()``: the plan as people read it, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

from streamflow._engine.plan import Input, Plan, SinkNode, SourceNode, StepNode
from streamflow.core.element import LATE, MAIN
from streamflow.core.timestamp import show_duration


def explain(plan: Plan, promises: Mapping[str, str]) -> str:
    """Return the plan as text: one line a node, then what the line means for the reader.

    Args:
        plan: The plan.
        promises: What the settings say: the whole under ``""``, and each sink's guarantee under its name.
    """
    lines = [f"pipeline {plan.name}: {promises.get('', '')}".rstrip(": ")]
    for node in plan.nodes.values():
        match node:
            case SourceNode():
                lines += _source(node)
            case StepNode():
                lines += _step(plan, node)
            case SinkNode():
                lines += _sink(plan, node, promises.get(node.name, ""))
    return "\n".join(lines)


def _source(node: SourceNode) -> list[str]:
    time = "ingestion time" if node.event_time is None else "event time"
    extras = [f"watermark {node.strategy}" if node.event_time is not None else "watermark follows the clock"]
    extras += [f"idle after {show_duration(node.idle_after)}"] if node.idle_after is not None else []
    extras += [f"refuses times {show_duration(node.max_future)} ahead"] if node.max_future is not None else []
    extras += [f"pauses splits {show_duration(node.max_skew)} ahead"] if node.max_skew is not None else []
    end = "bounded" if node.source.is_bounded else "unbounded"
    return [
        f"source {node.name}: {node.source} [{node.layout.value}, append, {node.label.value}]",
        f"    {time}, {', '.join(extras)}; {end}, {node.source.replay.value}; on error {_policy(node.on_error)}",
    ]


def _step(plan: Plan, node: StepNode) -> list[str]:
    origin = ", ".join(_origin(i) for i in node.inputs)
    layouts = node.takes.value if node.takes is node.gives else f"{node.takes.value} -> {node.gives.value}"
    detail = f" {node.detail}" if node.detail else ""
    traits = f"{layouts}, {node.edge.value}, {plan.label(node.name).value}"
    head = f"step {node.name}: {node.verb}{detail} [{traits}] <- {origin}"
    notes = ["one pass with " + node.inputs[0].node] if _is_fused(plan, node) else []
    notes += [f"state {node.name} ({node.fingerprint})"] if node.is_stateful else []
    notes += ["waits for the watermark"] if node.waits else []
    notes += ["late rows read"] if any(True for _ in plan.readers(node.name, LATE)) else []
    notes += [f"on error {_policy(node.on_error)}"] if node.on_error != "fail" else []
    return [head, *([f"    {'; '.join(notes)}"] if notes else [])]


def _sink(plan: Plan, node: SinkNode, promise: str) -> list[str]:
    origin = ", ".join(_origin(i) for i in node.inputs)
    waits = "its path waits for the watermark" if plan.waits(node.name) else "its path does not wait for the watermark"
    return [f"sink {node.name}: {node.sink} <- {origin}", f"    {promise}; {waits}"]


def _is_fused(plan: Plan, node: StepNode) -> bool:
    """Whether the step and the one before it are one pass: neither remembers, and nobody else reads in between."""
    if len(node.inputs) != 1 or node.is_stateful:
        return False
    before = plan.nodes[node.inputs[0].node]
    alone = sum(1 for _ in plan.readers(before.name, node.inputs[0].port)) == 1
    return isinstance(before, StepNode) and not before.is_stateful and alone and before.gives is node.takes


def _origin(input: Input) -> str:
    return input.node if input.port == MAIN else f"{input.node} ({input.port})"


def _policy(policy: object) -> str:
    return policy if isinstance(policy, str) else f"dead letter to {policy.sink}"  # type: ignore[attr-defined]  # a ToSink
