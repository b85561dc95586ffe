"""The life of a stack with the real Pulumi CLI: deployments, failures, interruptions and destruction. Every command runs through
`make`."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from sandbox.emulator.server import Emulator
from tests import requires
from tests.release import https_services
from tests.release.fake_aws import own_stack_file, serving
from tests.release.real_engine import DeployedAccount, Project

pytestmark = requires.PULUMI
STACKS = ["dev", pytest.param("staging", marks=pytest.mark.slow), pytest.param("prod", marks=pytest.mark.slow)]
RELEASES = 20
CTRL_C = "\x03"


@pytest.fixture(scope="module", params=STACKS)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """An empty stack. The tests deploy it in the order of the file."""
    stack, account = str(request.param), DeployedAccount()
    folder = tmp_path_factory.mktemp("project")
    domain = yaml.safe_load(own_stack_file(stack))["config"]["gatehouse:settings"]["domain"]
    with Emulator.start() as emulator, serving(account), https_services.serving(folder, domain) as https:
        project = Project(stack, folder, account, emulator)
        project.environment.update(https)
        yield project


def deploy(project: Project, settings: Mapping[str, Any] | None = None) -> None:
    """Deploy a new image; assert that the deployment has succeeded and left nothing unfinished."""
    project.write_settings(settings or {})
    project.account.calls.clear()
    code, output = project.make("deploy", YES=1)
    assert code == 0, output[-3000:]
    assert_deployed(project)


def assert_deployed(project: Project) -> None:
    assert project.unfinished() == {}
    assert set(project.account.services().values()) == {project.digest}


def last_line(output: str) -> str:
    """The last line that `make` has not added."""
    return [line for line in output.splitlines() if line and not line.startswith("make: ")][-1]


def test_empty_stack_is_deployed(project: Project) -> None:
    saved = dict(project.environment)
    # The engine saves the state once instead of twice for each of the 400 resources.
    project.environment.update(PULUMI_EXPERIMENTAL="true", PULUMI_SKIP_CHECKPOINTS="true")
    deploy(project)
    project.environment = saved


def test_new_image_is_deployed(project: Project) -> None:
    deploy(project)
    assert project.account.calls.count("RunTask") == 1


def test_failed_migration_changes_no_service(project: Project) -> None:
    running = project.account.services()
    project.write_settings({})
    project.account.migration = 1
    code, output = project.make("deploy", YES=1)
    project.account.migration = 0
    assert (code, "migrate exited with 1" in output) == (2, True), output[-3000:]
    assert project.account.services() == running
    assert list(project.unfinished().values()) == ["pending deletion"]
    deploy(project)


def test_failed_verification_deploys_the_previous_image(project: Project) -> None:
    previous = project.digest
    project.write_settings({})
    project.account.rolls_back = True
    code, output = project.make("deploy", YES=1, ROLLBACK=1)
    project.account.rolls_back = False
    assert (code, "ECS rolled the deployment back" in output) == (2, True), output[-3000:]
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
    message = f"deploy: the services were not deployed; the stack {project.stack} runs the previous image again"
    assert (code, last_line(output)) == (2, message), output[-3000:]
    assert project.digest == previous
    assert_deployed(project)


@pytest.mark.parametrize("seed", range(3))
def test_interrupted_deployment_continues(project: Project, seed: int) -> None:
    """The user presses Ctrl-C during an operation of a preview or of an update, or during a call of ECS."""
    moment = random.Random(seed).randrange(len(project.account.calls))
    project.write_settings({})
    project.account.calls.clear()
    terminal = project.terminal("deploy", YES=1)

    def interrupt(call: str) -> str:
        if len(project.account.calls) == moment + 1:
            terminal.press(CTRL_C)
        return ""

    with project.account.each(interrupt):
        code, output = terminal.wait()
    moment_name = project.account.calls[moment]
    next_command = f"deploy: interrupted. To continue, run: make deploy ENV={project.stack}"
    assert (code, last_line(output)) == (2, next_command), (moment_name, output[-3000:])
    assert set(project.unfinished().values()) <= {"pending deletion"}, moment_name
    project.account.calls.clear()
    code, output = project.make("deploy", YES=1)
    assert code == 0, output[-3000:]
    assert_deployed(project)


@pytest.mark.parametrize("call", ["create TaskDefinition migrate", "RunTask"])
def test_second_deployment_is_rejected(project: Project, call: str) -> None:
    """During an update, and between the updates."""


@pytest.mark.slow
def test_many_images_are_deployed(project: Project) -> None:
    for _ in range(RELEASES):
        deploy(project)


def test_stack_is_destroyed(project: Project) -> None:
    answers = {"Enter the name of the stack to confirm: ": f"{project.stack}\r"}
    answers["Do you want to perform this destroy"] = "yes\r"
    code, output = project.terminal("destroy", answers).wait()
    assert code == 0, output[-3000:]
    assert project.unfinished() == {}
