"""Signing keys of API keys: set, replaced, removed, and sealed again when the pepper is rotated.

A signing secret belongs to the key family. A rotated key passes it on, and the successor can get another one without affecting
its predecessor. To replace a secret without failed requests: rotate the key, set the successor's secret, end the grace period.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gatehouse.audit.actions import AuditAction
from gatehouse.audit.models import AuditEvent, Details, system_event
from gatehouse.crypto import http_signatures
from gatehouse.crypto.sealing import SIGNING_SECRET, seal, unseal
from gatehouse.errors import BadRequest, Conflict, Problem, Unavailable
from gatehouse.identity.models import Actor
from gatehouse.keys.lifecycle import Action
from gatehouse.keys.models import Effective, Key, KeyId, KeyState, SealedSecret, SignatureAlgorithm, Signing
from gatehouse.keys.service import Changed, KeyChange, KeyService

SECRET_BYTES = 32
PUBLIC_KEY_BYTES = 32


class SigningOptions(msgspec.Struct, frozen=True):
    """How requests with a key are signed. `public_key`: 32 bytes, for Ed25519 only."""

    algorithm: SignatureAlgorithm
    public_key: bytes | None = None
    required: bool = True


class SigningKeyChange(msgspec.Struct, frozen=True):
    secret: str | None  # HMAC secret, shown once; None for Ed25519
    key: Key
    effective: Effective

    def __repr__(self) -> str:
        return f"SigningKeyChange({self.key.id})"


async def set_signing(
    keys: KeyService, key_id: KeyId, options: SigningOptions, actor: Actor, *, allow_last_admin: bool = False
) -> SigningKeyChange:
    """Sets or replaces the signing key. Raises BadRequest (public key) and what `KeyService.transition` raises."""
    _check(options)
    generation = await keys.writable_generation()
    secret = keys.random_bytes(SECRET_BYTES) if options.algorithm is SignatureAlgorithm.HMAC_SHA256 else None

    def change(key: Key, state: KeyState, now: float) -> KeyChange:
        if secret is None:
            signing = Signing(options.algorithm, options.public_key or b"", 0, options.required)
        else:
            sealed = seal(secret, SIGNING_SECRET, keys.pepper, generation, keys.random_bytes, context=key.subject)
            if sealed is None:
                detail = f"pepper generation {generation} is not available"
                raise Unavailable("Signing secrets cannot be created at the moment", detail=detail)
            signing = Signing(options.algorithm, sealed, generation, options.required)
        return KeyChange(
            msgspec.structs.replace(key, signing=signing),
            {
                "changed": ["signing"],
                "algorithm": options.algorithm.value,
                "require_signature": options.required,
                "version": key.version,
            },
        )

    changed = await keys.transition(key_id, Action.UPDATE, actor, change, allow_last_admin=allow_last_admin)
    return SigningKeyChange(None if secret is None else http_signatures.secret_text(secret), changed.key, changed.effective)


async def remove_signing(keys: KeyService, key_id: KeyId, actor: Actor) -> Changed:
    """Removes the signing key. Raises Conflict while signatures are required, and what `KeyService.transition` raises."""

    def change(key: Key, state: KeyState, now: float) -> KeyChange:
        if key.signing is None:
            raise Conflict("The key has no signing key")
        if key.signing.required:
            raise Conflict("The key requires signatures; send require_signature false with PATCH first")
        details: Details = {"changed": ["signing"], "algorithm": None, "version": key.version}
        return KeyChange(msgspec.structs.replace(key, signing=None), details)

    return await keys.transition(key_id, Action.UPDATE, actor, change)


class Resealer:
    """Re-encrypts signing secrets under the pepper generation that new values are written with."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys

    async def run_once(self) -> int:
        """Number of secrets that were sealed again. Raises Unavailable."""
        pepper, random_bytes = self._keys.pepper, self._keys.random_bytes
        generation = await self._keys.writable_generation()

        def reseal(stored: SealedSecret) -> bytes | None:
            secret = unseal(stored.sealed, SIGNING_SECRET, pepper, stored.generation, context=stored.owner)
            if secret is None:
                return None
            return seal(secret, SIGNING_SECRET, pepper, generation, random_bytes, context=stored.owner)

        old_generations = [old for old in pepper.generations if old != generation]
        return await self._keys.store.reseal(old_generations, generation, reseal, self._event(generation))

    def _event(self, generation: int) -> Callable[[int], AuditEvent]:
        def event(count: int) -> AuditEvent:
            return system_event(
                "console",
                AuditAction.PEPPER_RESEAL,
                target_type="pepper",
                target_id=str(generation),
                at=self._keys.clock.now(),
                details={"secrets": count, "generation": generation},
            )

        return event


def _check(options: SigningOptions) -> None:
    if options.algorithm is SignatureAlgorithm.ED25519:
        if options.public_key is None or len(options.public_key) != PUBLIC_KEY_BYTES:
            raise _bad_public_key("is not a 32-byte Ed25519 public key", "send it as base64 or PEM")
    elif options.public_key is not None:
        raise _bad_public_key("is only allowed with ed25519", "omit it: the secret of hmac-sha256 is generated and shown once")


def _bad_public_key(message: str, fix: str) -> BadRequest:
    return BadRequest("The signing key cannot be set", errors=(Problem("body.public_key", message, fix),))
