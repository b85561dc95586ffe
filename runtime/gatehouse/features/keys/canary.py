"""Stores the canary key, with whose token the synthetic probe and the smoke test verify a key and
send a request to a Core.

The rotation function creates the tokens (runtime/functions/rotate.py). The secret has the token in
use and the next one. The probe uses the next one after another rotation, when every gateway knows
its key.
"""

from dataclasses import dataclass

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.cores import ECHO
from gatehouse.core.errors import Conflict
from gatehouse.core.keys import Key, KeyId
from gatehouse.core.lifecycle import Action, creation_details
from gatehouse.core.roles import Role
from gatehouse.core.tokens.token import ParsedToken, id_generation, is_marked, parse
from gatehouse.features.keys.schemas import CreateKey, KeyFilter
from gatehouse.features.keys.service import KeyService

NAME, TAG = "canary key", "gatehouse"
_ACTOR = Actor("system", "gateway")
_PAGE_KEYS = 100
#: Interval at which the canary key is stored, and its earlier keys are revoked.
MAINTAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class CanaryKey:
    """tokens: the one in use, and the next one if the secret has been rotated."""

    service: KeyService
    tokens: tuple[ParsedToken, ...]

    @property
    def ids(self) -> frozenset[KeyId]:
        return frozenset(token.id for token in self.tokens)

    async def store(self) -> Key | None:
        """Stores the keys that are not stored yet. Returns that of the token in use. Idempotent.
        Raises Unavailable.
        """
        keys = [await self._stored(token) for token in self.tokens]
        return keys[0] if keys else None

    async def maintain(self) -> None:
        """Stores the keys, and revokes those of earlier tokens. A gateway that was started before
        the latest rotation knows only earlier tokens, and revokes none of the later ones. Raises
        Unavailable.
        """
        oldest = await self.store()
        if oldest is None:
            return
        only = KeyFilter(tag=TAG, state="active")
        keys, _ = await self.service.store.page(after=None, size=_PAGE_KEYS, only=only)
        for key in keys:
            if key.created_by == _ACTOR.label and key.created_at < oldest.created_at:
                reason, roles = "the canary key was rotated", frozenset({Role.OWNER})
                await self.service.act(key.id, Action.REVOKE, reason, _ACTOR, roles)

    async def _stored(self, token: ParsedToken) -> Key | None:
        service = self.service
        known = await service.store.get(token.id)
        if known is not None:
            return known
        now, generation = service.clock.now(), await service.writable_generation()
        key = service.new_key(
            CreateKey(name=NAME, tags=[TAG], cores=[ECHO]),
            now,
            id=token.id,
            digest=service.pepper.hmac(token.text, generation),
            pepper_generation=generation,
            id_generation=id_generation(token.id, service.pepper),
            created_by=_ACTOR.label,
        )
        event = _ACTOR.event(
            AuditAction.KEY_CREATE, target_id=key.id, at=now, details=creation_details(key)
        )
        try:
            await service.store.add(key, event)
        except Conflict:  # another gateway has stored it
            return await service.store.get(token.id)
        return key


def canary_key(service: KeyService, secret: str) -> CanaryKey:
    """The canary key of the setting. Ignores what is no token of this deployment, such as after a
    change of the key prefix, until the secret is rotated.
    """
    parsed = (parse(text, service.prefix) for text in secret.split())
    tokens = (each for each in parsed if each and is_marked(each.id, service.pepper))
    return CanaryKey(service, tuple(tokens))
