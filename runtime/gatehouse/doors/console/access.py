"""Who may come in: the bootstrap token or a live key with a role, as a bearer token (RFC 6750), compared in constant time.

Or a browser with the session cookie that it got for one of them (doors/console/session_cookie.py). A session lends the rights
that its credential has now: a key that was revoked, ran out or lost its role ends what it began.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum

from starlette.requests import Request

from gatehouse.core import addresses, apikey
from gatehouse.core.roles import ADMIN_SCOPE
from gatehouse.doors.console.parts import Parts
from gatehouse.doors.console.session_cookie import check_csrf, check_site
from gatehouse.errors import BadRequest, CrossSite, Forbidden, GatehouseError, Problem, StepUpRequired, Unauthorized
from gatehouse.flows.actor import Actor
from gatehouse.flows.principal import Role, roles_of
from gatehouse.store.ports import StoredKey
from gatehouse.store.ports_session import Session
from gatehouse.types import KeyId, KeyState, RequestId

REALM = "gatehouse"
_NOBODY = bytes(32)


class Access(StrEnum):
    """The column `who` of the routes table."""

    PUBLIC = "public"
    ADMIN = "admin"
    SIGNED = "signed"  # no credential: the body is signed by a reporter that is known (report.py)


async def admit(request: Request, parts: Parts) -> Actor:
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
    is_bootstrap = hmac.compare_digest(_sha256(token), _NOBODY if bootstrap is None else _sha256(bootstrap))
    key = await _key(token, parts, address)
    if is_bootstrap:
        request.state.key_id = "bootstrap"
        request.state.roles = frozenset({Role.OWNER})
        return Actor(type="bootstrap", id="bootstrap", request_id=request_id, source_address=address)
    if key is None:
        raise Unauthorized("The bearer token is not valid here")
    request.state.key_id = key.record.id
    request.state.roles = roles_of(key.record.scopes)
    return Actor(type="key", id=key.record.id, request_id=request_id, source_address=address)


async def admit_session(request: Request, parts: Parts, cookie: str) -> Actor:
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


async def _session_roles(session: Session, parts: Parts, address: str) -> frozenset[Role] | None:
    """What the credential behind a session may do now; None when it is not good any more."""
    if session.actor_type == "person":
        return None if parts.people is None else frozenset(role for role in Role if role.value in session.roles)
    if session.actor_type == "bootstrap":
        return frozenset({Role.OWNER}) if parts.sessions.bond_holds(session.bond, parts.bootstrap_token) else None
    key = await parts.keys.get(KeyId(session.actor_id))
    return roles_of(key.record.scopes) if key is not None and _good_here(key, parts, address) else None


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


def source_address(request: Request, parts: Parts) -> str:
    """The caller's address, as far as our own proxies can be believed."""
    peer = request.client.host if request.client else "unknown"
    return parts.addresses.client(peer, request.headers.getlist("x-forwarded-for"))


def principal_of(request: Request, parts: Parts) -> str:
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


async def _key(token: str, parts: Parts, address: str) -> StoredKey | None:
    """The live key of this environment that the token proves possession of. An HMAC is always computed, found or not."""
    parsed = apikey.parse(token, parts.key_prefix)
    if parsed is None:
        return None
    key = await parts.keys.get(parsed.id)
    digest, generation = (key.record.digest, key.record.pepper_generation) if key else (_NOBODY, parts.pepper.current)
    proven = parts.pepper.matches(parsed.text, digest, generation)
    if key is None or not proven:
        return None
    return key if key.record.environment is parsed.environment and _good_here(key, parts, address) else None


def _good_here(key: StoredKey, parts: Parts, address: str) -> bool:
    """A live key of this environment, from an address that it may be used from."""
    record = key.record
    alive = record.state is KeyState.ACTIVE and (record.expires_at is None or record.expires_at > parts.clock.now())
    reachable = not record.addresses or addresses.allows(record.addresses, address)
    # This door takes no signatures: a key that requires them would be believed without one.
    unsigned = not (record.signing is not None and record.signing.required)
    return alive and unsigned and record.environment is parts.key_environment and reachable


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
