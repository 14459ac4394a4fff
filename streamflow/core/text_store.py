"""Texts that are kept by the order in which they came: what codes of texts stand for.

Knows no code.
"""

from __future__ import annotations

from typing import final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64
from streamflow.core.column_scan import stable_order

_MOST_WAITING = 1 << 16
"""Columns of no more rows than this together are kept alive for a few new texts in them."""


@final
class TextStore:
    """Texts in the order they came, to be asked for by their places; adding costs little until one is asked for."""

    __slots__ = ("_new", "_pieces", "_waiting", "size")

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[pl.Series] = [pl.Series(dtype=pl.String)]
        """The texts, in a few pieces, each less than half of the one before it."""
        self._new: list[tuple[pl.Series, I64]] = []
        """Columns and which of their texts are to be stored: not copied yet, so the columns stay alive."""
        self._waiting = 0

    def add(self, texts: pl.Series, places: I64) -> None:
        """Store some texts of a column."""
        self._new.append((texts.alias(""), places + self._waiting))
        self._waiting += len(texts)
        self.size += len(places)
        if self._waiting > _MOST_WAITING:
            self._copy_new()

    def take(self, places: I64) -> pl.Series:
        """Return the texts at some places."""
        self._copy_new()
        if len(self._pieces) == 1:
            return self._pieces[0][places]
        ends = np.cumsum([len(piece) for piece in self._pieces])
        of_piece = np.searchsorted(ends, places, side="right")
        order = stable_order(of_piece)
        cuts = np.searchsorted(of_piece[order], np.arange(1, len(ends)))
        parts = zip(self._pieces, np.split(places[order], cuts), ends, strict=True)
        taken = pl.concat([piece[part - (end - len(piece))] for piece, part, end in parts])
        texts: pl.Series = taken[np.argsort(order)]
        return texts

    def _copy_new(self) -> None:
        if not self._new:
            return
        columns = pl.concat([texts for texts, _ in self._new])
        self._pieces.append(_copied(columns[np.concatenate([places for _, places in self._new])]))
        self._new, self._waiting = [], 0
        while len(self._pieces) > 1 and len(self._pieces[-2]) < 2 * len(self._pieces[-1]):
            last = self._pieces.pop()
            joined = pl.concat([self._pieces[-1], last], rechunk=True)
            self._pieces[-1] = _copied(joined) if len(joined) < _MOST_WAITING else joined


def _copied(texts: pl.Series) -> pl.Series:
    """Return texts in memory of their own: what polars takes out of a column keeps all of its texts alive."""
    return texts + ""
