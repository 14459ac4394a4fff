"""What flows between steps, in order, on a numbered input (R6).

``Barrier``s are not elements here: within a process the engine takes a snapshot between two elements, which aligns
every input at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from streamflow.core.batch import Batch

MAIN: Final = "main"
LATE: Final = "late"
DEAD: Final = "dead letters"

Port = str
"""Which way out of a step: its main output, its late output, its dead letters, or a branch's name."""


@final
@dataclass(frozen=True, slots=True)
class Watermark:
    """All rows with event time ``< time`` have been seen."""

    time: int


@final
@dataclass(frozen=True, slots=True)
class Idle:
    """The input has nothing to say and does not hold the watermark."""


@final
@dataclass(frozen=True, slots=True)
class Active:
    """The input counts again."""


@final
@dataclass(frozen=True, slots=True)
class Tick:
    """The machine's clock says ``now`` (microseconds); sent only to steps that ask for it."""

    now: int


@final
@dataclass(frozen=True, slots=True)
class End:
    """The input is over: everything fires."""


Element = Batch | Watermark | Idle | Active | Tick | End
Output = tuple[Port, Batch]
"""A batch and the way it leaves the step by."""
