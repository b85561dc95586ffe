"""Hypothesis deadlines and garbage collection are off, and test files are distributed among the
pytest-xdist workers.
"""

import fcntl
import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from sandbox import child_processes
from tests.service_logs import logged_errors
from tests.skip_report import pytest_sessionfinish, pytest_terminal_summary

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary"]

# Examples of each property. The workflow `fuzz` sets a larger number.
_EXAMPLES = int(os.environ.get("GATEHOUSE_EXAMPLES", "25"))
settings.register_profile(
    "gatehouse", deadline=None, max_examples=_EXAMPLES, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gatehouse")

# As in the Makefile: without bytecode, each process that a test starts would compile its modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

child_processes.raise_file_limit()

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

# Collection creates millions of objects that remain until the end. Garbage collection would
# traverse all of them repeatedly.
gc.disable()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """As many workers collect at the same time as there are processors. The others read the
    bytecode that these have written.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or session.config.option.basetemp is None:
        return (yield)
    folder = Path(session.config.option.basetemp).parent  # that of all workers of the run
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"collection-{_worker % (os.cpu_count() or 1)}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    # With the default thresholds, garbage collection takes a quarter of the CPU time of tests that
    # evaluate policies.
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


def pytest_unconfigure() -> None:
    # pytest collects garbage twice at the end. Traversing all objects of a worker takes 1 s.
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the errors that the services of the test have logged."""
    report = yield
    if report.failed and (errors := logged_errors(getattr(item, "funcargs", {}).values())):
        report.sections.append(("Errors in the logs of services", errors))
    return report


#: Folders and files whose tests mostly wait: for timeouts, browsers and other processes.
_WAITING = (
    *(
        f"tests/runtime/{name}"
        for name in (
            "commands/agent/",
            "services/console/test_browser",
            "services/gateway/",
            "platform/web/",
        )
    ),
    *("tests/release/", "tests/repository/test_attack.py", "tests/repository/test_supply_chain.py"),
)
#: Share of the other files before the last file that waits. The last files of a run are short.
_WAITING_UNTIL = 0.6


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests wait run beside files whose tests compute. The longest run first, so that
    no worker waits for another one at the end.
    """
    files = sorted(dict.fromkeys(map(_file, items)), key=_rank)
    waiting = [file for file in files if file.startswith(_WAITING)]
    others = [file for file in files if not file.startswith(_WAITING)]
    position = {file: index / len(others) for index, file in enumerate(others)}
    position |= {file: index / len(waiting) * _WAITING_UNTIL for index, file in enumerate(waiting)}
    items.sort(key=lambda item: position[_file(item)])


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _rank(file: str) -> int:
    # Long groups of files in one worker, and files that deploy stacks.
    if file.startswith(
        ("tests/components/", "tests/journeys/", "tests/sandbox/emulator/", *_ONE_DEPLOYMENT)
    ):
        return 0
    is_short = file.startswith("tests/runtime/") and not file.startswith(
        (
            "tests/runtime/services/console/",
            "tests/runtime/features/secrets/",
            "tests/runtime/features/secret_requests/",
        )
    )
    return 2 if is_short and not file.startswith(_WAITING) else 1


# These tests use the same deployments of the stacks (tools/docs/deployments.py).
_ONE_DEPLOYMENT = (
    *(
        f"tests/repository/{name}.py"
        for name in (
            *(
                "policies/test_own_stack",
                "test_costs",
                "test_docs",
                "test_pages",
                "test_permissions",
            ),
        )
    ),
    "tests/sandbox/local/test_changed_settings.py",
)
# These tests run the program with the same settings (tests/components/program.py).
_ONE_PROGRAM = ("tests/components/", "tests/release/test_deploy.py", "tests/release/test_verify.py")
_ONE_ENVIRONMENT = (
    "test_guides.py",
    "test_local_environment.py",
    "test_probe.py",
    "test_secret_sharing.py",
    "test_up.py",
)


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no type annotations
    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        if file.startswith("tests/journeys/") and file.endswith(_ONE_ENVIRONMENT):
            return "local environment"
        if file.startswith(_ONE_PROGRAM):
            return "program"
        return "deployments" if file.startswith(_ONE_DEPLOYMENT) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)
