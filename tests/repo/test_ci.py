"""CI promises that tier 2 was really run, and make that an interpreter is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPED = """
import pytest

@pytest.mark.tier2
def test_needs_a_broker() -> None:
    pytest.skip("no broker here")

@pytest.mark.skip(reason="not on this platform")
def test_of_tier_1() -> None: ...
"""


@pytest.fixture
def suite(tmp_path: Path, root: Path) -> Path:
    shutil.copy(root / "tests/conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = tier2\n")
    return tmp_path


def pytest_in(folder: Path, *, ci: str) -> tuple[int, str]:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", folder],
        env={**os.environ, "CI": ci},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout


def test_a_skip_of_tier_2_fails_in_ci_only(suite: Path) -> None:
    (suite / "test_skips.py").write_text(SKIPPED)
    assert pytest_in(suite, ci="")[0] == pytest.ExitCode.OK
    code, printed = pytest_in(suite, ci="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "tier 2 skips nothing in CI: Skipped: no broker here" in printed
    assert "1 failed, 1 skipped" in printed


def test_a_module_that_skips_itself_fails_in_ci_only(suite: Path) -> None:
    (suite / "test_optional.py").write_text("import pytest\npytest.importorskip('nothing_of_this_name')\n")
    assert pytest_in(suite, ci="")[0] == pytest.ExitCode.NO_TESTS_COLLECTED
    code, printed = pytest_in(suite, ci="true")
    assert code == pytest.ExitCode.INTERRUPTED
    assert "could not import 'nothing_of_this_name'" in printed


def test_the_interpreters_at_hand_are_listed_newest_first(root: Path) -> None:
    listed = subprocess.run([root / ".ci/pythons"], capture_output=True, text=True, check=True).stdout
    minors = [int(line.split(" ")[0].removeprefix("3.")) for line in listed.splitlines()]
    assert sys.version_info.minor in minors
    assert minors == sorted(set(minors), reverse=True)
    assert min(minors) >= 11
