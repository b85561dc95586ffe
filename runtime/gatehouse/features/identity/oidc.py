"""OpenID Connect: validates JWTs (RFC 7519) from one issuer against the issuer's published keys.
One claim contains the roles.

Accepts only RS256 and ES256, and requires `iss`, `aud`, `exp` and `sub`. `issuer.py` fetches the
keys."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError

from gatehouse.core.clock import Clock
from gatehouse.core.roles import Role
from gatehouse.features.identity.issuer import Issuer, IssuerDocuments
from gatehouse.features.identity.models import Identity

ALGORITHMS = ("RS256", "ES256")
TOKEN_CHARS_MAX = 16_384

#: Maximum clock difference between the console and the issuer, in seconds.
SKEW_S = 60
_SUBJECT_CHARS_MAX = 255
_ID_TOKEN_TYPES = frozenset({"", "jwt"})
_BEARER_TYPES = _ID_TOKEN_TYPES | {"at+jwt", "application/at+jwt"}


@dataclass(slots=True, eq=False)
class OidcIdentityProvider:
    """Validates JWTs from an OpenID Connect issuer."""

    issuer: Issuer
    clock: Clock
    documents: IssuerDocuments = field(init=False)

    def __post_init__(self) -> None:
        self.documents = IssuerDocuments(self.issuer, self.clock)

    async def identify(self, token: str) -> Identity | None:
        """Return the identity in a bearer token, or None if the token is invalid. Raises
        Unavailable if no keys are available.
        """
        claims = await self._claims(token, self.issuer.audience, _BEARER_TYPES)
        return None if claims is None else self.identity(claims)

    async def id_token_claims(self, token: str, client_id: str) -> dict[str, Any] | None:
        """Return the claims of an ID token for a client, or None if the token is invalid. Raises
        Unavailable.

        The caller checks the claims that belong to the authorization request, such as `nonce`.
        """
        return await self._claims(token, client_id, _ID_TOKEN_TYPES)

    def identity(self, claims: Mapping[str, Any]) -> Identity | None:
        """Return the identity and the roles in valid claims, or None if the subject has an
        unsupported format.
        """
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_CHARS_MAX:
            return None
        if not (subject.isascii() and subject.isprintable()):
            return None
        # `auth_time`, or `iat` without it (OpenID Connect Core 1.0, section 2).
        proven_at = instant(claims.get("auth_time", claims.get("iat")))
        return Identity(subject, self._roles(claims), proven_at)

    async def _claims(
        self, token: str, audience: str, types: Collection[str]
    ) -> dict[str, Any] | None:
        if len(token) > TOKEN_CHARS_MAX or token.count(".") != 2:
            return None
        try:
            header = jws.extract_compact(token.encode("ascii")).headers()
        except (JoseError, ValueError, TypeError, RecursionError):
            return None
        if header.get("alg") not in ALGORITHMS or str(header.get("typ", "")).lower() not in types:
            return None
        key = await self.documents.key(str(header.get("kid", "")))
        if key is None:
            return None
        try:
            claims = jwt.decode(token, key, algorithms=[str(header["alg"])]).claims
            self._registry(audience).validate(claims)
        except (JoseError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        return claims

    def _registry(self, audience: str) -> jwt.JWTClaimsRegistry:
        return jwt.JWTClaimsRegistry(
            now=int(self.clock.now()),
            leeway=SKEW_S,
            iss={"essential": True, "value": self.issuer.url},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    def _roles(self, claims: Mapping[str, Any]) -> frozenset[Role]:
        # Users can enter the address of others (OpenID Connect Core 1.0, section 5.1). Some issuers
        # send a string.
        is_verified = claims.get("email_verified") in (True, "true")
        value = None
        if self.issuer.claim != "email" or is_verified:
            value = _member(claims, self.issuer.claim)
        named = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        return frozenset(
            self.issuer.roles[name]
            for name in named
            if isinstance(name, str) and name in self.issuer.roles
        )


def _member(claims: Any, path: str) -> Any:
    """The member at a path, or None. Dots in the path separate members, and can also be part of
    their names, as in `https://gatehouse.example.com/roles`.
    """
    if not isinstance(claims, Mapping):
        return None
    if path in claims:
        return claims[path]
    ends = [index for index, char in enumerate(path) if char == "."]
    members = (_member(claims.get(path[:end]), path[end + 1 :]) for end in ends)
    return next((member for member in members if member is not None), None)


def instant(value: object) -> float:
    return (
        float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**33
        else 0.0
    )
