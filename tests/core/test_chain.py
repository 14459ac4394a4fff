"""Laws of the chain: what is history, what a sink is owed, what may be removed."""

from __future__ import annotations

from typing import Any

import pytest

from streamflow.core.chain import (
    due,
    history,
    next_mark,
    reach,
    refusal_to_fall_back,
    removable,
    replayed,
    require_ours,
)
from streamflow.core.connector import Token
from streamflow.core.manifest import Link, Manifest, Parent, Reach, SegmentEntry, SinkMark, manifest_name
from streamflow.errors import CheckpointError, DamagedError


def link(
    number: int, before: Link | None = None, *, base: int = 1, by: str = "a", chunks: int = 0, **change: Any
) -> Link:
    manifest = Manifest(
        pipeline="p",
        number=number,
        kind="epoch",
        generation=change.pop("generation", 1),
        fence=1,
        writer=by,
        parent=None if before is None else Parent(before.number, before.checksum),
        base=base,
        created="",
        plan={},
        positions={},
        meta={},
        finished=False,
        segment=SegmentEntry(0, 0, b"s" * 32),
        staged={"out": ((0,),) * chunks} if chunks else {},
        sinks=change.pop("sinks", {"out": SinkMark()}),
    )
    return Link(manifest, f"{by}{number}".encode().ljust(32))


def line(*numbers: int, staged: tuple[int, ...] = (), full: tuple[int, ...] = (), first: int = 1) -> list[Link]:
    """A chain of epochs; those ``staged`` have output of one chunk, those ``full`` hold the state whole."""
    chain: list[Link] = []
    base = first
    for number in numbers:
        base = number if number in full else base
        chain.append(link(number, chain[-1] if chain else None, base=base, chunks=number in staged))
    return chain


def names(*numbers: int) -> list[str]:
    return [manifest_name(number) for number in numbers]


# ---- history


def test_history_is_what_the_parents_reach() -> None:
    one, three = link(1), link(3)
    two = link(2, one)
    four = link(4, three)
    assert history([four, one, three, two], two) == (one, two)
    assert history([four, one, three, two], four) == (three, four)


def test_a_stale_manifest_of_the_same_number_is_not_history() -> None:
    one = link(1)
    two, stale = link(2, one), link(2, one, by="stale")
    three = link(3, two)
    assert history([one, stale, three], three) == (three,)
    assert history([one, two, stale, three], three) == (one, two, three)


def test_what_is_replayed_begins_where_the_state_is_whole() -> None:
    chain = line(1, 2, 3, 4, 5, full=(3,))
    assert [x.number for x in replayed(chain)] == [3, 4, 5]
    assert [x.number for x in replayed(chain[:2])] == [1, 2]


def test_a_chain_that_does_not_reach_back_to_whole_state_is_damaged() -> None:
    with pytest.raises(DamagedError, match="epoch 5 needs the epochs from 3 on, and its history begins at 4"):
        replayed(line(1, 2, 3, 4, 5, full=(3,))[3:])


@pytest.mark.parametrize(
    ("change", "says"), [({"pipeline": "q"}, "of pipeline 'q'"), ({"key_hash": "x"}, "groups keys")]
)
def test_a_manifest_of_another_pipeline_or_key_hash_is_refused(change: dict[str, str], says: str) -> None:
    manifest = link(1).manifest
    require_ours(manifest, "p")
    other = Manifest(**{name: getattr(manifest, name) for name in manifest.__struct_fields__} | change)
    with pytest.raises(CheckpointError, match=says):
        require_ours(other, "p")


# ---- what a sink is owed


@pytest.mark.parametrize(
    ("token", "owed"),
    [
        (None, [2, 4]),
        (Token(1, 1), [2, 4]),
        (Token(1, 2), [4]),
        (Token(1, 3), [4]),
        (Token(1, 4), []),
        (Token(1, 5), []),
    ],
)
def test_a_sink_is_owed_what_is_newer_than_its_token(token: Token | None, owed: list[int]) -> None:
    chain = line(1, 2, 3, 4, 5, staged=(2, 4))
    assert [x.number for x, _ in due(chain, "out", token)] == owed


def test_chunks_of_an_epoch_are_owed_one_by_one() -> None:
    one = link(1)
    chain = [one, link(2, one, chunks=3)]
    assert [at for _, at in due(chain, "out", Token(1, 2, 0))] == [1, 2]
    assert due(chain, "out", Token(1, 2, 2)) == []


@pytest.mark.parametrize("token", [Token(1, 6), Token(2, 1), Token(7, 3)])
def test_a_sink_that_has_what_the_history_has_not_is_refused_by_name(token: Token) -> None:
    with pytest.raises(CheckpointError, match=f"sink 'out' and .* it has epoch {token.epoch} of generation") as caught:
        due(line(1, 2, 3, 4, 5), "out", token)
    assert "--new-generation" in (caught.value.remedy or "")


def test_a_sink_that_has_a_number_which_is_not_on_the_chain_is_refused() -> None:
    with pytest.raises(CheckpointError, match="it has epoch 3"):
        due(line(2, 4, 5), "out", Token(1, 3))
    assert due(line(2, 4, 5), "out", Token(1, 1)) == []  # older than the chain: cleaned up


def test_a_sink_that_lost_output_is_refused() -> None:
    chain = line(1, 2)
    tip = link(3, chain[-1], sinks={"out": SinkMark((1, 2, 0))})
    for token in (None, Token(1, 1)):
        with pytest.raises(CheckpointError, match="it lost output"):
            due([*chain, tip], "out", token)


def test_a_hole_in_the_chain_is_seen_by_the_sink_that_waits_for_it() -> None:
    tip = link(9, link(8), base=9, sinks={"out": SinkMark((1, 5, 0), ((1, 6, 0), (1, 7, 0)))})
    with pytest.raises(CheckpointError, match="it has not got epoch 6, which is damaged or missing"):
        due([tip], "out", Token(1, 5))
    with pytest.raises(CheckpointError, match="it has not got epoch 7"):
        due([tip], "out", Token(1, 6))
    assert due([tip], "out", Token(1, 7)) == []


def test_a_new_generation_goes_on_with_a_sink_that_had_more_or_less() -> None:
    one = link(1, chunks=1)
    tip = link(9, one, generation=2, sinks={"out": SinkMark((1, 1, 0))})
    assert due([one, tip], "out", Token(1, 500)) == []
    assert due([one, tip], "out", None) == []  # not repeated: the checkpoint knows that it once had it


@pytest.mark.parametrize(
    ("has", "waiting"),
    [((0, 0, 0), ((1, 2, 0), (1, 3, 1))), ((1, 2, 0), ((1, 3, 1),)), ((1, 3, 0), ((1, 3, 1),)), ((1, 3, 1), ())],
)
def test_a_mark_says_what_a_sink_waits_for(has: Reach, waiting: tuple[Reach, ...]) -> None:
    two = link(2, link(1), chunks=1)
    three = link(3, two, chunks=2, sinks={"out": next_mark([two], "out", (0, 0, 0))})
    assert next_mark([three], "out", has) == SinkMark(has, waiting)


def test_a_mark_never_forgets_what_a_sink_had() -> None:
    assert next_mark([link(2, sinks={"out": SinkMark((1, 2, 0))})], "out", (0, 0, 0)).has == (1, 2, 0)
    assert reach(None) < reach(Token(1, 1)) < reach(Token(1, 1, 1)) < reach(Token(1, 2)) < reach(Token(2, 1))


# ---- falling back


def test_falling_back_needs_to_know_every_sink() -> None:
    to = link(4)
    assert "is not known" in (refusal_to_fall_back(to, None) or "")
    assert "is not known" in (refusal_to_fall_back(to, {"other": None}) or "")
    assert "has epoch 5" in (refusal_to_fall_back(to, {"out": Token(1, 5)}) or "")
    assert refusal_to_fall_back(to, {"out": Token(1, 4, 7)}) is None
    assert refusal_to_fall_back(to, {"out": None}) is None


# ---- clean-up

HAS: dict[str, Reach] = {"out": (1, 99, 0)}


def test_the_last_three_and_what_they_need_stay() -> None:
    chain = line(1, 2, 3, 4, 5, 6, 7, 8, 9, full=(4, 7))
    everything = names(*range(1, 10))
    assert removable(everything, chain, HAS) == names(1, 2, 3, 4, 5, 6)
    assert removable(everything[:8], chain[:8], HAS) == names(1, 2, 3)  # 6 needs 4
    assert removable(everything[:3], chain[:3], HAS) == []


def test_nothing_is_removed_that_a_sink_waits_for_nor_anything_after_it() -> None:
    chain = line(1, 2, 3, 4, 5, 6, 7, 8, 9, staged=(2, 4), full=(7,))
    everything = names(*range(1, 10))
    assert removable(everything, chain, {}) == names(1)
    assert removable(everything, chain, {"out": (1, 2, 0)}) == names(1, 2, 3)
    assert removable(everything, chain, {"out": (1, 4, 0)}) == names(1, 2, 3, 4, 5, 6)


def test_half_an_epoch_is_not_enough() -> None:
    one = link(1, chunks=2)
    chain = [one]
    for number in range(2, 6):
        chain.append(link(number, chain[-1], base=number))
    assert removable([], chain, {"out": (1, 1, 0)}) == []
    assert removable([], chain, {"out": (1, 1, 1)}) == names(1, 2)


def test_a_sink_that_the_pipeline_no_longer_has_holds_nothing_up() -> None:
    chain = line(1, 2, 3, 4, staged=(1,), full=(2, 3, 4))
    tip = link(5, chain[-1], base=5, sinks={})
    assert removable([], [*chain, tip], {}) == names(1, 2)


def test_what_is_not_on_the_chain_is_removed_up_to_the_tip() -> None:
    chain = line(4, 5, 6, full=(4, 5, 6))
    others = ["lease", "savepoint-a", "manifest-7", "notes.txt"]
    left = ["manifest-000000000006.abcd.tmp", "segment-000000000005-ab", "savepoint-a.abcd.tmp", *names(2)]
    later = [*names(7), "segment-000000000007-ab", "manifest-000000000007.abcd.tmp"]
    assert sorted(removable([*names(4, 5, 6), *others, *left, *later], chain, HAS)) == sorted(left)


def test_a_manifest_goes_before_its_segment() -> None:
    chain = line(1, 2, 3, 4, full=(2, 3, 4))
    assert removable([*names(1, 2, 3, 4), "segment-000000000001-ab"], chain, HAS) == [
        *names(1),
        "segment-000000000001-ab",
    ]
