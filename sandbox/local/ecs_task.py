"""Reads a deployed ECS task definition and makes of it what ECS would: command, environment, secrets, roles."""

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sandbox.errors import SandboxError

_REFUSAL = re.compile(r"<Code>(\w+)</Code><Message>(.*?)</Message>")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What sts:AssumeRole answered. `repr` shows no secret."""

    access_key_id: str
    _secret: str
    _token: str

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id})"

    def environment(self) -> dict[str, str]:
        """The variables every AWS SDK reads."""
        held = {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self._secret,
            "AWS_SESSION_TOKEN": self._token,
        }
        return {name: value for name, value in held.items() if value}


OPERATOR = Credentials("sandbox", "sandbox", "")


@dataclass(frozen=True, slots=True)
class Aws:
    """The emulated AWS: where it answers, and for which region."""

    endpoint: str
    region: str
    operator: Credentials = OPERATOR

    def client(self, service: str, credentials: Credentials | None = None) -> Any:
        """A boto3 client; `credentials` None: the operator's."""
        keys = (credentials or self.operator).environment()
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=keys.get("AWS_SESSION_TOKEN"),
            config=Config(retries={"max_attempts": 2}, connect_timeout=5, read_timeout=30, proxies={}),
        )

    def assume(self, role: str, session: str) -> Credentials:
        """Credentials of a role of the stack; raises SandboxError when it does not exist or may not be assumed."""
        answer = _call(f"assuming {role}", lambda: self.client("sts").assume_role(RoleArn=role, RoleSessionName=session))
        held = answer["Credentials"]
        return Credentials(held["AccessKeyId"], held["SecretAccessKey"], held["SessionToken"])


@dataclass(frozen=True, slots=True)
class Contract:
    """runtime/contract.toml: what a process is called with.

    `stand_ins` are the variables that the sandbox may replace; `brought` are filled from secrets that somebody makes, when a
    stack says so.
    """

    commands: Mapping[str, tuple[str, ...]]
    doors: Mapping[str, tuple[str, ...]]
    ports: Mapping[str, int]
    ready: Mapping[str, str]
    variables: Mapping[str, frozenset[str]]
    secrets: Mapping[str, frozenset[str]]
    stand_ins: frozenset[str]
    brought: frozenset[str] = frozenset()

    @classmethod
    def read(cls, file: Path, *, apart: Collection[str] = ()) -> "Contract":
        """`apart`: the functions that serve their doors here; the processes run without these doors, and are told nothing
        that is for them alone."""
        raw = tomllib.loads(file.read_text())
        processes, doors = raw["process"], raw["service"]
        gone = {raw["function"][name]["service"] for name in apart}
        told = [row for row in (*raw["variable"], *raw["optional"]) if row.get("service") not in gone]
        return cls(
            commands={name: tuple(word for word in row["command"] if word not in gone) for name, row in processes.items()},
            doors={name: tuple(door for door in row["services"] if door not in gone) for name, row in processes.items()},
            ports={name: int(row["port"]) for name, row in doors.items()},
            ready={name: str(row["ready"]) for name, row in doors.items()},
            variables=_by_process(told, processes),
            secrets=_by_process(raw["secret"], processes),
            brought=frozenset(row["name"] for row in raw["optional"] if "kind" in row),
            stand_ins=frozenset(row["name"] for row in raw["variable"] if row.get("stand_in")),
        )


@dataclass(frozen=True, slots=True)
class Task:
    """One process as deployed. `secrets` maps a variable to the `valueFrom` that ECS resolves."""

    process: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    task_role: str
    execution_role: str


def read(aws: Aws, arn: str, process: str, contract: Contract) -> Task:
    """The task definition `arn`, held to the contract.

    Raises SandboxError when it runs another command, sets a variable that the contract lacks, or lacks one of its
    secrets.
    """
    answer = _call(f"reading {arn}", lambda: aws.client("ecs").describe_task_definition(taskDefinition=arn))
    definition = answer["taskDefinition"]
    container = _container(definition, contract.commands[process], process)
    environment = {row["name"]: row["value"] for row in container.get("environment", [])}
    secrets = {row["name"]: row["valueFrom"] for row in container.get("secrets", [])}
    _hold_to(contract, process, environment, secrets)
    return Task(
        process=process,
        command=(*container.get("entryPoint", []), *container.get("command", [])),
        environment=environment,
        secrets=secrets,
        task_role=_role(definition, "taskRoleArn", process),
        execution_role=_role(definition, "executionRoleArn", process),
    )


def resolve(aws: Aws, task: Task) -> dict[str, str]:
    """The values of a task's secrets, fetched as ECS does: with the execution role's credentials, and only those."""
    credentials = aws.assume(task.execution_role, f"{task.process}-execution")
    client = aws.client("secretsmanager", credentials)
    return {name: _secret(client, value_from, f"{task.process}: {name}") for name, value_from in task.secrets.items()}


def _secret(client: Any, value_from: str, place: str) -> str:
    # AWS, "Pass Secrets Manager secrets through Amazon ECS environment variables":
    # arn:json-key:version-stage:version-id
    parts = value_from.split(":")
    if len(parts) < 7 or parts[2] != "secretsmanager":
        raise SandboxError(f"{place}: {value_from} is not the ARN of a Secrets Manager secret.")
    key, stage, version = [*parts[7:], "", "", ""][:3]
    wanted = {"SecretId": ":".join(parts[:7])}
    wanted |= {"VersionStage": stage} if stage else {}
    wanted |= {"VersionId": version} if version else {}
    text = str(_call(f"{place}: reading {wanted['SecretId']}", lambda: client.get_secret_value(**wanted))["SecretString"])
    if not key:
        return text
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError):
        raise SandboxError(f"{place}: {wanted['SecretId']} has no JSON key {key!r}.") from None


def _container(definition: dict[str, Any], command: tuple[str, ...], process: str) -> dict[str, Any]:
    containers = definition["containerDefinitions"]
    # The container that is called like its process is the one; a collector may run beside it.
    for container in sorted(containers, key=lambda one: one["name"] != process):
        if (*container.get("entryPoint", []), *container.get("command", [])) == command:
            return dict(container)
    seen = "; ".join(f"{c['name']}: {' '.join(c.get('command', [])) or '(image default)'}" for c in containers)
    raise SandboxError(
        f"{definition['family']} runs no container as {' '.join(command)!r} (contract.toml, {process}). It has {seen}"
    )


def _hold_to(contract: Contract, process: str, environment: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    allowed = contract.variables[process]
    for name in environment:
        # AWS_* and OTEL_* are read by SDKs in the image, not by our settings.
        if name not in allowed and not name.startswith(("AWS_", "OTEL_")):
            raise SandboxError(
                f"The {process} task definition sets {name}, which runtime/contract.toml does not give to {process}."
            )
    for name in sorted(contract.secrets[process] - set(secrets)):
        raise SandboxError(f"The {process} task definition does not inject {name}, which runtime/contract.toml asks for.")
    for name in sorted(set(secrets) - contract.secrets[process] - contract.brought):
        raise SandboxError(
            f"The {process} task definition injects {name}, which runtime/contract.toml does not give to {process}."
        )


def _role(definition: dict[str, Any], key: str, process: str) -> str:
    if not definition.get(key):
        raise SandboxError(f"The {process} task definition has no {key}: a task without a role cannot reach AWS.")
    return str(definition[key])


def _by_process(rows: list[dict[str, Any]], processes: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    return {name: frozenset(row["name"] for row in rows if name in row["processes"]) for name in processes}


def _call(what: str, call: Any) -> Any:
    try:
        return call()
    except (ClientError, BotoCoreError) as problem:
        # moto refuses with XML whatever the service speaks: show what it says, not how.
        refusal = _REFUSAL.search(str(problem))
        raise SandboxError(f"{what}: {': '.join(refusal.groups()) if refusal else problem}") from problem
