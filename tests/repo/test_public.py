"""What a user gets from ``import streamflow``: names that resolve, at once, and nothing heavy."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("click", "numpy", "polars", "rich")
LONGEST_IMPORT = 0.150  # seconds of CPU; `import polars` alone takes more
TRIES = 5  # the first ones may have to write bytecode, or find the machine busy

MODULES = f"import sys, streamflow; print(*(name for name in {HEAVY!r} if name in sys.modules))"
CPU = "import time; before = time.process_time(); import streamflow; print(time.process_time() - before)"


def printed(program: str) -> str:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_every_public_name_resolves() -> None:
    import streamflow

    names = list(streamflow.__all__)
    assert names
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(streamflow, name)] == []
    assert set(names) <= set(dir(streamflow))


def test_importing_streamflow_imports_nothing_heavy() -> None:
    assert printed(MODULES) == ""


def test_importing_streamflow_is_cheap() -> None:
    assert any(float(printed(CPU)) < LONGEST_IMPORT for _ in range(TRIES))
