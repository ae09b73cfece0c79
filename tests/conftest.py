"""What every test shares: hypothesis profiles, and the option that turns a skipped test into a failed one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import structlog

if TYPE_CHECKING:
    from collections.abc import Generator

# Time limits per example fail on a busy machine, not on a slow function.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1_500)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--no-skips`, for runs in which a part that cannot run is an error."""
    parser.addoption("--no-skips", action="store_true", help="count a skipped test as failed, with its reason")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the report of a skipped test into a failure where skips are not allowed."""
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):
        report.longrepr = f"skipped, which --no-skips forbids: {report.longrepr}"
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a whole file that skipped itself, such as by importorskip."""
    report = yield
    if report.skipped and collector.config.getoption("--no-skips"):
        report.longrepr = f"skipped, which --no-skips forbids: {report.longrepr}"
        report.outcome = "failed"
    return report


@pytest.fixture(autouse=True)
def _own_log() -> Generator[None]:
    """Undo what a test set up of the log: it would write to that test's captured, by then closed, standard error."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def state_dir() -> Generator[Path]:
    """Return a folder for embedded servers; unlike tmp_path one that other accounts can reach when we are root."""
    with tempfile.TemporaryDirectory(prefix="launch-monitor-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "state"
