"""What the verifier sees in ECS (a moto server) and at the doors (HTTP servers), and what it says about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from release.migrate import Migration, MigrationFailed, migrate
from release.rollback import previous_digest
from release.verify import Seen, faults, look, settle, smoke
from sandbox.emulator.server import Emulator
from tests.release.account import NEW, OLD, Account, serving

REGION = "eu-west-1"
ARN = "arn:aws:ecs:eu-west-1:123456789012:task-definition/gateway"
STEADY = Seen("ecs-svc/1", f"{ARN}:1", "COMPLETED", 2, 2)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    started = Emulator.start()
    try:
        yield started
    finally:
        started.stop()


def define(ecs: Any, digest: str, family: str = "gateway") -> str:
    container = {"name": "gateway", "image": f"registry/gatehouse@{digest}"}
    answer = ecs.register_task_definition(family=family, cpu="256", memory="512", containerDefinitions=[container])
    return str(answer["taskDefinition"]["taskDefinitionArn"])


def started(ecs: Any, definition: str, *, tasks: int) -> None:
    ecs.create_cluster(clusterName="main")
    ecs.create_service(cluster="main", serviceName="gateway", taskDefinition=definition, desiredCount=tasks)


def test_before_the_first_deployment_there_is_nothing_to_see(emulator: Emulator) -> None:
    ecs = emulator.client("ecs", REGION)
    assert look(ecs, "main", ["gateway"]) == {}
    ecs.create_cluster(clusterName="main")
    assert look(ecs, "main", ["gateway"]) == {}


def test_a_service_without_its_tasks_is_waited_for_and_then_told(emulator: Emulator) -> None:
    ecs, waits = emulator.client("ecs", REGION), list[float]()
    definition = define(ecs, NEW)
    started(ecs, definition, tasks=2)
    after = settle(ecs, "main", ["gateway"], wait_s_max=20, pause=waits.append)
    assert waits == [10.0, 10.0]
    assert faults({}, after, {"gateway": definition}) == ["gateway: the deployment of gateway:1 has not ended: 0 of 2 tasks run"]


def test_a_service_that_has_its_tasks_is_not_waited_for(emulator: Emulator) -> None:
    ecs, waits = emulator.client("ecs", REGION), list[float]()
    definition = define(ecs, NEW)
    started(ecs, definition, tasks=0)
    after = settle(ecs, "main", ["gateway"], pause=waits.append)
    assert (waits, faults({}, after, {"gateway": definition})) == ([], [])


def test_a_service_whose_primary_deployment_runs_the_old_definition_has_gone_back(emulator: Emulator) -> None:
    """moto keeps the PRIMARY deployment when a service is updated, which is how a deployment that was taken back looks."""
    ecs = emulator.client("ecs", REGION)
    started(ecs, define(ecs, OLD), tasks=0)
    before, wanted = look(ecs, "main", ["gateway"]), define(ecs, NEW)
    ecs.update_service(cluster="main", service="gateway", taskDefinition=wanted)
    (said,) = faults(before, look(ecs, "main", ["gateway"]), {"gateway": wanted})
    assert said.startswith("gateway: ECS went back: it runs gateway:1, the stack asked for gateway:2.")


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({}, "gateway: ECS has no such service"),
        (
            {"gateway": Seen("ecs-svc/2", f"{ARN}:2", "FAILED", 0, 2, "tasks failed to start.")},
            "gateway: the deployment of gateway:2 failed.",
        ),
        (
            {"gateway": Seen("ecs-svc/2", f"{ARN}:2", "IN_PROGRESS", 1, 2)},
            "gateway: the deployment of gateway:2 has not ended: 1 of 2",
        ),
        (
            {"gateway": Seen("ecs-svc/1", f"{ARN}:2", "COMPLETED", 2, 2)},
            "gateway: gateway:2 was asked for, but no new deployment was started",
        ),
    ],
)
def test_whatever_is_not_as_asked_is_told(after: dict[str, Seen], said: str) -> None:
    (found,) = faults({"gateway": STEADY}, after, {"gateway": f"{ARN}:2"})
    assert found.startswith(said)


def test_a_new_deployment_of_what_was_asked_is_fine_and_so_is_no_change() -> None:
    moved = Seen("ecs-svc/2", f"{ARN}:2", "COMPLETED", 2, 2)
    assert faults({"gateway": STEADY}, {"gateway": moved}, {"gateway": f"{ARN}:2"}) == []
    assert faults({"gateway": STEADY}, {"gateway": STEADY}, {"gateway": f"{ARN}:1"}) == []


def test_a_door_gets_a_few_tries_and_is_then_named() -> None:
    account, waits = Account(sick=("sharing",)), list[float]()
    with serving(account) as url:
        found = smoke({"gateway": f"{url}/gateway", "sharing": f"{url}/sharing"}, tries=3, pause=waits.append)
    assert (found, waits) == ([f"sharing: {url}/sharing/healthz answers 503"], [10.0, 10.0])


def test_a_door_that_recovers_is_well() -> None:
    account = Account(sick=("gateway",))

    def recover(_seconds: float) -> None:
        account.sick = ()

    with serving(account) as url:
        assert smoke({"gateway": f"{url}/gateway"}, pause=recover) == []


def test_a_door_that_nobody_opens_is_named() -> None:
    with serving(Account()) as url:
        gone = url
    (said,) = smoke({"gateway": gone}, tries=1)
    assert said.startswith(f"gateway: {gone}/healthz does not answer (")


def test_the_image_before_is_found_although_its_definition_was_deregistered(emulator: Emulator) -> None:
    ecs = emulator.client("ecs", REGION)
    first = define(ecs, OLD)
    define(ecs, OLD, family="gateway-two")
    define(ecs, NEW)
    last = define(ecs, NEW)
    ecs.deregister_task_definition(taskDefinition=first)
    assert previous_digest(ecs, last, NEW) == OLD
    # After ECS went back by itself, what ran before is older than the newest definition.
    assert previous_digest(ecs, first, OLD) == NEW


def test_a_first_image_has_nothing_before_it(emulator: Emulator) -> None:
    ecs = emulator.client("ecs", REGION)
    only = define(ecs, NEW)
    with pytest.raises(ValueError, match="gateway never ran another image than sha256:bbb"):
        previous_digest(ecs, only, NEW)


def test_a_stack_of_an_older_program_has_no_network_for_the_migration() -> None:
    with pytest.raises(ValueError, match="the stack's output `migration` has no subnets, securityGroup"):
        Migration.of("main", {"taskDefinition": ARN})


class Ecs:
    """The answer of an ECS that has no room."""

    def run_task(self, **_: Any) -> dict[str, Any]:
        return {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]}


def test_a_migration_that_ecs_does_not_start_says_why() -> None:
    with pytest.raises(MigrationFailed, match="ECS did not start the migration: RESOURCE:MEMORY"):
        migrate(Ecs(), Migration("main", f"{ARN}:1", ("subnet-1",), "sg-1"))
