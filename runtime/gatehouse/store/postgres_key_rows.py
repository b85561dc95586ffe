"""How a key becomes a row of `api_key` and a row a key, and how a list is narrowed; it runs no statement."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, func

from gatehouse.core.auditchain import as_datetime, as_seconds
from gatehouse.core.roles import granted
from gatehouse.store.ports import KeyFilter, StoredKey
from gatehouse.store.postgres_tables import api_key, key_activity
from gatehouse.types import CreditPlan, KeyEnvironment, KeyId, KeyRecord, KeyState, Limit, SignatureAlgorithm, Signing

EXPIRED = "expired"


def filters(only: KeyFilter) -> list[ColumnElement[bool]]:
    """The conditions of a list. Purged keys are shown to nobody who does not ask for them."""
    columns = {"owner": only.owner, "environment": only.environment, "lineage_id": only.lineage}
    found: list[ColumnElement[bool]] = [api_key.c[name] == value for name, value in columns.items() if value is not None]
    found += _in_state(only.state)
    if only.tag is not None:
        found.append(api_key.c.tags.contains([only.tag]))
    if only.expires_within_s is not None:
        found += _in_state(KeyState.ACTIVE.value)
        found.append(api_key.c.expires_at <= func.now() + timedelta(seconds=only.expires_within_s))
    if only.unused_for_s is not None:
        found += _in_state(KeyState.ACTIVE.value)
        used = func.greatest(api_key.c.created_at, key_activity.c.last_used_at)  # greatest() disregards a missing use
        found.append(used <= func.now() - timedelta(seconds=only.unused_for_s))
    return found


def _in_state(state: str | None) -> list[ColumnElement[bool]]:
    if state is None:
        return [api_key.c.state != KeyState.PURGED.value]
    expired = api_key.c.expires_at <= func.now()
    if state == EXPIRED:
        return [api_key.c.state == KeyState.ACTIVE.value, expired]
    if state == KeyState.ACTIVE.value:
        return [api_key.c.state == state, (api_key.c.expires_at.is_(None)) | (~expired)]
    return [api_key.c.state == state]


def values(key: StoredKey) -> dict[str, Any]:
    """Every column but the id and those that the database numbers itself."""
    record = key.record
    return {
        "digest": record.digest,
        "pepper_generation": record.pepper_generation,
        "environment": record.environment.value,
        "state": record.state.value,
        "name": record.name,
        "owner": record.owner,
        "scopes": list(key.own_scopes),
        "roles": list(key.roles),
        "cores": list(record.cores),
        "methods": list(record.methods),
        "addresses": list(record.addresses),
        "limits": [
            {
                "name": one.name,
                "quota": one.quota,
                "window_s": one.window_s,
                "burst": one.burst,
                **({"cost": one.cost} if one.cost != 1 else {}),
            }
            for one in record.limits
        ],
        "has_credits": record.has_credits,
        "expires_at": _instant(record.expires_at),
        "created_at": as_datetime(key.created_at),
        "created_by": key.created_by,
        "tags": list(key.tags),
        "metadata": key.metadata,
        "notes": key.notes,
        "lineage_id": record.subject,
        "generation": key.generation,
        "successor_id": key.successor_id,
        "rotated_at": _instant(key.rotated_at),
        "revoked_at": _instant(key.revoked_at),
        "revoked_by": key.revoked_by,
        "revoke_reason": key.revoke_reason,
        "deleted_at": _instant(key.deleted_at),
        "deleted_by": key.deleted_by,
        "state_before": None if key.state_before is None else key.state_before.value,
        "purged_at": _instant(key.purged_at),
        "id_generation": key.id_generation,
        "signing_algorithm": None if record.signing is None else record.signing.algorithm.value,
        "signing_key": None if record.signing is None else record.signing.key,
        "signing_generation": 0 if record.signing is None else record.signing.pepper_generation,
        "require_signature": record.signing is not None and record.signing.required,
    }


def stored(row: Row[Any]) -> StoredKey:
    """A row of `api_key` with the columns of its purse and its last use."""
    record = KeyRecord(
        id=KeyId(row.id),
        digest=bytes(row.digest),
        pepper_generation=row.pepper_generation,
        environment=KeyEnvironment(row.environment),
        state=KeyState(row.state),
        name=row.name,
        owner=row.owner,
        scopes=granted(row.scopes, row.roles),
        cores=tuple(row.cores),
        limits=tuple(Limit(**limit) for limit in row.limits),
        expires_at=_seconds(row.expires_at),
        version=row.version,
        lineage=KeyId(row.lineage_id),
        addresses=tuple(row.addresses),
        methods=tuple(row.methods),
        has_credits=row.has_credits,
        signing=_signing(row),
    )
    plan = None
    if row.has_credits and row.remaining is not None:
        plan = CreditPlan(row.remaining, row.refill_amount, row.refill_every)
    return StoredKey(
        record=record,
        created_at=as_seconds(row.created_at),
        created_by=row.created_by,
        own_scopes=tuple(row.scopes),
        roles=tuple(row.roles),
        tags=tuple(row.tags),
        metadata=dict(row.metadata),
        notes=row.notes,
        credits=plan,
        generation=row.generation,
        successor_id=None if row.successor_id is None else KeyId(row.successor_id),
        rotated_at=_seconds(row.rotated_at),
        revoked_at=_seconds(row.revoked_at),
        revoked_by=row.revoked_by,
        revoke_reason=row.revoke_reason,
        deleted_at=_seconds(row.deleted_at),
        deleted_by=row.deleted_by,
        state_before=None if row.state_before is None else KeyState(row.state_before),
        purged_at=_seconds(row.purged_at),
        id_generation=row.id_generation,
        last_used_at=_seconds(row.last_used_at),
    )


def _instant(seconds: float | None) -> Any:
    return None if seconds is None else as_datetime(seconds)


def _seconds(instant: Any) -> float | None:
    return None if instant is None else as_seconds(instant)


def _signing(row: Row[Any]) -> Signing | None:
    if row.signing_algorithm is None:
        return None
    algorithm = SignatureAlgorithm(row.signing_algorithm)
    return Signing(algorithm, bytes(row.signing_key), row.signing_generation, row.require_signature)
