"""What is shipped: the package, all of it and nothing else, under the right name."""

from __future__ import annotations

import re
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path, names: set[str]) -> Message:
    (path,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(zipfile.ZipFile(wheel).read(path))


def test_the_wheel_holds_the_package_and_nothing_else(names: set[str], root: Path) -> None:
    package = {
        path.relative_to(root).as_posix()
        for path in (root / "streamflow").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == package
    assert "streamflow/py.typed" in names


def test_the_wheel_carries_the_licence_and_the_command(wheel: Path, names: set[str]) -> None:
    archive = zipfile.ZipFile(wheel)
    (licence,) = (name for name in names if name.endswith("/licenses/LICENSE"))
    (entries,) = (name for name in names if name.endswith("/entry_points.txt"))
    assert b"Apache License" in archive.read(licence)
    assert b"streamflow = streamflow.cli:main" in archive.read(entries)


def test_the_metadata_says_what_users_rely_on(metadata: Message, root: Path) -> None:
    declared = re.search(r'^__version__ = "(.+)"$', (root / "streamflow/__init__.py").read_text(), re.MULTILINE)
    assert declared is not None
    assert metadata["Name"] == "streamflow-engine"
    assert metadata["Version"] == declared[1]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) >= {"kafka", "testing", "uvloop"}


def test_users_get_ranges(metadata: Message) -> None:
    requirements = metadata.get_all("Requires-Dist", [])
    assert requirements
    assert [line for line in requirements if ">=" not in line or "==" in line.split(";")[0]] == []
