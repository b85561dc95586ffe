"""Starts a service that Lambda serves, from the deployed API, stage, alias, version, command, settings and role."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local.ecs_task import Aws
from sandbox.local.services import function_environment, plain_environment, returns_200
from sandbox.paths import REPOSITORY
from sandbox.ports import HOST

_TARGET = re.compile(r":function:(?P<name>[^:/]+):(?P<alias>[^:/]+)/invocations$")
_IMAGE_BIN = "/opt/gatehouse/bin/"
"""The folder of the commands in the image (runtime/Dockerfile), replaced by that of this environment."""
_READY_S = 45.0


@dataclass(frozen=True, slots=True)
class Api:
    """The deployed REST API that `sandbox.local.lambda_runtime_api` emulates.

    methods: path to HTTP methods. responses: gateway response type to status, headers and body. arn: ARN of the function.
    """

    id: str
    account: str
    host: str
    stage: str
    methods: Mapping[str, list[str]]
    responses: Mapping[str, Mapping[str, Any]]
    arn: str


@dataclass(frozen=True, slots=True)
class LambdaService:
    """A service with the deployed function version that its API invokes."""

    service: str
    api: Api
    command: tuple[str, ...]
    environment: Mapping[str, str]
    role: str


def read(aws: Aws, exports: Mapping[str, Any], service: str) -> LambdaService:
    """Read the deployment from the host name of the service to the function. Raises SandboxError if a link is missing."""
    host = str(exports["urls"][service]).removeprefix("https://")
    client = aws.client("apigateway")
    mappings = client.get_base_path_mappings(domainName=host).get("items", [])
    if not mappings:
        raise SandboxError(f"The domain name {host} has no base path mapping, so requests reach no API.")
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
        raise SandboxError(f"The methods of the API {api} do not all invoke the same alias of one function.")
    function = _function(aws, target["name"], target["alias"], f"{api}/{stage}/")
    image = function["ImageConfigResponse"]["ImageConfig"]
    responses = {kind: _gateway_response(client, api, kind) for kind in ("MISSING_AUTHENTICATION_TOKEN", "DEFAULT_5XX")}
    return LambdaService(
        service=service,
        api=Api(api, str(exports["account"]), host, stage, methods, responses, function["FunctionArn"]),
        command=(*image["EntryPoint"], *image["Command"]),
        environment=function["Environment"]["Variables"],
        role=function["Role"],
    )


def start(aws: Aws, deployed: LambdaService, *, port: int, runtime_port: int, logs: Path) -> list[child_processes.Child]:
    """Start the API and the function, with its deployed command and role.

    port: of the service. runtime_port: of the Lambda runtime API. Both must be free.
    """
    name = deployed.service
    executable, *arguments = deployed.command
    if not executable.startswith(_IMAGE_BIN):
        raise SandboxError(f"The {name} function starts {executable}, which is not in {_IMAGE_BIN} of the image.")
    api = child_processes.start(
        f"{name}-api",
        [sys.executable, "-m", "sandbox.local.lambda_runtime_api", str(port), str(runtime_port)],
        env={**plain_environment(), "SANDBOX_API": json.dumps(asdict(deployed.api))},
        cwd=REPOSITORY,
        log=logs / f"{name}-api.log",
    )
    function_name = deployed.api.arn.split(":")[6]
    environment = function_environment(aws, function_name, deployed.environment, deployed.role, f"{name}-function")
    environment["AWS_LAMBDA_RUNTIME_API"] = f"{HOST}:{runtime_port}"
    command = [str(Path(sys.executable).parent / executable.removeprefix(_IMAGE_BIN)), *arguments]
    function = child_processes.start(f"{name}-function", command, env=environment, log=logs / f"{name}-function.log")
    return [api, function]


def wait_ready(children: list[child_processes.Child], url: str) -> None:
    """Wait until the readiness path of the service returns 200."""
    api, function = children

    def answers_or_failed() -> bool:
        return returns_200(f"{url}/healthz") or function.process.poll() is not None

    child_processes.wait_until(api, answers_or_failed, "ready", _READY_S)
    child_processes.wait_until(function, lambda: returns_200(f"{url}/readyz"), f"ready at {url}/readyz", _READY_S)


def _function(aws: Aws, name: str, alias: str, stage_path: str) -> dict[str, Any]:
    """The configuration of the alias. Raises SandboxError if its policy does not allow the stage to invoke it."""
    client = aws.client("lambda")
    configuration: dict[str, Any] = client.get_function_configuration(FunctionName=name, Qualifier=alias)
    policy = json.loads(client.get_policy(FunctionName=name, Qualifier=alias)["Policy"])
    sources = [str(row.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", "")) for row in policy["Statement"]]
    if not any(f":{stage_path}" in source for source in sources):
        raise SandboxError(f"The resource policy of {name}:{alias} does not allow {stage_path} to invoke it.")
    return configuration


def _gateway_response(client: Any, api: str, kind: str) -> dict[str, Any]:
    """A gateway response. Fixed header values are quoted in API Gateway."""
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
