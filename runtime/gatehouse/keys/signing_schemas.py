"""The JSON shapes of signing keys."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.config import JsonDict

from gatehouse.keys.schemas import EXAMPLE_KEY, KeyView

PUBLIC_KEY_CHARS_MAX = 512


_EXAMPLES: list[JsonDict] = [
    {"algorithm": "hmac-sha256"},
    {"algorithm": "ed25519", "public_key": "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=", "required": True},
]


class SetSigning(BaseModel):
    """How the key's requests are signed (RFC 9421). Replaces the former signing key at once."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [*_EXAMPLES]})

    algorithm: Annotated[Literal["hmac-sha256", "ed25519"], Field(description="The messages' own `alg` is never believed.")]
    public_key: Annotated[
        str | None, Field(max_length=PUBLIC_KEY_CHARS_MAX, description="Of ed25519: base64 of its 32 bytes, or PEM.")
    ] = None
    required: Annotated[bool, Field(description="Refuse requests that are not signed.")] = True
    allow_last_admin: Annotated[bool, Field(description="Change even the last key that can manage keys.")] = False

    @field_validator("public_key")
    @classmethod
    def _public_key(cls, value: str | None) -> str | None:
        if value is not None:
            public_key_bytes(value)
        return value


class SigningKeySet(BaseModel):
    """The secret is in this answer and nowhere else, ever; null for ed25519, where the client keeps the private key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "secret": "sigkey_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                    "key": EXAMPLE_KEY,
                    "effective": "everywhere",
                }
            ]
        }
    )

    secret: str | None
    key: KeyView
    effective: Literal["everywhere", "within_bound"]


def public_key_bytes(text: str) -> bytes:
    """The 32 bytes of an Ed25519 public key that is written as base64 or PEM. Raises ValueError."""
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
