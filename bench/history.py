"""The log of all measurements, ``bench/history.jsonl``: one line a scenario and measurement, oldest first."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent / "history.jsonl"
Entry = dict[str, Any]


def circumstances() -> Entry:
    """Return what has a say in the figures beside the code: when, which commit, machine and versions, and its load."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("polars", "numpy", "msgspec", "duckdb")},
    }


def read(path: Path) -> list[Entry]:
    """Return all entries."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(entries: Iterable[Entry], path: Path) -> None:
    """Add entries at the end."""
    with path.open("a") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)


def _commit() -> str:
    """Return the commit, with a ``+`` if the engine differs from it."""
    here = Path(__file__).parent.parent
    git = ["git", "-C", str(here)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode:
        return "unknown"
    changed = subprocess.run([*git, "status", "--porcelain", "streamflow"], capture_output=True, text=True, check=False)
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    cpu = names[0].split(":")[1].strip() if names else platform.processor()
    return f"{os.cpu_count()} x {cpu}, {platform.system()} {platform.machine()}"
