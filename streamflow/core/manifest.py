"""The manifest: what a committed epoch says of itself, and the bytes it is kept as.

A manifest file is a header, the record (typed msgpack), and the epoch's segment where that is small.  The checksum in
the header makes a torn one unreadable, and is what the next manifest calls its parent by.  Whatever is read may be
hostile: sizes are checked before memory is taken, names before a file is opened, and what is not sound is damaged.

How manifests follow each other is ``core.chain``; what a segment says is ``core.segment``.  Knows no file and no store.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import msgspec

from streamflow.core import keys
from streamflow.errors import CheckpointError, DamagedError

FORMAT = 1
"""The version of the format; a manifest of another version is refused, never taken for damaged."""

MAX_NUMBER = 10**12 - 1
"""Names have twelve digits, so that they sort; at five epochs a second that is 6,000 years."""

MAX_RECORD = 1 << 26
"""The largest record that is read, 64 MiB: positions of a million splits, and no more memory than that."""

Reach = tuple[int, int, int]
"""How far a sink is: (generation, epoch, chunk) of the last it has.  Ordered as tokens are."""

NOTHING: Reach = (0, 0, 0)
"""The reach of a sink that has nothing: generations begin at 1."""

HEADER = struct.Struct("<8sIQ32s")
"""Magic, version, length of the record, checksum."""

MAX_FILE = HEADER.size + MAX_RECORD + (1 << 24)
"""The largest manifest file that is read: a record, and a segment small enough to stand behind it."""

_MAGIC = b"sf-ckpt\n"
_SAVEPOINT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MANIFEST_NAME = re.compile(r"manifest-([0-9]{12})")

_Number = Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
_Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


@final
class Parent(msgspec.Struct, frozen=True):
    """The manifest before: its number and its checksum."""

    number: _Number
    checksum: _Digest


@final
class SegmentEntry(msgspec.Struct, frozen=True):
    """Where the segment of an epoch is and what it must be.

    Attributes:
        size: Its bytes.
        state: How many of them are state; the rest is staged output.
        sha256: Of all of it.
        file: The file that holds it; None: it follows the manifest in the same file.
    """

    size: _Size
    state: _Size
    sha256: _Digest
    file: str | None = None


@final
class SinkMark(msgspec.Struct, frozen=True):
    """What was known of a sink when the manifest was written.

    Attributes:
        has: The last that it had.
        waiting: Of each *earlier* epoch with output that it was not known to have whole, the last chunk.
    """

    has: Reach = NOTHING
    waiting: tuple[Reach, ...] = ()


@final
class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a committed epoch says of itself.

    Attributes:
        pipeline: Whose it is.
        number: The epoch.
        kind: ``start`` (a take-over), ``epoch``, or ``savepoint`` (which is not on the line).
        generation: Of the history; raised by ``--new-generation``.
        fence: The number of the take-over whose worker wrote it.
        writer: A name made up at that take-over, so that two workers never write the same bytes.
        parent: The manifest before, or None.
        base: The number of the one from which segments are replayed.
        created: When, for people; nothing is decided by it.
        key_hash: The name of the function from keys to key groups.
        key_groups: How many groups there are.
        plan: The fingerprint of each stateful step's schema, by step id.
        positions: By source and split where to go on, those that changed (all of them, where ``base`` is the number).
        meta: Watermarks, statuses and what else the engine keeps, whole each time.
        finished: Whether the input was over.
        segment: State and staged output.
        staged: By sink, for each chunk the sizes of its pieces, in the order of the segment.
        sinks: What was known of each sink of the pipeline.
    """

    pipeline: str
    number: _Number
    kind: Literal["start", "epoch", "savepoint"]
    generation: Annotated[int, msgspec.Meta(ge=1, le=1 << 50)]
    fence: _Number
    writer: str
    parent: Parent | None
    base: _Number
    created: str
    key_hash: str = keys.HASH
    key_groups: int = keys.GROUPS
    plan: dict[str, str]
    positions: dict[str, dict[str, Any]]
    meta: dict[str, Any]
    finished: bool
    segment: SegmentEntry
    staged: dict[str, tuple[tuple[_Size, ...], ...]]
    sinks: dict[str, SinkMark]

    @property
    def is_full(self) -> bool:
        """Whether its segment holds the state whole."""
        return self.base == self.number

    def reaches(self, sink: str) -> list[Reach]:
        """Return what a sink has reached with each chunk staged for it here."""
        return [(self.generation, self.number, chunk) for chunk in range(len(self.staged.get(sink, ())))]


@final
@dataclass(frozen=True, slots=True)
class Link:
    """A manifest that was read or written, with the checksum that its child names it by."""

    manifest: Manifest
    checksum: bytes

    @property
    def number(self) -> int:
        """The epoch."""
        return self.manifest.number


def manifest_name(number: int) -> str:
    """Return the name of the manifest of an epoch.

    Raises:
        CheckpointError: If the number line is at its end.
    """
    if number > MAX_NUMBER:
        raise CheckpointError(
            f"there is no epoch after {MAX_NUMBER}: a file of the store has the largest number there is",
            remedy="remove the manifest with that number, if nobody of yours wrote it, or use another state directory",
        )
    return f"manifest-{number:012d}"


def segment_name(number: int, attempt: str) -> str:
    """Return the name of a segment file; ``attempt`` makes it unlike any other."""
    return f"segment-{number:012d}-{attempt}"


def savepoint_name(name: str) -> str:
    """Return the name of a savepoint's file.

    Raises:
        CheckpointError: If the name has other characters than letters, digits, ``_`` and ``-``, or is too long.
    """
    if not _SAVEPOINT.fullmatch(name):
        raise CheckpointError(f"a savepoint's name is 1 to 64 letters, digits, '_' and '-', got {name[:80]!r}")
    return f"savepoint-{name}"


def manifest_number(name: str) -> int | None:
    """Return the number of a manifest's name; None for any other name.

    >>> manifest_number("manifest-000000000007"), manifest_number("manifest-7"), manifest_number("lease")
    (7, None, None)
    """
    match = _MANIFEST_NAME.fullmatch(name)
    return int(match[1]) if match else None


def largest(names: Iterable[str]) -> int:
    """Return the largest number among the names of a store, readable or not; 0 for none."""
    return max((number for name in names if (number := manifest_number(name)) is not None), default=0)


def seal(manifest: Manifest, *, key: bytes | None = None) -> tuple[bytes, bytes]:
    """Return header and record of a manifest, and its checksum.

    Args:
        manifest: The manifest.
        key: Makes the checksum one that only its holder can make (HMAC-SHA256).

    Raises:
        CheckpointError: If a position or what the engine keeps cannot be stored.
    """
    try:
        record = msgspec.msgpack.encode(manifest)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CheckpointError(
            f"epoch {manifest.number} of pipeline {manifest.pipeline!r} cannot be stored: {error}",
            remedy="positions must be plain values: None, bool, int of 64 bits, float, str, bytes, lists and dicts",
        ) from error
    if len(record) > MAX_RECORD:
        raise CheckpointError(
            f"the positions of epoch {manifest.number} take {len(record)} bytes, more than {MAX_RECORD}"
        )
    checksum = _checksum(FORMAT, record, key)
    return HEADER.pack(_MAGIC, FORMAT, len(record), checksum) + record, checksum


def unseal(data: bytes, name: str, *, key: bytes | None = None) -> tuple[Link, memoryview]:
    """Return the manifest of a file, and what follows it there: the segment, or nothing.

    The segment is as long as the manifest says and not looked at further.

    Raises:
        DamagedError: If it is torn, was changed, or says what no manifest says.
        CheckpointError: If another version of streamflow wrote it.
    """
    record, checksum, rest = _open_sealed(data, name, key)
    try:
        manifest = msgspec.msgpack.decode(record, type=Manifest)
        _require_sound(manifest)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise DamagedError(f"{name} is damaged: {error}") from error
    expected = manifest.segment.size if manifest.segment.file is None else 0
    if len(rest) != expected:
        raise DamagedError(
            f"{name} is damaged: {expected} bytes of segment expected behind the manifest, got {len(rest)}"
        )
    return Link(manifest, checksum), rest


def _open_sealed(data: bytes, name: str, key: bytes | None) -> tuple[memoryview, bytes, memoryview]:
    view = memoryview(data)
    if len(view) < HEADER.size:
        raise DamagedError(f"{name} is damaged: a manifest has at least {HEADER.size} bytes, got {len(view)}")
    magic, version, length, checksum = HEADER.unpack_from(view)
    if magic != _MAGIC or length > min(MAX_RECORD, len(view) - HEADER.size):
        raise DamagedError(f"{name} is damaged: it does not begin as a manifest does, or is torn")
    record, rest = view[HEADER.size : HEADER.size + length], view[HEADER.size + length :]
    if not hmac.compare_digest(checksum, _checksum(version, record, key)):
        raise DamagedError(f"{name} is damaged, or sealed with another key: its checksum does not fit")
    if version != FORMAT:
        raise CheckpointError(
            f"{name} has format {version}, this version of streamflow reads {FORMAT}",
            remedy="run the version of streamflow that wrote it, or a later one",
        )
    return record, checksum, rest


def _checksum(version: int, record: bytes | memoryview, key: bytes | None) -> bytes:
    head = struct.pack("<IQ", version, len(record))
    digest = hashlib.sha256(head) if key is None else hmac.new(key, head, hashlib.sha256)
    digest.update(record)
    return digest.digest()


def _require_sound(m: Manifest) -> None:
    if m.parent is not None and m.parent.number >= m.number:
        raise ValueError(f"its parent {m.parent.number} must come before it, at {m.number}")
    if not (m.base <= m.number and m.fence <= m.number):
        raise ValueError(f"base {m.base} and fence {m.fence} must not lie behind it, at {m.number}")
    file = m.segment.file
    if file is not None and not re.fullmatch(rf"segment-{m.number:012d}-[0-9a-f]{{1,64}}", file):
        raise ValueError(f"a segment file of this epoch expected, got {file[:80]!r}")
    if m.segment.state + sum(sum(chunk) for chunks in m.staged.values() for chunk in chunks) != m.segment.size:
        raise ValueError("state and staged output must make up the segment")
