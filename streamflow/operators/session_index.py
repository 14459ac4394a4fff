"""Which sessions there are, and how rows make them grow and merge (R9).

Times and ids only: what sessions hold is kept elsewhere.

A row brings ``[time, time + gap)``.  It joins every session of its key that it touches: ``s.start <= end and start <=
s.end``, so exactly the gap apart merges.  A session is *gone* for a row once ``s.end + L <= W`` just before the row,
whether or not the batch has been told so yet: that is what makes one batch and many the same.

``place`` changes nothing: it returns what a batch would do, and ``commit`` does it, so that rows that fail in between
leave no trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple, final

import numpy as np

from streamflow.core.arrays import I64
from streamflow.core.stamps import constant


class Session(NamedTuple):
    """One session of one key; ``emitted`` is the end under which it was emitted last, with its start, or None."""

    start: int
    end: int
    id: int
    emitted: tuple[int, int] | None = None


class Merge(NamedTuple):
    """Before row ``row`` is folded, what session ``gone`` holds goes to session ``id``."""

    row: int
    gone: int
    id: int


@final
@dataclass(slots=True)
class Placement:
    """What a batch would do to the sessions.

    Attributes:
        ids: For each row the session it goes to; -1 where it is dropped.
        starts: For each row the start of that session with the row in it.
        ends: For each row the end of it.
        merges: In the order of the rows.
        touched: The sessions of every key that changes, as they would be.
        replaced: Bounds under which something was emitted that no longer stands, by (key's code, start, end).
        fresh: The next free id.
    """

    ids: I64
    starts: I64
    ends: I64
    merges: list[Merge] = field(default_factory=list)
    touched: dict[int, list[Session]] = field(default_factory=dict)
    replaced: list[tuple[int, int, int]] = field(default_factory=list)
    fresh: int = 0


@final
class SessionIndex:
    """The sessions of every key."""

    def __init__(self, gap: int, lateness: int) -> None:
        self.by_code: dict[int, list[Session]] = {}
        self.next_id = 0
        self._gap = gap
        self._lateness = lateness
        self._due: list[tuple[int, int, int]] = []
        """A heap of (end, code, id); entries of sessions that have grown or merged are stale and skipped."""
        self._ending: list[tuple[int, int]] = []
        """A heap of (end + lateness, code): when to look whether a session of the key is over."""

    def place(self, codes: I64, times: I64, bounds: I64, marks: I64, *, keep: bool, exact: bool) -> Placement:
        """Return what these rows would do.

        Args:
            codes: The codes of their keys.
            times: Their event times.
            bounds: The watermark that judges each.
            marks: The step's watermark just before each.
            keep: Judge a row by the session it would join, not by its own window.
            exact: Say for each row how far its session reached then; else rows in time may be placed together.
        """
        rows = len(times)
        at = Placement(constant(-1, rows), constant(-1, rows), constant(-1, rows), fresh=self.next_id)
        if exact or keep or not bool((times > bounds).all()):
            for row, (code, time, bound, mark) in enumerate(
                zip(codes.tolist(), times.tolist(), bounds.tolist(), marks.tolist(), strict=True)
            ):
                self._row(at, row, code, time, bound, mark, keep=keep)
        else:
            self._together(at, codes, times, int(marks.min()))
        return at

    def commit(self, placement: Placement) -> None:
        """Do what ``place`` returned."""
        self.next_id = placement.fresh
        for code, sessions in placement.touched.items():
            self.by_code[code] = sessions
            for session in sessions:
                heappush(self._due, (session.end, code, session.id))
                heappush(self._ending, (session.end + self._lateness, code))

    def due(self, watermark: int, changed: dict[int, int]) -> list[tuple[int, Session]]:
        """Return the sessions that end at or before the watermark and are not emitted as they are, by their ends.

        Args:
            watermark: The watermark.
            changed: The ids of sessions that hold rows that were not emitted, whatever their bounds; those that are
                returned are taken out.
        """
        found: list[tuple[int, Session]] = []
        while self._due and self._due[0][0] <= watermark:
            end, code, id = heappop(self._due)
            session = next((s for s in self.by_code.get(code, ()) if s.id == id and s.end == end), None)
            is_changed = session is not None and changed.pop(id, None) is not None
            if session is not None and (is_changed or session.emitted != (session.start, session.end)):
                self._replace(code, session, session._replace(emitted=(session.start, session.end)))
                found.append((code, session))
        return found

    def mark_emitted(self, code: int, session: Session) -> None:
        """Note that a session was emitted as it is."""
        self._replace(code, session, session._replace(emitted=(session.start, session.end)))

    def expire(self, watermark: int) -> list[tuple[int, Session]]:
        """Remove and return the sessions that no row can join any more: ``end + L <= watermark``."""
        codes: set[int] = set()
        while self._ending and self._ending[0][0] <= watermark:
            codes.add(heappop(self._ending)[1])
        gone: list[tuple[int, Session]] = []
        for code in codes & self.by_code.keys():
            sessions = self.by_code[code]
            kept = [s for s in sessions if s.end + self._lateness > watermark]
            gone += [(code, s) for s in sessions if s.end + self._lateness <= watermark]
            if kept:
                self.by_code[code] = kept
            else:
                del self.by_code[code]
        return gone

    def all(self) -> Iterable[tuple[int, Session]]:
        """Yield every session with its key's code."""
        for code, sessions in self.by_code.items():
            for session in sessions:
                yield code, session

    def load(self, code: int, session: Session) -> None:
        """Take a session from a checkpoint."""
        self.by_code.setdefault(code, []).append(session)
        self.next_id = max(self.next_id, session.id + 1)
        heappush(self._due, (session.end, code, session.id))
        heappush(self._ending, (session.end + self._lateness, code))

    def _row(self, at: Placement, row: int, code: int, time: int, bound: int, mark: int, *, keep: bool) -> None:
        start, end = time, time + self._gap
        alive = [s for s in self._sessions(at, code) if s.end + self._lateness > mark]
        if keep:
            for s in _touching(alive, start, end):
                start, end = min(start, s.start), max(end, s.end)
        if end + self._lateness <= bound:
            return
        session = self._join(at, row, code, time, time + self._gap, mark)
        at.ids[row], at.starts[row], at.ends[row] = session.id, session.start, session.end

    def _together(self, at: Placement, codes: I64, times: I64, mark: int) -> None:
        """Place rows that are all in time: neighbours of one key first form one stretch, then each stretch joins."""
        order = np.lexsort((times, codes))
        ordered_codes, ordered = codes[order], times[order]
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = (ordered_codes[1:] != ordered_codes[:-1]) | (ordered[1:] - ordered[:-1] > self._gap)
        firsts = np.flatnonzero(is_first)
        lasts = np.append(firsts[1:], len(order)) - 1
        ids = np.empty(len(firsts), dtype=np.int64)
        stretches = zip(ordered_codes[firsts].tolist(), ordered[firsts].tolist(), ordered[lasts].tolist(), strict=True)
        for i, (code, first, last) in enumerate(stretches):
            ids[i] = self._join(at, len(order), code, first, last + self._gap, mark).id
        at.ids[order] = np.repeat(ids, np.diff(np.append(firsts, len(order))))
        moved = {m.gone: m.id for m in at.merges}
        for gone in moved:
            at.ids[at.ids == gone] = _last(moved, gone)

    def _join(self, at: Placement, row: int, code: int, start: int, end: int, mark: int) -> Session:
        """Return the session that a stretch ends up in, with all that it touches merged into it."""
        sessions = self._sessions(at, code)
        hit = [s for s in sessions if s.end + self._lateness > mark and s.start <= end and start <= s.end]
        if hit:
            keeper = hit[0]
            at.merges += [Merge(row, s.id, keeper.id) for s in hit[1:]]
            id = keeper.id
        else:
            id, at.fresh = at.fresh, at.fresh + 1
        bounds = min([start, *(s.start for s in hit)]), max([end, *(s.end for s in hit)])
        at.replaced += [(code, *s.emitted) for s in hit if s.emitted is not None and s.emitted != bounds]
        emitted = bounds if any(s.emitted == bounds for s in hit) else None
        session = Session(*bounds, id, emitted)
        at.touched[code] = [s for s in sessions if s not in hit] + [session]
        return session

    def _sessions(self, at: Placement, code: int) -> Sequence[Session]:
        return at.touched[code] if code in at.touched else self.by_code.get(code, ())

    def _replace(self, code: int, old: Session, new: Session) -> None:
        self.by_code[code] = [new if s.id == old.id else s for s in self.by_code[code]]


def _touching(sessions: Sequence[Session], start: int, end: int) -> list[Session]:
    return [s for s in sessions if s.start <= end and start <= s.end]


def _last(moved: dict[int, int], id: int) -> int:
    while id in moved:
        id = moved[id]
    return id
