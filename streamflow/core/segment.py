"""A segment: what one epoch changed of the state, and behind it the output staged for the sinks.

State is a table of contents (typed msgpack) and the tables themselves: Arrow IPC streams, uncompressed, since lz4 takes
eight times as long to halve 400 kB, and what is read can then be no larger than the file.  Staged output is the pieces
as the sinks encoded them, one after another; their sizes stand in the manifest.

A step may stand in a segment more than once: what an aborted epoch held goes before what the next one changed.

Does not know where segments are kept, nor their checksums: who decodes has checked them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Annotated, Any, final

import msgspec
import polars as pl
from polars.datatypes import DataTypeClass
from polars.exceptions import PanicException, PolarsError

from streamflow.core.state import Snapshot, StatePart, compact_snapshots
from streamflow.errors import CheckpointError, DamagedError

Changes = Sequence[tuple[str, Snapshot]]
"""What changed, oldest first: (step id, its snapshot or delta)."""

_LENGTH = struct.Struct("<Q")


@final
class _PartHead(msgspec.Struct, frozen=True):
    name: str
    scope: tuple[str, ...]
    dead_line: tuple[str, int] | None
    rows: int
    size: Annotated[int, msgspec.Meta(ge=0)]


@final
class _StepHead(msgspec.Struct, frozen=True):
    step: str
    meta: dict[str, Any]
    parts: tuple[_PartHead, ...]


def compacted(changes: Changes) -> dict[str, Snapshot]:
    """Return by step id the snapshot that a list of changes leaves."""
    chains: dict[str, list[Snapshot]] = {}
    for step, snapshot in changes:
        chains.setdefault(step, []).append(snapshot)
    return {step: compact_snapshots(chain) for step, chain in chains.items()}


def encode_state(changes: Changes) -> list[bytes]:
    """Return the state part of a segment, in pieces to be written one after another; nothing for no changes.

    Takes 25 microseconds a small table, and 2.5 milliseconds a million values.

    Raises:
        CheckpointError: If a step keeps a value that cannot be stored.
    """
    if not changes:
        return []
    heads, tables = [], []
    for step, snapshot in changes:
        frames = [_encode_frame(step, part) for part in snapshot.parts]
        tables += frames
        heads.append(_StepHead(step, dict(snapshot.meta), tuple(map(_head_of, snapshot.parts, frames))))
    contents = _encode_heads(heads)
    return [_LENGTH.pack(len(contents)), contents, *tables]


def _head_of(part: StatePart, frame: bytes) -> _PartHead:
    return _PartHead(part.name, part.scope, part.dead_line, part.frame.height, len(frame))


def _encode_heads(heads: list[_StepHead]) -> bytes:
    try:
        return msgspec.msgpack.encode(heads)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        steps = ", ".join(sorted({head.step for head in heads}))
        raise CheckpointError(
            f"what a step keeps beside its tables cannot be stored (one of {steps}): {error}",
            remedy="keep plain values: None, bool, int of 64 bits, float, str, bytes, lists and dicts",
        ) from error


def _encode_frame(step: str, part: StatePart) -> bytes:
    out = io.BytesIO()
    try:
        if not all(map(_is_storable, part.frame.dtypes)):
            raise TypeError("Python objects are no values")  # polars would store their addresses
        part.frame.write_ipc_stream(out, compression="uncompressed")
    except (PanicException, PolarsError, OSError, TypeError, ValueError) as error:
        types = ", ".join(f"{name} {dtype}" for name, dtype in part.frame.schema.items())
        raise CheckpointError(f"table {part.name!r} of step {step!r} cannot be stored ({types}): {error}") from error
    return out.getvalue()


def _is_storable(dtype: pl.DataType | DataTypeClass) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _is_storable(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return all(_is_storable(field.dtype) for field in dtype.fields)
    return dtype != pl.Object


def decode_state(data: bytes | memoryview, where: str) -> list[tuple[str, Snapshot]]:
    """Return the changes that ``encode_state`` wrote.

    Tuples beside the tables come back as lists.

    Args:
        data: The state part of a segment whose checksum fits.
        where: What to call it in an error.

    Raises:
        DamagedError: If it is not what ``encode_state`` writes.
    """
    view = memoryview(data)
    if not view:
        return []
    try:
        return list(_decode(view))
    except (
        PanicException,
        PolarsError,
        msgspec.MsgspecError,
        struct.error,
        OSError,
        RecursionError,
        ValueError,
    ) as error:
        raise DamagedError(f"the state in {where} is damaged: {error}") from error


def _decode(view: memoryview) -> Iterator[tuple[str, Snapshot]]:
    (length,) = _LENGTH.unpack_from(view)
    at = _LENGTH.size + length
    heads = msgspec.msgpack.decode(view[_LENGTH.size : at], type=list[_StepHead])
    if at + sum(part.size for head in heads for part in head.parts) != len(view):
        raise ValueError(f"its tables must end where it ends, at byte {len(view)}")
    for head in heads:
        parts = []
        for part in head.parts:
            frame = _decode_frame(view[at : at + part.size], part)
            parts.append(StatePart(part.name, frame, part.scope, part.dead_line))
            at += part.size
        yield head.step, Snapshot(head.meta, tuple(parts))


def _decode_frame(view: memoryview, part: _PartHead) -> pl.DataFrame:
    frame = pl.read_ipc_stream(io.BytesIO(view))
    named = {*part.scope, *([part.dead_line[0]] if part.dead_line else ())}
    if frame.height != part.rows or not named <= set(frame.columns):
        raise ValueError(
            f"table {part.name!r}: {part.rows} rows with columns {sorted(named)} expected, got {frame.shape}"
        )
    return frame


def staged_pieces(
    segment: bytes | memoryview, state: int, staged: Mapping[str, Sequence[Sequence[int]]], sink: str, chunk: int
) -> list[bytes]:
    """Return the pieces of one chunk of a sink's staged output.

    Args:
        segment: The segment.
        state: How many of its bytes are state.
        staged: Sizes of pieces by sink and chunk, in the order of the segment.
        sink: Which sink.
        chunk: Which of its chunks.
    """
    at = state
    for name, chunks in staged.items():
        for number, sizes in enumerate(chunks):
            if (name, number) == (sink, chunk):
                ends = accumulate(sizes, initial=at)
                return [bytes(segment[start:end]) for start, end in pairwise(ends)]
            at += sum(sizes)
    raise KeyError((sink, chunk))
