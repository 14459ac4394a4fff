"""A plan for other programs: as a Mermaid diagram, and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from streamflow._engine.plan import Node, SinkNode, SourceNode, inputs
from streamflow.core.element import MAIN
from streamflow.pipeline import Pipeline


def as_mermaid(pipeline: Pipeline) -> str:
    """Return a flowchart: sources and sinks rounded, steps that remember as cylinders, edges that refresh dotted."""
    plan = pipeline.plan
    numbers = {name: f"n{i}" for i, name in enumerate(plan.nodes)}
    lines = ["flowchart LR"]
    for name, node in plan.nodes.items():
        opened, closed = _shape(node)
        lines.append(f'    {numbers[name]}{opened}"{_escaped(_caption(node))}"{closed}')
    for name, node in plan.nodes.items():
        for input in inputs(node):
            before = plan.step(input.node)
            is_refresh = not isinstance(before, SourceNode) and before.edge.value != "append" and input.port == MAIN
            arrow = "-.->" if is_refresh else "-->"
            port = "" if input.port == MAIN else f'|"{_escaped(input.port)}"|'
            lines.append(f"    {numbers[input.node]} {arrow}{port} {numbers[name]}")
    return "\n".join(lines)


def as_json(pipeline: Pipeline) -> str:
    """Return the plan as one JSON object: ``pipeline``, ``settings`` and ``nodes`` in the order they were written."""
    plan, promises = pipeline.plan, pipeline.settings.describe(pipeline.plan)
    nodes = [_record(pipeline, node, promises.get(name, "")) for name, node in plan.nodes.items()]
    entry = {"pipeline": plan.name, "settings": promises[""], "nodes": nodes}
    return msgspec.json.format(msgspec.json.encode(entry), indent=2).decode()


def _record(pipeline: Pipeline, node: Node, promise: str) -> dict[str, Any]:
    common = {"name": node.name, "inputs": [{"node": i.node, "port": i.port} for i in inputs(node)]}
    match node:
        case SourceNode():
            return common | {
                "kind": "source",
                "source": str(node.source),
                "layout": node.layout.value,
                "label": node.label.value,
                "event_time": node.event_time is not None,
                "watermark": str(node.strategy),
                "is_bounded": node.source.is_bounded,
                "replay": node.source.replay.value,
            }
        case SinkNode():
            return common | {
                "kind": "sink",
                "sink": str(node.sink),
                "guarantee": promise,
                "waits_for_watermark": pipeline.plan.waits(node.name),
            }
        case _:
            return common | {
                "kind": "step",
                "verb": node.verb,
                "detail": node.detail,
                "takes": node.takes.value,
                "gives": node.gives.value,
                "edge": node.edge.value,
                "label": pipeline.plan.label(node.name).value,
                "is_stateful": node.is_stateful,
                "waits_for_watermark": node.waits,
            }


def _shape(node: Node) -> tuple[str, str]:
    if isinstance(node, SourceNode | SinkNode):
        return "([", "])"
    return ("[(", ")]") if node.is_stateful else ("[", "]")


def _caption(node: Node) -> str:
    match node:
        case SourceNode():
            return f"{node.name}\n{node.source}"
        case SinkNode():
            return f"{node.name}\n{node.sink}"
        case _:
            return node.name if node.name == node.verb else f"{node.name}\n{node.verb}"


def _escaped(text: str) -> str:
    escapes = {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "\n": "<br>"}
    return "".join(escapes.get(c, c) for c in text)
