"""The value of every variable in the contract, for each process."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components import checkpoints
from components.contract import Contract
from components.naming import Naming
from components.settings import Settings
from components.workloads import Core


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the processes meet.

    database: host name for the application; database_direct: the same of the database itself, when a proxy is before it;
    database_name; application and owner: PostgreSQL roles. cache: host name; cache_user; cache_group: replication group
    id.
    tokens: table name. urls: public URL by door. proxies: networks of the load balancer. core_tier: networks in which
    Cores run beside the gate, empty without one.
    """

    database: pulumi.Input[str]
    database_direct: pulumi.Input[str]
    database_name: str
    application: str
    owner: str
    cache: pulumi.Input[str]
    cache_user: str
    cache_group: str
    tokens: str
    urls: Mapping[str, str]
    proxies: tuple[str, ...]
    core_tier: tuple[str, ...] = ()


def variables(
    settings: Settings, names: Naming, contract: Contract, around: Surroundings
) -> dict[str, dict[str, pulumi.Input[str]]]:
    """Process or function, then variable, then value. Names are the contract's; a variable without a value here raises
    KeyError."""
    shared: dict[str, pulumi.Input[str]] = {
        "GATEHOUSE_ENVIRONMENT": settings.environment,
        "GATEHOUSE_KEY_PREFIX": settings.key_prefix,
        "GATEHOUSE_KEY_ENVIRONMENT": settings.key_environment,
        "GATEHOUSE_DATABASE_URL": _database_url(around.application, around.database, around),
        "GATEHOUSE_DATABASE_AUTH": "iam",
        "GATEHOUSE_REDIS_URL": pulumi.Output.format("rediss://{}@{}:6379/0", around.cache_user, around.cache),
        "GATEHOUSE_REDIS_AUTH": "iam",
        "GATEHOUSE_REDIS_CLUSTER": around.cache_group,
        "GATEHOUSE_TOKENS_TABLE": around.tokens,
        "GATEHOUSE_GATE_URL": around.urls["gate"],
        "GATEHOUSE_CONSOLE_URL": around.urls["console"],
        "GATEHOUSE_SHARE_URL": around.urls["share"],
        "GATEHOUSE_CORE_NETWORKS": ",".join((*settings.network.core_networks, *around.core_tier)),
        "GATEHOUSE_TRUSTED_PROXIES": ",".join(around.proxies),
        "GATEHOUSE_LOG_LEVEL": settings.log_level,
        "GATEHOUSE_METRICS_NAMESPACE": names.namespace,
        "AWS_REGION": names.region,
        **checkpoints.variables(names),
    }
    services = settings.services
    own: dict[str, dict[str, pulumi.Input[str]]] = {
        "gate": {"GATEHOUSE_WORKERS": str(services.gate.workers)},
        # The owner signs in with the password that RDS made; ECS injects it.
        "migrate": {
            "GATEHOUSE_DATABASE_URL": _database_url(around.owner, around.database_direct, around),
            "GATEHOUSE_DATABASE_AUTH": "password",
        },
    }
    told = {name: process.variables for name, process in contract.processes.items()}
    told |= {name: function.variables for name, function in contract.functions.items()}
    return {name: {variable: (shared | own.get(name, {}))[variable] for variable in wanted} for name, wanted in told.items()}


def of_core(core: Core, url: str, gate_url: str) -> dict[str, pulumi.Input[str]]:
    """What a Core beside the gate is told."""
    return {"CORE_NAME": core.name, "CORE_URL": url, "GATEHOUSE_GATE_URL": gate_url}


def _database_url(user: str, host: pulumi.Input[str], around: Surroundings) -> pulumi.Output[str]:
    """TLS with the server's name checked; no password is ever part of it."""
    return pulumi.Output.format("postgresql://{}@{}:5432/{}?sslmode=verify-full", user, host, around.database_name)
