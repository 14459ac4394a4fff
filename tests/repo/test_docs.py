"""What the documents say of the repository is so."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGE = 60  # lines
SECTIONS = "added|changed|deprecated|removed|fixed|security|checkpoint"


def where_is_it(text: str) -> list[str]:
    """Return what stands in backticks and looks like a path in the table under the heading *Where is it*."""
    section = re.split(r"^#+ .*where is it.*$", text, maxsplit=1, flags=re.IGNORECASE | re.MULTILINE)[1]
    table = re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [path for row in rows for path in re.findall(r"`([\w./-]+(?:/|\.\w+)(?:::\w+)?)`", row)]


def is_there(place: str) -> bool:
    """Return whether ``path`` or ``path::name`` is in the checkout, or in the package."""
    path, _, name = place.partition("::")
    found = [base / path for base in (ROOT, ROOT / "streamflow") if (base / path).exists()]
    return bool(found) and (not name or re.search(rf"\b{name}\b", found[0].read_text()) is not None)


def test_a_path_is_taken_from_the_table_only() -> None:
    text = (
        "`a.py`\n## Where is it?\n| lateness | `operators/late.py` and `core/`, `x::y` |\n`b.py`\n## Next\n| `c.py` |\n"
    )
    assert where_is_it(text) == ["operators/late.py", "core/"]


def test_every_path_in_where_is_it_exists() -> None:
    paths = where_is_it(ARCHITECTURE.read_text())
    assert paths
    assert [path for path in paths if not is_there(path)] == []


def test_the_diagram_of_the_floors_is_the_contract() -> None:
    spec = importlib.util.spec_from_file_location("floors", ROOT / "tools" / "floors.py")
    assert spec is not None
    assert spec.loader is not None
    floors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(floors)
    text = ARCHITECTURE.read_text()
    assert floors.redrawn(text, floors.diagram(floors.floors())) == text, "run `make docs`"


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_make_command_in_a_document_is_a_target(document: str) -> None:
    commands = re.findall(r"(?:^|`)(?:\$ )?make ([a-z][\w-]*)", (ROOT / document).read_text(), re.MULTILINE)
    targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"test"} <= set(commands) <= set(targets)


def test_the_readme_opens_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text


def test_contributing_is_a_page() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= PAGE


def test_every_change_names_its_issue_and_section() -> None:
    changes = [path for path in (ROOT / "changes").iterdir() if path.name != "README.md"]
    assert [path.name for path in changes if not re.fullmatch(rf"\d+\.({SECTIONS})(\.\d+)?\.md", path.name)] == []
    assert [path.name for path in changes if not path.read_text().strip()] == []
