"""What the aggregations of ``agg`` come to, for mypy and pyright; never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, assert_type, overload

from streamflow import agg
from streamflow.core.aggregation import Aggregate

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Order:
    user: str
    amount: float
    items: int
    discount: float | None


class Window(Generic[T]):
    """The shape of ``KeyedStream.aggregate``: the row's type comes from the stream, the result's from the aggregations."""

    @overload
    def aggregate(self, one: Aggregate[T, A], /) -> A: ...
    @overload
    def aggregate(self, one: Aggregate[T, A], two: Aggregate[T, B], /) -> tuple[A, B]: ...
    def aggregate(self, *aggregations: Any) -> Any:
        raise NotImplementedError


def check(orders: Window[Order]) -> None:
    assert_type(orders.aggregate(agg.count()), int)
    assert_type(orders.aggregate(agg.sum(lambda order: order.items)), int)
    assert_type(orders.aggregate(agg.sum(lambda order: order.amount)), float)
    assert_type(orders.aggregate(agg.sum(lambda order: order.discount)), float)
    assert_type(orders.aggregate(agg.mean(lambda order: order.items)), float)
    assert_type(orders.aggregate(agg.mean(lambda order: order.discount)), float | None)
    assert_type(orders.aggregate(agg.variance(lambda order: order.amount)), float | None)
    assert_type(orders.aggregate(agg.min(lambda order: order.user)), str)
    assert_type(orders.aggregate(agg.max(lambda order: order.discount)), float | None)
    assert_type(orders.aggregate(agg.last(), agg.first(lambda order: order.user)), tuple[Order, str])
    assert_type(orders.aggregate(agg.collect(), agg.collect(lambda order: order.items)), tuple[list[Order], list[int]])
    assert_type(orders.aggregate(agg.median(lambda order: order.amount)), float)
    assert_type(orders.aggregate(agg.quantiles(lambda order: order.discount, [0.5])), list[float | None])
    assert_type(orders.aggregate(agg.top_k(3, by=lambda order: order.amount)), list[Order])
    assert_type(orders.aggregate(agg.top_k(3, lambda order: order.items)), list[int])
    assert_type(orders.aggregate(agg.arg_max(lambda order: order.amount)), Order)
    assert_type(orders.aggregate(agg.arg_min(lambda order: order.amount, lambda order: order.user)), str)
    assert_type(orders.aggregate(agg.distinct(lambda order: order.user)), int)
