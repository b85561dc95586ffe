"""The signing key of an API key: set or replaced (an HMAC secret is shown once), removed, and sealed anew as the pepper rotates.

A signing secret belongs to the lineage: a rotated key's successor has it too, and takes another without touching its predecessor.
That is how a secret is changed without a failed call: rotate the key, set the successor's secret, end the grace period."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gatehouse.audit.models import AuditEvent
from gatehouse.clock import Clock
from gatehouse.crypto import http_signatures as signature
from gatehouse.crypto.sealed_secret import NONCE_BYTES, seal, unseal
from gatehouse.crypto.token import Pepper
from gatehouse.errors import BadRequest, Conflict, Problem, Unavailable
from gatehouse.identity.models import Actor
from gatehouse.keys.lifecycle import Action
from gatehouse.keys.models import KeyId, KeyState, KeyStore, SignatureAlgorithm, Signing, StoredKey
from gatehouse.keys.resealing import Sealed, SealedSecrets
from gatehouse.keys.service import Changed, Effective, KeyChange, KeyService, step, writing_generation

SECRET_BYTES = 32


PUBLIC_KEY_BYTES = 32


RESEAL_ACTION = "pepper.reseal"


class SigningOptions(msgspec.Struct, frozen=True):
    """How requests shall be signed. `public_key`: 32 bytes, for Ed25519 alone."""

    algorithm: SignatureAlgorithm
    public_key: bytes | None = None
    required: bool = True


class SigningKeyChange(msgspec.Struct, frozen=True):
    secret: str | None  # of HMAC: to be shown once
    key: StoredKey
    effective: Effective

    def __repr__(self) -> str:
        return f"SigningKeyChange({self.key.record.id})"


async def set_signing(
    key_id: KeyId,
    wish: SigningOptions,
    actor: Actor,
    *,
    desk: KeyService,
    pepper: Pepper,
    random_bytes: Callable[[int], bytes],
    allow_last_admin: bool = False,
) -> SigningKeyChange:
    """Sets or replaces it; the former counts no more from then on. Raises BadRequest (public key), and what `step` raises."""
    _check(wish)
    generation = await writing_generation(desk.store, pepper)
    secret = random_bytes(SECRET_BYTES) if wish.algorithm is SignatureAlgorithm.HMAC_SHA256 else None

    def change(key: StoredKey, target: KeyState, now: float) -> KeyChange:
        if secret is None:
            signing = Signing(wish.algorithm, wish.public_key or b"", 0, wish.required)
        else:
            sealed = seal(secret, key.record.subject, random_bytes(NONCE_BYTES), pepper, generation)
            if sealed is None:
                raise Unavailable("Signing secrets cannot be made at the moment", detail="the pepper generation is not held")
            signing = Signing(wish.algorithm, sealed, generation, wish.required)
        told = {"changed": ["signing"], "algorithm": wish.algorithm.value, "require_signature": wish.required}
        return KeyChange(_with(key, signing), {**told, "version": key.record.version})

    done = await step(key_id, Action.UPDATE, actor, change, desk=desk, allow_last_admin=allow_last_admin)
    return SigningKeyChange(None if secret is None else signature.secret_text(secret), done.key, done.effective)


async def remove_signing(key_id: KeyId, actor: Actor, *, desk: KeyService) -> Changed:
    """Raises Conflict while signatures are required, so that nobody opens a key by removing what guards it; and as `step`."""

    def change(key: StoredKey, target: KeyState, now: float) -> KeyChange:
        signing = key.record.signing
        if signing is None:
            raise Conflict("This key has no signing key")
        if signing.required:
            raise Conflict("This key requires signatures; send require_signature false with PATCH first")
        return KeyChange(_with(key, None), {"changed": ["signing"], "algorithm": None, "version": key.record.version})

    return await step(key_id, Action.UPDATE, actor, change, desk=desk)


class Resealer:
    """Moves sealed secrets to the generation that is written with; nobody else has to do anything for it."""

    def __init__(
        self, keys: KeyStore, secrets: SealedSecrets, pepper: Pepper, clock: Clock, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._keys = keys
        self._secrets = secrets
        self._pepper = pepper
        self._clock = clock
        self._random_bytes = random_bytes

    async def turn(self) -> int:
        """How many were moved. Raises Unavailable."""
        generation = await writing_generation(self._keys, self._pepper)

        def work(one: Sealed) -> bytes | None:
            secret = unseal(one.sealed, one.owner, self._pepper, one.generation)
            if secret is None:
                return None
            return seal(secret, one.owner, self._random_bytes(NONCE_BYTES), self._pepper, generation)

        def event(moved: int) -> AuditEvent:
            return AuditEvent(
                occurred_at=self._clock.now(),
                actor_type="system",
                actor_id="console",
                action=RESEAL_ACTION,
                target_type="pepper",
                target_id=str(generation),
                outcome="success",
                request_id="",
                source_address="",
                details={"secrets": moved, "generation": generation},
            )

        held = [one for one in self._pepper.generations if one != generation]
        return await self._secrets.rewrite(held, generation, work, event)


def _with(key: StoredKey, signing: Signing | None) -> StoredKey:
    return msgspec.structs.replace(key, record=msgspec.structs.replace(key.record, signing=signing))


def _check(wish: SigningOptions) -> None:
    if wish.algorithm is SignatureAlgorithm.ED25519:
        if wish.public_key is None or len(wish.public_key) != PUBLIC_KEY_BYTES:
            _refuse("is not the 32 bytes of an Ed25519 public key", "send them as base64, or the key as PEM")
    elif wish.public_key is not None:
        _refuse("goes with ed25519 alone", "leave it out: the gateway makes the secret of hmac-sha256 and shows it once")


def _refuse(message: str, fix: str) -> None:
    raise BadRequest("The signing key cannot be set", errors=(Problem("body.public_key", message, fix),))
