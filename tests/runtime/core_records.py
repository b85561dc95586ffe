"""Registered instances of Cores."""

from __future__ import annotations

from gatehouse.core.cores import CoreName, CoreRecord
from gatehouse.core.keys import KeyEnvironment, KeyId

from tests.runtime.console_client import Console


def instance(instance_id: str, *, healthy: bool = True) -> CoreRecord:
    """A live instance of the Core docs."""
    return CoreRecord(
        name=CoreName("docs"),
        instance_id=instance_id,
        url=f"http://{instance_id}",
        environment=KeyEnvironment.TEST,
        lease_id=f"lease-{instance_id}",
        registered_by=KeyId("x"),
        pepper_generation=1,
        expires_at=1e12,
        draining=False,
        health_path="",
        healthy=healthy,
        version=1,
    )


async def register(
    console: Console, name: str, *instances: str, url: str = "https://core.example"
) -> str:
    """Inserts a registration as a gateway does, and returns the ID of its key."""
    key_id: str = (await console.create(name="agent"))["key"]["id"]
    for instance_id in instances or ("default",):
        console.database.sql(
            "INSERT INTO core (name, instance_id, url, environment, registered_by, lease_id, "  # noqa: S608
            f"pepper_generation, expires_at) VALUES ('{name}', '{instance_id}', '{url}', 'test', "
            f"'{key_id}', 'lease', 1, now() + interval '1 hour') ON CONFLICT (name, instance_id) "
            "DO UPDATE SET url = excluded.url, expires_at = excluded.expires_at, draining = false"
        )
    return key_id
