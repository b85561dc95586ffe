"""Signs requests (RFC 9421, Ed25519) for keys that require signatures. Provides a function and an
`auth` class for httpx.

import httpx
from gatehouse.client.signing import SignedAuth

auth = SignedAuth(token, Path("private.pem").read_text())
httpx.get("https://gateway.example.com/cores/docs/report.txt", auth=auth)
"""

import secrets
import time
from collections.abc import Generator
from dataclasses import dataclass

import http_sf
import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gatehouse.core import http_signatures as signature
from gatehouse.core.token import BODY_CHARS, ID_CHARS
from gatehouse.core.verification import SignedRequest

LABEL = "gatehouse"


def sign(
    method: str,
    url: str,
    body: bytes = b"",
    *,
    token: str,
    private_key: str,
    now: float | None = None,
    nonce: str | None = None,
) -> dict[str, str]:
    """Returns the headers to add: Signature-Input, Signature and, with a body, Content-Digest.

    url: the absolute URL exactly as it is sent. private_key: an Ed25519 key in PEM format without a
    passphrase. now: creation time of the signature in Unix seconds. nonce: 16 to 128 characters,
    unique for each request. Raises ValueError for a malformed token or private key.
    """
    parts = httpx.URL(url)
    fields = {"content-digest": signature.digest_text(body)} if body else {}
    request = SignedRequest(
        method=method.upper(),
        scheme=parts.scheme,
        authority=parts.netloc.decode("ascii"),
        path=parts.raw_path.partition(b"?")[0].decode("ascii") or "/",
        query=parts.query.decode("ascii"),
        fields=tuple(fields.items()),
        has_body=bool(body),
        digests=(),
    )
    components = ("@method", "@target-uri", *fields)
    params = {
        "created": int(time.time() if now is None else now),
        "nonce": nonce or secrets.token_urlsafe(16),
        "keyid": _key_id(token),
        "tag": signature.TAG,
    }
    base = signature.signature_base(request, components, params)
    if base is None:
        raise ValueError("the request cannot be signed: the URL must be ASCII, percent-encoded")
    key = load_pem_private_key(private_key.encode(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the private key is not an Ed25519 key")
    signature_input = f"{LABEL}={signature.input_text(components, params)}"
    value = http_sf.ser({LABEL: key.sign(base)})
    return {**fields, "signature-input": signature_input, "signature": value}


@dataclass(frozen=True, repr=False)
class SignedAuth(httpx.Auth):
    """Adds the token and signs a request. httpx redirects it with the same signature, which is then
    not valid. Reads a streamed body completely before signing.
    """

    token: str
    private_key: str

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self.token}"
        signed_headers = sign(
            request.method,
            str(request.url),
            request.content,
            token=self.token,
            private_key=self.private_key,
        )
        request.headers.update(signed_headers)
        yield request


def _key_id(token: str) -> str:
    """Returns the key ID in a token with any prefix. Raises ValueError for any other text."""
    body = token.rpartition("_")[2]
    if len(body) != BODY_CHARS:
        raise ValueError("the token is not a Gatehouse API key")
    return body[:ID_CHARS]
