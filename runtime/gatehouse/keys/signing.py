"""Signing keys of API keys: set, replaced, removed, and sealed again when the pepper is rotated.

A signing secret belongs to the key family. A rotated key passes it on, and the successor can get another one without affecting
its predecessor. To replace a secret without failed requests: rotate the key, set the successor's secret, end the grace period.
"""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Meta

from gatehouse.audit.models import AuditAction, AuditEvent, Details
from gatehouse.crypto import http_signatures
from gatehouse.crypto.sealing import SIGNING_SECRET, seal, unseal
from gatehouse.errors import BadRequest, Conflict, Problem, Unavailable
from gatehouse.http.validation import checked
from gatehouse.identity.models import Actor
from gatehouse.keys.changes import KeyChange
from gatehouse.keys.lifecycle import Action
from gatehouse.keys.models import Key, KeyId, KeyState, SealedSecret, SignatureAlgorithm, Signing
from gatehouse.keys.schemas import Algorithm, AllowLastAdmin
from gatehouse.keys.service import Changed, KeyService

SECRET_BYTES = 32
PUBLIC_KEY_CHARS_MAX = 512


def _public_key(text: str) -> str:
    try:
        public_key_bytes(text)
    except ValueError as exc:
        return str(exc)
    return ""


class SetSigning(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the key's requests are signed (RFC 9421). Replaces the current signing key immediately."""

    examples: ClassVar = (
        {"algorithm": "hmac-sha256"},
        {"algorithm": "ed25519", "public_key": "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=", "required": True},
    )

    algorithm: Annotated[Algorithm, Meta(description="Signatures that name another algorithm are denied.")]
    public_key: Annotated[
        Annotated[str, checked(_public_key, max_length=PUBLIC_KEY_CHARS_MAX)] | None,
        Meta(description="For ed25519: the public key, as base64 of its 32 bytes or as PEM."),
    ] = None
    required: Annotated[bool, Meta(description="Deny unsigned requests.")] = True
    allow_last_admin: AllowLastAdmin = False


async def set_signing(keys: KeyService, key_id: KeyId, body: SetSigning, actor: Actor) -> tuple[str | None, Changed]:
    """Sets or replaces the signing key. Returns the HMAC secret, which is shown once, or None for ed25519.

    Raises BadRequest (public key) and what `KeyService.transition` raises.
    """
    algorithm = SignatureAlgorithm(body.algorithm)
    public_key = _checked_public_key(algorithm, body.public_key)
    generation = await keys.writable_generation()
    secret = keys.random_bytes(SECRET_BYTES) if algorithm is SignatureAlgorithm.HMAC_SHA256 else None

    def change(key: Key, state: KeyState, now: float) -> KeyChange:
        if secret is None:
            signing = Signing(algorithm, public_key, 0, body.required)
        else:
            sealed = seal(secret, SIGNING_SECRET, keys.pepper, generation, keys.random_bytes, context=key.subject)
            if sealed is None:
                detail = f"pepper generation {generation} is not available"
                raise Unavailable("Signing secrets cannot be created at the moment", detail=detail)
            signing = Signing(algorithm, sealed, generation, body.required)
        details: Details = {"changed": ["signing"], "algorithm": body.algorithm, "require_signature": body.required}
        return KeyChange(msgspec.structs.replace(key, signing=signing), {**details, "version": key.version})

    changed = await keys.transition(key_id, Action.UPDATE, actor, change, allow_last_admin=body.allow_last_admin)
    return None if secret is None else http_signatures.secret_text(secret), changed


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

        def event(count: int) -> AuditEvent:
            details: Details = {"secrets": count, "generation": generation}
            at = self._keys.clock.now()
            return Actor("system", "console").event(AuditAction.PEPPER_RESEAL, target_id=str(generation), at=at, details=details)

        old_generations = [old for old in pepper.generations if old != generation]
        return await self._keys.store.reseal(old_generations, generation, reseal, event)


def _checked_public_key(algorithm: SignatureAlgorithm, text: str | None) -> bytes:
    if algorithm is SignatureAlgorithm.HMAC_SHA256:
        if text is not None:
            raise _bad_public_key(
                "is only allowed with ed25519", "omit it: the secret of hmac-sha256 is generated and shown once"
            )
        return b""
    if text is None:
        raise _bad_public_key("is not a 32-byte Ed25519 public key", "send it as base64 or PEM")
    return public_key_bytes(text)


def _bad_public_key(message: str, fix: str) -> BadRequest:
    return BadRequest("The signing key cannot be set", errors=(Problem("body.public_key", message, fix),))


def public_key_bytes(text: str) -> bytes:
    """The 32 bytes of an Ed25519 public key in base64 or PEM. Raises ValueError."""
    try:
        if "-----BEGIN" in text:
            key = load_pem_public_key(text.strip().encode())
            raw = key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else b""
        else:
            raw = base64.b64decode(text, validate=True)
            Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, UnsupportedAlgorithm):
        raw = b""
    if len(raw) != 32:
        raise ValueError("must be an Ed25519 public key: base64 of its 32 bytes, or PEM")
    return raw
