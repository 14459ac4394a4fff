"""Accumulators that keep what there was, not what it came to: the distinct values, exactly or roughly, and quantiles.

The arithmetic of the sketches is in ``hyperloglog`` and ``ddsketch``; a batch is hashed, or put into buckets, whole.
Merging them is exact, so no cut or order of rows changes a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, final

import numpy as np
import polars as pl

from streamflow.core import ddsketch, hyperloglog
from streamflow.core.aggregation import Aggregate
from streamflow.core.row_accumulators import Accumulator, States, is_nan_free
from streamflow.core.row_reading import Column, Reading
from streamflow.core.row_types import ValueType
from streamflow.core.row_values import ValueColumn, chained, flatten, nest, regroup
from streamflow.errors import CheckpointError


@final
class _Distinct(Accumulator[set[Any]]):
    """The distinct values that are not None; NaN is one of them."""

    __slots__ = ("_column", "_reads", "_type")

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__("distinct")
        self._reads = aggregate.reads
        self._type = ValueType(self.what, takes_tuples=True)
        self._column = ValueColumn()

    def read(self, reading: Reading) -> Column:
        column = self._type.read(reading, reading.apply(self._reads, self.what))
        if self._type.is_number and not (column.is_clean and is_nan_free(column.values)):
            column.values = _one_nan(column.values)
        return column

    def new(self) -> set[Any]:
        return set()

    def step(self, state: set[Any], value: Any) -> set[Any]:
        if value is not None:
            state.add(value)
        return state

    def fold(self, states: States[set[Any]], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool) -> None:
        get = states.get
        for key, value in zip(keys, values, strict=True):
            state = get(key)
            if state is None:
                states[key] = set() if value is None else {value}
            elif value is not None:
                state.add(value)

    def merge(self, state: set[Any], other: set[Any]) -> set[Any]:
        state |= other
        return state

    def copy(self, state: set[Any]) -> set[Any]:
        return state.copy()

    def peek(self, state: set[Any]) -> int:
        return len(state)

    def export(self, states: list[set[Any]]) -> dict[str, pl.Series]:
        lengths = list(map(len, states))
        native, packed = self._column.encode(chained(states))
        return {"values": nest(native, lengths), "packed": nest(packed, lengths)}

    def load(self, columns: dict[str, pl.Series]) -> list[set[Any]]:
        flat, lengths = flatten(columns["values"])
        packed = columns.get("packed")
        values = _one_nan(self._column.decode(flat, None if packed is None else flatten(packed)[0]))
        self._type.learn(values)
        return [set(items) for items in regroup(values, lengths)]


Sparse = dict[int, int]
"""The registers that are not zero, while they are few."""


@final
class _ApproxDistinct(Accumulator[Sparse | bytearray]):
    """HyperLogLog registers: those that are not zero in a dict, until all of them in 2**p bytes take less room."""

    __slots__ = ("_few", "_p", "_reads", "_type")

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__("approx_distinct")
        self._reads = aggregate.reads
        self._p = hyperloglog.require_p(aggregate.options.get("p", 12))
        self._few = (1 << self._p) // 64  # an entry of a dict takes some 40 to 100 bytes
        self._type = ValueType(self.what)

    def read(self, reading: Reading) -> Column:
        column = self._type.read(reading, reading.apply(self._reads, self.what))
        values = column.values
        present = values if column.is_clean else [value for value in values if value is not None]
        registers, ranks = hyperloglog.ranks(self._hashes(present), self._p)
        pairs = zip(registers.tolist(), ranks.tolist(), strict=True)
        if column.is_clean:
            return Column(list(pairs))
        return Column([None if value is None else next(pairs) for value in values], is_clean=False)

    def new(self) -> Sparse | bytearray:
        return {}

    def step(self, state: Sparse | bytearray, value: tuple[int, int] | None) -> Sparse | bytearray:
        if value is None:
            return state
        register, rank = value
        if isinstance(state, bytearray):
            state[register] = max(rank, state[register])
            return state
        state[register] = max(rank, state.get(register, 0))
        return state if len(state) <= self._few else self._dense(state)

    def fold(self, states: States[Any], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool) -> None:
        if not is_clean:
            super().fold(states, keys, values, is_clean=False)
            return
        get, few = states.get, self._few
        for key, (register, rank) in zip(keys, values, strict=True):
            state = get(key)
            if state is None:
                states[key] = {register: rank}
            elif type(state) is bytearray:
                state[register] = rank if rank > state[register] else state[register]  # noqa: FURB136  # max() takes twice as long
            elif rank > state.get(register, 0):
                state[register] = rank
                if len(state) > few:
                    states[key] = self._dense(state)

    def merge(self, state: Sparse | bytearray, other: Sparse | bytearray) -> Sparse | bytearray:
        if isinstance(other, dict):
            for value in other.items():
                state = self.step(state, value)
            return state
        if isinstance(state, dict):
            return self.merge(other.copy(), state)
        return bytearray(np.maximum(np.frombuffer(state, np.uint8), np.frombuffer(other, np.uint8)).tobytes())

    def copy(self, state: Sparse | bytearray) -> Sparse | bytearray:
        return state.copy()

    def peek(self, state: Sparse | bytearray) -> bytes:
        """Return the ranks; zeros may be left out."""
        return bytes(state.values() if isinstance(state, dict) else state)

    def finish(self, peeked: list[Any]) -> list[Any]:
        lengths = np.fromiter(map(len, peeked), dtype=np.int64, count=len(peeked))
        ranks = np.frombuffer(b"".join(peeked), dtype=np.uint8)
        counts = hyperloglog.histograms(np.repeat(np.arange(len(peeked)), lengths), ranks, len(peeked), self._p)
        estimates: list[Any] = hyperloglog.estimate(counts).tolist()
        return estimates

    def export(self, states: list[Sparse | bytearray]) -> dict[str, pl.Series]:
        return {"registers": pl.Series([bytes(self._dense(state)) for state in states], dtype=pl.Binary)}

    def load(self, columns: dict[str, pl.Series]) -> list[Sparse | bytearray]:
        return [self._loaded(registers) for registers in columns["registers"].to_list()]

    def _loaded(self, registers: bytes) -> Sparse | bytearray:
        if len(registers) != 1 << self._p:
            raise CheckpointError(
                f"approx_distinct was stored with {len(registers)} registers, and has {1 << self._p} now",
                remedy="keep p as it was, or start afresh with a new generation",
            )
        if len(registers) - registers.count(0) > self._few:
            return bytearray(registers)
        return {register: rank for register, rank in enumerate(registers) if rank}

    def _dense(self, state: Sparse | bytearray) -> bytearray:
        if isinstance(state, bytearray):
            return state
        dense = bytearray(1 << self._p)
        for register, rank in state.items():
            dense[register] = rank
        return dense

    def _hashes(self, values: list[Any]) -> hyperloglog.U64:
        types = set(map(type, values))
        if types <= {int}:
            return hyperloglog.hash_integers(np.array(values, dtype=np.int64))
        if types == {float}:
            return hyperloglog.hash_floats(np.array(values, dtype=np.float64))
        if types == {str}:
            return hyperloglog.hash_texts(values)
        if types == {int, float}:
            # A whole float hashes as the int it equals, so the two are hashed apart and put back in order.
            parts = [[value for value in values if type(value) is type_] for type_ in (int, float)]
            hashes = np.empty(len(values), dtype=np.uint64)
            is_int = np.array([type(value) is int for value in values])
            hashes[is_int], hashes[~is_int] = map(self._hashes, parts)
            return hashes
        return hyperloglog.hash_values(self._type.series(values))


@final
class _Quantiles(Accumulator[dict[int, int]]):
    """DDSketch: the number of values in each bucket.  None and NaN are passed over."""

    __slots__ = ("_accuracy", "_is_single", "_qs", "_reads")

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__("quantiles")
        self._reads = aggregate.reads
        self._qs = tuple(aggregate.options["qs"])
        self._accuracy = ddsketch.require_accuracy(aggregate.options.get("accuracy", 0.01))
        self._is_single = bool(aggregate.options.get("is_single", False))

    def read(self, reading: Reading) -> Column:
        column = reading.numbers(reading.apply(self._reads, self.what), self.what)
        numbers = np.array(column.values, dtype=np.float64)  # None becomes NaN
        is_missing = np.isnan(numbers)
        if not is_missing.any():
            return Column(ddsketch.buckets(numbers, self._accuracy).tolist())
        found = ddsketch.buckets(np.where(is_missing, 0.0, numbers), self._accuracy).tolist()
        return Column(
            [None if skip else bucket for bucket, skip in zip(found, is_missing.tolist(), strict=True)], is_clean=False
        )

    def new(self) -> dict[int, int]:
        return {}

    def step(self, state: dict[int, int], value: int | None) -> dict[int, int]:
        if value is not None:
            state[value] = state.get(value, 0) + 1
        return state

    def fold(self, states: States[Any], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool) -> None:
        if not is_clean:
            super().fold(states, keys, values, is_clean=False)
            return
        get = states.get
        for key, value in zip(keys, values, strict=True):
            state = get(key)
            if state is None:
                states[key] = {value: 1}
            else:
                state[value] = state.get(value, 0) + 1

    def merge(self, state: dict[int, int], other: dict[int, int]) -> dict[int, int]:
        for bucket, n in other.items():
            state[bucket] = state.get(bucket, 0) + n
        return state

    def copy(self, state: dict[int, int]) -> dict[int, int]:
        return state.copy()

    def peek(self, state: dict[int, int]) -> list[tuple[int, int]]:
        return sorted(state.items())

    def finish(self, peeked: list[Any]) -> list[Any]:
        lengths = np.fromiter(map(len, peeked), dtype=np.int64, count=len(peeked))
        is_filled = lengths > 0
        entries = np.array(chained(peeked), dtype=np.int64).reshape(-1, 2)
        sketch = np.repeat(np.arange(int(is_filled.sum())), lengths[is_filled])
        found = ddsketch.quantiles(sketch, entries[:, 0], entries[:, 1], self._qs, self._accuracy).tolist()
        rows = iter(found)
        results = [next(rows) if filled else [None] * len(self._qs) for filled in is_filled.tolist()]
        return list(map(itemgetter(0), results)) if self._is_single else results

    def export(self, states: list[dict[int, int]]) -> dict[str, pl.Series]:
        entries = chained(map(self.peek, states))
        fields = {
            "bucket": pl.Series([bucket for bucket, _ in entries], dtype=pl.Int32),
            "n": pl.Series([n for _, n in entries], dtype=pl.Int64),
        }
        return {"buckets": nest(pl.DataFrame(fields).to_struct(), list(map(len, states)))}

    def load(self, columns: dict[str, pl.Series]) -> list[dict[int, int]]:
        flat, lengths = flatten(columns["buckets"])
        return [dict(entries) for entries in regroup(flat.struct.unnest().iter_rows(), lengths)]


_NAN = float("nan")


def _one_nan(values: list[Any]) -> list[Any]:
    """Return the values with one object for every NaN: a set tells them apart by identity."""
    return [_NAN if value != value else value for value in values]


SKETCHES: Mapping[str, Callable[[Aggregate[Any, Any]], Accumulator[Any]]] = {
    "distinct": _Distinct,
    "approx_distinct": _ApproxDistinct,
    "quantiles": _Quantiles,
}
"""What builds the accumulator of each kind here."""
