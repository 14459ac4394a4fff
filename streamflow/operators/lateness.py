"""Late and dropped: rule R2, written once for every windowed step.

A row is **late** iff ``time < judge`` with ``judge = max(row.wm, W)``: the watermark of its own split just before it,
or the step's where that is ahead.  It is counted, and used by the windows that still take it.

A row is **dropped** by a window iff ``end + L <= judge`` with the allowed lateness ``L``.  A row at the edge, ``end +
L == judge``, is dropped: the window fired when the watermark reached its end.

``late="keep"`` judges by the step's watermark alone (``mark``), Flink's way: it keeps more and depends on timing.

Why no batch is ever cut: within a batch the step's watermark cannot pass a row's own ``wm``, except for rows of a
split that lags behind after idleness, and for these it stands still until the split has caught up.  So the judge of
every row is known when the batch comes, and what fires because of the batch may fire behind it, in the order of the
windows' ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from streamflow.core.arrays import I64, Mask
from streamflow.core.batch import Batch
from streamflow.core.window import Sliced, floor_end
from streamflow.errors import InternalError


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """Which windows take the rows of a batch.

    Attributes:
        floor: The end of the first window that takes each row.
        late: How many rows are behind the watermark.
        plain: Rows that all live windows over their slice take; None where that is all of them.
        partial: Rows that some live window over their slice does not take, and a later one does.
        dropped: Rows that no window takes any more.
        outside: Rows that lie in no window (``slide > size``).
    """

    floor: I64
    late: int = 0
    plain: I64 | None = None
    partial: I64 | None = None
    dropped: I64 | None = None
    outside: I64 | None = None


def judges(batch: Batch, watermark: int, *, keep: bool) -> I64:
    """Return the watermark that judges each row."""
    if keep:
        if batch.stamps.mark is None:
            raise InternalError("late='keep' needs the step's watermark beside each row")
        return np.maximum(batch.stamps.mark, watermark)
    return np.maximum(batch.stamps.wm, watermark)


def judge(window: Sliced, times: I64, judge: I64, *, lateness: int, base: int) -> Verdict:
    """Return which windows take each row.

    Args:
        window: The windows.
        times: The rows' event times.
        judge: The watermark that judges each row.
        lateness: The allowed lateness ``L``.
        base: The end of the first window that the step still keeps; windows before it take nothing.

    Cost: two comparisons where nothing is late and no window is due, else a few numpy passes.
    """
    first = window.first_end(times)
    earliest, latest = int(times.min()), int(judge.max())
    if not window.has_gaps and int(window.first_end(earliest)) + lateness > latest:
        late = 0 if earliest >= latest else int(np.count_nonzero(times < judge))
        return Verdict(first, late)
    floor = floor_end(window, first, judge, lateness)
    last = window.last_end(times)
    outside = first > last
    dropped = (floor > last) & ~outside
    partial = (floor > np.maximum(first, base)) & ~dropped & ~outside
    plain = ~(outside | dropped | partial)
    return Verdict(
        floor,
        int(np.count_nonzero(times < judge)),
        *(_places(mask) for mask in (plain, partial, dropped, outside)),
    )


def _places(mask: Mask) -> I64:
    return np.flatnonzero(mask).astype(np.int64, copy=False)


def missed(window: Sliced, times: I64, judge: I64, lateness: int) -> list[list[tuple[int, int]]]:
    """Return, for each row, the windows that dropped it, by their ends."""
    return [
        [(start, end) for start, end in window.windows(time) if end + lateness <= bound]
        for time, bound in zip(times.tolist(), judge.tolist(), strict=True)
    ]
