"""Task definitions say what the contract says, and allow the container nothing that it does not need."""

import json
import tomllib
from typing import Any

import pytest

from components.compute.container_definition import container_definition
from components.contract import PATH, read
from tests.components.program import ROOT, run
from tests.components.settings.stack_settings import STACKS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import

RAW = tomllib.loads(PATH.read_text(encoding="utf-8"))
PROCESSES = tuple(RAW["process"])
CASES = [(stack, process) for stack in STACKS for process in PROCESSES]


def definition(stack: str, process: str) -> dict[str, Any]:
    """The one container of a process."""
    (only,) = json.loads(run(stack).one("ecs/taskDefinition:TaskDefinition", process).inputs["containerDefinitions"])
    return dict(only)


def arguments(process: str) -> dict[str, Any]:
    """What a container is built from, all of it present."""
    wanted = read().processes[process]
    return {
        "image": "registry/image@sha256:0",
        "user": "65532:65532",
        "region": "eu-west-1",
        "log_group": "/gatehouse/dev/gateway",
        "variables": dict.fromkeys(wanted.variables, "x"),
        "secret_arns": {secret.kind: "arn:x" for secret in wanted.secrets},
    }


@pytest.mark.parametrize(("stack", "process"), CASES)
def test_a_task_is_told_exactly_the_variables_of_its_process(stack: str, process: str) -> None:
    told = [entry["name"] for entry in definition(stack, process)["environment"]]
    apart = run(stack).exports["functions"]
    assert told == [v["name"] for v in RAW["variable"] if process in v["processes"] and v.get("service") not in apart]


@pytest.mark.requirement("ECS-06")
@pytest.mark.parametrize(("stack", "process"), CASES)
def test_a_task_gets_exactly_the_secrets_of_its_process_and_by_arn(stack: str, process: str) -> None:
    given = {entry["name"]: entry["valueFrom"] for entry in definition(stack, process)["secrets"]}
    assert set(given) == {s["name"] for s in RAW["secret"] if process in s["processes"]}
    if "GATEHOUSE_DATABASE_PASSWORD" in given:
        assert given["GATEHOUSE_DATABASE_PASSWORD"].endswith("secret:rds!db-1-abcdef:password::")


@pytest.mark.parametrize(("stack", "process"), CASES)
def test_a_container_is_locked_down(stack: str, process: str) -> None:
    only = definition(stack, process)
    assert only["command"] == [word for word in RAW["process"][process]["command"] if word not in run(stack).exports["functions"]]
    assert only["user"] == RAW["image"]["user"]
    assert only["user"].split(":")[0].isdigit()
    assert only["readonlyRootFilesystem"] is True
    assert [mount["containerPath"] for mount in only["mountPoints"]] == ["/tmp"], "the one writable place"
    assert only["privileged"] is False
    assert only["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert "@sha256:" in only["image"]
    assert only["logConfiguration"]["options"]["mode"] == "non-blocking"


@pytest.mark.parametrize(("stack", "process"), CASES)
def test_ports_and_health_check_are_those_of_the_services(stack: str, process: str) -> None:
    only = definition(stack, process)
    names = [service for service in RAW["process"][process]["services"] if service not in run(stack).exports["functions"]]
    services = [RAW["service"][service] for service in names]
    assert [entry["containerPort"] for entry in only["portMappings"]] == [service["port"] for service in services]
    if services:
        assert only["healthCheck"]["command"] == ["CMD", "gatehouse", "health", *names]
    assert ("healthCheck" in only) == bool(services)


@pytest.mark.requirement("ECS-01")
@pytest.mark.parametrize("stack", STACKS)
def test_no_task_carries_a_key_or_a_password(stack: str) -> None:
    for process in PROCESSES:
        values = {entry["name"]: entry["value"] for entry in definition(stack, process)["environment"]}
        assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & set(values)
        user = values["GATEHOUSE_DATABASE_URL"].split("://")[1].split("@")[0]
        assert user in {"gatehouse_app", "gatehouse_owner"}, "a URL with a password has a colon here"


def test_only_the_migration_signs_in_as_the_owner() -> None:
    owners = [p for p in PROCESSES if any("gatehouse_owner@" in str(e["value"]) for e in definition("dev", p)["environment"])]
    assert owners == ["migrate"]


def test_target_groups_ask_each_door_whether_it_is_ready() -> None:
    groups = {a.name: a.inputs for a in run("prod").of("lb/targetGroup:TargetGroup")}
    assert set(groups) == {name for service in RAW["service"] for name in (service, f"{service}-green")}
    for name, group in groups.items():
        service = RAW["service"][name.removesuffix("-green")]
        assert (group["port"], group["healthCheck"]["path"]) == (service["port"], service["ready"])


@pytest.mark.parametrize("process", PROCESSES)
def test_a_variable_without_a_value_stops_the_program(process: str) -> None:
    given = arguments(process)
    del given["variables"]["GATEHOUSE_LOG_LEVEL"]
    with pytest.raises(KeyError, match="GATEHOUSE_LOG_LEVEL"):
        container_definition(read().processes[process], **given)


def test_a_secret_without_an_arn_stops_the_program() -> None:
    given = arguments("gateway")
    del given["secret_arns"]["pepper"]
    with pytest.raises(KeyError, match="pepper"):
        container_definition(read().processes["gateway"], **given)


def test_the_function_and_its_secrets_are_those_of_the_contract() -> None:
    function = run("dev").one("lambda/function:Function", "rotate").inputs
    assert (function["handler"], function["runtime"]) == ("rotate.handler", "python3.12")
    assert function["environment"] == {"variables": {"GATEHOUSE_KEY_PREFIX": "gtk"}}
    kinds = {a.name for a in run("dev").of("secretsmanager/secretRotation:SecretRotation")}
    assert kinds == {s["kind"] for s in RAW["secret"] if "managed" not in s}
    assert (ROOT / function["code"].path).is_dir()


@pytest.mark.requirement("TR-17")
@pytest.mark.parametrize("stack", STACKS)
def test_the_revision_before_a_change_stays_for_ecs_to_go_back_to(stack: str) -> None:
    assert [task.inputs.get("skipDestroy") for task in run(stack).of("ecs/taskDefinition:TaskDefinition")] == [True] * 3
