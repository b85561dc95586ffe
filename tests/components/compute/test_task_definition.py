"""Task definitions match the contract and are hardened."""

import tomllib
from typing import Any

import pytest

from components.contract import PATH
from components.iam.role_policies import COLLECTOR
from tests.components.program import run
from tests.components.settings.stack_settings import STACKS, each_stack, raw_settings

RAW = tomllib.loads(PATH.read_text())
PROCESSES = tuple(RAW["process"])
CASES = [(stack, process) for stack in STACKS for process in PROCESSES]


def definition(stack: str, process: str) -> dict[str, Any]:
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
    if setting == "image":
        return False
    value: Any = raw_settings(stack)
    for name in setting.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value is not None


@pytest.mark.parametrize("process", ["gateway", "console"])
def test_services_behind_the_load_balancer_serve_tls(process: str) -> None:
    assert run("prod").variables(process)["GATEHOUSE_TLS"] == "self_signed"


@each_stack
def test_previous_task_definition_revision_is_retained(stack: str) -> None:
    assert [
        task.inputs.get("skipDestroy") for task in run(stack).of_type("ecs.TaskDefinition")
    ] == [True] * 3


@pytest.mark.parametrize("mode", ["container", "serverless"])
def test_url_of_the_documentation_reaches_every_service(mode: str) -> None:
    url = "https://docs.example.com/gatehouse"
    changes: dict[str, Any] = {"docs_url": url, "sharing.mode": mode}
    if mode == "container":
        changes |= {"sharing.api_gateway_log_role": False}
    program = run("staging", changes=changes)
    variables = [program.variables(process) for process in ("gateway", "console")]
    if mode == "serverless":
        function = program.get("lambda.Function", "sharing")
        variables.append(function.inputs["environment"]["variables"])
    assert [each["GATEHOUSE_DOCS_URL"] for each in variables] == [url] * len(variables)
