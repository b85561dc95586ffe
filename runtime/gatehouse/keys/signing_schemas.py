"""Request and response shapes of signing keys."""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Meta

from gatehouse.http.fields import (
    Effective,
)
from gatehouse.http.validation import checked
from gatehouse.keys.schemas import PUBLIC_KEY_CHARS_MAX, Algorithm, AllowLastAdmin, KeyView


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

    algorithm: Annotated[Algorithm, Meta(description="The `alg` parameter of a signature is ignored.")]
    public_key: Annotated[
        Annotated[str, checked(_public_key, max_length=PUBLIC_KEY_CHARS_MAX)] | None,
        Meta(description="For ed25519: the public key, as base64 of its 32 bytes or as PEM."),
    ] = None
    required: Annotated[bool, Meta(description="Deny unsigned requests.")] = True
    allow_last_admin: AllowLastAdmin = False


class SigningKeySet(msgspec.Struct, frozen=True):
    example: ClassVar = {
        "secret": "sigkey_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "key": KeyView.example,
        "effective": "everywhere",
    }

    secret: Annotated[
        str | None,
        Meta(description="The HMAC secret, returned only in this response. Null for ed25519: the client has the private key."),
    ]
    key: KeyView
    effective: Effective


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
