"""Who may come in: the bootstrap token or a live key with a role, as a bearer token (RFC 6750), compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum

from starlette.requests import Request

from gatehouse.core import apikey
from gatehouse.core.roles import ADMIN_SCOPE
from gatehouse.doors.console.parts import Parts
from gatehouse.errors import BadRequest, Forbidden, GatehouseError, Problem, Unauthorized
from gatehouse.flows.actor import Actor
from gatehouse.flows.principal import Role, roles_of
from gatehouse.store.ports import StoredKey
from gatehouse.types import KeyState, RequestId

REALM = "gatehouse"
_NOBODY = bytes(32)


class Access(StrEnum):
    """The column `who` of the routes table."""

    PUBLIC = "public"
    ADMIN = "admin"
    SIGNED = "signed"  # no credential: the body is signed by a reporter that is known (report.py)


async def admit(request: Request, parts: Parts) -> Actor:
    """The one behind the request, with their roles in `request.state.roles`.

    Raises Unauthorized, BadRequest (ambiguous credentials), Unavailable.
    """
    token = _bearer(request)
    request_id = RequestId(request.state.request_id)
    address = source_address(request, parts)
    # A token of ours has no dot; a JWT has two.
    if parts.people is not None and "." in token:
        person = await parts.people.person(token)
        if person is None:
            raise Unauthorized("The bearer token is not valid here")
        request.state.key_id = "person"
        request.state.roles = person.roles
        return Actor(type="person", id=person.subject, request_id=request_id, source_address=address)
    bootstrap = parts.bootstrap_token
    # Hashes are compared, so that neither the time nor an exception tells anything about the length.
    is_bootstrap = hmac.compare_digest(_sha256(token), _NOBODY if bootstrap is None else _sha256(bootstrap))
    key = await _key(token, parts)
    if is_bootstrap:
        request.state.key_id = "bootstrap"
        request.state.roles = frozenset({Role.OWNER})
        return Actor(type="bootstrap", id="bootstrap", request_id=request_id, source_address=address)
    if key is None:
        raise Unauthorized("The bearer token is not valid here")
    request.state.key_id = key.record.id
    request.state.roles = roles_of(key.record.scopes)
    return Actor(type="key", id=key.record.id, request_id=request_id, source_address=address)


def challenge(error: GatehouseError, request: Request) -> dict[str, str]:
    """The WWW-Authenticate header of a 401 or 403 (RFC 6750, section 3); no error code when nothing was sent."""
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


async def _key(token: str, parts: Parts) -> StoredKey | None:
    """The live key of this environment that the token proves possession of. An HMAC is always computed, found or not."""
    parsed = apikey.parse(token, parts.key_prefix)
    if parsed is None:
        return None
    key = await parts.keys.get(parsed.id)
    digest, generation = (key.record.digest, key.record.pepper_generation) if key else (_NOBODY, parts.pepper.current)
    proven = parts.pepper.matches(parsed.text, digest, generation)
    if key is None or not proven:
        return None
    record = key.record
    alive = record.state is KeyState.ACTIVE and (record.expires_at is None or record.expires_at > parts.clock.now())
    # This door takes no signatures: a key that requires them would be believed without one.
    alive = alive and not (record.signing is not None and record.signing.required)
    at_home = record.environment is parts.key_environment is parsed.environment
    return key if alive and at_home else None


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
