from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from streamflow.demos import adsb
from streamflow.demos.adsb_check import compare


@pytest.fixture(scope="module")
def positions() -> pl.DataFrame:
    """The first half hour."""
    return adsb.load_positions().head(40_000)


def test_the_file_is_whole() -> None:
    everything = adsb.load_positions()
    assert everything.height == 284_505
    assert everything.get_column("icao24").n_unique() == 213
    assert everything.get_column("timestamp").is_sorted()
    assert everything.get_column("altitude").null_count() > 0


def test_the_disorder_is_within_its_bound_and_the_same_each_time(positions: pl.DataFrame) -> None:
    shuffled = adsb.disordered(positions)
    times = shuffled.get_column("timestamp").to_physical().to_numpy()
    behind = np.maximum.accumulate(times) - times
    assert 0 < behind.max() < adsb.DISORDER * 1_000_000
    assert shuffled.equals(adsb.disordered(positions))
    assert shuffled.sort("timestamp", "icao24").equals(positions.sort("timestamp", "icao24"))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_answers_are_those_of_plain_queries_whatever_the_disorder(positions: pl.DataFrame, seed: int) -> None:
    demo = adsb.Demo(adsb.disordered(positions, seed))
    demo.pipeline.run()
    compared = compare(demo, positions)
    assert [answer.question for answer in compared] == ["legs", "traffic", "flights"]
    assert [answer for answer in compared if not answer.agrees] == []
    assert all(answer.rows for answer in compared)


def test_the_comparison_sees_a_row_that_is_wrong(positions: pl.DataFrame) -> None:
    demo = adsb.Demo(positions.head(5_000))
    demo.pipeline.run()
    fewer = compare(demo, positions.head(4_999))
    assert [answer.agrees for answer in fewer] == [False, False, False]
    assert all(answer.missing == answer.extra == 1 for answer in fewer if answer.question != "traffic")


def test_the_way_between_two_positions_is_known_for_a_degree_of_latitude() -> None:
    south, north = adsb.Position("a", 48.0, 2.0, None), adsb.Position("a", 49.0, 2.0, None)
    assert adsb.distance(south, north) == 111_195
    assert adsb.distance(north, south) == 111_195
    assert adsb.distance(south, south) == 0
