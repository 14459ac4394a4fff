"""Event time: an ``int`` of microseconds since the Unix epoch, UTC.

``datetime`` and ``timedelta`` exist only at the API's edge, and this is the edge.  Knows no window and no watermark.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal

from streamflow.errors import DataError, DefinitionError

MIN_TIMESTAMP = -(1 << 62)
"""Before every event time: the watermark of an input that has said nothing."""
MAX_TIMESTAMP = 1 << 62
"""After every event time: the watermark of an input that has ended.  A size or a delay added to it still fits int64."""

EARLIEST = -62_135_596_800_000_000
"""0001-01-01T00:00:00Z, the earliest event time a row may have."""
LATEST = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z, the latest event time a row may have."""

TimeUnit = Literal["s", "ms", "us", "ns"]
Duration = str | timedelta

MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_DURATION = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)\s*")


def duration(value: Duration, what: str = "duration", *, minimum: int | None = 0) -> int:
    """Return a length of time in microseconds.

    Args:
        value: A ``timedelta`` or a text such as ``"200ms"``, ``"10s"``, ``"5m"``, ``"1h"``, ``"1d"`` or ``"1h 30m"``.
        what: The name of the argument, for the message.
        minimum: The least number of microseconds allowed; None allows any.

    Raises:
        DefinitionError: If it is none of these, or less than ``minimum``.

    >>> duration("1m 30s")
    90000000
    """
    if isinstance(value, timedelta):
        micros = value // MICROSECOND
    elif isinstance(value, str) and (parts := _DURATION.findall(value)) and not _DURATION.sub("", value):
        micros = round(sum(float(number) * _UNITS[unit] for number, unit in parts))
    else:
        raise DefinitionError(f"{what} must be a timedelta or a text such as '200ms', '10s', '5m', '1h', got {value!r}")
    if minimum is not None and micros < minimum:
        least = "more than zero" if minimum == 1 else "zero or more" if minimum == 0 else f"{minimum} us or more"
        raise DefinitionError(f"{what} must be {least}, got {value!r}")
    return micros


def timestamp(value: object, unit: TimeUnit = "us") -> int:
    """Return the event time that a row states, in microseconds.

    Args:
        value: An aware ``datetime``, or an ``int`` or ``float`` in ``unit`` since the Unix epoch.
        unit: What a number counts.

    Raises:
        DataError: If it is neither, is a naive ``datetime``, or lies outside the years 1 to 9999.
    """
    match value:
        case bool():
            raise DataError(f"an event time must be an aware datetime or a number of {unit}, got {value!r}")
        case datetime():
            if value.tzinfo is None:
                raise DataError(
                    f"an event time must have a time zone, got the naive {value!r}",
                    remedy="use value.replace(tzinfo=UTC) if it means UTC",
                )
            micros = (value - _EPOCH) // MICROSECOND
        case int():
            micros = value * _UNITS[unit] if unit != "ns" else value // 1_000
        case float() if value - value == 0.0:
            micros = round(value * _UNITS[unit]) if unit != "ns" else round(value / 1_000)
        case _:
            raise DataError(f"an event time must be an aware datetime or a number of {unit}, got {value!r}")
    if not EARLIEST <= micros <= LATEST:
        raise DataError(f"an event time must lie in the years 1 to 9999, got {value!r} ({unit})")
    return micros


def to_datetime(micros: int) -> datetime:
    """Return the aware ``datetime`` of an event time; the years 1 to 9999 only."""
    return _EPOCH + timedelta(microseconds=micros)


def show_time(micros: int) -> str:
    """Return a time as people read it: ISO 8601, or ``-inf`` and ``+inf`` at the ends.

    >>> show_time(0), show_time(MAX_TIMESTAMP)
    ('1970-01-01T00:00:00+00:00', '+inf')
    """
    if micros < EARLIEST:
        return "-inf"
    if micros > LATEST:
        return "+inf"
    return to_datetime(micros).isoformat()


def show_duration(micros: int) -> str:
    """Return a length of time in its largest whole unit.

    >>> show_duration(300_000_000), show_duration(1_500_000)
    ('5m', '1500ms')
    """
    for unit in ("d", "h", "m", "s", "ms"):
        if micros and micros % _UNITS[unit] == 0:
            return f"{micros // _UNITS[unit]}{unit}"
    return f"{micros}us"
