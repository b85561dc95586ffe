"""Processes start as in their deployed task definitions."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from components import contract
from sandbox.emulator.server import Emulator
from sandbox.errors import SandboxError
from sandbox.local import ecs_task, services
from sandbox.local.ecs_task import Aws, Credentials
from sandbox.local.servers import Postgres

REGION = "eu-west-1"
TRUST = {
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ]
}
CONTRACT = contract.read(optional_variables=None)
LOCAL = services.LocalServers(
    Postgres(5432, "owner-pw", "app-pw", Path("/nowhere"), Path("/nowhere")),
    "redis://127.0.0.1:6379/0",
    {"gateway": 8080, "console": 18081, "sharing": 8082},
)


@dataclass
class Deployed:
    """A valid deployment of the gateway. Each test changes one property of the deployment."""

    emulator: Emulator
    name: str
    command: list[str] = field(default_factory=lambda: ["gatehouse", "serve", "gateway"])
    variables: dict[str, str] = field(default_factory=lambda: {
        "GATEHOUSE_ENVIRONMENT": "dev",
        "GATEHOUSE_WORKERS": "2",
        "GATEHOUSE_DATABASE_URL": "postgresql://gatehouse_app@db.internal:5432/gatehouse?sslmode=verify-full",
        "GATEHOUSE_DATABASE_AUTH": "iam",
        "GATEHOUSE_GATEWAY_URL": "https://gateway.example.com",
    })  # fmt: skip
    secret: str = "pepper-value"
    value_from_suffix: str = ""
    inject: bool = True
    may_read: bool = True

    def register(self) -> dict[str, Any]:
        aws = {
            name: self.emulator.client(name, REGION) for name in ("iam", "secretsmanager", "ecs")
        }
        roles = {}
        for kind in ("task", "execution"):
            role = aws["iam"].create_role(
                RoleName=f"{self.name}-{kind}", AssumeRolePolicyDocument=json.dumps(TRUST)
            )
            roles[kind] = role["Role"]["Arn"]
        arn = aws["secretsmanager"].create_secret(
            Name=f"{self.name}/pepper", SecretString=self.secret
        )["ARN"]
        canary = aws["secretsmanager"].create_secret(
            Name=f"{self.name}/canary-key", SecretString="tokens"
        )["ARN"]
        if self.may_read:
            statement = {
                "Effect": "Allow",
                "Action": "secretsmanager:GetSecretValue",
                "Resource": [arn, canary],
            }
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            aws["iam"].put_role_policy(
                RoleName=f"{self.name}-execution", PolicyName="read", PolicyDocument=document
            )
        injected = [{"name": "GATEHOUSE_CANARY_KEY", "valueFrom": canary}]
        if self.inject:
            value_from = arn + self.value_from_suffix
            injected.insert(0, {"name": "GATEHOUSE_PEPPER", "valueFrom": value_from})
        definition = aws["ecs"].register_task_definition(
            family=self.name,
            taskRoleArn=roles["task"],
            executionRoleArn=roles["execution"],
            containerDefinitions=[
                {
                    "name": "collector",
                    "image": "collector",
                    "memory": 128,
                    "command": ["--config", "x"],
                },
                {
                    "name": "gateway",
                    "image": "gatehouse",
                    "memory": 512,
                    "command": self.command,
                    "environment": [
                        {"name": name, "value": value} for name, value in self.variables.items()
                    ],
                    "secrets": injected,
                },
            ],
        )["taskDefinition"]["taskDefinitionArn"]
        aws["ecs"].create_cluster(clusterName=self.name)
        aws["ecs"].create_service(
            cluster=self.name, serviceName=self.name, taskDefinition=definition, desiredCount=1
        )
        return {
            "cluster": self.name,
            "services": {"gateway": {"service": self.name, "taskDefinition": definition}},
            "migration": {"taskDefinition": definition},
        }

    def gateway(self) -> ecs_task.EcsTask:
        definition = self.register()["services"]["gateway"]["taskDefinition"]
        return ecs_task.read(self.aws(), definition, "gateway", CONTRACT)

    def environment(self, task: ecs_task.EcsTask) -> dict[str, str]:
        return services.task_environment(self.aws(), task, CONTRACT, LOCAL)

    def aws(self) -> Aws:
        return Aws(self.emulator.endpoint, REGION, Credentials(*self.emulator.credentials))


@pytest.fixture
def deployed(emulator: Emulator) -> Iterator[Deployed]:
    yield Deployed(emulator, f"gateway-{uuid.uuid4().hex[:12]}")
    emulator.permissions.enforce(False)


def test_process_is_started_as_deployed_with_local_addresses(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUSER")
    task = deployed.gateway()
    env = deployed.environment(task)
    assert task.command == ("gatehouse", "serve", "gateway")
    assert (env["GATEHOUSE_ENVIRONMENT"], env["GATEHOUSE_WORKERS"]) == ("dev", "2")
    assert (
        env["GATEHOUSE_DATABASE_URL"]
        == "postgresql://gatehouse_app:app-pw@127.0.0.1:5432/gatehouse?sslmode=disable"
    )
    changed = {
        name
        for name, value in env.items()
        if name.startswith("GATEHOUSE_") and task.environment.get(name) != value
    }
    secrets = {secret.variable for secret in CONTRACT.processes["gateway"].secrets}
    added = {"GATEHOUSE_BIND", "GATEHOUSE_GATEWAY_PORT", *secrets}
    assert changed - added <= set(CONTRACT.replaceable)
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" not in env
    assert env["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert env["AWS_ENDPOINT_URL"] == deployed.emulator.endpoint


def test_execution_role_reads_the_secrets(deployed: Deployed) -> None:
    task = deployed.gateway()
    deployed.emulator.permissions.enforce(True)
    env = deployed.environment(task)
    assert env["GATEHOUSE_PEPPER"] == "pepper-value"
    assert deployed.emulator.permissions.used_actions[f"{deployed.name}-execution"] == {
        "secretsmanager:GetSecretValue"
    }


def test_execution_role_without_permission_is_reported(deployed: Deployed) -> None:
    deployed.may_read = False
    task = deployed.gateway()
    deployed.emulator.permissions.enforce(True)
    with pytest.raises(
        SandboxError,
        match=r"gateway: GATEHOUSE_PEPPER: reading arn:aws:secretsmanager:.*AccessDeniedException",
    ):
        deployed.environment(task)


def test_missing_json_key_error_has_no_secret(deployed: Deployed) -> None:
    deployed.secret, deployed.value_from_suffix = '{"password": "canary"}', ":passwort::"
    with pytest.raises(SandboxError, match="'passwort'") as error:
        ecs_task.resolve_secrets(deployed.aws(), deployed.gateway())
    assert "canary" not in error.value.message


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"variables": {"GATEHOUSE_NEW": "1"}}, "gateway .*GATEHOUSE_NEW.* runtime/contract.toml"),
        ({"inject": False}, "gateway .*GATEHOUSE_PEPPER.* runtime/contract.toml"),
        ({"command": ["serve", "everything"]}, "'gatehouse serve gateway'.*serve everything"),
    ],
)
def test_task_that_differs_from_the_contract_is_rejected(
    deployed: Deployed, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(SandboxError, match=named):
        replace(deployed, **change).gateway()


def test_repr_of_credentials_has_no_secret() -> None:
    assert (
        repr(Credentials("ASIA1", "secret-part", "token-part"))
        == "Credentials(access_key_id='ASIA1')"
    )
