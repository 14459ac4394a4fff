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
        """Return the code of each token, and the places at which new tokens stand first."""
        codes = self._finder.find(tokens, checks)
        if len(codes) and codes.min() < 0:
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
        self._rebuild(_room(self.size))

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
        self._rebuild(len(self._tokens))

    def _add(self, codes: I64, tokens: I64, checks: I64 | None) -> I64:
        """Give codes to the tokens that have none, filling them into ``codes``; return where they stand first."""
        places: list[I64] = []
        missing = np.flatnonzero(codes < 0)
        while len(missing):  # once more only where two checked tokens share their first word
            new, first = np.unique(tokens[missing], return_index=True)
            place = missing[first]
            fresh = self._allocate(len(new))
            self._tokens[fresh] = new
            if self._checks is not None and checks is not None:
                self._checks[fresh] = checks[place]
            if not self._finder.insert(new, fresh):
                self._rebuild(len(self._tokens))
            places.append(place)
            codes[missing] = self._finder.find(tokens[missing], None if checks is None else checks[missing])
            missing = missing[codes[missing] < 0]
        return np.concatenate(places)

    def _allocate(self, count: int) -> I64:
        """Return ``count`` codes: free ones first, then new ones.  What the finder holds is as before."""
        reused = self._free[max(len(self._free) - count, 0) :][::-1]
        self._free = self._free[: len(self._free) - len(reused)]
        new = np.arange(self.size, self.size + count - len(reused))
        self.size += len(new)
        if self.size > len(self._tokens):
            held = self._used_but(np.concatenate([reused, new]))
            self._resize(_room(self.size))
            self._finder = self._found(held, len(self._tokens))
        return np.concatenate([reused, new])

    def _used_but(self, codes: I64) -> I64:
        """Return the codes in use that have a token, without these."""
        used = np.ones(self.size, dtype=np.bool_)
        used[self._free] = False
        used[codes] = False
        if 0 <= self._spare < self.size:
            used[self._spare] = False
        return np.flatnonzero(used)

    def _resize(self, room: int) -> None:
        self._tokens = np.resize(self._tokens, room)
        if self._checks is not None:
            self._checks = np.resize(self._checks, room)

    def _rebuild(self, room: int) -> None:
        self._resize(room)
        self._finder = self._found(self._used_but(_NO_CODES), room)

    def _found(self, codes: I64, room: int) -> _Finder:
        """Return a finder of these codes' tokens."""
        tokens = self._tokens[codes]
        finder: _Finder | None = None
        if self._checks is None and len(tokens):
            low, high = int(tokens.min()), int(tokens.max())
            if high - low < max(self._span, 2 * room):
                finder = _Distance(low, high)
        if finder is None:
            finder = _Probing(self._tokens, self._checks)
        finder.insert(tokens, codes)
        return finder

    def _check(self) -> None:
        """Assert what must hold between calls."""
        codes = self._used_but(_NO_CODES)
        checks = None if self._checks is None else self._checks[codes]
        assert np.array_equal(self._finder.find(self._tokens[codes], checks), codes), "a token is lost"
        assert len(self._free) == 0 or int(self._free.max()) < self.size, "a free code is out of range"


class _Finder(Protocol):
    """Where the code of a token stands."""

    def find(self, tokens: I64, checks: I64 | None) -> I64:
        """Return the code of each token, -1 where it has none; the caller may change the array."""
        ...

    def insert(self, tokens: I64, codes: I64) -> bool:
        """Take distinct new tokens; return False, and take none, where they do not fit."""
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

    def insert(self, tokens: I64, codes: I64) -> bool:
        places = tokens - self._low
        if len(places) and places.view(np.uint64).max() >= len(self._codes):
            return False
        self._codes[places] = codes
        return True


@final
class _Probing:
    """Open addressing over codes; it shares the arrays of tokens with its table."""

    __slots__ = ("_checks", "_codes", "_mask", "_multiplier", "_shift", "_tokens")

    def __init__(self, tokens: I64, checks: I64 | None) -> None:
        cells = _CELLS * len(tokens)
        self._tokens, self._checks = tokens, checks
        self._codes: I32 = np.full(cells, -1, dtype=np.int32)
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

    def insert(self, tokens: I64, codes: I64) -> bool:
        cells = self._home(tokens)
        while len(cells):
            is_free = self._codes.take(cells) < 0
            self._codes[cells[is_free]] = codes[is_free]
            lost = self._codes.take(cells) != codes
            cells, codes = (cells[lost] + 1) & self._mask, codes[lost]
        return True

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


def _room(size: int) -> int:
    """Return the power of two that holds ``size``."""
    return max(_LEAST, 1 << (size - 1).bit_length())
