"""What every test starts from: how hard Hypothesis tries, a fresh state folder, and no silent skip in CI."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

collect_ignore_glob = ["typing/*"]  # for mypy and pyright only: never imported

# A deadline, or a limit on the time that data takes to draw, is an assertion on the wall clock of a shared machine.
# Fifty examples keep tier 1 within its five minutes; "thorough" is for a night, or for a change to the laws' subject.
settings.register_profile("dev", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), database=None, print_blob=True)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=2_000)


def in_ci() -> bool:
    """Return whether everything that tests need is promised to be there."""
    return os.environ.get("CI") == "true"


settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if in_ci() else "dev"))


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A place for a checkpoint, which nobody has made yet."""
    return tmp_path / "state"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test of tier 2 has failed: a green run means that the real services were really there."""
    report = yield
    if in_ci() and report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("tier2"):
        report.outcome = "failed"
        report.longrepr = f"tier 2 skips nothing in CI: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI a module that skips itself has failed: it cannot say any more which tier its tests are of."""
    report = yield
    if in_ci() and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} skips itself, and CI skips nothing: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
