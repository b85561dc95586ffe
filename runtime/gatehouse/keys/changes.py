"""Changed keys and the details of their audit events. Pure."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from gatehouse.audit.models import Details
from gatehouse.crypto.token import NULL_DIGEST
from gatehouse.errors import BadRequest, Problem
from gatehouse.keys.models import CreditPlan, Key, KeyPatch, KeyState, RateLimit
from gatehouse.keys.roles import granted

#: Fields that KeyPatch shares with Key and that are copied unchanged.
_PATCHED = tuple(name for name in KeyPatch.__struct_fields__ if name in Key.__struct_fields__ and name != "scopes")

#: Free-text fields: the audit trail records that they changed, not their values.
_UNRECORDED = frozenset({"metadata", "notes"})


def patched(key: Key, patch: KeyPatch) -> Key:
    """The key with the changes of a patch. Raises BadRequest if it requires signatures without a signing key."""
    changes = {name: value for name in _PATCHED if (value := getattr(patch, name)) is not UNSET}
    own_scopes = key.own_scopes if isinstance(patch.scopes, UnsetType) else patch.scopes
    changed = msgspec.structs.replace(key, **changes, own_scopes=own_scopes)
    signing = key.signing
    if not isinstance(patch.require_signature, UnsetType):
        if signing is None and patch.require_signature:
            problem = Problem("body.require_signature", "requires a signing key", "set one first: PUT /v1/keys/{id}/signing")
            raise BadRequest("The key has no signing key", errors=(problem,))
        signing = signing and msgspec.structs.replace(signing, required=patch.require_signature)
    return msgspec.structs.replace(
        changed, scopes=granted(own_scopes, changed.roles), has_credits=changed.credits is not None, signing=signing
    )


def tombstone(key: Key, now: float) -> Key:
    """An empty row that keeps the id reserved. Fields that are not listed get their default."""
    return Key(
        id=key.id,
        digest=NULL_DIGEST,
        pepper_generation=key.pepper_generation,
        environment=key.environment,
        state=KeyState.PURGED,
        name="",
        owner="",
        scopes=(),
        cores=(),
        limits=(),
        expires_at=None,
        version=key.version,
        family_id=key.family_id,
        scheme=key.scheme,
        created_at=now,
        created_by="",
        generation=key.generation,
        purged_at=now,
    )


def creation_details(key: Key) -> Details:
    return {
        "name": key.name,
        "owner": key.owner,
        "environment": key.environment.value,
        "scopes": list(key.own_scopes),
        "roles": list(key.roles),
        "cores": list(key.cores),
        "methods": list(key.methods),
        "addresses": list(key.addresses),
        "limits": _limit_texts(key.limits),
        "credits": None if key.credits is None else key.credits.remaining,
        "expires_at": key.expires_at,
        "pepper_generation": key.pepper_generation,
    }


def patch_details(key: Key, patch: KeyPatch) -> Details:
    """Names of the changed fields, and the new values of those that a verification depends on."""
    names = sorted(name for name in patch.__struct_fields__ if getattr(patch, name) is not UNSET)
    details: Details = {"changed": list(names), "version": key.version}
    for name in names:
        value = getattr(patch, name)
        if name in _UNRECORDED:
            continue
        if name == "limits":
            details[name] = _limit_texts(value)
        elif isinstance(value, CreditPlan):
            details[name] = f"{value.remaining}" + (
                f", {value.refill_amount} every {value.refill_every}" if value.refill_every else ""
            )
        else:
            details[name] = list(value) if isinstance(value, tuple) else value
    return details


def _limit_texts(limits: tuple[RateLimit, ...]) -> list[str]:
    return [
        f"{limit.name}:{limit.quota}/{limit.window_s}s burst {limit.burst}" + (f" cost {limit.cost}" if limit.cost != 1 else "")
        for limit in limits
    ]
