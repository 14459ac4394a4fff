"""Sinks that call a function of yours: ``CallbackSink`` for each row, ``ForeachBatch`` for each epoch.

Both promise each epoch at least once, always with the same content: rows are staged with the epoch, and after a crash
the staged rows are delivered again.  So with a checkpoint a function gets what was staged and read back, never the
object itself; without one, nothing is staged and it gets the object.

Where a function is called: ``async def`` on the event loop, anything else in a worker thread, so that it may block.

Knows nothing of what the function does; a function that must not do a thing twice needs its own memory of the epoch.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, final

import anyio.to_thread
import msgspec
import polars as pl

from streamflow.core.batch import Batch
from streamflow.core.connector import Encoded, Guarantee, Refused, Token
from streamflow.core.folding import Windowed
from streamflow.core.schema import Schema
from streamflow.core.wire import UNFIT, frame_bytes, frame_from, python_value, reason_of
from streamflow.errors import DefinitionError, SinkError

T = TypeVar("T")
RowFunction = Callable[[Any], Awaitable[object] | object]
FrameFunction = Callable[[pl.DataFrame, int], Awaitable[object] | object]


@final
@dataclass(frozen=True, slots=True)
class CallbackSink:
    """Call ``function(value)`` for each row, in order.

    With a checkpoint a row arrives as ``type``, where given; else in builtin types: a Struct as a dict, a tuple as a
    list, what msgpack does not know (a ``date``, a naive ``datetime``, a ``Decimal``) as text.  A window's row
    arrives as ``Windowed``, and ``type`` is that of its value.  A row that cannot be staged, or read back as
    ``type``, is refused.

    Args:
        function: Takes the value; what it returns is ignored.
        type: What rows are read back as: any type that msgspec decodes.

    Raises:
        DefinitionError: If msgspec cannot decode ``type``.
    """

    function: RowFunction
    type: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        try:
            _decoder(self.type)
        except TypeError as error:
            raise DefinitionError(f"type must be one that msgspec decodes, got {self.type!r}: {error}") from error

    @property
    def guarantee(self) -> Guarantee:
        """Each epoch at least once, with the same content."""
        return Guarantee.EACH_EPOCH

    @property
    def takes_upserts(self) -> bool:
        """No: a function of a value cannot be told that a key is gone."""
        return False

    def writer(self, pipeline: str, name: str) -> CallbackWriter:
        """Return a writer that calls the function."""
        del pipeline
        return CallbackWriter(self, name)

    def __str__(self) -> str:
        return f"callback {_name_of(self.function)}"


@final
@dataclass(frozen=True, slots=True)
class ForeachBatch:
    """Call ``function(frame, epoch)`` once for each epoch that has rows, with all of them.

    The epoch is the idempotency key: called again with the same number, the frame is the same.  Numbers grow, with
    gaps. An epoch too large for one transaction comes in several calls with the same number.  Without a checkpoint
    the function is called for each batch, and the number counts them.

    Rows are flattened as every table is (``key``, ``window_start`` …); their types are those of the first row, and a
    row that does not fit is refused.

    Args:
        function: Takes a frame and the epoch; what it returns is ignored.
        schema: The fields and polars types, where the first row does not say them all.

    Raises:
        DefinitionError: If ``schema`` is not one.
    """

    function: FrameFunction
    schema: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        Schema(self.schema)

    @property
    def guarantee(self) -> Guarantee:
        """Each epoch at least once, with the same content."""
        return Guarantee.EACH_EPOCH

    @property
    def takes_upserts(self) -> bool:
        """No: a frame of rows does not say which of them delete."""
        return False

    def writer(self, pipeline: str, name: str) -> ForeachBatchWriter:
        """Return a writer that calls the function."""
        del pipeline
        return ForeachBatchWriter(self, name)

    def __str__(self) -> str:
        return f"foreach batch {_name_of(self.function)}"


@final
class CallbackWriter:
    """Stages rows as msgpack and calls the function with what it reads back."""

    def __init__(self, sink: CallbackSink, name: str) -> None:
        self._call = _Caller(sink.function, name)
        self._decoder = _decoder(sink.type)
        self._expected = "builtin types" if sink.type is None else getattr(sink.type, "__name__", str(sink.type))

    async def open(self) -> Token | None:
        """Return None: the runtime knows which epochs were delivered, the function need not."""
        return None

    def encode(self, batch: Batch) -> Encoded:
        """Return the rows as msgpack; each has been read back once, so that ``apply`` cannot fail on it."""
        rows = [_staged(value) for value in batch.to_values()]
        try:
            data = _MSGPACK.encode(rows)
            self._decoder.decode(data)
        except UNFIT:
            return self._encode_one_by_one(rows)
        return Encoded(data, len(rows))

    def _encode_one_by_one(self, rows: Sequence[_Row[Any]]) -> Encoded:
        sound: list[_Row[Any]] = []
        refused: list[Refused] = []
        for number, row in enumerate(rows):
            try:
                self._decoder.decode(_MSGPACK.encode([row]))
                sound.append(row)
            except UNFIT as error:
                reason = f"expected a value that msgpack holds and that reads back as {self._expected}"
                refused.append(Refused(number, f"{reason}: {reason_of(error)}", row.value))
        return Encoded(_MSGPACK.encode(sound), len(sound), refused)

    async def apply(self, staged: Sequence[bytes], token: Token) -> None:
        """Call the function for each row of the epoch; from the start again where an earlier attempt failed midway.

        Raises:
            SinkError: If the function raised; its exception is the ``__cause__``.
        """
        rows = (_restored(row) for data in staged for row in self._decoder.decode(data))
        await self._call.each(((row,) for row in rows), f"epoch {token.epoch}")

    async def write(self, batch: Batch) -> None:
        """Call the function for each row of a batch, with the value itself."""
        await self._call.each(((value,) for value in batch.to_values()), "a batch")

    async def close(self) -> None:
        """Nothing is held."""


@final
class ForeachBatchWriter:
    """Stages frames as Arrow and calls the function with all of an epoch."""

    def __init__(self, sink: ForeachBatch, name: str) -> None:
        self._call = _Caller(sink.function, name)
        self._name = name
        self._schema = Schema(sink.schema)
        self._batches = 0

    async def open(self) -> Token | None:
        """Return None: the runtime knows which epochs were delivered, the function need not."""
        return None

    def encode(self, batch: Batch) -> Encoded:
        """Return the rows as a frame, and those that do not fit into it."""
        frame, _, refused = self._schema.frame(batch)
        return Encoded(frame_bytes(frame), frame.height, refused)

    async def apply(self, staged: Sequence[bytes], token: Token) -> None:
        """Call the function with all rows of the epoch, if there are any.

        Raises:
            SinkError: If the function raised; its exception is the ``__cause__``.
        """
        frames = [frame for data in staged if (frame := frame_from(data)).height]
        if frames:
            frame = pl.concat(frames, how="diagonal_relaxed")
            await self._call.each([(frame, token.epoch)], f"epoch {token.epoch}")

    async def write(self, batch: Batch) -> None:
        """Call the function with a batch and its number.

        Raises:
            SinkError: If the function raised, or a row does not fit into the frame.
        """
        frame, _, refused = self._schema.frame(batch)
        if refused:
            raise SinkError(self._name, f"row {refused[0].row} does not fit: {refused[0].reason}")
        if frame.height:
            await self._call.each([(frame, self._batches)], f"batch {self._batches}")
            self._batches += 1

    async def close(self) -> None:
        """Nothing is held."""


class _Row(msgspec.Struct, Generic[T], array_like=True):
    """A staged row: the value, and for the row of a window its key, start and end."""

    value: T
    window: tuple[Any, int, int] | None = None


_MSGPACK = msgspec.msgpack.Encoder(enc_hook=python_value)


def _decoder(kind: Any) -> msgspec.msgpack.Decoder[list[_Row[Any]]]:
    value = Any if kind is None else kind
    return msgspec.msgpack.Decoder(list[_Row[value]])  # type: ignore[valid-type]  # a type that the user gave


def _staged(value: Any) -> _Row[Any]:
    if isinstance(value, Windowed):
        return _Row(value.value, (value.key, value.start, value.end))
    return _Row(value)


def _restored(row: _Row[Any]) -> Any:
    if row.window is None:
        return row.value
    key, start, end = row.window
    return Windowed(tuple(key) if isinstance(key, list) else key, start, end, row.value)


@final
class _Caller:
    """Calls a function where it may be called, and says which row it failed on."""

    def __init__(self, function: Callable[..., Any], sink: str) -> None:
        self._function, self._sink = function, sink
        self._is_async = _is_async(function)

    async def each(self, calls: Iterable[tuple[Any, ...]], where: str) -> None:
        """Call the function with each tuple of arguments: all in one visit to a thread, or one after another here."""
        if not self._is_async:
            await anyio.to_thread.run_sync(self._each_here, calls, where)
            return
        for number, arguments in enumerate(calls):
            try:
                await self._function(*arguments)
            except Exception as error:
                raise self._failed(error, number, where) from error

    def _each_here(self, calls: Iterable[tuple[Any, ...]], where: str) -> None:
        for number, arguments in enumerate(calls):
            try:
                result = self._function(*arguments)
            except Exception as error:
                raise self._failed(error, number, where) from error
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()
                raise SinkError(
                    self._sink,
                    f"function {_name_of(self._function)!r} returned an awaitable from a plain function",
                    remedy="write it as async def, so that it is awaited",
                )

    def _failed(self, error: Exception, number: int, where: str) -> SinkError:
        try:
            why = f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001  # its own __str__ raises
            why = type(error).__name__
        return SinkError(
            self._sink,
            f"function {_name_of(self._function)!r} failed on call {number} of {where}: {why}",
            remedy="fix the cause and start again: the epoch is delivered again from its first row",
        )


def _is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__qualname__", type(function).__name__)
