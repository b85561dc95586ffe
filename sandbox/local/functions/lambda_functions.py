"""Runs deployed Lambda functions with their code, variables and role: services behind API Gateway,
the rotation function and the synthetic probe."""

import json
import re
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from components.iam.role_policies import PEPPER
from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local.ecs_task import Aws
from sandbox.local.functions.api_gateway import Api
from sandbox.local.services import LocalServers, function_environment
from sandbox.paths import REPOSITORY

_TARGET = re.compile(r":function:(?P<name>[^:/]+):(?P<alias>[^:/]+)/invocations$")
_FUNCTIONS = REPOSITORY / "runtime" / "functions"
# AWS Secrets Manager User Guide, "Rotation by Lambda function": the four steps, in this order.
_ROTATION_STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


@dataclass(frozen=True)
class LambdaService:
    """A service with the deployed function version that its API invokes. Versions differ in their
    code or configuration. command: ends with the handler, which `api_gateway.py` runs.
    """

    service: str
    api: Api
    version: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    role: str


def read(aws: Aws, exports: Mapping[str, Any], service: str) -> LambdaService:
    """Read the deployment, from the host name of the service to the function. Raises SandboxError
    if a resource is missing.
    """
    host = str(exports["urls"][service]).removeprefix("https://")
    client = aws.client("apigateway")
    mappings = client.get_base_path_mappings(domainName=host).get("items", [])
    if not mappings:
        raise SandboxError(
            f"The domain name {host} has no base path mapping, so requests reach no API."
        )
    api, stage = mappings[0]["restApiId"], mappings[0]["stage"]
    client.get_stage(restApiId=api, stageName=stage)
    methods: dict[str, list[str]] = {}
    targets = set()
    for resource in client.get_resources(restApiId=api, limit=500)["items"]:
        for verb, method in resource.get("resourceMethods", {}).items():
            methods.setdefault(resource["path"], []).append(verb)
            targets.add(method["methodIntegration"]["uri"])
    target = _TARGET.search(targets.pop()) if len(targets) == 1 else None
    if target is None:
        raise SandboxError(
            f"The methods of the API {api} do not all invoke the same alias of one function."
        )
    function = _function(aws, target["name"], target["alias"], f"{api}/{stage}/")
    image = function["ImageConfigResponse"]["ImageConfig"]
    responses = {
        kind: _gateway_response(client, api, kind)
        for kind in ("MISSING_AUTHENTICATION_TOKEN", "DEFAULT_5XX")
    }
    return LambdaService(
        service=service,
        api=Api(host, methods, responses, function["FunctionArn"]),
        version=function["Version"],
        command=(*image["EntryPoint"], *image["Command"]),
        environment=function["Environment"]["Variables"],
        role=function["Role"],
    )


def start(aws: Aws, deployed: LambdaService, *, port: int, logs: Path) -> child_processes.Child:
    """Start the API with the function, its deployed handler and its role, on a free port."""
    name = f"{deployed.service}-function"
    environment = function_environment(
        aws, deployed.api.arn.split(":")[6], deployed.environment, deployed.role, name
    )
    environment["SANDBOX_API"] = json.dumps(asdict(deployed.api))
    module = "sandbox.local.functions.api_gateway"
    command = [sys.executable, "-m", module, str(port), deployed.command[-1]]
    return child_processes.start(
        name, command, env=environment, cwd=REPOSITORY, log=logs / f"{name}.log"
    )


def rotate_secrets(aws: Aws, rotation: Mapping[str, Any], log: Path) -> None:
    """Create the first value of each secret in the export `rotation` with the deployed rotation
    function.

    Raises SandboxError with the last output line of the handler.
    """
    events = [
        {"Step": step, "SecretId": arn, "ClientRequestToken": token}
        # The canary key is marked under the pepper.
        for _, arn in sorted(dict(rotation["secrets"]).items(), key=lambda item: item[0] != PEPPER)
        for token in [str(uuid.uuid4())]
        for step in _ROTATION_STEPS
    ]
    _invoke(aws, rotation, events, log, "the rotation function")


def run_probe(aws: Aws, probe: Mapping[str, Any], local: LocalServers, log: Path) -> dict[str, str]:
    """Invoke the function of the export `probe` once, with the event of its EventBridge target and
    local addresses.

    Returns the URL that the function requested for each service. Raises SandboxError if the rule
    has no target, or if the canary key cannot be used.
    """
    name = str(probe["function"])
    targets = aws.client("events").list_targets_by_rule(Rule=name)["Targets"]
    event = next(
        (json.loads(target["Input"]) for target in targets if target["Arn"].endswith(f":{name}")),
        None,
    )
    if event is None:
        raise SandboxError(
            f"The EventBridge rule {name} has no target with an input for the function {name}."
        )
    urls = {
        service: f"{local.url(service)}{urlsplit(url).path}"
        for service, url in event["services"].items()
    }
    canary = event["canary"]
    for name in {"verify", "echo"} & canary.keys():
        canary[name] = f"{local.url('gateway')}{urlsplit(canary[name]).path}"
    _invoke(aws, probe, [{**event, "services": urls}], log, "the probe")
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    if problem := next(line["problem"] for line in lines if "problem" in line):
        raise SandboxError(f"The canary key cannot be used: {problem}.")
    return urls


def _invoke(
    aws: Aws,
    deployed: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    log: Path,
    title: str,
) -> None:
    """Invoke a function with each event, in one process like a warm function.

    deployed: an export with `function` (name) and `role` (expected ARN).
    """
    name = str(deployed["function"])
    configuration = aws.client("lambda").get_function_configuration(FunctionName=name)
    role, handler = str(configuration["Role"]), str(configuration["Handler"])
    if role != deployed["role"]:
        raise SandboxError(
            f"{name} runs with the role {role}, but the stack exports {deployed['role']}."
        )
    variables = configuration.get("Environment", {}).get("Variables", {})
    environment = function_environment(aws, name, variables, role, name.rpartition("-")[2])
    command = [
        sys.executable,
        "-m",
        "sandbox.local.functions.lambda_handler_process",
        str(_FUNCTIONS),
        handler,
        json.dumps(list(events)),
    ]
    child_processes.run(title, command, log=log, env=environment, cwd=_FUNCTIONS)


def _function(aws: Aws, name: str, alias: str, stage_path: str) -> dict[str, Any]:
    """The configuration of the alias. Raises SandboxError if its policy does not allow the stage to
    invoke the function.
    """
    client = aws.client("lambda")
    configuration: dict[str, Any] = client.get_function_configuration(
        FunctionName=name, Qualifier=alias
    )
    policy = json.loads(client.get_policy(FunctionName=name, Qualifier=alias)["Policy"])
    sources = [
        str(row.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", ""))
        for row in policy["Statement"]
    ]
    if not any(f":{stage_path}" in source for source in sources):
        raise SandboxError(
            f"The resource policy of {name}:{alias} does not allow {stage_path} to invoke it."
        )
    return configuration


def _gateway_response(client: Any, api: str, kind: str) -> dict[str, Any]:
    """A gateway response. API Gateway stores static header values in quotes."""
    response = client.get_gateway_response(restApiId=api, responseType=kind)
    headers = {
        name.removeprefix("gatewayresponse.header."): [value[1:-1]]
        for name, value in response.get("responseParameters", {}).items()
    }
    return {
        "status": int(response.get("statusCode") or 500),
        "headers": headers,
        "body": response["responseTemplates"]["application/json"],
    }
