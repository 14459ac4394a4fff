"""Aggregation over sessions: windows that grow and merge (R9).

Where the sessions are, ``session_index`` knows; what they hold lies in one partial, under the session's id.  A batch
is placed, read, folded, and only then the index is told: a row that fails on the way leaves no session behind.

Sessions are content for rows in time (``time > max(wm, W)``).  A row at or behind its judge that is still used makes
them order: whether it finds a session alive depends on what else has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar, final

import numpy as np
import polars as pl

from streamflow.core.arrays import I64
from streamflow.core.batch import Batch
from streamflow.core.connector import Refused
from streamflow.core.element import LATE, MAIN, Output
from streamflow.core.folding import Folding, Run
from streamflow.core.keys import key_columns
from streamflow.core.operator import Ledger
from streamflow.core.session_keys import SessionKeys
from streamflow.core.stamps import DELETE, UPSERT, Stamps, constant
from streamflow.core.state import DELETED, Snapshot, StatePart
from streamflow.core.timestamp import MIN_TIMESTAMP
from streamflow.core.window import Session as SessionWindow
from streamflow.operators.lateness import judges
from streamflow.operators.refusal import Refusal, refused_mask
from streamflow.operators.session_index import Placement, Session, SessionIndex
from streamflow.operators.windowed import Emission

P = TypeVar("P")


@final
class SessionAggregation(Generic[P]):
    """A step that aggregates by key and session.

    State: the live sessions.  A watermark costs what fires and expires.
    """

    def __init__(
        self,
        window: SessionWindow,
        keys: SessionKeys,
        folding: Folding[P],
        emission: Emission,
        refusal: Refusal,
    ) -> None:
        self.ledger = Ledger()
        self._gap = window.gap
        self._keys = keys
        self._folding = folding
        self._emission = emission
        self._refusal = refusal
        self._index = SessionIndex(window.gap, emission.lateness)
        self._panes = folding.new()
        self._watermark = MIN_TIMESTAMP
        self._gone: list[int] = []
        """Ids that have gone since the last snapshot."""
        self._changed: dict[int, int] = {}
        """For early firing: sessions that changed since the last tick, and their keys' codes."""
        self._next_early = MIN_TIMESTAMP
        self._kept = 0

    @property
    def held(self) -> int:
        """The live sessions; O(1)."""
        return self._folding.keys(self._panes)

    def on_batch(self, input: int, batch: Batch) -> Iterable[Output]:
        """Put the rows into their sessions; return what the mode of emission says, late rows and dead letters."""
        self.ledger.rows_in += len(batch)
        out: list[Output] = []
        while len(batch):
            bounds = self._judges(batch)
            placement = self._place(batch, bounds)
            used = np.flatnonzero(placement.ids >= 0).astype(np.int64)
            kept = batch if len(used) == len(batch) else batch.take(used)
            run, refused = self._folding.read(self._keys.under_ids(kept, placement.ids[used]))
            if refused:
                failed = [_replaced(r, int(used[r.row])) for r in refused]
                out += self._refusal.settle(failed, batch, self.ledger)
                batch = batch.take(~refused_mask(failed, len(batch)))
                continue
            out += self._drop(batch, bounds, placement)
            out += self._retract(placement, int(batch.stamps.wm.max()))
            out += self._fold(kept, run, used, placement)
            self._index.commit(placement)
            return out + self._refresh(placement, used, int(batch.stamps.wm.max()))
        return out

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        """Fire the sessions that end at or before the watermark, by their ends; forget those that none can join."""
        previous, self._watermark = self._watermark, watermark
        out: list[Output] = []
        if self._emission.emit == "close":
            out = self._emit(self._index.due(watermark, self._changed), previous)
        if self._emission.emit != "complete":
            gone = [session.id for _, session in self._index.expire(watermark)]
            self._folding.discard(self._panes, gone)
            self._gone += gone
            self._tidy()
        return out

    def on_tick(self, now: int) -> Iterable[Output]:
        """Emit what changed since the last early firing, where the time for one has come."""
        if not self._emission.early or now < self._next_early:
            return []
        self._next_early = now + self._emission.early
        changed, self._changed = self._changed, {}
        alive = [(c, s) for i, c in changed.items() for s in self._index.by_code.get(c, ()) if s.id == i]
        return self._emit(alive, self._watermark)

    def held_watermark(self, watermark: int) -> int:
        """Forward it as it is: what fired left before it."""
        return watermark

    def snapshot(self, *, full: bool) -> Snapshot:
        """Return sessions and what they hold; sessions whole each time, panes whole or what changed."""
        codes, sessions = _columns(self._index.all())
        held = self._keys.frame(codes).with_columns(sessions)
        panes = self._folding.export(self._panes) if full else self._folding.changed(self._panes)
        gone, self._gone = self._gone, []
        if gone and not full:
            removed = pl.DataFrame(
                {"key_0": gone, DELETED: [True] * len(gone)}, schema={"key_0": pl.Int64, DELETED: pl.Boolean}
            )
            panes = pl.concat([panes, removed], how="diagonal_relaxed")
        parts = (
            StatePart("panes", panes, ("key_0",)),
            StatePart("sessions", held.with_columns(whole=pl.lit(1)), ("whole",)),
        )
        meta = {"watermark": self._watermark, "next_id": self._index.next_id, "changed": list(self._changed)}
        return Snapshot(meta, parts)

    def restore(self, snapshot: Snapshot) -> None:
        """Take sessions and what they hold."""
        self._watermark = snapshot.meta["watermark"]
        parts = {part.name: part.frame for part in snapshot.parts}
        held = parts.get("sessions", pl.DataFrame())
        if held.height:
            codes = self._keys.load(held.select(key_columns(held)))
            rows = held.select("start", "end", "id", "emitted_start", "emitted_end").iter_rows()
            for code, (start, end, id, first, last) in zip(codes.tolist(), rows, strict=True):
                if end + self._emission.lateness > self._watermark or self._emission.emit == "complete":
                    self._index.load(code, Session(start, end, id, None if first is None else (first, last)))
        if parts.get("panes", pl.DataFrame()).height:
            live = [s.id for _, s in self._index.all()]
            self._panes = self._folding.load(parts["panes"].filter(pl.col("key_0").is_in(live)))
        changed = set(snapshot.meta["changed"])
        self._changed = {session.id: code for code, session in self._index.all() if session.id in changed}
        self._index.next_id = snapshot.meta["next_id"]

    def _judges(self, batch: Batch) -> I64:
        if self._emission.emit == "complete":
            return constant(MIN_TIMESTAMP, len(batch))
        return judges(batch, self._watermark, keep=self._emission.keep)

    def _place(self, batch: Batch, bounds: I64) -> Placement:
        assert batch.stamps.mark is not None, "the planner gives this step the watermark beside each row"
        marks = np.maximum(batch.stamps.mark, self._watermark)
        if self._emission.emit == "complete":
            marks = bounds
        exact = self._emission.emit == "each"
        return self._index.place(
            self._keys.encode(batch), batch.times, bounds, marks, keep=self._emission.keep, exact=exact
        )

    def _drop(self, batch: Batch, bounds: I64, placement: Placement) -> list[Output]:
        self.ledger.late += int(np.count_nonzero(batch.times < bounds))
        dropped = placement.ids < 0
        count = int(np.count_nonzero(dropped))
        self.ledger.dropped += count
        self.ledger.dropped_pairs += count
        if not count or not self._emission.has_late:
            return []
        gone = batch.take(dropped)
        return [
            (LATE, gone.as_late(bounds[dropped] - gone.times, [((t, t + self._gap),) for t in gone.times.tolist()]))
        ]

    def _fold(self, batch: Batch, run: Run, used: I64, placement: Placement) -> list[Output]:
        """Fold the rows, merging sessions between those where they merge; return answers where every row has one."""
        out: list[Output] = []
        merges = placement.merges
        places = [int(np.searchsorted(used, m.row)) for m in merges]
        start = 0
        for merge, stop in [*zip(merges, places, strict=True), (None, len(used))]:
            if stop > start:
                out += self._fold_part(batch, run, np.arange(start, stop), used, placement)
                start = stop
            if merge is not None:
                self._folding.move(self._panes, [merge.gone], [merge.id])
                self._gone.append(merge.gone)
        return out

    def _fold_part(self, batch: Batch, run: Run, rows: I64, used: I64, placement: Placement) -> list[Output]:
        if self._emission.emit != "each":
            refused = self._folding.fold(self._panes, run, rows)
            self.ledger.used += len(rows) - len(refused)
            return self._refusal.settle(refused, batch, self.ledger)
        starts, ends = placement.starts[used[rows]], placement.ends[used[rows]]
        answer, refused = self._folding.each(self._panes, run, rows, (starts, ends))
        self.ledger.used += len(rows) - len(refused)
        if refused:
            kept = ~np.isin(rows, [r.row for r in refused])
            rows, starts, ends = rows[kept], starts[kept], ends[kept]
        codes = self._keys.encode(batch.take(rows))
        self.ledger.rows_out += len(answer)
        labelled = self._keys.labelled(answer, codes, starts, ends)
        if self._emission.is_upsert:
            labelled = _of_kind(labelled, UPSERT)
        return [*self._refusal.settle(refused, batch, self.ledger), (MAIN, labelled)]

    def _retract(self, placement: Placement, wm: int) -> list[Output]:
        """Return deletes of the bounds under which grown sessions were emitted."""
        if not placement.replaced or not self._emission.is_upsert:
            return []
        by_bounds = {(c, *s.emitted): s for c, s in self._index.all() if s.emitted is not None}
        old = [
            (code, by_bounds[code, start, end])
            for code, start, end in placement.replaced
            if (code, start, end) in by_bounds
        ]
        return [
            (MAIN, _of_kind(batch, DELETE))
            for _, batch in self._results(
                [(c, s._replace(start=s.emitted[0], end=s.emitted[1])) for c, s in old if s.emitted], wm
            )
        ]

    def _refresh(self, placement: Placement, used: I64, wm: int) -> list[Output]:
        """Return the sessions that changed, as the mode of emission says."""
        emission = self._emission
        if emission.emit == "each" or not emission.is_upsert:
            return []
        if emission.emit == "complete":
            return self._emit(list(self._index.all()), wm)
        ids = set(placement.ids[used].tolist())
        changed = [(c, s) for c, sessions in placement.touched.items() for s in sessions if s.id in ids]
        if emission.emit == "update":
            return self._emit(changed, wm)
        if emission.early:
            self._changed |= {s.id: c for c, s in changed}
        return self._emit([(c, s) for c, s in changed if s.end <= self._watermark], wm)

    def _emit(self, sessions: Sequence[tuple[int, Session]], wm: int) -> list[Output]:
        out: list[Output] = []
        for emitted, batch in self._results(sessions, wm):
            for code, session in emitted:
                self._index.mark_emitted(code, session)
            self.ledger.rows_out += len(batch)
            out.append((MAIN, _of_kind(batch, UPSERT) if self._emission.is_upsert else batch))
        return out

    def _results(
        self, sessions: Sequence[tuple[int, Session]], wm: int
    ) -> list[tuple[list[tuple[int, Session]], Batch]]:
        """Return what sessions hold, as one batch in the order of their ends."""
        if not sessions:
            return []
        by_id = {session.id: (code, session) for code, session in sessions}
        results = self._folding.results([self._panes], (0, 1), wm, keys=self._folding.keyed(list(by_id)))
        found = [by_id[id] for id in self._keys.ids(results)]
        codes = np.array([code for code, _ in found], dtype=np.int64)
        starts = np.array([s.start for _, s in found], dtype=np.int64)
        ends = np.array([s.end for _, s in found], dtype=np.int64)
        labelled = self._keys.labelled(results, codes, starts, ends)
        labelled = labelled.with_stamps(Stamps(ends - 1, constant(wm, len(ends))))
        order = np.lexsort((codes, starts, ends)).astype(np.int64)
        return [([found[i] for i in order.tolist()], labelled.take(order))]

    def _tidy(self) -> None:
        """Free the codes of keys without sessions, once in a while."""
        self._kept += 1
        if self._kept >= _TIDY_EVERY:
            self._kept = 0
            self._keys.keep(list(self._index.by_code))


_TIDY_EVERY = 256


def _of_kind(batch: Batch, kind: int) -> Batch:
    return batch.with_stamps(batch.stamps.with_kind(np.full(len(batch), kind, dtype=np.int8)))


def _replaced(refused: Refused, row: int) -> Refused:
    return Refused(row, refused.reason, refused.raw, refused.cause)


def _columns(sessions: Iterable[tuple[int, Session]]) -> tuple[I64, list[pl.Series]]:
    """Return the codes of the sessions' keys, and their bounds and ids as columns."""
    listed = list(sessions)
    emitted: list[Any] = [s.emitted or (None, None) for _, s in listed]
    columns = {
        "start": [s.start for _, s in listed],
        "end": [s.end for _, s in listed],
        "id": [s.id for _, s in listed],
        "emitted_start": [first for first, _ in emitted],
        "emitted_end": [last for _, last in emitted],
    }
    codes = np.array([code for code, _ in listed], dtype=np.int64)
    return codes, [pl.Series(name, values, dtype=pl.Int64) for name, values in columns.items()]
