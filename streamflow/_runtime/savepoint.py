"""Savepoints: a checkpoint with a name, complete in one file, that stays until somebody removes it.

It holds the state whole and no output: it is made only once every sink has what came before it, so it can be restored
as often as one likes.  It is not on the number line; who restores it begins a new generation.

Does not know how the steps of the protocol follow each other (``commit``).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streamflow._runtime.commit import Commits, Tip, make_segment, require_digest
from streamflow._runtime.content import Content
from streamflow.core.chain import next_mark
from streamflow.core.manifest import NOTHING, Manifest, Reach, SinkMark, savepoint_name, seal, unseal
from streamflow.core.segment import compacted, decode_state
from streamflow.errors import CheckpointError, DamagedError

_LIMIT = 1 << 40


def write_savepoint(commits: Commits, tip: Tip, name: str, has: Mapping[str, Reach]) -> None:
    """Keep the epoch at a tip under a name.

    Raises:
        CheckpointError: If a sink has not got all of its output yet, or there is a savepoint of that name.
    """
    file, last = savepoint_name(name), tip.chain[-1].manifest
    marks = {sink: next_mark(tip.chain, sink, has.get(sink, NOTHING)) for sink in last.sinks}
    for sink, mark in marks.items():
        if mark.waiting:
            raise CheckpointError(
                f"savepoint {name!r} of epoch {last.number} is not complete: sink {sink!r} has not got epoch"
                f" {mark.waiting[0][1]} yet",
                remedy="wait until the sink has caught up, then ask again",
            )
    content = commits.read_state(tip.chain)
    entry, pieces = make_segment(Content(tuple(compacted(content.changes).items())), file=None)
    sealed, _ = seal(
        msgspec.structs.replace(
            last,
            kind="savepoint",
            parent=None,
            base=last.number,
            positions={source: dict(splits) for source, splits in content.positions.items()},
            segment=entry,
            staged={},
            sinks={sink: SinkMark(mark.has) for sink, mark in marks.items()},
        ),
        key=commits.identity.key,
    )
    if not commits.store.create(file, [sealed, *pieces]):
        raise CheckpointError(
            f"{commits.store} has a savepoint {name!r} already", remedy="remove it, or take another name"
        )


def read_savepoint(commits: Commits, name: str) -> tuple[Manifest, Content]:
    """Return a savepoint.

    Raises:
        CheckpointError: If there is none of that name, or it is damaged.
    """
    file = savepoint_name(name)
    data = commits.store.read(file, limit=_LIMIT)
    if data is None:
        there = ", ".join(n.partition("-")[2] for n in commits.store.list() if n.startswith("savepoint-")) or "none"
        raise CheckpointError(f"{commits.store} has no savepoint {name!r}", remedy=f"there are: {there}")
    link, segment = unseal(data, file, key=commits.identity.key)
    manifest = link.manifest
    if manifest.kind != "savepoint" or manifest.segment.file is not None or manifest.staged:
        raise DamagedError(f"{file} is damaged: it holds the {manifest.kind} {manifest.number}")
    require_digest(segment, manifest.segment, file)
    changes = decode_state(segment, file)
    return manifest, Content(changes, manifest.positions, {}, manifest.meta, full=True, finished=manifest.finished)
