"""``check_sink``: a sink as the runtime writes it.

The runtime opens a writer and asks for its token, encodes batches, and applies each committed epoch with a token.  It
may be stopped anywhere; then another writer is opened, and applies what its token does not cover.  What is relied on:

* Encoding is pure: it shows nothing, changes nothing, and the same batch gives the same bytes.
* ``EXACTLY_ONCE``: rows and token are there together or not at all; an epoch that is there is not written again; and a
  worker that was taken over is refused.
* ``EACH_EPOCH``: an epoch may be given again, and is written again, whole.
* ``AT_ONCE``: a batch is there when ``write`` returns.
* ``close`` leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from streamflow.core.batch import Batch
from streamflow.core.connector import Guarantee, Sink, Token, Writer
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.errors import FencedError
from streamflow.testing.conformance.leftovers import nothing_left

PIPELINE, NAME = "conformance", "sink"
"""Under which names the sink is written."""
TURNS = 8
"""An ``apply`` is cancelled in each of its first so many turns on the loop."""

ROWS = ({"id": 1, "name": "ann"}, {"id": 2, "name": "bob"}, {"id": 3, "name": "cid"}, {"id": 4, "name": "dan"})
"""The rows that are written, unless the check is given others; at least four."""


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere new that a sink can write to.

    Attributes:
        sink: Returns the sink, as a program makes it again each time it starts.
        read: Returns, or awaits, the rows that readers of the place see now, in the form they were given.
    """

    sink: Callable[[], Sink]
    read: Callable[[], Sequence[Any] | Awaitable[Sequence[Any]]]


async def check_sink(new_place: Callable[[], Place], *, rows: Sequence[Any] = ROWS) -> None:
    """Hold a sink to its contract.

    Args:
        new_place: Returns a place that is empty and has never been written to; called for each clause.
        rows: Four rows or more that the sink takes, different from each other.

    Raises:
        AssertionError: If it breaks a clause, which the message names.
    """
    assert len(rows) >= 4, f"rows must be four or more, got {len(rows)}"
    sink = new_place().sink()
    _check_value(sink)
    await _check_direct(new_place(), rows)
    if sink.guarantee is Guarantee.AT_ONCE:
        return
    await _check_encoding(new_place(), rows)
    await _check_epochs(new_place(), rows, is_once=sink.guarantee is Guarantee.EXACTLY_ONCE)
    if sink.guarantee is Guarantee.EXACTLY_ONCE:
        await _check_chunks(new_place(), rows)
        await _check_fence(new_place(), rows)
        for turn in range(TURNS):
            await _check_cancelled(new_place(), rows, turn)


def _check_value(sink: Sink) -> None:
    assert isinstance(sink, Sink), f"expected a Sink, with all of its properties, got {type(sink).__name__}"
    assert isinstance(sink.guarantee, Guarantee), f"guarantee must be a Guarantee, got {sink.guarantee!r}"
    assert isinstance(sink.takes_upserts, bool), f"takes_upserts must be a bool, got {sink.takes_upserts!r}"
    text = str(sink)
    assert len(text.splitlines()) == 1, f"str() must say in one line what it is, got {text!r}"
    assert sink.writer(PIPELINE, NAME) is not sink.writer(PIPELINE, NAME), "writer() must return a new writer each time"


async def _check_direct(place: Place, rows: Sequence[Any]) -> None:
    """Without a checkpoint, batches are written as they come."""
    async with nothing_left("closing a writer that wrote at once"):
        writer, _ = await _open(place)
        await writer.write(_batch(rows[:2]))
        if place.sink().guarantee is Guarantee.AT_ONCE:
            await _require(place, rows[:2], "write() must have shown its rows when it returns")
        await writer.write(_batch(rows[2:]))
        await writer.close()
    await _require(place, rows, "every batch given to write() must be there once")


async def _check_encoding(place: Place, rows: Sequence[Any]) -> None:
    async with nothing_left("closing a writer that has only encoded"):
        writer, _ = await _open(place)
        batch = _batch(rows)
        before = [repr(value) for value in batch.values]
        first, second = writer.encode(batch), writer.encode(batch)
        assert not first.refused, f"expected every row to be taken, got {first.refused}; give the check other rows"
        assert first.rows == len(rows), f"expected {len(rows)} encoded rows, got {first.rows}"
        assert first == second, "encode() must give the same bytes for the same batch"
        assert [repr(value) for value in batch.values] == before, "encode() must not change the batch"
        await _require(place, (), "encode() must show nothing")
        await writer.close()
    await _require(place, (), "what was encoded and not applied must not be there")


async def _check_epochs(place: Place, rows: Sequence[Any], *, is_once: bool) -> None:
    """Epochs are applied, a writer goes and another comes, and the last epoch is given again."""
    async with nothing_left("closing a writer"):
        writer, token = await _open(place)
        _require_token(token, None)
        one, two, three = (_encoded(writer, part) for part in (rows[:1], rows[1:2], rows[2:]))
        await writer.apply([one, two], Token(1, 5))
        await _require(place, rows[:2], "all pieces of an epoch must be there when apply() returns")
        await writer.apply([three], Token(1, 7))  # numbers have gaps
        await _require(place, rows, "epochs must add up")
        await writer.close()
    async with nothing_left("closing a writer that found an epoch there"):
        writer, token = await _open(place)
        _require_token(token, Token(1, 7) if is_once else None)
        await writer.apply([three], Token(1, 7))
        expected = rows if is_once else [*rows, *rows[2:]]
        clause = (
            "an epoch that is there must not be written again" if is_once else "an epoch given again is written whole"
        )
        await _require(place, expected, clause)
        if is_once:
            await writer.apply([one], Token(1, 5))
            await _require(place, rows, "an epoch older than the token must not be written again")
        await writer.close()


async def _check_chunks(place: Place, rows: Sequence[Any]) -> None:
    """An epoch too large for one transaction comes in chunks."""
    writer, _ = await _open(place)
    for chunk, row in enumerate(rows):
        await writer.apply([_encoded(writer, [row])], Token(1, 3, chunk))
    await writer.close()
    await _require(place, rows, "every chunk of an epoch must be there")
    writer, token = await _open(place)
    await writer.close()
    _require_token(token, Token(1, 3, len(rows) - 1))


async def _check_fence(place: Place, rows: Sequence[Any]) -> None:
    """A worker that was taken over must not write any more."""
    old, _ = await _open(place)
    await old.apply([_encoded(old, rows[:1])], Token(1, 2, fence=1))
    late = _encoded(old, rows[1:2])
    new, token = await _open(place)
    _require_token(token, Token(1, 2))
    await new.apply([_encoded(new, rows[2:])], Token(1, 4, fence=3))
    try:
        await old.apply([late], Token(1, 5, fence=1))
    except FencedError:
        fenced = True
    else:
        fenced = False
    await old.close()
    await new.close()
    await _require(place, [rows[0], *rows[2:]], "a worker with an older fence must write nothing")
    assert fenced, "apply() with an older fence than the stored one must raise FencedError"


async def _check_cancelled(place: Place, rows: Sequence[Any], turn: int) -> None:
    """Cancelled in any of its turns, ``apply`` has written all or nothing, and the token says which."""
    async with nothing_left(f"closing a writer whose apply() was cancelled in turn {turn}"):
        writer, _ = await _open(place)
        await writer.apply([_encoded(writer, rows[:1])], Token(1, 1))
        epoch = [_encoded(writer, [row]) for row in rows[1:]]
        applying = asyncio.ensure_future(writer.apply(epoch, Token(1, 2)))
        for _ in range(turn):
            await asyncio.sleep(0)
        applying.cancel()
        await asyncio.wait([applying])
        await writer.close()
    writer, token = await _open(place)
    has_it = token is not None and token.epoch == 2
    where = f"apply() was cancelled in turn {turn}, and the token says {'2' if has_it else '1'}"
    await _require(place, rows if has_it else rows[:1], f"{where}: rows and token must go together")
    await writer.apply(epoch, Token(1, 2))
    await writer.close()
    await _require(place, rows, f"{where}; applied again: every row must be there once")


async def _open(place: Place) -> tuple[Writer, Token | None]:
    writer = place.sink().writer(PIPELINE, NAME)
    return writer, await writer.open()


def _require_token(token: Token | None, expected: Token | None) -> None:
    """Check which epoch a writer says that its place has; the fence may be anybody's."""
    got, wanted = (None if t is None else (t.generation, t.epoch, t.chunk) for t in (token, expected))
    assert got == wanted, f"open() must return the last token applied, {expected}, got {token}"


def _batch(rows: Sequence[Any]) -> Rows:
    times = np.arange(len(rows), dtype=np.int64)
    return Rows(Stamps(times, times), list(rows))


def _encoded(writer: Writer, rows: Sequence[Any]) -> bytes:
    batch: Batch = _batch(rows)
    encoded = writer.encode(batch)
    assert not encoded.refused, f"expected every row to be taken, got {encoded.refused}; give the check other rows"
    return encoded.data


async def _require(place: Place, expected: Sequence[Any], clause: str) -> None:
    """Check what readers see, in any order."""
    found = place.read()
    got = await found if inspect.isawaitable(found) else found
    assert sorted(map(repr, got)) == sorted(map(repr, expected)), (
        f"{clause}: expected {list(expected)!r}, readers see {list(got)!r}"
    )
