"""The one split of a source that has only one, and its position: how many of its rows have been read.

Sources that cannot be divided (an iterable, a queue, a socket) share the name of their split and the meaning of its
position, so that a checkpoint of one reads like a checkpoint of another.  Pure: opens nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from streamflow.errors import DefinitionError, SourceError

ONLY = "0"
"""The name of the split of a source that has only one."""


def only_position(source: str, positions: Mapping[str, Any]) -> int:
    """Return how many rows of the only split have been read: 0 at the first start.

    Raises:
        SourceError: If the positions are those of another source.
    """
    require_known(source, positions, {ONLY})
    position = positions.get(ONLY, 0)
    if not isinstance(position, int) or isinstance(position, bool) or position < 0:
        raise SourceError(source, f"expected a number of rows as its position, got {position!r}", remedy=_REMEDY)
    return position


def require_known(source: str, positions: Mapping[str, Any], splits: set[str]) -> None:
    """Raise if a position belongs to a split that the source does not have.

    Raises:
        SourceError: If one does: the source has been changed, or the checkpoint is another's.
    """
    unknown = sorted(positions.keys() - splits)
    if unknown:
        raise SourceError(source, f"the checkpoint holds splits that it does not have: {unknown}", remedy=_REMEDY)


def takes_start(factory: Callable[..., Any]) -> bool:
    """Return whether a function that opens the rows is given how many of them have been read already.

    It is if it requires one argument, or has one called ``start``; a function without arguments cannot go on where it
    stopped.

    Raises:
        DefinitionError: If it requires more than one argument.
    """
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):  # a function of C that does not say: let it be live
        return False
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    names = [p.name for p in required]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise DefinitionError(
            f"a function that opens rows takes nothing, or the row to start at; this one takes {', '.join(names)}",
            remedy="bind the others with functools.partial",
        )
    return len(required) == 1 or any(p.name == "start" for p in parameters)


_REMEDY = "restore the checkpoint with the source it was taken with, or start afresh with --new-generation"
