"""Failpoints: named instants at which a test may end, stop or break this process.

``failpoint("store.create.linked")`` does nothing, unless the environment asks for something when the process starts::

    STREAMFLOW_FAILPOINTS = "store.create.linked=kill@3;store.write.synced=raise:OSError(28)"

``kill`` is SIGKILL to itself, ``hang`` stops the thread for ever, ``raise:OSError(n)`` raises that error number; ``@k``
means the k-th time the instant is reached (the first, if it is not said), and only that time.

Does not know what it interrupts.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import final

from streamflow.errors import DefinitionError

_SETTING = re.compile(
    r"(?P<name>[a-z_.]+)=(?P<action>kill|hang|raise:OSError\((?P<errno>[0-9]+)\))(?:@(?P<hit>[0-9]+))?"
)
_USE = re.compile(r"\bfailpoint\(\"([a-z_.]+)\"\)")


@final
@dataclass(slots=True)
class _Armed:
    action: str
    errno: int
    left: int


_armed: dict[str, _Armed] = {}
_lock = threading.Lock()


def failpoint(name: str) -> None:
    """Do what was asked for at this instant: nothing, except under test."""
    if _armed:
        _reach(name)


def names() -> tuple[str, ...]:
    """Return every failpoint of streamflow, sorted; read from its source, so that a test of all of them misses none."""
    package = Path(__file__).parents[1]
    return tuple(sorted({name for path in package.rglob("*.py") for name in _USE.findall(path.read_text("utf-8"))}))


def arm(settings: str) -> None:
    """Ask for something at some failpoints, in the words of ``STREAMFLOW_FAILPOINTS``; the empty string ends it.

    Raises:
        DefinitionError: If there is no such failpoint, or the words are others.
    """
    asked = {}
    for setting in filter(None, settings.split(";")):
        match = _SETTING.fullmatch(setting)
        if match is None:
            raise DefinitionError(
                f"a failpoint is set by name=kill, name=hang or name=raise:OSError(28), got {setting!r}"
            )
        asked[match["name"]] = _Armed(
            match["action"].partition(":")[0], int(match["errno"] or 0), int(match["hit"] or 1)
        )
    if unknown := asked.keys() - set(names() if asked else ()):
        raise DefinitionError(f"no failpoint is named {min(unknown)!r}", remedy=f"there are: {', '.join(names())}")
    with _lock:
        _armed.clear()
        _armed.update(asked)


def _reach(name: str) -> None:
    with _lock:
        armed = _armed.get(name)
        if armed is None:
            return
        armed.left -= 1
        if armed.left != 0:
            return
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if armed.action == "hang":
        threading.Event().wait()
    raise OSError(armed.errno, f"{os.strerror(armed.errno)} (failpoint {name})")


arm(os.environ.get("STREAMFLOW_FAILPOINTS", ""))
