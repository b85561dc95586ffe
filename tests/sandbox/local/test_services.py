"""The runtime is started from what is deployed: command, variables, secrets and roles come from the task definition."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox.emulator.server import Emulator
from sandbox.errors import SandboxError
from sandbox.local import ecs_task, services
from sandbox.local.ecs_task import Aws, Contract, Credentials
from sandbox.local.servers import Postgres
from sandbox.paths import REPOSITORY

REGION = "eu-west-1"
TRUST = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
PLACE = services.Place(
    Postgres(5432, "owner-pw", "app-pw", Path("/nowhere"), Path("/nowhere")),
    "redis://127.0.0.1:6379/0",
    {"gateway": 8080, "console": 18081, "sharing": 8082},
)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    emulator = Emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.read(REPOSITORY / "runtime" / "contract.toml")


@dataclass
class Deployed:
    """A gateway that is deployed as it should be; a test breaks one thing."""

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
        """Make roles, secret, task definition and service; return what the stack would export."""
        aws = {name: self.emulator.client(name, REGION) for name in ("iam", "secretsmanager", "ecs")}
        roles = {}
        for kind in ("task", "execution"):
            role = aws["iam"].create_role(RoleName=f"{self.name}-{kind}", AssumeRolePolicyDocument=json.dumps(TRUST))
            roles[kind] = role["Role"]["Arn"]
        arn = aws["secretsmanager"].create_secret(Name=f"{self.name}/pepper", SecretString=self.secret)["ARN"]
        if self.may_read:
            statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": arn}
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            aws["iam"].put_role_policy(RoleName=f"{self.name}-execution", PolicyName="read", PolicyDocument=document)
        injected = [{"name": "GATEHOUSE_PEPPER", "valueFrom": arn + self.value_from_suffix}] if self.inject else []
        definition = aws["ecs"].register_task_definition(
            family=self.name,
            taskRoleArn=roles["task"],
            executionRoleArn=roles["execution"],
            containerDefinitions=[
                {"name": "collector", "image": "collector", "memory": 128, "command": ["--config", "x"]},
                {
                    "name": "gateway",
                    "image": "gatehouse",
                    "memory": 512,
                    "command": self.command,
                    "environment": [{"name": name, "value": value} for name, value in self.variables.items()],
                    "secrets": injected,
                },
            ],
        )["taskDefinition"]["taskDefinitionArn"]
        aws["ecs"].create_cluster(clusterName=self.name)
        aws["ecs"].create_service(cluster=self.name, serviceName=self.name, taskDefinition=definition, desiredCount=1)
        return {
            "cluster": self.name,
            "services": {"gateway": {"service": self.name, "taskDefinition": definition}},
            "migration": {"taskDefinition": definition},
        }

    def gateway(self, contract: Contract) -> ecs_task.Task:
        definition = self.register()["services"]["gateway"]["taskDefinition"]
        return ecs_task.read(self.aws(), definition, "gateway", contract)

    def aws(self) -> Aws:
        return Aws(self.emulator.endpoint, REGION, Credentials(*self.emulator.credentials, ""))


@pytest.fixture
def deployed(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Deployed]:
    yield Deployed(emulator, str(request.node.name)[:50])
    emulator.enforce_iam(False)


def test_command_and_unreplaced_variables_are_those_of_the_task_definition(deployed: Deployed, contract: Contract) -> None:
    gateway = deployed.gateway(contract)
    env = services.environment(deployed.aws(), gateway, contract, PLACE)
    assert gateway.command == ("gatehouse", "serve", "gateway")
    assert (env["GATEHOUSE_ENVIRONMENT"], env["GATEHOUSE_WORKERS"]) == ("dev", "2")


def test_only_stand_in_variables_are_replaced(deployed: Deployed, contract: Contract) -> None:
    gateway = deployed.gateway(contract)
    env = services.environment(deployed.aws(), gateway, contract, PLACE)
    changed = {name for name, value in env.items() if name.startswith("GATEHOUSE_") and gateway.environment.get(name) != value}
    extras = {"GATEHOUSE_BIND", "GATEHOUSE_GATEWAY_PORT"}
    assert changed - extras - contract.secrets["gateway"] <= contract.stand_ins


def test_the_database_user_stays_as_deployed(deployed: Deployed, contract: Contract) -> None:
    env = services.environment(deployed.aws(), deployed.gateway(contract), contract, PLACE)
    assert env["GATEHOUSE_DATABASE_URL"] == "postgresql://gatehouse_app:app-pw@127.0.0.1:5432/gatehouse?sslmode=disable"


def test_a_database_user_that_does_not_exist_is_refused(deployed: Deployed, contract: Contract) -> None:
    deployed.variables["GATEHOUSE_DATABASE_URL"] = "postgresql://root@db.internal/gatehouse"
    with pytest.raises(SandboxError, match="connects to the database as 'root'; there are gatehouse_owner and gatehouse_app"):
        services.environment(deployed.aws(), deployed.gateway(contract), contract, PLACE)


def test_secrets_are_fetched_with_the_execution_role_under_enforcement(deployed: Deployed, contract: Contract) -> None:
    gateway = deployed.gateway(contract)
    deployed.emulator.enforce_iam(True)
    env = services.environment(deployed.aws(), gateway, contract, PLACE)
    assert env["GATEHOUSE_PEPPER"] == "pepper-value"
    assert deployed.emulator.used_actions[f"{deployed.name}-execution"] == {"secretsmanager:GetSecretValue"}


def test_an_execution_role_that_may_not_read_a_secret_fails_and_names_it(deployed: Deployed, contract: Contract) -> None:
    deployed.may_read = False
    gateway = deployed.gateway(contract)
    deployed.emulator.enforce_iam(True)
    with pytest.raises(
        SandboxError,
        match=r"gateway: GATEHOUSE_PEPPER: reading arn:aws:secretsmanager:.*: AccessDenied: User: .* is not authorized",
    ):
        services.environment(deployed.aws(), gateway, contract, PLACE)


def test_a_json_key_of_a_secret_is_picked(deployed: Deployed, contract: Contract) -> None:
    deployed.secret, deployed.value_from_suffix = '{"password": "pw", "username": "u"}', ":password::"
    assert ecs_task.resolve(deployed.aws(), deployed.gateway(contract)) == {"GATEHOUSE_PEPPER": "pw"}


def test_a_missing_json_key_is_named_without_the_secret(deployed: Deployed, contract: Contract) -> None:
    deployed.secret, deployed.value_from_suffix = '{"password": "canary"}', ":passwort::"
    with pytest.raises(SandboxError, match="has no JSON key 'passwort'") as refused:
        ecs_task.resolve(deployed.aws(), deployed.gateway(contract))
    assert "canary" not in refused.value.message


def test_the_task_role_s_credentials_are_the_only_ones_a_process_gets(
    deployed: Deployed, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/mine")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMINE")
    env = services.environment(deployed.aws(), deployed.gateway(contract), contract, PLACE)
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" not in env
    assert env["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert env["AWS_ENDPOINT_URL"] == deployed.emulator.endpoint


def test_a_variable_outside_of_the_contract_is_refused(deployed: Deployed, contract: Contract) -> None:
    deployed.variables["GATEHOUSE_NEW"] = "1"
    with pytest.raises(SandboxError) as refused:
        deployed.gateway(contract)
    assert refused.value.message == (
        "The gateway task definition sets GATEHOUSE_NEW, which runtime/contract.toml does not give to gateway."
    )


def test_a_secret_that_is_not_injected_is_refused(deployed: Deployed, contract: Contract) -> None:
    deployed.inject = False
    with pytest.raises(SandboxError) as refused:
        deployed.gateway(contract)
    assert (
        refused.value.message
        == "The gateway task definition does not inject GATEHOUSE_PEPPER, which runtime/contract.toml asks for."
    )


def test_another_command_than_the_contract_s_is_refused(deployed: Deployed, contract: Contract) -> None:
    deployed.command = ["gatehouse", "serve", "everything"]
    with pytest.raises(SandboxError, match="runs no container as 'gatehouse serve gateway'"):
        deployed.gateway(contract)


def test_what_runs_is_the_service_s_definition_not_the_exported_one(deployed: Deployed, contract: Contract) -> None:
    exports = deployed.register()
    exports["services"]["gateway"]["taskDefinition"] = "arn:aws:ecs:eu-west-1:123456789012:task-definition/other:1"
    exports["migration"] = {"taskDefinition": "missing"}
    with pytest.raises(SandboxError, match="reading missing"):  # the gateway's was found, the migration's is the broken one
        services.tasks(deployed.aws(), exports, contract)


def test_credentials_do_not_show_in_a_log() -> None:
    assert repr(Credentials("ASIA1", "secret-part", "token-part")) == "Credentials(ASIA1)"
