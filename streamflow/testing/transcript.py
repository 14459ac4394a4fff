"""Transcripts: what went into a window and what came out, as a page of YAML that people and tests both read.

::

    name: a row at the end of a window is not in it
    rule: R2
    window: {tumbling: 10}
    max_delay: 0
    agg: count
    steps:
      - input: [[k, 9, 1], [k, 10, 1]]     # key, time, value
      - expect: [[k, 0, 10, 1]]            # key, start, end, what the aggregation came to
      - input: [[k, 9, 1]]
      - expect_late: [[k, 9, 1]]
      - end
      - expect: [[k, 10, 20, 1]]

Times and lengths are whole numbers of ``unit`` (seconds).  Without ``max_delay`` the source moves its watermark only
where a ``watermark`` step says so.  A transcript that must fail says so with ``reject``.

Knows no pipeline: ``transcript_run`` builds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

import msgspec

from streamflow.core.splits import ONLY
from streamflow.errors import DefinitionError

Word = Literal["crash", "suspend", "checkpoint", "end"]
"""A step that takes nothing: crash and restore, suspend and resume, commit an epoch, end the input."""

InputRow = tuple[Any, int, Any]
"""Key, event time, value."""


@final
class WindowSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A window: ``{tumbling: 10}``, ``{sliding: 10, every: 5}`` or ``{session.

    5}``, the first two with an ``offset``.
    """

    tumbling: int | None = None
    sliding: int | None = None
    every: int | None = None
    session: int | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        kinds = [kind for kind in ("tumbling", "sliding", "session") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"a window is one of tumbling, sliding and session, got {kinds}")
        if (self.every is not None) != (kinds == ["sliding"]):
            raise ValueError("every goes with sliding")
        if self.session is not None and self.offset:
            raise ValueError("offset goes with tumbling and sliding")


@final
class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step; exactly one of these is given, ``input`` and ``watermark`` maybe with a ``split``.

    Attributes:
        input: Rows to send.
        watermark: What the source says its watermark is.
        split: Which split they are of.
        idle: A split that has nothing to say for now.
        finish: A split that is over.
        advance: How much time passes by the clock.
        expect: The rows since the last ``expect``, in any order; behind ``ordered`` in this order.
        expect_late: The rows dropped as late since the last ``expect_late``: key, time, value.
        expect_dead: The values of the dead letters since the last ``expect_dead``.
        expect_table: What an upsert edge comes to by now.
        expect_watermark: The watermark of the window's step.
    """

    input: tuple[InputRow, ...] | None = None
    watermark: int | None = None
    split: str = ONLY
    idle: str | None = None
    finish: str | None = None
    advance: int | None = None
    expect: tuple[tuple[Any, ...], ...] | None = None
    expect_late: tuple[InputRow, ...] | None = None
    expect_dead: tuple[Any, ...] | None = None
    expect_table: tuple[tuple[Any, ...], ...] | None = None
    expect_watermark: int | None = None

    def __post_init__(self) -> None:
        if len(self.given) != 1:
            raise ValueError(f"a step does one thing, got {list(self.given) or 'nothing'}")

    @property
    def given(self) -> tuple[str, ...]:
        """What the step does: the name of the field that is set."""
        return tuple(n for n in self.__struct_fields__ if n != "split" and getattr(self, n) is not None)


@final
class Transcript(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What went in and what came out.

    Attributes:
        name: The law it pins, in a few words.
        rule: Which rule it belongs to.
        steps: What happens, in order.
        window: The window; None with ``ordered``.
        ordered: Instead of a window: rows leave in event-time order.
        agg: What a window comes to: an aggregation of the values.
        emit: When it is emitted.
        lateness: The allowed lateness.
        late: How late rows are judged.
        early: How often it is emitted before it closes.
        unit: What all numbers count.
        max_delay: How far rows come out of order; None where the source states its watermark.
        splits: The splits there are from the start.
        drop: Rows with these values are filtered out between source and window.
        idle_after: As in ``Pipeline.read``.
        idle_advance: As in ``Pipeline.read``.
        max_future: As in ``Pipeline.read``; what it refuses are dead letters.
        start: What time it is at first, by the clock.
        cuts: ``sent`` runs it with batches as they are sent, ``row`` with one row a batch; both by default.
        layouts: As Python values and as columns, by default.
        reject: Whether it must fail, or what the error has to say.
        note: Why, where the name does not say it.
        source: Where it comes from.
    """

    name: str
    steps: tuple[Step | Word, ...]
    rule: str = ""
    window: WindowSpec | None = None
    ordered: bool = False
    agg: str = "collect"
    emit: str = "close"
    lateness: int = 0
    late: str = "drop"
    early: int | None = None
    unit: Literal["s", "ms", "us"] = "s"
    max_delay: int | None = None
    splits: tuple[str, ...] = ()
    drop: tuple[Any, ...] = ()
    idle_after: int | None = None
    idle_advance: bool = False
    max_future: int | None = None
    start: int = 0
    cuts: tuple[Literal["sent", "row"], ...] = ("sent", "row")
    layouts: tuple[Literal["rows", "columns"], ...] = ("rows", "columns")
    reject: bool | str = False
    note: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if (self.window is None) != self.ordered:
            raise ValueError("a transcript has a window, or is ordered")
        if self.max_delay is not None and any(isinstance(s, Step) and s.watermark is not None for s in self.steps):
            raise ValueError("a watermark step needs a source that states its watermark: leave max_delay out")


def transcript(page: Mapping[str, Any]) -> Transcript:
    """Return a transcript of plain values, checked.

    Raises:
        DefinitionError: If it says something that no transcript can say, with the place where.
    """
    try:
        return msgspec.convert(page, Transcript)
    except (msgspec.ValidationError, ValueError) as error:
        raise DefinitionError(f"transcript {page.get('name', '')!r}: {error}") from error


def load(path: str | Path) -> list[Transcript]:
    """Return the transcripts of a YAML file: one, or a list of them.

    Raises:
        DefinitionError: If PyYAML is not installed, or the file is not YAML or holds something else.
    """
    try:
        import yaml
    except ImportError as error:
        raise DefinitionError(
            "transcripts are read with PyYAML, which is not installed",
            remedy="pip install 'streamflow-engine[testing]'",
        ) from error
    try:
        pages = yaml.safe_load(Path(path).read_text("utf-8"))
    except yaml.YAMLError as error:
        raise DefinitionError(f"{path}: expected YAML: {error}") from error
    listed = pages if isinstance(pages, list) else [pages]
    if not listed or not all(isinstance(page, dict) for page in listed):
        raise DefinitionError(f"{path}: expected a transcript or a list of them, got {type(pages).__name__}")
    return [transcript(page) for page in listed]
