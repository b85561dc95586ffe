"""Starts a door that a Lambda function serves, from what is deployed: API, stage, alias, version, command, settings and role."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local import services
from sandbox.local.ecs_task import Aws
from sandbox.local.ports import HOST
from sandbox.paths import REPOSITORY

_TARGET = re.compile(r":function:(?P<name>[^:/]+):(?P<alias>[^:/]+)/invocations$")
_IMAGE = "/opt/gatehouse/bin/"
"""Where the image has its commands (runtime/Dockerfile); here they are those of this environment."""
_READY_S = 45.0


@dataclass(frozen=True, slots=True)
class Api:
    """The deployed REST API, as `sandbox.local.lambda_runtime_api` serves it.

    methods: path to verbs. answers: kind of the gateway's own answer to status, headers and body. arn: what its methods
    call.
    """

    id: str
    account: str
    host: str
    stage: str
    methods: Mapping[str, list[str]]
    answers: Mapping[str, Mapping[str, Any]]
    arn: str


@dataclass(frozen=True, slots=True)
class Function:
    """One function as deployed: the version that its API reaches."""

    door: str
    api: Api
    command: tuple[str, ...]
    environment: Mapping[str, str]
    role: str


def read(aws: Aws, exports: Mapping[str, Any], door: str) -> Function:
    """What a request to the door's host name meets. Raises SandboxError where the way ends before a function."""
    host = str(exports["urls"][door]).removeprefix("https://")
    gateway_client = aws.client("apigateway")
    mapped = gateway_client.get_base_path_mappings(domainName=host).get("items", [])
    if not mapped:
        raise SandboxError(f"{host} leads to no API: it has no base path mapping.")
    api, stage = mapped[0]["restApiId"], mapped[0]["stage"]
    gateway_client.get_stage(restApiId=api, stageName=stage)
    methods: dict[str, list[str]] = {}
    targets = set()
    for resource in gateway_client.get_resources(restApiId=api, limit=500)["items"]:
        for verb, method in resource.get("resourceMethods", {}).items():
            methods.setdefault(resource["path"], []).append(verb)
            targets.add(method["methodIntegration"]["uri"])
    found = _TARGET.search(targets.pop()) if len(targets) == 1 else None
    if found is None:
        raise SandboxError(f"The methods of {api} do not all call one alias of one function.")
    client = aws.client("lambda")
    deployed = client.get_function_configuration(FunctionName=found["name"], Qualifier=found["alias"])
    _callable(client, found["name"], found["alias"], f"{api}/{stage}/")
    image = deployed["ImageConfigResponse"]["ImageConfig"]
    return Function(
        door=door,
        api=Api(
            id=api,
            account=str(exports["account"]),
            host=host,
            stage=stage,
            methods=methods,
            answers={kind: _answer(gateway_client, api, kind) for kind in ("MISSING_AUTHENTICATION_TOKEN", "DEFAULT_5XX")},
            arn=deployed["FunctionArn"],
        ),
        command=(*image["EntryPoint"], *image["Command"]),
        environment=deployed["Environment"]["Variables"],
        role=deployed["Role"],
    )


def start(aws: Aws, wanted: Function, *, door: int, runtime: int, logs: Path) -> list[child_processes.Child]:
    """The gateway in front, and the function behind with its deployed command and its own role; ready when both run.

    door, runtime: free ports, of the door and of Lambda's runtime API.
    """
    first, *rest = wanted.command
    if not first.startswith(_IMAGE):
        raise SandboxError(f"The {wanted.door} function starts {first}, which is not in the image's {_IMAGE}.")
    front = child_processes.start(
        f"{wanted.door}-api",
        [sys.executable, "-m", "sandbox.local.lambda_runtime_api", str(door), str(runtime)],
        env={**services.plain_environment(), "SANDBOX_API": json.dumps(asdict(wanted.api))},
        cwd=REPOSITORY,
        log=logs / f"{wanted.door}-api.log",
    )
    environment = {
        **services.base_environment(aws),
        **wanted.environment,
        **aws.assume(wanted.role, f"{wanted.door}-function").environment(),
        "AWS_LAMBDA_RUNTIME_API": f"{HOST}:{runtime}",
        # Lambda sets these itself (Lambda developer guide, "Defined runtime environment variables").
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_LAMBDA_FUNCTION_NAME": wanted.api.arn.split(":")[6],
    }
    command = [str(Path(sys.executable).parent / first.removeprefix(_IMAGE)), *rest]
    behind = child_processes.start(f"{wanted.door}-function", command, env=environment, log=logs / f"{wanted.door}-function.log")
    return [front, behind]


def wait_ready(children: list[child_processes.Child], url: str) -> None:
    """Wait until the door answers its readiness path with 200."""
    front, behind = children
    child_processes.wait_until(
        front, lambda: services.answers(f"http://{HOST}:{_port(url)}/healthz") or _gone(behind), "ready", _READY_S
    )
    child_processes.wait_until(behind, lambda: services.answers(f"{url}/readyz"), f"ready at {url}/readyz", _READY_S)


def _gone(child: child_processes.Child) -> bool:
    return child.process.poll() is not None


def _port(url: str) -> str:
    return url.rpartition(":")[2]


def _callable(client: Any, function: str, alias: str, route: str) -> None:
    """The alias lets this stage call it; without that API Gateway answers 500."""
    policy = json.loads(client.get_policy(FunctionName=function, Qualifier=alias)["Policy"])
    sources = [str(one.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", "")) for one in policy["Statement"]]
    if not any(f":{route}" in source for source in sources):
        raise SandboxError(f"{function}:{alias} does not let {route} call it.")


def _answer(client: Any, api: str, kind: str) -> dict[str, Any]:
    """The gateway's own answer, with the quotes of fixed values taken off."""
    held = client.get_gateway_response(restApiId=api, responseType=kind)
    headers = {
        name.removeprefix("gatewayresponse.header."): [value[1:-1]] for name, value in held.get("responseParameters", {}).items()
    }
    return {
        "status": int(held.get("statusCode") or 500),
        "headers": headers,
        "body": held["responseTemplates"]["application/json"],
    }
