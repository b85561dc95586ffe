"""The class of the console's API routes: first who may come in, then a body with one meaning, then the endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from gatehouse.console.authentication import admit, admit_session, cookie_of, principal_of, source_address
from gatehouse.console.authorization import STEP_UP, StepUp, changes, check_proof, needed
from gatehouse.console.dependencies import Dependencies
from gatehouse.console.idempotency import once
from gatehouse.crypto.token import key_id
from gatehouse.errors import BadRequest, Forbidden, Problem, RateLimited, Unauthorized
from gatehouse.http import asgi
from gatehouse.http.json_body import StrictRequest
from gatehouse.http.request_schema import check_query
from gatehouse.identity.lockout import Lockout
from gatehouse.identity.models import Actor, Role, check, check_reach, manages
from gatehouse.keys.roles import granted
from gatehouse.operations.features import SESSIONS

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ManagementRoute(APIRoute):
    """A route for those who manage. Leaves the caller in `request.state.actor`."""

    def get_route_handler(self) -> Handler:
        endpoint = super().get_route_handler()

        async def handler(request: Request) -> Response:
            parts: Dependencies = request.app.state.parts
            try:
                actor = await _enter(request, parts)
                check(request.state.roles, needed(request.method, request.scope["route"].path))
                await _check_target(request, parts)
            except (Unauthorized, Forbidden, RateLimited) as exc:
                await request.app.state.denied.record(source_address(request, parts), request.state.request_id, exc.code)
                raise
            strict = StrictRequest(request.scope, request.receive)
            _check_query(strict)
            _check_headers(strict)
            await _check_body(strict)
            try:
                await _check_scopes(strict)
            except (Forbidden, Unauthorized) as exc:
                await request.app.state.denied.record(source_address(request, parts), request.state.request_id, exc.code)
                raise
            strict.state.actor = actor
            return await once(strict, parts, actor.label, lambda: endpoint(strict))

        return handler


async def _enter(request: Request, parts: Dependencies) -> Actor:
    """`admit`, unless this address has guessed at this credential too often. Raises RateLimited besides.

    A wrong cookie counts for nobody: it is 256 random bits, and an old one in a forgotten tab must not lock out an office.
    """
    cookie = cookie_of(request)
    if cookie is not None and SESSIONS.name not in parts.features_off:
        return await admit_session(request, parts, cookie)
    lockout: Lockout = request.app.state.lockout
    address, principal = source_address(request, parts), principal_of(request, parts)
    wait_s = lockout.wait_s(address, principal)
    if wait_s:
        request.state.retry_after = str(wait_s)
        raise RateLimited("Too many wrong credentials came from your address; wait, and check what you send")
    try:
        actor = await admit(request, parts)
    except Unauthorized:
        lockout.failed(address, principal)
        raise
    lockout.succeeded(address, principal)
    return actor


async def _check_target(request: Request, parts: Dependencies) -> None:
    """What is done to a key that manages is an owner's act: whoever could rotate it would have its rights.

    And one that a session has to show its credential for.
    """
    known = key_id(request.path_params.get("id", ""))
    if not _changes(request) or (Role.OWNER in request.state.roles and request.state.session is None):
        return
    target = None if known is None else await parts.keys.get(known)
    scopes = () if target is None else target.scopes
    check_reach(request.state.roles, scopes)
    _check_proof(request, parts, managing=manages(scopes))


async def _check_scopes(request: StrictRequest) -> None:
    """No body of somebody who is not an owner may give a key a role, whatever route it is sent to."""
    if _changes(request) and await request.body():
        scopes = list(_scopes(await request.json()))
        check_reach(request.state.roles, scopes)
        _check_proof(request, request.app.state.parts, managing=manages(scopes))


def _check_proof(request: Request, parts: Dependencies, *, managing: bool) -> None:
    when = STEP_UP.get(f"{request.method} {request.scope['route'].path}", StepUp.ALWAYS)
    check_proof(parts.sessions, request.state.session, when, managing=managing)


def _changes(request: Request) -> bool:
    return changes(request.method, request.scope["route"].path)


def _scopes(value: Any) -> Iterator[str]:
    """Every text in a member `scopes` or `scope`, and every scope that a member `roles` or `role` grants, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _scopes(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in {"scope", "scopes"}:
                yield from _texts(item)
            elif name in {"role", "roles"}:
                yield from granted((), tuple(_texts(item)))
            else:
                yield from _scopes(item)


def _texts(item: Any) -> Iterator[str]:
    return (text for text in (item if isinstance(item, list) else [item]) if isinstance(text, str))


def _check_query(request: Request) -> None:
    check_query(request.scope["query_string"])
    counts = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in counts.items():
        if count > 1:
            _refuse(f"query.{name[:20]}", "is sent more than once", "send it once")


def _check_headers(request: Request) -> None:
    """A field line more would make a list of it (RFC 9110, section 5.3), of which FastAPI reads the first member alone."""
    if len(request.headers.getlist("if-match")) > 1:
        _refuse("header.if-match", "is sent more than once", "send it once, with one version")


async def _check_body(request: StrictRequest) -> None:
    if request.method in {"GET", "HEAD"} or not await request.body():
        return
    asgi.check_json(request.headers.getlist("content-type"))
    await request.json()  # strict, and kept: FastAPI reads the same value


def _refuse(location: str, message: str, fix: str) -> None:
    raise BadRequest("The request cannot be read", errors=(Problem(location, message, fix),))
