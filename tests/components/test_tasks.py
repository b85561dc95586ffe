"""Task definitions match the contract and are hardened."""

import tomllib
from typing import Any

import pytest

from components.component import LogOptions
from components.compute.task_definition import TaskDefinitionArgs, process_container
from components.contract import PATH, read
from components.iam.role_policies import COLLECTOR
from components.naming import Naming
from components.settings.data import ProtectionSettings
from components.settings.workloads import TaskSize
from tests.components.program import ROOT, run
from tests.components.settings.stack_settings import STACKS, raw_settings

RAW = tomllib.loads(PATH.read_text(encoding="utf-8"))
PROCESSES = tuple(RAW["process"])
CASES = [(stack, process) for stack in STACKS for process in PROCESSES]


def definition(stack: str, process: str) -> dict[str, Any]:
    """The container of the process in its task definition. Services also have a container for the
    collector.
    """
    (container,) = (
        container for container in run(stack).containers(process) if container["name"] != COLLECTOR
    )
    return dict(container)


@pytest.mark.parametrize(("stack", "process"), CASES)
def test_task_has_exactly_the_variables_of_its_process(stack: str, process: str) -> None:
    variables = [entry["name"] for entry in definition(stack, process)["environment"]]
    functions = run(stack).exports["functions"]
    required = [
        v["name"]
        for v in RAW["variable"]
        if process in v["processes"] and v.get("service") not in functions
    ]
    optional = [
        v["name"]
        for v in RAW["optional"]
        if process in v["processes"] and _is_set(stack, v.get("setting", ""))
    ]
    assert variables == [*required, *optional]


def _is_set(stack: str, setting: str) -> bool:
    """True if the stack file contains a setting, such as `sharing.mode`. Variables of
    `image` are part of the image.
    """
    if setting == "image":
        return False
    value: Any = raw_settings(stack)
    for name in setting.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value is not None


@pytest.mark.requirement("ECS-06")
@pytest.mark.parametrize(("stack", "process"), CASES)
def test_task_has_exactly_the_secrets_of_its_process(stack: str, process: str) -> None:
    secrets = {entry["name"]: entry["valueFrom"] for entry in definition(stack, process)["secrets"]}
    assert set(secrets) == {s["name"] for s in RAW["secret"] if process in s["processes"]}
    if "GATEHOUSE_DATABASE_PASSWORD" in secrets:
        assert secrets["GATEHOUSE_DATABASE_PASSWORD"].endswith("secret:rds!db-1-abcdef:password::")


@pytest.mark.parametrize(("stack", "process"), CASES)
def test_ports_and_health_check_match_services(stack: str, process: str) -> None:
    container = definition(stack, process)
    names = [
        service
        for service in RAW["process"][process]["services"]
        if service not in run(stack).exports["functions"]
    ]
    services = [RAW["service"][service] for service in names]
    assert [entry["containerPort"] for entry in container["portMappings"]] == [
        service["port"] for service in services
    ]
    if services:
        assert container["healthCheck"]["command"] == ["CMD", "gatehouse", "health", *names]
    assert ("healthCheck" in container) == bool(services)


@pytest.mark.requirement("ECS-01")
@pytest.mark.parametrize("stack", STACKS)
def test_task_variables_contain_no_credentials(stack: str) -> None:
    for process in PROCESSES:
        values = run(stack).variables(process)
        assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & set(values)
        user = values["GATEHOUSE_DATABASE_URL"].split("://")[1].split("@")[0]
        assert user in {"gatehouse_app", "gatehouse_owner"}, (
            "a URL with a password has a colon here"
        )


def test_only_migration_connects_as_database_owner() -> None:
    owners = [
        p
        for p in PROCESSES
        if "gatehouse_owner@" in run("dev").variables(p)["GATEHOUSE_DATABASE_URL"]
    ]
    assert owners == ["migrate"]


def test_target_groups_check_readiness_of_service() -> None:
    groups = {a.name: a.inputs for a in run("prod").of_type("lb/targetGroup:TargetGroup")}
    assert set(groups) == {
        name for service in RAW["service"] for name in (f"blue-{service}", f"green-{service}")
    }
    for name, group in groups.items():
        service = RAW["service"][name.partition("-")[2]]
        assert (group["port"], group["healthCheck"]["path"]) == (service["port"], service["ready"])
        assert (group["protocol"], group["healthCheck"]["protocol"]) == ("HTTPS", "HTTPS")
        assert group["healthCheck"]["port"] == "traffic-port"


@pytest.mark.requirement("SS-13")
@pytest.mark.parametrize("process", ["gateway", "console"])
def test_services_behind_the_load_balancer_serve_tls(process: str) -> None:
    assert run("prod").variables(process)["GATEHOUSE_TLS"] == "self_signed"


@pytest.mark.parametrize("missing", ["GATEHOUSE_LOG_LEVEL", "pepper"])
def test_missing_variable_or_secret_raises_key_error(missing: str) -> None:
    process = read().processes["gateway"]
    args = TaskDefinitionArgs(
        names=Naming("dev", "123456789012", "eu-west-1"),
        logs=LogOptions("arn:key", 30, ProtectionSettings()),
        process=process,
        size=TaskSize(cpu=256, memory_mib=512),
        image="registry/image@sha256:0",
        user="65532:65532",
        variables={name: "x" for name in process.variables if name != missing},
        secret_arns={
            secret.kind: "arn:secret" for secret in process.secrets if secret.kind != missing
        },
        task_role_arn="arn:task",
        execution_role_arn="arn:execution",
        data_protection_policy={},
    )
    with pytest.raises(KeyError, match=missing):
        process_container(args)


def test_rotation_function_and_secrets_match_contract() -> None:
    function = run("dev").get("lambda/function:Function", "rotate").inputs
    assert (function["handler"], function["runtime"]) == ("rotate.handler", "python3.12")
    assert function["environment"] == {"variables": {"GATEHOUSE_KEY_PREFIX": "gtk"}}
    kinds = {a.name for a in run("dev").of_type("secretsmanager/secretRotation:SecretRotation")}
    assert kinds == {s["kind"] for s in RAW["secret"] if "managed" not in s}
    assert (ROOT / function["code"].path).is_dir()


@pytest.mark.requirement("TR-17")
@pytest.mark.parametrize("stack", STACKS)
def test_previous_task_definition_revision_is_retained(stack: str) -> None:
    assert [
        task.inputs.get("skipDestroy")
        for task in run(stack).of_type("ecs/taskDefinition:TaskDefinition")
    ] == [True] * 3
