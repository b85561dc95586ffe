"""Prints at the end why tests were skipped, with one line for each reason. In CI, the run fails."""

from collections import Counter

import pytest

from tests.requires import IN_CI, LINUX_REASON, PULUMI_REASON

#: Reasons for which tests may be skipped in CI: another system, or another job, which downloads the
#: Pulumi CLI.
ALLOWED_IN_CI = frozenset({LINUX_REASON, PULUMI_REASON})


def _reasons(config: pytest.Config) -> Counter[str]:
    """The number of skipped tests by reason. Empty in the workers of pytest-xdist."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    return Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)


def _fails(reasons: Counter[str]) -> bool:
    return IN_CI and bool(reasons.keys() - ALLOWED_IN_CI)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and _fails(_reasons(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    reasons = _reasons(config)
    for reason, number in reasons.most_common():
        terminalreporter.write_line(f"skipped {number}: {reason}", yellow=True)
    if _fails(reasons):
        terminalreporter.write_line(
            "error: in CI, no test that could run on this system may be skipped", red=True
        )
