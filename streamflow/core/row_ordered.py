"""Accumulators that depend on the order of rows: by event time, then identity; or by what is compared, ties by that.

What a row brings is a tuple with its identity; a state is such a tuple, or a list of them.  So folding compares and
keeps, and makes nothing.  Rows of one identity (derived from one row) keep the order in which they arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, final

import polars as pl

from streamflow.core.aggregation import Aggregate
from streamflow.core.row_accumulators import Accumulator, States
from streamflow.core.row_reading import Column, Identity, Reading
from streamflow.core.row_types import ValueType
from streamflow.core.row_values import ValueColumn, chained, flatten, nest, regroup

Item = tuple[Identity, Any]
Ranked = tuple[Any, Identity, Any]
"""What is compared, the row's identity, and the value."""

_by_identity = itemgetter(-2)
_by_rank = itemgetter(0)


@final
class _EndOfOrder(Accumulator[Item | None]):
    """The value of the first or last row, be it None."""

    __slots__ = ("_column", "_is_last", "_reads")

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__(aggregate.kind)
        self._reads = aggregate.reads
        self._is_last = aggregate.kind == "last"
        self._column = ValueColumn()

    def read(self, reading: Reading) -> Column:
        return Column(list(zip(reading.identities, reading.apply(self._reads, self.what), strict=True)))

    def new(self) -> None:
        return None

    def step(self, state: Item | None, value: Item) -> Item:
        if state is None or (value[0] >= state[0] if self._is_last else value[0] < state[0]):
            return value
        return state

    def fold(self, states: States[Item | None], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool) -> None:
        get = states.get
        if self._is_last:
            for key, value in zip(keys, values, strict=True):
                state = get(key)
                if state is None or value[0] >= state[0]:
                    states[key] = value
        else:
            for key, value in zip(keys, values, strict=True):
                state = get(key)
                if state is None or value[0] < state[0]:
                    states[key] = value

    def each(self, states: States[Item | None], keys: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        get, step, seen = states.get, self.step, list[Any]()
        append = seen.append
        for key, value in zip(keys, values, strict=True):
            states[key] = state = step(get(key), value)
            append(state[1])
        return seen

    def merge(self, state: Item | None, other: Item | None) -> Item | None:
        return state if other is None else self.step(state, other)

    def peek(self, state: Item | None) -> Any:
        return None if state is None else state[1]

    def export(self, states: list[Item | None]) -> dict[str, pl.Series]:
        items = [state or (_NOBODY, None) for state in states]
        native, packed = self._column.encode([value for _, value in items])
        return {"value": native, "packed": packed} | identity_columns([identity for identity, _ in items])

    def load(self, columns: dict[str, pl.Series]) -> list[Item | None]:
        values = self._column.decode(columns["value"], columns.get("packed"))
        return list(zip(identities_of(columns), values, strict=True))


@final
class _ArgExtreme(Accumulator[Ranked | None]):
    """The value of the row with the largest or smallest ``by``; of equals, the earliest."""

    __slots__ = ("_by", "_column", "_is_max", "_reads", "_type")

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__(aggregate.kind)
        self._reads, self._by = aggregate.reads, aggregate.by
        self._is_max = aggregate.kind == "arg_max"
        self._type = ValueType(self.what)
        self._column = ValueColumn()

    def read(self, reading: Reading) -> Column:
        return ranked(reading, self._type, self._by, reading.apply(self._reads, self.what), self.what)

    def new(self) -> None:
        return None

    def step(self, state: Ranked | None, value: Ranked | None) -> Ranked | None:
        if state is None or value is None:
            return value if state is None else state
        by, best = value[0], state[0]
        if by == best:
            return value if value[1] < state[1] else state
        return value if (by > best) is self._is_max else state

    def merge(self, state: Ranked | None, other: Ranked | None) -> Ranked | None:
        return self.step(state, other)

    def peek(self, state: Ranked | None) -> Any:
        return None if state is None else state[2]

    def export(self, states: list[Ranked | None]) -> dict[str, pl.Series]:
        items = [state or (None, None, None) for state in states]
        native, packed = self._column.encode([value for _, _, value in items])
        by = self._type.series([by for by, _, _ in items])
        return {"value": native, "packed": packed, "by": by} | identity_columns([identity for _, identity, _ in items])

    def load(self, columns: dict[str, pl.Series]) -> list[Ranked | None]:
        values = self._column.decode(columns["value"], columns.get("packed"))
        bys = columns["by"].to_list()
        self._type.learn(bys)
        items = zip(bys, identities_of(columns), values, strict=True)
        return [None if item[0] is None else item for item in items]


class _Items(Accumulator[list[Any]]):
    """A list of rows; its columns are ``items``, and ``packed`` for the values that those cannot hold."""

    __slots__ = ("_column",)

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self._column = ValueColumn()

    def new(self) -> list[Any]:
        return []

    def copy(self, state: list[Any]) -> list[Any]:
        return state.copy()

    def peek(self, state: list[Any]) -> list[Any]:
        return [item[-1] for item in state]

    def export(self, states: list[list[Any]]) -> dict[str, pl.Series]:
        lengths = list(map(len, states))
        items = chained(states)
        native, packed = self._column.encode([item[-1] for item in items])
        fields = identity_columns([item[-2] for item in items]) | {"value": native} | self._extra(items)
        return {"items": nest(pl.DataFrame(fields).to_struct(), lengths), "packed": nest(packed, lengths)}

    def _extra(self, items: list[Any]) -> dict[str, pl.Series]:
        return {}

    def _loaded(self, columns: dict[str, pl.Series]) -> tuple[dict[str, pl.Series], list[Any], list[int]]:
        """Return the fields of all items, their values, and how many items each state has."""
        flat, lengths = flatten(columns["items"])
        fields = {field.name: field for field in flat.struct.unnest().get_columns()}
        packed = columns.get("packed")
        return fields, self._column.decode(fields["value"], _flat_packed(packed, lengths)), lengths


def _flat_packed(packed: pl.Series | None, lengths: list[int]) -> pl.Series | None:
    """Return what is packed of all items; nothing of states that the column layout wrote."""
    if packed is None:
        return None
    if not packed.null_count():
        return flatten(packed)[0]
    lists = [[None] * n if items is None else items for items, n in zip(packed.to_list(), lengths, strict=True)]
    return pl.Series([raw for items in lists for raw in items], dtype=pl.Binary)


@final
class _Collect(_Items):
    """All values, by event time, then identity."""

    __slots__ = ("_reads",)

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__("collect")
        self._reads = aggregate.reads

    def read(self, reading: Reading) -> Column:
        return Column(list(zip(reading.identities, reading.apply(self._reads, self.what), strict=True)))

    def step(self, state: list[Item], value: Item) -> list[Item]:
        state.append(value)
        return state

    def fold(self, states: States[list[Item]], keys: Sequence[Any], values: Sequence[Any], *, is_clean: bool) -> None:
        get = states.get
        for key, value in zip(keys, values, strict=True):
            state = get(key)
            if state is None:
                states[key] = [value]
            else:
                state.append(value)

    def merge(self, state: list[Item], other: list[Item]) -> list[Item]:
        state.extend(other)
        return state

    def peek(self, state: list[Item]) -> list[Any]:
        return [value for _, value in sorted(state, key=_by_identity)]

    def load(self, columns: dict[str, pl.Series]) -> list[list[Item]]:
        fields, values, lengths = self._loaded(columns)
        return regroup(zip(identities_of(fields), values, strict=True), lengths)


@final
class _TopK(_Items):
    """The ``k`` largest values, or those of the rows with the largest ``by``; of equals, the earliest first."""

    __slots__ = ("_by", "_k", "_reads", "_type")

    def __init__(self, aggregate: Aggregate[Any, Any]) -> None:
        super().__init__("top_k")
        self._reads, self._by = aggregate.reads, aggregate.by
        self._k = int(aggregate.options["k"])
        self._type = ValueType(self.what)

    def read(self, reading: Reading) -> Column:
        if self._by is not None:
            return ranked(reading, self._type, self._by, reading.apply(self._reads, self.what), self.what)
        return ranked(reading, self._type, self._reads, None, self.what)

    def step(self, state: list[Ranked], value: Ranked | None) -> list[Ranked]:
        if value is None:
            return state
        if len(state) == self._k and not _is_before(value, state[-1]):
            return state
        state.append(value)
        return self._ranked(state)

    def merge(self, state: list[Ranked], other: list[Ranked]) -> list[Ranked]:
        state.extend(other)
        return self._ranked(state)

    def _ranked(self, state: list[Ranked]) -> list[Ranked]:
        # Sorting keeps equals in order, so the second sort breaks its ties by the first.
        state.sort(key=_by_identity)
        state.sort(key=_by_rank, reverse=True)
        del state[self._k :]
        return state

    def _extra(self, items: list[Ranked]) -> dict[str, pl.Series]:
        return {} if self._by is None else {"by": self._type.series([by for by, _, _ in items])}

    def load(self, columns: dict[str, pl.Series]) -> list[list[Ranked]]:
        fields, values, lengths = self._loaded(columns)
        bys = values if self._by is None else fields["by"].to_list()
        self._type.learn(bys)
        return [self._ranked(items) for items in regroup(zip(bys, identities_of(fields), values, strict=True), lengths)]


def ranked(reading: Reading, type_: ValueType, by: Any, values: list[Any] | None, what: str) -> Column:
    """Return ``(by, identity, value)`` for each row, None where ``by`` is None or NaN; without values, ``by`` is it."""
    bys = type_.read(reading, reading.apply(by, what)).values
    rows = zip(bys, reading.identities, bys if values is None else values, strict=True)
    return Column([row if row[0] is not None and row[0] == row[0] else None for row in rows])


def _is_before(value: Ranked, other: Ranked) -> bool:
    return bool(value[0] > other[0] or (value[0] == other[0] and value[1] < other[1]))


_NOBODY: Identity = (0, 0, 0)
_PARTS = ("time", "split", "position")


def identity_columns(identities: Sequence[Identity | None]) -> dict[str, pl.Series]:
    """Return identities as three columns; null for None."""
    return {
        name: pl.Series(name, [None if i is None else i[place] for i in identities], dtype=pl.Int64)
        for place, name in enumerate(_PARTS)
    }


def identities_of(columns: dict[str, pl.Series]) -> list[Identity]:
    """Return the identities that three columns hold."""
    return list(zip(*(columns[name].to_list() for name in _PARTS), strict=True))


ORDERED: Mapping[str, Callable[[Aggregate[Any, Any]], Accumulator[Any]]] = {
    "first": _EndOfOrder,
    "last": _EndOfOrder,
    "arg_max": _ArgExtreme,
    "arg_min": _ArgExtreme,
    "collect": _Collect,
    "top_k": _TopK,
}
"""What builds the accumulator of each kind here."""
