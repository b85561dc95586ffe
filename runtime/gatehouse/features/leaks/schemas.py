"""Request and response shapes and signatures of leak reports, as defined by GitHub's secret
scanning partner program. Pure.

GitHub signs the raw body with ECDSA (NIST P-256, SHA-256). The header Github-Public-Key-Signature
contains the signature in ASN.1 and base64, and Github-Public-Key-Identifier identifies the key.
GitHub's public keys are pinned.
Source: docs.github.com/code-security/secret-scanning/secret-scanning-partnership-program.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Meta

REPORTS_MAX = 200
SIGNATURE_CHARS_MAX = 200

_REPORT = {
    "token": "gtk_live_3fGh82kLmQ0a...",
    "type": "gatehouse_api_key",
    "url": "https://github.com/octocat/Hello-World/blob/main/config.yml",
    "source": "content",
}
_LABEL = {
    "token_hash": "nVhRMQQd7nwJkJMsS5a3hFA2GNl24rl+DIj+RZdOc3g=",
    "token_type": "gatehouse_api_key",
    "label": "true_positive",
}

Text = Annotated[str, Meta(max_length=2000)]


class LeakReport(msgspec.Struct, frozen=True):
    """A reported token. Unknown fields are ignored."""

    token: Text
    type: Text = ""
    url: Text = ""
    source: Annotated[
        Text, Meta(description="Kind of the location, such as `content`, `commit` or `issue_body`.")
    ] = ""

    def __repr__(self) -> str:
        return "LeakReport(...)"


class LeakLabel(msgspec.Struct, frozen=True):
    """Result of one report."""

    token_hash: Annotated[str, Meta(description="SHA-256 hash of the token, in base64.")]
    token_type: str
    label: Annotated[
        Literal["true_positive", "false_positive"],
        Meta(description="`true_positive`: the token belongs to a key."),
    ]


LeakReports = Annotated[list[LeakReport], Meta(max_length=REPORTS_MAX, examples=[[_REPORT]])]
LeakLabels = Annotated[list[LeakLabel], Meta(examples=[[_LABEL]])]


def label(report: LeakReport, *, is_key: bool) -> LeakLabel:
    digest = hashlib.sha256(report.token.encode("utf-8", "surrogatepass")).digest()
    return LeakLabel(
        base64.b64encode(digest).decode(),
        report.type,
        "true_positive" if is_key else "false_positive",
    )


def p256_key(pem: str) -> ec.EllipticCurvePublicKey:
    """Reads a P-256 public key. Raises ValueError."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as exc:
        raise ValueError("the key has an unknown type") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the key is not on P-256")
    return key


def is_signed_by_github(
    headers: Mapping[str, str], body: bytes, keys: Mapping[str, ec.EllipticCurvePublicKey]
) -> bool:
    """True if the pinned key that the headers identify verifies the signature in the headers."""
    key = keys.get(headers.get("github-public-key-identifier", ""))
    signature = headers.get("github-public-key-signature", "")
    if key is None or len(signature) > SIGNATURE_CHARS_MAX:
        return False
    try:
        key.verify(base64.b64decode(signature, validate=True), body, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True
