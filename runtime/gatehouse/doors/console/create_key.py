"""POST /v1/keys: makes a key and hands its token out, this once."""

from __future__ import annotations

from fastapi import Response

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.flows.issue import Order, issue
from gatehouse.types import KeyEnvironment, Limit
from gatehouse.wire.key import DEFAULT_SCOPES, CreatedKey, CreateKey, etag, key_view


async def create_key(wish: CreateKey, door: Door, caller: Caller, response: Response) -> CreatedKey:
    """Make a key. Its token is in this answer and cannot be had again."""
    issued = await issue(
        _order(wish, environment=door.key_environment, limit=door.default_limit),
        caller,
        store=door.keys,
        pepper=door.pepper,
        prefix=door.key_prefix,
        clock=door.clock,
        random_bytes=door.random_bytes,
    )
    response.headers["ETag"] = etag(issued.key)
    response.headers["Location"] = f"/v1/keys/{issued.key.record.id}"
    return CreatedKey(token=issued.token, key=key_view(issued.key, door.key_prefix))


def _order(wish: CreateKey, *, environment: KeyEnvironment, limit: Limit) -> Order:
    """The wish with this deployment's defaults."""
    return Order(
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
