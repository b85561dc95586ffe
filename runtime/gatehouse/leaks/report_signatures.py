"""Who reports a leak: the signatures of GitHub's secret scanning partner programme, checked with pinned keys; pure.

Source: docs.github.com/code-security/secret-scanning/secret-scanning-partnership-program: ECDSA on NIST P-256 with SHA-256 over
the raw body, ASN.1 in base64, in Github-Public-Key-Signature; Github-Public-Key-Identifier names the key."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SIGNATURE_CHARS_MAX = 200


class LeakReport(msgspec.Struct, frozen=True):
    """One find. `url` may be empty; `source` is where: content, commit, issue_body ... Other members are passed over."""

    token: str
    type: str = ""
    url: str = ""
    source: str = ""

    def __repr__(self) -> str:
        return "LeakReport(...)"


def p256_key(pem: str) -> ec.EllipticCurvePublicKey:
    """A public key on P-256. Raises ValueError."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as exc:
        raise ValueError("a key of a kind that is not known") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("a key that is not on P-256")
    return key


def is_githubs(body: bytes, key_identifier: str, signature: str, keys: Mapping[str, ec.EllipticCurvePublicKey]) -> bool:
    """Whether one of the pinned keys signed this very body."""
    key = keys.get(key_identifier)
    if key is None or len(signature) > SIGNATURE_CHARS_MAX:
        return False
    try:
        key.verify(base64.b64decode(signature, validate=True), body, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def place(reporter: str, url: str) -> bytes:
    """What tells one find of a key from another: who reported it, and where it was found."""
    return hashlib.sha256(f"{reporter}\0{url}".encode("utf-8", "surrogatepass")).digest()
