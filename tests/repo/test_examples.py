"""Every example is short, says what it teaches, and runs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
LONGEST, PATIENCE = 80, 60  # lines, seconds

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


def test_a_folder_of_examples_has_examples() -> None:
    assert EXAMPLES or not FOLDER.exists()


@each_example
def test_an_example_is_short_and_says_what_it_teaches(example: Path) -> None:
    source = example.read_text()
    assert len(source.splitlines()) < LONGEST
    assert ast.get_docstring(ast.parse(source))


@each_example
@pytest.mark.timeout(PATIENCE + 10)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.strip(), "an example shows something"
