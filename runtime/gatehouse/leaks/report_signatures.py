"""Signatures of GitHub's secret scanning partner program, verified with pinned public keys. Pure.

Source: docs.github.com/code-security/secret-scanning/secret-scanning-partnership-program. ECDSA on NIST P-256 with SHA-256 over
the raw body, in ASN.1 and base64, in the header Github-Public-Key-Signature; Github-Public-Key-Identifier identifies the key.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Meta

SIGNATURE_CHARS_MAX = 200
Text = Annotated[str, Meta(max_length=2000)]


class LeakReport(msgspec.Struct, frozen=True):
    """A reported token. Unknown fields are ignored."""

    token: Text
    type: Text = ""
    url: Text = ""
    source: Annotated[Text, Meta(description="Kind of the place, such as `content`, `commit` or `issue_body`.")] = ""

    def __repr__(self) -> str:
        return "LeakReport(...)"


def p256_key(pem: str) -> ec.EllipticCurvePublicKey:
    """Public key on P-256. Raises ValueError."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as exc:
        raise ValueError("the key has an unknown type") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the key is not on P-256")
    return key


def is_signed_by_github(body: bytes, key_identifier: str, signature: str, keys: Mapping[str, ec.EllipticCurvePublicKey]) -> bool:
    """True if the pinned key with this identifier verifies the signature."""
    key = keys.get(key_identifier)
    if key is None or len(signature) > SIGNATURE_CHARS_MAX:
        return False
    try:
        key.verify(base64.b64decode(signature, validate=True), body, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def place(reporter: str, url: str) -> bytes:
    """Identity of a place where a key was exposed: SHA-256 of the reporter and the URL."""
    return hashlib.sha256(f"{reporter}\0{url}".encode("utf-8", "surrogatepass")).digest()
