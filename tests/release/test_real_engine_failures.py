"""Failures and simultaneous deployments with the real CLI."""

import random
import shlex
from collections.abc import Iterator

import pytest

from tests import requires
from tests.release.real_engine import (
    Project,
    assert_deployed,
    deploy,
    interrupt,
    last_line,
    repeat,
    running,
)

pytestmark = requires.PULUMI
#: Calls of the account by each deployment of a new image, at least.
CALLS = 40


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with running("dev", tmp_path_factory.mktemp("project"), small=True) as project:
        deploy(project)
        yield project


def test_failed_migration_changes_no_service(project: Project) -> None:
    running = project.account.images()
    project.write_settings({})
    project.account.migrates = False
    code, output = project.make("deploy", YES=1)
    project.account.migrates = True
    assert (code, "the migration failed (exit code 1)" in output) == (2, True)
    assert project.account.images() == running
    assert set(project.unfinished().values()) == {"pending deletion"}
    deploy(project)


def test_failed_verification_deploys_the_previous_image(project: Project) -> None:
    def recover(call: str) -> str:
        if call == "preview create TaskDefinition gateway":  # first of the deployment
            project.account.rolls_back = project.account.calls.count(call) == 1
        return ""

    previous = project.digest
    project.write_settings({})
    project.account.calls.clear()
    with project.account.each(recover):
        code, output = project.make("deploy", YES=1, ROLLBACK=1)
    assert (code, "runs the previous image again" in last_line(output)) == (2, True)
    assert project.digest == previous
    assert_deployed(project)


def test_failed_update_of_the_services_deploys_the_previous_image(project: Project) -> None:
    previous = project.digest
    project.write_settings({})

    def fail_once(call: str) -> str:
        if call == "update Service console" and project.account.calls.count(call) == 1:
            return "waiting for ECS Service update: timeout"
        return ""

    project.account.calls.clear()
    with project.account.each(fail_once):
        code, output = project.make("deploy", YES=1, ROLLBACK=1)
    assert (code, "runs the previous image again" in last_line(output)) == (2, True)
    assert project.digest == previous
    assert_deployed(project)


@pytest.mark.parametrize("moment", random.Random(33).sample(range(CALLS), 5))
def test_interrupted_deployment_continues(project: Project, moment: int) -> None:
    """The user presses Ctrl-C during an operation of a preview, of an update, or a call of ECS."""
    project.write_settings({})
    interrupt(project, "deploy", "", moment)
    repeat(project)


@pytest.mark.parametrize(
    ("call", "rejected", "message"),
    [
        ("create TaskDefinition migrate", "second", "another update is running"),
        ("preview create TaskDefinition migrate", "first", "was changed after the preview"),
    ],
)
def test_one_of_two_simultaneous_deployments_is_rejected(
    project: Project, call: str, rejected: str, message: str
) -> None:
    results = {}

    def start_second(current: str) -> str:
        if current == call and project.account.calls.count(call) == 1:
            results["second"] = project.make("deploy", YES=1)
        return ""

    project.write_settings({})
    project.account.calls.clear()
    with project.account.each(start_second):
        results["first"] = project.make("deploy", YES=1)
    codes = {name: code for name, (code, _) in results.items()}
    assert codes == {"first": 0, "second": 0} | {rejected: 2}
    assert message in last_line(results[rejected][1])
    assert_deployed(project)


def test_expired_credentials_are_one_message(project: Project) -> None:
    project.expire_credentials()
    code, output = project.make("deploy", YES=1)
    project.sign_in()
    (line,) = output.splitlines()[:-1]
    assert (code, "ExpiredToken" in line) == (2, True)


def test_credentials_expire_during_the_update_of_the_services(project: Project) -> None:
    """The CLI can neither save the state nor release the lock. Each command names the next one."""

    def expire(call: str) -> str:
        if call == "update Service gateway":
            project.expire_credentials()
            return "ExpiredToken: The security token included in the request is expired"
        return ""

    project.write_settings({})
    digest, stack = project.digest, ("--stack", project.stack)
    with project.account.each(expire):
        code, output = project.make("deploy", YES=1, ROLLBACK=1)
    assert (code, "ExpiredToken" in last_line(output)) == (2, True)
    assert last_line(output).endswith(f"Then run: make deploy ENV={project.stack}")
    assert project.digest == digest
    project.sign_in()
    code, output = project.make("deploy", YES=1)
    assert (code, "run: pulumi cancel --stack" in output) == (2, True)
    project.pulumi("cancel", *stack, "--yes")
    command = shlex.split(output.partition("; pulumi refresh ")[2].partition(". Refresh")[0])
    assert command[2] == "--target"
    project.pulumi("refresh", *command, "--yes", "--skip-preview")
    repeat(project)
