"""Verification of services and URLs, and the previous image."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from release.errors import DeploymentFailed
from release.migrate import migrate
from release.rollback import previous_digest
from release.stack_file import Stack
from release.verify import (
    ServiceState,
    check_health,
    deployment_errors,
    describe_services,
    wait_for_rollouts,
)
from sandbox.emulator.server import Emulator
from tests.release.fake_aws import FAILED, NEW, OLD, FakeAccount, serving

REGION = "eu-west-1"
ARN = "arn:aws:ecs:eu-west-1:123456789012:task-definition/gateway"
STACK = Stack("dev", "1", REGION, NEW)


def state(
    deployment: int, revision: int, rollout: str = "COMPLETED", tasks: int = 2, *reason: str
) -> ServiceState:
    return ServiceState(f"ecs-svc/{deployment}", f"{ARN}:{revision}", rollout, tasks, 2, *reason)


STEADY = state(1, 1)


@pytest.fixture
def ecs() -> Iterator[Any]:
    with Emulator.start() as emulator:
        yield emulator.client("ecs", REGION)


def register(ecs: Any, digest: str, family: str = "gateway") -> str:
    container = {"name": "gateway", "image": f"registry/gatehouse@{digest}"}
    response = ecs.register_task_definition(
        family=family, cpu="256", memory="512", containerDefinitions=[container]
    )
    return str(response["taskDefinition"]["taskDefinitionArn"])


def create_service(ecs: Any, definition: str, *, tasks: int) -> None:
    ecs.create_cluster(clusterName="main")
    ecs.create_service(
        cluster="main", serviceName="gateway", taskDefinition=definition, desiredCount=tasks
    )


def test_no_services_before_first_deployment(ecs: Any) -> None:
    assert describe_services(ecs, "main", ["gateway"]) == {}
    ecs.create_cluster(clusterName="main")
    assert describe_services(ecs, "main", ["gateway"]) == {}


@pytest.mark.parametrize(
    ("tasks", "sleeps", "errors"),
    [
        (0, [], []),
        (
            2,
            [10.0, 10.0],
            ["gateway: the deployment of gateway:1 is still in progress: 0 of 2 tasks"],
        ),
    ],
    ids=["completed", "never ends"],
)
def test_rollout_is_waited_for_until_the_timeout(
    ecs: Any, tasks: int, sleeps: list[float], errors: list[str]
) -> None:
    waited = list[float]()
    definition = register(ecs, NEW)
    create_service(ecs, definition, tasks=tasks)
    after = wait_for_rollouts(ecs, "main", ["gateway"], timeout_s=20, sleep=waited.append)
    assert waited == sleeps
    assert [
        error[-len(end) :]
        for error, end in zip(
            deployment_errors({}, after, {"gateway": definition}), errors, strict=True
        )
    ] == errors


def test_old_task_definition_after_update_is_a_rollback(ecs: Any) -> None:
    """moto keeps the PRIMARY deployment on an update, as ECS does after a rollback."""
    create_service(ecs, register(ecs, OLD), tasks=0)
    before, expected = describe_services(ecs, "main", ["gateway"]), register(ecs, NEW)
    ecs.update_service(cluster="main", service="gateway", taskDefinition=expected)
    (error,) = deployment_errors(
        before, describe_services(ecs, "main", ["gateway"]), {"gateway": expected}
    )
    assert error.startswith(
        "gateway: ECS rolled the deployment back. The service runs gateway:1 instead of gateway:2."
    )


@pytest.mark.parametrize(
    ("after", "expected", "message"),
    [
        ({}, 2, "does not exist"),
        ({"gateway": state(2, 2, "FAILED", 0, "tasks failed to start.")}, 2, "gateway:2 failed."),
        ({"gateway": state(2, 2, "IN_PROGRESS", 1)}, 2, "still in progress: 1 of 2"),
        ({"gateway": state(1, 2)}, 2, "no new deployment was started for gateway:2"),
        ({"gateway": state(2, 2)}, 2, ""),
        ({"gateway": STEADY}, 1, ""),
    ],
)
def test_only_unexpected_state_is_an_error(
    after: dict[str, ServiceState], expected: int, message: str
) -> None:
    errors = deployment_errors({"gateway": STEADY}, after, {"gateway": f"{ARN}:{expected}"})
    assert len(errors) == bool(message)
    assert all(error.startswith("gateway: ") and message in error for error in errors)


def test_unhealthy_url_is_retried() -> None:
    account, sleeps = FakeAccount(unhealthy=("sharing",)), list[float]()
    with serving(account) as url:
        urls = {"gateway": f"{url}/gateway", "sharing": f"{url}/sharing"}
        errors = check_health(urls, attempts=3, sleep=sleeps.append)
    assert (errors, sleeps) == ([f"sharing: {url}/sharing/healthz returned 503"], [10.0, 10.0])


def test_recovered_url_is_healthy() -> None:
    account = FakeAccount(unhealthy=("gateway",))

    def recover(_seconds: float) -> None:
        account.unhealthy = ()

    with serving(account) as url:
        assert check_health({"gateway": f"{url}/gateway"}, sleep=recover) == []


def test_refused_connection_is_an_error() -> None:
    with serving(FakeAccount()) as url:
        closed = url
    (error,) = check_health({"gateway": closed}, attempts=1)
    assert error.startswith(f"gateway: {closed}/healthz did not respond (")


def test_previous_image_is_found_in_inactive_revisions(ecs: Any) -> None:
    first = register(ecs, OLD)
    register(ecs, OLD, family="gateway-two")
    register(ecs, NEW)
    last = register(ecs, NEW)
    ecs.deregister_task_definition(taskDefinition=first)
    assert previous_digest(ecs, last, NEW, lambda _: True) == OLD
    # After a rollback by ECS, the running revision is older than the newest one.
    assert previous_digest(ecs, first, OLD, lambda _: True) == NEW
    # A failed deployment leaves a revision with its image.
    latest = register(ecs, FAILED)
    assert previous_digest(ecs, latest, FAILED, lambda digest: digest == OLD) == OLD


class Ecs:
    """ECS client. containers: exit code of each container of the task; none if no task starts."""

    def __init__(self, **containers: int | None) -> None:
        self._containers = [
            {"name": name, **({} if code is None else {"exitCode": code})}
            for name, code in containers.items()
        ]

    def run_task(self, **_: Any) -> dict[str, Any]:
        tasks = [{"taskArn": "arn:aws:ecs:eu-west-1:1:task/main/abc"}] if self._containers else []
        return {"tasks": tasks, "failures": [{"reason": "RESOURCE:MEMORY"}]}

    def get_waiter(self, name: str) -> Any:
        return self

    def wait(self, **_: Any) -> None:
        return None

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        return {"tasks": [{"containers": self._containers}]}


MIGRATE = "gatehouse-dev-migrate:1"
OUTPUT = {"taskDefinition": MIGRATE, "subnets": ["subnet-1"], "securityGroup": "sg-1"}


@pytest.mark.parametrize(
    ("ecs", "message"),
    [
        (Ecs(), "RESOURCE:MEMORY"),
        (Ecs(migrate=None), "migrate did not start"),
        (Ecs(migrate=1, agent=0), "migrate exited with 1"),
    ],
)
def test_migration_that_does_not_succeed_is_an_error(ecs: Ecs, message: str) -> None:
    with pytest.raises(DeploymentFailed, match=message):
        migrate(STACK, ecs, OUTPUT)


def test_container_that_aws_adds_does_not_fail_the_migration() -> None:
    """GuardDuty adds one that is stopped with the task, or whose image cannot be pulled."""
    assert migrate(STACK, Ecs(agent=137, migrate=0), OUTPUT) == "abc"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"taskDefinition": ARN}, "no subnets, securityGroup"),
        ({**OUTPUT, "taskDefinition": ARN}, "another task definition"),
    ],
)
def test_incomplete_migration_output_is_rejected(output: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        migrate(STACK, Ecs(), output)


def test_invalid_response_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as threads:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        errors = threads.submit(check_health, {"gateway": url}, attempts=1)
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")
    assert errors.result() == [f"gateway: {url}/healthz did not respond (BadStatusLine)"]
