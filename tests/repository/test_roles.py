"""Roles of the endpoints of the console."""

import tomllib
from pathlib import Path

from gatehouse.core.roles import Role
from gatehouse.services.console.asgi import ENDPOINTS


def test_roles_equal_the_independent_table() -> None:
    path = Path(__file__).with_name("roles.toml")
    table = {name: set(row["operations"]) for name, row in tomllib.loads(path.read_text()).items()}
    everyone = table.pop("everyone")
    with_roles = [endpoint for endpoint in ENDPOINTS if endpoint.roles]
    table[Role.OWNER.value] = {endpoint.operation_id for endpoint in with_roles}
    for role in Role:
        declared = {row.operation_id for row in with_roles if role.value in row.roles}
        assert declared == table[role.value] | everyone, (
            f"check that {role.value} may call these operations, then change {path.name}"
        )
    assert len(with_roles) > 40
