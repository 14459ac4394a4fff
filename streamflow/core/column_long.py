"""States of no fixed size per key: long tables of (code, …), packed now and then.

What a partial keeps for ``first``, ``last``, ``arg_max``, ``arg_min``, ``top_k``, ``collect``, ``distinct``, the
sketches, and ``min`` and ``max`` of texts.  Folding a run appends what it read as a piece; when the pieces have grown
to twice what is packed, all are packed to one table, ordered by code.  So a row is packed about twice, in large
portions, however small the batches.

``LongState`` is the table; a ``LongKind`` says what its rows are.  Knows no slots: codes are those of
``core.key_codes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64
from streamflow.core.column_run import Picked
from streamflow.core.column_scan import Groups, ranges

_FEW_ROWS = 10_000
_FEW_PIECES = 64
_BLOCK = 128
"""So many rows of each key are answered at a time, where each row must be a key of its own."""
_MOST_AT_ONCE = 4_000_000
"""So many rows of such keys are held at a time."""


class Table(Protocol):
    """Rows of a long state, as columns."""

    @property
    def codes(self) -> I64: ...

    def __len__(self) -> int: ...

    def take(self, rows: I64) -> Any:
        """Return some rows."""
        ...

    def recoded(self, codes: I64) -> Any:
        """Return the same rows under other codes."""
        ...


C = TypeVar("C", bound=Table)


class LongKind(Protocol[C]):
    """What the rows of a long state are.

    Attributes:
        columns: The names of its state columns (``core.folding``).
    """

    columns: ClassVar[tuple[str, ...]]

    def digest(self, picked: Picked) -> C:
        """Return what rows of a run bring; their codes are those of the run."""
        ...

    def join(self, tables: Sequence[C]) -> C:
        """Return all rows, as they are."""
        ...

    def pack(self, table: C) -> C:
        """Return the rows that matter, ordered by code."""
        ...

    def results(self, packed: C, codes: I64) -> pl.Series:
        """Return the result of each code; codes are ascending, and hold all that the table has."""
        ...

    def each(self, packed: C, rows: C, picked: Picked, groups: Groups) -> pl.Series | None:
        """Return the result after each row; None where that takes a key of its own for each row."""
        ...

    def export(self, packed: C, codes: I64) -> list[pl.Series]:
        """Return the state columns of each code; codes are ascending, and hold all that the table has."""
        ...

    def load(self, codes: I64, columns: list[pl.Series]) -> C:
        """Return the rows that ``export`` of either layout made these columns of."""
        ...


@final
class LongState(Generic[C]):
    """The long table of one aggregation of a partial."""

    __slots__ = ("_gone", "_kind", "_packed", "_pieces", "_waiting")

    def __init__(self, kind: LongKind[C]) -> None:
        self._kind = kind
        self._packed: C | None = None
        self._pieces: list[C] = []
        self._waiting = 0
        """How many rows the pieces have."""
        self._gone: I64 = _NO_CODES
        """Codes that were discarded, and whose rows are still there: nobody asks for them, until they come again."""

    def digest(self, picked: Picked) -> C:
        """Return what rows of a run bring, for ``add``."""
        return self._kind.digest(picked)

    def add(self, piece: C) -> None:
        """Take rows; packs them with the others now and then."""
        if not len(piece):
            return
        if len(self._gone) and np.isin(piece.codes, self._gone).any():
            self._purge()
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > 2 * (0 if self._packed is None else len(self._packed)) + _FEW_ROWS:
            self.packed()
        elif len(self._pieces) > _FEW_PIECES:
            self._pieces = [self._kind.join(self._pieces)]

    def merge(self, other: LongState[C], only: I64 | None = None) -> None:
        """Take the rows of another, or those of some codes.

        Tables are never changed in place, so both may share them.
        """
        if only is not None:
            self.add(_only(self._kind, other.packed(), np.sort(only)))
            return
        if len(other._gone):
            other._purge()
        for piece in other._all():
            self.add(piece)

    def discard(self, codes: I64) -> None:
        """Forget the rows of some codes: when they are many, or when one of the codes comes again."""
        self._gone = np.union1d(self._gone, codes)
        if len(self._gone) > max(_FEW_ROWS, self._waiting if self._packed is None else len(self._packed)):
            self._purge()

    def move(self, old: I64, new: I64) -> None:
        """Put the rows of each old code under the new one beside it; codes of both are distinct."""
        order = np.argsort(old)
        mine = _only(self._kind, self.packed(), old[order])
        self.discard(old)
        self.add(mine.recoded(new[order][np.searchsorted(old[order], mine.codes)]))

    def packed(self) -> C | None:
        """Return the packed table, None where there is no row."""
        if self._pieces:
            self._packed = self._kind.pack(self._kind.join(self._all()))
            self._pieces, self._waiting = [], 0
        return self._packed

    def results(self, codes: I64) -> pl.Series:
        """Return the result of each of these codes, in their order."""
        return self._at(codes, lambda table, ascending: [self._kind.results(table, ascending)])[0]

    def export(self, codes: I64) -> list[pl.Series]:
        """Return the state columns of each of these codes, in their order."""
        return self._at(codes, self._kind.export)

    def load(self, codes: I64, columns: list[pl.Series]) -> None:
        """Take state columns."""
        self.add(self._kind.load(codes, columns))

    def each(self, picked: Picked, groups: Groups) -> pl.Series:
        """Take rows of a run one by one; return the result after each.

        Args:
            picked: The rows.
            groups: The same rows by any numbers that tell their keys apart.
        """
        rows = self._kind.digest(picked)
        mine = _only(self._kind, self.packed(), np.unique(picked.codes))
        result = self._kind.each(mine, rows, picked, groups)
        if result is None:
            result = self._by_blocks(mine, picked, groups)
        self.add(rows)
        return result

    def _by_blocks(self, packed: C, picked: Picked, groups: Groups) -> pl.Series:
        """Return the result after each row: for some rows of every key at a time, each row as a key of its own.

        Such a key has what the state has for the row's key, and the rows of the block up to the row.
        """
        state = LongState(self._kind)
        state.add(packed)
        rows: list[I64] = [_NO_CODES]
        results: list[pl.Series] = [self._kind.results(self._kind.join([]), _NO_CODES)]
        for block in groups.blocks(_BLOCK):
            before = state.packed()
            for some, up_to in _portions(picked.codes[block], 0 if before is None else _largest(before.codes)):
                results.append(self._prefixes(before, picked, block, some, up_to))
                rows.append(block[some])
            state.add(self._kind.digest(picked.at(block)))
        return pl.concat(results)[np.argsort(np.concatenate(rows), kind="stable")]

    def _prefixes(self, before: C | None, picked: Picked, block: I64, some: slice, up_to: I64) -> pl.Series:
        """Return the results after some rows of a block, ``up_to[i]`` rows of which are the key's up to this one."""
        places = np.arange(len(block))[some]
        numbers = np.arange(len(places))
        prefixes = block[ranges(places - up_to + 1, up_to)]
        tables = [self._kind.digest(picked.at(prefixes, numbers.repeat(up_to)))]
        if before is not None:
            codes = picked.codes[block[some]]
            first = np.searchsorted(before.codes, codes)
            lengths = np.searchsorted(before.codes, codes, side="right") - first
            tables.insert(0, before.take(ranges(first, lengths)).recoded(numbers.repeat(lengths)))
        return self._kind.results(self._kind.pack(self._kind.join(tables)), numbers)

    def _purge(self) -> None:
        """Drop the rows of discarded codes."""
        gone, self._gone = self._gone, _NO_CODES
        packed = self.packed()
        if packed is not None:
            self._packed = packed.take(np.flatnonzero(~np.isin(packed.codes, gone)))

    def _all(self) -> list[C]:
        return self._pieces if self._packed is None else [self._packed, *self._pieces]

    def _at(self, codes: I64, ask: Callable[[C, I64], list[pl.Series]]) -> list[pl.Series]:
        """Return what ``ask`` says of codes in any order, of which the table may hold more and fewer."""
        packed = self.packed()
        ascending = np.sort(codes)
        answers = ask(_only(self._kind, packed, ascending), ascending)
        if np.array_equal(ascending, codes):
            return answers
        back = np.searchsorted(ascending, codes)
        return [answer[back] for answer in answers]


_NO_CODES = np.zeros(0, dtype=np.int64)


def _portions(codes: I64, held: int) -> Iterator[tuple[slice, I64]]:
    """Yield stretches of a block's rows that fit in memory, and for each row how many of its key have come.

    Rows of a key lie side by side; ``held`` is the most that the state has of any of them.
    """
    is_first = np.append(True, codes[1:] != codes[:-1])
    starts = np.flatnonzero(is_first)
    up_to = np.arange(len(codes)) - starts[np.cumsum(is_first) - 1] + 1
    size = max(1, _MOST_AT_ONCE // (held + _BLOCK))
    for start in range(0, len(codes), size):
        yield slice(start, start + size), up_to[start : start + size]


def _largest(codes: I64) -> int:
    """Return how often the most frequent of ascending codes stands there."""
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    return int(np.diff(starts, append=len(codes)).max(initial=0))


def _only(kind: LongKind[C], packed: C | None, codes: I64) -> C:
    """Return the rows of these codes, ascending, out of a packed table."""
    if packed is None:
        return kind.join([])
    places = np.searchsorted(codes, packed.codes)
    found = np.take(codes, places, mode="clip") == packed.codes if len(codes) else np.zeros(len(packed), dtype=np.bool_)
    table: C = packed if found.all() else packed.take(np.flatnonzero(found))
    return table
