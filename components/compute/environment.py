"""Environment variables of every ECS task and Lambda function."""

from collections.abc import Mapping, Sequence

import pulumi

from components.context import Stack, optional_variables
from components.iam import object_policies, role_policies, sharing_policies
from components.settings.data import CACHE_PORT, DATABASE_PORT
from components.settings.workloads import CONSOLE

DRAIN_S = 10
"""Time for which a stopping task accepts requests. ECS can send SIGTERM before the load balancer
has deregistered the task.
"""
REQUESTS_S = 45
"""Time after the drain time within which requests in progress must complete."""
TRACES_ENDPOINT = "http://127.0.0.1:4318/v1/traces"
"""URL of the collector, which listens on the loopback interface of the task."""

Environment = dict[str, pulumi.Input[str]]


Cidrs = Mapping[str, Sequence[pulumi.Input[str]]]
"""CIDR blocks of the subnets, keyed by tier."""


def environments(
    stack: Stack, database: pulumi.Input[str], cache: pulumi.Input[str], cidrs: Cidrs
) -> dict[str, Environment]:
    """Return the variables of each task and function, keyed by name. Raises KeyError if a variable
    in the contract has no value.

    database, cache: Host names of the DB instance and of the primary node of the cache.
    """
    settings, names, contract = stack.settings, stack.names, stack.contract
    values = _common(stack, database, cache, cidrs)
    overrides: dict[str, Environment] = {
        "gateway": {"GATEHOUSE_WORKERS": str(settings.services.gateway.workers)},
        # The owner of the schema logs in with the password that RDS manages. In PostgreSQL, the
        # creator of the application role is a member of it, and thereby of rds_iam, whose members
        # RDS accepts with tokens only. RDS makes no such member (docs/decisions/0041).
        "migrate": {
            "GATEHOUSE_DATABASE_URL": _database_url(role_policies.DATABASE_OWNER, database),
            "GATEHOUSE_DATABASE_AUTH": "password_or_iam",
        },
    }
    if settings.services.cloudfront:
        # The internal load balancer of the console is in the app tier. It does not append an
        # address: the last one is from CloudFront (components/edge/load_balancer.py).
        services = contract.processes[CONSOLE].services
        tiers = ["app" if service.name == CONSOLE else "edge" for service in services]
        trusted = [cidr for tier in tiers for cidr in cidrs[tier]]
        overrides[CONSOLE] = {"GATEHOUSE_TRUSTED_PROXIES": _joined(trusted)}
    for core in settings.cores:
        # The security groups allow this HTTP traffic only from the gateway and the console.
        url = f"http://{core.name}.{names.core_zone}:{core.port}"
        overrides[core.process_name] = {"CORE_NAME": core.name, "CORE_URL": url}
    variables = {name: task.variables for name, task in contract.tasks.items()}
    variables |= {name: function.variables for name, function in contract.functions.items()}
    return {
        name: {key: (values | overrides.get(name, {}))[key] for key in keys}
        for name, keys in variables.items()
    }


def _joined(networks: Sequence[pulumi.Input[str]]) -> pulumi.Output[str]:
    return pulumi.Output.all(*networks).apply(",".join)


def _common(
    stack: Stack, database: pulumi.Input[str], cache: pulumi.Input[str], cidrs: Cidrs
) -> Environment:
    settings, names, contract = stack.settings, stack.names, stack.contract
    # The Cores of the stack run in the app tier.
    core_networks = (*settings.network.core_networks, *(cidrs["app"] if settings.cores else ()))
    return {
        "GATEHOUSE_ENVIRONMENT": settings.stack,
        "GATEHOUSE_DRAIN_S": str(DRAIN_S),
        "GATEHOUSE_STOP_TIMEOUT_S": str(REQUESTS_S),
        # The load balancer connects to the tasks with HTTPS, and does not validate their
        # certificates.
        "GATEHOUSE_TLS": "self_signed",
        "GATEHOUSE_KEY_PREFIX": settings.key_prefix,
        "GATEHOUSE_KEY_ENVIRONMENT": settings.key_environment,
        "GATEHOUSE_DATABASE_URL": _database_url(role_policies.DATABASE_USER, database),
        "GATEHOUSE_DATABASE_AUTH": "iam",
        "GATEHOUSE_REDIS_URL": pulumi.Output.format(
            "rediss://{}@{}:{}/0", names.name("app"), cache, CACHE_PORT
        ),
        "GATEHOUSE_REDIS_AUTH": "iam",
        "GATEHOUSE_REDIS_CLUSTER": names.name("cache"),
        "GATEHOUSE_GATEWAY_URL": contract.urls["gateway"],
        "GATEHOUSE_CORES_DOMAIN": contract.cores_domain,
        "GATEHOUSE_CONSOLE_URL": contract.urls["console"],
        "GATEHOUSE_SHARING_URL": contract.urls["sharing"],
        "GATEHOUSE_CORE_NETWORKS": _joined(core_networks),
        "GATEHOUSE_CORE_CREDENTIALS_PREFIX": names.secret(role_policies.CORE_CREDENTIALS),
        "GATEHOUSE_TRUSTED_PROXIES": _joined(cidrs["edge"]),
        "GATEHOUSE_LOG_LEVEL": settings.log_level,
        "GATEHOUSE_DOCS_URL": settings.docs_url or "",
        "GATEHOUSE_LOGS": f"cloudwatch:{','.join(role_policies.searched_logs(stack))}",
        # The application treats an empty value as unset.
        "GATEHOUSE_TRACES_ENDPOINT": TRACES_ENDPOINT if settings.telemetry.collector else "",
        "GATEHOUSE_TRACES_SAMPLE_PERCENT": str(settings.telemetry.traces_sample_percent),
        "GATEHOUSE_METRICS_NAMESPACE": names.namespace,
        "AWS_REGION": names.region,
        **object_policies.checkpoint_variables(names),
        **sharing_policies.variables(names),
        **optional_variables(settings),
    }


def _database_url(user: str, host: pulumi.Input[str]) -> pulumi.Output[str]:
    """Return a URL without a password. The client verifies the server's certificate and host
    name.
    """
    return pulumi.Output.format(
        "postgresql://{}@{}:{}/{}?sslmode=verify-full",
        user,
        host,
        DATABASE_PORT,
        role_policies.DATABASE,
    )
