"""The commit protocol, step by step: find, draft, create, confirm, clean up.

Each step is one act on the store that another worker can come before or after.  The order is the protocol's::

    take-over:  find     what is there
                create   the next manifest: empty, with this worker's fence and start positions
                confirm  that no larger one is there
    epoch:      create   the next manifest (its content is decided; this is the commit)
                confirm  that no larger one is there: else nothing may be applied
                clean up what no checkpoint worth keeping needs and every sink has

``tests/laws/test_commit_protocol.py`` searches all interleavings and crashes of two workers that take these very steps.

Knows neither threads nor the event loop (``checkpoint``), nor what is allowed to be removed (``core.chain``).
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, final

from streamflow._runtime.content import Content, Staged
from streamflow._runtime.failpoint import failpoint
from streamflow._runtime.store import Store
from streamflow.core.chain import KEPT, history, next_mark, removable, replayed
from streamflow.core.manifest import (
    MAX_FILE,
    NOTHING,
    Link,
    Manifest,
    Parent,
    Reach,
    SegmentEntry,
    largest,
    manifest_name,
    manifest_number,
    seal,
    segment_name,
    unseal,
)
from streamflow.core.segment import decode_state, encode_state, staged_pieces
from streamflow.errors import CheckpointError, DamagedError, FencedError, StoreFullError

_LOG = logging.getLogger(__name__)

INLINE = 1 << 20
"""Segments below this many bytes stand in the file of their manifest: one fsync less, and no second file."""


@final
@dataclass(frozen=True, slots=True)
class Identity:
    """Who writes, and for what.

    Attributes:
        pipeline: The name of the pipeline.
        sinks: Its sinks (``sink``, or a name for each lane where one has several).
        plan: The fingerprint of each stateful step's schema, by step id.
        key: Seals manifests so that nobody without it can make one.
        writer: Made up, so that no two workers write the same bytes.
        now: The wall clock in seconds, for the time of creation that people read.
    """

    pipeline: str
    sinks: Sequence[str] = ()
    plan: Mapping[str, str] = field(default_factory=dict)
    key: bytes | None = None
    writer: str = field(default_factory=lambda: secrets.token_hex(8))
    now: Callable[[], float] = time.time


@final
@dataclass(frozen=True, slots=True)
class Tip:
    """Where a worker stands on the number line.

    Attributes:
        chain: The history, oldest first; empty before the first epoch.
        largest: The largest number in the store, readable or not.
        generation: The generation of what it writes.
        fence: The number of its take-over.
    """

    chain: tuple[Link, ...] = ()
    largest: int = 0
    generation: int = 1
    fence: int = 0

    @property
    def next(self) -> int:
        """The number of the next epoch."""
        return max(self.largest, self.chain[-1].number if self.chain else 0) + 1

    def taken_over(self, *, generation: int) -> Tip:
        """Return the same place for a worker that is about to take over."""
        return replace(self, generation=generation, fence=self.next)


@final
@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest ready to be created, and its segment where that is a file of its own."""

    link: Link
    content: Sequence[bytes]
    segment: Sequence[bytes] = ()


@final
@dataclass(frozen=True, slots=True)
class Found:
    """What a worker finds.

    Attributes:
        links: The manifests that can be read.
        damaged: What is wrong with the others, by number.
        largest: The largest number, readable or not.
    """

    links: Sequence[Link]
    damaged: Mapping[int, str]
    largest: int

    def chains(self) -> Iterator[tuple[Link, ...]]:
        """Yield the history, then what it was one epoch earlier, and so on, as far as it is certain to be history.

        Clean-up leaves the last ``KEPT`` numbers alone, so below so many damaged ones the first readable manifest may
        be a stale worker's.
        """
        newest = max(self.links, key=lambda link: link.number, default=None)
        if newest is None or len([number for number in self.damaged if number > newest.number]) >= KEPT:
            return
        chain = history(self.links, newest)
        yield from (chain[:end] for end in range(len(chain), 0, -1))


class Commits:
    """The steps of one worker.

    Args:
        store: Where.
        identity: Who.
    """

    def __init__(self, store: Store, identity: Identity) -> None:
        self.store = store
        self.identity = identity

    def find(self) -> Found:
        """Return what is there, made durable: who made it may have died before that.

        Raises:
            CheckpointError: If another version of streamflow wrote it, or the store cannot be read at all.
        """
        self.store.sync()
        names = self.store.list()
        failpoint("checkpoint.find.listed")
        links: list[Link] = []
        damaged: dict[int, str] = {}
        for number in filter(None, map(manifest_number, names)):
            try:
                link = self._read_manifest(number)
            except DamagedError as error:
                damaged[number] = str(error)
            else:
                links += [link] if link else []
        failpoint("checkpoint.find.read")
        return Found(links, damaged, largest(names))

    def draft(self, tip: Tip, kind: Literal["start", "epoch"], content: Content, has: Mapping[str, Reach]) -> Draft:
        """Return the manifest that comes after ``tip``; nothing is written yet.

        Raises:
            CheckpointError: If what it is to hold cannot be stored.
        """
        number, last = tip.next, tip.chain[-1] if tip.chain else None
        is_full = content.full or last is None
        entry, pieces = make_segment(content, file=segment_name(number, secrets.token_hex(8)))
        manifest = Manifest(
            pipeline=self.identity.pipeline,
            number=number,
            kind=kind,
            generation=tip.generation,
            fence=tip.fence,
            writer=self.identity.writer,
            parent=None if last is None else Parent(last.number, last.checksum),
            base=number if is_full or last is None else last.manifest.base,
            created=datetime.fromtimestamp(self.identity.now(), UTC).isoformat(timespec="milliseconds"),
            plan=dict(self.identity.plan),
            positions={source: dict(splits) for source, splits in content.positions.items()},
            meta=dict(content.meta or {}),
            finished=content.finished,
            segment=entry,
            staged=sizes(content.staged),
            sinks={sink: next_mark(tip.chain, sink, has.get(sink, NOTHING)) for sink in self.identity.sinks},
        )
        sealed, checksum = seal(manifest, key=self.identity.key)
        link = Link(manifest, checksum)
        return Draft(link, [sealed, *pieces]) if entry.file is None else Draft(link, [sealed], pieces)

    def create(self, tip: Tip, draft: Draft) -> Tip:
        """Create the manifest, which commits the epoch, and return where that leaves the worker.

        Raises:
            FencedError: If another worker has created this number.
            StoreFullError: If there is no room; nothing is committed.
        """
        file = draft.link.manifest.segment.file
        try:
            if file is not None:
                self.store.write(file, draft.segment)
            failpoint("checkpoint.create.segment_written")
            is_made = self.store.create(manifest_name(draft.link.number), draft.content)
        except StoreFullError:
            self.store.remove([file] if file else [])
            raise
        if not is_made:
            self.store.remove([file] if file else [])
            raise self._fenced(draft.link.number)
        failpoint("checkpoint.create.created")
        return replace(tip, chain=(*tip.chain, draft.link), largest=draft.link.number)

    def confirm(self, tip: Tip) -> Sequence[str]:
        """Return the names in the store, the largest of which is this worker's.

        Raises:
            FencedError: If another worker has created a larger one: nothing may be applied.
        """
        names = self.store.list()
        if largest(names) > tip.largest:
            raise self._fenced(largest(names))
        failpoint("checkpoint.confirm.confirmed")
        return names

    def clean_up(self, tip: Tip, names: Iterable[str], has: Mapping[str, Reach]) -> Tip:
        """Remove what ``core.chain.removable`` says, in its order, and return where that leaves the worker.

        What cannot be removed is tried again at the next epoch; the one that was committed is none the worse for it.
        """
        gone = removable(names, tip.chain, has)
        if not gone:
            return tip
        try:
            self.store.remove(gone)
        except CheckpointError as error:
            _LOG.warning("clean-up stopped, and will be tried again: %s", error)
            return tip
        failpoint("checkpoint.clean_up.done")
        is_gone = set(gone).__contains__
        return replace(tip, chain=tuple(link for link in tip.chain if not is_gone(manifest_name(link.number))))

    def read_segment(self, link: Link) -> memoryview:
        """Return the segment of a manifest, its checksum checked.

        Raises:
            DamagedError: If it is missing or not what was written.
        """
        entry, name = link.manifest.segment, manifest_name(link.number)
        if entry.file is None:
            data = self.store.read(name, limit=MAX_FILE)
            found, segment = unseal(data or b"", name, key=self.identity.key)
            if found.checksum != link.checksum:
                raise DamagedError(f"{name} is not the one that was found before")
        else:
            segment = memoryview(self.store.read(entry.file, limit=entry.size) or b"")
        require_digest(segment, entry, entry.file or name)
        return segment

    def read_state(self, chain: Sequence[Link]) -> Content:
        """Return state and positions at the end of a chain; of the state a snapshot and what changed since, in order.

        Raises:
            DamagedError: If a part of it is missing or not what was written.
        """
        changes: list[Any] = []
        positions: dict[str, dict[str, Any]] = {}
        for link in replayed(chain):
            segment = self.read_segment(link)
            changes += decode_state(segment[: link.manifest.segment.state], f"epoch {link.number}")
            for source, splits in link.manifest.positions.items():
                positions.setdefault(source, {}).update(splits)
        last = chain[-1].manifest
        return Content(changes, positions, {}, last.meta, full=True, finished=last.finished)

    def read_staged(self, link: Link, sink: str, chunk: int) -> list[bytes]:
        """Return the pieces of one chunk of a sink's output.

        Raises:
            DamagedError: If they are missing or not what was written.
        """
        segment = self.read_segment(link)
        return staged_pieces(segment, link.manifest.segment.state, link.manifest.staged, sink, chunk)

    def _read_manifest(self, number: int) -> Link | None:
        name = manifest_name(number)
        data = self.store.read(name, limit=MAX_FILE)
        if data is None:
            return None  # removed since the names were listed, by a worker that found it to be over
        link, _ = unseal(data, name, key=self.identity.key)
        if link.number != number or link.manifest.kind == "savepoint":
            raise DamagedError(f"{name} is damaged: it holds the {link.manifest.kind} {link.number}")
        return link

    def _fenced(self, number: int) -> FencedError:
        return FencedError(
            f"another worker has taken over pipeline {self.identity.pipeline!r}: epoch {number} in {self.store} is its",
            remedy="leave the work to it; if both were started on purpose, give each a state directory of its own",
        )


def make_segment(content: Content, *, file: str | None) -> tuple[SegmentEntry, list[bytes]]:
    """Return the entry of a segment, and its pieces; ``file`` is where it goes if it is large."""
    state = encode_state(content.changes)
    pieces = state + [piece for chunks in content.staged.values() for chunk in chunks for piece in chunk]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    size = sum(map(len, pieces))
    entry = SegmentEntry(size, sum(map(len, state)), digest.digest(), file if size >= INLINE else None)
    return entry, pieces


def sizes(staged: Staged) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Return the sizes of staged pieces, as a manifest lists them."""
    return {sink: tuple(tuple(map(len, chunk)) for chunk in chunks) for sink, chunks in staged.items() if chunks}


def require_digest(segment: memoryview, entry: SegmentEntry, name: str) -> None:
    """Refuse a segment that is not what was written.

    Raises:
        DamagedError: If so.
    """
    if len(segment) != entry.size:
        raise DamagedError(
            f"{name} is damaged or missing: a segment of {entry.size} bytes expected, got {len(segment)}"
        )
    if hashlib.sha256(segment).digest() != entry.sha256:
        raise DamagedError(f"{name} is damaged: the checksum of its segment does not fit")
