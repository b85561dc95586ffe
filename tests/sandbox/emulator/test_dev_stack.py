"""The dev stack with settings that are disabled in every stack file: a Core, canary deployments, a
collector, RDS Proxy, Fargate Spot and off hours."""

import json
import re
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
COLLECTOR = {"collector": True, "collector_digest": "sha256:" + "2" * 64}
CANARY = {"strategy": "canary", "bake_minutes": 15, "step_percent": 10, "step_minutes": 10}


OFF_HOURS = {"stop": "20:30", "start": "07:05", "timezone": "Europe/Berlin"}
CHANGES: dict[str, Any] = {
    **{"cores": [CORE], "rollout": CANARY, "telemetry": COLLECTOR, "database.proxy": True},
    **{
        "services.spot": True,
        "services.off_hours": OFF_HOURS,
        "monitoring.probe_interval_minutes": 0,
    },
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


def test_gateway_canary_deployment_rolls_back_on_alarms(emulator: Emulator) -> None:
    configuration = service(emulator, "gateway")["deploymentConfiguration"]
    assert configuration["strategy"] == "CANARY"
    assert configuration["canaryConfiguration"] == {
        "canaryPercent": 10.0,
        "canaryBakeTimeInMinutes": 10,
    }
    assert configuration["bakeTimeInMinutes"] == 15
    assert configuration["alarms"]["rollback"] is True
    alarms = emulator.client("cloudwatch", REGION).describe_alarms(
        AlarmNames=configuration["alarms"]["alarmNames"]
    )
    assert len(alarms["MetricAlarms"]) == len(configuration["alarms"]["alarmNames"]) == 3


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


@pytest.mark.requirement("ECS-14")
def test_core_uses_service_discovery(emulator: Emulator) -> None:
    core = service(emulator, "core-files")
    assert core["loadBalancers"] == []
    discovery = emulator.client("servicediscovery", REGION)
    (registry,) = discovery.list_services()["Services"]
    assert core["serviceRegistries"][0]["registryArn"] == registry["Arn"]
    (zone,) = discovery.list_namespaces()["Namespaces"]
    assert (zone["Name"], zone["Type"]) == ("cores.gatehouse-dev.internal", "DNS_PRIVATE")


@pytest.mark.requirement("ECS-14")
def test_core_security_group_allows_only_the_gateway(emulator: Emulator) -> None:
    ec2 = emulator.client("ec2", REGION)
    groups = {
        group["GroupName"]: group for group in ec2.describe_security_groups()["SecurityGroups"]
    }
    (rule,) = groups["gatehouse-dev-core-files"]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"], rule["IpRanges"]) == (9000, 9000, [])
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [
        groups["gatehouse-dev-gateway"]["GroupId"]
    ]


@pytest.mark.requirement("ECS-04")
def test_web_acl_rules(emulator: Emulator) -> None:
    waf = emulator.client("wafv2", REGION)
    (summary,) = waf.list_web_acls(Scope="REGIONAL")["WebACLs"]
    acl = waf.get_web_acl(Name=summary["Name"], Id=summary["Id"], Scope="REGIONAL")["WebACL"]
    rules = {rule["Name"]: rule for rule in acl["Rules"]}
    assert {
        "rate",
        "rate-console",
        "rate-sharing",
        "body-size",
        "content",
        "query",
        "common",
        "metrics",
    } <= set(rules)
    rate = rules["rate-sharing"]["Statement"]["RateBasedStatement"]
    match = rate["ScopeDownStatement"]["RegexMatchStatement"]
    assert match["FieldToMatch"] == {"SingleHeader": {"Name": "host"}}
    host = re.compile(match["RegexString"])
    hosts = ["sharing.dev.gatehouse.example.com{}", "sharing.dev.gatehouse.example.com{}:443"]
    assert all(host.search(name.format("")) for name in hosts)
    assert not any(host.search(name.format(".acme.dev")) for name in hosts)
    assert not host.search("sharingXdev.gatehouse.example.com")
    _, exception = rules["body-size"]["Statement"]["AndStatement"]["Statements"]
    assert len(exception["NotStatement"]["Statement"]["OrStatement"]["Statements"]) == 3
    assert (
        len(
            rules["content"]["Statement"]["AndStatement"]["Statements"][0]["OrStatement"][
                "Statements"
            ]
        )
        == 10
    )


@pytest.mark.requirement("CG-21", "ECS-05")
def test_log_metric_filters_have_alarms(emulator: Emulator) -> None:
    filters = emulator.client("logs", REGION).describe_metric_filters(
        logGroupName="/gatehouse/dev/trail"
    )["metricFilters"]
    assert len(filters) == 15
    metric = filters[0]["metricTransformations"][0]
    alarms = emulator.client("cloudwatch", REGION).describe_alarms_for_metric(
        MetricName=metric["metricName"], Namespace=metric["metricNamespace"]
    )
    assert len(alarms["MetricAlarms"]) == 1


@pytest.mark.requirement("SS-10")
def test_secret_sharing_has_metric_filters_and_alarms(emulator: Emulator) -> None:
    filters = emulator.client("logs", REGION).describe_metric_filters(
        logGroupName="/gatehouse/dev/console"
    )["metricFilters"]
    transformations = {entry["filterName"]: entry["metricTransformations"][0] for entry in filters}
    names = {
        f"gatehouse-dev-{name}"
        for name in ("links-denied", "links-locked", "secrets-late", "secrets-not-deleted")
    }
    assert set(transformations) == names
    cloudwatch = emulator.client("cloudwatch", REGION)
    alarms = {
        alarm["AlarmName"]: alarm
        for alarm in cloudwatch.describe_alarms(AlarmNames=sorted(names))["MetricAlarms"]
    }
    for name, metric in transformations.items():
        assert (alarms[name]["Namespace"], alarms[name]["MetricName"]) == (
            metric["metricNamespace"],
            metric["metricName"],
        )
        assert alarms[name]["AlarmActions"] == alarms[name]["OKActions"] != []


def test_failure_events_reach_the_alarm_topic(emulator: Emulator) -> None:
    events = emulator.client("events", REGION)
    patterns = [
        rule["Name"]
        for rule in events.list_rules(NamePrefix="gatehouse-dev-")["Rules"]
        if "EventPattern" in rule
    ]
    rules = [rule for rule in patterns if not rule.startswith("gatehouse-dev-restart-")]
    assert sorted(rules) == [
        f"gatehouse-dev-{event}-failed" for event in ("backup", "deployment", "rotation")
    ]
    for rule in rules:
        (target,) = events.list_targets_by_rule(Rule=rule)["Targets"]
        assert target["Arn"].endswith(":gatehouse-dev-alarms")


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


def variable(deployment: Deployment, process: str, name: str) -> str:
    (task,) = (
        item.outputs
        for item in deployment.resources
        if item.registration.type == "aws:ecs/taskDefinition:TaskDefinition"
        and item.registration.name == process
    )
    containers = {row["name"]: row for row in json.loads(task["containerDefinitions"])}
    variables: dict[str, str] = {
        entry["name"]: entry["value"] for entry in containers[process]["environment"]
    }
    return variables[name]


def document(emulator: Emulator, role: str) -> dict[str, Any]:
    iam = emulator.client("iam", REGION)
    policy: dict[str, Any] = iam.get_role_policy(
        RoleName=f"gatehouse-dev-{role}", PolicyName="permissions"
    )["PolicyDocument"]
    return policy


@pytest.mark.requirement("TR-01")
def test_proxy_requires_tls_and_targets_the_database(emulator: Emulator) -> None:
    rds = emulator.client("rds", REGION)
    (proxy,) = rds.describe_db_proxies()["DBProxies"]
    assert (proxy["DBProxyName"], proxy["EngineFamily"], proxy["RequireTLS"]) == (
        MAIN,
        "POSTGRESQL",
        True,
    )
    assert proxy["DebugLogging"] is False
    (group,) = rds.describe_db_proxy_target_groups(DBProxyName=MAIN)["TargetGroups"]
    assert group["ConnectionPoolConfig"]["MaxConnectionsPercent"] == 90
    (target,) = rds.describe_db_proxy_targets(DBProxyName=MAIN)["Targets"]
    assert target["RdsResourceId"] == MAIN


def test_services_use_the_proxy_and_migration_the_database(
    deployed: tuple[Emulator, Deployment],
) -> None:
    emulator, deployment = deployed
    (proxy,) = emulator.client("rds", REGION).describe_db_proxies()["DBProxies"]
    (database,) = emulator.client("rds", REGION).describe_db_instances()["DBInstances"]
    for process in ("gateway", "console"):
        assert f"@{proxy['Endpoint']}:5432/" in variable(
            deployment, process, "GATEHOUSE_DATABASE_URL"
        )
    assert f"@{database['Endpoint']['Address']}:5432/" in variable(
        deployment, "migrate", "GATEHOUSE_DATABASE_URL"
    )


@pytest.mark.requirement("CG-18")
def test_iam_database_users(emulator: Emulator) -> None:
    def database_users(role: str) -> list[str]:
        return [
            r
            for s in document(emulator, role)["Statement"]
            if "rds-db:connect" in s["Action"]
            for r in s["Resource"]
        ]

    arn = f"arn:aws:rds-db:{REGION}:123456789012:dbuser"
    for process in ("gateway", "console"):
        assert database_users(f"{process}-task") == [f"{arn}:prx-*/gatehouse_app"]
    assert database_users("database-proxy") == [f"{arn}:db-*/gatehouse_app"]


@pytest.mark.requirement("ECS-03")
def test_security_groups_of_database_and_proxy(emulator: Emulator) -> None:
    ec2 = emulator.client("ec2", REGION)
    groups = {group["GroupId"]: group for group in ec2.describe_security_groups()["SecurityGroups"]}
    names = {
        identity: group["GroupName"].removeprefix("gatehouse-dev-")
        for identity, group in groups.items()
    }

    def sources(name: str) -> set[str]:
        (group,) = (group for identity, group in groups.items() if names[identity] == name)
        return {
            names[pair["GroupId"]]
            for rule in group["IpPermissions"]
            for pair in rule["UserIdGroupPairs"]
        }

    assert sources("database") == {"database-proxy", "migrate"}
    assert sources("database-proxy") == {"gateway", "console"}


def test_proxy_log_is_encrypted(emulator: Emulator) -> None:
    logs = emulator.client("logs", REGION)
    (group,) = logs.describe_log_groups(logGroupNamePrefix="/aws/rds/proxy/")["logGroups"]
    policy = emulator.client("kms", REGION).get_key_policy(
        KeyId=group["kmsKeyId"], PolicyName="default"
    )["Policy"]
    assert f"log-group:{group['logGroupName']}" in policy


def test_cluster_has_spot_capacity_and_tasks_stop_at_night(emulator: Emulator) -> None:
    ecs, scaling = (emulator.client(name, REGION) for name in ("ecs", "application-autoscaling"))
    (row,) = ecs.describe_clusters(clusters=[MAIN])["clusters"]
    assert row["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    actions = scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"]
    assert {(action["Schedule"], action["Timezone"]) for action in actions} == {
        ("cron(30 20 * * ? *)", "Europe/Berlin"),
        ("cron(5 7 ? * MON-FRI *)", "Europe/Berlin"),
    }
