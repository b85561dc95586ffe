"""Request and response shapes of signing keys, and the format of public keys."""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Meta

from gatehouse.core.errors import BadRequest, Problem
from gatehouse.features.keys.fields import Algorithm, AllowLastAdmin
from gatehouse.features.keys.schemas import KeyView
from gatehouse.platform.http.fields import Effective
from gatehouse.platform.http.validation import checked

PUBLIC_KEY_CHARS_MAX = 512


def _public_key(text: str) -> str:
    try:
        public_key_bytes(text)
    except ValueError as exc:
        return str(exc)
    return ""


def public_key_bytes(text: str) -> bytes:
    """Decodes the 32 bytes of an Ed25519 public key from base64 or PEM. Raises ValueError."""
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


class SetSigning(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Signature method for requests with the key (RFC 9421). Replaces the current signing key
    immediately. Requests without a valid signature are denied.
    """

    examples: ClassVar = (
        {"algorithm": "hmac-sha256"},
        {
            "algorithm": "ed25519",
            "public_key": "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=",
        },
    )

    algorithm: Annotated[
        Algorithm, Meta(description="Signatures that specify another algorithm are denied.")
    ]
    public_key: Annotated[
        Annotated[str, checked(_public_key, max_length=PUBLIC_KEY_CHARS_MAX)] | None,
        Meta(description="For ed25519: the public key, as base64 of its 32 bytes or as PEM."),
    ] = None
    allow_last_admin: AllowLastAdmin = False

    def ed25519_key(self) -> bytes | None:
        """The 32 bytes of the public key, or None for hmac-sha256. Raises BadRequest if the key
        does not match the algorithm.
        """
        if self.algorithm == "ed25519" and self.public_key is not None:
            return public_key_bytes(self.public_key)
        if self.algorithm == "hmac-sha256" and self.public_key is None:
            return None
        message, fix = "is not a 32-byte Ed25519 public key", "send it as base64 or PEM"
        if self.public_key is not None:
            message, fix = (
                "is only allowed with ed25519",
                "omit it: the secret of hmac-sha256 is generated and shown once",
            )
        raise BadRequest(
            "The signing key cannot be set.", errors=(Problem("body.public_key", message, fix),)
        )


class SigningKeySet(msgspec.Struct, frozen=True):
    example: ClassVar = {
        "secret": "sigkey_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "key": KeyView.example,
        "effective": "everywhere",
    }

    secret: Annotated[
        str | None,
        Meta(
            description=(
                "The HMAC secret, returned only in this response. Null for ed25519: "
                "the client has the private key."
            )
        ),
    ]
    key: KeyView
    effective: Effective
