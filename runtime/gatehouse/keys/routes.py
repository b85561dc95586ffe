"""What the endpoints on one key share: its id from the path, and the desk that it is managed from.

POST /v1/keys: makes a key and hands its token out, this once.

GET /v1/keys: the keys, page by page.

GET /v1/keys/{id}: one key, revoked or not.

PATCH /v1/keys/{id}: changes a key that nobody else has changed in between (If-Match, RFC 9110, section 13.1.1).

POST /v1/keys/{id}/rotate: a new token beside the old one, which works on for a grace period.

POST /v1/keys/{id}/end-grace: ends the grace period of a rotated key now.

POST /v1/keys/{id}/disable: refuses a key until it is enabled again.

POST /v1/keys/{id}/enable: lets a disabled key work again.

POST /v1/keys/{id}/revoke: ends a key for good, and says from when on that holds.

DELETE /v1/keys/{id}: takes a key out of use; it can be restored for 30 days.

POST /v1/keys/{id}/restore: brings a deleted key back to the state that it had.

POST /v1/keys/{id}/purge: removes all that is known of a deleted or revoked key; its id stays taken.

POST /v1/keys/{id}/explain: what the gateway would say to this key, check by check, using nothing up.

PUT /v1/keys/{id}/signing: how the key's requests are signed; an HMAC secret is handed out this once.

DELETE /v1/keys/{id}/signing: the key's requests need not be signed, and are not checked, any more.

GET /v1/pepper: which generations of the pepper are still needed, and by how much.
"""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header, Query, Response
from msgspec import UNSET

from gatehouse.console.dependencies import Caller, Dependencies, Door
from gatehouse.crypto.token import key_id
from gatehouse.errors import NotFound, PreconditionFailed, PreconditionRequired, Problem
from gatehouse.http.pagination import Cursors
from gatehouse.keys import signing as flow
from gatehouse.keys.models import (
    GenerationUse,
    KeyEnvironment,
    KeyFilter,
    KeyId,
    KeyPatch,
    NewKey,
    RateLimit,
    RotationOptions,
    SignatureAlgorithm,
)
from gatehouse.keys.schemas import (
    DEFAULT_SCOPES,
    ChangedKey,
    CreatedKey,
    CreateKey,
    DisableKey,
    ExplainKey,
    Explanation,
    KeyPage,
    KeyView,
    ListKeys,
    PepperGeneration,
    PepperStatus,
    PurgedKey,
    PurgeKey,
    RevokedKey,
    RevokeKey,
    RotatedKey,
    RotateKey,
    UpdateKey,
    WithReason,
    check_view,
    etag,
    key_view,
)
from gatehouse.keys.service import Changed, KeyService
from gatehouse.keys.signing_schemas import SetSigning, SigningKeySet, public_key_bytes
from gatehouse.timestamps import rfc3339
from gatehouse.verification.explanation import explain
from gatehouse.verification.models import VerificationRequest


def known_id(text: str) -> KeyId:
    """Raises NotFound for what cannot be the id of a key, as for one that does not exist."""
    found = key_id(text)
    if found is None:
        raise NotFound("There is no key with this id")
    return found


def key_service(door: Dependencies) -> KeyService:
    return KeyService(
        store=door.keys,
        clock=door.clock,
        pepper=door.pepper,
        prefix=door.key_prefix,
        random_bytes=door.random_bytes,
        confirmation_timeout_s=door.staleness_s,
    )


def changed(done: Changed, door: Dependencies) -> ChangedKey:
    return ChangedKey(key=key_view(done.key, door.key_prefix), effective=done.effective.value)


async def create_key(wish: CreateKey, door: Door, caller: Caller, response: Response) -> CreatedKey:
    """Make a key. Its token is in this answer and cannot be had again."""
    new = _order(wish, environment=door.key_environment, limit=door.default_limit)
    issued = await key_service(door).create(new, caller)
    response.headers["ETag"] = etag(issued.key)
    response.headers["Location"] = f"/v1/keys/{issued.key.id}"
    return CreatedKey(token=issued.token, key=key_view(issued.key, door.key_prefix))


def _order(wish: CreateKey, *, environment: KeyEnvironment, limit: RateLimit) -> NewKey:
    """The wish with this deployment's defaults."""
    return NewKey(
        name=wish.name,
        owner=wish.owner,
        environment=environment if wish.environment is None else KeyEnvironment(wish.environment),
        scopes=tuple(wish.scopes) if wish.scopes is not None else () if wish.roles else DEFAULT_SCOPES,
        cores=tuple(wish.cores),
        limits=(limit,) if wish.limits is None else tuple(one.limit() for one in wish.limits),
        expires_at=None if wish.expires_at is None else wish.expires_at.timestamp(),
        ttl_s=wish.ttl_s,
        roles=tuple(wish.roles),
        methods=tuple(wish.methods),
        addresses=tuple(wish.addresses),
        credits=None if wish.credits is None else wish.credits.plan(),
        tags=tuple(wish.tags),
        metadata=wish.metadata,
        notes=wish.notes,
    )


async def list_keys(query: Annotated[ListKeys, Query()], door: Door) -> KeyPage:
    """List keys in the order of their ids."""
    only = KeyFilter(
        owner=query.owner,
        state=query.state,
        environment=query.environment,
        tag=query.tag,
        family_id=query.family_id,
        expires_within_s=query.expires_within_s,
        unused_for_s=query.unused_for_s,
    )
    cursors = Cursors(door.cursor_pepper, f"keys|{only!r}")
    after = None if query.cursor is None else KeyId(cursors.read(query.cursor))
    page = await door.keys.page(after=after, size=query.limit, only=only)
    return KeyPage(
        keys=[key_view(key, door.key_prefix) for key in page.keys],
        next_cursor=None if page.next_after is None else cursors.write(page.next_after),
    )


async def show_key(id: str, door: Door, response: Response) -> KeyView:
    """Show one key. Its ETag is what an update sends back in If-Match."""
    known = key_id(id)
    key = None if known is None else await door.keys.get(known)
    if key is None:
        raise NotFound("There is no key with this id")
    response.headers["ETag"] = etag(key)
    return key_view(key, door.key_prefix)


_ETAG = re.compile(r'"([1-9][0-9]{0,17})"')


_FIX = 'send If-Match: "<version>" with the ETag of GET /v1/keys/{id}, or If-Match: * to overwrite whatever is there'


async def update_key(
    id: str,
    wish: UpdateKey,
    door: Door,
    caller: Caller,
    response: Response,
    if_match: Annotated[str | None, Header(max_length=64, description='The ETag that was read, such as "3"; or *.')] = None,
) -> ChangedKey:
    """Change a key. Answers when every live gateway decides by the new values, or when the staleness bound has passed."""
    version = _version(if_match)
    done = await key_service(door).update(
        known_id(id), _wishes(wish), caller, version=version, allow_last_admin=wish.allow_last_admin
    )
    response.headers["ETag"] = etag(done.key)
    return changed(done, door)


def _version(if_match: str | None) -> int | None:
    if if_match is None:
        raise PreconditionRequired(errors=(Problem("header.if-match", "is missing", _FIX),))
    if if_match.strip() == "*":
        return None
    match = _ETAG.fullmatch(if_match.strip())
    if match is None:
        # Another server's tag, a weak one or a list: none of them can be the present version of a key.
        raise PreconditionFailed(errors=(Problem("header.if-match", "is no version of a key", _FIX),))
    return int(match[1])


def _wishes(wish: UpdateKey) -> KeyPatch:
    sent = wish.model_fields_set

    def items(name: str) -> tuple[str, ...]:
        return tuple(getattr(wish, name))

    return KeyPatch(
        name=wish.name or UNSET,
        owner=UNSET if wish.owner is None else wish.owner,
        scopes=items("scopes") if "scopes" in sent else UNSET,
        roles=items("roles") if "roles" in sent else UNSET,
        cores=items("cores") if "cores" in sent else UNSET,
        methods=items("methods") if "methods" in sent else UNSET,
        addresses=items("addresses") if "addresses" in sent else UNSET,
        tags=items("tags") if "tags" in sent else UNSET,
        limits=UNSET if wish.limits is None else tuple(one.limit() for one in wish.limits),
        expires_at=UNSET if "expires_at" not in sent else None if wish.expires_at is None else wish.expires_at.timestamp(),
        credits=UNSET if "credits" not in sent else None if wish.credits is None else wish.credits.plan(),
        metadata=UNSET if wish.metadata is None else wish.metadata,
        require_signature=UNSET if wish.require_signature is None else wish.require_signature,
        notes=UNSET if wish.notes is None else wish.notes,
    )


async def rotate_key(id: str, door: Door, caller: Caller, response: Response, wish: RotateKey | None = None) -> RotatedKey:
    """Rotate a key. The new token is in this answer and cannot be had again. An earlier grace period ends."""
    wish = wish or RotateKey()
    turn = RotationOptions(
        grace_s=wish.grace_s,
        ttl_s=wish.ttl_s,
        expires_at=None if wish.expires_at is None else wish.expires_at.timestamp(),
        reason=wish.reason,
    )
    done = await key_service(door).rotate(known_id(id), turn, caller, allow_last_admin=wish.allow_last_admin)
    response.headers["Location"] = f"/v1/keys/{done.key.id}"
    return RotatedKey(
        token=done.token,
        key=key_view(done.key, door.key_prefix),
        previous=key_view(done.previous, door.key_prefix),
        effective=done.effective.value,
    )


async def end_grace(id: str, door: Door, caller: Caller, wish: WithReason | None = None) -> ChangedKey:
    """End the grace period of a rotated key at once. Its last_used_at says whether somebody still needs it."""
    wish = wish or WithReason()
    done = await key_service(door).end_grace_period(known_id(id), wish.reason, caller)
    return changed(done, door)


async def disable_key(id: str, door: Door, caller: Caller, wish: DisableKey | None = None) -> ChangedKey:
    """Disable a key. Twice is no error."""
    wish = wish or DisableKey()
    done = await key_service(door).disable(known_id(id), wish.reason, caller, allow_last_admin=wish.allow_last_admin)
    return changed(done, door)


async def enable_key(id: str, door: Door, caller: Caller, wish: WithReason | None = None) -> ChangedKey:
    """Enable a disabled key. Twice is no error."""
    wish = wish or WithReason()
    done = await key_service(door).enable(known_id(id), wish.reason, caller)
    return changed(done, door)


async def revoke_key(id: str, door: Door, caller: Caller, wish: RevokeKey | None = None) -> RevokedKey:
    """Revoke a key. Answers when every live gateway refuses it, or when the staleness bound has passed. Twice is no error."""
    known = key_id(id)
    if known is None:
        raise NotFound("There is no key with this id")
    reason = wish.reason if wish else ""
    done = await key_service(door).revoke(known, reason, caller)
    return RevokedKey(key=key_view(done.key, door.key_prefix), effective=done.effective.value)


async def delete_key(id: str, door: Door, caller: Caller, wish: DisableKey | None = None) -> ChangedKey:
    """Delete a key. It is refused like an unknown one, and can be restored for 30 days. Twice is no error."""
    wish = wish or DisableKey()
    done = await key_service(door).delete(known_id(id), wish.reason, caller, allow_last_admin=wish.allow_last_admin)
    return changed(done, door)


async def restore_key(id: str, door: Door, caller: Caller, wish: WithReason | None = None) -> ChangedKey:
    """Restore a deleted key: active, disabled or revoked, as it was."""
    wish = wish or WithReason()
    done = await key_service(door).restore(known_id(id), wish.reason, caller)
    return changed(done, door)


async def purge_key(id: str, wish: PurgeKey, door: Door, caller: Caller) -> PurgedKey:
    """Purge a deleted or revoked key: there is no way back. The audit trail keeps what was done. Twice is no error."""
    done = await key_service(door).purge(known_id(id), wish.confirm, wish.reason, caller, counters=door.counters)
    return PurgedKey(
        id=done.key_id,
        purged_at=rfc3339(done.purged_at),
        effective=done.effective.value,
        counters_removed=done.counters_removed,
    )


async def explain_key(id: str, door: Door, wish: ExplainKey | None = None) -> Explanation:
    """Explain what the gateway would decide on this key, if its token came with this question. Uses nothing up."""
    wish = wish or ExplainKey()
    key = await door.keys.get(known_id(id))
    if key is None:
        raise NotFound("There is no key with this id")
    question = VerificationRequest(
        scopes=tuple(wish.scopes), core=wish.core, cost=wish.cost, address=wish.address, method=wish.method
    )
    found = await explain(
        key,
        question,
        environment=door.key_environment,
        default_limit=door.default_limit,
        limits=door.limits,
        now=door.clock.now(),
    )
    return Explanation(
        code=found.code.value, checks=[check_view(one) for one in found.checks], decided_at=rfc3339(found.decided_at)
    )


async def set_signing(id: str, wish: SetSigning, door: Door, caller: Caller) -> SigningKeySet:
    """Set or replace a key's signing key. The secret of hmac-sha256 is in this answer and cannot be had again."""
    asked = flow.SigningOptions(
        algorithm=SignatureAlgorithm(wish.algorithm),
        public_key=None if wish.public_key is None else public_key_bytes(wish.public_key),
        required=wish.required,
    )
    done = await flow.set_signing(key_service(door), known_id(id), asked, caller, allow_last_admin=wish.allow_last_admin)
    return SigningKeySet(secret=done.secret, key=key_view(done.key, door.key_prefix), effective=done.effective.value)


async def remove_signing(id: str, door: Door, caller: Caller) -> ChangedKey:
    """Remove a key's signing key. Refused while the key requires signatures."""
    return changed(await flow.remove_signing(key_service(door), known_id(id), caller), door)


async def pepper_status(door: Door) -> PepperStatus:
    """Tell how far a rotation of the pepper has come. Keys move to the newest generation when they are used."""
    uses = {use.generation: use for use in await door.keys.generations()}
    writing = await key_service(door).writable_generation()
    rows = []
    for generation in sorted({*uses, *door.pepper.generations} - {0}):
        use = uses.get(generation, GenerationUse(generation, 0, 0, 0))
        rows.append(
            PepperGeneration(
                generation=generation,
                held=generation in door.pepper.generations,
                keys=use.keys,
                ids=use.ids,
                cores=use.cores,
                imported=use.imported,
                signing=use.signing,
                removable=generation not in {door.pepper.current, writing}
                and not (use.keys or use.cores or use.imported or use.signing),
            )
        )
    return PepperStatus(current=door.pepper.current, writing=writing, generations=rows)
