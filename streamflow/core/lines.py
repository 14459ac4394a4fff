r"""Bytes as they arrive, cut into whole lines: what every source of lines keeps between two reads.

A line ends at ``\n`` and nowhere else; what lies behind the last one waits for the rest of it.  Knows no file, no
socket and no format.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from streamflow.core.arrays import I64
from streamflow.errors import DataError

_NONE: I64 = np.empty(0, dtype=np.int64)


@final
@dataclass(slots=True)
class LineBuffer:
    r"""Takes bytes in pieces of any size and gives whole lines, as many as asked for.

    Args:
        max_line_bytes: The longest line it takes, without its newline: what bounds its memory.

    >>> buffer = LineBuffer(max_line_bytes=100)
    >>> buffer.feed(b"one\ntwo\nthr")
    >>> buffer.take(10), buffer.unfinished
    (b'one\ntwo\n', b'thr')
    """

    max_line_bytes: int
    unfinished: bytes = b""  #: what lies behind the last newline
    _blob: bytes = b""
    _ends: I64 = field(default_factory=lambda: _NONE)  #: for each line of the blob, where the next one begins
    _taken: int = 0  #: lines of the blob that have been taken

    def __len__(self) -> int:
        """The number of whole lines that wait."""
        return len(self._ends) - self._taken

    def feed(self, data: bytes) -> None:
        """Add what has arrived; O(bytes).

        Raises:
            DataError: If a line is longer than ``max_line_bytes``.
        """
        waiting = self._blob[self._begin(self._taken) :]
        joined = waiting + self.unfinished + data
        cut = joined.rfind(b"\n") + 1
        self._blob, self.unfinished, self._taken = joined[:cut], joined[cut:], 0
        self._ends = np.flatnonzero(np.frombuffer(self._blob, dtype=np.uint8) == ord("\n")) + 1
        self._require_short_lines()

    def finish(self) -> None:
        """Take what is unfinished for a line: the input ends without a newline."""
        if self.unfinished:
            self.feed(b"\n")

    def take(self, limit: int) -> bytes:
        """Return the next ``limit`` lines, or as many as there are, each ended by a newline."""
        last = min(self._taken + limit, len(self._ends))
        blob = self._blob[self._begin(self._taken) : self._begin(last)]
        self._taken = last
        return blob

    def _begin(self, line: int) -> int:
        return int(self._ends[line - 1]) if line else 0

    def _require_short_lines(self) -> None:
        longest = len(self.unfinished)
        if len(self._blob) > self.max_line_bytes:
            longest = max(longest, int(np.diff(self._ends, prepend=0).max()) - 1)
        if longest > self.max_line_bytes:
            raise DataError(
                f"a line is longer than {self.max_line_bytes:,} bytes",
                remedy="raise max_line_bytes, or see whether the input has lines at all",
            )
