"""Starts the runtime from what is deployed: task definitions of the ECS services, their secrets, roles and commands.

Only variables that runtime/contract.toml marks `stand_in` are replaced. On top comes what an ECS agent or a container
would give otherwise: credentials of the task role, the address of the emulated AWS, the extras explained at `_extras`.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local import ecs_task
from sandbox.local.ecs_task import Aws, Contract, Task
from sandbox.local.ports import HOST
from sandbox.local.servers import APP_ROLE, DATABASE, OWNER_ROLE, Postgres

# Never through a proxy that the environment names: every address is on this machine.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_KEPT = ("LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE")
_READY_S = 45.0
_MIGRATE_S = 90.0
# Where the sample Core may live: this machine. On AWS the task definition names the private networks instead.
_CORE_NETWORKS = "127.0.0.0/8,::1/128"


@dataclass(frozen=True, slots=True)
class Place:
    """What stands in on this machine: the servers, and the port of each door."""

    database: Postgres
    redis_url: str
    ports: Mapping[str, int]

    def url(self, door: str) -> str:
        return f"http://{HOST}:{self.ports[door]}"


def tasks(aws: Aws, exports: Mapping[str, Any], contract: Contract) -> dict[str, Task]:
    """The task definitions that the deployed ECS services run, and that of the migration."""
    services = exports["services"]
    names = {str(row["service"]): process_name for process_name, row in services.items()}
    answer = aws.client("ecs").describe_services(cluster=exports["cluster"], services=list(names))
    deployed = {names[row["serviceName"]]: str(row["taskDefinition"]) for row in answer["services"]}
    for process_name, row in services.items():
        if process_name not in deployed:
            raise SandboxError(f"The stack exports the ECS service {row['service']}, but it is not in {exports['cluster']}.")
    deployed["migrate"] = str(exports["migration"]["taskDefinition"])
    return {name: ecs_task.read(aws, arn, name, contract) for name, arn in deployed.items()}


def master_password(aws: Aws, exports: Mapping[str, Any]) -> tuple[str, str]:
    """User and password that RDS made for the database (ManageMasterUserPassword), which the stand-in gets too."""
    identifier = str(exports["database"]["identifier"])
    instance = aws.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
    if "MasterUserSecret" not in instance:
        raise SandboxError(f"RDS does not manage the password of {identifier}. Set manage_master_user_password=True.")
    client = aws.client("secretsmanager")
    raw = client.get_secret_value(SecretId=instance["MasterUserSecret"]["SecretArn"])["SecretString"]
    # Not the secret's own "username": moto writes "admin" there, whatever the master user is called.
    return str(instance["MasterUsername"]), str(json.loads(raw)["password"])


def environment(aws: Aws, wanted: Task, contract: Contract, place: Place) -> dict[str, str]:
    """The whole environment of a process.

    As deployed, its secrets resolved, stand-ins replaced, the task role's credentials.
    """
    stand_ins = {
        name: value
        for name, value in _stand_ins(wanted, place).items()
        if name in contract.stand_ins and name in contract.variables[wanted.process]
    }
    return {
        **base_environment(aws),
        **wanted.environment,
        **ecs_task.resolve(aws, wanted),
        **stand_ins,
        **_extras(wanted, contract, place),
        **aws.assume(wanted.task_role, f"{wanted.process}-task").environment(),
    }


def base_environment(aws: Aws) -> dict[str, str]:
    """What a child that speaks to AWS starts with: nothing of the caller's settings, so that only a role counts."""
    return {
        **plain_environment(),
        "AWS_ENDPOINT_URL": aws.endpoint,
        "AWS_REGION": aws.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def plain_environment() -> dict[str, str]:
    """Where commands are, the language, and what this interpreter itself may need to start."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
    return {**kept, "PATH": path, "PYTHONUNBUFFERED": "1"}


def migrate(wanted: Task, env: Mapping[str, str], log: Path) -> None:
    """Run the migration task to its end, as the deployment does before a new gateway starts."""
    child_processes.run("the migration", wanted.command, env=env, log=log, timeout_s=_MIGRATE_S)


def serve(wanted: Task, env: Mapping[str, str], log: Path) -> child_processes.Child:
    """Start a long-running process of the runtime with the deployed command."""
    return child_processes.start(wanted.process, wanted.command, env=env, log=log)


def wait_ready(child: child_processes.Child, contract: Contract, place: Place) -> None:
    """Wait until every door of a process answers its readiness path with 200."""
    for door in contract.doors[child.name]:
        url = place.url(door) + contract.ready[door]
        child_processes.wait_until(child, lambda url=url: answers(url), f"ready at {url}", _READY_S)  # type: ignore[misc]


def answers(url: str, headers: Mapping[str, str] | None = None) -> bool:
    """True when a GET is answered with 200 within two seconds."""
    request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310  our own http address
    try:
        with DIRECT.open(request, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stand_ins(wanted: Task, place: Place) -> dict[str, str]:
    # The migration keeps its deployed way in, the injected password; the others sign IAM tokens, which only RDS and
    # ElastiCache understand, so they get the password in the URL.
    way = wanted.environment.get("GATEHOUSE_DATABASE_AUTH", "iam")
    way = "url" if way == "iam" else way
    return {
        "GATEHOUSE_DATABASE_URL": _database_url(wanted, place.database, with_password=way == "url"),
        "GATEHOUSE_DATABASE_AUTH": way,
        "GATEHOUSE_REDIS_URL": place.redis_url,
        "GATEHOUSE_REDIS_AUTH": "url",
        "GATEHOUSE_GATEWAY_URL": place.url("gateway"),
        "GATEHOUSE_CONSOLE_URL": place.url("console"),
        "GATEHOUSE_SHARING_URL": place.url("sharing"),
        "GATEHOUSE_CORE_NETWORKS": _CORE_NETWORKS,
        # No load balancer stands in front of the doors here, so nobody's X-Forwarded-For is believed.
        "GATEHOUSE_TRUSTED_PROXIES": "",
    }


def _database_url(wanted: Task, database: Postgres, *, with_password: bool) -> str:
    """The deployed URL with this machine's address. The user stays as deployed.

    The role must be the one that RDS would have.
    """
    deployed = wanted.environment.get("GATEHOUSE_DATABASE_URL", "")
    user = urlsplit(deployed).username
    passwords = {OWNER_ROLE: database.owner_password, APP_ROLE: database.app_password}
    if user not in passwords:
        raise SandboxError(
            f"The {wanted.process} task definition connects to the database as {user!r}; there are {OWNER_ROLE} and {APP_ROLE}."
        )
    secret = f":{passwords[user]}" if with_password else ""
    return f"postgresql://{user}{secret}@{HOST}:{database.port}/{DATABASE}?sslmode=disable"


def _extras(wanted: Task, contract: Contract, place: Place) -> dict[str, str]:
    """Two things a container has and a process on a shared machine has not: ports of its own, and a network of its own.

    GATEHOUSE_<SERVICE>_PORT: the contract's port may be taken here. GATEHOUSE_BIND: in a container the door listens on
    every
    address, here it must not be reachable from the network.
    """
    ports = {f"GATEHOUSE_{door.upper()}_PORT": str(place.ports[door]) for door in contract.doors[wanted.process]}
    return {"GATEHOUSE_BIND": HOST, **ports} if ports else {}
