"""Failpoints do what they are told, once, and tell who misspells one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from streamflow._runtime.failpoint import arm, failpoint, names
from streamflow.errors import DefinitionError


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    arm("")


def test_nothing_happens_unless_asked_for() -> None:
    for name in names():
        failpoint(name)


def test_every_step_of_the_protocol_has_one() -> None:
    assert {"store.create.linked", "store.file.synced", "checkpoint.create.created", "checkpoint.find.read"} <= set(
        names()
    )


def test_it_raises_at_the_hit_that_was_asked_for_and_only_then() -> None:
    arm("store.create.linked=raise:OSError(28)@2")
    failpoint("store.create.linked")
    with pytest.raises(OSError, match=r"failpoint store\.create\.linked") as caught:
        failpoint("store.create.linked")
    failpoint("store.create.linked")
    assert caught.value.errno == 28


@pytest.mark.parametrize(
    "setting", ["store.create.linked", "store.create.linked=exec", "a=raise:OSError(x)", "a=kill@b"]
)
def test_other_words_are_refused(setting: str) -> None:
    with pytest.raises(DefinitionError, match="a failpoint is set by"):
        arm(setting)


def test_a_misspelt_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"no failpoint is named 'store\.create\.link'") as caught:
        arm("store.create.link=kill")
    assert "store.create.linked" in (caught.value.remedy or "")


def test_the_environment_can_kill_a_process() -> None:
    program = (
        "from streamflow._runtime.failpoint import failpoint as f; f('store.create.linked'); f('store.create.linked')"
    )
    environment = os.environ | {"STREAMFLOW_FAILPOINTS": "store.create.linked=kill@2"}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == -9
