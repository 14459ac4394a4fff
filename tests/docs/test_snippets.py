"""Every program in the documents runs and prints what stands below it, and what they name exists.

A block marked ``python`` is a program of its own; one marked ``python continue`` goes on where the block before it in
the same document ended.  A block marked ``text output`` is what the program before it prints, or the error it ends
with; ``...`` in it stands for anything.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import final

import pytest

from streamflow.errors import StreamflowError

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
BLOCK = re.compile(r"^```(?P<kind>python(?: continue)?|text output)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
MODULE = "document"


@final
@dataclass(frozen=True)
class Program:
    """Blocks of one document that go on from each other, each with what it is said to print."""

    document: Path
    line: int
    blocks: tuple[tuple[int, str, str | None], ...]

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def programs(document: Path) -> Iterator[Program]:
    text = document.read_text()
    found: list[list[tuple[int, str, str | None]]] = []
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        if match["kind"] == "text output":
            at, source, _ = found[-1].pop()
            found[-1].append((at, source, match["text"]))
        elif match["kind"] == "python":
            found.append([(line, match["text"], None)])
        else:
            found[-1].append((line, match["text"], None))
    for blocks in found:
        yield Program(document, blocks[0][0], tuple(blocks))


PROGRAMS = [program for document in DOCUMENTS for program in programs(document)]


def printed_by(source: str, where: str, line: int, module: ModuleType) -> str:
    """Return what a block prints, and behind it the error of ours that it ends with."""
    out = io.StringIO()
    code = compile("\n" * (line - 1) + source, where, "exec", dont_inherit=True)
    with contextlib.redirect_stdout(out):
        try:
            exec(code, module.__dict__)
        except StreamflowError as error:
            out.write("".join(traceback.format_exception_only(error)))
    return out.getvalue()


def matches(printed: str, said: str) -> bool:
    pattern = ".*".join(map(re.escape, said.strip().split("...")))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_every_program_runs_and_prints_what_it_says(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, module)
    for line, source, said in program.blocks:
        printed = printed_by(source, str(program.document), line, module)
        if said is None:
            assert "streamflow.errors." not in printed, printed
        else:
            assert matches(printed, said), printed


@each_document
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", document.read_text()))
    defined = {
        name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)\(", path.read_text())
    }
    assert named - defined == set()


@each_document
def test_every_transcript_that_a_document_names_exists(document: Path) -> None:
    for file, name in re.findall(r"`(\w+\.yaml): ([^`]+)`", document.read_text()):
        assert f"name: {name}\n" in (ROOT / "tests" / "transcripts" / file).read_text().replace('"', ""), name


@each_document
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    paths = re.findall(r"`((?:streamflow|tests|docs|tools)/[\w./-]+)`", document.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


@each_document
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []


def test_the_documents_have_programs() -> None:
    assert PROGRAMS
    assert matches("a\nb 3 c\n", "a\nb ... c")
    assert not matches("a", "b")
