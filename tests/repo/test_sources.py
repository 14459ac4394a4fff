"""Rules for the sources that no linter knows."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = sorted((ROOT / "streamflow").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

LONGEST_FILE, LONGEST_FUNCTION = 450, 60
LONG_FILES: dict[str, str] = {}  # path: reason
LONG_FUNCTIONS: dict[str, str] = {}  # path::name: reason

UNSAFE = {"cloudpickle", "copyreg", "dill", "joblib", "jsonpickle", "marshal", "pickle", "pickletools", "shelve"}
SLEEPERS = {"anyio", "asyncio", "time", "trio"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(paths: list[Path]) -> Iterator[tuple[str, ast.AST]]:
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            yield name_of(path), node


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def test_there_are_sources() -> None:
    assert PACKAGE
    assert TESTS


def test_no_file_is_longer_than_one_idea() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in PACKAGE}
    assert {name for name, length in lengths.items() if length > LONGEST_FILE} == LONG_FILES.keys()


def test_no_function_is_longer_than_a_screen() -> None:
    functions = {
        f"{name}::{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, node in parsed(PACKAGE)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name for name, length in functions.items() if length > LONGEST_FUNCTION} == LONG_FUNCTIONS.keys()


def test_nothing_can_unpickle() -> None:
    found = [f"{name}: {module}" for name, node in parsed(PACKAGE) for module in imported(node)]
    assert [line for line in found if line.split(": ")[1].split(".")[0] in UNSAFE] == []


def test_no_test_sleeps() -> None:
    sleeps = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in sleeping(ast.parse(path.read_text()))
    ]
    assert sleeps == []


def sleeping(tree: ast.AST) -> list[ast.expr | ast.stmt]:
    """Return the nodes that sleep; ``asyncio.sleep(0)`` only lets others run."""
    yields = {
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and [getattr(argument, "value", None) for argument in node.args] == [0]
        and is_sleep(node.func)
    }
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr | ast.stmt)]
    return [node for node in nodes if is_sleep(node) and id(node) not in yields]


def is_sleep(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "sleep" and isinstance(node.value, ast.Name) and node.value.id in SLEEPERS
    return any(module.split(".")[0] in SLEEPERS and module.endswith(".sleep") for module in imported(node))


def test_letting_others_run_is_no_sleep() -> None:
    assert sleeping(ast.parse("import asyncio\nasyncio.sleep(0)")) == []


@pytest.mark.parametrize(
    "source", ["import time\ntime.sleep(1)", "from asyncio import sleep", "import anyio\nawait_ = anyio.sleep"]
)
def test_a_sleep_is_found(source: str) -> None:
    assert any(is_sleep(node) for node in ast.walk(ast.parse(source)))


def test_imports_go_down_only() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    lint = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout + lint.stderr
