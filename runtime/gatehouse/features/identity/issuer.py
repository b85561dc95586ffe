"""Documents of an OpenID Connect issuer: its metadata and its public keys, fetched on demand and
cached.

A document is fetched again after CACHE_S. An unknown key ID triggers another fetch, at most once
per REFETCH_S, so forged tokens cannot overload the issuer. While the issuer is unavailable, cached
documents are used for up to STALE_S. Redirects and proxy environment variables are ignored.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import httpx
import msgspec
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet, RSAKey

from gatehouse.core.clock import Clock
from gatehouse.core.errors import Unavailable
from gatehouse.core.roles import Role
from gatehouse.platform import calls

#: Timeout of each step of a request to the issuer. A complete request takes at most twice as long.
TIMEOUT_S = 3.0
CACHE_S = 600.0
REFETCH_S = 5.0
STALE_S = 86_400.0
RSA_BITS_MIN = 2048

_Document = TypeVar("_Document")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Configuration of an issuer.

    url: the exact value of `iss`.
    audience: the required value of `aud` in bearer tokens.
    claim: path of the claim that contains the roles, with names separated by dots.
    roles: roles by claim value.
    """

    url: str
    audience: str
    claim: str
    roles: Mapping[str, Role]


class Metadata(msgspec.Struct, frozen=True):
    """Metadata of the issuer. Source: OpenID Connect Discovery 1.0, section 3; RFC 9207, section
    3.
    """

    issuer: str
    jwks_uri: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    end_session_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False

    @property
    def urls(self) -> tuple[str, ...]:
        return (
            self.jwks_uri,
            self.authorization_endpoint,
            self.token_endpoint,
            self.end_session_endpoint,
        )


_FAILURES = (
    *(httpx.HTTPError, httpx.InvalidURL, JoseError, Unavailable),
    *(AttributeError, LookupError, TimeoutError, TypeError, ValueError),
)


@dataclass(slots=True, eq=False)
class _Cache(Generic[_Document]):
    """A cached document. name: of the document, in the record of the last calls. load: fetches the
    document, or raises one of _FAILURES.
    """

    name: str
    load: Callable[[], Awaitable[_Document]]
    clock: Clock
    document: _Document | None = None
    fetched_at: float = -STALE_S
    tried_at: float = -STALE_S
    _fetching: asyncio.Task[None] | None = None

    async def get(
        self, is_sufficient: Callable[[_Document], bool] = lambda document: True
    ) -> _Document:
        """Return the document. Fetches it if the cached document is too old or not sufficient, and
        no fetch has ended within REFETCH_S. Raises Unavailable.
        """
        waited = self.clock.monotonic() - self.tried_at >= REFETCH_S
        if waited and not self._is_usable(is_sufficient, CACHE_S):
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self._fetch())
            if not self._is_usable(is_sufficient, STALE_S):
                await asyncio.shield(self._fetching)
        if self.document is None or self.clock.monotonic() - self.fetched_at >= STALE_S:
            raise Unavailable(
                "Sign-in with the identity provider is temporarily unavailable.",
                detail="no document of the issuer",
            )
        return self.document

    def _is_usable(self, is_sufficient: Callable[[_Document], bool], seconds: float) -> bool:
        is_recent = self.clock.monotonic() - self.fetched_at < seconds
        return is_recent and self.document is not None and is_sufficient(self.document)

    async def _fetch(self) -> None:
        """Fetch the document. After a failure, the cached document remains in use for STALE_S; then
        sign-in is denied.
        """
        now = self.clock.monotonic()
        try:
            self.document = await self.load()
            self.fetched_at = now
            calls.succeeded("identity provider", self.name)
        except _FAILURES as exc:
            calls.failed("identity provider", type(exc).__name__, self.name)
        finally:
            self.tried_at = self.clock.monotonic()


class IssuerDocuments:
    """Metadata and keys of an issuer."""

    def __init__(self, issuer: Issuer, clock: Clock) -> None:
        self._issuer = issuer
        self._metadata = _Cache("metadata", self._load_metadata, clock)
        self._keys = _Cache("keys", self._load_keys, clock)

    async def metadata(self) -> Metadata:
        return await self._metadata.get()

    async def key(self, key_id: str) -> Key | None:
        """Return the issuer's key with this ID. If the ID is empty, returns the issuer's only key.

        Raises Unavailable if no current keys are available.
        """
        return _find(await self._keys.get(lambda keys: _find(keys, key_id) is not None), key_id)

    async def _load_metadata(self) -> Metadata:
        status, document = await request(
            "GET", f"{self._issuer.url.rstrip('/')}/.well-known/openid-configuration"
        )
        try:
            metadata = msgspec.convert(document, Metadata)
        except msgspec.ValidationError:
            raise ValueError("the document has another format") from None
        insecure = [
            url
            for url in metadata.urls
            if url and not _is_as_secure(str(httpx.URL(url)), self._issuer.url)
        ]
        if status != 200 or metadata.issuer != self._issuer.url or insecure:
            raise ValueError("the document does not belong to the issuer")
        return metadata

    async def _load_keys(self) -> KeySet:
        status, document = await request("GET", (await self.metadata()).jwks_uri)
        entries = document.get("keys")
        if status != 200 or not isinstance(entries, list):
            raise ValueError("the document is not a JWK set")
        # Issuers also publish keys for encryption, and of types that others understand. Whoever
        # reads a published private key can sign.
        keys = [
            JWKRegistry.import_key(entry)
            for entry in entries
            if (entry.get("kty"), entry.get("crv")) in (("RSA", None), ("EC", "P-256"))
            and entry.get("use", "sig") == "sig"
            and "d" not in entry
        ]
        return KeySet([key for key in keys if not _is_weak(key)])


async def request(
    method: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    auth: httpx.BasicAuth | None = None,
) -> tuple[int, dict[str, Any]]:
    """Send a request to the issuer. Return the status and the JSON object of the response. Raises
    HTTPError, InvalidURL, TimeoutError and ValueError.
    """
    client = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, verify=_certificates())
    async with asyncio.timeout(2 * TIMEOUT_S), client:
        response = await client.request(method, url, data=form, auth=auth)
    document = response.json()
    if not isinstance(document, dict):
        raise ValueError("the document is not an object")
    return response.status_code, document


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)  # reads them in 40 ms


def _is_as_secure(url: str, issuer: str) -> bool:
    """Return True if `url` uses https, or if the issuer itself uses http (local development)."""
    return url.startswith("https://") or (
        issuer.startswith("http://") and url.startswith("http://")
    )


def _find(keys: KeySet, key_id: str) -> Key | None:
    try:
        return keys.get_by_kid(key_id or None)
    except InvalidKeyIdError:
        return None


def _is_weak(key: Key) -> bool:
    return isinstance(key, RSAKey) and key.public_key.key_size < RSA_BITS_MIN
