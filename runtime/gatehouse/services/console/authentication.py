"""Authentication at the console: the bootstrap token, an API key with a role, a JWT, or a browser
session.

Credentials are bearer tokens (RFC 6750), compared in constant time. A session has the current
permissions of its credential.

Browsers can send the session cookie with cross-site requests. `SameSite=Strict` prevents most of
these requests. The console rejects the others by checking the origin that the browser reports
(Sec-Fetch-Site, Origin) and a CSRF token that only the console's own pages can read. Sources: OWASP
Cross-Site Request Forgery Prevention Cheat Sheet; RFC 6265bis, section 4.1.3.2 (`__Host-`).
"""

import hashlib
import hmac
import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn

from gatehouse.core.actor import Actor, Session
from gatehouse.core.decision import evaluate
from gatehouse.core.errors import (
    CrossSite,
    Forbidden,
    GatehouseError,
    Problem,
    RateLimited,
    StepUpRequired,
    Unauthorized,
    Unavailable,
)
from gatehouse.core.features import SESSIONS, Features
from gatehouse.core.http.forwarding import CONSOLE_COOKIE
from gatehouse.core.keys import ADMIN_SCOPE, Key, KeyId
from gatehouse.core.roles import Role, roles_of
from gatehouse.core.tokens import token as tokens
from gatehouse.core.verification import Charge, Code, VerificationRequest
from gatehouse.features.identity.models import INVALID_LINK, SignInLink
from gatehouse.features.identity.oidc import OidcIdentityProvider
from gatehouse.features.identity.service import Sessions
from gatehouse.features.keys.possession import KeyFinder
from gatehouse.features.keys.service import KeyService
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.platform.web.request import Caller, Request
from gatehouse.platform.web.responses import Header
from gatehouse.platform.web.validation import invalid
from gatehouse.services.console.lockout import OTHER, Lockout

REALM = "gatehouse"
CSRF_HEADER = "X-CSRF-Token"

_SAFE = frozenset({"GET", "HEAD"})

#: Minimum time between two stored uses of a key.
USE_INTERVAL_S = 60
_KEYS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Authenticates requests.

    usage: stores when a key was sent.
    limits: counts requests with a key against the rate limits of the key. Requests to the gateways
        count against the same limits.
    origin: origin of the console, such as https://console.example.com. Empty: the origin from the
        Host header.
    features: of the console.
    identity_provider: validates JWTs. None when it is not configured.
    """

    keys: KeyService
    finder: KeyFinder[Key]
    sessions: Sessions
    lockout: Lockout
    usage: UsageRepository
    limits: RateLimits
    origin: str
    features: Features
    identity_provider: OidcIdentityProvider | None
    #: Times of the last stored uses, by key ID.
    _used: dict[str, float] = field(default_factory=dict)

    async def authenticate(self, request: Request, *, codes: bool = False) -> Caller:
        """Return the caller of a request. Raises Unauthorized, CrossSite, RateLimited, Unavailable,
        and BadRequest if the request contains several Authorization headers.

        `codes`: the request starts a session. The credential may also be the code of a sign-in
        link, and a browser must not send the request from another site.

        Failures are counted by address and claimed credential. Invalid cookies, codes and JWTs are
        not counted: cookies and codes have 256 random bits, a JWT is signed, and users of a network
        with one address must not lock each other out.
        """
        if codes and (request.values(b"sec-fetch-site") or request.values(b"origin")):
            self._check_site(request)
        # A credential takes precedence over the cookie.
        cookie = "" if request.values(b"authorization") else request.cookie(CONSOLE_COOKIE)
        if cookie and SESSIONS not in self.features.off:
            return await self._from_session(request, cookie)
        token = _bearer(request)  # a request without a credential is no guess
        address, principal = request.client, self._claimed_principal(request)
        if wait_s := self.lockout.wait_s(address, principal, token):
            raise RateLimited(
                "Too many failed authentications from this IP address. Wait, then check the "
                "credential.",
                retry_after_s=wait_s,
            )
        try:
            is_code = codes and token.startswith(self.sessions.code_prefix)
            caller = await (
                self._from_code(request, token) if is_code else self._from_token(request, token)
            )
        except Unauthorized:
            if principal:
                self.lockout.failed(address, principal, token)
            raise
        if principal:
            self.lockout.succeeded(address, principal, token)
        return caller

    async def session(self, request: Request) -> Session | None:
        return await self.sessions.find(request.cookie(CONSOLE_COOKIE))

    def _check_site(self, request: Request) -> None:
        """Raise CrossSite if the browser reports another origin, or no origin for a request that
        can change data.
        """
        safe = request.method in _SAFE
        site, origin = request.header(b"sec-fetch-site"), request.header(b"origin")
        # `none` means that the user entered the URL, which never changes data.
        if site and site != "same-origin" and not (safe and site == "none"):
            _reject(
                "header.sec-fetch-site", "indicates a cross-site request", "use the console itself"
            )
        if origin and not self._is_own_origin(origin, request):
            _reject("header.origin", "is not the origin of the console", "use the console itself")
        if not (safe or site or origin):
            _reject(
                "header.origin",
                "is missing",
                "use a browser, or send the credential as Authorization: Bearer <token>",
            )

    async def _from_token(self, request: Request, token: str) -> Caller:
        # API keys contain no dot; a JWT contains two.
        if self.identity_provider is not None and "." in token:
            person = await self.identity_provider.identify(token)
            if person is None:
                raise Unauthorized("The bearer token is invalid.")
            actor = _actor(request, "person", person.subject)
            return Caller(actor, person.roles, "person", person.proven_at, actor.label)
        bootstrap = self.sessions.bootstrap_token
        # Compare hashes, so that the timing does not reveal the token length.
        is_bootstrap = hmac.compare_digest(
            _sha256(token), tokens.NULL_DIGEST if bootstrap is None else _sha256(bootstrap)
        )
        if is_bootstrap:
            actor = _actor(request, "bootstrap", "bootstrap")
            return Caller(actor, frozenset({Role.OWNER}), "bootstrap", request.now, actor.label)
        key = await self.finder.proven(token)
        if key is not None:
            await self._add_use(request, key)
        if key is None or not self._is_usable(request, key):
            raise Unauthorized("The bearer token is invalid.")
        await self._take_limits(request, key)
        return Caller(
            _actor(request, "key", key.id), roles_of(key.scopes), key.id, request.now, _label(key)
        )

    async def _from_code(self, request: Request, token: str) -> Caller:
        link = await self.sessions.link(token)
        caller = None if link is None else await self._holder(request, link)
        if caller is None:
            raise Unauthorized(INVALID_LINK)
        return replace(caller, code=token)

    async def _from_session(self, request: Request, cookie: str) -> Caller:
        self._check_site(request)
        session = await self.session(request)
        if session is None:
            raise Unauthorized("The session has ended. Sign in again.")
        self._check_csrf(request, cookie)
        caller = await self._holder(request, session)
        if caller is None:
            raise Unauthorized(
                "The credential of this session is no longer valid. Sign in with another "
                "credential."
            )
        return replace(caller, session=session)

    async def _holder(self, request: Request, session: Session | SignInLink) -> Caller | None:
        """Return the caller whose credential started a session or created a link, or None if it is
        no longer valid.
        """
        actor = _actor(request, session.actor_type, session.actor_id)
        is_key = session.actor_type == "key"
        key = await self.keys.store.get(KeyId(session.actor_id)) if is_key else None
        roles = self._current_roles(request, session, key)
        if roles is None:
            return None
        if key is not None:
            await self._add_use(request, key)
            await self._take_limits(request, key)
        log_id = session.actor_id if is_key else session.actor_type
        return Caller(
            actor, roles, log_id, session.proven_at, actor.label if key is None else _label(key)
        )

    def _current_roles(
        self, request: Request, session: Session | SignInLink, key: Key | None
    ) -> frozenset[Role] | None:
        """Return the current roles of the credential of a session or link, or None if the
        credential is no longer valid.

        key: the key of the session, if it exists.
        """
        if session.actor_type == "person":
            return (
                None
                if self.identity_provider is None
                else frozenset(role for role in Role if role.value in session.roles)
            )
        if session.actor_type == "bootstrap":
            return frozenset({Role.OWNER}) if self.sessions.verify_bond(session.bond) else None
        return roles_of(key.scopes) if key is not None and self._is_usable(request, key) else None

    def _is_usable(self, request: Request, key: Key) -> bool:
        """Return True if a gateway would accept the key for this request. The console does not
        verify signatures, so it does not accept a key that requires signatures."""
        unsigned = VerificationRequest(address=request.client, method=request.method)
        environment = self.keys.environment
        code = evaluate(key, unsigned, possession=True, environment=environment, now=request.now)
        return code is Code.VALID

    async def _add_use(self, request: Request, key: Key) -> None:
        if request.now - self._used.get(key.id, 0) >= USE_INTERVAL_S:
            if len(self._used) >= _KEYS_MAX:
                self._used.clear()
            self._used[key.id] = request.now
            with suppress(Unavailable):  # of the database; the last use is not essential
                await self.usage.add_use(key.id, request.now)

    async def _take_limits(self, request: Request, key: Key) -> None:
        """Count the request, once, against the limits of the key, which also apply at the gateways.
        Raises RateLimited, Unavailable.
        """
        if request.caller is not None:
            return
        states = await self.limits.take(Charge(key.subject, key.limits, cost=1))
        waits = [state.retry_after_s for state in states if state.exceeded]
        if waits:
            raise RateLimited(
                "A rate limit of the API key is exceeded.", retry_after_s=math.ceil(max(waits))
            )

    def _claimed_principal(self, request: Request) -> str:
        """Return the unverified credential that a request claims: a key ID, `bootstrap` or OTHER.
        Empty for a JWT and for a code.
        """
        prefix = self.keys.prefix
        token = request.header(b"authorization").partition(" ")[2].strip()
        parsed = tokens.parse(token, prefix)
        if parsed is not None:
            return parsed.id
        # Bootstrap tokens have this prefix (contract.toml). Other text is not counted as an attempt
        # to guess a bootstrap token.
        if token.startswith(f"{prefix}_admin_"):
            return "bootstrap"
        is_jwt = self.identity_provider is not None and "." in token
        return "" if is_jwt or token.startswith(self.sessions.code_prefix) else OTHER

    def _check_csrf(self, request: Request, cookie: str) -> None:
        if request.method in _SAFE:
            return
        sent = request.values(CSRF_HEADER.lower().encode())
        if len(sent) != 1 or not self.sessions.verify_csrf(cookie, sent[0]):
            fix = f"send {CSRF_HEADER} with the csrf_token from GET /v1/sessions/current"
            _reject(
                f"header.{CSRF_HEADER.lower()}", "is missing or belongs to another session", fix
            )

    def _is_own_origin(self, origin: str, request: Request) -> bool:
        if self.origin:
            return origin == self.origin
        # If no public URL is configured, compare the origin with the Host header, which a page
        # cannot set.
        host = origin.partition("://")[2]
        return bool(host) and host == request.header(b"host")


def challenge(error: GatehouseError, request: Request, *, step_up_max_age_s: float) -> list[Header]:
    """Return the WWW-Authenticate header for a 401 or 403 response (RFC 6750, section 3; RFC 9470).

    The header contains no error code if no credential was sent.
    """
    parameters = f'Bearer realm="{REALM}"'
    if isinstance(error, StepUpRequired):
        parameters += (
            f', error="insufficient_user_authentication", max_age="{int(step_up_max_age_s)}"'
        )
    elif isinstance(error, CrossSite) or not isinstance(error, Forbidden | Unauthorized):
        return []
    elif isinstance(error, Forbidden):
        parameters += f', error="insufficient_scope", scope="{ADMIN_SCOPE}"'
    elif request.values(b"authorization"):
        parameters += ', error="invalid_token"'
    return [(b"www-authenticate", parameters.encode())]


def _label(key: Key) -> str:
    """Return the label under which a key owns secrets. All keys in a key family share the label of
    the family's first key.
    """
    return Actor(type="key", id=key.subject).label


def _actor(request: Request, kind: Literal["bootstrap", "key", "person"], id: str) -> Actor:
    return Actor(type=kind, id=id, request_id=request.request_id, source_address=request.client)


def _bearer(request: Request) -> str:
    values = request.values(b"authorization")
    if len(values) > 1:
        raise invalid(
            "header.authorization", "is sent more than once", "send one Authorization header"
        )
    scheme, _, token = (values[0] if values else "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Send the credential as Authorization: Bearer <token>.")
    return token.strip()


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _reject(location: str, message: str, fix: str) -> NoReturn:
    raise CrossSite(
        "The request may come from another site.", errors=(Problem(location, message, fix),)
    )
