"""OpenID Connect: validates JWTs (RFC 7519) from one issuer against the issuer's published keys. One claim contains the roles.

Accepts only RS256 and ES256, and requires `iss`, `aud`, `exp` and `sub`. Keys are fetched on demand and cached for KEYS_S. An
unknown key ID triggers another fetch, at most once per REFETCH_S, so forged tokens cannot overload the issuer. While the issuer
is unavailable, cached keys are used for up to STALE_S. Redirects and proxy environment variables are ignored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from gatehouse.clock import Clock
from gatehouse.errors import Unavailable
from gatehouse.identity.models import Identity, Role

ALGORITHMS = ("RS256", "ES256")
TIMEOUT_S = 3.0
DOCUMENT_BYTES_MAX = 262_144
TOKEN_CHARS_MAX = 16_384
KEYS_S = 600.0
REFETCH_S = 30.0
STALE_S = 86_400.0

#: Maximum clock difference between the console and the issuer, in seconds.
SKEW_S = 60
RSA_BITS_MIN = 2048
_SUBJECT_CHARS_MAX = 200
_TYPES = {"", "jwt", "at+jwt", "application/at+jwt"}
_Key = RSAKey | ECKey


@dataclass(frozen=True, slots=True)
class Issuer:
    """Configuration of an issuer.

    url: the exact value of `iss`.
    audience: the required value of `aud`.
    jwks_url: URL of the issuer's keys. Empty: the URL in the discovery document.
    claim: path of the claim that contains the roles, with names separated by dots.
    roles: roles by claim value.
    """

    url: str
    audience: str
    jwks_url: str
    claim: str
    roles: Mapping[str, Role]


@dataclass(slots=True, eq=False)
class OidcIdentityProvider:
    """Validates JWTs from an OpenID Connect issuer."""

    issuer: Issuer
    clock: Clock
    _keys: dict[str, _Key] = field(default_factory=dict)
    _fetched_at: float = -STALE_S
    _tried_at: float = -STALE_S
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def identify(self, token: str) -> Identity | None:
        """Return the identity in a token, or None if the token is invalid. Raises Unavailable if the token cannot be verified."""
        if len(token) > TOKEN_CHARS_MAX or token.count(".") != 2:
            return None
        try:
            header = jws.extract_compact(token.encode("ascii")).headers()
        except (JoseError, ValueError, TypeError, RecursionError):
            return None
        if header.get("alg") not in ALGORITHMS or str(header.get("typ", "")).lower() not in _TYPES:
            return None
        key = await self._key(str(header.get("kid", "")))
        if key is None:
            return None
        try:
            claims = jwt.decode(token, key, algorithms=[str(header["alg"])]).claims
            self._registry().validate(claims)
        except (JoseError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_CHARS_MAX:
            return None
        return Identity(subject, self._roles(claims), _proven_at(claims)) if subject.isascii() and subject.isprintable() else None

    def _registry(self) -> jwt.JWTClaimsRegistry:
        return jwt.JWTClaimsRegistry(
            now=int(self.clock.now()),
            leeway=SKEW_S,
            iss={"essential": True, "value": self.issuer.url},
            aud={"essential": True, "value": self.issuer.audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    def _roles(self, claims: Mapping[str, Any]) -> frozenset[Role]:
        value: Any = claims
        for member in self.issuer.claim.split("."):
            value = value.get(member) if isinstance(value, dict) else None
        named = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        return frozenset(self.issuer.roles[name] for name in named if isinstance(name, str) and name in self.issuer.roles)

    async def _key(self, key_id: str) -> _Key | None:
        """Return the issuer's key with this ID. If the ID is empty, returns the issuer's only key.

        Raises Unavailable if no current keys are available.
        """
        now = self.clock.now()
        if now - self._fetched_at < KEYS_S and self._find(key_id) is not None:
            return self._find(key_id)
        async with self._lock:
            now = self.clock.now()
            due = now - self._fetched_at >= KEYS_S or self._find(key_id) is None
            if due and now - self._tried_at >= REFETCH_S:
                self._tried_at = now
                await self._fetch(now)
        if now - self._fetched_at >= STALE_S:
            raise Unavailable("Sign-in with the identity provider is temporarily unavailable.", detail="no keys of the issuer")
        return self._find(key_id)

    def _find(self, key_id: str) -> _Key | None:
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _fetch(self, now: float) -> None:
        """Fetch the keys. After a failure, the cached keys remain in use."""
        try:
            # Timeout: 2 * TIMEOUT_S per document. After a failure, cached keys are used for STALE_S; then tokens are denied.
            async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
                url = self.issuer.jwks_url
                if not url:
                    document = await _document(client, f"{self.issuer.url.rstrip('/')}/.well-known/openid-configuration")
                    if document.get("issuer") != self.issuer.url:
                        return
                    url = str(document.get("jwks_uri", ""))
                    if not is_as_secure(url, self.issuer.url):
                        return
                keys = _keys(await _document(client, url))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError):
            return
        if keys:
            self._keys, self._fetched_at = keys, now


def _proven_at(claims: Mapping[str, Any]) -> float:
    """Return the Unix time of the last authentication: `auth_time`, `iat` if the token has no `auth_time`, or 0 if unknown.

    Source: OpenID Connect Core 1.0, section 2.
    """
    at = claims.get("auth_time", claims.get("iat"))
    return float(at) if isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < 2**33 else 0.0


def is_as_secure(url: str, issuer: str) -> bool:
    """Return True if `url` uses https, or if the issuer itself uses http (local development)."""
    return url.startswith("https://") or (issuer.startswith("http://") and url.startswith("http://"))


async def _document(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    async with asyncio.timeout(2 * TIMEOUT_S), client.stream("GET", url) as response:
        if response.status_code != 200:
            raise ValueError("the status is not 200")
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > DOCUMENT_BYTES_MAX:
                raise ValueError("the document is too large")
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the document is not an object")
    return document


def _keys(document: dict[str, Any]) -> dict[str, _Key]:
    """Return the signing keys in a JWK set (RFC 7517). Unsupported and malformed keys are ignored."""
    keys: dict[str, _Key] = {}
    entries = document.get("keys")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        try:
            key: _Key | None = None
            if entry.get("kty") == "RSA" and len(str(entry.get("n", ""))) * 6 >= RSA_BITS_MIN:  # base64: six bits per character
                key = RSAKey.import_key(entry)
                if key.public_key.key_size < RSA_BITS_MIN:
                    continue
            elif entry.get("kty") == "EC" and entry.get("crv") == "P-256":
                key = ECKey.import_key(entry)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if key is not None:
            keys[str(entry.get("kid", ""))] = key
    return keys
