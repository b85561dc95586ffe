"""Registered instances of Cores."""

import json
from typing import Any

import msgspec
from gatehouse.core.cores import CoreName, CoreRecord, CoreSettings
from gatehouse.core.keys import KeyEnvironment, KeyId

from tests.runtime.console_client import Console
from tests.runtime.rows import core_row

#: Settings that exclude other settings.
EXCLUDING = {"forward_authorization": True, "credential_header": "Authorization"}


def instance(instance_id: str) -> CoreRecord:
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
        version=1,
    )


def changed_settings() -> dict[str, Any]:
    """A value other than the default for every setting, without those that exclude others."""
    schemas = msgspec.json.schema(CoreSettings)["$defs"]["CoreSettings"]["properties"]
    values = {name: _changed(schema) for name, schema in schemas.items()}
    return {name: value for name, value in values.items() if name not in EXCLUDING}


def _changed(schema: dict[str, Any]) -> Any:
    kind, default = schema.get("anyOf", [schema])[0], schema["default"]
    match kind:
        case {"examples": [example]}:
            return example
        case {"enum": choices}:
            return next(choice for choice in choices if choice != default)
        case {"type": "boolean"}:
            return not default
        case {"type": "integer"}:
            return kind["minimum"]
    return kind["items"]["examples"]


async def register(
    console: Console,
    name: str,
    *instances: str,
    url: str = "https://core.example",
    settings: dict[str, Any] | None = None,
) -> str:
    key_id = await console.create_id(name="agent")
    for instance_id in instances or ("default",):
        console.sql(
            core_row(
                "ON CONFLICT (name, instance_id) DO UPDATE SET url = excluded.url, expires_at = "
                "excluded.expires_at, draining = false, settings = excluded.settings",
                **{"name": f"'{name}'", "instance_id": f"'{instance_id}'", "url": f"'{url}'"},
                registered_by=f"'{key_id}'",
                expires_at="now() + interval '1 hour'",
                settings=f"'{json.dumps(settings or {})}'",
            )
        )
    return key_id
