"""What the column layout answers: the results of a window, one row a key, and the result after each row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import polars as pl

from streamflow.core.arrays import I64, Mask
from streamflow.core.column_kinds import Keeping, Kept
from streamflow.core.column_long import LongState
from streamflow.core.column_partial import ColumnPartial
from streamflow.core.column_run import Picked, taken
from streamflow.core.column_scan import Groups, Values
from streamflow.core.column_values import to_series
from streamflow.core.columns import Columns
from streamflow.core.key_codes import KeyCodes
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import EARLIEST, LATEST, MAX_TIMESTAMP

_START, _END = "window_start", "window_end"
_INSTANT = pl.Datetime("us", "UTC")


def answer_all(
    keeping: Keeping, codes: KeyCodes, partial: ColumnPartial, at: I64, window: tuple[int, int], wm: int
) -> Columns:
    """Return the results of slots in use as the rows of a window."""
    start, end = window
    is_global = end >= MAX_TIMESTAMP
    mine = partial.codes(at)
    columns = codes.keys(mine)
    if not is_global:
        columns += [_instants(_START, start, len(at)), _instants(_END, end, len(at))]
    columns += [_result(place, kept, partial, at, mine) for place, kept in enumerate(keeping.kept)]
    time = min(max(wm, EARLIEST), LATEST) if is_global else end - 1
    return Columns(Stamps.at(time, wm, len(at)), pl.DataFrame(columns), _key(codes.names, is_global=is_global))


def answer_each(
    keeping: Keeping,
    key: tuple[str, ...],
    partial: ColumnPartial,
    picked: Picked,
    slots: I64,
    windows: tuple[I64, I64],
) -> Columns:
    """Fold rows into a partial one by one; return the result after each, beside the row's key and stamps."""
    starts, ends = windows
    is_global = len(ends) > 0 and int(ends[0]) >= MAX_TIMESTAMP
    frame = picked.run.batch.frame
    columns = [taken(frame.get_column(name), picked.rows) for name in key]
    if not is_global:
        columns += [_bounds(_START, starts), _bounds(_END, ends)]
    columns += _running(keeping, partial, picked, slots)
    return Columns(picked.stamps, pl.DataFrame(columns), _key(key, is_global=is_global))


def _bounds(name: str, times: I64) -> pl.Series:
    """Return bounds of windows as a column; mostly they are of one window."""
    if len(times) and (times == times[0]).all():
        return _instants(name, int(times[0]), len(times))
    return pl.Series(name, times).cast(_INSTANT)


def _instants(name: str, time: int, rows: int) -> pl.Series:
    return _instant(name, time).new_from_index(0, rows)


@lru_cache(maxsize=256)  # a window answers many batches, and to make a column of one value costs what 1,000 sums do
def _instant(name: str, time: int) -> pl.Series:
    return pl.Series(name, [time], dtype=pl.Int64).cast(_INSTANT)


def _result(place: int, kept: Kept, partial: ColumnPartial, at: I64, codes: I64) -> pl.Series:
    if kept.kind == "count":
        return pl.Series(kept.name, partial.count(kept.reads, at))
    state = partial.state(place)
    if isinstance(state, LongState):
        return state.results(codes).alias(kept.name)
    assert state is not None
    counts = partial.count(kept.reads, at)
    return _named(kept, state.results(at, counts), counts >= state.least if kept.needs_counts else None)


def _running(keeping: Keeping, partial: ColumnPartial, picked: Picked, slots: I64) -> list[pl.Series]:
    """Fold the rows; return what each aggregation comes to after each."""
    if not len(picked):
        return [_result(place, kept, partial, slots, slots) for place, kept in enumerate(keeping.kept)]
    partial.offers(picked, slots)
    groups = Groups(slots)
    counts = _running_counts(keeping, partial, picked, groups)
    columns = [_after_each(place, kept, partial, picked, groups, counts) for place, kept in enumerate(keeping.kept)]
    for input_, own in enumerate(partial.counts):
        if own is not None:
            own[groups.slots] = counts[input_][groups.last]
    partial.rows[groups.slots] += groups.lengths
    return columns


def _running_counts(keeping: Keeping, partial: ColumnPartial, picked: Picked, groups: Groups) -> dict[int | None, I64]:
    """Return after each row how many values of each counted input its key has had; how many rows, for None."""
    found: dict[int | None, I64] = {}
    if any(kept.kind == "count" or kept.needs_counts for kept in keeping.kept):
        found[None] = partial.rows[groups.slots][groups.of_rows] + groups.numbers + 1
    for input_ in keeping.counted:
        present = picked.present(input_)
        if present is None and partial.counts[input_] is None:
            found[input_] = found[None]
        else:
            added = np.ones(len(picked), dtype=np.int64) if present is None else present.astype(np.int64)
            found[input_] = groups.running(np.add, partial.own_counts(input_)[groups.slots], added)
    return found


def _after_each(
    place: int,
    kept: Kept,
    partial: ColumnPartial,
    picked: Picked,
    groups: Groups,
    counts: Mapping[int | None, I64],
) -> pl.Series:
    state = partial.state(place)
    if isinstance(state, LongState):
        return state.each(picked, groups).alias(kept.name)
    if state is None or kept.reads is None:
        return pl.Series(kept.name, counts[kept.reads])
    n = counts[kept.reads] if kept.needs_counts else _NO_COUNTS
    run = state.each(groups, picked.array(kept.reads, kept.form), picked.present(kept.reads), n)
    return _named(kept, run, n >= state.least if kept.needs_counts else None)


def _named(kept: Kept, values: Values, is_value: Mask | None) -> pl.Series:
    """Return results as an output column."""
    return to_series(values, kept.dtype if kept.has_values_type else None, is_value).alias(kept.name)


def _key(names: tuple[str, ...], *, is_global: bool) -> tuple[str, ...]:
    return names if is_global else (*names, _START, _END)


_NO_COUNTS = np.zeros(0, dtype=np.int64)
