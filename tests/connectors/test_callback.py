"""Functions of the user: each epoch with the same content, however often; errors that say where."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.connectors.callback import CallbackSink, ForeachBatch
from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Guarantee, Refused, Sink, Token
from streamflow.core.folding import Windowed
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.errors import DefinitionError, SinkError


class Order(msgspec.Struct, frozen=True):
    user: str
    amount: float


@dataclass(frozen=True)
class Reading:
    name: str
    value: int


def rows(*values: Any) -> Rows:
    return Rows(Stamps.at(0, 0, len(values)), list(values))


def columns(frame: pl.DataFrame) -> Columns:
    return Columns(Stamps.at(0, 0, frame.height), frame)


async def deliver(sink: CallbackSink | ForeachBatch, *epochs: Sequence[Batch]) -> list[Refused]:
    """Deliver epochs as the runtime does; return the rows that were refused."""
    writer, refused = sink.writer("p", "out"), list[Refused]()
    assert await writer.open() is None
    for number, epoch in enumerate(epochs, 1):
        encoded = [writer.encode(batch) for batch in epoch]
        assert sum(e.rows + len(e.refused) for e in encoded) == sum(map(len, epoch))
        refused += [r for e in encoded for r in e.refused]
        await writer.apply([e.data for e in encoded], Token(1, number))
    await writer.close()
    return refused


def test_they_promise_each_epoch_and_take_appends() -> None:
    for sink in (CallbackSink(print), ForeachBatch(print)):
        assert isinstance(sink, Sink)
        assert (sink.guarantee, sink.takes_upserts) == (Guarantee.EACH_EPOCH, False)
    assert str(CallbackSink(partial(rows))) == "callback rows"
    assert str(ForeachBatch(rows)) == "foreach batch rows"


# -------------------------------------------------------------------------------------------------------- callback


async def test_a_function_gets_each_row_in_order() -> None:
    got: list[Any] = []
    await deliver(CallbackSink(got.append), [rows(1, "b"), rows({"c": [3]})], [], [rows(4)])
    assert got == [1, "b", {"c": [3]}, 4]


async def test_an_async_function_is_awaited_on_the_loop_and_a_plain_one_called_in_a_thread() -> None:
    threads: list[threading.Thread] = []

    async def on_loop(_: Any) -> None:
        await asyncio.to_thread(lambda: None)
        threads.append(threading.current_thread())

    class OnLoop:
        async def __call__(self, value: Any) -> None:
            await on_loop(value)

    for function in (on_loop, partial(on_loop), OnLoop(), lambda _: threads.append(threading.current_thread())):
        await deliver(CallbackSink(function), [rows(1)])
    assert [thread is threading.main_thread() for thread in threads] == [True, True, True, False]


@pytest.mark.parametrize(
    ("value", "read_back"),
    [
        (Order("a", 1.5), {"user": "a", "amount": 1.5}),
        (Reading("a", 1), {"name": "a", "value": 1}),
        ((1, 2), [1, 2]),
        (b"bytes", b"bytes"),
        (datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)),
        (date(2024, 5, 1), "2024-05-01"),
        (float("inf"), float("inf")),
        (np.int64(3), 3),
        (None, None),
        (Windowed(("a", 1), 0, 10, Order("a", 1.5)), Windowed(("a", 1), 0, 10, {"user": "a", "amount": 1.5})),
        (Windowed("a", 0, 10, 5), Windowed("a", 0, 10, 5)),
    ],
)
async def test_without_a_type_rows_come_back_in_builtin_types(value: Any, read_back: Any) -> None:
    got: list[Any] = []
    assert await deliver(CallbackSink(got.append), [rows(value)]) == []
    assert got == [read_back]


async def test_with_a_type_rows_come_back_as_it_and_so_do_the_values_of_windows() -> None:
    got: list[Any] = []
    order, window = Order("a", 1.5), Windowed("k", 0, 10, Order("b", 2))
    refused = await deliver(CallbackSink(got.append, type=Order), [rows(order, {"user": "x"}, window)])
    assert got == [order, window]
    assert [r.row for r in refused] == [1]
    assert "reads back as Order" in refused[0].reason
    assert "amount" in refused[0].reason


async def test_columns_come_as_dicts_or_as_the_type() -> None:
    frame, got = pl.DataFrame({"user": ["a"], "amount": [1.5]}), list[Any]()
    await deliver(CallbackSink(got.append), [columns(frame)])
    await deliver(CallbackSink(got.append, type=Order), [columns(frame)])
    assert got == [{"user": "a", "amount": 1.5}, Order("a", 1.5)]


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "got object"),
        (2**64, "2**64"),
        ("\ud800", "surrogate"),
        (CYCLE, "contains itself"),
        ({1j: 1}, ""),
    ],
)
async def test_a_value_that_cannot_be_staged_is_refused_and_the_others_are_delivered(value: Any, reason: str) -> None:
    got: list[Any] = []
    refused = await deliver(CallbackSink(got.append), [rows(1, value, 3)])
    assert got == [1, 3]
    assert [r.row for r in refused] == [1]
    assert refused[0].raw is value
    assert reason in refused[0].reason


def test_a_type_that_msgspec_does_not_know_is_a_definition_error() -> None:
    with pytest.raises(DefinitionError, match="type must be one that msgspec decodes"):
        CallbackSink(print, type=list[int] | tuple[int])


async def test_without_a_checkpoint_a_function_gets_the_object_itself() -> None:
    value, got = object(), list[Any]()
    writer = CallbackSink(got.append).writer("p", "out")
    await writer.write(rows(value))
    assert got[0] is value


async def test_an_epoch_delivered_again_has_the_same_content() -> None:
    got: list[Any] = []
    writer = CallbackSink(got.append).writer("p", "out")
    data = [writer.encode(rows({"a": 1})).data, writer.encode(rows({"a": 2})).data]
    for _ in range(2):
        await writer.apply(data, Token(1, 3))
    assert got == [{"a": 1}, {"a": 2}] * 2


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("error", [KeyError("amount"), StopIteration(1), RecursionError(), HostileError()])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_function_that_raises_is_a_sink_error_that_says_where(error: Exception, is_async: bool) -> None:
    def plain(value: int) -> None:
        if value == 2:
            raise error

    async def awaited(value: int) -> None:
        plain(value)

    with pytest.raises(SinkError, match=r"failed on call 1 of epoch 1") as caught:
        await deliver(CallbackSink(awaited if is_async else plain), [rows(1, 2)])
    assert isinstance(
        caught.value.__cause__, RuntimeError if is_async and isinstance(error, StopIteration) else type(error)
    )
    assert "delivered again" in str(caught.value.remedy)


async def test_a_plain_function_that_returns_a_coroutine_is_an_error_with_a_remedy() -> None:
    async def awaited(value: Any) -> None:
        raise AssertionError(value)

    with pytest.raises(SinkError, match="returned an awaitable") as caught:
        await deliver(CallbackSink(lambda value: awaited([value])), [rows(1)])
    assert "async def" in str(caught.value.remedy)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.lists(JSON, max_size=6))
def test_plain_values_are_delivered_as_they_are(values: list[Any]) -> None:
    got: list[Any] = []
    assert asyncio.run(deliver(CallbackSink(got.append), [rows(*values)])) == []
    assert got == values


# --------------------------------------------------------------------------------------------------- foreach batch


async def test_a_function_gets_all_rows_of_an_epoch_once_and_empty_epochs_not_at_all() -> None:
    got: list[tuple[list[dict[str, Any]], int]] = []
    sink = ForeachBatch(lambda frame, epoch: got.append((frame.to_dicts(), epoch)))
    frame = pl.DataFrame({"a": [3], "b": ["x"]})
    await deliver(
        sink, [rows({"a": 1, "b": None}), rows({"a": 2, "b": None}), columns(frame)], [rows()], [], [columns(frame)]
    )
    assert got == [
        ([{"a": 1, "b": None}, {"a": 2, "b": None}, {"a": 3, "b": "x"}], 1),
        ([{"a": 3, "b": "x"}], 4),
    ]


async def test_an_async_function_of_frames_is_awaited() -> None:
    got: list[int] = []

    async def function(frame: pl.DataFrame, epoch: int) -> None:
        await asyncio.to_thread(got.append, frame.height * epoch)

    await deliver(ForeachBatch(function), [rows(1, 2)], [rows(3)])
    assert got == [2, 2]


async def test_rows_that_do_not_fit_the_frame_are_refused() -> None:
    got: list[pl.DataFrame] = []
    refused = await deliver(ForeachBatch(lambda frame, _: got.append(frame)), [rows({"a": 1}, {"a": "x"}, {"b": 1})])
    assert [r.row for r in refused] == [1, 2]
    assert got[0].equals(pl.DataFrame({"a": [1]}))


async def test_objects_in_columns_are_staged_by_value_or_refused_never_by_address() -> None:
    got: list[pl.DataFrame] = []
    frame = pl.DataFrame({"a": [{1}, object()]}, schema={"a": pl.Object})
    refused = await deliver(ForeachBatch(lambda frame, _: got.append(frame)), [columns(frame)])
    assert [r.row for r in refused] == [1]
    assert got[0].to_dicts() == [{"a": [1]}]


async def test_a_declared_schema_is_kept() -> None:
    got: list[pl.DataFrame] = []
    sink = ForeachBatch(lambda frame, _: got.append(frame), schema={"a": pl.Float32, "b": pl.String})
    await deliver(sink, [rows({"a": 1})])
    assert got[0].schema == {"a": pl.Float32, "b": pl.String}


async def test_without_a_checkpoint_batches_are_numbered() -> None:
    got: list[tuple[int, int]] = []
    writer = ForeachBatch(lambda frame, number: got.append((frame.height, number))).writer("p", "out")
    for batch in (rows(1), rows(), rows(2, 3)):
        await writer.write(batch)
    assert got == [(1, 0), (2, 1)]
    with pytest.raises(SinkError, match=r"row 1 does not fit"):
        await writer.write(rows(1, "x"))


async def test_a_failing_function_of_frames_names_the_epoch() -> None:
    def function(frame: pl.DataFrame, epoch: int) -> None:
        raise ConnectionError(f"{frame.height} {epoch}")

    with pytest.raises(SinkError, match=r"'.*function' failed on call 0 of epoch 2: ConnectionError: 1 2"):
        await deliver(ForeachBatch(function), [], [rows(1)])
