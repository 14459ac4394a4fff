"""How the column layout keeps each kind of aggregation: in arrays or in a long table, and of which types it can be.

Which of the two may depend on the type of what is read (the smallest date is a number, the smallest text is not), so
it is settled by the first batch, or by the checkpoint before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import polars as pl

from streamflow.core.aggregation import Aggregate
from streamflow.core.column_dense import DenseState, Extreme, Mean, Spread, Total
from streamflow.core.column_exact import ExactSum
from streamflow.core.column_long import LongKind, LongState
from streamflow.core.column_picks import ArgExtreme, Collect, First, Last, LongExtreme, TopK
from streamflow.core.column_run import Inputs
from streamflow.core.column_sets import Distinct
from streamflow.core.column_sketches import ApproxDistinct, Quantiles
from streamflow.core.column_values import Form, is_fixed_width, np_dtype
from streamflow.errors import DataError, DefinitionError

_NUMBERS = ("sum", "mean", "variance", "stddev", "quantiles")
_COMPARED = ("min", "max", "top_k")
_EXTREMES = ("min", "max")
_COUNTED = ("mean", "variance", "stddev")
KINDS = (
    "count",
    *_NUMBERS,
    *_EXTREMES,
    "first",
    "last",
    "collect",
    "distinct",
    "approx_distinct",
    "top_k",
    "arg_max",
    "arg_min",
)

_IDENTITY = {"time": pl.Int64(), "split": pl.Int64(), "position": pl.Int64()}


@final
class Kept:
    """One aggregation of a step, as columns keep it.

    Attributes:
        name: The output column.
        kind: Its kind.
        reads: The place of the input that it reads; None where it counts rows.
        by: The place of the input that it compares rows by; None where there is none.

    Raises:
        DefinitionError: If it is none that columns can keep.
    """

    __slots__ = ("_inputs", "_long", "_options", "by", "kind", "name", "reads")

    def __init__(self, name: str, aggregate: Aggregate[Any, Any], inputs: Inputs) -> None:
        _require(name, aggregate)
        self.name = name
        self.kind = aggregate.kind
        self.reads = None if aggregate.reads is None else inputs.add(aggregate.reads)
        self.by = None if aggregate.by is None else inputs.add(aggregate.by)
        self._options = aggregate.options
        self._inputs = inputs
        self._long: LongKind[Any] | None = None

    @property
    def what(self) -> str:
        """What it is called in messages."""
        return f"{self.kind} {self.name!r}"

    @property
    def form(self) -> Form:
        """As what its arrays take values."""
        return Form.RAW if self.kind in _EXTREMES else Form.NUMBER if self.kind == "sum" else Form.FLOAT

    @property
    def needs_counts(self) -> bool:
        """Whether its result depends on how many values there were."""
        return self.reads is not None and self.kind in ("count", *_COUNTED, *_EXTREMES)

    @property
    def has_values_type(self) -> bool:
        """Whether its result is one of the values, and so of their type."""
        return self.kind in _EXTREMES

    @property
    def dtype(self) -> pl.DataType:
        """The type of what it reads; Null while that is not known."""
        return pl.Null() if self.reads is None else self._inputs.dtypes[self.reads]

    @property
    def by_dtype(self) -> pl.DataType | None:
        """The type of what it compares rows by; Null while that is not known."""
        return None if self.by is None else self._inputs.dtypes[self.by]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its state columns."""
        if self.kind == "count":
            return ("n",)
        state = self._long_kind() or self.dense(0)
        assert state is not None
        return (*(("n",) if self.kind in _COUNTED else ()), *state.columns)

    def dense(self, capacity: int) -> DenseState | None:
        """Return the arrays that it keeps; None if it keeps none."""
        if self.kind == "count" or self._is_long:
            return None
        if self.kind == "sum":
            return Total(capacity, np_dtype(self.dtype, Form.NUMBER), self.what)
        if self.kind == "mean":
            return Mean(capacity)
        if self.kind in _EXTREMES:
            return Extreme(capacity, np_dtype(self.dtype, Form.RAW), is_max=self.kind == "max")
        return Spread(capacity, ddof=int(self._options.get("ddof", 1)), is_root=self.kind == "stddev")

    def long(self) -> LongState[Any] | None:
        """Return the long table that it keeps; None if it keeps none."""
        kind = self._long_kind()
        return None if kind is None else LongState(kind)

    def settle(self) -> None:
        """Take note that types are known, or known better.

        Raises:
            DataError: If they are none that it can aggregate.
        """
        self._long = None
        self._require_types()

    def value_types(self) -> dict[str, pl.DataType]:
        """Return the types of the state columns that hold values as they are read."""
        value, by = self.dtype, self.by_dtype
        fields = _IDENTITY | {"value": value} | ({} if by is None else {"by": by})
        types: dict[str, pl.DataType] = {"value": value, "values": pl.List(value), "items": pl.List(pl.Struct(fields))}
        if by is not None:
            types["by"] = by
        return {name: dtype for name, dtype in types.items() if name in self.columns}

    def learn(self, columns: Mapping[str, pl.DataType]) -> dict[int, pl.DataType]:
        """Return what state columns say of the types of inputs."""
        found: dict[int, pl.DataType] = {}
        items = columns.get("items")
        fields = (
            {f.name: f.dtype for f in items.inner.fields}
            if isinstance(items, pl.List) and isinstance(items.inner, pl.Struct)
            else columns
        )
        values = columns.get("values")
        said = {
            self.reads: values.inner if isinstance(values, pl.List) else fields.get("value"),
            self.by: fields.get("by"),
        }
        if self.kind == "sum" and self._options.get("exact"):
            said = {self.reads: columns.get("total")}
        for place, dtype in said.items():
            if place is not None and dtype is not None:
                found[place] = _instance(dtype)
        return found

    @property
    def _is_long(self) -> bool:
        if self.kind == "sum":
            return bool(self._options.get("exact")) and self.dtype.is_float()
        if self.kind in _EXTREMES:
            return not is_fixed_width(self.dtype)
        return self.kind not in ("count", *_COUNTED)

    def _long_kind(self) -> LongKind[Any] | None:
        if self._is_long and self._long is None:
            self._long = self._new_long_kind()
        return self._long

    def _new_long_kind(self) -> LongKind[Any]:
        assert self.reads is not None
        reads, dtype, options = self.reads, self.dtype, self._options
        by, by_dtype = self.by, self.by_dtype
        if by is not None and by_dtype is not None and self.kind != "top_k":
            return ArgExtreme(reads, by, dtype, by_dtype, is_max=self.kind == "arg_max")
        makers: dict[str, Callable[[], LongKind[Any]]] = {
            "first": lambda: First(reads, None, dtype, None),
            "last": lambda: Last(reads, None, dtype, None),
            "collect": lambda: Collect(reads, None, dtype, None),
            "top_k": lambda: TopK(reads, by, dtype, by_dtype, k=int(options["k"])),
            "min": lambda: LongExtreme(reads, dtype, is_max=False),
            "max": lambda: LongExtreme(reads, dtype, is_max=True),
            "distinct": lambda: Distinct(reads, dtype),
            "approx_distinct": lambda: ApproxDistinct(reads, int(options.get("p", 12))),
            "quantiles": lambda: Quantiles(
                reads, options["qs"], options.get("accuracy", 0.01), is_single=bool(options.get("is_single", False))
            ),
            "sum": lambda: ExactSum(reads),
        }
        return makers[self.kind]()

    def _require_types(self) -> None:
        if self.reads is not None and self.kind in _NUMBERS and not _is_number(self.dtype):
            raise self._wrong_type(
                self.reads, self.dtype, "whole or floating-point numbers of up to 64 bits", "cast it"
            )
        if self.reads is not None and self.kind == "approx_distinct" and not _is_hashed(self.dtype):
            raise self._wrong_type(self.reads, self.dtype, "numbers of up to 64 bits, texts, bytes or times", "cast it")
        compared = self.by if self.by is not None else self.reads if self.kind in _COMPARED else None
        if compared is not None:
            dtype = self._inputs.dtypes[compared]
            if dtype.is_nested() or dtype == pl.Object:
                raise self._wrong_type(compared, dtype, "values that can be compared", "read a field of it")

    def _wrong_type(self, place: int, dtype: pl.DataType, expected: str, remedy: str) -> DataError:
        return DataError(
            f"{self.what} needs {expected}, got {dtype} in {self._inputs.name(place)}", remedy=f"{remedy} before agg"
        )


@final
class Keeping:
    """The aggregations of a step.

    Attributes:
        inputs: What they read.
        kept: Each of them.
        counted: The inputs of which it matters how many values there were.
    """

    __slots__ = ("counted", "inputs", "kept")

    def __init__(self, aggregations: Mapping[str, Aggregate[Any, Any]]) -> None:
        if not aggregations:
            raise DefinitionError("a window needs at least one aggregation, such as n=agg.rows(), got none")
        self.inputs = Inputs()
        self.kept = [Kept(name, aggregate, self.inputs) for name, aggregate in aggregations.items()]
        self.counted = sorted({k.reads for k in self.kept if k.needs_counts and k.reads is not None})

    def dense(self, capacity: int) -> list[DenseState | None]:
        """Return new arrays."""
        return [kept.dense(capacity) for kept in self.kept]

    def long(self) -> list[LongState[Any] | None]:
        """Return new long tables."""
        return [kept.long() for kept in self.kept]

    def settle(self, dtypes: list[pl.DataType]) -> None:
        """Take the types of the inputs.

        Raises:
            DataError: If an aggregation cannot take one.
        """
        self.inputs.dtypes = dtypes
        for kept in self.kept:
            kept.settle()


def _require(name: str, aggregate: object) -> None:
    if not isinstance(aggregate, Aggregate):
        raise DefinitionError(
            f"{name!r} must be one of streamflow's aggregations, got {aggregate!r}",
            remedy="start from a column, agg.col('x').sum(); for an Aggregation of your own, use a stream",
        )
    if aggregate.kind not in KINDS:
        raise DefinitionError(f"{name!r}: expected an aggregation of kind {', '.join(KINDS)}, got {aggregate.kind!r}")
    needs_by = aggregate.kind in ("arg_max", "arg_min")
    for said, what, needed in (
        (aggregate.reads, "reads", aggregate.kind != "count"),
        (aggregate.by, "compares by", needs_by),
    ):
        if (said is not None or needed) and not isinstance(said, pl.Expr):
            raise DefinitionError(
                f"{aggregate.kind} {name!r} {what} {said!r}, and a table has columns",
                remedy=f"start from a column: agg.col('x').{aggregate.kind}(...)",
            )


def _is_number(dtype: pl.DataType) -> bool:
    return (dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128)) or dtype.is_float() or dtype == pl.Null


def _is_hashed(dtype: pl.DataType) -> bool:
    wide = dtype.is_nested() or isinstance(dtype, pl.Decimal | pl.Int128 | pl.UInt128 | pl.Object)
    return not wide


def _instance(dtype: Any) -> pl.DataType:
    """Return a type as an instance; inside of others polars may name its class."""
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance
