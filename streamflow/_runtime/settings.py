"""How a pipeline is to be run: trigger, checkpoints, guarantee; and what that promises of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from streamflow._engine.plan import Plan
from streamflow._runtime.trigger import AvailableNow, Continuous, MicroBatch, Once, Trigger
from streamflow.core.connector import Guarantee, Replay
from streamflow.core.timestamp import Duration, duration, show_duration
from streamflow.errors import DefinitionError

Promise = Literal["exactly_once"]


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """How a pipeline is to be run.

    Attributes:
        trigger: When a batch is cut.
        checkpoint: The folder of its checkpoints; None keeps state in memory only.
        epoch: How often a checkpoint is committed, microseconds.
        promise: What must be kept, or the pipeline is refused.
        max_staged_bytes: How much staged output may wait for a commit before sources are paused.
    """

    trigger: Trigger
    checkpoint: Path | None
    epoch: int
    promise: Promise | None = None
    max_staged_bytes: int = 64 << 20

    @staticmethod
    def of(trigger: object, checkpoint: object, epoch: Duration, guarantee: object) -> Settings:
        """Return the settings that these arguments say.

        Raises:
            DefinitionError: If one of them says something that cannot run.
        """
        if not isinstance(trigger, Continuous | MicroBatch | AvailableNow | Once):
            raise DefinitionError(
                "trigger must be continuous(), micro_batch('1s'), available_now() or once(), got " + repr(trigger)
            )
        if guarantee not in (None, "exactly_once"):
            raise DefinitionError(f"guarantee must be 'exactly_once' or None, got {guarantee!r}")
        if guarantee is not None and checkpoint is None:
            raise DefinitionError("guarantee='exactly_once' needs checkpoint=, a folder that outlives the process")
        return Settings(trigger, _folder(checkpoint), duration(epoch, "epoch", minimum=1), guarantee)

    def check(self, plan: Plan) -> None:
        """Check that the plan can keep what was promised, and has something to do.

        Raises:
            DefinitionError: If not, naming the source or sink that cannot.
        """
        if not plan.sources:
            raise DefinitionError(
                f"pipeline {plan.name!r} has no source", remedy="start with pipeline.read(...) or .table(...)"
            )
        if not plan.sinks:
            raise DefinitionError(
                f"pipeline {plan.name!r} has no sink, so nothing of it would be seen",
                remedy="end it with to(sink) or show()",
            )
        if self.promise is None:
            return
        for source in plan.sources:
            if source.source.replay is not Replay.REPLAYABLE:
                raise DefinitionError(
                    f"source {source.name!r} cannot be read again after a crash, so exactly-once is not to be had"
                )
        for sink in plan.sinks:
            if sink.sink.guarantee is not Guarantee.EXACTLY_ONCE:
                raise DefinitionError(
                    f"sink {sink.name!r} is {sink.sink.guarantee.value}, so exactly-once is not to be had"
                )

    def guarantee(self, plan: Plan, sink: str) -> str:
        """Return, in words, what one sink's rows are promised."""
        node = next(n for n in plan.sinks if n.name == sink)
        if self.checkpoint is None:
            return "no checkpoint: at most once across a crash"
        lost = [
            s.name for s in plan.sources if s.name in plan.upstream(sink) and s.source.replay is Replay.AT_MOST_ONCE
        ]
        text = node.sink.guarantee.value
        return f"{text}; rows of {', '.join(lost)} in flight are lost in a crash" if lost else text

    def describe(self, plan: Plan) -> dict[str, str]:
        """Return what ``explain()`` prints of the settings: the whole, and each sink's guarantee by its name."""
        kept = (
            "state in memory only"
            if self.checkpoint is None
            else f"checkpoint {self.checkpoint} every {show_duration(self.epoch)}"
        )
        return {"": f"{self.trigger}, {kept}"} | {n.name: self.guarantee(plan, n.name) for n in plan.sinks}


def _folder(checkpoint: object) -> Path | None:
    if checkpoint is None:
        return None
    text = str(checkpoint)
    if text.startswith("file:"):
        text = text.removeprefix("file://").removeprefix("file:")
    if "://" in text or not text:
        raise DefinitionError(f"checkpoint must be a folder such as 'file:./state', got {checkpoint!r}")
    return Path(text)
