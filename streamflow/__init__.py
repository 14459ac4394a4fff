"""streamflow: event-time stream processing for asyncio.

    import streamflow as sf

    pipeline = sf.Pipeline("hello")
    pipeline.read("ticks", sf.generate(rate=10)).map(lambda row: row["n"] * 2).show()
    pipeline.run()

Names are imported when they are first used: ``import streamflow`` itself loads none of polars, numpy, click or rich.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamflow import agg as agg
    from streamflow import errors as errors
    from streamflow._runtime.query import Query as Query
    from streamflow._runtime.trigger import available_now as available_now
    from streamflow._runtime.trigger import continuous as continuous
    from streamflow._runtime.trigger import micro_batch as micro_batch
    from streamflow._runtime.trigger import once as once
    from streamflow.connectors.callback import CallbackSink as CallbackSink
    from streamflow.connectors.callback import ForeachBatch as ForeachBatch
    from streamflow.connectors.console import ConsoleSink as ConsoleSink
    from streamflow.connectors.file_sink import FileSink as FileSink
    from streamflow.connectors.files import DirectorySource as DirectorySource
    from streamflow.connectors.files import FileSource as FileSource
    from streamflow.connectors.generate import GenerateSource as GenerateSource
    from streamflow.connectors.generate import generate as generate
    from streamflow.connectors.generator import GeneratorSource as GeneratorSource
    from streamflow.connectors.iterable import IterableSource as IterableSource
    from streamflow.connectors.memory import MemorySink as MemorySink
    from streamflow.connectors.queue import QueueSource as QueueSource
    from streamflow.connectors.socket import SocketSource as SocketSource
    from streamflow.connectors.sqlite import SqliteSink as SqliteSink
    from streamflow.connectors.stdin import StdinSource as StdinSource
    from streamflow.core.aggregation import Aggregation as Aggregation
    from streamflow.core.csv_format import Csv as Csv
    from streamflow.core.folding import Windowed as Windowed
    from streamflow.core.formats import Raw as Raw
    from streamflow.core.formats import Text as Text
    from streamflow.core.json_format import Json as Json
    from streamflow.core.rate import pid as pid
    from streamflow.core.rows import Late as Late
    from streamflow.core.window import session as session
    from streamflow.core.window import sliding as sliding
    from streamflow.core.window import tumbling as tumbling
    from streamflow.operators.refusal import DeadLetter as DeadLetter
    from streamflow.operators.refusal import dead_letter as dead_letter
    from streamflow.pipeline import Pipeline as Pipeline
    from streamflow.stream import KeyedStream as KeyedStream
    from streamflow.stream import Stream as Stream
    from streamflow.table import Table as Table

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
    "streamflow.core.rate": ("pid",),
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
