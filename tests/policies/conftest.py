"""Both packs, and the process of which the programs of all tests are copies."""

from multiprocessing import forkserver, get_context

import pytest
from gatehouse_policies.processes import isolated
from hypothesis import settings

from tests.policies.pack_process import ImportedPack, Pack

# As in tests/conftest.py, which is not loaded when the tests of the distribution run alone.
settings.register_profile("policies", settings.default, deadline=None)
settings.load_profile("policies")


@pytest.fixture(scope="session")
def security() -> Pack:
    return ImportedPack("security")


@pytest.fixture(scope="session")
def resilience() -> Pack:
    return ImportedPack("resilience")


_SERVICES = ("ec2", "iam", "lambda_", "rds", "s3", "secretsmanager", "sns", "sqs", "ssm", "vpc")


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    """The provider is loaded once for the programs of all tests: a check of a program in a process
    with threads copies this server.
    """
    services = (f"pulumi_aws.{name}" for name in _SERVICES)
    get_context("forkserver").set_forkserver_preload([isolated.__name__, *services])
    forkserver.ensure_running()
