"""The whole error tree, by who must act.

``DefinitionError``: you, now, at the line that wrote it.  ``OperatorError``: your function, on a row.
``SourceError`` / ``SinkError``: the system on the other side.  ``CheckpointError``: who operates the worker.
``InternalError``: us; please report it.

Exceptions take facts and build their own message: what happened, where, what was expected, and the
remedy as a note (PEP 678), so that a traceback ends with what to do.
"""

from __future__ import annotations


class StreamflowError(Exception):
    """The base of every error that streamflow raises on purpose."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy
        if remedy is not None:
            self.add_note(remedy)


class DefinitionError(StreamflowError, ValueError):
    """A pipeline says something that cannot run; raised at the line that says it."""


class DataError(StreamflowError, ValueError):
    """One row is not what the step needs: it cannot be decoded, lacks a field, has a wrong type or time.

    Goes where ``on_error`` of the step says; it reaches you only through ``OperatorError`` or ``SourceError``.
    """


class OperatorError(StreamflowError):
    """A function of yours failed on a row; the exception it raised is the ``__cause__``.

    Attributes say where: the step, the key and the event time (ISO 8601, or None where it has none yet).
    """

    def __init__(self, step: str, *, key: object = None, event_time: str | None = None, reason: str = "") -> None:
        where = f"step {step!r} failed"
        if key is not None:
            where += f" on key {key!r}"
        if event_time is not None:
            where += f" at event time {event_time}"
        super().__init__(
            f"{where}: {reason}" if reason else where,
            remedy="send such rows elsewhere with on_error=dead_letter(sink), drop them with on_error='skip', or fix"
            " the cause",
        )
        self.step, self.key, self.event_time = step, key, event_time


class SourceError(StreamflowError):
    """A source cannot be opened or read, or holds what it should not."""

    def __init__(self, source: str, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(f"source {source!r}: {reason}", remedy=remedy)
        self.source = source


class SinkError(StreamflowError):
    """A sink cannot be opened or written, or refuses an epoch."""

    def __init__(self, sink: str, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(f"sink {sink!r}: {reason}", remedy=remedy)
        self.sink = sink


class CheckpointError(StreamflowError):
    """A checkpoint cannot be written, read, or does not belong to this pipeline."""


class FencedError(CheckpointError):
    """Another worker took this pipeline over; this one must write nothing more."""


class DamagedError(CheckpointError):
    """A file of a checkpoint is missing, or is not what was written."""


class StoreFullError(CheckpointError):
    """The store has no room for this epoch: nothing of it is committed, and what it held joins the next one."""


class InternalError(StreamflowError):
    """Streamflow broke one of its own rules."""

    def __init__(self, message: str) -> None:
        super().__init__(message, remedy="this is a bug in streamflow: please report it with the text above")
