"""The matrix of roles and console operations, as declared by the endpoints and as listed in
`roles.toml`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from gatehouse.core.roles import Role
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.services.console.asgi import ENDPOINTS

TABLE = Path(__file__).with_name("roles.toml")
OWNER = "owner"
NAMES = tuple(role.value for role in Role)
WITH_ROLES = tuple(endpoint for endpoint in ENDPOINTS if endpoint.roles)


def declared() -> dict[str, frozenset[str]]:
    """The operations that each role can call, as the endpoints declare them."""
    return {
        name: frozenset(row.operation_id for row in WITH_ROLES if name in row.roles)
        for name in NAMES
    }


def table() -> dict[str, frozenset[str]]:
    """The operations that each role can call, as `roles.toml` lists them."""
    rows = {
        name: frozenset(row["operations"])
        for name, row in tomllib.loads(TABLE.read_text(encoding="utf-8")).items()
    }
    everyone = rows.pop("everyone")
    return {
        **{name: operations | everyone for name, operations in rows.items()},
        OWNER: all_operations(),
    }


def all_operations() -> frozenset[str]:
    """The operations that require a role."""
    return frozenset(endpoint.operation_id for endpoint in WITH_ROLES)


def path_of(endpoint: Endpoint) -> str:
    """The path of an endpoint with the ID of a resource that does not exist."""
    return re.sub(r"\{\w+\}", "000000000000", endpoint.path)
