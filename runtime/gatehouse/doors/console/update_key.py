"""PATCH /v1/keys/{id}: changes a key that nobody else has changed in between (If-Match, RFC 9110, section 13.1.1)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header, Response
from msgspec import UNSET

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.doors.console.found import changed, desk, known_id
from gatehouse.errors import PreconditionFailed, PreconditionRequired, Problem
from gatehouse.flows.change import Wishes, change_key
from gatehouse.wire.key import etag
from gatehouse.wire.key_life import ChangedKey, UpdateKey

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
    done = await change_key(
        known_id(id), _wishes(wish), caller, desk=desk(door), version=version, allow_last_admin=wish.allow_last_admin
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


def _wishes(wish: UpdateKey) -> Wishes:
    sent = wish.model_fields_set

    def items(name: str) -> tuple[str, ...]:
        return tuple(getattr(wish, name))

    return Wishes(
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
