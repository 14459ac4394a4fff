from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamflow as sf
from streamflow import agg
from streamflow.connectors.callback import CallbackSink
from streamflow.connectors.memory import MemorySink
from streamflow.errors import DefinitionError, OperatorError, StreamflowError
from streamflow.testing import drive

SECOND = 1_000_000


@dataclass(frozen=True)
class Spent:
    user: str
    at: int  #: seconds
    amount: int


def spending(**options: Any) -> sf.Pipeline:
    """Return what each user spends in ten seconds, and the rows that come too late for it."""
    pipeline = sf.Pipeline("spending")
    rows = pipeline.read("tx", [], event_time=lambda tx: tx.at, time_unit="s", max_delay="0s", **options)
    sums = (
        rows.key_by(lambda tx: tx.user).window(sf.tumbling("10s")).aggregate(agg.sum(lambda tx: tx.amount), name="sum")
    )
    sums.map(lambda window: (window.key, window.end // SECOND, window.value), name="flat").to(MemorySink(), name="sums")
    sums.late().map(lambda late: late.value, name="too_late").to(MemorySink(), name="late")
    return pipeline


def doubles(sink: Any = None) -> sf.Pipeline:
    pipeline = sf.Pipeline("doubles")
    pipeline.read("numbers", []).map(lambda n: n * 2, name="double").to(sink or MemorySink(), name="out")
    return pipeline


# rows


async def test_what_is_sent_has_arrived_when_send_returns() -> None:
    async with drive(spending()) as d:
        await d.source("tx").send(Spent("ann", 1, 5), Spent("ann", 9, 7), Spent("ann", 10, 1))
        assert d.sink("sums").rows == [("ann", 10, 12)]
        assert d.watermark("sum") == 10 * SECOND
        assert d.ledger("sum").used == 3


async def test_values_come_out_as_the_objects_they_are() -> None:
    thing = object()
    pipeline = sf.Pipeline("same")
    pipeline.read("things", []).to(CallbackSink(print), name="out")
    async with drive(pipeline) as d:
        await d.source("things").send(thing)
        await d.crash_and_restore()
        assert d.sink("out").rows[0] is thing


async def test_a_table_takes_dicts_and_frames() -> None:
    pipeline = sf.Pipeline("table")
    table = pipeline.table("tx", [], schema={"user": pl.String, "amount": pl.Int64})
    table.filter(pl.col("amount") > 1).to(MemorySink(), name="out")
    async with drive(pipeline, cut=[2]) as d:
        await d.source("tx").send({"user": "ann", "amount": 1}, {"user": "bob", "amount": 2})
        await d.source("tx").send(pl.DataFrame({"user": ["cid"], "amount": [3]}))
        assert d.sink("out").rows == [{"user": "bob", "amount": 2}, {"user": "cid", "amount": 3}]
        assert d.sink("out").frame().columns == ["user", "amount"]


async def test_bytes_are_decoded_where_the_source_has_a_format() -> None:
    pipeline = sf.Pipeline("bytes")
    pipeline.read("lines", sf.SocketSource("localhost", 1, format=sf.Json(dict))).to(MemorySink(), name="out")
    async with drive(pipeline) as d:
        await d.source("lines").send(json.dumps({"n": 1}).encode(), {"n": 2})
        assert d.sink("out").rows == [{"n": 1}, {"n": 2}]


async def test_new_and_next_give_each_row_once() -> None:
    async with drive(doubles()) as d:
        await d.source("numbers").send(1, 2, 3)
        assert await d.sink("out").next() == 2
        assert d.sink("out").new() == [4, 6]
        assert d.sink("out").new() == []
        assert d.sink("out").rows == [2, 4, 6]


async def test_a_missing_row_says_where_everything_stands() -> None:
    async with drive(spending()) as d:
        await d.source("tx").send(Spent("ann", 1, 5))
        with pytest.raises(AssertionError) as caught:
            await d.sink("sums").next(timeout=2)
    assert str(caught.value) == (
        "sink 'sums' got no new row within 2s; all of its 0 rows have been seen; it is 1970-01-01T00:00:02+00:00;"
        " watermarks: tx 1970-01-01T00:00:01+00:00, key_by 1970-01-01T00:00:01+00:00,"
        " sum 1970-01-01T00:00:01+00:00, flat 1970-01-01T00:00:01+00:00, too_late 1970-01-01T00:00:01+00:00"
    )


async def test_an_upsert_edge_shows_its_refreshes_and_what_they_come_to() -> None:
    pipeline = sf.Pipeline("totals")
    rows = pipeline.read("tx", [])
    rows.key_by(lambda tx: tx.user).reduce_by_key(lambda a, b: b).to(MemorySink(), name="out")
    async with drive(pipeline) as d:
        await d.source("tx").send(Spent("ann", 1, 5))
        await d.source("tx").send(Spent("ann", 2, 6))
        assert [row.value.amount for row in d.sink("out").rows] == [5, 6]
        assert [row.value.amount for row in d.sink("out").table.values()] == [6]


async def test_dead_letters_have_a_sink_like_any_other() -> None:
    pipeline = sf.Pipeline("dead")
    rows = pipeline.read("numbers", []).on_error(sf.dead_letter(MemorySink()))
    rows.map(lambda n: 1 // n, name="invert").to(MemorySink(), name="out")
    async with drive(pipeline) as d:
        await d.source("numbers").send(1, 0)
        (letter,) = d.sink("dead_letters").rows
        assert (letter.step, letter.value) == ("invert", 0)
        assert d.ledger("invert").dead_lettered == 1


# splits, time, the end


async def test_a_split_holds_the_watermark_until_it_is_idle_or_over() -> None:
    async with drive(spending()) as d:
        tx = d.source("tx")
        await tx.open("A", "B", "C")
        await tx.send(Spent("ann", 15, 1), split="A")
        assert d.watermark("tx") is None
        await tx.idle("B")
        await tx.send(Spent("ann", 3, 1), split="C")
        assert d.watermark("tx") == 3 * SECOND
        await tx.finish("C")
        assert d.watermark("tx") == 15 * SECOND
        assert d.sink("sums").rows == [("ann", 10, 1)]


async def test_several_splits_make_one_batch() -> None:
    async with drive(spending()) as d:
        await d.source("tx").open("A", "B")
        await d.source("tx").send_together(
            ("A", [Spent("ann", 12, 1)]), ("B", [Spent("ann", 3, 2), Spent("ann", 11, 4)])
        )
        assert d.sink("sums").rows == [("ann", 10, 2)]


async def test_time_passes_only_by_the_test() -> None:
    pipeline = sf.Pipeline("ingestion")
    pipeline.read("numbers", []).window_all(sf.tumbling("1m")).count(name="count").to(MemorySink(), name="out")
    async with drive(pipeline, start=datetime(2024, 5, 1, tzinfo=UTC)) as d:
        begun = d.now
        await d.source("numbers").send(1, 2)
        await d.advance("59s")
        assert d.sink("out").rows == []
        await d.advance("1s")
        assert [(row.start, row.value) for row in d.sink("out").rows] == [(begun, 2)]
        assert d.now == begun + 60 * SECOND


async def test_next_lets_time_pass_until_there_is_a_row() -> None:
    async with drive(spending(idle_after="30s", idle_advance=True)) as d:
        await d.source("tx").send(Spent("ann", 1, 5))
        assert await d.sink("sums").next(timeout="1m") == ("ann", 10, 5)
        assert 39 * SECOND <= d.now < 40 * SECOND


async def test_the_end_fires_everything_and_nothing_comes_behind_it() -> None:
    async with drive(spending()) as d:
        await d.source("tx").send(Spent("ann", 1, 5))
        await d.end()
        assert d.sink("sums").rows == [("ann", 10, 5)]
        with pytest.raises(StreamflowError, match="nothing can be sent behind the end"):
            await d.source("tx").send(Spent("ann", 2, 5))
        await d.crash_and_restore()
        await d.crash_and_restore()
        assert d.sink("sums").rows == [("ann", 10, 5)]
        with pytest.raises(StreamflowError, match="nothing can be sent behind the end"):
            await d.source("tx").send(Spent("ann", 2, 5))


async def test_one_source_may_end_before_the_other() -> None:
    pipeline = sf.Pipeline("two")
    left, right = (
        pipeline.read(n, [], event_time=lambda t: t, time_unit="s", max_delay="0s") for n in ("left", "right")
    )
    left.union(right).window_all(sf.tumbling("10s")).count(name="count").to(MemorySink(), name="out")
    async with drive(pipeline) as d:
        await d.source("left").send(1, 25)
        assert d.sink("out").rows == []
        await d.source("right").end()
        assert [row.end // SECOND for row in d.sink("out").rows] == [10]
        with pytest.raises(StreamflowError, match="source 'right' has ended"):
            await d.source("right").send(2)
        await d.source("left").end()
        assert [row.end // SECOND for row in d.sink("out").rows] == [10, 30]


# epochs and crashes


async def test_a_sink_shows_what_is_committed_and_no_more() -> None:
    async with drive(doubles(), epochs="manual") as d:
        await d.source("numbers").send(1)
        assert d.sink("out").rows == []
        with pytest.raises(AssertionError, match=r"1 batches are staged and not committed: await checkpoint\(\)"):
            await d.sink("out").next()
        await d.checkpoint()
        assert d.sink("out").rows == [2]


async def test_a_crash_loses_nothing_and_repeats_nothing() -> None:
    async with drive(spending(), epochs="manual") as d:
        await d.source("tx").send(Spent("ann", 1, 1))
        await d.checkpoint()
        await d.source("tx").send(Spent("ann", 2, 2), Spent("ann", 12, 4))
        await d.crash_and_restore()
        await d.source("tx").send(Spent("ann", 3, 8), Spent("ann", 20, 16))
        await d.crash_and_restore()
        await d.checkpoint()
        assert d.sink("sums").rows == [("ann", 10, 3), ("ann", 20, 4)]
        assert d.sink("late").rows == [Spent("ann", 3, 8)]
        assert d.ledger("sum").rows_in == 5


async def test_what_is_said_of_splits_is_said_again_behind_a_crash() -> None:
    async with drive(spending(), epochs="manual") as d:
        tx = d.source("tx")
        await tx.open("A", "B")
        await tx.send(Spent("ann", 1, 1), Spent("ann", 12, 1), split="A")
        await tx.idle("B")
        await d.crash_and_restore()
        await d.checkpoint()
        assert d.sink("sums").rows == [("ann", 10, 1)]


async def test_a_source_that_is_over_is_over_behind_a_crash() -> None:
    pipeline = sf.Pipeline("two")
    left, right = (
        pipeline.read(n, [], event_time=lambda t: t, time_unit="s", max_delay="0s") for n in ("left", "right")
    )
    left.union(right).window_all(sf.tumbling("10s")).count(name="count").to(MemorySink(), name="out")
    async with drive(pipeline) as d:
        await d.source("right").end()
        await d.crash_and_restore()
        await d.source("left").send(1, 25)
        assert [row.end // SECOND for row in d.sink("out").rows] == [10]
        await d.source("left").end()
        await d.crash_and_restore()
        assert [row.end // SECOND for row in d.sink("out").rows] == [10, 30]


async def test_what_is_said_while_it_is_down_waits() -> None:
    async with drive(spending()) as d:
        await d.source("tx").open("A", "B")
        await d.source("tx").send(Spent("ann", 15, 1), Spent("ann", 16, 1), split="A")
        await d.crash()
        await d.source("tx").idle("B")
        with pytest.raises(StreamflowError, match="it is not running"):
            await d.end()
        await d.resume()
        assert d.watermark("tx") == 16 * SECOND
        await d.end()
        assert d.sink("sums").rows == [("ann", 20, 2)]


async def test_what_is_sent_to_a_crashed_or_suspended_pipeline_waits() -> None:
    async with drive(doubles()) as d:
        await d.source("numbers").send(1)
        await d.crash()
        await d.source("numbers").send(2)
        assert d.sink("out").rows == [2]
        with pytest.raises(StreamflowError, match="it is not running"):
            d.ledger("double")
        await d.resume()
        assert d.sink("out").rows == [2, 4]
        await d.suspend()
        await d.source("numbers").send(3)
        await d.resume()
        assert d.sink("out").rows == [2, 4, 6]
        with pytest.raises(StreamflowError, match="it is running"):
            await d.resume()


async def test_leaving_suspends_and_what_was_staged_is_seen() -> None:
    async with drive(doubles(), epochs="manual") as d:
        await d.source("numbers").send(1, 2)
        out = d.sink("out")
    assert out.rows == [2, 4]


async def test_a_failing_row_stops_it_until_it_is_restored_and_then_again() -> None:
    async with drive(doubles()) as d:
        await d.source("numbers").send(1)
        with pytest.raises(OperatorError, match="'double' failed"):
            await d.source("numbers").send(None)
        with pytest.raises(StreamflowError, match="it has failed: OperatorError"):
            await d.source("numbers").send(2)
        with pytest.raises(OperatorError, match="'double' failed"):
            await d.crash_and_restore()
        assert d.sink("out").rows == [2]


async def test_an_error_of_the_test_is_not_hidden() -> None:
    async def body() -> None:
        async with drive(doubles()) as d:
            await d.source("numbers").send(1)
            raise KeyError

    with pytest.raises(KeyError):
        await body()


# what cannot be


async def test_unknown_names_are_refused_with_those_there_are() -> None:
    async with drive(spending()) as d:
        with pytest.raises(DefinitionError, match="no source is named 'ty'; there are: tx"):
            d.source("ty")
        with pytest.raises(DefinitionError, match="no sink is named 'sum'; there are: sums, late"):
            d.sink("sum")
        with pytest.raises(DefinitionError, match="no step is named 'x'; there are: tx, key_by, sum"):
            d.watermark("x")
        with pytest.raises(DefinitionError, match="source 'tx' has no split 'A' yet"):
            await d.source("tx").idle("A")


def test_arguments_that_cannot_be_are_refused() -> None:
    with pytest.raises(DefinitionError, match="epochs must be 'each' or 'manual', got 'sometimes'"):
        drive(doubles(), epochs="sometimes")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(DefinitionError, match="cut must be sizes of one or more, or a seed"):
        drive(doubles(), cut=[0])
    with pytest.raises(DefinitionError, match="has no source"):
        drive(sf.Pipeline("empty"))


# laws


@given(
    rows=st.lists(st.tuples(st.sampled_from("ab"), st.integers(-20, 40), st.integers(0, 9)), max_size=25),
    cut=st.one_of(st.integers(0, 1000), st.lists(st.integers(1, 5), min_size=1, max_size=3)),
    crashes=st.sets(st.integers(0, 25)),
    epochs=st.sampled_from(["each", "manual"]),
)
@settings(max_examples=25)
async def test_no_cut_and_no_crash_changes_what_is_committed(
    rows: list[tuple[str, int, int]], cut: Any, crashes: set[int], epochs: Any
) -> None:
    sent = [Spent(*row) for row in rows]
    async with drive(spending()) as d:
        await d.source("tx").send(*sent)
        await d.end()
        expected = Counter(d.sink("sums").rows), Counter(d.sink("late").rows)
    async with drive(spending(), cut=cut, epochs=epochs) as d:
        for place, row in enumerate(sent):
            await d.source("tx").send(row)
            if place in crashes:
                await d.crash_and_restore()
        await d.end()
        assert (Counter(d.sink("sums").rows), Counter(d.sink("late").rows)) == expected
