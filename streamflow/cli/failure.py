"""What a failure says to the person at the terminal, and the exit code that says it to a supervisor.

The message, the remedy, and what caused it with the line of the user's that raised it; never a raw traceback.
"""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from streamflow.errors import (
    CheckpointError,
    DefinitionError,
    FencedError,
    InternalError,
    StoreFullError,
    StreamflowError,
)

PIPELINE_FAILED = 1
CHECK_FAILED = 3
SECOND_SIGNAL = 130

_NOT_THE_USERS = [Path(__file__).resolve().parents[1]] + [
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")
]


def exit_code(error: BaseException) -> int:
    """Return 3 where the pipeline or its checkpoint must be changed before another try can succeed, else 1."""
    if isinstance(error, FencedError | StoreFullError):
        return PIPELINE_FAILED
    return CHECK_FAILED if isinstance(error, DefinitionError | CheckpointError) else PIPELINE_FAILED


def describe(error: BaseException, *, with_traceback: bool = False) -> str:
    """Return an error as people read it.

    Args:
        error: The error.
        with_traceback: Add the traceback; it is added either way to an error that is neither ours nor came through a
            line of the user's, since then it is all there is to go by.
    """
    name = f"streamflow.{type(error).__name__}" if isinstance(error, StreamflowError) else type(error).__name__
    lines = [f"{name}: {error}", *getattr(error, "__notes__", ())]
    place = _users_line(error)
    is_users = place is not None and not isinstance(error, InternalError)
    if is_users and (isinstance(error, DefinitionError) or not isinstance(error, StreamflowError)):
        lines.append(f"  (at {place})")
    lines += [f"  (caused by {cause})" for cause in _causes(error)]
    if with_traceback or isinstance(error, InternalError) or not (is_users or isinstance(error, StreamflowError)):
        lines += ["", "".join(traceback.format_exception(error)).rstrip()]
    return "\n".join(lines)


def _causes(error: BaseException) -> Iterator[str]:
    seen = {id(error)}
    cause = error.__cause__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        place = _users_line(cause)
        yield f"{type(cause).__name__}: {cause}" + (f", at {place}" if place else "")
        cause = cause.__cause__


def _users_line(error: BaseException) -> str | None:
    """Return the innermost line of the user's own code that an error came through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith("<") and not any(
            Path(frame.filename).resolve().is_relative_to(folder) for folder in _NOT_THE_USERS
        ):
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return None
