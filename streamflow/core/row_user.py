"""A user's ``Aggregation`` in the row layout.

A fold that raises leaves its key as it was, unless it changed a mutable state in place before it raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, final

import msgspec
import polars as pl

from streamflow.core.aggregation import Aggregation
from streamflow.core.row_accumulators import Accumulator, States
from streamflow.core.row_reading import Column, Reading
from streamflow.core.values import decode_value, encode_value
from streamflow.errors import CheckpointError, DataError


@final
class _Users(Accumulator[Any]):
    __slots__ = ("_aggregation",)

    is_users = True

    def __init__(self, aggregation: Aggregation[Any, Any, Any]) -> None:
        super().__init__(aggregation.name)
        self._aggregation = aggregation

    def read(self, reading: Reading) -> Column:
        return Column(reading.values)

    def new(self) -> Any:
        return self._aggregation.init()

    def step(self, state: Any, value: Any) -> Any:
        return self._aggregation.fold(state, value)

    def try_fold(self, states: States[Any], keys: Sequence[Any], values: Sequence[Any]) -> list[tuple[int, Exception]]:
        get, fold, init = states.get, self._aggregation.fold, self._aggregation.init
        failed: list[tuple[int, Exception]] = []
        rows = zip(range(len(keys)), keys, values, strict=True)
        place = 0
        while True:
            try:
                for place, key, value in rows:  # noqa: B007  # the handler uses it
                    state = get(key, _MISSING)
                    states[key] = fold(init() if state is _MISSING else state, value)
            except Exception as error:  # noqa: BLE001  # whatever a user's function raises is the row's fault, and is kept
                failed.append((place, error))
            else:
                return failed

    def try_each(
        self, states: States[Any], keys: Sequence[Any], values: Sequence[Any]
    ) -> tuple[list[Any], list[tuple[int, Exception]]]:
        get, fold, init, peek = states.get, self._aggregation.fold, self._aggregation.init, self.peek
        seen: list[Any] = []
        failed: list[tuple[int, Exception]] = []
        for place, (key, value) in enumerate(zip(keys, values, strict=True)):
            state = get(key, _MISSING)
            try:
                states[key] = state = fold(init() if state is _MISSING else state, value)
            except Exception as error:  # noqa: BLE001  # as above
                failed.append((place, error))
            else:
                seen.append(peek(state))
        return seen, failed

    def merge(self, state: Any, other: Any) -> Any:
        return self._aggregation.merge(state, own(other))

    def copy(self, state: Any) -> Any:
        return own(state)

    def peek(self, state: Any) -> Any:
        # A result may be the state itself, or hold it, and the next row may change it in place.
        return self._aggregation.result(own(state))

    def export(self, states: list[Any]) -> dict[str, pl.Series]:
        encode: Callable[[Any], bytes] = encode_value if self._aggregation.state is None else msgspec.msgpack.encode
        try:
            encoded = list(map(encode, states))
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"a state of {self.what} cannot be put into a checkpoint: {error}",
                remedy="keep it to scalars, tuples, lists and dicts, or name its type: Aggregation(..., state=MyState)",
            ) from error
        return {"state": pl.Series(encoded, dtype=pl.Binary)}

    def load(self, columns: dict[str, pl.Series]) -> list[Any]:
        encoded, state = columns["state"].to_list(), self._aggregation.state
        if state is None:
            return list(map(decode_value, encoded))
        try:
            return list(map(msgspec.msgpack.Decoder(state).decode, encoded))
        except msgspec.MsgspecError as error:
            raise CheckpointError(f"a stored state of {self.what} is not a {state!r}: {error}") from error


_MISSING = object()
_FROZEN = frozenset({int, float, str, bytes, bool, type(None)})


def user_accumulator(aggregation: Aggregation[Any, Any, Any]) -> Accumulator[Any]:
    """Return the accumulator of a user's ``Aggregation``."""
    return _Users(aggregation)


def own(state: Any) -> Any:
    """Return a state of the user's that shares with the one given nothing that could be changed."""
    kind = type(state)
    if kind in _FROZEN or (kind is tuple and all(map(_is_frozen, state))):
        return state
    if kind in (list, set) and _FROZEN.issuperset(map(type, state)):
        return state.copy()
    if kind is dict and _FROZEN.issuperset(map(type, state.values())):
        return state.copy()
    return deepcopy(state)


def _is_frozen(state: Any) -> bool:
    return type(state) in _FROZEN or (type(state) is tuple and all(map(_is_frozen, state)))
