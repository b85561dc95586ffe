"""Deployments of new images, failures and interruptions with the real Pulumi CLI."""

from collections import Counter
from collections.abc import Iterator

import pytest

from sandbox.emulator.server import Emulator
from tests import requires
from tests.release import https_services
from tests.release.fake_aws import serving
from tests.release.real_engine import DeployedAccount, Project

pytestmark = requires.PULUMI
DOMAIN = "dev.gatehouse.acme.dev"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The stack after its first update. The tests deploy it in the order of the file."""
    account = DeployedAccount()
    folder = tmp_path_factory.mktemp("project")
    with Emulator.start() as emulator, serving(account), https_services.serving(folder, DOMAIN) as https:
        project = Project(folder, account, emulator)
        project.environment.update(https)
        saved = dict(project.environment)
        # The engine saves the state once instead of twice for each of the 400 resources.
        project.environment.update(PULUMI_EXPERIMENTAL="true", PULUMI_SKIP_CHECKPOINTS="true")
        project.pulumi("up", "--stack", "dev", "--yes", "--skip-preview")
        project.environment = saved
        yield project


def deploy(project: Project) -> None:
    """Deploy a new image; assert that the deployment has succeeded and left nothing unfinished."""
    project.write_settings({})
    code, output = project.release("deploy", "--yes")
    assert code == 0, output[-3000:]
    assert_finished(project)


def assert_finished(project: Project) -> None:
    assert project.pending_deletions() == []
    assert project.state().get("pending_operations", []) == []
    assert project.lost() == Counter()


def test_second_image_is_deployed(project: Project) -> None:
    migrations = project.account.migrations
    deploy(project)
    assert project.account.migrations == migrations + 1


def test_failed_migration_changes_no_service(project: Project) -> None:
    running = [row for row in project.account.operations() if "service" in row]
    project.account.migration = 1
    project.write_settings({})
    code, output = project.release("deploy", "--yes")
    project.account.migration = 0
    assert (code, "migrate exited with 1" in output) == (1, True), output[-3000:]
    assert [row for row in project.account.operations() if "service" in row] == running
    assert len(project.pending_deletions()) == 1


def test_interrupted_deployment_continues(project: Project) -> None:
    """The state contains two replaced migrations: of the failed migration and of the interrupted update."""
    project.write_settings({})
    code, output = project.release("deploy", "--yes", interrupt=2)
    assert (code, output.splitlines()[-1]) == (130, "deploy: interrupted. To continue, run: make deploy ENV=dev"), output[-3000:]
    assert project.lost() == Counter()
    assert project.state().get("pending_operations", []) == []
    code, output = project.release("deploy", "--yes")
    assert code == 0, output[-3000:]
    assert_finished(project)


def test_failed_verification_deploys_the_previous_image(project: Project) -> None:
    previous = project.digest
    project.account.rolls_back = True
    project.write_settings({})
    code, output = project.release("deploy", "--yes", "--rollback", "--digest", previous)
    project.account.rolls_back = False
    assert (code, "ECS rolled the deployment back" in output) == (1, True), output[-3000:]
    assert project.digest == previous
    assert_finished(project)
