"""``check_operator``: a step as the engine calls it.

The engine may cut a batch anywhere, and may be stopped between any two elements; then another operator gets what the
snapshots have kept.  Neither may change what comes out (the cut law, the crash law).  Besides, a step never changes a
batch that it was given, its ledger balances (R8), and it forwards no watermark that is ahead of its own or goes back.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from streamflow.core.batch import Batch
from streamflow.core.element import Element, Output, Tick, Watermark
from streamflow.core.operator import Operator
from streamflow.core.records import identity_of
from streamflow.core.rows import Rows
from streamflow.core.segment import compacted, decode_state, encode_state
from streamflow.core.stamps import DELETE, Stamps
from streamflow.core.state import Snapshot
from streamflow.core.timestamp import MIN_TIMESTAMP
from streamflow.core.watermark import BoundedOutOfOrderness

CUTS = 8
"""How many random cuts are tried, besides one row a batch."""

Outcome = tuple[Counter[Any], dict[Any, Any]]
"""The rows that came out by port, and the tables that they come to."""


def check_operator(
    make: Callable[[], Operator], elements: Sequence[Element], *, as_table: bool = False, seed: int = 0
) -> None:
    """Hold an operator to its contract.

    Args:
        make: Returns the operator, new and empty; one that keeps state must note what changes of it.
        elements: What it is given, on input 0: batches (``stamped``), ``Watermark``s in rising order, ``Tick``s.
        as_table: Compare what the rows come to, by key, in place of the rows: for upsert edges (R4).
        seed: Of the random cuts.

    Raises:
        AssertionError: If it breaks a clause, which the message names.
    """
    expected = _run(make, elements)
    lots = random.Random(seed)  # noqa: S311  # the same cuts for the same seed is what is wanted
    for cut in [_one_by_one, *[lambda rows: _random_cut(rows, lots)] * CUTS]:
        _require("the cut law: cut otherwise", _run(make, _cut(elements, cut)), expected, as_table=as_table)
    for place in range(len(elements)):
        where = f"the crash law: restored before element {place}"
        _require(where, _run(make, elements, crashes=(place,)), expected, as_table=as_table)
    everywhere = tuple(range(len(elements)))
    for full_every in (1, 3, len(elements)):
        got = _run(make, elements, crashes=everywhere, full_every=full_every)
        where = f"the crash law: restored before every element, the whole state kept at every {full_every}."
        _require(where, got, expected, as_table=as_table)


def stamped(
    values: Sequence[Any],
    times: Sequence[int],
    *,
    delay: int = 0,
    after: int = MIN_TIMESTAMP,
    start: int = 0,
    keys: Sequence[Hashable] | None = None,
) -> Rows:
    """Return a batch of Python values as a source with one split would make it.

    Args:
        values: The rows.
        times: Their event times, microseconds, in the order they came.
        delay: How far out of order they may come: what their watermarks trail by.
        after: The watermark before the first row.
        start: The place of the first row in its split; no two rows have the same.
        keys: Their keys, behind ``key_by``.

    >>> stamped("ab", [5, 3], delay=1).stamps.wm.tolist()[1:]
    [4]
    """
    time = np.array(times, dtype=np.int64)
    marks = BoundedOutOfOrderness(delay).before(after, time, values)[:-1]
    place = np.arange(start, start + len(time), dtype=np.int64)
    stamps = Stamps(time, marks, mark=marks, split=np.zeros(len(time), dtype=np.int64), position=place)
    return Rows(stamps, list(values), None if keys is None else list(keys))


def _run(
    make: Callable[[], Operator], elements: Sequence[Element], *, crashes: Sequence[int] = (), full_every: int = 1 << 30
) -> Outcome:
    operator = make()
    chain: list[Snapshot] = []
    rows: Counter[Any] = Counter()
    table: dict[Any, Any] = {}
    held = watermark = MIN_TIMESTAMP
    for place, element in enumerate(elements):
        if place <= max(crashes, default=-1):
            is_full = place % full_every == 0
            chain = [*([] if is_full else chain), _stored(operator.snapshot(full=is_full))]
        if place in crashes:
            operator = make()
            operator.restore(compacted([("step", snapshot) for snapshot in chain])["step"])
        _collect(_give(operator, element), rows, table)
        if isinstance(element, Watermark):
            watermark = max(watermark, element.time)
        forwarded = operator.held_watermark(watermark)
        assert held <= forwarded <= watermark, (
            f"held_watermark({watermark}) returned {forwarded}, after {held}: it must not go back or run ahead"
        )
        held = forwarded
        _check_ledger(operator, restored=bool(crashes))
    return rows, table


def _give(operator: Operator, element: Element) -> Iterable[Output]:
    match element:
        case Batch():
            before = _fingerprint(element)
            outputs = list(operator.on_batch(0, element))
            assert _fingerprint(element) == before, "on_batch() must not change the batch that it was given"
            return outputs
        case Watermark(time):
            return operator.on_watermark(time)
        case Tick(now):
            return operator.on_tick(now)
    raise AssertionError(f"an operator is given batches, Watermarks and Ticks, got {element!r}")


def _check_ledger(operator: Operator, *, restored: bool) -> None:
    """The engine keeps the ledger of a step across a crash, so a restored operator's begins anew."""
    ledger = operator.ledger
    assert restored or ledger.is_balanced, f"every row must be in exactly one place of the ledger (R8), got {ledger}"


def _stored(snapshot: Snapshot) -> Snapshot:
    """Return what a snapshot is once it has been in a checkpoint."""
    ((_, read_back),) = decode_state(b"".join(encode_state([("step", snapshot)])), "conformance")
    return read_back


def _collect(outputs: Iterable[Output], rows: Counter[Any], table: dict[Any, Any]) -> None:
    for port, batch in outputs:
        kinds = batch.stamps.kind
        for row, value in enumerate(batch.to_values()):
            deletes = kinds is not None and kinds[row] == DELETE
            text, time = repr(value), int(batch.times[row])
            rows[port, repr(batch.key_of(row)), time, deletes, text] += 1
            if kinds is None:
                continue
            identity: tuple[str, Hashable] = (port, identity_of(batch, row))
            if deletes:
                table.pop(identity, None)
            else:
                table[identity] = text


def _require(clause: str, got: Outcome, expected: Outcome, *, as_table: bool) -> None:
    if as_table:
        assert got[1] == expected[1], f"{clause}: the table is {got[1]}, expected {expected[1]}"
        return
    missing, extra = expected[0] - got[0], got[0] - expected[0]
    assert not missing, f"{clause}: these rows are missing: {sorted(missing)}; too many: {sorted(extra)}"
    assert not extra, f"{clause}: these rows came out too often: {sorted(extra)}"


def _cut(elements: Sequence[Element], cut: Callable[[int], list[int]]) -> list[Element]:
    pieces: list[Element] = []
    for element in elements:
        if not isinstance(element, Batch):
            pieces.append(element)
            continue
        ends = cut(len(element))
        starts = [0, *ends[:-1]]
        pieces += [element.take(slice(start, end)) for start, end in zip(starts, ends, strict=True)]
    return pieces


def _one_by_one(rows: int) -> list[int]:
    return list(range(1, rows + 1))


def _random_cut(rows: int, lots: random.Random) -> list[int]:
    inner = sorted(lots.sample(range(1, rows), lots.randint(0, rows - 1))) if rows > 1 else []
    return [*inner, rows]


def _fingerprint(batch: Batch) -> tuple[str, ...]:
    stamps = batch.stamps
    columns = (stamps.time, stamps.wm, stamps.mark, stamps.kind, stamps.split, stamps.position)
    return (repr(batch.to_values()), *(repr(None if c is None else c.tolist()) for c in columns))
