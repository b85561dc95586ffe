"""Endpoints for browser sessions."""

from functools import partial

from gatehouse.core.actor import ActorType, Session
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import Forbidden, NotFound
from gatehouse.core.features import SESSIONS
from gatehouse.core.http.forwarding import CONSOLE_COOKIE
from gatehouse.core.roles import ANY_ROLE, AUDITORS, Role
from gatehouse.core.tokens.token import key_id
from gatehouse.features.identity.schemas import (
    CODE_FRAGMENT,
    CallerView,
    CreatedSignInLink,
    CurrentSession,
    EndedSessions,
    EndSessions,
    ListSessions,
    RoleMapping,
    SessionList,
    SignInMethods,
    session_view,
)
from gatehouse.features.identity.service import Sessions, StartedSession
from gatehouse.platform.web.endpoint import CREDENTIAL, SIGN_IN_CODE, Endpoint, StepUp
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.validation import invalid


async def sign_in(request: Request, sessions: Sessions) -> CurrentSession:
    """Sign in.

    Starts a session and sets the session cookie. Send the credential as `Authorization: Bearer`. To
    satisfy a step-up requirement, sign in again. The new session replaces the current session.
    """
    caller, kind = request.authenticated, _kind(request)
    cookie = request.cookie(CONSOLE_COOKIE)
    current = await sessions.find(cookie) if cookie else None
    started = await sessions.begin(
        caller.actor,
        caller.roles,
        kind=kind,
        proven_at=caller.proven_at,
        replaced_id=None if current is None else current.id,
        user_agent=request.header(b"user-agent"),
        code=caller.code,
    )
    set_session_cookie(request, sessions, started)
    request.add_header(b"location", "/v1/sessions/current")
    return _current(request, sessions, started.session, started.csrf)


async def create_sign_in_link(request: Request, sessions: Sessions) -> CreatedSignInLink:
    """Create a sign-in link.

    The link is valid for five minutes and starts one session with the credential of this request,
    without the credential itself. A credential has at most one link: when a new link is created,
    the previous link stops working.
    """
    caller, kind = request.authenticated, _kind(request)
    code, expires_at = await sessions.create_link(
        caller.actor, caller.roles, kind=kind, proven_at=caller.proven_at
    )
    return CreatedSignInLink(f"/{CODE_FRAGMENT}{code}", rfc3339(expires_at))


async def list_sessions(request: Request, query: ListSessions, sessions: Sessions) -> SessionList:
    """List sessions.

    Returns the active sessions of the caller, or with `everybody=true` those of all users, newest
    first.
    """
    if query.everybody and not request.authenticated.roles & AUDITORS:
        message = "Listing the sessions of all users requires the role owner, operator or auditor."
        raise Forbidden(message)
    current = _session_id(request)
    found = await sessions.list_for(None if query.everybody else request.actor)
    return SessionList([session_view(session, current=session.id == current) for session in found])


async def show_sign_in_methods(request: Request, sessions: Sessions) -> SignInMethods:
    """Retrieve the ways to sign in.

    Returns whether the bootstrap token is accepted, and the roles that the identity provider
    grants. Keys that grant a role, which `GET /v1/keys?has_role=true` lists, can sign in too.
    """
    rules = sessions.rules
    return SignInMethods(
        bootstrap=sessions.bootstrap_token is not None,
        issuer=rules.oidc_issuer,
        claim=rules.oidc_claim,
        mappings=[RoleMapping(value, role) for value, role in rules.oidc_roles.items()],
    )


async def show_caller(request: Request, sessions: Sessions) -> CallerView:
    """Retrieve the caller.

    Returns who makes this request, with which roles, and the environment of the deployment.
    """
    caller = request.authenticated
    return CallerView(
        actor_type=caller.actor.type,
        actor_id=caller.actor.id,
        roles=sorted(role.value for role in caller.roles),
        environment=sessions.rules.environment,
    )


async def show_session(request: Request, sessions: Sessions) -> CurrentSession:
    """Retrieve the current session.

    Returns the `csrf_token` of the session, for example after a page reload.
    """
    session = request.authenticated.session
    if session is None:
        raise NotFound(
            "This request uses a credential instead of a session. POST /v1/sessions starts a "
            "session."
        )
    csrf_token = sessions.csrf(request.cookie(CONSOLE_COOKIE))
    return _current(request, sessions, session, csrf_token)


async def end_session(request: Request, session: str, sessions: Sessions) -> None:
    """End a session.

    Use `current` to end the session that sends the request, or an ID to end another of your
    sessions. Owners can end any session.
    """
    current = _session_id(request)
    session_id = current if session == "current" else key_id(session)
    any_actor = Role.OWNER in request.authenticated.roles
    if session_id is None or not await sessions.end(session_id, request.actor, any_actor=any_actor):
        raise NotFound("No session has this ID.")
    if session_id == current:
        _clear_cookie(request)


async def end_sessions(request: Request, query: EndSessions, sessions: Sessions) -> EndedSessions:
    """End all of your sessions.

    The current session also ends, and your sign-in link stops working. With `everybody=true`, which
    requires the role owner, the sessions of all users end and the sign-in links of all users stop
    working.
    """
    if query.everybody and Role.OWNER not in request.authenticated.roles:
        raise Forbidden("Ending the sessions of all users requires the role owner.")
    ended = await sessions.end_all(request.actor, everybody=query.everybody)
    if request.authenticated.session is not None:
        _clear_cookie(request)
    return EndedSessions(ended)


def _kind(request: Request) -> ActorType:
    """Type of the credential that the request contains. Raises BadRequest if the request uses a
    session.
    """
    kind = request.actor.type
    if (
        request.authenticated.session is not None
        or kind == "system"
        or kind == "customer"
        or kind == "recipient"
        or kind == "submitter"
    ):
        raise invalid("header.authorization", "is missing", "send Authorization: Bearer <token>")
    return kind


def set_session_cookie(request: Request, sessions: Sessions, started: StartedSession) -> None:
    max_age_s = sessions.rules.session_max_age_s
    request.set_cookie(CONSOLE_COOKIE, started.cookie, max_age_s=max_age_s)


def _clear_cookie(request: Request) -> None:
    """Remove the cookie and stored pages. Clear-Site-Data `"cookies"` would also clear cookies on
    the hosts of other services.
    """
    request.set_cookie(CONSOLE_COOKIE, "", max_age_s=0)
    request.add_header(b"clear-site-data", '"cache", "storage"')


def _session_id(request: Request) -> str | None:
    session = request.authenticated.session
    return None if session is None else session.id


def _current(
    request: Request, sessions: Sessions, session: Session, csrf_token: str
) -> CurrentSession:
    return CurrentSession(
        session=session_view(session, current=True),
        csrf_token=csrf_token,
        roles=sorted(role.value for role in request.authenticated.roles),
        step_up_max_age_s=sessions.rules.step_up_max_age_s,
    )


_session = partial(Endpoint, tag="sessions", roles=ANY_ROLE, feature=SESSIONS)
_SESSIONS, _LINKS = "/v1/sessions", "/v1/sign-in-links"

# Sign-in is itself the step-up. Ending a session requires no step-up, so that a user who suspects
# misuse can act immediately.
_write = partial(_session, step_up=StepUp.NEVER)

ENDPOINTS = (
    _write("POST", _SESSIONS, sign_in, security=(CREDENTIAL, SIGN_IN_CODE), status=201),
    _write("POST", _LINKS, create_sign_in_link, security=(CREDENTIAL,), status=201),
    _session("GET", _SESSIONS, list_sessions),
    Endpoint("GET", "/v1/caller", show_caller, tag="sessions", roles=ANY_ROLE),
    Endpoint("GET", "/v1/sign-in-methods", show_sign_in_methods, tag="sessions", roles=AUDITORS),
    _write("DELETE", _SESSIONS, end_sessions),
    _session("GET", f"{_SESSIONS}/current", show_session, errors=(404,)),
    _write("DELETE", f"{_SESSIONS}/{{session}}", end_session, status=204, errors=(404,)),
)
