"""The rate at which rows are taken in: Spark's PID estimator, as values and arithmetic.

When batches take longer than their interval they queue, and each queued one adds to the latency of all that follow.
The estimator sets the rate of the next batch from how the last one went: the *error* is the rate it was given less the
rate at which rows were worked on, the *historical error* what waits, as a rate, and the *derivative* how the error
changes::

    new = latest - kp * error - ki * historical - kd * derivative

(Spark, ``PIDRateEstimator``: ``kp`` 1, ``ki`` 0.2, ``kd`` 0, at least 100 rows a second.)  Knows no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from streamflow.errors import DefinitionError


@final
@dataclass(frozen=True, slots=True)
class Pid:
    """The settings of the estimator.

    Attributes:
        proportional: How strongly the error of the last batch counts.
        integral: How strongly what waits counts.
        derivative: How strongly the change of the error counts.
        least: Never fewer rows a second than this.
    """

    proportional: float = 1.0
    integral: float = 0.2
    derivative: float = 0.0
    least: float = 100.0

    def __post_init__(self) -> None:
        if self.proportional < 0 or self.integral < 0 or self.derivative < 0 or self.least <= 0:
            raise DefinitionError(f"the weights of pid must be zero or more and its least rate more, got {self}")


def pid(proportional: float = 1.0, integral: float = 0.2, derivative: float = 0.0, *, least: float = 100.0) -> Pid:
    """Return an estimator for ``micro_batch(..., rate=pid())``.

    Rows beyond what a batch can do in time wait at the source.

    Raises:
        DefinitionError: If a weight is negative, or the least rate is zero or less.
    """
    return Pid(proportional, integral, derivative, least)


@final
@dataclass(slots=True)
class RateEstimator:
    """The estimator while a pipeline runs.

    ``rate`` is in rows a second; None before the first batch, which is not limited.
    """

    settings: Pid
    interval: float
    """Seconds from one batch to the next."""
    rate: float | None = None
    _at: float = 0.0
    _error: float = 0.0

    def batch(self, *, ended: float, rows: int, processing: float, scheduling: float) -> None:
        """Take how a batch went; one without rows, or not later than the last, says nothing.

        Args:
            ended: When it ended, seconds of any clock.
            rows: How many rows it had.
            processing: How long it was worked on, seconds.
            scheduling: How long it waited before that, seconds.
        """
        if rows <= 0 or processing <= 0 or ended <= self._at:
            return
        worked = rows / processing
        if self.rate is None:
            self.rate, self._at, self._error = worked, ended, 0.0
            return
        error = self.rate - worked
        historical = scheduling * worked / self.interval
        derivative = (error - self._error) / (ended - self._at)
        s = self.settings
        change = s.proportional * error + s.integral * historical + s.derivative * derivative
        self.rate, self._at, self._error = max(self.rate - change, s.least), ended, error

    def limit(self) -> int | None:
        """Return how many rows the next batch may take; None for any number."""
        return None if self.rate is None else max(1, int(self.rate * self.interval))
