"""Small whole numbers for tokens: a dictionary of int64 as a few numpy passes, with numbers given back and used again.

A **token** is one int64, or, where the table is *checked*, two that must both agree.  A **code** is a number from 0:
small enough to address arrays.  The same token has the same code until ``keep`` says that nobody needs it; then the
lowest free codes are given first, so codes stay below about the most tokens that were ever needed at once.

A table finds tokens in one of two ways and changes between them as it grows: by their distance from the smallest,
where they lie close together, else by open addressing with a multiplier drawn at random, so that nobody can choose
tokens that collide.  Knows nothing of keys and panes.
"""

from __future__ import annotations

import secrets
from typing import Protocol, final

import numpy as np
import numpy.typing as npt

from streamflow.core.arrays import I64, Mask

I32 = npt.NDArray[np.int32]
U64 = npt.NDArray[np.uint64]

_FREE, _CLAIM = -1, -2
"""What stands in a cell without a code: nothing, or a row that claims it (-2 for row 0, -3 for row 1 …)."""
_LEAST = 16
_CELLS = 4
"""Cells per token: at most a quarter full, few tokens stand more than two cells from home.

And each costs a numpy pass.
"""
_NO_CODES = np.zeros(0, dtype=np.int64)


@final
class CodeTable:
    """Codes of tokens, both ways.

    ``size`` is one more than the largest code in use.

    Args:
        checked: Whether a token is two words.
        span: Tokens whose smallest and largest are no further apart than this are found by distance, however few.

    >>> table = CodeTable()
    >>> table.encode(np.array([7, 9, 7]))[0].tolist()
    [0, 1, 0]
    """

    __slots__ = ("_checks", "_finder", "_free", "_span", "_spare", "_tokens", "size")

    def __init__(self, *, checked: bool = False, span: int = 0) -> None:
        self.size = 0
        self._span = span
        self._tokens: I64 = np.zeros(_LEAST, dtype=np.int64)
        self._checks: I64 | None = np.zeros(_LEAST, dtype=np.int64) if checked else None
        self._free: I64 = _NO_CODES
        """Codes below ``size`` that are not in use, the lowest last."""
        self._spare = -1
        self._finder: _Finder = _Probing(self._tokens, self._checks)

    def encode(self, tokens: I64, checks: I64 | None = None) -> tuple[I64, I64]:
        """Return the code of each token, and the places at which new tokens stand first, by which codes are given."""
        codes = self._finder.find(tokens, checks)
        if len(codes) and np.minimum.reduce(codes) < 0:  # half the fixed cost of codes.min()
            return codes, self._add(codes, tokens, checks)
        return codes, _NO_CODES

    def find(self, tokens: I64) -> I64:
        """Return the code of each token, -1 where it has none; of a table that is not checked."""
        return self._finder.find(tokens, None)

    def tokens(self, codes: I64) -> I64:
        """Return the tokens of codes, their first words where the table is checked."""
        return self._tokens[codes]

    @property
    def used(self) -> int:
        """How many codes are in use."""
        return self.size - len(self._free)

    @property
    def spare(self) -> int:
        """The one code that stands for no token, -1 while nobody has asked for it."""
        return self._spare

    def take_spare(self) -> int:
        """Return the code that stands for no token."""
        if self._spare < 0:
            self._make_room(1)
            self._spare = int(self._allocate(1)[0])
        return self._spare

    def codes(self) -> I64:
        """Return every code in use, ascending."""
        used = np.ones(self.size, dtype=np.bool_)
        used[self._free] = False
        return np.flatnonzero(used)

    def keep(self, live: Mask) -> None:
        """Free every code but those for which ``live`` holds; O(size)."""
        kept = np.flatnonzero(live[: self.size])
        self.size = int(kept[-1]) + 1 if len(kept) else 0
        self._free = np.flatnonzero(~live[: self.size])[::-1]
        if self._spare >= 0 and not (self._spare < self.size and live[self._spare]):
            self._spare = -1
        self._resize(_room(self.size))
        self._finder = self._finder_of(self._tokened())

    def assign(self, codes: I64, tokens: I64, checks: I64 | None, spare: int) -> None:
        """Give an empty table these tokens under codes chosen elsewhere, and one code without a token (-1 for none)."""
        used = codes if spare < 0 else np.append(codes, spare)
        self.size = int(used.max()) + 1 if len(used) else 0
        live = np.zeros(self.size, dtype=np.bool_)
        live[used] = True
        self._free, self._spare = np.flatnonzero(~live)[::-1], spare
        self._resize(_room(self.size))
        self._tokens[codes] = tokens
        if self._checks is not None and checks is not None:
            self._checks[codes] = checks
        self._finder = self._finder_of(self._tokened())

    def _add(self, codes: I64, tokens: I64, checks: I64 | None) -> I64:
        """Give codes to the tokens that have none, filling them into ``codes``; return where each stands once.

        There is no telling how many of them are distinct, so they are taken in portions, with room for each.
        """
        places: list[I64] = []
        missing = np.flatnonzero(codes < 0)
        while len(missing):
            self._make_room(len(missing))
            some = missing[: len(self._tokens) - self.used]
            mine, theirs = tokens[some], None if checks is None else checks[some]
            if not self._finder.fits(mine):
                self._finder = self._finder_of(self._tokened(), mine)
            owner, first, cells = self._finder.claim(mine, theirs)
            given = np.empty(len(some), dtype=np.int64)
            given[first] = self._give(mine[first], None if theirs is None else theirs[first])
            self._finder.settle(cells, given[first])
            codes[some] = given[owner]
            places.append(some[first])
            missing = missing[len(some) :]
            if len(missing):
                codes[missing] = self._finder.find(tokens[missing], None if checks is None else checks[missing])
                missing = missing[codes[missing] < 0]
        return np.concatenate(places)

    def _make_room(self, count: int) -> None:
        """Double the arrays where they are full, or so that a good part of ``count`` new tokens finds room."""
        if self.used == len(self._tokens):
            self._resize(_room(self.used + max(self.used, count // 8, 1)))
            self._finder = self._finder_of(self._tokened())

    def _give(self, tokens: I64, checks: I64 | None) -> I64:
        """Return codes for distinct new tokens."""
        codes = self._allocate(len(tokens))
        self._tokens[codes] = tokens
        if self._checks is not None and checks is not None:
            self._checks[codes] = checks
        return codes

    def _allocate(self, count: int) -> I64:
        """Return ``count`` codes: free ones first, then new ones; there is room for them."""
        reused = self._free[max(len(self._free) - count, 0) :][::-1]
        self._free = self._free[: len(self._free) - len(reused)]
        new = np.arange(self.size, self.size + count - len(reused))
        self.size += len(new)
        return new if not len(reused) else np.concatenate([reused, new])

    def _tokened(self) -> I64:
        """Return the codes in use that have a token."""
        codes = self.codes()
        return codes if self._spare < 0 else codes[codes != self._spare]

    def _resize(self, room: int) -> None:
        self._tokens = np.resize(self._tokens, room)
        if self._checks is not None:
            self._checks = np.resize(self._checks, room)

    def _finder_of(self, codes: I64, coming: I64 = _NO_CODES) -> _Finder:
        """Return a finder of these codes' tokens, fit for those that come."""
        tokens = self._tokens[codes]
        finder: _Finder | None = None
        if self._checks is None and len(tokens) + len(coming):
            low, high = (int(f(np.concatenate([tokens, coming]))) for f in (np.min, np.max))
            if high - low < max(self._span, 2 * len(self._tokens)):
                finder = _Distance(low, high)
        if finder is None:
            finder = _Probing(self._tokens, self._checks)
        finder.insert(tokens, codes)
        return finder

    def _check(self) -> None:
        """Assert what must hold between calls."""
        codes = self._tokened()
        checks = None if self._checks is None else self._checks[codes]
        assert np.array_equal(self._finder.find(self._tokens[codes], checks), codes), "a token is lost"
        assert len(self._free) == 0 or int(self._free.max()) < self.size, "a free code is out of range"


class _Finder(Protocol):
    """Where the code of a token stands."""

    def find(self, tokens: I64, checks: I64 | None) -> I64:
        """Return the code of each token, -1 where it has none; the caller may change the array."""
        ...

    def fits(self, tokens: I64) -> bool:
        """Return whether tokens can be added."""
        ...

    def insert(self, tokens: I64, codes: I64) -> None:
        """Take distinct new tokens that fit, with their codes."""
        ...

    def claim(self, tokens: I64, checks: I64 | None) -> tuple[I64, I64, I64]:
        """Find cells for new tokens that fit, maybe several times the same.

        Returns for each row the one at which its token stands first, those rows in order, and their cells.  Nothing
        may be asked of the finder before ``settle`` says which codes stand in the cells.
        """
        ...

    def settle(self, cells: I64, codes: I64) -> None:
        """Put codes into the cells that were claimed for them."""
        ...


@final
class _Distance:
    """A table by the distance from a little below the smallest token; one look-up a token."""

    __slots__ = ("_codes", "_low")

    def __init__(self, low: int, high: int) -> None:
        slack = max((high - low) // 2, 512)  # tokens that grow, as serial numbers do, fit for a while
        self._low = max(low - slack, -(1 << 63))
        self._codes: I32 = np.full(min(high + slack, (1 << 63) - 1) - self._low + 1, -1, dtype=np.int32)

    def find(self, tokens: I64, checks: I64 | None) -> I64:
        places = tokens - self._low  # wraps for tokens far below: as unsigned, it is far above
        if not len(places) or places.view(np.uint64).max() < len(self._codes):
            return self._codes.take(places).astype(np.int64)
        inside = places.view(np.uint64) < len(self._codes)
        return np.where(inside, self._codes.take(np.where(inside, places, 0)), -1).astype(np.int64)

    def fits(self, tokens: I64) -> bool:
        return bool((tokens - self._low).view(np.uint64).max() < len(self._codes))

    def insert(self, tokens: I64, codes: I64) -> None:
        self._codes[tokens - self._low] = codes

    def claim(self, tokens: I64, checks: I64 | None) -> tuple[I64, I64, I64]:
        cells, rows = tokens - self._low, np.arange(len(tokens))[::-1]
        first = np.sort(rows[_claimed(self._codes, cells[rows], rows)])
        return (_CLAIM - self._codes.take(cells)).astype(np.int64), first, cells[first]

    def settle(self, cells: I64, codes: I64) -> None:
        self._codes[cells] = codes


@final
class _Probing:
    """Open addressing over codes; it shares the arrays of tokens with its table."""

    __slots__ = ("_checks", "_codes", "_mask", "_multiplier", "_shift", "_tokens")

    def __init__(self, tokens: I64, checks: I64 | None) -> None:
        cells = _CELLS * len(tokens)
        self._tokens, self._checks = tokens, checks
        self._codes: I32 = np.full(cells, _FREE, dtype=np.int32)
        self._mask = cells - 1
        self._shift = np.uint64(64 - (cells.bit_length() - 1))
        self._multiplier = np.uint64(secrets.randbits(64) | 1)

    def find(self, tokens: I64, checks: I64 | None) -> I64:
        cells = self._home(tokens)
        codes = self._codes.take(cells)
        astray = np.flatnonzero(self._is_other(codes, tokens, checks))
        cells = cells.take(astray)
        while len(astray):
            cells = (cells + 1) & self._mask
            found = self._codes.take(cells)
            codes[astray] = found
            wrong = self._is_other(found, tokens.take(astray), None if checks is None else checks.take(astray))
            astray, cells = astray[wrong], cells[wrong]
        return codes.astype(np.int64)

    def fits(self, tokens: I64) -> bool:
        return True

    def insert(self, tokens: I64, codes: I64) -> None:
        cells = self._home(tokens)
        while len(cells):
            is_free = self._codes.take(cells) < 0
            self._codes[cells[is_free]] = codes[is_free]
            lost = self._codes.take(cells) != codes
            cells, codes = (cells[lost] + 1) & self._mask, codes[lost]

    def claim(self, tokens: I64, checks: I64 | None) -> tuple[I64, I64, I64]:
        owner, cell_of = np.empty(len(tokens), dtype=np.int64), np.empty(len(tokens), dtype=np.int64)
        owners = [_NO_CODES]
        rows = np.arange(len(tokens))[::-1]
        cells = self._home(tokens)[rows]
        while len(rows):
            is_free = self._codes.take(cells) == _FREE
            free, claimants = cells[is_free], rows[is_free]
            is_owner = _claimed(self._codes, free, claimants)
            owners.append(claimants[is_owner])
            cell_of[owners[-1]] = free[is_owner]
            owner[rows] = claim = _CLAIM - self._codes.take(cells)  # negative where a code stands: of another token
            is_same = (claim >= 0) & (tokens.take(claim, mode="clip") == tokens[rows])
            if checks is not None:
                is_same &= checks.take(claim, mode="clip") == checks[rows]
            rows, cells = rows[~is_same], (cells[~is_same] + 1) & self._mask
        first = np.sort(np.concatenate(owners))  # not by cell: the order of codes must not depend on the multiplier
        return owner, first, cell_of[first]

    def settle(self, cells: I64, codes: I64) -> None:
        self._codes[cells] = codes

    def _home(self, tokens: I64) -> I64:
        cells: I64 = ((tokens.view(np.uint64) * self._multiplier) >> self._shift).view(np.int64)
        return cells

    def _is_other(self, codes: I32, tokens: I64, checks: I64 | None) -> Mask:
        """Return where a cell is taken by another token."""
        other: Mask = self._tokens.take(codes) != tokens
        if self._checks is not None and checks is not None:
            other |= self._checks.take(codes) != checks
        other &= codes >= 0
        return other


def _claimed(codes: I32, cells: I64, rows: I64) -> Mask:
    """Have rows claim free cells, several maybe the same; return which rows have theirs: the last of each cell."""
    claims = (_CLAIM - rows).astype(np.int32)
    codes[cells] = claims
    claimed: Mask = codes.take(cells) == claims
    return claimed


def _room(size: int) -> int:
    """Return the power of two that holds ``size``."""
    return max(_LEAST, 1 << (size - 1).bit_length())
