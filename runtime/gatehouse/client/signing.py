"""Signs requests (RFC 9421) for keys that require signatures. Provides a function and an `auth`
class for httpx.

import httpx
from gatehouse.client.signing import SignedAuth

auth = SignedAuth(token, signing_secret)
httpx.get("https://gateway.example.com/cores/docs/report.txt", auth=auth)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import http_sf
import httpx

from gatehouse.core import http_signatures as signature
from gatehouse.core.keys import SignatureAlgorithm
from gatehouse.core.token import BODY_CHARS, ID_CHARS
from gatehouse.core.verification import SignedRequest

LABEL = "gatehouse"


def sign(
    method: str,
    url: str,
    body: bytes = b"",
    *,
    token: str,
    secret: str | bytes,
    algorithm: SignatureAlgorithm = SignatureAlgorithm.HMAC_SHA256,
    now: float | None = None,
    nonce: str | None = None,
) -> dict[str, str]:
    """Returns the headers to add: Signature-Input, Signature and, with a body, Content-Digest.

    url: the absolute URL exactly as it is sent. secret: the signing secret (`sigkey_...`), or the
    32 bytes of an Ed25519 private key. now: creation time of the signature in Unix seconds. nonce:
    16 to 128 characters, unique for each request. Raises ValueError for a malformed token or
    secret.
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
    key = signature.secret_bytes(secret) if isinstance(secret, str) else secret
    signature_input = f"{LABEL}={signature.input_text(components, params)}"
    value = http_sf.ser({LABEL: signature.sign(base, algorithm, key)})
    return {**fields, "signature-input": signature_input, "signature": value}


@dataclass(frozen=True, repr=False)
class SignedAuth(httpx.Auth):
    """Adds the token and signs every request, including redirected requests. Reads a streamed body
    completely before signing.
    """

    token: str
    secret: str | bytes
    algorithm: SignatureAlgorithm = SignatureAlgorithm.HMAC_SHA256
    clock: Callable[[], float] = time.time

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self.token}"
        signed_headers = sign(
            request.method,
            str(request.url),
            request.content,
            token=self.token,
            secret=self.secret,
            algorithm=self.algorithm,
            now=self.clock(),
        )
        request.headers.update(signed_headers)
        yield request


def _key_id(token: str) -> str:
    """Returns the key ID in a token with any prefix. Raises ValueError for any other text."""
    body = token.rpartition("_")[2]
    if len(body) != BODY_CHARS:
        raise ValueError("the token is not a Gatehouse API key")
    return body[:ID_CHARS]
