"""Sign-in with the authorization code flow of OpenID Connect and PKCE.

The browser keeps the state of a started sign-in in a cookie, so each console task can complete the
sign-in. `state`, `nonce` and the PKCE code verifier are HMACs of the cookie under the session key.
The cookie therefore cannot be changed, and does not contain the code verifier. A response for
another browser has another `state` and is rejected, which prevents login CSRF.

Sources: OpenID Connect Core 1.0, section 3.1; RFC 7636 (PKCE); RFC 9207 (`iss`); RFC 9700 (security
best current practice); OpenID Connect RP-Initiated Logout 1.0.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote_plus

import httpx
import msgspec

from gatehouse.core.clock import Clock
from gatehouse.core.errors import Unavailable
from gatehouse.core.notation import base64url
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.identity.issuer import Metadata, request
from gatehouse.features.identity.models import Identity
from gatehouse.features.identity.oidc import SKEW_S, OidcIdentityProvider, instant
from gatehouse.platform import calls

CALLBACK_PATH = "/sign-in/callback"

#: Time in seconds to complete a sign-in at the identity provider.
TRANSACTION_S = 600
RETURN_TO_CHARS_MAX = 1000
_COOKIE_CHARS_MAX = 3800
_CODE_CHARS_MAX = 4096
#: Printable ASCII without a backslash, and without a second slash at the beginning.
_LOCAL_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")
_ERROR_CODE = re.compile("[a-z_]{1,60}")

#: Errors from the identity provider (RFC 6749, sections 4.1.2.1 and 5.2) that are caused by the
#: configuration of the provider or of the console.
_CONFIGURATION_ERRORS = (
    *("invalid_client", "invalid_request", "invalid_scope", "unauthorized_client"),
    *("unsupported_grant_type", "unsupported_response_type"),
)


class Failure(StrEnum):
    """Cause of a failed sign-in. The web UI has a message for each value (`signInFailure.*` in
    runtime/web/src/locales).
    """

    RESTART = "restart"  # started in another browser, already completed, or too old
    DENIED = "denied"  # the user or the identity provider denied the sign-in
    UNAVAILABLE = "unavailable"  # the identity provider or the console is unavailable
    CONFIGURATION = "configuration"  # the identity provider rejects the client
    RESPONSE = "response"  # the response is invalid, or the identity provider rejects the code
    NO_ROLE = "no_role"  # no role is mapped to the user
    NOT_RECENT = (
        "not_recent"  # the identity provider did not authenticate the user again for a step-up
    )
    OTHER_USER = "other_user"  # another user completed the step-up


class SignInFailed(Exception):
    """A sign-in failed. `detail` is only logged, and contains neither a token nor a code."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(failure)
        self.failure = failure
        self.detail = detail


class Transaction(msgspec.Struct, frozen=True, array_like=True):
    """A started sign-in, as stored in the cookie.

    seed: random text.
    started_at: Unix seconds.
    session_id: session of the browser, which the new session replaces; empty: none.
    step_up_subject: user who must be authenticated again; empty: no step-up.
    """

    seed: str
    started_at: int
    return_to: str
    session_id: str = ""
    step_up_subject: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """The console as a client of the issuer. secret: empty for a public client. origin: origin of
    the console's public URL.
    """

    id: str
    secret: str = field(repr=False)
    scopes: str
    origin: str

    @property
    def redirect_uri(self) -> str:
        return self.origin + CALLBACK_PATH


@dataclass(frozen=True, slots=True)
class AuthorizationCodeFlow:
    """Starts and completes sign-ins.

    key: the session key. step_up_max_age_s: maximum age of an authentication for sensitive actions.
    """

    provider: OidcIdentityProvider
    client: Client
    clock: Clock
    key: Pepper
    random_bytes: Callable[[int], bytes]
    step_up_max_age_s: float

    async def start(
        self, return_to: str, *, session_id: str = "", step_up_subject: str = ""
    ) -> tuple[str, str]:
        """Return the URL of the authorization request, and the cookie. Raises SignInFailed."""
        metadata = await self._metadata()
        if not metadata.authorization_endpoint or not metadata.token_endpoint:
            raise SignInFailed(
                Failure.CONFIGURATION, "the discovery document contains no endpoints"
            )
        seed = base64url(self.random_bytes(32))
        transaction = Transaction(
            seed, int(self.clock.now()), local_path(return_to), session_id, step_up_subject
        )
        generation = self.key.current
        cookie = f"{generation}.{base64url(msgspec.json.encode(transaction))}"
        parameters = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": self.client.redirect_uri,
            "scope": self.client.scopes,
            "state": self._derived("state", cookie),
            "nonce": self._derived("nonce", cookie),
            "code_challenge": base64url(
                hashlib.sha256(self._derived("verifier", cookie).encode()).digest()
            ),
            "code_challenge_method": "S256",
        }
        if step_up_subject:
            # With max_age, the ID token must contain auth_time (OpenID Connect Core 1.0, section
            # 3.1.2.1).
            parameters |= {"prompt": "login", "max_age": str(int(self.step_up_max_age_s))}
        return str(httpx.URL(metadata.authorization_endpoint).copy_merge_params(parameters)), cookie

    async def complete(
        self, cookie: str, parameters: Mapping[str, str]
    ) -> tuple[Identity, Transaction]:
        """Exchange the code in the redirect for an ID token, and validate the token. Returns the
        identity of the user and the started sign-in. Raises SignInFailed."""
        transaction = self._transaction(cookie, parameters.get("state", ""))
        metadata = await self._metadata()
        _check_issuer(metadata, parameters.get("iss"))
        _check_error(parameters.get("error"))
        code = parameters.get("code", "")
        if not 0 < len(code) <= _CODE_CHARS_MAX:
            raise SignInFailed(Failure.RESPONSE, "the response contains no code")
        tokens = await self._exchange(metadata, code, self._derived("verifier", cookie))
        claims = await self._id_token_claims(tokens, self._derived("nonce", cookie))
        identity = self.provider.identity(claims)
        if identity is None:
            raise SignInFailed(Failure.RESPONSE, "sub of the ID token has an unsupported format")
        # Without auth_time, the age of the authentication is unknown: `iat` is the time of this
        # exchange.
        identity = msgspec.structs.replace(identity, proven_at=instant(claims.get("auth_time")))
        if not identity.roles:
            raise SignInFailed(
                Failure.NO_ROLE, f"the claim {self.provider.issuer.claim} grants no role"
            )
        if transaction.step_up_subject:
            if identity.subject != transaction.step_up_subject:
                raise SignInFailed(
                    Failure.OTHER_USER, "sub of the ID token is not the user of the session"
                )
            if identity.proven_at < transaction.started_at - SKEW_S:
                raise SignInFailed(
                    Failure.NOT_RECENT, "auth_time of the ID token is missing or before the step-up"
                )
        return identity, transaction

    async def sign_out_url(self) -> str:
        """Return the URL that ends the session at the identity provider, or an empty string if the
        provider announces no such URL.

        Raises SignInFailed.
        """
        endpoint = (await self._metadata()).end_session_endpoint
        home = f"{self.client.origin}/"  # Amazon Cognito requires `logout_uri`.
        parameters = {
            "client_id": self.client.id,
            "post_logout_redirect_uri": home,
            "logout_uri": home,
        }
        return str(httpx.URL(endpoint).copy_merge_params(parameters)) if endpoint else ""

    async def _metadata(self) -> Metadata:
        try:
            return await self.provider.documents.metadata()
        except Unavailable as exc:
            raise SignInFailed(Failure.UNAVAILABLE, exc.detail) from None

    def _derived(self, purpose: str, cookie: str) -> str:
        """An HMAC of the cookie: 43 characters, which is also the minimum length of a code verifier
        (RFC 7636, section 4.1).
        """
        generation = cookie.partition(".")[0]
        known = int(generation) if generation.isdecimal() and len(generation) < 10 else 0
        digest = self.key.digest(f"oidc-{purpose}:{cookie}", known)
        if digest is None:
            raise SignInFailed(Failure.RESTART, "the session key of the sign-in is not available")
        return base64url(digest)

    def _transaction(self, cookie: str, state: str) -> Transaction:
        """Return the sign-in in a cookie, if `state` belongs to the cookie and the sign-in is
        recent.
        """
        if not cookie or len(cookie) > _COOKIE_CHARS_MAX or not cookie.isascii():
            raise SignInFailed(Failure.RESTART, "the browser sent no cookie of a sign-in")
        if not hmac.compare_digest(
            self._derived("state", cookie).encode(), state.encode("utf-8", "replace")
        ):
            raise SignInFailed(Failure.RESTART, "state does not belong to the browser")
        # The state proves that the console created the cookie.
        payload = cookie.partition(".")[2]
        try:
            transaction = msgspec.json.decode(
                base64.urlsafe_b64decode(payload + -len(payload) % 4 * "="), type=Transaction
            )
        except (msgspec.DecodeError, ValueError):
            raise SignInFailed(
                Failure.RESTART, "another version of the console started the sign-in"
            ) from None
        if not -SKEW_S <= self.clock.now() - transaction.started_at <= TRANSACTION_S:
            raise SignInFailed(Failure.RESTART, "the sign-in took too long")
        return transaction

    async def _exchange(self, metadata: Metadata, code: str, verifier: str) -> dict[str, Any]:
        """Exchange the code for tokens at the token endpoint (RFC 6749, section 4.1.3)."""
        client = self.client
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "client_id": client.id,
            "code_verifier": verifier,
        }
        auth = None
        if (
            client.secret
            and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported
        ):
            # Both values are form-encoded first (RFC 6749, section 2.3.1).
            auth = httpx.BasicAuth(quote_plus(client.id), quote_plus(client.secret))
        elif client.secret:
            form["client_secret"] = client.secret
        try:
            status, document = await request("POST", metadata.token_endpoint, form=form, auth=auth)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as exc:
            calls.failed("identity provider", type(exc).__name__, "token")
            raise SignInFailed(
                Failure.UNAVAILABLE, f"token endpoint: {type(exc).__name__}"
            ) from None
        if status < 500:
            calls.succeeded("identity provider", "token")
        else:
            calls.failed("identity provider", f"status {status}", "token")
        if status == 200:
            return document
        error = _error_code(document.get("error"))
        failure = Failure.CONFIGURATION if error in _CONFIGURATION_ERRORS else Failure.UNAVAILABLE
        failure = Failure.RESPONSE if error == "invalid_grant" else failure
        raise SignInFailed(failure, f"token endpoint: {status} {error}")

    async def _id_token_claims(self, tokens: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Validate the ID token of a token response (OpenID Connect Core 1.0, section 3.1.3.7), and
        return its claims.
        """
        token = tokens.get("id_token")
        try:
            claims = (
                await self.provider.id_token_claims(token, self.client.id)
                if isinstance(token, str)
                else None
            )
        except Unavailable as exc:
            raise SignInFailed(Failure.UNAVAILABLE, exc.detail) from None
        if claims is None:
            raise SignInFailed(Failure.RESPONSE, "the ID token is missing or invalid")
        sent, audience = claims.get("nonce"), claims["aud"]
        if not isinstance(sent, str) or not hmac.compare_digest(
            sent.encode("utf-8", "replace"), nonce.encode()
        ):
            raise SignInFailed(Failure.RESPONSE, "nonce of the ID token belongs to another sign-in")
        is_shared = isinstance(audience, list) and len(audience) > 1
        if ("azp" in claims or is_shared) and claims.get("azp") != self.client.id:
            raise SignInFailed(Failure.RESPONSE, "azp of the ID token is another client")
        if not instant(claims.get("iat")):
            raise SignInFailed(Failure.RESPONSE, "the ID token contains no iat")
        if "at_hash" in claims and claims["at_hash"] != _half_hash(tokens.get("access_token")):
            raise SignInFailed(
                Failure.RESPONSE, "at_hash of the ID token belongs to another access token"
            )
        return claims


def local_path(text: str) -> str:
    """Return a path on the console with its query, or `/` for other text, such as the URL of
    another site.

    Browsers treat a backslash as a slash and ignore control characters (URL Standard), so
    `/\\evil.example` is such a URL.
    """
    return text if len(text) <= RETURN_TO_CHARS_MAX and _LOCAL_PATH.fullmatch(text) else "/"


def _check_issuer(metadata: Metadata, issuer: str | None) -> None:
    """Check `iss` in the redirect, which detects a response from another issuer (RFC 9207, section
    2.4).
    """
    is_missing = issuer is None and metadata.authorization_response_iss_parameter_supported
    if is_missing or (issuer is not None and issuer != metadata.issuer):
        raise SignInFailed(Failure.RESPONSE, "iss of the response is missing or another issuer")


def _check_error(error: str | None) -> None:
    if error is None:
        return
    code = _error_code(error)
    if code == "access_denied":
        raise SignInFailed(Failure.DENIED, "authorization endpoint: access_denied")
    failure = Failure.CONFIGURATION if code in _CONFIGURATION_ERRORS else Failure.UNAVAILABLE
    raise SignInFailed(failure, f"authorization endpoint: {code}")


def _error_code(value: object) -> str:
    """Return an error code for the log, or `error` for other text."""
    return value if isinstance(value, str) and _ERROR_CODE.fullmatch(value) else "error"


def _half_hash(token: object) -> str:
    """Return `at_hash` of an access token. The hash of RS256 and ES256 is SHA-256 (section
    3.1.3.6).
    """
    return (
        base64url(hashlib.sha256(token.encode("utf-8", "replace")).digest()[:16])
        if isinstance(token, str)
        else ""
    )
