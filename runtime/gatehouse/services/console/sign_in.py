"""Signs browsers in with the identity provider, and signs them out from the provider.

The web UI opens these paths as pages, so each response is a redirect. Failures lead to the sign-in
page of the web UI, which explains the failure (docs/decisions/0032). No response and no log entry
contains the code or a token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response

from gatehouse.core.actor import Actor, Session
from gatehouse.core.errors import GatehouseError, RateLimited, Unavailable
from gatehouse.features.identity.authorization_code import (
    CALLBACK_PATH,
    TRANSACTION_S,
    AuthorizationCodeFlow,
    Failure,
    SignInFailed,
    Transaction,
)
from gatehouse.features.identity.cookies import COOKIE, set_cookie
from gatehouse.features.identity.models import Identity
from gatehouse.platform.http.forwarding import CONSOLE_COOKIE
from gatehouse.platform.http.request import Request
from gatehouse.platform.http.starlette_apps import LoggedRoute
from gatehouse.services.console.pipeline import ConsolePipeline

PAGE = "/sign-in"
START_PATH = "/sign-in/start"
SIGN_OUT_PATH = "/sign-out"
TRANSACTION_COOKIE = f"{CONSOLE_COOKIE}-sign-in"

#: Name under which failed sign-ins count towards the lockout.
_PRINCIPAL = "sign-in"

_Handler = Callable[[Request], Awaitable[Response]]


def sign_in_routes(
    flow: AuthorizationCodeFlow | None, pipeline: ConsolePipeline
) -> list[LoggedRoute]:
    """Return the routes for sign-in with the identity provider, or no routes if no provider is
    configured.
    """
    if flow is None:
        return []
    pages = SignInPages(flow, pipeline)

    def route(path: str, handler: _Handler) -> LoggedRoute:
        async def respond(http: HttpRequest) -> Response:
            return await handler(pipeline.request(http))

        return LoggedRoute(path, respond, methods=["GET"], head=False)

    return [
        route(START_PATH, pages.start),
        route(CALLBACK_PATH, pages.callback),
        route(SIGN_OUT_PATH, pages.sign_out),
    ]


@dataclass(frozen=True, slots=True)
class SignInPages:
    flow: AuthorizationCodeFlow
    pipeline: ConsolePipeline

    async def start(self, request: Request) -> Response:
        """Redirect to the identity provider.

        Only a link on a page of the console can start a sign-in, so another site cannot replace the
        session of a user unnoticed. Query parameters: `return_to`, the path to open after the
        sign-in; `step_up`, to authenticate the current user again.
        """
        query = request.http.query_params
        if request.http.headers.get("sec-fetch-site") != "same-origin":
            return _redirect(PAGE)
        try:
            session = await self._session(request)
            is_step_up = (
                "step_up" in query and session is not None and session.actor_type == "person"
            )
            url, cookie = await self.flow.start(
                query.get("return_to", ""),
                session_id=session.id if session is not None else "",
                step_up_subject=session.actor_id if session is not None and is_step_up else "",
            )
        except (SignInFailed, Unavailable) as exc:
            return _failure(request, exc)
        response = _redirect(url)
        _set_transaction_cookie(response, cookie, TRANSACTION_S)
        return response

    async def callback(self, request: Request) -> Response:
        """Complete the sign-in, start a session and redirect to the `return_to` path.

        Failed sign-ins count towards the lockout and are recorded in the audit trail, unless the
        identity provider is unavailable.
        """
        lockout = self.pipeline.authenticator.lockout
        try:
            lockout.check(request.source_address, _PRINCIPAL, "Too many failed sign-ins.")
            response = await self._complete(request)
        except (SignInFailed, RateLimited, Unavailable) as exc:
            if isinstance(exc, SignInFailed) and exc.failure is not Failure.UNAVAILABLE:
                # Another site can cause requests without a valid state, which must not lock out the
                # user. They cost only an HMAC.
                if exc.failure is not Failure.RESTART:
                    lockout.failed(request.source_address, _PRINCIPAL)
                await self.pipeline.denied.record(
                    request.source_address, request.request_id, f"sign_in_{exc.failure}"
                )
            response = _failure(request, exc)
        _set_transaction_cookie(response, "", 0)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Redirect to the page of the identity provider that ends the session there.

        Redirects to the start page of the console if the provider has no such page or is
        unavailable.
        """
        try:
            return _redirect(await self.flow.sign_out_url() or "/")
        except SignInFailed:
            return _redirect("/")

    async def _complete(self, request: Request) -> Response:
        query = request.http.query_params
        names = [name for name, _ in query.multi_items()]
        if len(set(names)) != len(names):
            raise SignInFailed(Failure.RESPONSE, "the response contains a parameter more than once")
        identity, transaction = await self.flow.complete(
            request.http.cookies.get(TRANSACTION_COOKIE, ""), query
        )
        response = _redirect(transaction.return_to)
        await self._begin(request, response, identity, transaction)
        self.pipeline.authenticator.lockout.succeeded(request.source_address, _PRINCIPAL)
        return response

    async def _begin(
        self, request: Request, response: Response, identity: Identity, transaction: Transaction
    ) -> None:
        sessions = self.pipeline.authenticator.sessions
        started = await sessions.begin(
            Actor("person", identity.subject, request.request_id, request.source_address),
            identity.roles,
            kind="person",
            proven_at=identity.proven_at,
            replaced_id=transaction.session_id or None,
            user_agent=request.http.headers.get("user-agent", ""),
        )
        request.http.state.key_id = "person"
        set_cookie(response, started.cookie, max_age_s=int(sessions.rules.max_s))

    async def _session(self, request: Request) -> Session | None:
        """Return the session of the browser. Browsers send its cookie to `start`, but not with the
        redirect to `callback`.
        """
        cookie = request.http.cookies.get(COOKIE)
        return await self.pipeline.authenticator.sessions.find(cookie) if cookie else None


def _failure(request: Request, exc: SignInFailed | GatehouseError) -> Response:
    """Redirect to the sign-in page, which explains the failure. The request log contains the
    detail.
    """
    failure = exc.failure if isinstance(exc, SignInFailed) else Failure.UNAVAILABLE
    failure = Failure.LOCKED if isinstance(exc, RateLimited) else failure
    request.http.state.code, request.http.state.detail = f"sign_in_{failure}", exc.detail
    return _redirect(f"{PAGE}?{urlencode({'failure': failure, 'request': request.request_id})}")


def _redirect(url: str) -> Response:
    return RedirectResponse(url, status_code=303, headers={"Cache-Control": "no-store"})


def _set_transaction_cookie(response: Response, cookie: str, max_age_s: int) -> None:
    """Set or remove the cookie of a started sign-in. SameSite=Lax, because the identity provider
    redirects to the callback.
    """
    response.set_cookie(
        TRANSACTION_COOKIE,
        cookie,
        max_age=max_age_s,
        path="/",
        secure=True,
        httponly=True,
        samesite="lax",
    )
