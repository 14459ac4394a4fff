"""A sink that shows rows to people: tables on a terminal, one plain line a row in a pipe or a log.

What rows hold is never obeyed: control characters and markup in them are shown as text.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO, final

import anyio.to_thread

from streamflow.core.batch import Batch
from streamflow.core.connector import Encoded, Guarantee, Token
from streamflow.core.records import VALUE, read_table
from streamflow.core.stamps import DELETE
from streamflow.errors import DefinitionError, InternalError, SinkError


@final
@dataclass(frozen=True, slots=True)
class ConsoleSink:
    """Show rows as they come: a table for each batch on a terminal, else one line a row.

    A line is the fields as ``name=value``, or the bare value of a row that has no fields.  On an upsert edge each row
    begins with ``+`` (the key has this value now) or ``-`` (the key is gone).

    Args:
        limit: How many rows of a batch are shown; of the others it says how many they are.
        stream: Where to; what ``sys.stdout`` is at that moment, where not given.

    Raises:
        DefinitionError: If ``limit`` is less than one.
    """

    limit: int = 20
    stream: TextIO | None = None

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise DefinitionError(f"limit must be one row or more, got {self.limit}")

    @property
    def guarantee(self) -> Guarantee:
        """At once, and again after a crash."""
        return Guarantee.AT_ONCE

    @property
    def takes_upserts(self) -> bool:
        """Yes."""
        return True

    def writer(self, pipeline: str, name: str) -> ConsoleWriter:
        """Return a writer whose tables are titled ``name``."""
        del pipeline
        return ConsoleWriter(self, name)

    def __str__(self) -> str:
        return "console"


@final
class ConsoleWriter:
    """Shows batches; printing is done in a thread, since a terminal or a pipe may block."""

    def __init__(self, sink: ConsoleSink, name: str) -> None:
        self._sink, self._name = sink, name

    async def open(self) -> Token | None:
        """Return None: it remembers no epoch."""
        return None

    def encode(self, batch: Batch) -> Encoded:
        """Not called: the sink is not staged."""
        raise InternalError(f"sink {self._name!r} shows rows at once, and was asked to stage {len(batch)}")

    async def apply(self, staged: Sequence[bytes], token: Token) -> None:
        """Not called: the sink is not staged."""
        raise InternalError(f"sink {self._name!r} shows rows at once, and was given {len(staged)} staged for {token}")

    async def write(self, batch: Batch) -> None:
        """Show the batch.

        Raises:
            SinkError: If the stream is closed, or nobody reads it any more.
        """
        if len(batch):
            await anyio.to_thread.run_sync(self._show, batch)

    async def close(self) -> None:
        """Leave the stream open: it is not ours."""

    def _show(self, batch: Batch) -> None:
        stream = self._sink.stream or sys.stdout
        rows = _shown(batch, self._sink.limit)
        more = len(batch) - len(rows)
        try:
            encoding = stream.encoding or "utf-8"
            text = _as_table(self._name, rows, more, encoding) if stream.isatty() else _as_lines(rows, more)
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except (OSError, ValueError) as error:  # a closed stream is a ValueError
            reason = "nobody reads the output any more" if isinstance(error, BrokenPipeError) else str(error)
            raise SinkError(
                self._name, f"cannot write to the console: {reason}", remedy="keep the reader of the pipe running"
            ) from error


def _shown(batch: Batch, limit: int) -> list[_Shown]:
    """Return the first rows; one that cannot be read as fields is shown as it is."""
    head = batch.take(slice(0, limit))
    table = read_table(head)
    records = dict(zip(table.rows, table.records, strict=True)) | {r.row: {VALUE: r.raw} for r in table.refused}
    kinds = [""] * len(head) if head.stamps.kind is None else ["-" if k == DELETE else "+" for k in head.stamps.kind]
    return [_Shown(kind, records[row]) for row, kind in enumerate(kinds)]


@final
@dataclass(frozen=True, slots=True)
class _Shown:
    """A row to be shown: what it does to its key (nothing on an append edge), and its fields."""

    kind: str
    fields: Mapping[str, Any]


def _as_lines(rows: Sequence[_Shown], more: int) -> str:
    lines = [_line(row) for row in rows]
    if more:
        lines.append(f"... and {more:,} more")
    return "".join(f"{line}\n" for line in lines)


def _line(row: _Shown) -> str:
    """Return a row in one line.

    >>> _line(_Shown("+", {"user": "alice b", "n": 3}))
    '+ user="alice b" n=3'
    """
    if row.fields.keys() == {VALUE}:
        words = [_cell(row.fields[VALUE])]
    else:
        words = [f"{_word(_visible(name))}={_word(_cell(value))}" for name, value in row.fields.items()]
    return " ".join([row.kind, *words] if row.kind else words)


def _as_table(title: str, rows: Sequence[_Shown], more: int, encoding: str) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ROUNDED if encoding.lower().startswith("utf") else box.ASCII)
    names = list(dict.fromkeys(name for row in rows for name in row.fields))
    with_kind = any(row.kind for row in rows)
    if with_kind:
        table.add_column("")
    for name in names:
        is_number = all(isinstance(row.fields.get(name, 0), int | float) for row in rows)
        table.add_column(Text(_visible(name)), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        cells = [Text(_shortened(_cell(row.fields[name]))) if name in row.fields else "" for name in names]
        table.add_row(*([row.kind, *cells] if with_kind else cells))
    output = io.StringIO()  # not the stream itself: rich ends the process where a pipe is broken
    console = Console(file=output, force_terminal=True, width=shutil.get_terminal_size().columns)
    console.print(Text(_visible(title), style="bold"), table, sep="\n")
    if more:
        console.print(Text(f"... and {more:,} more"))
    return output.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    try:
        return _visible(str(value))
    except Exception as error:  # noqa: BLE001  # a user's __str__ may raise anything, and the row is still to be shown
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _visible(text: str) -> str:
    """Return the text with everything escaped that a terminal could obey: controls, direction marks, surrogates."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _word(text: str) -> str:
    is_plain = bool(text) and not any(c in text for c in ' ="')
    return text if is_plain else '"' + text.replace('"', '\\"') + '"'


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


_WIDEST = 200
"""Characters of one cell of a table; more would fill screens.  Lines are for programs and logs, and are not cut."""
