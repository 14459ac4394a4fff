"""Programs in files, run in this process or in one that is watched line by line: nothing waits for a length of time."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner, Result

from streamflow.cli.commands import streamflow

Program = Callable[..., Path]


class Running:
    """A process whose output, both streams together, is read as it comes."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            arguments,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )

    def until(self, text: str, times: int = 1) -> str:
        """Read until a line has this text, so many times, and return the last."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            times -= text in line
            if not times:
                return line
        raise AssertionError(f"ended without {text!r}:\n{''.join(self.lines)}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        assert self._process.stdout is not None
        self.lines += self._process.stdout
        return self._process.wait()

    @property
    def output(self) -> str:
        """What it has said so far."""
        return "".join(self.lines)

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Write a program that may use ``sf`` into the test's folder."""

    def write(text: str, name: str = "job.py") -> Path:
        path = tmp_path / name
        path.write_text("import streamflow as sf\n" + dedent(text))
        return path

    return write


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Run ``streamflow ...`` in this process and in the test's folder; what it did to the process is undone."""
    root = logging.getLogger()
    handlers, level, modules = root.handlers, root.level, set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield lambda *arguments: CliRunner().invoke(streamflow, list(map(str, arguments)))
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for name in set(sys.modules) - modules:
        if name.startswith(("job", "one", "two", "packed")):
            del sys.modules[name]


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start ``python ...`` in the test's folder; what still runs when the test ends is killed."""
    started: list[Running] = []

    def start(*arguments: object) -> Running:
        running = Running([sys.executable, *map(str, arguments)], tmp_path)
        started.append(running)
        return running

    yield start
    for running in started:
        running.kill()


@pytest.fixture
def command(spawn: Callable[..., Running]) -> Callable[..., Running]:
    """Start ``streamflow ...`` in the test's folder."""
    return lambda *arguments: spawn("-m", "streamflow", *arguments)
