"""Reads a deployed ECS task definition, validates it against the contract, and resolves its secrets
like ECS.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from components.contract import Contract
from sandbox.errors import SandboxError

_XML_ERROR = re.compile(r"<Code>(\w+)</Code><Message>(.*?)</Message>")


@dataclass(frozen=True)
class Credentials:
    """AWS credentials. `repr` omits the secrets."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)

    def environment(self) -> dict[str, str]:
        """The credentials as environment variables of the AWS SDKs."""
        variables = {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token,
        }
        return {name: value for name, value in variables.items() if value}


@dataclass(frozen=True)
class Aws:
    """The emulated AWS: endpoint, region and the credentials of the operator."""

    endpoint: str
    region: str
    operator: Credentials

    def client(self, service: str, credentials: Credentials | None = None) -> Any:
        """A boto3 client with the given credentials, by default the operator's credentials."""
        keys = (credentials or self.operator).environment()
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=keys.get("AWS_SESSION_TOKEN"),
            config=Config(
                retries={"max_attempts": 2}, connect_timeout=5, read_timeout=30, proxies={}
            ),
        )

    def assume(self, role: str, session: str) -> Credentials:
        """Assume a role. Raises SandboxError if the role does not exist or cannot be assumed."""
        response = _call(
            f"assuming {role}",
            lambda: self.client("sts").assume_role(RoleArn=role, RoleSessionName=session),
        )
        keys = response["Credentials"]
        return Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


@dataclass(frozen=True)
class EcsTask:
    """One process as deployed. `secrets` maps variables to the `valueFrom` that ECS resolves.
    definition: ARN of the revision.
    """

    process: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    task_role: str
    execution_role: str
    definition: str = ""


def read(aws: Aws, arn: str, process: str, contract: Contract) -> EcsTask:
    """Read the task definition `arn`.

    Raises SandboxError if the command, variables or secrets do not match the contract.
    """
    response = _call(
        f"reading {arn}", lambda: aws.client("ecs").describe_task_definition(taskDefinition=arn)
    )
    definition = response["taskDefinition"]
    container = _container(definition, contract.processes[process].command, process)
    environment = {row["name"]: row["value"] for row in container.get("environment", [])}
    secrets = {row["name"]: row["valueFrom"] for row in container.get("secrets", [])}
    _validate(contract, process, environment, secrets)
    return EcsTask(
        process=process,
        command=(*container.get("entryPoint", []), *container.get("command", [])),
        environment=environment,
        secrets=secrets,
        task_role=_role(definition, "taskRoleArn", process),
        execution_role=_role(definition, "executionRoleArn", process),
        definition=str(definition["taskDefinitionArn"]),
    )


def resolve_secrets(aws: Aws, task: EcsTask) -> dict[str, str]:
    """The values of the secrets of a task, read with the credentials of its execution role, as ECS
    does.
    """
    credentials = aws.assume(task.execution_role, f"{task.process}-execution")
    client = aws.client("secretsmanager", credentials)
    return {
        name: _secret(client, value_from, f"{task.process}: {name}")
        for name, value_from in task.secrets.items()
    }


def _secret(client: Any, value_from: str, place: str) -> str:
    # AWS, "Pass Secrets Manager secrets through Amazon ECS environment variables":
    # arn:json-key:version-stage:version-id
    parts = value_from.split(":")
    if len(parts) < 7 or parts[2] != "secretsmanager":
        raise SandboxError(f"{place}: {value_from} is not the ARN of a Secrets Manager secret.")
    key, stage, version = [*parts[7:], "", "", ""][:3]
    parameters = {"SecretId": ":".join(parts[:7]), "VersionStage": stage, "VersionId": version}
    parameters = {name: value for name, value in parameters.items() if value}
    secret_id = parameters["SecretId"]
    text = str(
        _call(f"{place}: reading {secret_id}", lambda: client.get_secret_value(**parameters))[
            "SecretString"
        ]
    )
    if not key:
        return text
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError):
        raise SandboxError(f"{place}: {secret_id} has no JSON key {key!r}.") from None


def _container(
    definition: dict[str, Any], command: tuple[str, ...], process: str
) -> dict[str, Any]:
    containers = definition["containerDefinitions"]
    # Prefer the container with the name of the process, because the task can have sidecars.
    for container in sorted(containers, key=lambda row: row["name"] != process):
        if (*container.get("entryPoint", []), *container.get("command", [])) == command:
            return dict(container)
    commands = "; ".join(
        f"{c['name']}: {' '.join(c.get('command', [])) or '(image default)'}" for c in containers
    )
    raise SandboxError(
        f"{definition['family']} has no container with the command {' '.join(command)!r} "
        f"(contract.toml, {process}). Containers: {commands}"
    )


def _validate(
    contract: Contract, process: str, environment: Mapping[str, str], secrets: Mapping[str, str]
) -> None:
    declared = contract.processes[process]
    required = {secret.variable for secret in declared.secrets}
    # AWS_* and OTEL_* are read by the SDKs in the image, not by the settings of the runtime.
    own = {name for name in environment if not name.startswith(("AWS_", "OTEL_"))}
    undeclared = (own - set(declared.variables)) | (
        set(secrets) - required - set(contract.secret_variables)
    )
    for name in sorted(undeclared):
        raise SandboxError(
            f"The {process} task definition sets {name}, which runtime/contract.toml does not "
            f"declare for {process}."
        )
    for name in sorted(required - set(secrets)):
        raise SandboxError(
            f"The {process} task definition does not inject {name}, which "
            f"runtime/contract.toml requires."
        )


def _role(definition: dict[str, Any], key: str, process: str) -> str:
    if not definition.get(key):
        raise SandboxError(
            f"The {process} task definition has no {key}: without a role, a task cannot call AWS."
        )
    return str(definition[key])


def _call(action: str, call: Any) -> Any:
    try:
        return call()
    except (ClientError, BotoCoreError) as problem:
        # moto returns XML errors for every protocol: show code and message.
        error = _XML_ERROR.search(str(problem))
        raise SandboxError(
            f"{action}: {': '.join(error.groups()) if error else problem}"
        ) from problem
