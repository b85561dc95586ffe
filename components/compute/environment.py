"""The value of every variable in the contract, for each process."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.contract import Contract
from components.iam import checkpoint_policies, role_policies
from components.naming import Naming
from components.network.subnets import tier_cidrs
from components.settings.model import Settings
from components.settings.workloads import CoreSettings


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Host names that the processes meet, known once they exist. database: for the application; database_direct: of the database
    itself, when a proxy is before it. cache: of Valkey."""

    database: pulumi.Input[str]
    database_direct: pulumi.Input[str]
    cache: pulumi.Input[str]


def environment(
    settings: Settings, names: Naming, contract: Contract, urls: Mapping[str, str], around: Endpoints
) -> dict[str, dict[str, pulumi.Input[str]]]:
    """Process or function, then variable, then value. Names are the contract's; a variable without a value here raises
    KeyError. urls: public URL of each service."""
    # A Core beside the gateway is in the same tier; elsewhere the settings say where Cores may be.
    core_networks = (*settings.network.core_networks, *(tier_cidrs(settings.network, "app") if settings.cores else ()))
    shared: dict[str, pulumi.Input[str]] = {
        "GATEHOUSE_ENVIRONMENT": settings.environment,
        "GATEHOUSE_KEY_PREFIX": settings.key_prefix,
        "GATEHOUSE_KEY_ENVIRONMENT": settings.key_environment,
        "GATEHOUSE_DATABASE_URL": _database_url(role_policies.DATABASE_USER, around.database),
        "GATEHOUSE_DATABASE_AUTH": "iam",
        "GATEHOUSE_REDIS_URL": pulumi.Output.format("rediss://{}@{}:6379/0", names.name("app"), around.cache),
        "GATEHOUSE_REDIS_AUTH": "iam",
        "GATEHOUSE_REDIS_CLUSTER": names.name("cache"),
        "GATEHOUSE_SECRET_LINKS_TABLE": names.name("tokens"),
        "GATEHOUSE_GATEWAY_URL": urls["gateway"],
        "GATEHOUSE_CONSOLE_URL": urls["console"],
        "GATEHOUSE_SHARING_URL": urls["sharing"],
        "GATEHOUSE_CORE_NETWORKS": ",".join(core_networks),
        "GATEHOUSE_TRUSTED_PROXIES": ",".join(tier_cidrs(settings.network, "edge")),
        "GATEHOUSE_LOG_LEVEL": settings.log_level,
        "GATEHOUSE_METRICS_NAMESPACE": names.namespace,
        "AWS_REGION": names.region,
        **checkpoint_policies.variables(names),
        **optional_variables(settings),
    }
    services = settings.services
    own: dict[str, dict[str, pulumi.Input[str]]] = {
        "gateway": {"GATEHOUSE_WORKERS": str(services.gateway.workers)},
        # The owner signs in with the password that RDS made; ECS injects it.
        "migrate": {
            "GATEHOUSE_DATABASE_URL": _database_url(role_policies.DATABASE_OWNER, around.database_direct),
            "GATEHOUSE_DATABASE_AUTH": "password",
        },
    }
    told = {name: process.variables for name, process in contract.processes.items()}
    told |= {name: function.variables for name, function in contract.functions.items()}
    return {name: {variable: (shared | own.get(name, {}))[variable] for variable in wanted} for name, wanted in told.items()}


def of_core(names: Naming, core: CoreSettings, gateway_url: str) -> dict[str, pulumi.Input[str]]:
    """What a Core beside the gateway is told."""
    return {"CORE_NAME": core.name, "CORE_URL": names.core_url(core.name, core.port), "GATEHOUSE_GATEWAY_URL": gateway_url}


def _database_url(user: str, host: pulumi.Input[str]) -> pulumi.Output[str]:
    """TLS with the server's name checked; no password is ever part of it."""
    return pulumi.Output.format("postgresql://{}@{}:5432/{}?sslmode=verify-full", user, host, role_policies.DATABASE)


def optional_variables(settings: Settings) -> dict[str, str]:
    """The optional variables that the stack sets, with their values."""
    oidc, notifications = settings.oidc, settings.notifications
    values = {
        "GATEHOUSE_LEGACY_FILES": ",".join(settings.legacy_files),
        "GATEHOUSE_WEBHOOK_NETWORKS": ",".join(notifications.webhook_networks),
        "GATEHOUSE_NOTIFICATION_TOPIC": notifications.topic_arn,
    }
    if oidc.issuer:
        values |= {
            "GATEHOUSE_OIDC_ISSUER": oidc.issuer,
            "GATEHOUSE_OIDC_AUDIENCE": oidc.audience,
            "GATEHOUSE_OIDC_JWKS_URL": oidc.jwks_url,
            "GATEHOUSE_OIDC_CLAIM": oidc.claim,
            "GATEHOUSE_OIDC_ROLES": ",".join(oidc.roles),
        }
    values |= dict(entry.split("=", 1) for entry in settings.environment_variables)
    return {name: value for name, value in values.items() if value}


def optional_secrets(settings: Settings) -> dict[str, str]:
    """The optional variables that ECS injects from a secret, with the ARN of the secret."""
    arn = settings.leak_reports.secret_arn
    return {"GATEHOUSE_LEAK_SECRET": arn} if arn else {}
