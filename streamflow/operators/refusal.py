"""What happens to a row on which a step fails: ``on_error``, written once for every step.

``"fail"`` stops the pipeline with an error that says where; ``"skip"`` counts the row and goes on;
``dead_letter(sink)`` also sends it to a sink, with the reason.  The ledger has the row either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from streamflow.core.batch import Batch
from streamflow.core.connector import Refused, Sink
from streamflow.core.element import DEAD, Output
from streamflow.core.operator import Ledger
from streamflow.core.rows import Rows
from streamflow.core.stamps import Stamps
from streamflow.core.timestamp import MIN_TIMESTAMP, show_time
from streamflow.errors import DataError, DefinitionError, OperatorError


@final
@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that failed, and why.

    Attributes:
        step: The name of the step it failed in.
        key: Its key, where it had one.
        event_time: Its event time, microseconds; None where it failed before it had one.
        reason: What was expected and what was got.
        value: The row as it came to the step: the raw bytes at a source.
    """

    step: str
    key: Any
    event_time: int | None
    reason: str
    value: Any


@final
@dataclass(frozen=True, slots=True)
class ToSink:
    """Rows that fail go to this sink, as ``DeadLetter``s."""

    sink: Sink


OnError = Literal["fail", "skip"] | ToSink


def dead_letter(sink: Sink) -> ToSink:
    """Return the policy that sends rows on which a step fails to a sink.

    Raises:
        DefinitionError: If it is not a sink.
    """
    if not isinstance(sink, Sink):
        raise DefinitionError(f"dead_letter takes a sink, got {sink!r}")
    return ToSink(sink)


def require_policy(value: object) -> OnError:
    """Return ``value`` if it is a policy.

    Raises:
        DefinitionError: If it is not.
    """
    if value in ("fail", "skip") or isinstance(value, ToSink):
        return value
    raise DefinitionError(f"on_error must be 'fail', 'skip' or dead_letter(sink), got {value!r}")


@final
@dataclass(frozen=True, slots=True)
class Refusal:
    """A step's policy for rows on which it fails."""

    step: str
    policy: OnError = "fail"

    def settle(self, refused: Sequence[Refused], batch: Batch | None, ledger: Ledger) -> list[Output]:
        """Count the refused rows and return what leaves as dead letters.

        Args:
            refused: The rows, by their place in ``batch``.
            batch: The batch they were in; None at a source, where they never became rows.
            ledger: The step's ledger.

        Raises:
            OperatorError: If the policy is ``"fail"``.
        """
        if not refused:
            return []
        if self.policy == "fail":
            first = refused[0]
            key, time = _where(first, batch)
            error = OperatorError(
                self.step, key=key, event_time=None if time is None else show_time(time), reason=first.reason
            )
            raise error from first.cause
        ledger.dead_lettered += len(refused)
        if self.policy == "skip":
            return []
        letters = [self._letter(row, batch) for row in refused]
        if batch is None:
            return [(DEAD, Rows(Stamps.at(0, MIN_TIMESTAMP, len(letters)), letters))]
        places = np.fromiter((row.row for row in refused), dtype=np.int64, count=len(refused))
        return [(DEAD, Rows(batch.stamps.take(places).with_kind(None), letters))]

    def _letter(self, row: Refused, batch: Batch | None) -> DeadLetter:
        key, time = _where(row, batch)
        return DeadLetter(self.step, key, time, row.reason, row.raw)


def _where(row: Refused, batch: Batch | None) -> tuple[Any, int | None]:
    if batch is None:
        return None, None
    return batch.key_of(row.row), int(batch.times[row.row])


def refuse(row: int, error: Exception, raw: Any) -> Refused:
    """Return the refusal of a row on which a function of the user's failed."""
    reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    return Refused(row, reason, raw, error)


def refused_mask(refused: Sequence[Refused], rows: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which of ``rows`` rows are refused."""
    mask = np.zeros(rows, dtype=bool)
    mask[[r.row for r in refused]] = True
    return mask
