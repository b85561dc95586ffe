"""A running gateway for the clients."""

from tests.runtime.conftest import (
    closed_port,
    database,
    migrated_database,
    module_pool,
    postgres_server,
    redis_url,
    silent_port,
)
from tests.runtime.services.gateway.conftest import gateway, gateway_process, module_gateway

__all__ = [
    "closed_port",
    "database",
    "gateway",
    "gateway_process",
    "migrated_database",
    "module_gateway",
    "module_pool",
    "postgres_server",
    "redis_url",
    "silent_port",
]
