"""What the aircraft demo should answer: the same three questions as plain polars queries over the whole file.

Every row is put beside each window it lies in, and grouped; the queries know nothing of streamflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import final

import polars as pl

from streamflow.demos.adsb import Demo

EARTH_RADIUS = 6_371_000.0
GAP = timedelta(minutes=5)


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """One question's answer beside the query's.

    Attributes:
        question: Its name.
        rows: How many rows the query gives.
        missing: Rows of the query that the demo did not give.
        extra: Rows that the demo gave beyond those.
    """

    question: str
    rows: int
    missing: int
    extra: int

    @property
    def agrees(self) -> bool:
        """Whether they are the same, row for row."""
        return not self.missing and not self.extra


def compare(demo: Demo, positions: pl.DataFrame) -> list[Comparison]:
    """Return how the answers of a demo that has ended compare with the queries over the same rows."""
    answered = {
        "legs": demo.legs.frame().rename({"key": "icao24", "window_start": "minute"}),
        "traffic": demo.traffic.frame().rename({"window_start": "start"}),
        "flights": demo.flights.frame().rename({"window_start": "start"}).with_columns(end=pl.col("window_end") - GAP),
    }
    queries = {"legs": legs(positions), "traffic": traffic(positions), "flights": flights(positions)}
    return [_compared(name, answered[name], query) for name, query in queries.items()]


def _compared(question: str, answer: pl.DataFrame, query: pl.DataFrame) -> Comparison:
    ours = answer.select(query.columns).cast(query.schema).group_by(query.columns).len("times")
    theirs = query.group_by(query.columns).len("times")
    every = ours.columns
    missing = theirs.join(ours, on=every, how="anti", nulls_equal=True)
    extra = ours.join(theirs, on=every, how="anti", nulls_equal=True)
    return Comparison(question, query.height, missing.height, extra.height)


def legs(positions: pl.DataFrame) -> pl.DataFrame:
    """Return climb and way of each aircraft in each minute."""
    by_minute = ["icao24", "minute"]
    rows = positions.sort("icao24", "timestamp").with_columns(minute=pl.col("timestamp").dt.truncate("1m"))
    known = pl.col("altitude").cast(pl.Float64).drop_nulls()
    return (
        rows.with_columns(metres=_hop().over(by_minute))
        .group_by(by_minute, maintain_order=True)
        .agg(climb=known.last() - known.first(), metres=pl.col("metres").sum())
    )


def _hop() -> pl.Expr:
    """Return the way from the row before, in whole metres."""
    latitude = pl.col("latitude").radians()
    north = (pl.col("latitude") - pl.col("latitude").shift()).radians()
    east = (pl.col("longitude") - pl.col("longitude").shift()).radians()
    h = (north / 2).sin() ** 2 + latitude.shift().cos() * latitude.cos() * (east / 2).sin() ** 2
    return (2 * EARTH_RADIUS * h.sqrt().arcsin()).round().cast(pl.Int64)


def traffic(positions: pl.DataFrame) -> pl.DataFrame:
    """Return the aircraft and positions of each cell in each five minutes that begin at a full minute."""
    minutes = pl.DataFrame({"back": [timedelta(minutes=m) for m in range(5)]})
    return (
        positions.join(minutes, how="cross")
        .group_by(
            cell_lat=pl.col("latitude").floor(),
            cell_lon=pl.col("longitude").floor(),
            start=pl.col("timestamp").dt.truncate("1m") - pl.col("back"),
        )
        .agg(aircraft=pl.col("icao24").n_unique(), positions=pl.len())
    )


def flights(positions: pl.DataFrame) -> pl.DataFrame:
    """Return the flights of each aircraft: positions no more than five minutes apart."""
    begins = (pl.col("timestamp").diff() > GAP).fill_null(value=True)
    return (
        positions.sort("icao24", "timestamp")
        .with_columns(flight=begins.cum_sum().over("icao24"))
        .group_by("icao24", "flight")
        .agg(
            start=pl.col("timestamp").min(),
            end=pl.col("timestamp").max(),
            positions=pl.len(),
            highest=pl.col("altitude").max(),
        )
        .drop("flight")
    )
