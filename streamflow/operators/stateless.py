"""Steps that look at one row at a time: map, filter, flat_map, key_by, map_batch.

Rows go through a function, columns through an expression.

A function that fails on a row does not lose the rows around it: the row goes where ``on_error`` says, and no row is
evaluated twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import polars as pl

from streamflow.core.batch import Batch
from streamflow.core.columns import Columns
from streamflow.core.connector import Refused
from streamflow.core.element import MAIN, Output
from streamflow.core.keys import require_key
from streamflow.core.operator import Stateless
from streamflow.core.rows import Rows
from streamflow.core.stamps import DELETE, UPSERT
from streamflow.errors import DataError
from streamflow.operators.refusal import Refusal, refuse, refused_mask

_FAILED = object()


def apply(function: Callable[[Any], Any], values: Sequence[Any]) -> tuple[list[Any], list[Refused]]:
    """Return ``function`` of each value, and the rows on which it failed, whose place in the list means nothing.

    ``list.extend`` keeps what it has taken when the iterator raises, so the failing row is the next one: there is no
    cost per row for knowing it, and no second call.
    """
    out: list[Any] = []
    refused: list[Refused] = []
    source = iter(values)
    while True:
        try:
            out.extend(map(function, source))
        except Exception as error:  # noqa: BLE001  # the user's function may raise anything; the policy decides
            row = len(out)
            refused.append(refuse(row, error, values[row]))
            out.append(_FAILED)
        else:
            if len(out) == len(values):
                return out, refused
            row = len(out)
            stopped = StopIteration("the function raised StopIteration")
            refused.append(refuse(row, stopped, values[row]))
            out.append(_FAILED)


@final
class Map(Stateless):
    """One value out for each value in."""

    def __init__(self, function: Callable[[Any], Any], refusal: Refusal) -> None:
        super().__init__()
        self._function = function
        self._refusal = refusal

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the mapped rows under the same keys."""
        rows = _rows(batch)
        values, refused = apply(self._function, rows.values)
        return _settle(self, self._refusal, rows, rows.with_values(values), refused)


@final
class KeyBy(Stateless):
    """The same values under new keys."""

    def __init__(self, function: Callable[[Any], Any], refusal: Refusal) -> None:
        super().__init__()
        self._function = function
        self._refusal = refusal
        self._checked: set[type] = set()

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the rows under the keys that the function gives.

        A key must be of one type (R7): a row with another one than the first is refused.
        """
        rows = _rows(batch)
        keys, refused = apply(self._function, rows.values)
        if not set(map(type, keys)) <= self._checked:
            failed = {r.row for r in refused}
            for row, key in enumerate(keys):
                if type(key) in self._checked or row in failed:
                    continue
                try:
                    self._admit(key)
                except DataError as error:
                    refused.append(refuse(row, error, rows.values[row]))
        return _settle(self, self._refusal, rows, rows.with_keys(keys), refused)

    def _admit(self, key: object) -> None:
        require_key(key)
        known = {t for t in self._checked if t is not type(None)}
        if known and key is not None:
            raise DataError(
                f"the keys of a step have one type, here {', '.join(t.__name__ for t in known)};"
                f" got {type(key).__name__} {key!r}"
            )
        self._checked.add(type(key))


@final
class FlatMap(Stateless):
    """Any number of values out for each value in; they share its identity and its times."""

    def __init__(self, function: Callable[[Any], Iterable[Any]], refusal: Refusal) -> None:
        super().__init__()
        self._function = lambda value: list(function(value))
        self._refusal = refusal

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the values of all rows, in order."""
        rows = _rows(batch)
        lists, refused = apply(self._function, rows.values)
        for r in refused:
            lists[r.row] = ()
        counts = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        values = [value for values in lists for value in values]
        keys = (
            None
            if rows.keys is None
            else [k for k, n in zip(rows.keys, counts.tolist(), strict=True) for _ in range(n)]
        )
        out = self._refusal.settle(refused, batch, self.ledger)
        self.ledger.rows_in += len(rows)
        self.ledger.used += len(rows) - len(refused)
        self.ledger.rows_out += len(values)
        return [*out, (MAIN, Rows(rows.stamps.repeat(counts), values, keys))] if values else out


@final
class MapBatch(Stateless):
    """One list out for one list in: for a function that is fast on many rows at once.

    The function must treat each row for itself, since where a batch is cut is not part of the result.
    """

    def __init__(self, function: Callable[[list[Any]], Sequence[Any]], refusal: Refusal) -> None:
        super().__init__()
        self._function = function
        self._refusal = refusal

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return what the function makes of the batch, one value a row.

        A batch on which it fails is tried again row by row, to find the rows that fail.
        """
        rows = _rows(batch)
        refused: list[Refused] = []
        try:
            values = self._call(rows.values)
        except Exception:  # noqa: BLE001  # the user's function may raise anything; found again row by row
            values, refused = apply(lambda value: self._call([value])[0], rows.values)
        return _settle(self, self._refusal, rows, rows.with_values(values), refused)

    def _call(self, values: list[Any]) -> list[Any]:
        result = list(self._function(values))
        if len(result) != len(values):
            raise DataError(
                f"map_batch must return one value a row, got {len(result)} for {len(values)}",
                remedy="use flat_map where a row may give none or several",
            )
        return result


@final
class Filter(Stateless):
    """The rows for which a function is true; on an upsert edge, a row that stops matching deletes what its key says."""

    def __init__(self, predicate: Callable[[Any], Any], refusal: Refusal) -> None:
        super().__init__()
        self._predicate = predicate
        self._refusal = refusal

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the rows that match."""
        rows = _rows(batch)
        matches, refused = apply(self._predicate, rows.values)
        out = self._refusal.settle(refused, batch, self.ledger)
        mask = np.fromiter(map(bool, matches), dtype=bool, count=len(rows))
        bad = refused_mask(refused, len(rows)) if refused else None
        return [*out, *_keep(self, rows, mask, bad)]


@final
class Where(Stateless):
    """The rows of a frame for which an expression is true; null is not true."""

    def __init__(self, predicate: pl.Expr) -> None:
        super().__init__()
        self._predicate = predicate

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the rows that match."""
        frame = _frame(batch)
        matches = frame.select(self._predicate.alias("match")).get_column("match")
        if matches.null_count():
            matches = matches.fill_null(value=False)
        return _keep(self, batch, matches.to_numpy(), None)


@final
class Project(Stateless):
    """Other columns, computed row by row by expressions; ``select`` replaces, ``with_columns`` adds."""

    def __init__(self, expressions: Sequence[pl.Expr], key: tuple[str, ...], *, replace: bool) -> None:
        super().__init__()
        self._expressions = list(expressions)
        self._key = key
        self._replace = replace

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the new frame beside the same stamps."""
        frame = _frame(batch)
        made = frame.select(self._expressions) if self._replace else frame.with_columns(self._expressions)
        _count_through(self, len(batch))
        return [(MAIN, Columns(batch.stamps, made, self._key))]


@final
class Changes(Stateless):
    """The raw change rows of an upsert edge, as an append edge: each refresh is a row of its own.

    Deletes are left out.
    """

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the rows that set something."""
        if batch.stamps.kind is None:
            _count_through(self, len(batch))
            return [(MAIN, batch)]
        kept = batch.take(batch.stamps.kind == UPSERT)
        self.ledger.rows_in += len(batch)
        self.ledger.used += len(kept)
        self.ledger.filtered += len(batch) - len(kept)
        self.ledger.rows_out += len(kept)
        return [(MAIN, kept.with_stamps(kept.stamps.with_kind(None)))] if len(kept) else []


@final
class Branch(Stateless):
    """Each row leaves by the way whose predicate it matches first, or by the last way where it matches none."""

    def __init__(self, ways: Sequence[tuple[str, Callable[[Any], Any]]], refusal: Refusal) -> None:
        super().__init__()
        self._ways = list(ways)
        self._refusal = refusal

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the rows by their ways; each row keeps its order within its way."""
        rows = _rows(batch)
        names = [name for name, _ in self._ways]
        ways, refused = apply(self._way, rows.values)
        for r in refused:
            ways[r.row] = len(names) + 1
        taken = np.fromiter(ways, dtype=np.int64, count=len(rows))
        out = self._refusal.settle(refused, batch, self.ledger)
        self.ledger.rows_in += len(rows)
        self.ledger.used += len(rows) - len(refused)
        for i, name in enumerate([*names, MAIN]):
            mine = rows.take(taken == i)
            if len(mine):
                self.ledger.rows_out += len(mine)
                out.append((name, mine))
        return out

    def _way(self, value: Any) -> int:
        for i, (_, predicate) in enumerate(self._ways):
            if predicate(value):
                return i
        return len(self._ways)


@final
class Union(Stateless):
    """The rows of several inputs; the engine merges their watermarks."""

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Return the rows as they come."""
        _count_through(self, len(batch))
        return [(MAIN, batch)]


def _settle(step: Stateless, refusal: Refusal, before: Rows, after: Rows, refused: Sequence[Refused]) -> list[Output]:
    out = refusal.settle(refused, before, step.ledger)
    if refused:
        after = after.take(~refused_mask(refused, len(before)))
    step.ledger.rows_in += len(before)
    step.ledger.used += len(after)
    step.ledger.rows_out += len(after)
    return [*out, (MAIN, after)] if len(after) else out


def _keep(
    step: Stateless,
    batch: Batch,
    mask: np.ndarray[Any, np.dtype[np.bool_]],
    bad: np.ndarray[Any, np.dtype[np.bool_]] | None,
) -> list[Output]:
    """Return the rows that match; on an upsert edge those that do not as deletes of their keys."""
    wanted = mask if bad is None else mask & ~bad
    used = int(np.count_nonzero(wanted))
    step.ledger.rows_in += len(batch)
    step.ledger.used += used
    step.ledger.filtered += len(batch) - used - (0 if bad is None else int(np.count_nonzero(bad)))
    if batch.stamps.kind is None:
        if used == len(batch):
            step.ledger.rows_out += used
            return [(MAIN, batch)]
        kept: Batch = batch.take(wanted)
    else:
        kind = np.where(wanted, batch.stamps.kind, DELETE).astype(np.int8)
        kept = batch.with_stamps(replace(batch.stamps, kind=kind))
        kept = kept if bad is None else kept.take(~bad)
    step.ledger.rows_out += len(kept)
    return [(MAIN, kept)] if len(kept) else []


def _count_through(step: Stateless, rows: int) -> None:
    step.ledger.rows_in += rows
    step.ledger.used += rows
    step.ledger.rows_out += rows


def _rows(batch: Batch) -> Rows:
    assert isinstance(batch, Rows), "the planner gives this step rows"
    return batch


def _frame(batch: Batch) -> pl.DataFrame:
    assert isinstance(batch, Columns), "the planner gives this step columns"
    return batch.frame
