"""Starts the processes of the runtime from the deployed ECS services, with their commands,
variables, secrets and roles.

Only variables marked `stand_in` in runtime/contract.toml are replaced. Credentials of the task
role, the endpoint of the emulator and `_local_settings` are added.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from components.contract import Contract
from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local import ecs_task
from sandbox.local.ecs_task import Aws, EcsTask
from sandbox.local.servers import APP_ROLE, DATABASE, OWNER_ROLE, Postgres
from sandbox.ports import HOST, PLAIN_HTTP

_READY_S = 45.0
_MIGRATE_S = 90.0
# The sample Core runs on this machine. On AWS, the task definition contains the private networks.
_CORE_NETWORKS = "127.0.0.0/8,::1/128"


@dataclass(frozen=True)
class LocalServers:
    """The servers that replace RDS and ElastiCache, and the port of each service of the runtime.

    traces_url: URL of the local collector, or empty to send no traces. logs: folder of the logs.
    """

    database: Postgres
    redis_url: str
    ports: Mapping[str, int]
    traces_url: str = ""
    logs: Path = Path("logs")

    def url(self, service: str) -> str:
        return f"http://{HOST}:{self.ports[service]}"


def deployed_tasks(aws: Aws, exports: Mapping[str, Any], contract: Contract) -> dict[str, EcsTask]:
    """The tasks of the deployed ECS services and the migration task, keyed by process."""
    services = exports["services"]
    processes = {str(row["service"]): process for process, row in services.items()}
    response = aws.client("ecs").describe_services(
        cluster=exports["cluster"], services=list(processes)
    )
    definitions = {
        processes[row["serviceName"]]: str(row["taskDefinition"]) for row in response["services"]
    }
    for process, row in services.items():
        if process not in definitions:
            raise SandboxError(
                f"The exported ECS service {row['service']} does not exist in the cluster "
                f"{exports['cluster']}."
            )
    definitions["migrate"] = str(exports["migration"]["taskDefinition"])
    return {
        process: ecs_task.read(aws, arn, process, contract) for process, arn in definitions.items()
    }


def master_credentials(aws: Aws, exports: Mapping[str, Any]) -> tuple[str, str]:
    """User and password of the database that RDS manages (ManageMasterUserPassword)."""
    identifier = str(exports["database"]["identifier"])
    instance = aws.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)[
        "DBInstances"
    ][0]
    if "MasterUserSecret" not in instance:
        raise SandboxError(
            f"RDS does not manage the password of {identifier}. Set "
            f"manage_master_user_password=True."
        )
    client = aws.client("secretsmanager")
    secret = client.get_secret_value(SecretId=instance["MasterUserSecret"]["SecretArn"])[
        "SecretString"
    ]
    # The "username" in the secret is not used, because moto always stores "admin" there.
    return str(instance["MasterUsername"]), str(json.loads(secret)["password"])


def task_environment(
    aws: Aws, task: EcsTask, contract: Contract, local: LocalServers
) -> dict[str, str]:
    """The environment of a process: as deployed, with resolved secrets, local addresses and
    credentials of the task role.
    """
    replaceable = set(contract.replaceable) & set(contract.processes[task.process].variables)
    replaced = {
        name: value for name, value in _local_addresses(task, local).items() if name in replaceable
    }
    return {
        **child_processes.aws_environment(aws.endpoint, aws.region),
        **task.environment,
        **ecs_task.resolve_secrets(aws, task),
        **replaced,
        **_local_settings(task, contract, local),
        **aws.assume(task.task_role, f"{task.process}-task").environment(),
    }


def function_environment(
    aws: Aws, name: str, variables: Mapping[str, str], role: str, session: str
) -> dict[str, str]:
    """The environment of a Lambda function: its variables, credentials of its role, and the
    variables that Lambda defines.
    """
    return {
        **child_processes.aws_environment(aws.endpoint, aws.region),
        **variables,
        **aws.assume(role, session).environment(),
        # Lambda Developer Guide, "Defined runtime environment variables".
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_LAMBDA_FUNCTION_NAME": name,
    }


def migrate(task: EcsTask, env: Mapping[str, str], log: Path) -> None:
    child_processes.run("the migration", task.command, env=env, log=log, timeout_s=_MIGRATE_S)


def wait_ready(child: child_processes.Child, url: str) -> None:
    child_processes.wait_until(child, partial(returns_200, url), f"ready at {url}", _READY_S)


def returns_200(url: str) -> bool:
    return status_of(url) == 200


def status_of(url: str, headers: Mapping[str, str] | None = None) -> int | None:
    """The status of the response, or None without a response."""
    try:
        # No proxy is used, because every address is on this machine.
        return httpx.get(
            url, headers=dict(headers or {}), timeout=2, trust_env=False, verify=PLAIN_HTTP
        ).status_code
    except httpx.HTTPError:
        return None


def call_console(
    console: str, admin_token: str, path: str, body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Send a POST to the management API and return the response. Raises SandboxError with the
    problem that it reports.
    """
    try:
        response = httpx.post(
            console + path,
            json=body,
            headers={"Authorization": f"Bearer {admin_token}"},
            timeout=10,
            trust_env=False,
            verify=PLAIN_HTTP,
        )
        content: dict[str, Any] = response.json()
    except (httpx.HTTPError, ValueError) as problem:
        raise SandboxError(f"POST {path} of the console: {type(problem).__name__}.") from None
    if not response.is_success:
        raise SandboxError(
            f"POST {path} of the console: {response.status_code} {content.get('detail', '')}"
        )
    return content


def _local_addresses(task: EcsTask, local: LocalServers) -> dict[str, str]:
    # The migration authenticates with the injected password. The other processes use IAM tokens,
    # which only RDS and ElastiCache accept, so their URLs contain the password.
    auth = task.environment.get("GATEHOUSE_DATABASE_AUTH", "iam")
    auth = {"iam": "url", "password_or_iam": "password"}.get(auth, auth)
    return {
        "GATEHOUSE_DATABASE_URL": _database_url(task, local.database, with_password=auth == "url"),
        "GATEHOUSE_DATABASE_AUTH": auth,
        "GATEHOUSE_REDIS_URL": local.redis_url,
        "GATEHOUSE_REDIS_AUTH": "url",
        "GATEHOUSE_GATEWAY_URL": local.url("gateway"),
        # Browsers and curl resolve each subdomain of localhost to this machine.
        "GATEHOUSE_CORES_DOMAIN": f"localhost:{local.ports['gateway']}",
        "GATEHOUSE_CONSOLE_URL": local.url("console"),
        "GATEHOUSE_SHARING_URL": local.url("sharing"),
        "GATEHOUSE_CORE_NETWORKS": _CORE_NETWORKS,
        # The sandbox has no load balancer: browsers and clients connect to the services, which
        # therefore serve HTTP (no client accepts a self-signed certificate), X-Forwarded-For is not
        # trusted, and a drain time is not needed.
        "GATEHOUSE_TLS": "off",
        "GATEHOUSE_TRUSTED_PROXIES": "",
        "GATEHOUSE_DRAIN_S": "0",
        "GATEHOUSE_TRACES_ENDPOINT": local.traces_url,
        "GATEHOUSE_TRACES_SAMPLE_PERCENT": "100",
        "GATEHOUSE_LOGS": f"file:{local.logs.absolute()}",
    }


def _database_url(task: EcsTask, database: Postgres, *, with_password: bool) -> str:
    """The deployed URL with the address of the local server and the deployed user."""
    user = urlsplit(task.environment.get("GATEHOUSE_DATABASE_URL", "")).username
    passwords = {OWNER_ROLE: database.owner_password, APP_ROLE: database.app_password}
    if user not in passwords:
        raise SandboxError(
            f"The {task.process} task definition connects to the database as {user!r}. Use "
            f"{OWNER_ROLE} or {APP_ROLE}."
        )
    secret = f":{passwords[user]}" if with_password else ""
    return f"postgresql://{user}{secret}@{HOST}:{database.port}/{DATABASE}?sslmode=disable"


def _local_settings(task: EcsTask, contract: Contract, local: LocalServers) -> dict[str, str]:
    """Ports and bind address: the ports of the contract may be in use, and services must not listen
    on the network.
    """
    services = contract.processes[task.process].services
    ports = {
        f"GATEHOUSE_{service.name.upper()}_PORT": str(local.ports[service.name])
        for service in services
    }
    return {"GATEHOUSE_BIND": HOST, **ports} if ports else {}
