"""streamflow: event-time stream processing for asyncio.

    import streamflow as sf

    pipeline = sf.Pipeline("hello")
    pipeline.read("ticks", sf.generate(rate=10)).map(lambda row: row["n"] * 2).show()
    pipeline.run()

Names are imported when they are first used: ``import streamflow`` itself loads none of polars, numpy, click or rich.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "streamflow.pipeline": ("Pipeline",),
    "streamflow.stream": ("KeyedStream", "Stream"),
    "streamflow.table": ("Table",),
    "streamflow.core.aggregation": ("Aggregation",),
    "streamflow.core.csv_format": ("Csv",),
    "streamflow.core.folding": ("Windowed",),
    "streamflow.core.formats": ("Raw", "Text"),
    "streamflow.core.json_format": ("Json",),
    "streamflow.core.rows": ("Late",),
    "streamflow.core.window": ("session", "sliding", "tumbling"),
    "streamflow.operators.refusal": ("DeadLetter", "dead_letter"),
    "streamflow.connectors.callback": ("CallbackSink", "ForeachBatch"),
    "streamflow.connectors.console": ("ConsoleSink",),
    "streamflow.connectors.file_sink": ("FileSink",),
    "streamflow.connectors.files": ("DirectorySource", "FileSource"),
    "streamflow.connectors.generate": ("GenerateSource", "generate"),
    "streamflow.connectors.generator": ("GeneratorSource",),
    "streamflow.connectors.iterable": ("IterableSource",),
    "streamflow.connectors.memory": ("MemorySink",),
    "streamflow.connectors.queue": ("QueueSource",),
    "streamflow.connectors.socket": ("SocketSource",),
    "streamflow.connectors.sqlite": ("SqliteSink",),
    "streamflow.connectors.stdin": ("StdinSource",),
    "streamflow._runtime.query": ("Query",),
    "streamflow._runtime.trigger": ("available_now", "continuous", "micro_batch", "once"),
}

_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*sorted(_HOME), "agg", "errors"]  # noqa: PLE0604  # names are text


def __getattr__(name: str) -> Any:
    if name in ("agg", "errors", "testing"):
        return import_module(f"streamflow.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'streamflow' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
