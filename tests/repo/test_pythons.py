"""The wheel runs on every CPython at hand, with its base dependencies alone."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = "import streamflow; print(len([getattr(streamflow, name) for name in streamflow.__all__]))"

pytestmark = [pytest.mark.tier2, pytest.mark.timeout(600)]


@cache
def pythons() -> dict[str, str]:
    """Return the path of each CPython from 3.11 at hand, by its version."""
    listed = subprocess.run([ROOT / ".ci/pythons"], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in listed.stdout.splitlines())


def locked_versions() -> str:
    """Return what the lock pins, as constraints: without hashes, since the wheel itself has none there."""
    pins = re.findall(r"^([\w-]+==[^ ]+)", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)
    return "\n".join(pins)


@pytest.fixture(params=pythons().items(), ids=lambda item: item[0], scope="module")
def python(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of a fresh virtual environment that holds the wheel and what it requires, no extras."""
    version, base = request.param
    folder = tmp_path_factory.mktemp(f"python-{version}")
    constraints = folder / "constraints.txt"
    constraints.write_text(locked_versions())
    subprocess.run([base, "-m", "venv", folder / "venv"], check=True)
    fresh = folder / "venv/bin/python"
    install: list[str | Path] = [fresh, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel]
    subprocess.run(install, check=True)
    return fresh


def run(*command: Path | str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_public_name_is_there_without_extras(python: Path, tmp_path: Path) -> None:
    assert int(run(python, "-W", "error", "-c", PUBLIC, cwd=tmp_path)) > 0


def test_the_command_says_its_version(python: Path, tmp_path: Path, wheel: Path) -> None:
    assert wheel.name.split("-")[1] in run(python.with_name("streamflow"), "--version", cwd=tmp_path)


def test_every_example_runs(python: Path, tmp_path: Path) -> None:
    for example in sorted((ROOT / "examples").glob("*.py")):
        folder = tmp_path / example.stem
        folder.mkdir()
        assert run(python, example, cwd=folder), example.name
