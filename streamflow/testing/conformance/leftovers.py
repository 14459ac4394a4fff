"""What a connector has left behind when it was closed: tasks, descriptors.

Threads are not counted: the libraries that connectors use keep theirs for the next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_DESCRIPTORS = Path("/proc/self/fd")
_TURNS = 3
"""Turns of the loop that a task that was cancelled may take to end."""


@asynccontextmanager
async def nothing_left(what: str) -> AsyncIterator[None]:
    """Check that the body leaves no task and no descriptor behind.

    Args:
        what: What the body did, for the message.

    Raises:
        AssertionError: If it does.
    """
    tasks, descriptors = asyncio.all_tasks(), _descriptors()
    yield
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - tasks
    assert not left, f"{what}: these tasks are still there: {', '.join(sorted(task.get_name() for task in left))}"
    new = _descriptors() - descriptors
    assert not new, f"{what}: these descriptors are still open: {', '.join(sorted(new))}"


def _descriptors() -> set[str]:
    """Return what is open, where the system says so: descriptor and target."""
    if not _DESCRIPTORS.exists():
        return set()
    found = set()
    for entry in _DESCRIPTORS.iterdir():
        try:
            found.add(f"{entry.name} -> {entry.readlink()}")
        except OSError:
            continue  # the one that lists them
    return found
