"""Self-revocation: the holder of a token can revoke its key without an account (POST /v1/keys/revoke-self)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from gatehouse.audit.models import AuditAction
from gatehouse.clock import Clock
from gatehouse.crypto.token import Pepper, parse, proves_possession
from gatehouse.http import fields
from gatehouse.http.asgi import RequestId
from gatehouse.http.fields import REASON_CHARS_MAX, REQUEST_ID
from gatehouse.http.validation import decode_body, invalid
from gatehouse.identity.models import Actor
from gatehouse.keys.lifecycle import Action, next_state
from gatehouse.keys.models import Effective, KeyId, KeyState
from gatehouse.keys.repository import KeyRepository
from gatehouse.verification.cache import KeyCache
from gatehouse.verification.imported_keys import ImportedKeys
from gatehouse.verification.repository import KeyLoader
from gatehouse.verification.schemas import EXAMPLE_TOKEN, RequestIdView, Token


class SelfRevocationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token of the key to revoke."""

    example: ClassVar = {"token": EXAMPLE_TOKEN, "reason": "pasted into a chat"}

    token: Token
    reason: Annotated[
        str, Meta(max_length=REASON_CHARS_MAX, description="Printable text. Stored with the key and in the audit trail.")
    ] = ""


class SelfRevocationResponse(msgspec.Struct, frozen=True):
    """The revoked key."""

    example: ClassVar = {"key_id": "3fGh82kLmQ0a", "effective": "everywhere", "request_id": REQUEST_ID}

    key_id: str
    effective: fields.Effective
    request_id: RequestIdView


_decoder = msgspec.json.Decoder(SelfRevocationRequest)


def decode(body: bytes) -> SelfRevocationRequest:
    """Raises BadRequest that names the invalid field."""
    request = decode_body(_decoder, body)
    if not request.reason.isprintable():
        raise invalid("body.reason", "must not contain control characters or invisible characters", "remove them")
    return request


@dataclass(frozen=True, slots=True)
class SelfRevocationService:
    """Revokes keys from a gateway worker.

    cache: of this worker, which is updated at once.
    confirmation_timeout_s: longest time for which a revocation waits for the other gateway workers.
    """

    keys: KeyLoader
    repository: KeyRepository
    cache: KeyCache
    imported: ImportedKeys
    clock: Clock
    pepper: Pepper
    prefix: str
    confirmation_timeout_s: float

    async def revoke(
        self, token: str, reason: str, *, request_id: RequestId, source_address: str
    ) -> tuple[KeyId, Effective] | None:
        """Revokes the key of a token. None if the token does not prove possession of a key that can be revoked.

        Raises Unavailable; then nothing was revoked.
        """
        parsed, material = parse(token, self.prefix), token
        if parsed is not None:
            record = await self.keys.find(parsed.id)
        else:
            imported = await self.imported.find(token)
            if imported is None or imported.record is None:
                return None
            material = imported.material
            record = await self.imported.prove(imported.record, token, material) or imported.record
        if not proves_possession(self.pepper, material, record) or record is None:
            return None
        if record.state is KeyState.REVOKED or next_state(record.state, Action.REVOKE) is None:
            return None
        now = self.clock.now()
        actor = Actor(type="key", id=record.id, request_id=request_id, source_address=source_address)
        event = actor.event(AuditAction.KEY_SELF_REVOKE, target_id=record.id, at=now, details={"reason": reason})
        written = await self.repository.revoke_usable(record.id, at=now, by=actor.label, reason=reason, event=event)
        if written is None:
            return None
        revoked, change_seq = written
        self.cache.change(revoked)
        confirmed = await self.repository.is_confirmed(change_seq, timeout_s=self.confirmation_timeout_s)
        return revoked.id, Effective.EVERYWHERE if confirmed else Effective.WITHIN_BOUND
