"""Settings for all tests: no Hypothesis deadlines, no garbage collection of imported modules, and the distribution of test files
among the pytest-xdist workers.
"""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from sandbox import ports

settings.register_profile("gatehouse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gatehouse")

# Each pytest-xdist worker has its own ports. Otherwise, two workers could choose the same port before a server listens on it.
_WORKERS_MAX = 8
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS_MAX
ports._PORTS = ports._PORTS[len(ports._PORTS) // _WORKERS_MAX * _worker :][: len(ports._PORTS) // _WORKERS_MAX]

# Collection creates millions of objects that remain until the end. Garbage collection would traverse all of them repeatedly.
gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    # With the default thresholds, garbage collection takes a quarter of the CPU time of tests that evaluate policies.
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long run first, and short files last, so that no worker waits for a long file of another worker."""
    items.sort(key=_rank)


#: Folders whose files start servers and browsers, and take 5 to 60 seconds. The other files of tests/runtime take a second.
_RUNTIME_SERVICES = tuple(f"tests/runtime/{name}/" for name in ("cli", "console", "gateway", "sharing"))


def _rank(item: pytest.Item) -> int:
    if not item.nodeid.startswith("tests/runtime/"):
        return 0
    return 1 if item.nodeid.startswith(_RUNTIME_SERVICES) else 2


# These tests run the program. A run of a stack with the same settings is used by several files.
_ONE_PROGRAM = (
    *("tests/components/", "tests/policies/test_own_stack.py", "tests/repository/test_costs.py", "tests/repository/test_docs.py"),
    *("tests/repository/test_pages.py", "tests/repository/test_permissions.py", "tests/sandbox/checks/test_diff.py"),
    *("tests/sandbox/checks/test_graph.py", "tests/sandbox/emulator/test_server.py"),
)
_ONE_ENVIRONMENT = ("test_guides.py", "test_probe.py", "test_quick_start.py", "test_secret_sharing.py", "test_up.py")


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no type annotations
    """Runs the tests of a file in one worker, and the files that use the same local environment or program runs in one worker."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        if file.startswith("tests/journeys/") and file.endswith(_ONE_ENVIRONMENT):
            return "local environment"
        return "program" if file.startswith(_ONE_PROGRAM) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)
