"""Records of registered instances of Cores."""

from __future__ import annotations

from gatehouse.cores.models import CoreName, CoreRecord
from gatehouse.keys.models import KeyEnvironment, KeyId


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
        content_version=0,
        version=1,
    )
