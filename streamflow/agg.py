"""``agg``: what a window can come to, for both faces.

For a ``Stream``, each function takes a function of the row: ``agg.sum(lambda order: order.amount)``.  For a ``Table``,
each starts from a column, ``agg.col("amount").sum()``, or an expression, ``agg.expr(pl.col("a") * 2).sum()``.
Both build the same ``Aggregate``.  The names are those of polars and SQL, so import the module, not the functions.

Nulls are as in polars: None is ignored, by all but ``first``, ``last`` and ``collect``; the sum of nothing is 0, and
the mean, minimum or maximum of nothing is None.  NaN is a number to ``sum``, ``mean`` and ``variance``, and is passed
over by what compares: ``min`` and ``max`` give it only where there is nothing else.

Knows no layout: ``core.row_fold`` and ``core.column_fold`` keep what is asked for here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, final, overload

from streamflow.core.aggregation import Aggregate, Aggregation
from streamflow.errors import DefinitionError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Aggregate",
    "Aggregation",
    "Column",
    "approx_distinct",
    "arg_max",
    "arg_min",
    "col",
    "collect",
    "count",
    "distinct",
    "expr",
    "first",
    "last",
    "max",
    "mean",
    "median",
    "min",
    "quantile",
    "quantiles",
    "rows",
    "stddev",
    "sum",
    "top_k",
    "variance",
]

T = TypeVar("T")
V = TypeVar("V")
Comparable = int | float | str | bytes | bool | date | time | timedelta
C = TypeVar("C", bound=Comparable | None)
N = TypeVar("N", int, float)
Missing = TypeVar("Missing", bound=None)
"""None where the function may give None, and nothing where it never does."""


def count(reads: Callable[[T], object] | None = None) -> Aggregate[T, int]:
    """Count the rows, or those for which ``reads`` gives something other than None."""
    return Aggregate("count", _function(reads, "count"))


def sum(reads: Callable[[T], N | None], *, exact: bool = False) -> Aggregate[T, N]:
    """Add up what ``reads`` gives: an int where all are ints, a float where any is one; 0 where all are None.

    A row that would bring a sum of ints beyond 64 bits is refused: a sum never wraps.

    Args:
        reads: The number of a row.  A bool is not a number.
        exact: Round a sum of floats only at the end, so that no order of rows changes a bit; at several times the cost.
    """
    return _sum(_function(reads, "sum", needed=True), exact=exact)


def min(reads: Callable[[T], C]) -> Aggregate[T, C]:
    """Take the smallest of what ``reads`` gives: numbers, texts, bytes, bools, dates or times, all of one type."""
    return Aggregate("min", _function(reads, "min", needed=True))


def max(reads: Callable[[T], C]) -> Aggregate[T, C]:
    """Take the largest of what ``reads`` gives: numbers, texts, bytes, bools, dates or times, all of one type."""
    return Aggregate("max", _function(reads, "max", needed=True))


def mean(reads: Callable[[T], float | Missing]) -> Aggregate[T, float | Missing]:
    """Take the mean of what ``reads`` gives, a float; None where all are None."""
    return Aggregate("mean", _function(reads, "mean", needed=True))


def variance(reads: Callable[[T], float | None], *, ddof: int = 1) -> Aggregate[T, float | None]:
    """Take the variance of what ``reads`` gives, with the divisor ``n - ddof``; None of ``ddof`` values or fewer."""
    return _spread("variance", _function(reads, "variance", needed=True), ddof)


def stddev(reads: Callable[[T], float | None], *, ddof: int = 1) -> Aggregate[T, float | None]:
    """Take the standard deviation of what ``reads`` gives: the square root of ``variance``."""
    return _spread("stddev", _function(reads, "stddev", needed=True), ddof)


@overload
def first(reads: None = None) -> Aggregate[T, T]: ...
@overload
def first(reads: Callable[[T], V]) -> Aggregate[T, V]: ...
def first(reads: Callable[[T], Any] | None = None) -> Aggregate[T, Any]:
    """Take the first row by event time, then identity, or what ``reads`` gives for it, be it None."""
    return Aggregate("first", _function(reads, "first"))


@overload
def last(reads: None = None) -> Aggregate[T, T]: ...
@overload
def last(reads: Callable[[T], V]) -> Aggregate[T, V]: ...
def last(reads: Callable[[T], Any] | None = None) -> Aggregate[T, Any]:
    """Take the last row by event time, then identity, or what ``reads`` gives for it, be it None."""
    return Aggregate("last", _function(reads, "last"))


@overload
def collect(reads: None = None) -> Aggregate[T, list[T]]: ...
@overload
def collect(reads: Callable[[T], V]) -> Aggregate[T, list[V]]: ...
def collect(reads: Callable[[T], Any] | None = None) -> Aggregate[T, list[Any]]:
    """Take all rows, or what ``reads`` gives for each, by event time, then identity; the state grows with the rows."""
    return Aggregate("collect", _function(reads, "collect"))


def distinct(reads: Callable[[T], Hashable]) -> Aggregate[T, int]:
    """Count the distinct values that ``reads`` gives, exactly; the state grows with them."""
    return Aggregate("distinct", _function(reads, "distinct", needed=True))


def approx_distinct(reads: Callable[[T], Comparable | None], *, p: int = 12) -> Aggregate[T, int]:
    """Count the distinct values that ``reads`` gives, roughly.

    Args:
        reads: The value of a row: a number, text, bytes, bool, date or time; ints and floats that are equal count once.
        p: The standard error is ``1.04 / sqrt(2**p)``, 1.6 % for 12; a key takes up to ``2**p`` bytes.
    """
    return _approx_distinct(_function(reads, "approx_distinct", needed=True), p)


def quantiles(
    reads: Callable[[T], float | Missing], qs: Sequence[float], *, accuracy: float = 0.01
) -> Aggregate[T, list[float | Missing]]:
    """Take quantiles of what ``reads`` gives, in the order of ``qs``; each None where there are no numbers.

    Args:
        reads: The number of a row.
        qs: Which quantiles, each from 0 to 1.
        accuracy: How far each may be from the value at place ``floor(q * (n - 1))`` in order, relative to it.
    """
    return _quantiles(_function(reads, "quantiles", needed=True), qs, accuracy)


def quantile(
    reads: Callable[[T], float | Missing], q: float, *, accuracy: float = 0.01
) -> Aggregate[T, float | Missing]:
    """Take one quantile of what ``reads`` gives, as ``quantiles`` does."""
    return _quantile(_function(reads, "quantile", needed=True), q, accuracy)


def median(reads: Callable[[T], float | Missing], *, accuracy: float = 0.01) -> Aggregate[T, float | Missing]:
    """Take the lower median of what ``reads`` gives, as ``quantiles`` does for 0.5."""
    return _quantile(_function(reads, "median", needed=True), 0.5, accuracy)


@overload
def top_k(k: int, reads: Callable[[T], C], *, by: None = None) -> Aggregate[T, list[C]]: ...
@overload
def top_k(k: int, reads: None = None, *, by: Callable[[T], Comparable | None]) -> Aggregate[T, list[T]]: ...
@overload
def top_k(k: int, reads: Callable[[T], V], *, by: Callable[[T], Comparable | None]) -> Aggregate[T, list[V]]: ...
def top_k(
    k: int, reads: Callable[[T], Any] | None = None, *, by: Callable[[T], Comparable | None] | None = None
) -> Aggregate[T, list[Any]]:
    """Take the ``k`` largest of what ``reads`` gives, largest first; of equals, the earliest first.

    Args:
        k: How many.
        reads: What is taken; the row where it is None.
        by: What is compared; what is taken where it is None.
    """
    if reads is None and by is None:
        raise DefinitionError("top_k needs a function: what to take, or by= what to compare rows, got neither")
    return _top_k(_function(reads, "top_k"), k, _function(by, "top_k"))


@overload
def arg_max(by: Callable[[T], Comparable | None], reads: None = None) -> Aggregate[T, T]: ...
@overload
def arg_max(by: Callable[[T], Comparable | None], reads: Callable[[T], V]) -> Aggregate[T, V]: ...
def arg_max(by: Callable[[T], Comparable | None], reads: Callable[[T], Any] | None = None) -> Aggregate[T, Any]:
    """Take the row with the largest ``by``, or what ``reads`` gives for it; of equals, the earliest.

    Rows for which ``by`` is None or NaN are passed over; the result is None where there is no other.
    """
    return Aggregate("arg_max", _function(reads, "arg_max"), by=_function(by, "arg_max", needed=True))


@overload
def arg_min(by: Callable[[T], Comparable | None], reads: None = None) -> Aggregate[T, T]: ...
@overload
def arg_min(by: Callable[[T], Comparable | None], reads: Callable[[T], V]) -> Aggregate[T, V]: ...
def arg_min(by: Callable[[T], Comparable | None], reads: Callable[[T], Any] | None = None) -> Aggregate[T, Any]:
    """Take the row with the smallest ``by``, or what ``reads`` gives for it; else as ``arg_max``."""
    return Aggregate("arg_min", _function(reads, "arg_min"), by=_function(by, "arg_min", needed=True))


def rows() -> Aggregate[Any, int]:
    """Count the rows: ``count`` as a ``Table`` says it."""
    return Aggregate("count")


def col(name: str) -> Column:
    """Start from a column of a ``Table``."""
    import polars as pl  # it takes 0.2 s to import, which a program of streams alone need not wait for

    if not isinstance(name, str):
        raise DefinitionError(
            f"agg.col takes the name of a column, got {name!r}", remedy="use agg.expr for an expression"
        )
    return Column(pl.col(name))


def expr(expression: pl.Expr) -> Column:
    """Start from a row-wise expression over a ``Table``."""
    import polars as pl  # as above

    if not isinstance(expression, pl.Expr):
        raise DefinitionError(
            f"agg.expr takes a polars expression, got {expression!r}", remedy="use agg.col for the name of a column"
        )
    return Column(expression)


@final
class Column:
    """A column of a ``Table``, or an expression over its rows, to be aggregated."""

    __slots__ = ("_reads",)

    def __init__(self, reads: pl.Expr) -> None:
        self._reads = reads

    def __repr__(self) -> str:
        return f"agg.expr({self._reads})"

    def count(self) -> Aggregate[Any, int]:
        """Count the values that are not null."""
        return Aggregate("count", self._reads)

    def sum(self, *, exact: bool = False) -> Aggregate[Any, Any]:
        """Add up the values; 0 where all are null."""
        return _sum(self._reads, exact=exact)

    def min(self) -> Aggregate[Any, Any]:
        """Take the smallest value."""
        return Aggregate("min", self._reads)

    def max(self) -> Aggregate[Any, Any]:
        """Take the largest value."""
        return Aggregate("max", self._reads)

    def mean(self) -> Aggregate[Any, float | None]:
        """Take the mean of the values."""
        return Aggregate("mean", self._reads)

    def var(self, *, ddof: int = 1) -> Aggregate[Any, float | None]:
        """Take the variance of the values, divided by ``n - ddof``."""
        return _spread("variance", self._reads, ddof)

    def std(self, *, ddof: int = 1) -> Aggregate[Any, float | None]:
        """Take the standard deviation of the values."""
        return _spread("stddev", self._reads, ddof)

    def first(self) -> Aggregate[Any, Any]:
        """Take the value of the first row by event time, then identity, be it null."""
        return Aggregate("first", self._reads)

    def last(self) -> Aggregate[Any, Any]:
        """Take the value of the last row by event time, then identity, be it null."""
        return Aggregate("last", self._reads)

    def collect(self) -> Aggregate[Any, list[Any]]:
        """Take all values, by event time, then identity."""
        return Aggregate("collect", self._reads)

    def n_distinct(self) -> Aggregate[Any, int]:
        """Count the distinct values, exactly, null not among them."""
        return Aggregate("distinct", self._reads)

    def approx_n_distinct(self, *, p: int = 12) -> Aggregate[Any, int]:
        """Count the distinct values, roughly: a standard error of ``1.04 / sqrt(2**p)`` in ``2**p`` bytes a key."""
        return _approx_distinct(self._reads, p)

    def quantile(self, q: float, *, accuracy: float = 0.01) -> Aggregate[Any, float | None]:
        """Take one quantile of the values, within ``accuracy`` relative to it."""
        return _quantile(self._reads, q, accuracy)

    def quantiles(self, qs: Sequence[float], *, accuracy: float = 0.01) -> Aggregate[Any, list[float | None]]:
        """Take several quantiles of the values, each within ``accuracy`` relative to it."""
        return _quantiles(self._reads, qs, accuracy)

    def median(self, *, accuracy: float = 0.01) -> Aggregate[Any, float | None]:
        """Take the lower median of the values, within ``accuracy`` relative to it."""
        return _quantile(self._reads, 0.5, accuracy)

    def top_k(self, k: int, *, by: str | pl.Expr | None = None) -> Aggregate[Any, list[Any]]:
        """Take the ``k`` largest values, or those of the rows whose ``by`` is largest; largest first."""
        return _top_k(self._reads, k, None if by is None else _expression(by, "top_k"))

    def arg_max(self, by: str | pl.Expr) -> Aggregate[Any, Any]:
        """Take the value of the row with the largest ``by``; of equals, the earliest."""
        return Aggregate("arg_max", self._reads, by=_expression(by, "arg_max"))

    def arg_min(self, by: str | pl.Expr) -> Aggregate[Any, Any]:
        """Take the value of the row with the smallest ``by``; of equals, the earliest."""
        return Aggregate("arg_min", self._reads, by=_expression(by, "arg_min"))


def _function(reads: Callable[..., Any] | None, what: str, *, needed: bool = False) -> Callable[..., Any] | None:
    if (reads is None and not needed) or callable(reads):
        return reads
    raise DefinitionError(
        f"agg.{what} takes a function of a row, such as lambda row: row.amount, got {reads!r}",
        remedy="for a table, start from a column: agg.col('amount')",
    )


def _expression(by: str | pl.Expr, what: str) -> pl.Expr:
    import polars as pl  # as above

    if isinstance(by, str):
        return pl.col(by)
    if isinstance(by, pl.Expr):
        return by
    raise DefinitionError(f"by of {what} must be the name of a column or a polars expression, got {by!r}")


def _sum(reads: Any, *, exact: bool) -> Aggregate[Any, Any]:
    return Aggregate("sum", reads, {"exact": bool(exact)})


def _spread(kind: str, reads: Any, ddof: int) -> Aggregate[Any, float | None]:
    return Aggregate(kind, reads, {"ddof": _whole(ddof, f"ddof of {kind}", least=0)})


def _approx_distinct(reads: Any, p: int) -> Aggregate[Any, int]:
    from streamflow.core.hyperloglog import require_p  # it imports numpy and polars

    return Aggregate("approx_distinct", reads, {"p": require_p(p)})


def _quantile(reads: Any, q: float, accuracy: float) -> Aggregate[Any, Any]:
    return _quantiles(reads, (q,), accuracy, is_single=True)


def _quantiles(reads: Any, qs: Sequence[float], accuracy: float, *, is_single: bool = False) -> Aggregate[Any, Any]:
    from streamflow.core.ddsketch import require_accuracy  # it imports numpy

    wanted = tuple(qs)
    if not wanted:
        raise DefinitionError("quantiles needs at least one quantile, such as 0.5, got none")
    for q in wanted:
        if isinstance(q, bool) or not isinstance(q, int | float) or not 0 <= q <= 1:
            raise DefinitionError(f"a quantile must be a number from 0 to 1, got {q!r}")
    return Aggregate("quantiles", reads, {"qs": wanted, "accuracy": require_accuracy(accuracy), "is_single": is_single})


def _top_k(reads: Any, k: int, by: Any) -> Aggregate[Any, list[Any]]:
    return Aggregate("top_k", reads, {"k": _whole(k, "k of top_k", least=1)}, by=by)


def _whole(value: object, what: str, *, least: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise DefinitionError(f"{what} must be a whole number of {least} or more, got {value!r}")
