"""Bounds of the tables of plans and limits."""

from typing import Any

import pytest
from gatehouse.features.customers.repository import OBJECTS_MAX

from tests.runtime.console_client import Console

BODIES: dict[str, dict[str, Any]] = {
    "plans": {"name": "one-more"},
    "limits": {"name": "one-more", "quota": 1, "window_s": 60},
}
VALUES = {
    "plans": "INSERT INTO plan (name, description, shared_limits, created_at, created_by) "
    "SELECT 'p' || n, '', '[]', now(), 't'",
    "limits": "INSERT INTO named_limit (name, description, quota, window_s, burst, created_at, "
    "created_by) SELECT 'l' || n, '', 1, 60, 1, now(), 't'",
}


@pytest.mark.parametrize("kind", BODIES)
async def test_number_of_plans_and_limits_is_bounded(console: Console, kind: str) -> None:
    before = len((await console.get(f"/v1/{kind}")).json()[kind])
    source = f"FROM generate_series(1, {OBJECTS_MAX - before}) AS n"
    console.sql(f"{VALUES[kind]} {source}")
    refused = await console.post(f"/v1/{kind}", json=BODIES[kind])
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    name = "p1" if kind == "plans" else "l1"
    assert (await console.delete(f"/v1/{kind}/{name}")).status_code == 204
    assert (await console.post(f"/v1/{kind}", json=BODIES[kind])).status_code == 201
