"""Rows grouped by slot, and the running value of each group after each of its rows, in the order of the rows.

What ``emit="each"`` needs and numpy lacks: a running sum by group.  Groups are laid out as columns of matrices, those
of 2-3 rows in one matrix, those of 4-7 in the next, and so on: at most half of a matrix is padding, and there are as
many matrices as the largest group's length has bits.  Values go down strictly one after another, so that a sum of
floats is the one that a loop would come to.

Knows nothing of what is aggregated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt

from streamflow.core.arrays import I64

Values = npt.NDArray[Any]
Parts = tuple[Values, ...]
Combine = Callable[[Parts, Parts], Parts]

_FEW_ROWS, _FEW_GROUPS = 32, 150
"""Lower and wider matrices go row by row, all groups at once.

In others a row costs more than numpy takes for a group.
"""


@final
@dataclass(frozen=True, slots=True)
class _Matrix:
    """Groups of about one length: a stretch of cells, ``height`` values for each of ``groups``.

    The first is the initial one.
    """

    first: int
    height: int
    groups: I64
    is_flat: int
    """Whether the values of a group lie side by side, rather than those of a row."""

    @property
    def cells(self) -> slice:
        return slice(self.first, self.first + self.height * len(self.groups))

    def of(self, cells: Values) -> Values:
        """Return its cells, values down and groups across."""
        shape = (len(self.groups), self.height) if self.is_flat else (self.height, len(self.groups))
        matrix: Values = cells[self.cells].reshape(shape)
        return matrix.T if self.is_flat else matrix


@final
class Groups:
    """The rows of each slot, in order.

    Attributes:
        slots: The distinct slots, ascending.
        lengths: How many rows each has.
        last: The place of the last row of each.
    """

    def __init__(self, slots: I64) -> None:
        self._order = stable_order(slots)
        ordered = slots[self._order]
        is_first = np.empty(len(slots), dtype=np.bool_)
        is_first[:1] = True
        np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
        self._starts: I64 = np.flatnonzero(is_first)
        self.slots: I64 = ordered[self._starts]
        ends = np.append(self._starts[1:], len(slots))[: len(self._starts)]
        self.lengths: I64 = ends - self._starts
        self.last: I64 = self._order[ends - 1]

    def running(self, ufunc: np.ufunc, initial: Values, values: Values) -> Values:
        """Return ``ufunc`` over the group's initial value and its values so far, after each row.

        Args:
            ufunc: Of two arguments, such as ``np.add``.
            initial: One value per group.
            values: One value per row.
        """
        if len(self.slots) == len(values):
            alone: Values = ufunc(initial[self.of_rows], values)
            return alone
        matrices, cell = self._layout
        cells = np.zeros(self._room, dtype=values.dtype)
        cells[cell] = values
        with np.errstate(all="ignore"):  # what overflows shows it; numpy need not warn as well
            for matrix in matrices:
                down = matrix.of(cells)
                down[0] = initial[matrix.groups]
                if matrix.is_flat:
                    ufunc.accumulate(down.T, axis=1, out=down.T)
                else:
                    for row in range(1, matrix.height):
                        ufunc(down[row - 1], down[row], out=down[row])
        return cells[cell]

    def scan(self, combine: Combine, initial: Parts, values: Parts) -> Parts:
        """Return the same for values of several parts and any associative ``combine``."""
        matrices, cell = self._layout
        cells = tuple(np.zeros(self._room, dtype=v.dtype) for v in values)
        for whole, value in zip(cells, values, strict=True):
            whole[cell] = value
        for matrix in matrices:
            parts = tuple(matrix.of(whole) for whole in cells)
            for part, start in zip(parts, initial, strict=True):
                part[0] = start[matrix.groups]
            (_double if matrix.is_flat else _step)(combine, parts)
        return tuple(whole[cell] for whole in cells)

    def members(self) -> Iterator[I64]:
        """Yield the rows of each group, in order."""
        yield from np.split(self._order, self._starts[1:])

    def running_total(self, initial: I64, added: I64) -> I64:
        """Return the group's initial numbers and those of its rows so far, after each row; ints, several columns."""
        total = np.cumsum(added[self._order], axis=0)
        base = initial - total[self._starts] + added[self._order[self._starts]]
        out = np.empty_like(total)
        out[self._order] = total + base.repeat(self.lengths, axis=0)
        return out

    @cached_property
    def numbers(self) -> I64:
        """For each row, how many rows of its group came before it."""
        numbers = np.empty(len(self._order), dtype=np.int64)
        numbers[self._order] = np.arange(len(self._order)) - np.repeat(self._starts, self.lengths)
        return numbers

    @cached_property
    def of_rows(self) -> I64:
        """For each row, the place of its group in ``slots``."""
        groups = np.empty(len(self._order), dtype=np.int64)
        groups[self._order] = np.repeat(np.arange(len(self.slots)), self.lengths)
        return groups

    @cached_property
    def previous(self) -> I64:
        """For each row, the place of the row of its group before it; -1 for the first."""
        previous = np.full(len(self._order), -1, dtype=np.int64)
        previous[self._order[1:]] = self._order[:-1]
        previous[self._order[self._starts]] = -1
        return previous

    def blocks(self, width: int) -> Iterator[I64]:
        """Yield the first ``width`` rows of all groups, then the next ones; each time group by group, rows in order."""
        block = self.numbers[self._order] // width
        order = stable_order(block)
        yield from np.split(self._order[order], np.flatnonzero(np.diff(block[order])) + 1)

    @cached_property
    def _layout(self) -> tuple[list[_Matrix], I64]:
        """Return the matrices, and for each row its cell."""
        classes = np.frexp(self.lengths)[1].astype(np.int64)
        counts = np.bincount(classes)
        heights = np.zeros_like(counts)
        np.maximum.at(heights, classes, self.lengths + 1)
        is_flat = (heights >= _FEW_ROWS) | (counts < _FEW_GROUPS)
        sizes, ends = heights * counts, counts.cumsum()
        firsts, begins = sizes.cumsum() - sizes, ends - counts
        by_class = stable_order(classes)
        matrices = [
            _Matrix(first, height, by_class[begin:end], flat)
            for first, height, begin, end, flat in np.stack([firsts, heights, begins, ends, is_flat], axis=1).tolist()
            if height
        ]
        across = np.empty_like(by_class)
        across[by_class] = np.arange(len(by_class)) - begins.repeat(counts)
        step = np.where(is_flat, 1, counts)[classes]
        origin = firsts[classes] + step + across * np.where(is_flat, heights, 1)[classes]
        ordered = np.arange(len(self._order)) * step.repeat(self.lengths)
        ordered += (origin - self._starts * step).repeat(self.lengths)
        cell = np.empty_like(ordered)
        cell[self._order] = ordered
        return matrices, cell

    @property
    def _room(self) -> int:
        last = self._layout[0][-1]
        return last.first + last.height * len(last.groups)


def stable_order(numbers: I64) -> I64:
    """Return the order of numbers from 0, ties as they stand.

    Radix passes of 16 bits, which numpy sorts in linear time.
    """
    if len(numbers) < 256:
        return np.argsort(numbers, kind="stable")
    largest = int(numbers.max())
    order: I64 = np.argsort((numbers & 0xFFFF).astype(np.uint16), kind="stable")
    shift = 16
    while largest >> shift:
        high = ((numbers >> shift) & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(high[order], kind="stable")]
        shift += 16
    return order


def distinct(numbers: I64, limit: int) -> tuple[I64, I64]:
    """Return the distinct numbers, ascending, and the place of each number among them; all are below ``limit``."""
    if limit > 16 * len(numbers):
        found, places = np.unique(numbers, return_inverse=True)
        return found, places
    place_of = np.zeros(limit, dtype=np.int64)
    place_of[numbers] = 1
    found = np.flatnonzero(place_of)
    place_of[found] = np.arange(len(found))
    return found, place_of[numbers]


def ranges(starts: I64, lengths: I64) -> I64:
    """Return ``lengths[0]`` numbers from ``starts[0]`` on, then ``lengths[1]`` from ``starts[1]`` on, and so on."""
    ends = lengths.cumsum()
    numbers: I64 = (starts - ends + lengths).repeat(lengths) + np.arange(int(lengths.sum()))
    return numbers


def lengths_of(ascending: I64, codes: I64) -> I64:
    """Return how often each code stands among ascending ones."""
    return np.searchsorted(ascending, codes, side="right") - np.searchsorted(ascending, codes, side="left")


def _step(combine: Combine, parts: Parts) -> None:
    """Combine row by row, in place."""
    for row in range(1, len(parts[0])):
        joined = combine(tuple(p[row - 1] for p in parts), tuple(p[row] for p in parts))
        for part, value in zip(parts, joined, strict=True):
            part[row] = value


def _double(combine: Combine, parts: Parts) -> None:
    """Combine each row with the one 1, 2, 4 … above it.

    As many passes as the number of rows has bits (Hillis, Steele 1986).
    """
    reach = 1
    while reach < len(parts[0]):
        joined = combine(tuple(p[:-reach] for p in parts), tuple(p[reach:] for p in parts))
        for part, value in zip(parts, joined, strict=True):
            part[reach:] = value
        reach *= 2
