"""What kind of file a name says it is, and how its rows are decoded."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import PurePath

from streamflow.core.connector import Format
from streamflow.core.formats import Text
from streamflow.core.json_format import Json
from streamflow.errors import DefinitionError


class Kind(Enum):
    """How a file is read."""

    LINES = "lines"
    PARQUET = "parquet"
    ARROW = "arrow"


_FRAMES = {
    ".parquet": Kind.PARQUET,
    ".pq": Kind.PARQUET,
    ".arrow": Kind.ARROW,
    ".ipc": Kind.ARROW,
    ".feather": Kind.ARROW,
}
_JSON = {".jsonl", ".ndjson", ".json"}
_TEXT = {".txt", ".log"}


def kind_of(names: Iterable[str], format: Format | None) -> tuple[Kind, Format | None]:
    """Return how files of these names are read, and the format of their lines; None for frames.

    Raises:
        DefinitionError: If the names say nothing, or different things, and no format is given.
    """
    suffixes = {PurePath(name).suffix.lower() for name in names}
    if suffixes and suffixes <= _FRAMES.keys():
        kinds = {_FRAMES[suffix] for suffix in suffixes}
        if len(kinds) > 1:
            raise DefinitionError("parquet and arrow files are two sources", remedy="read each kind on its own")
        if format is not None:
            raise DefinitionError(f"{kinds.pop().value} files hold typed columns and take no format, got {format}")
        return kinds.pop(), None
    if suffixes & _FRAMES.keys():
        raise DefinitionError(f"expected files of one kind, got {', '.join(sorted(suffixes))}")
    if format is not None:
        return Kind.LINES, format
    if suffixes and suffixes <= _JSON:
        return Kind.LINES, Json()
    if suffixes and suffixes <= _TEXT:
        return Kind.LINES, Text()
    found = ", ".join(sorted(suffixes - {""})) or "no suffix"
    raise DefinitionError(
        f"the names of the files do not say their format: {found}",
        remedy="give format=Json(Type), Csv(Type), Text() or Raw(); .jsonl, .txt, .parquet and .arrow need none",
    )
