"""Endpoints for API keys."""

from collections.abc import Callable
from functools import partial

import msgspec

from gatehouse.core.clock import rfc3339
from gatehouse.core.keys import Key
from gatehouse.core.lifecycle import Action
from gatehouse.core.roles import KEY_CREATORS, KEY_MANAGERS, KEY_READERS, OPERATORS, OWNERS, Role
from gatehouse.core.tokens.token import id_start, is_marked, key_id
from gatehouse.features.keys.repository import KeyPosition
from gatehouse.features.keys.schemas import (
    ChangedKey,
    CreatedKey,
    CreateKey,
    KeyFilter,
    KeyPage,
    KeyView,
    ListKeys,
    PurgedKey,
    PurgeKey,
    ReasonBody,
    RevokedKey,
    RotatedKey,
    RotateKey,
    UpdateKey,
    key_view,
    settings_of,
)
from gatehouse.features.keys.service import Changed, KeyService, existing_id
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.platform.web.fields import IF_MATCH, TOTAL_MAX, etag, expected_version
from gatehouse.platform.web.request import Request


async def create_key(request: Request, body: CreateKey, keys: KeyService) -> CreatedKey:
    """Create a key.

    The token, or the link that shows the token once, is returned only in this response.
    """
    await _check_customer(request, body.customer_id, keys)
    created = await keys.create(body, request.actor, owner=request.authenticated.owner)
    request.add_header(b"etag", etag(created.key.version))
    request.add_header(b"location", f"/v1/keys/{created.key.id}")
    return CreatedKey(**created.issued, key=_view(keys, created.key))


async def _check_customer(request: Request, customer_id: str | None, keys: KeyService) -> None:
    """Check that the role `service` permits keys of the customer. Raises BadRequest."""
    creator = request.authenticated.creator
    if creator is not None and customer_id is not None:
        await keys.check_creator(customer_id, creator)


async def list_keys(request: Request, query: ListKeys, keys: KeyService) -> KeyPage:
    """List keys.

    Returns the keys that match all filters, in the order that `sort` specifies. The default order
    is by ID. The role `service` lists the keys of customers that it created.
    """
    creator = request.authenticated.creator
    only, start = msgspec.convert(query, KeyFilter, from_attributes=True), None
    if query.search is not None:
        known = key_id(query.search)
        is_id = known is not None and is_marked(known, keys.pepper)
        start = known if is_id else id_start(query.search, keys.prefix)
    cursors = request.cursors(f"keys|{only!r}|{query.sort}")
    after = cursors.read(query.cursor, KeyPosition)
    page, next_after = await keys.store.page(
        after=after, size=query.limit, only=only, id_start=start, sort=query.sort, creator=creator
    )
    total = await keys.store.count(only, start, TOTAL_MAX, creator) if query.total else None
    views = [_view(keys, key) for key in page]
    return KeyPage(views, cursors.write(next_after), total)


async def show_key(request: Request, id: str, keys: KeyService) -> KeyView:
    """Retrieve a key.

    To update the key, send its ETag in `If-Match`.
    """
    key = await keys.get(id)
    request.add_header(b"etag", etag(key.version))
    return _view(keys, key)


async def update_key(request: Request, id: str, body: UpdateKey, keys: KeyService) -> ChangedKey:
    """Update a key.

    Responds when every live gateway worker has confirmed the change, or when the propagation bound
    is reached.
    """
    version, settings = expected_version(request.header(b"if-match")), settings_of(body)
    await _check_customer(request, settings.get("customer_id"), keys)
    changed = await keys.update(
        existing_id(id), settings, request.actor, version=version, roles=request.authenticated.roles
    )
    request.add_header(b"etag", etag(changed.key.version))
    return _changed(keys, changed)


async def rotate_key(request: Request, id: str, body: RotateKey, keys: KeyService) -> RotatedKey:
    """Rotate a key.

    Creates a new key with the same settings. The previous key works until the grace period ends.
    Any earlier grace period in the key family ends immediately. The token, or the link that shows
    the token once, is returned only in this response.
    """
    rotated = await keys.rotate(
        existing_id(id),
        request.actor,
        grace_s=body.grace_s,
        reason=body.reason,
        delivery=body.delivery,
        owner=request.authenticated.owner,
        roles=request.authenticated.roles,
    )
    request.add_header(b"location", f"/v1/keys/{rotated.key.id}")
    return RotatedKey(
        **rotated.issued,
        key=_view(keys, rotated.key),
        previous=_view(keys, rotated.previous),
        effective=rotated.effective,
    )


async def purge_key(request: Request, id: str, body: PurgeKey, keys: KeyService) -> PurgedKey:
    """Purge a key.

    Erases the data of a deleted or revoked key. The ID stays reserved. A purge cannot be undone.
    The audit trail keeps the events. Idempotent.
    """
    changed, counters_removed = await keys.purge(
        existing_id(id), body.confirm, body.reason, request.actor, request.authenticated.roles
    )
    purged_at = rfc3339(changed.key.purged_at or request.now)
    return PurgedKey(changed.key.id, purged_at, changed.effective, counters_removed)


async def revoke_key(request: Request, id: str, body: ReasonBody, keys: KeyService) -> RevokedKey:
    """Revoke a key.

    A revocation cannot be undone. Responds when every live gateway worker denies the key, or when
    the propagation bound is reached. While the database is not available, an owner with the
    bootstrap token or a JWT can revoke keys: `effective` is `announced` and `key` is null.
    Idempotent.
    """
    roles = request.authenticated.roles
    key, effective = await keys.revoke(existing_id(id), body.reason, request.actor, roles)
    return RevokedKey(None if key is None else _view(keys, key), effective)


def _view(keys: KeyService, key: Key) -> KeyView:
    return key_view(key, keys.prefix, keys.default_limit)


def _changed(keys: KeyService, changed: Changed) -> ChangedKey:
    return ChangedKey(_view(keys, changed.key), changed.effective)


_ALWAYS, _MANAGING = StepUp.ALWAYS, StepUp.MANAGING
_KEY = "/v1/keys/{id}"


_key: Callable[..., Endpoint] = partial(Endpoint, tag="keys")


def _action(
    action: Action,
    roles: frozenset[Role],
    description: str,
    *,
    method: str = "POST",
    step_up: StepUp = _MANAGING,
) -> Endpoint:
    async def perform(request: Request, id: str, body: ReasonBody, keys: KeyService) -> ChangedKey:
        roles = request.authenticated.roles
        changed = await keys.act(existing_id(id), action, body.reason, request.actor, roles)
        return _changed(keys, changed)

    perform.__name__ = f"{action}_key"
    perform.__doc__ = f"{action.capitalize()} a key.\n\n{description}"
    path = _KEY if method == "DELETE" else f"{_KEY}/{action}"
    return _key(method, path, perform, roles=roles, step_up=step_up, errors=(404,))


ENDPOINTS = (
    _key("POST", "/v1/keys", create_key, roles=KEY_CREATORS, step_up=_MANAGING, status=201),
    _key("GET", "/v1/keys", list_keys, roles=KEY_READERS),
    _key("GET", _KEY, show_key, roles=KEY_READERS, errors=(404,)),
    _key(
        "PATCH",
        _KEY,
        update_key,
        roles=KEY_MANAGERS,
        step_up=_MANAGING,
        errors=(404, 412, 428),
        headers=(IF_MATCH,),
    ),
    _action(
        Action.DELETE,
        OPERATORS,
        """The gateway denies the key as if the key did not exist. A deleted key can be restored for
        30 days. Idempotent.""",
        method="DELETE",
        step_up=_ALWAYS,
    ),
    _action(
        Action.RESTORE,
        OPERATORS,
        "The key returns to its state before the deletion: active, disabled or revoked.",
    ),
    _action(
        Action.DISABLE,
        KEY_MANAGERS,
        "The gateway denies the key until it is enabled again. Idempotent.",
    ),
    _action(Action.ENABLE, OPERATORS, "A disabled key becomes active. Idempotent."),
    _key(
        "POST",
        f"{_KEY}/revoke",
        revoke_key,
        roles=KEY_MANAGERS,
        step_up=_MANAGING,
        errors=(404,),
        is_idempotent=True,
    ),
    _key(
        "POST",
        f"{_KEY}/rotate",
        rotate_key,
        roles=KEY_MANAGERS,
        step_up=_MANAGING,
        status=201,
        errors=(404,),
    ),
    _key("POST", f"{_KEY}/purge", purge_key, roles=OWNERS, step_up=_ALWAYS, errors=(404,)),
)
