"""Laws of the manifest: what was sealed is unsealed; what was touched is damaged; what is hostile costs nothing."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core.manifest import (
    FORMAT,
    HEADER,
    MAX_NUMBER,
    Manifest,
    Parent,
    SegmentEntry,
    SinkMark,
    largest,
    manifest_name,
    manifest_number,
    savepoint_name,
    seal,
    unseal,
)
from streamflow.errors import CheckpointError, DamagedError


def manifest(**change: Any) -> Manifest:
    facts: dict[str, Any] = {
        "pipeline": "orders",
        "number": 7,
        "kind": "epoch",
        "generation": 2,
        "fence": 5,
        "writer": "w",
        "parent": Parent(6, b"p" * 32),
        "base": 4,
        "created": "2024-05-01T00:00:00.000+00:00",
        "plan": {"window": "f1"},
        "positions": {"kafka": {"0": [1, {"a": None}], "1": b"raw"}},
        "meta": {"watermark": -(2**63)},
        "finished": False,
        "segment": SegmentEntry(9, 4, b"s" * 32),
        "staged": {"out": ((2, 0), (3,))},
        "sinks": {"out": SinkMark((2, 5, 0), ((2, 6, 1),))},
    }
    return Manifest(**facts | change)


def file_of(record: Any, *, version: int = FORMAT, rest: bytes = b"x" * 9) -> bytes:
    """A file whose checksum fits, as somebody can make it who has no key."""
    data = record if isinstance(record, bytes) else msgspec.msgpack.encode(record)
    checksum = hashlib.sha256(struct.pack("<IQ", version, len(data)) + data).digest()
    return HEADER.pack(b"sf-ckpt\n", version, len(data), checksum) + data + rest


def as_dict(**change: Any) -> dict[str, Any]:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(manifest())) | change


def test_what_was_sealed_is_unsealed() -> None:
    head, checksum = seal(manifest())
    link, segment = unseal(head + b"123456789", "m")
    assert (link.manifest, link.checksum, bytes(segment)) == (manifest(), checksum, b"123456789")


def test_the_chunks_staged_for_a_sink_are_reached_one_by_one() -> None:
    assert manifest().reaches("out") == [(2, 7, 0), (2, 7, 1)]
    assert manifest().reaches("other") == []


def test_a_checksum_covers_every_byte_of_header_and_record() -> None:
    head, _ = seal(manifest())
    data = bytearray(head + b"123456789")
    for at in range(len(head)):
        data[at] ^= 0x10
        with pytest.raises(CheckpointError):
            unseal(bytes(data), "m")
        data[at] ^= 0x10


@given(st.integers(0, 400))
def test_a_torn_manifest_is_damaged(length: int) -> None:
    data = seal(manifest())[0] + b"123456789"
    with pytest.raises(DamagedError):
        unseal(data[: min(length, len(data) - 1)], "m")


def test_bytes_behind_the_segment_are_damage() -> None:
    with pytest.raises(DamagedError, match="9 bytes of segment expected behind the manifest, got 10"):
        unseal(seal(manifest())[0] + b"1234567890", "m")


def test_a_manifest_sealed_with_a_key_is_read_with_that_key_only() -> None:
    data = seal(manifest(), key=b"k")[0] + b"123456789"
    assert unseal(data, "m", key=b"k")[0].manifest == manifest()
    for other in (None, b"l"):
        with pytest.raises(DamagedError, match="sealed with another key"):
            unseal(data, "m", key=other)
    with pytest.raises(DamagedError, match="sealed with another key"):
        unseal(seal(manifest())[0] + b"123456789", "m", key=b"k")


def test_a_later_format_is_refused_and_not_taken_for_damage() -> None:
    with pytest.raises(CheckpointError, match="has format 2") as caught:
        unseal(file_of(manifest(), version=2), "m")
    assert not isinstance(caught.value, DamagedError)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 0},
        {"number": 2**70 % 2**64},
        {"number": "7"},
        {"generation": 0},
        {"kind": "other"},
        {"fence": 8},
        {"base": 8},
        {"parent": {"number": 7, "checksum": b"p" * 32}},
        {"parent": {"number": 6, "checksum": b"short"}},
        {"segment": {"size": 1 << 60, "state": 0, "sha256": b"s" * 32, "file": None}},
        {"segment": {"size": 9, "state": 4, "sha256": b"s" * 32, "file": "../../etc/passwd"}},
        {"segment": {"size": 9, "state": 4, "sha256": b"s" * 32, "file": "/etc/passwd"}},
        {"segment": {"size": 9, "state": 4, "sha256": b"s" * 32, "file": "segment-000000000006-ab"}},
        {"segment": {"size": 9, "state": 4, "sha256": b"s" * 32, "file": "segment-000000000007-ab\n"}},
        {"segment": {"size": 9, "state": 4, "sha256": b"s" * 32, "file": "segment-000000000007-" + "a" * 65}},
        {"segment": {"size": 9, "state": 5, "sha256": b"s" * 32, "file": None}},
        {"staged": {"out": [[1 << 49] * 8]}},
        {"staged": {"out": [[-1, 6]]}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_manifest_that_says_what_none_says_is_damaged(change: dict[str, Any]) -> None:
    with pytest.raises(DamagedError):
        unseal(file_of(as_dict(**change)), "m")


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",  # an array of four billion
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,  # nested a hundred thousand deep
        b"\x81\xa1a" * 100_000,
        b"\x81\xa9positions" + b"\x81\xa1a" * 50_000 + b"\xc0",
        b"\x81\xa8pipeline\xa2\xff\xff",  # no UTF-8
    ],
    ids=lambda record: f"{record[:12]!r}",
)
def test_a_hostile_record_is_damaged_and_takes_no_memory(record: bytes) -> None:
    with pytest.raises(DamagedError):
        unseal(file_of(record, rest=b""), "m")


def test_a_header_that_promises_more_than_the_file_holds_is_damaged() -> None:
    with pytest.raises(DamagedError, match="torn"):
        unseal(HEADER.pack(b"sf-ckpt\n", FORMAT, 1 << 62, b"c" * 32), "m")


@pytest.mark.parametrize("value", [object(), {1, object()}, 2**70, lambda: None], ids=str)
def test_a_position_that_cannot_be_stored_is_refused_by_name(value: object) -> None:
    with pytest.raises(CheckpointError, match="epoch 7 of pipeline 'orders' cannot be stored"):
        seal(manifest(positions={"s": {"0": value}}))


def test_a_name_has_one_spelling() -> None:
    assert manifest_number(manifest_name(42)) == 42
    others = [
        "manifest-42",
        "manifest-0000000000042",
        "manifest-00000000004x",
        "manifest-٠٠٠٠٠٠٠٠٠٠٤٢",
        "segment-1",
        "lease",
    ]
    assert [manifest_number(name) for name in others] == [None] * 6


def test_the_largest_number_counts_whatever_else_is_there() -> None:
    assert (
        largest(["lease", "manifest-000000000009", "manifest-000000000010", "manifest-11", "segment-000000000099-a"])
        == 10
    )
    assert largest([]) == 0


def test_the_line_has_an_end() -> None:
    manifest_name(MAX_NUMBER)
    with pytest.raises(CheckpointError, match="no epoch after"):
        manifest_name(MAX_NUMBER + 1)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a.b", "a" * 65, "ä", "a\n"])
def test_a_savepoint_has_a_plain_name(name: str) -> None:
    with pytest.raises(CheckpointError, match="a savepoint's name"):
        savepoint_name(name)
