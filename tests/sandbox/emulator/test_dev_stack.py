"""The dev stack with settings that are disabled in every stack file: a Core, canary deployments
and a collector."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from gatehouse_policies.program.runner import run
from gatehouse_policies.program.types import Deployment

from components import contract
from sandbox.emulator.server import Emulator
from sandbox.local.ecs_task import Aws, Credentials, read
from sandbox.paths import REPOSITORY
from tests.components.settings.stack_settings import CORE, raw_settings
from tests.runtime.functions.function_loader import load

REGION, MAIN = "eu-west-1", "gatehouse-dev-main"
CANARY = {"strategy": "canary", "bake_minutes": 15, "step_percent": 10, "step_minutes": 10}
CHANGES: dict[str, Any] = {
    "cores": [CORE],
    "rollout": CANARY,
    "telemetry.collector": True,
}


@pytest.fixture(scope="module")
def deployed() -> Iterator[tuple[Emulator, Deployment]]:
    """The dev stack with changed settings, deployed once."""
    settings = {"gatehouse:settings": json.dumps(raw_settings("dev", CHANGES))}
    with Emulator.start() as emulator:
        yield emulator, run(REPOSITORY, "dev", emulator, preview=False, config=settings)


@pytest.fixture(scope="module")
def emulator(deployed: tuple[Emulator, Deployment]) -> Emulator:
    return deployed[0]


def service(emulator: Emulator, name: str) -> dict[str, Any]:
    ecs = emulator.client("ecs", REGION)
    (row,) = ecs.describe_services(cluster=MAIN, services=[f"gatehouse-dev-{name}"])["services"]
    return dict(row)


def target_groups(emulator: Emulator) -> dict[str, str]:
    groups = emulator.client("elbv2", REGION).describe_target_groups()["TargetGroups"]
    return {group["TargetGroupArn"]: group["TargetGroupName"] for group in groups}


def test_traffic_shifts_between_two_target_groups(emulator: Emulator) -> None:
    names = target_groups(emulator)
    (balancer,) = service(emulator, "gateway")["loadBalancers"]
    other = balancer["advancedConfiguration"]
    assert names[balancer["targetGroupArn"]] == "gatehouse-dev-blue-gateway"
    assert names[other["alternateTargetGroupArn"]] == "gatehouse-dev-green-gateway"
    elb = emulator.client("elbv2", REGION)
    (rule,) = elb.describe_rules(RuleArns=[other["productionListenerRule"]])["Rules"]
    weights = {
        names[g["TargetGroupArn"]]: g["Weight"]
        for g in rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
    }
    assert weights == {"gatehouse-dev-blue-gateway": 100, "gatehouse-dev-green-gateway": 0}
    assert other["roleArn"].endswith("role/gatehouse-dev-ecs-infrastructure")


class CompletedRollouts:
    """The emulated ECS, which never completes a rollout, with completed rollouts. A service that
    was not restarted was deployed a minute earlier, because the time of a rotation is in whole
    seconds."""

    def __init__(self, ecs: Any) -> None:
        self._ecs = ecs
        self._restarted: set[str] = set()

    def update_service(self, *, service: str, **parameters: Any) -> Any:
        self._restarted.add(service)
        return self._ecs.update_service(service=service, **parameters)

    def describe_services(self, **parameters: Any) -> Any:
        response = self._ecs.describe_services(**parameters)
        for service in response["services"]:
            for deployment in service["deployments"]:
                deployment["rolloutState"] = "COMPLETED"
                if service["serviceName"] not in self._restarted:
                    deployment["createdAt"] -= timedelta(minutes=1)
        return response


@pytest.mark.requirement("TR-08")
def test_rotation_restarts_the_console_before_the_gateway(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, ecs, secrets = (
        emulator.client(name, REGION) for name in ("events", "ecs", "secretsmanager")
    )
    rules = ("gatehouse-dev-restart-deployed", "gatehouse-dev-restart-rotated")
    targets = [
        target for rule in rules for target in events.list_targets_by_rule(Rule=rule)["Targets"]
    ]
    assert {target["Arn"].rpartition(":")[2] for target in targets} == {"gatehouse-dev-restart"}
    (event,) = {target["Input"] for target in targets}
    restart = load("restart")
    monkeypatch.setattr(
        restart.boto3,
        "client",
        {"ecs": CompletedRollouts(ecs), "secretsmanager": secrets}.__getitem__,
    )
    assert restart.handler(json.loads(event), None) == {
        "reason": "all services use the current secrets"
    }

    secrets.rotate_secret(SecretId="gatehouse/dev/pepper")
    results = [restart.handler(json.loads(event), None) for _ in range(3)]
    assert results == [
        {"restarted": "gatehouse-dev-console"},
        {"restarted": "gatehouse-dev-gateway"},
        {"reason": "all services use the current secrets"},
    ]


@pytest.mark.requirement("ECS-08")
def test_dashboard_has_the_target_groups(emulator: Emulator) -> None:
    dashboard = emulator.client("cloudwatch", REGION).get_dashboard(
        DashboardName="gatehouse-dev-overview"
    )
    document = json.loads(dashboard["DashboardBody"])
    widgets = [widget for widget in document["widgets"] if widget["type"] == "metric"]
    labels = {
        metric[5]
        for widget in widgets
        for metric in widget["properties"]["metrics"]
        if metric[0] == "AWS/ApplicationELB"
    }
    assert labels == {arn.rpartition(":")[2] for arn in target_groups(emulator)}


@pytest.mark.parametrize("process", ["gateway", "console"])
def test_process_container_is_selected_with_a_collector(emulator: Emulator, process: str) -> None:
    aws = Aws(emulator.endpoint, REGION, Credentials(*emulator.credentials))
    declared = contract.read(optional_variables=None)
    arn = service(emulator, process)["taskDefinition"]
    definition = emulator.client("ecs", REGION).describe_task_definition(taskDefinition=arn)[
        "taskDefinition"
    ]
    assert [row["name"] for row in definition["containerDefinitions"]] == [process, "collector"]
    assert read(aws, arn, process, declared).command == declared.processes[process].command
