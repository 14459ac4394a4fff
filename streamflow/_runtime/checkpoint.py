"""Checkpoints: what the runner asks for, between the event loop and the commit protocol.

Life of a worker::

    recovered = await checkpoints.recover()          # None: nothing was there
    await checkpoints.begin(EpochData(positions=…))  # the take-over: before a row is read, before a sink is opened
    for each sink:                                   # opened now; it says which token it has
        for token in await checkpoints.due(sink, its_token):
            await apply(await checkpoints.staged(sink, token), token)
    for each epoch:
        number = await checkpoints.commit(EpochData(…))
        await apply(checkpoints.last_staged, checkpoints.token(number))
        checkpoints.applied(sink, checkpoints.token(number))

Whatever blocks runs in a thread, one call at a time, and is waited for even by a caller that is cancelled: so what was
committed is known (``last``) as soon as the caller has control again.  After an error other than ``StoreFullError``
nothing more can be written by this object: its worker must exit, and the next one finds out what there is.

Does not know operators, sinks or sources: state, output and positions are what they are given as.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, final

import anyio
import anyio.to_thread

from streamflow._runtime.commit import Commits, Found, Identity, Tip
from streamflow._runtime.content import Content, EpochData, Positions, Staged, changed, gather, merged
from streamflow._runtime.savepoint import read_savepoint, write_savepoint
from streamflow._runtime.store import Store
from streamflow.core.chain import due, reach, refusal_to_fall_back, require_ours
from streamflow.core.connector import Token
from streamflow.core.manifest import NOTHING, Link, Manifest, Reach
from streamflow.core.segment import compacted
from streamflow.core.state import Snapshot
from streamflow.errors import CheckpointError, DamagedError, FencedError, InternalError, StoreFullError

__all__ = ["Checkpoints", "EpochData", "Identity", "Recovered"]

FULL_EVERY = 64
"""After so many epochs a full snapshot is asked for: a restart replays no more segments than that."""

FULL_ABOVE = 2
"""Nor more than so many times what the last full snapshot took."""

SMALL_CHAIN = 1 << 20
"""A chain of fewer bytes is read in a few milliseconds; how many times the snapshot that is does not matter."""

T = TypeVar("T")


@final
@dataclass(frozen=True, slots=True)
class Recovered:
    """The checkpoint that a worker goes on from.

    Attributes:
        epoch: Its number, or that of the savepoint.
        generation: Its generation.
        snapshots: By step id, the state, compacted.
        positions: By source and split, where to go on.
        meta: What else the engine kept.
        plan: The fingerprint of each stateful step's schema, as of then.
        finished: Whether the input was over: there is nothing to read.
        warning: What had to be passed over to get here; None if nothing.
    """

    epoch: int
    generation: int
    snapshots: Mapping[str, Snapshot]
    positions: Positions
    meta: Mapping[str, Any]
    plan: Mapping[str, str]
    finished: bool
    warning: str | None = None


@final
class Checkpoints:
    """The checkpoints of one pipeline, as one worker makes them.

    Args:
        store: Where they are kept.
        identity: Whose they are.
    """

    def __init__(self, store: Store, identity: Identity) -> None:
        self._commits = Commits(store, identity)
        self._lock = anyio.Lock()
        self._thread: anyio.CapacityLimiter | None = None  # of its own: the host's threads may all be busy
        self._tip: Tip | None = None
        self._has: dict[str, Reach] = {}
        self._positions: dict[str, dict[str, Any]] = {}
        self._meta: Mapping[str, Any] = {}
        self._aborted: list[EpochData] = []
        self._last_staged: Staged = {}
        self._restored: Content | None = None
        self._end: CheckpointError | None = None

    def __repr__(self) -> str:
        """Say where it stands."""
        return f"<checkpoints of {self._commits.identity.pipeline!r} in {self._commits.store}, last {self.last}>"

    # ---- where it stands

    @property
    def last(self) -> int:
        """The number of the last epoch that this worker committed or found; 0 before there is one."""
        return self._tip.chain[-1].number if self._tip is not None and self._tip.chain else 0

    @property
    def last_staged(self) -> Staged:
        """What the last epoch that was committed staged, that of aborted ones before it included: apply this."""
        return self._last_staged

    @property
    def next_epoch(self) -> int:
        """The number that the next epoch gets."""
        return self._known_tip().next

    @property
    def generation(self) -> int:
        """The generation of what this worker writes."""
        return self._known_tip().generation

    @property
    def fence(self) -> int:
        """The number of this worker's take-over."""
        return self._known_tip().fence

    @property
    def wants_full(self) -> bool:
        """Whether the next epoch should bring the whole state, so that the chain of what changed starts again."""
        tip = self._known_tip()
        base = tip.chain[-1].manifest.base if tip.chain else 0
        chain = [link.manifest.segment.state for link in tip.chain if link.number > base]
        whole = sum(link.manifest.segment.state for link in tip.chain if link.number == base)
        return len(chain) >= FULL_EVERY or sum(chain) > max(FULL_ABOVE * whole, SMALL_CHAIN)

    def token(self, epoch: int, chunk: int = 0) -> Token:
        """Return what a sink stores with a chunk of an epoch of this worker."""
        return Token(self.generation, epoch, chunk, self.fence)

    def known(self, sink: str) -> Token | None:
        """Return how far a sink is known to be: for sinks that store no token of their own."""
        has = self._has.get(sink, NOTHING)
        return Token(*has) if has[0] else None

    # ---- starting

    async def recover(
        self,
        *,
        applied: Mapping[str, Token | None] | None = None,
        new_generation: bool = False,
        savepoint: str | None = None,
    ) -> Recovered | None:
        """Return the newest checkpoint, or None where there is none; changes nothing in the store.

        Args:
            applied: The token of each sink (None: it has nothing).  A damaged checkpoint is passed over for an older
                one only where every sink is named and none has anything newer.
            new_generation: Pass over damaged ones whatever the sinks have.
            savepoint: Take this one instead.

        Raises:
            CheckpointError: If it cannot be read, or is not this pipeline's.
        """
        return await self._run(lambda: self._recover(applied, savepoint, new_generation=new_generation))

    async def begin(self, data: EpochData, *, new_generation: bool = False, above: int = 0) -> int:
        """Take over: commit an empty epoch that carries this worker's fence, and return its number.

        Args:
            data: Every start position, and what else is known.  ``full``: start afresh, with nothing of what was found
                except output that a sink has not got yet.
            new_generation: Begin a new generation; a savepoint always does.
            above: The largest generation in a sink's token: the new one is larger.

        Raises:
            FencedError: If another worker was faster.
            CheckpointError: If a sink that the pipeline no longer has was still waiting for output.
        """
        return await self._run(lambda: self._begin(data, above, new_generation=new_generation), writes=True)

    async def due(self, sink: str, token: Token | None, *, keeps_token: bool = True) -> list[Token]:
        """Return what to apply to a sink that was found to have this token, oldest first; asked once, after ``begin``.

        Args:
            sink: Which sink.
            token: Its token; None: it has none.
            keeps_token: Whether it stores tokens at all.  One that does not is believed to have what ``applied`` was
                told of it, and is given the rest, the last epoch perhaps again.

        Raises:
            CheckpointError: If sink and checkpoint contradict each other: nothing must be written then.
        """
        return await self._run(lambda: self._due(sink, token if keeps_token else self.known(sink)))

    async def staged(self, sink: str, token: Token) -> list[bytes]:
        """Return the pieces staged for a sink under one of the tokens that ``due`` returned.

        Raises:
            CheckpointError: If they are damaged.
        """
        return await self._run(lambda: self._staged(sink, token))

    # ---- going on

    async def commit(self, data: EpochData) -> int:
        """Commit an epoch and return its number: from then on it cannot be lost, and its output may be applied.

        After a cancellation ``last`` says whether it was committed.

        Raises:
            StoreFullError: If there is no room.  What the epoch held, output too, joins the next one that is committed:
                do not give it again, and apply ``last_staged``.
            FencedError: If another worker has taken over: nothing may be applied.
            CheckpointError: If it failed otherwise; it may or may not be committed, and the worker must exit.
        """
        return await self._run(lambda: self._commit(data), writes=True)

    def applied(self, sink: str, token: Token) -> None:
        """Note that a sink has stored this token; what all sinks have is cleaned up after a later commit.

        It is durable with the next epoch.  So a worker that stops in peace commits an empty one behind its last output:
        sinks that keep no token are then not given that output again, and the pipeline may go on without a sink.
        """
        tip = self._known_tip()
        if reach(token)[:2] > (tip.generation, self.last):
            raise InternalError(f"sink {sink!r} has applied epoch {token.epoch}, the last one committed is {self.last}")
        self._has[sink] = max(self._has.get(sink, NOTHING), reach(token))

    async def check_fence(self) -> None:
        """Return if this worker still is the last to have taken over; ask after an error of a sink's producer.

        Raises:
            FencedError: If it is not.
        """
        await self._run(lambda: self._commits.confirm(self._known_tip()))

    async def savepoint(self, name: str) -> None:
        """Keep the last epoch under a name until somebody removes it; O(state).

        Raises:
            CheckpointError: If a sink has not got all of its output yet, or there is a savepoint of that name.
        """
        await self._run(lambda: write_savepoint(self._commits, self._known_tip(), name, dict(self._has)))

    async def close(self) -> None:
        """Release the store; called once, after everything else."""
        await self._run(self._commits.store.close, even_after_error=True)

    # ---- in the thread

    def _recover(
        self, applied: Mapping[str, Token | None] | None, savepoint: str | None, *, new_generation: bool
    ) -> Recovered | None:
        found = self._commits.find()
        try:
            chain, content, warning = self._newest(found, applied, is_forced=new_generation or savepoint is not None)
        except DamagedError as error:
            if savepoint is None:
                raise
            chain, content, warning = (), Content(), str(error)
        self._tip = Tip(chain, found.largest, chain[-1].manifest.generation if chain else 1)
        self._has = {sink: mark.has for sink, mark in chain[-1].manifest.sinks.items()} if chain else {}
        if savepoint is not None:
            manifest, content = read_savepoint(self._commits, savepoint)
            self._restored = content
        elif chain:
            manifest = chain[-1].manifest
        else:
            return None
        require_ours(manifest, self._commits.identity.pipeline)
        self._positions = merged({}, content.positions)
        self._meta = content.meta or {}
        return _recovered(manifest, content, warning)

    def _newest(
        self, found: Found, applied: Mapping[str, Token | None] | None, *, is_forced: bool
    ) -> tuple[tuple[Link, ...], Content, str | None]:
        problems = [found.damaged[number] for number in sorted(found.damaged, reverse=True)]
        for chain in found.chains():
            require_ours(chain[-1].manifest, self._commits.identity.pipeline)
            try:
                content = self._commits.read_state(chain)
            except DamagedError as error:
                problems.append(str(error))
                continue
            if chain[-1].number == found.largest:
                return chain, content, None
            passed = f"epoch {found.largest} cannot be read, epoch {chain[-1].number} can: {'; '.join(problems)}"
            reason = None if is_forced else refusal_to_fall_back(chain[-1], applied)
            if reason is None:
                return chain, content, passed
            raise CheckpointError(
                f"{self._commits.store}: {passed}.  Going on from there could contradict what was written: {reason}",
                remedy="restore the damaged file; or go on with --new-generation: what came after is then repeated",
            )
        if not found.largest:
            return (), Content(), None
        raise DamagedError(
            f"{self._commits.store}: no checkpoint can be read: {'; '.join(problems)}",
            remedy="restore the damaged files or a savepoint, or start afresh in another directory",
        )

    def _begin(self, data: EpochData, above: int, *, new_generation: bool) -> int:
        tip = self._known_tip()
        is_new = new_generation or self._restored is not None
        generation = max(tip.generation, above) + 1 if is_new else tip.generation
        content = gather([data])
        if self._restored is not None:
            positions = merged(self._restored.positions, content.positions)
            content = replace(content, changes=self._restored.changes, positions=positions, full=True)
        elif data.full:
            self._meta = {}
        if not is_new and tip.chain:
            self._require_sinks(tip.chain[-1].manifest)
        return self._write(tip.taken_over(generation=generation), "start", content)

    def _require_sinks(self, manifest: Manifest) -> None:
        for sink, mark in manifest.sinks.items():
            if sink not in self._commits.identity.sinks and (mark.waiting or sink in manifest.staged):
                raise CheckpointError(
                    f"pipeline {manifest.pipeline!r} has no sink {sink!r} now, and its checkpoint holds output for it",
                    remedy="run it with that sink until it has caught up, or drop the output with --new-generation",
                )

    def _commit(self, data: EpochData) -> int:
        epochs = [*self._aborted, data]
        content = gather(epochs)
        try:
            number = self._write(self._known_tip(), "epoch", content)
        except StoreFullError:
            self._aborted = epochs
            raise
        self._aborted, self._last_staged = [], content.staged
        return number

    def _write(self, tip: Tip, kind: Literal["start", "epoch"], content: Content) -> int:
        positions = merged({} if content.full else self._positions, content.positions)
        written = positions if content.full else changed(self._positions, positions)
        meta = self._meta if content.meta is None else content.meta
        has = dict(self._has)
        draft = self._commits.draft(tip, kind, replace(content, positions=written, meta=meta), has)
        tip = self._commits.create(tip, draft)
        self._tip, self._positions, self._meta = tip, positions, meta
        names = self._commits.confirm(tip)
        if kind == "epoch":
            self._tip = self._commits.clean_up(tip, names, has)
        return draft.link.number

    def _due(self, sink: str, token: Token | None) -> list[Token]:
        tip = self._known_tip()
        try:
            chunks = due(tip.chain, sink, token)
        except CheckpointError:
            self._commits.confirm(tip)  # what this worker does not know of may be another one's that took over
            raise
        self._has[sink] = max(self._has.get(sink, NOTHING), reach(token))
        return [Token(link.manifest.generation, link.number, chunk, tip.fence) for link, chunk in chunks]

    def _staged(self, sink: str, token: Token) -> list[bytes]:
        for link in self._known_tip().chain:
            if link.number == token.epoch:
                return self._commits.read_staged(link, sink, token.chunk)
        raise InternalError(f"epoch {token.epoch} of sink {sink!r} is not in the history any more")

    def _known_tip(self) -> Tip:
        if self._tip is None:
            raise InternalError("checkpoints are asked for before they have been recovered")
        return self._tip

    # ---- the thread

    async def _run(self, act: Callable[[], T], *, writes: bool = False, even_after_error: bool = False) -> T:
        async with self._lock:
            if self._end is not None and not even_after_error:
                raise self._end
            self._thread = self._thread or anyio.CapacityLimiter(1)
            return await _finish(lambda: self._guarded(act, writes=writes), self._thread)

    def _guarded(self, act: Callable[[], T], *, writes: bool) -> T:
        try:
            return act()
        except StoreFullError:
            raise
        except FencedError as error:
            self._end = error
            raise
        except Exception as error:
            if writes:
                self._end = _ended(error)
            raise


def _ended(error: Exception) -> CheckpointError:
    return CheckpointError(
        f"an earlier epoch failed, and may or may not be committed: {error}",
        remedy="the worker must exit; the next one finds out",
    )


async def _finish(act: Callable[[], T], thread: anyio.CapacityLimiter) -> T:
    """Return what a call returns that runs in a thread; a cancellation waits until it has ended."""
    with anyio.CancelScope(shield=True):
        task = asyncio.ensure_future(anyio.to_thread.run_sync(act, limiter=thread))
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        task.exception()  # looked at: what failed is asked for again, or found by the next worker
        raise cancelled
    return task.result()


def _recovered(manifest: Manifest, content: Content, warning: str | None) -> Recovered:
    return Recovered(
        epoch=manifest.number,
        generation=manifest.generation,
        snapshots=compacted(content.changes),
        positions=content.positions,
        meta=content.meta or {},
        plan=manifest.plan,
        finished=content.finished,
        warning=warning,
    )
