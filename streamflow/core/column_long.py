"""States of no fixed size per key: long tables of (code, …), packed now and then.

What a partial keeps for ``first``, ``last``, ``arg_max``, ``arg_min``, ``top_k``, ``collect``, ``distinct``, the
sketches, and ``min`` and ``max`` of texts.  Folding a run appends what it read as a piece; when the pieces have grown
to twice what is packed, all are packed to one table, ordered by code.  So a row is packed about twice, in large
portions, however small the batches.

``LongState`` is the table; a ``LongKind`` says what its rows are.  Knows no slots: codes are those of
``core.key_codes``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64
from streamflow.core.column_run import Picked
from streamflow.core.column_scan import Groups

_FEW_ROWS = 10_000
_FEW_PIECES = 64


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
        """Return the result after each row at once; None where it can only be told round by round."""
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
            result = self._by_rounds(mine, picked, groups)
        self.add(rows)
        return result

    def _by_rounds(self, packed: C, picked: Picked, groups: Groups) -> pl.Series:
        """Return the result after each row: the first rows of all keys at once, then the second ones, and so on."""
        state = LongState(self._kind)
        state.add(packed)
        rounds: list[I64] = []
        results: list[pl.Series] = []
        for rows in groups.rounds():
            state.add(self._kind.digest(picked.at(rows)))
            rounds.append(rows)
            results.append(state.results(picked.codes[rows]))
        return pl.concat(results)[np.argsort(np.concatenate(rounds), kind="stable")]

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


def _only(kind: LongKind[C], packed: C | None, codes: I64) -> C:
    """Return the rows of these codes, ascending, out of a packed table."""
    if packed is None:
        return kind.join([])
    places = np.searchsorted(codes, packed.codes)
    found = np.take(codes, places, mode="clip") == packed.codes if len(codes) else np.zeros(len(packed), dtype=np.bool_)
    table: C = packed if found.all() else packed.take(np.flatnonzero(found))
    return table
