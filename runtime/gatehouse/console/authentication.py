"""Who may come in: the bootstrap token or a live key with a role, as a bearer token (RFC 6750), compared in constant time.

Or a browser with the session cookie that it got for one of them (doors/console/session_cookie.py). A session lends the rights
that its credential has now: a key that was revoked, ran out or lost its role ends what it began.

The session cookie, and whether a request that brings it was made by our own page.

A browser sends the cookie with every request, also with those that another site makes it send. SameSite=Strict keeps most of
these back; the rest is refused twice over: by where the browser says that the request comes from (Sec-Fetch-Site, Origin), and by
a token that only our page can have read.
Source: OWASP Cross-Site Request Forgery Prevention Cheat Sheet; RFC 6265bis, section 4.1.3.2 (`__Host-`).
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from gatehouse.console.dependencies import Dependencies
from gatehouse.crypto import token as apikey
from gatehouse.errors import BadRequest, CrossSite, Forbidden, GatehouseError, Problem, StepUpRequired, Unauthorized
from gatehouse.http.models import RequestId
from gatehouse.identity.models import Actor, Role, Session, roles_of
from gatehouse.keys.models import Key, KeyId, KeyState
from gatehouse.keys.roles import ADMIN_SCOPE
from gatehouse.verification import addresses

REALM = "gatehouse"


class Access(StrEnum):
    """The column `who` of the routes table."""

    PUBLIC = "public"
    ADMIN = "admin"
    SIGNED = "signed"  # no credential: the body is signed by a reporter that is known (report.py)


async def admit(request: Request, parts: Dependencies) -> Actor:
    """The one behind a bearer token, with their roles in `request.state.roles` and the time of their proof in `proven_at`.

    Raises Unauthorized, BadRequest (ambiguous credentials), Unavailable.
    """
    token = _bearer(request)
    request.state.session = None
    request.state.proven_at = parts.clock.now()
    request_id = RequestId(request.state.request_id)
    address = source_address(request, parts)
    # A token of ours has no dot; a JWT has two.
    if parts.people is not None and "." in token:
        person = await parts.people.person(token)
        if person is None:
            raise Unauthorized("The bearer token is not valid here")
        request.state.key_id = "person"
        request.state.roles = person.roles
        request.state.proven_at = person.proven_at
        return Actor(type="person", id=person.subject, request_id=request_id, source_address=address)
    bootstrap = parts.bootstrap_token
    # Hashes are compared, so that neither the time nor an exception tells anything about the length.
    is_bootstrap = hmac.compare_digest(_sha256(token), apikey.NULL_DIGEST if bootstrap is None else _sha256(bootstrap))
    key = await _key(token, parts, address)
    if is_bootstrap:
        request.state.key_id = "bootstrap"
        request.state.roles = frozenset({Role.OWNER})
        return Actor(type="bootstrap", id="bootstrap", request_id=request_id, source_address=address)
    if key is None:
        raise Unauthorized("The bearer token is not valid here")
    request.state.key_id = key.id
    request.state.roles = roles_of(key.scopes)
    return Actor(type="key", id=key.id, request_id=request_id, source_address=address)


async def admit_session(request: Request, parts: Dependencies, cookie: str) -> Actor:
    """The one who signed in with this browser, as `admit` leaves it, the session in `request.state.session`.

    Raises CrossSite, Unauthorized (no such session, or its credential has ended), Unavailable.
    """
    check_site(request, parts)
    session = await parts.sessions.find(cookie)
    if session is None:
        raise Unauthorized("The session has ended; sign in again")
    check_csrf(request, parts, cookie)
    address = source_address(request, parts)
    roles = await _session_roles(session, parts, address)
    if roles is None:
        raise Unauthorized("The credential of this session has ended; sign in with another one")
    request.state.session, request.state.proven_at, request.state.roles = session, session.proven_at, roles
    request.state.key_id = session.actor_id if session.actor_type == "key" else session.actor_type
    request_id = RequestId(request.state.request_id)
    return Actor(type=session.actor_type, id=session.actor_id, request_id=request_id, source_address=address)


async def _session_roles(session: Session, parts: Dependencies, address: str) -> frozenset[Role] | None:
    """What the credential behind a session may do now; None when it is not good any more."""
    if session.actor_type == "person":
        return None if parts.people is None else frozenset(role for role in Role if role.value in session.roles)
    if session.actor_type == "bootstrap":
        return frozenset({Role.OWNER}) if parts.sessions.bond_holds(session.bond, parts.bootstrap_token) else None
    key = await parts.keys.get(KeyId(session.actor_id))
    return roles_of(key.scopes) if key is not None and _good_here(key, parts, address) else None


def challenge(error: GatehouseError, request: Request) -> dict[str, str]:
    """The WWW-Authenticate header of a 401 or 403 (RFC 6750, section 3; RFC 9470); no error code when nothing was sent."""
    if isinstance(error, StepUpRequired):
        age_s = int(request.app.state.parts.sessions.rules.step_up_max_age_s)
        return {"WWW-Authenticate": f'Bearer realm="{REALM}", error="insufficient_user_authentication", max_age="{age_s}"'}
    if isinstance(error, CrossSite):
        return {}
    if isinstance(error, Forbidden):
        return {"WWW-Authenticate": f'Bearer realm="{REALM}", error="insufficient_scope", scope="{ADMIN_SCOPE}"'}
    if isinstance(error, Unauthorized):
        sent = "authorization" in request.headers
        return {"WWW-Authenticate": f'Bearer realm="{REALM}"' + (', error="invalid_token"' if sent else "")}
    return {}


def source_address(request: Request, parts: Dependencies) -> str:
    """The caller's address, as far as our own proxies can be believed."""
    peer = request.client.host if request.client else "unknown"
    return parts.addresses.client(peer, request.headers.getlist("x-forwarded-for"))


def principal_of(request: Request, parts: Dependencies) -> str:
    """Whom a request claims to be, unproven: a key's id, `bootstrap`, `person` for a JWT, or `other`."""
    token = request.headers.get("authorization", "").partition(" ")[2].strip()
    parsed = apikey.parse(token, parts.key_prefix)
    if parsed is not None:
        return parsed.id
    # The bootstrap token begins like this (contract.toml): rubbish that somebody sends is no guess at it.
    return "bootstrap" if token.startswith(f"{parts.key_prefix}_admin_") else "person" if token.count(".") == 2 else "other"


def _bearer(request: Request) -> str:
    values = request.headers.getlist("authorization")
    if len(values) > 1:
        problem = Problem("header.authorization", "is sent more than once", "send one Authorization header")
        raise BadRequest("It is not clear which credential counts", errors=(problem,))
    scheme, _, token = (values[0] if values else "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Send the admin credential as Authorization: Bearer <token>")
    return token.strip()


async def _key(token: str, parts: Dependencies, address: str) -> Key | None:
    """The live key of this environment that the token proves possession of. An HMAC is always computed, found or not."""
    parsed = apikey.parse(token, parts.key_prefix)
    if parsed is None:
        return None
    key = await parts.keys.get(parsed.id)
    if not apikey.proves_possession(parts.pepper, parsed.text, key) or key is None:
        return None
    return key if key.environment is parsed.environment and _good_here(key, parts, address) else None


def _good_here(key: Key, parts: Dependencies, address: str) -> bool:
    """A live key of this environment, from an address that it may be used from."""
    record = key
    alive = record.state is KeyState.ACTIVE and (record.expires_at is None or record.expires_at > parts.clock.now())
    reachable = not record.addresses or addresses.allows(record.addresses, address)
    # This door takes no signatures: a key that requires them would be believed without one.
    unsigned = not (record.signing is not None and record.signing.required)
    return alive and unsigned and record.environment is parts.key_environment and reachable


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


COOKIE = "__Host-gatehouse"


CSRF_HEADER = "X-CSRF-Token"


_SAFE = frozenset({"GET", "HEAD"})


def cookie_of(request: Request) -> str | None:
    """The session cookie of a request without a credential of its own: one that is shown counts alone."""
    return None if "authorization" in request.headers else request.cookies.get(COOKIE)


def set_cookie(response: Response, cookie: str, *, max_age_s: int) -> None:
    """Without `Domain`, for `/` and over TLS alone, as `__Host-` demands; browsers take it from http://localhost too."""
    response.set_cookie(COOKIE, cookie, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="strict")


def clear_cookie(response: Response) -> None:
    """Takes the cookie away, and what the browser kept of our pages. Not `"cookies"`: that would reach the other doors' hosts."""
    response.set_cookie(COOKIE, "", max_age=0, path="/", secure=True, httponly=True, samesite="strict")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'


def check_site(request: Request, parts: Dependencies) -> None:
    """Raises CrossSite when the browser says that another site made the request, or is silent about one that changes things."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    safe = request.method in _SAFE
    # `none`: the person typed the address. That is how a page is opened, never how ours changes something.
    if site is not None and site != "same-origin" and not (safe and site == "none"):
        _refuse("header.sec-fetch-site", "says that another site made this request", "open the console itself and do it there")
    if origin is not None and not _own(origin, request, parts):
        _refuse("header.origin", "is not the console's own origin", "open the console itself and do it there")
    if not safe and site is None and origin is None:
        _refuse("header.origin", "is missing", "use a browser, or send the credential itself as Authorization: Bearer <token>")


def check_csrf(request: Request, parts: Dependencies, cookie: str) -> None:
    """Raises CrossSite when a request that may change something lacks the session's token."""
    if request.method in _SAFE:
        return
    sent = request.headers.getlist(CSRF_HEADER)
    if len(sent) != 1 or not parts.sessions.csrf_fits(cookie, sent[0]):
        fix = f"send {CSRF_HEADER} with the csrf_token of GET /v1/sessions/current"
        _refuse(f"header.{CSRF_HEADER.lower()}", "is missing or belongs to another session", fix)


def _own(origin: str, request: Request, parts: Dependencies) -> bool:
    if parts.origin:
        return origin == parts.origin
    # No public address is configured: the one that the browser called. A browser lets no page choose its Host header.
    return bool(urlsplit(origin).netloc) and urlsplit(origin).netloc == request.headers.get("host", "")


def _refuse(location: str, message: str, fix: str) -> None:
    raise CrossSite("The request may come from another site", errors=(Problem(location, message, fix),))
