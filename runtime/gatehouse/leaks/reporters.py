"""Leak reporters whose reports are accepted, authenticated by the signatures of their requests. Pure.

GitHub signs with ECDSA on NIST P-256 with SHA-256 over the raw body, in ASN.1 and base64, in the header
Github-Public-Key-Signature; Github-Public-Key-Identifier identifies the key. Its public keys are pinned. Other reporters sign as
Standard Webhooks.

Source: docs.github.com/code-security/secret-scanning/secret-scanning-partnership-program.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gatehouse.leaks.service import LeakService
from gatehouse.notifications import webhook_signatures as webhook

SIGNATURE_CHARS_MAX = 200

#: (request headers, body, Unix seconds now) -> True if the reporter signed the request.
Verify = Callable[[Mapping[str, str], bytes, float], bool]


@dataclass(frozen=True, slots=True)
class LeakReporters:
    service: LeakService
    github_keys: Mapping[str, ec.EllipticCurvePublicKey]  # by identifier; empty: reports of GitHub are not accepted
    secret: bytes | None  # of reports that are signed as Standard Webhooks; None: they are not accepted

    def signed(self, reporter: str) -> Verify | None:
        """Verification of the reports of a reporter; None if they are not accepted."""
        if reporter == "github":
            return self._is_signed_by_github if self.github_keys else None
        return self._is_signed_webhook if self.secret is not None else None

    def _is_signed_by_github(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        identifier = headers.get("github-public-key-identifier", "")
        return is_signed_by_github(body, identifier, headers.get("github-public-key-signature", ""), self.github_keys)

    def _is_signed_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        message_id, timestamp, signature = (headers.get(name, "") for name in names)
        return webhook.is_signed(self.secret or b"", message_id, timestamp, signature, body, now=now)


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
