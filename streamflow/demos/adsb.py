"""Aircraft: three hours of real positions over Europe, replayed out of order, and three questions about them.

How much did each aircraft climb and how far did it fly in each minute; how many aircraft were in each cell of one
degree in the last five minutes; when did each flight begin and end, and how high did it go.

The first is asked of Python values, the other two of columns: both faces of one pipeline, over one source.
"""

from __future__ import annotations

import math
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

import streamflow as sf
from streamflow import agg

I64 = npt.NDArray[np.int64]

DISORDER = 30
"""Seconds: no row comes more than this behind one with a later time."""
EARTH_RADIUS = 6_371_000.0


class Position(msgspec.Struct, frozen=True):
    """Where an aircraft is.  The altitude, in feet, is not known on the ground and of some aircraft."""

    icao24: str
    latitude: float
    longitude: float
    altitude: float | None


class Leg(msgspec.Struct, frozen=True):
    """A minute of an aircraft: the climb in feet, if the altitude is known, and the way along its track in metres."""

    climb: float | None
    metres: int


@final
class Demo:
    """The pipeline, and what it answers.

    Args:
        positions: The rows, in the order in which they come; ``timestamp`` is their event time.
        rate: Rows a second; None: as fast as they are worked on.
    """

    def __init__(self, positions: pl.DataFrame, *, rate: float | None = None) -> None:
        self.legs, self.traffic, self.flights = sf.MemorySink(), sf.MemorySink(), sf.MemorySink()
        self.pipeline = sf.Pipeline("adsb")
        rows = self.pipeline.table(
            "positions", replayed(positions, rate), event_time="timestamp", max_delay=f"{DISORDER}s"
        )
        legs = (
            rows.select("icao24", "latitude", "longitude", "altitude")
            .as_stream(Position)
            .key_by(lambda position: position.icao24)
            .window(sf.tumbling("1m"))
            .collect(name="tracks")
            .map(leg)
        )
        legs.to(self.legs, name="legs")
        traffic = (
            rows.with_columns(cell_lat=pl.col("latitude").floor(), cell_lon=pl.col("longitude").floor())
            .group_by("cell_lat", "cell_lon")
            .window(sf.sliding("5m", every="1m"))
            .agg(aircraft=agg.col("icao24").n_distinct(), positions=agg.rows(), name="cells")
        )
        traffic.to(self.traffic, name="traffic")
        flights = (
            rows.group_by("icao24")
            .window(sf.session("5m"))
            .agg(positions=agg.rows(), highest=agg.col("altitude").max(), name="sessions")
        )
        flights.to(self.flights, name="flights")


def leg(track: sf.Windowed[str, list[Position]]) -> sf.Windowed[str, Leg]:
    """Return what an aircraft did in a minute, of its positions in the order of their times."""
    known = [position.altitude for position in track.value if position.altitude is not None]
    climb = known[-1] - known[0] if known else None
    metres = sum(distance(a, b) for a, b in pairwise(track.value))
    return sf.Windowed(track.key, track.start, track.end, Leg(climb, metres))


def distance(a: Position, b: Position) -> int:
    """Return the way between two positions along the great circle, in whole metres (the haversine formula)."""
    north, east = math.radians(b.latitude - a.latitude), math.radians(b.longitude - a.longitude)
    along = math.cos(math.radians(a.latitude)) * math.cos(math.radians(b.latitude))
    h = math.sin(north / 2) ** 2 + along * math.sin(east / 2) ** 2
    return round(2 * EARTH_RADIUS * math.asin(math.sqrt(h)))


def load_positions() -> pl.DataFrame:
    """Return the positions as they are in the file, in order."""
    return pl.read_parquet(Path(str(files("streamflow.demos"))) / "data" / "adsb.parquet")


def disordered(positions: pl.DataFrame, seed: int = 7) -> pl.DataFrame:
    """Return the rows as if each had come up to ``DISORDER`` seconds late: shuffled, and within that bound."""
    late = np.random.default_rng(seed).integers(0, DISORDER * 1_000_000, positions.height)
    return positions.sort(pl.col("timestamp") + pl.Series(late).cast(pl.Duration("us")), maintain_order=True)


def replayed(positions: pl.DataFrame, rate: float | None) -> sf.GenerateSource:
    """Return a source of these rows in their order, at so many a second."""

    def block(numbers: I64, times: I64, chance: np.random.Generator) -> pl.DataFrame:
        return positions[np.minimum(numbers, positions.height - 1)]  # the last block is cut to the rows there are

    return sf.generate(columns=block, rows=positions.height, rate=rate)
