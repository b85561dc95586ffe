"""What the verifier sees in ECS (a moto server) and at the doors (HTTP servers), and what it says about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from release.migrate import Migration, MigrationFailed, migrate
from release.rollback import previous_digest
from release.verify import Seen, faults, look, settle, smoke
from sandbox.emulator import Emulator
from tests.release.account import NEW, OLD, Account, serving

REGION = "eu-west-1"
ARN = "arn:aws:ecs:eu-west-1:123456789012:task-definition/gate"
STEADY = Seen("ecs-svc/1", f"{ARN}:1", "COMPLETED", 2, 2)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    started = Emulator.start()
    try:
        yield started
    finally:
        started.stop()


def define(ecs: Any, digest: str, family: str = "gate") -> str:
    container = {"name": "gate", "image": f"registry/gatehouse@{digest}"}
    answer = ecs.register_task_definition(family=family, cpu="256", memory="512", containerDefinitions=[container])
    return str(answer["taskDefinition"]["taskDefinitionArn"])


def started(ecs: Any, definition: str, *, tasks: int) -> None:
    ecs.create_cluster(clusterName="main")
    ecs.create_service(cluster="main", serviceName="gate", taskDefinition=definition, desiredCount=tasks)


def test_before_the_first_deployment_there_is_nothing_to_see(emulator: Emulator) -> None:
    ecs = emulator.client("ecs", REGION)
    assert look(ecs, "main", ["gate"]) == {}
    ecs.create_cluster(clusterName="main")
    assert look(ecs, "main", ["gate"]) == {}


def test_a_service_without_its_tasks_is_waited_for_and_then_told(emulator: Emulator) -> None:
    ecs, waits = emulator.client("ecs", REGION), list[float]()
    definition = define(ecs, NEW)
    started(ecs, definition, tasks=2)
    after = settle(ecs, "main", ["gate"], wait_s_max=20, pause=waits.append)
    assert waits == [10.0, 10.0]
    assert faults({}, after, {"gate": definition}) == ["gate: the deployment of gate:1 has not ended: 0 of 2 tasks run"]


def test_a_service_that_has_its_tasks_is_not_waited_for(emulator: Emulator) -> None:
    ecs, waits = emulator.client("ecs", REGION), list[float]()
    definition = define(ecs, NEW)
    started(ecs, definition, tasks=0)
    after = settle(ecs, "main", ["gate"], pause=waits.append)
    assert (waits, faults({}, after, {"gate": definition})) == ([], [])


def test_a_service_whose_primary_deployment_runs_the_old_definition_has_gone_back(emulator: Emulator) -> None:
    """moto keeps the PRIMARY deployment when a service is updated, which is how a deployment that was taken back looks."""
    ecs = emulator.client("ecs", REGION)
    started(ecs, define(ecs, OLD), tasks=0)
    before, wanted = look(ecs, "main", ["gate"]), define(ecs, NEW)
    ecs.update_service(cluster="main", service="gate", taskDefinition=wanted)
    (said,) = faults(before, look(ecs, "main", ["gate"]), {"gate": wanted})
    assert said.startswith("gate: ECS went back: it runs gate:1, the stack asked for gate:2.")


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({}, "gate: ECS has no such service"),
        (
            {"gate": Seen("ecs-svc/2", f"{ARN}:2", "FAILED", 0, 2, "tasks failed to start.")},
            "gate: the deployment of gate:2 failed.",
        ),
        ({"gate": Seen("ecs-svc/2", f"{ARN}:2", "IN_PROGRESS", 1, 2)}, "gate: the deployment of gate:2 has not ended: 1 of 2"),
        (
            {"gate": Seen("ecs-svc/1", f"{ARN}:2", "COMPLETED", 2, 2)},
            "gate: gate:2 was asked for, but no new deployment was started",
        ),
    ],
)
def test_whatever_is_not_as_asked_is_told(after: dict[str, Seen], said: str) -> None:
    (found,) = faults({"gate": STEADY}, after, {"gate": f"{ARN}:2"})
    assert found.startswith(said)


def test_a_new_deployment_of_what_was_asked_is_fine_and_so_is_no_change() -> None:
    moved = Seen("ecs-svc/2", f"{ARN}:2", "COMPLETED", 2, 2)
    assert faults({"gate": STEADY}, {"gate": moved}, {"gate": f"{ARN}:2"}) == []
    assert faults({"gate": STEADY}, {"gate": STEADY}, {"gate": f"{ARN}:1"}) == []


def test_a_door_gets_a_few_tries_and_is_then_named() -> None:
    account, waits = Account(sick=("share",)), list[float]()
    with serving(account) as url:
        found = smoke({"gate": f"{url}/gate", "share": f"{url}/share"}, tries=3, pause=waits.append)
    assert (found, waits) == ([f"share: {url}/share/healthz answers 503"], [10.0, 10.0])


def test_a_door_that_recovers_is_well() -> None:
    account = Account(sick=("gate",))

    def recover(_seconds: float) -> None:
        account.sick = ()

    with serving(account) as url:
        assert smoke({"gate": f"{url}/gate"}, pause=recover) == []


def test_a_door_that_nobody_opens_is_named() -> None:
    with serving(Account()) as url:
        gone = url
    (said,) = smoke({"gate": gone}, tries=1)
    assert said.startswith(f"gate: {gone}/healthz does not answer (")


def test_the_image_before_is_found_although_its_definition_was_deregistered(emulator: Emulator) -> None:
    ecs = emulator.client("ecs", REGION)
    first = define(ecs, OLD)
    define(ecs, OLD, family="gate-two")
    define(ecs, NEW)
    last = define(ecs, NEW)
    ecs.deregister_task_definition(taskDefinition=first)
    assert previous_digest(ecs, last, NEW) == OLD
    # After ECS went back by itself, what ran before is older than the newest definition.
    assert previous_digest(ecs, first, OLD) == NEW


def test_a_first_image_has_nothing_before_it(emulator: Emulator) -> None:
    ecs = emulator.client("ecs", REGION)
    only = define(ecs, NEW)
    with pytest.raises(ValueError, match="gate never ran another image than sha256:bbb"):
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
