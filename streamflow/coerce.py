"""From what people write as a source to a ``Source``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from typing import Any

from streamflow.connectors.files import FileSource
from streamflow.connectors.generator import GeneratorSource
from streamflow.connectors.iterable import IterableSource
from streamflow.core.connector import Format, Source
from streamflow.core.splits import takes_start
from streamflow.errors import DefinitionError


def as_source(source: object, format: Format | None = None) -> Source:
    """Return a source of what is given.

    =============================================  =============================
    given                                          is
    =============================================  =============================
    a ``Source``                                   itself
    a list or other sequence, a frame              its rows, replayable
    another iterable                               its rows, consumed
    a path, a pattern                              ``FileSource``
    a function that returns an (async) iterator    its rows; replayable if it takes the row to start at
    =============================================  =============================

    Args:
        source: One of these.
        format: How the lines of files are decoded.

    Raises:
        DefinitionError: If it is none of these, or a format is given for rows that need none.
    """
    if isinstance(source, str | os.PathLike):
        return FileSource(source, format)
    if isinstance(source, Source) and not isinstance(source, type):
        if format is not None and source.format != format:
            raise DefinitionError(
                f"a format is given beside the source {source}", remedy="give the format to the source itself"
            )
        return source
    if format is not None:
        raise DefinitionError("a format is for bytes, and these rows are values already", remedy="leave format= out")
    if isinstance(source, Iterable):
        return IterableSource(source)
    if callable(source) and not isinstance(source, type):
        return _from_function(source)
    if hasattr(source, "__aiter__"):
        raise DefinitionError(
            "an async generator that runs already cannot be started again",
            remedy="give the function, without calling it",
        )
    raise DefinitionError(
        f"expected something to read rows from, got {type(source).__name__} {source!r}",
        remedy="give a Source, a list or other iterable, a path, or a function that returns an (async) iterator",
    )


def _from_function(function: Callable[..., Any]) -> Source:
    if not inspect.isgeneratorfunction(function):
        return GeneratorSource(function)
    if takes_start(function):
        return IterableSource(function)
    return IterableSource(function())
