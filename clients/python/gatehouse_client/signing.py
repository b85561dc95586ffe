"""Signs requests (RFC 9421, Ed25519) for keys that require signatures. Provides a function and an
`auth` class for httpx. Requires the extra `signing`.

import httpx
from gatehouse_client.signing import SignedAuth

auth = SignedAuth(token, Path("private.pem").read_text())
httpx.get("https://gateway.example.com/cores/docs/report.txt", auth=auth)
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gatehouse_client.credentials import credential, trimmed

#: The end of a token: the ID of the key, a secret and a checksum.
_BODY_CHARS, _ID_CHARS = 61, 12
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


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
    unique for each request. Raises ValueError for a malformed token, private key, method, URL or
    nonce, without its value. White space around the token and the private key is removed.
    """
    for name, text in {"method": method, "nonce": nonce or "0"}.items():
        if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
            raise ValueError(f"the {name} contains a character that is not allowed")
    fields = {"content-digest": _digest(body)} if body else {}
    covered = {"@method": method.upper(), "@target-uri": _target(url), **fields}
    names = " ".join(f'"{name}"' for name in covered)
    created, nonce = int(time.time() if now is None else now), nonce or secrets.token_urlsafe(16)
    params = f'created={created};nonce="{nonce}";keyid="{_key_id(token)}";tag="gatehouse"'
    lines = [f'"{name}": {value}' for name, value in covered.items()]
    base = "\n".join([*lines, f'"@signature-params": ({names});{params}'])
    signature = base64.b64encode(_private_key(private_key).sign(base.encode("ascii"))).decode()
    return {
        **fields,
        "signature-input": f"gatehouse=({names});{params}",
        "signature": f"gatehouse=:{signature}:",
    }


@dataclass(frozen=True, repr=False)
class SignedAuth(httpx.Auth):
    """Adds the token and signs a request. httpx redirects it with the same signature, which is then
    not valid. Reads a streamed body completely before signing.
    """

    token: str
    private_key: str

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {credential('token', self.token)}"
        signed_headers = sign(
            request.method,
            str(request.url),
            request.content,
            token=self.token,
            private_key=self.private_key,
        )
        request.headers.update(signed_headers)
        yield request


def _target(url: str) -> str:
    """The URL without the default port, and with the host in lowercase (RFC 9421, section 2.2.3).
    Raises ValueError.
    """
    with suppress(httpx.InvalidURL, UnicodeError):
        parts = httpx.URL(url)
        path = parts.raw_path.decode("ascii")
        if parts.scheme in _DEFAULT_PORTS and parts.host and path.isprintable():
            authority = parts.netloc.decode("ascii").lower()
            return f"{parts.scheme}://{authority.removesuffix(_DEFAULT_PORTS[parts.scheme])}{path}"
    raise ValueError("the request cannot be signed: the URL must be absolute")


def _private_key(text: str) -> Ed25519PrivateKey:
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):  # a UnicodeError has the text
        key = load_pem_private_key(trimmed(text).encode() + b"\n", None)
        if isinstance(key, Ed25519PrivateKey):
            return key
    raise ValueError("the private key is not an Ed25519 key in PEM format without a passphrase")


def _digest(body: bytes) -> str:
    """Content-Digest (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def _key_id(token: str) -> str:
    """Returns the key ID in a token with any prefix. Raises ValueError for any other text."""
    body = trimmed(token).rpartition("_")[2]
    if len(body) != _BODY_CHARS:
        raise ValueError("the token is not a Gatehouse API key")
    return body[:_ID_CHARS]
