"""The chain of manifests: what is history, what a sink is owed, and what clean-up may take.

The number line
    Epochs of a store are numbered by one line, across take-overs and generations.  A manifest is created exclusively
    under the next number, so of two workers one loses.  Each names its parent by checksum, and **only what the chain
    from the largest readable one reaches is history**: a worker frozen for long may create a number that clean-up has
    removed, and die before it sees that it is stale.  A number counts even where the file cannot be read.

State and output
    ``base`` is the number of the manifest whose segment holds the state whole; from there to the tip the segments are
    replayed.  ``sinks`` says of each sink what it was known to have and which earlier epochs it was waiting for, so
    that a hole in the chain is seen even where the state is whole.

Clean-up
    Takes the oldest of the chain first and never from the middle, and only what no checkpoint worth keeping needs and
    every sink has.  The last ``KEPT`` always stay.  Example: the state is whole at 1 and again at 7; when 9 is
    committed, 1 to 6 go.

Decides only: reading and removing is the runtime's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from streamflow.core import keys
from streamflow.core.connector import Token
from streamflow.core.manifest import NOTHING, Link, Manifest, Reach, SinkMark, manifest_name
from streamflow.errors import CheckpointError, DamagedError

KEPT = 3
"""So many manifests at the end of the chain are never removed: two damaged ones at its end can be passed over."""

_NUMBERED_NAME = re.compile(r"(?:manifest|segment)-([0-9]{12})(?:[.-].+)?")
_LEFT_OVER_NAME = re.compile(r"savepoint-[^.]+\..+\.tmp")


def require_ours(manifest: Manifest, pipeline: str) -> None:
    """Refuse a manifest that another pipeline wrote, or that groups keys otherwise.

    Raises:
        CheckpointError: If so.
    """
    if manifest.pipeline != pipeline:
        raise CheckpointError(
            f"the checkpoint is of pipeline {manifest.pipeline!r}, not of {pipeline!r}",
            remedy="give each pipeline a state directory of its own",
        )
    if (manifest.key_hash, manifest.key_groups) != (keys.HASH, keys.GROUPS):
        raise CheckpointError(
            f"the checkpoint groups keys by {manifest.key_hash} into {manifest.key_groups}, this version of streamflow"
            f" by {keys.HASH} into {keys.GROUPS}",
            remedy="run the version of streamflow that wrote it",
        )


def history(links: Iterable[Link], tip: Link) -> tuple[Link, ...]:
    """Return the chain that ends with ``tip``, oldest first; whatever else there is was written by a stale worker."""
    found = {(link.number, link.checksum): link for link in links}
    chain = [tip]
    while (parent := chain[-1].manifest.parent) is not None:
        link = found.get((parent.number, parent.checksum))
        if link is None:
            break
        chain.append(link)
    return tuple(reversed(chain))


def replayed(chain: Sequence[Link]) -> Sequence[Link]:
    """Return the part of a chain whose segments make up the state of its tip.

    Raises:
        DamagedError: If the chain does not reach back so far.
    """
    base = chain[-1].manifest.base
    if chain[0].number > base:
        raise DamagedError(
            f"epoch {chain[-1].number} needs the epochs from {base} on, and its history begins at {chain[0].number}:"
            f" {manifest_name(chain[0].number - 1)} is missing or damaged"
        )
    return [link for link in chain if link.number >= base]


def reach(token: Token | None) -> Reach:
    """Return how far a sink with this token is."""
    return NOTHING if token is None else (token.generation, token.epoch, token.chunk)


def next_mark(chain: Sequence[Link], sink: str, has: Reach) -> SinkMark:
    """Return what the manifest after this chain says of a sink that is known to have so much."""
    if not chain:
        return SinkMark(has)
    tip = chain[-1].manifest
    before = tip.sinks.get(sink, SinkMark())
    has = max(has, before.has)
    return SinkMark(has, tuple(w for w in (*before.waiting, *tip.reaches(sink)[-1:]) if w > has))


def due(chain: Sequence[Link], sink: str, token: Token | None) -> list[tuple[Link, int]]:
    """Return which chunks of which epochs a sink with this token has not, oldest first.

    Raises:
        CheckpointError: If sink and history contradict each other: it has what the history has not, it had more once,
            or what it misses is not there any more.
    """
    tip, has = chain[-1].manifest, reach(token)
    mark = tip.sinks.get(sink, SinkMark())
    on_chain = {link.number for link in chain}
    same = {link.number for link in chain if link.manifest.generation == tip.generation}
    if has[0] > tip.generation or (has[0] == tip.generation and has[1] >= chain[0].number and has[1] not in same):
        raise _contradiction(sink, chain, f"it has epoch {has[1]} of generation {has[0]}, this history has not")
    if has < mark.has and mark.has[0] == tip.generation:
        raise _contradiction(sink, chain, f"it had epoch {mark.has[1]} and has now {has[1] or 'none'}: it lost output")
    has = max(has, mark.has)
    missing = [w[1] for w in mark.waiting if w > has and w[1] not in on_chain]
    if missing:
        raise _contradiction(sink, chain, f"it has not got epoch {missing[0]}, which is damaged or missing")
    return [(link, at[2]) for link in chain for at in link.manifest.reaches(sink) if at > has]


def _contradiction(sink: str, chain: Sequence[Link], reason: str) -> CheckpointError:
    tip = chain[-1].manifest
    return CheckpointError(
        f"sink {sink!r} and the checkpoint of pipeline {tip.pipeline!r} at epoch {tip.number} of generation"
        f" {tip.generation} do not fit: {reason}",
        remedy="use the state directory that this sink was written from; or go on with --new-generation: what came"
        " after that epoch is then repeated, or missing",
    )


def refusal_to_fall_back(to: Link, applied: Mapping[str, Token | None] | None) -> str | None:
    """Return why a damaged checkpoint must not be replaced by this older one; None if it may.

    It may while no sink has applied anything newer: a replay can interleave differently, so the epoch that it makes
    anew may differ from the one that the sink has, and would be skipped there.

    Args:
        to: The older one.
        applied: The token of each sink (None: it has nothing); None: nobody asked them.
    """
    at = (to.manifest.generation, to.number)
    for sink in to.manifest.sinks:
        if applied is None or sink not in applied:
            return f"whether sink {sink!r} has output newer than epoch {to.number} is not known"
        if (has := reach(applied[sink]))[:2] > at:
            return f"sink {sink!r} has epoch {has[1]} of generation {has[0]} already"
    return None


def removable(names: Iterable[str], chain: Sequence[Link], has: Mapping[str, Reach]) -> list[str]:
    """Return what clean-up removes, in this order.

    First the oldest of the chain, while neither one of the last ``KEPT`` nor a sink needs it; then what is not on the
    chain, and files that no manifest names, up to the tip's number: nobody can commit those any more.

    Args:
        names: The names in the store.
        chain: The history, with the tip that was committed last.
        has: What each sink is known to have.
    """
    tip = chain[-1]
    needed = min(link.manifest.base for link in chain[-KEPT:])
    old = 0
    while old < len(chain) - KEPT and chain[old].number < needed and _is_covered(chain[old], has, tip.manifest.sinks):
        old += 1
    stays = {manifest_name(link.number) for link in chain[old:]} | {link.manifest.segment.file for link in chain[old:]}
    first = [manifest_name(link.number) for link in chain[:old]]
    return first + sorted(n for n in names if n not in stays and n not in first and _is_over(n, tip.number))


def _is_over(name: str, tip: int) -> bool:
    numbered = _NUMBERED_NAME.fullmatch(name)
    return int(numbered[1]) <= tip if numbered else bool(_LEFT_OVER_NAME.fullmatch(name))


def _is_covered(link: Link, has: Mapping[str, Reach], sinks: Iterable[str]) -> bool:
    """Whether each of the sinks has what was staged for it; one that the pipeline no longer has needs nothing."""
    return all(has.get(sink, NOTHING) >= at for sink in sinks for at in link.manifest.reaches(sink)[-1:])
