"""Laws of the segment: state and output come back as they were given; what is not a segment is damaged."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streamflow.core.segment import compacted, decode_state, encode_state, staged_pieces
from streamflow.core.state import Snapshot, StatePart
from streamflow.errors import CheckpointError, DamagedError

FRAMES = {
    "empty": pl.DataFrame(schema={"key_0": pl.String, "n": pl.Int64}),
    "keys": pl.DataFrame({"key_0": ["a", None, "ü"], "key_1": [b"\0", b"", b"\xff"], "n": [1, -(2**63), 2**63 - 1]}),
    "floats": pl.DataFrame({"key_0": [1.5, float("nan"), float("-inf")], "n": [0.1, -0.0, None]}),
    "times": pl.DataFrame({"key_0": [datetime(1900, 1, 1, tzinfo=UTC)], "n": [[date(2024, 1, 1)]]}),
    "nested": pl.DataFrame({"key_0": [True], "n": [[{"a": [1, 2], "b": "x"}]]}),
    "wide": pl.DataFrame({"key_0": [1], "n": pl.Series([2**100], dtype=pl.Int128)}),
    "null": pl.DataFrame({"key_0": pl.Series([None, None], dtype=pl.Null), "n": [1, 2]}),
}


def part(frame: pl.DataFrame, **more: Any) -> StatePart:
    return StatePart("panes", frame, ("key_0",), **more)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_table_comes_back_as_it_was(frame: pl.DataFrame) -> None:
    data = b"".join(encode_state([("step", Snapshot({}, (part(frame, dead_line=("n", -7)),)))]))
    [(step, snapshot)] = decode_state(data, "here")
    [back] = snapshot.parts
    assert (step, back.name, back.scope, back.dead_line) == ("step", "panes", ("key_0",), ("n", -7))
    assert_frame_equal(back.frame, frame)


def test_plain_values_come_back_as_they_were() -> None:
    meta = {"a": 1, "b": None, "c": [1.5, "x", b"y"], "d": {"e": True}, "f": -(2**63)}
    [(_, snapshot)] = decode_state(b"".join(encode_state([("step", Snapshot(meta))])), "here")
    assert snapshot.meta == meta


def test_a_step_may_stand_in_a_segment_twice_and_the_later_one_holds() -> None:
    older = Snapshot({"n": 1}, (part(pl.DataFrame({"key_0": ["a", "b"], "n": [1, 1]})),))
    newer = Snapshot({"n": 2}, (part(pl.DataFrame({"key_0": ["b"], "n": [2]})),))
    changes = decode_state(b"".join(encode_state([("s", older), ("other", Snapshot()), ("s", newer)])), "here")
    state = compacted(changes)
    assert list(state) == ["s", "other"]
    assert state["s"].meta == {"n": 2}
    assert state["s"].parts[0].frame.sort("key_0").rows() == [("a", 1), ("b", 2)]


def test_no_change_takes_no_byte() -> None:
    assert encode_state([]) == []
    assert decode_state(b"", "here") == []


def test_a_sliced_frame_takes_only_its_rows() -> None:
    frame = pl.DataFrame({"key_0": np.arange(100_000)}).slice(50_000, 10)
    assert sum(map(len, encode_state([("s", Snapshot({}, (part(frame),)))]))) < 2_000


@pytest.mark.parametrize("value", [object(), 2**70], ids=str)
def test_a_value_that_cannot_be_stored_is_refused_by_step(value: object) -> None:
    with pytest.raises(CheckpointError, match=r"\(one of total\)"):
        encode_state([("total", Snapshot({"value": value}))])


def test_a_table_that_cannot_be_stored_is_refused_by_step() -> None:
    frame = pl.DataFrame({"key_0": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(CheckpointError, match="table 'panes' of step 'total' cannot be stored"):
        encode_state([("total", Snapshot({}, (part(frame),)))])


def test_staged_pieces_are_found_by_sink_and_chunk() -> None:
    staged = {"a": ((1, 0), (2,)), "b": ((3,),)}
    segment = b"state" + b"1" + b"" + b"22" + b"333"
    assert staged_pieces(segment, 5, staged, "a", 0) == [b"1", b""]
    assert staged_pieces(segment, 5, staged, "a", 1) == [b"22"]
    assert staged_pieces(segment, 5, staged, "b", 0) == [b"333"]


def test_what_is_torn_or_too_long_is_damaged() -> None:
    data = b"".join(encode_state([("s", Snapshot({"a": 1}, (part(FRAMES["keys"]),)))]))
    for end in range(1, len(data), 7):
        with pytest.raises(DamagedError, match="the state in here is damaged"):
            decode_state(data[:end], "here")
    with pytest.raises(DamagedError):
        decode_state(data + b"x", "here")


def test_a_table_of_contents_that_is_changed_is_damaged_or_says_something_else() -> None:
    """A checksum stands before all this; behind it a change may be seen or not, and does nothing worse than that."""
    data = b"".join(encode_state([("s", Snapshot({"a": 1}, (part(FRAMES["keys"]),)))]))
    contents = 8 + int.from_bytes(data[:8], "little")
    chance = random.Random(1)
    for _ in range(500):
        changed = bytearray(data)
        changed[chance.randrange(contents)] ^= 1 << chance.randrange(8)
        try:
            decode_state(bytes(changed), "here")
        except DamagedError:
            continue
