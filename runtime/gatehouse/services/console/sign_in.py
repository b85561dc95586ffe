"""Signs browsers in with the identity provider, and signs them out from the provider.

The web UI opens these paths as pages, so each response is a redirect. Failures lead to the sign-in
page of the web UI, which explains the failure (docs/decisions/0032). No response and no log entry
contains the code or a token.
"""

from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from gatehouse.core.actor import Actor
from gatehouse.core.errors import GatehouseError, Unavailable
from gatehouse.core.features import SESSIONS
from gatehouse.core.http.forwarding import CONSOLE_COOKIE
from gatehouse.features.identity.authorization_code import (
    CALLBACK_PATH,
    TRANSACTION_S,
    AuthorizationCodeFlow,
    Failure,
    SignInFailed,
    Transaction,
)
from gatehouse.features.identity.models import Identity
from gatehouse.features.identity.routes import set_session_cookie
from gatehouse.platform.semaphores import Limit
from gatehouse.platform.web.application import Routes
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.responses import Response
from gatehouse.services.console.pipeline import ConsolePipeline

PAGE = "/sign-in"
START_PATH = "/sign-in/start"
SIGN_OUT_PATH = "/sign-out"
TRANSACTION_COOKIE = f"{CONSOLE_COOKIE}-sign-in"

#: Maximum number of sign-ins for which the identity provider is asked at the same time.
EXCHANGES_PARALLEL = 6


def add_sign_in(
    routes: Routes, flow: AuthorizationCodeFlow | None, pipeline: ConsolePipeline
) -> None:
    """Adds the routes for sign-in with the identity provider if a provider is configured."""
    if flow is not None:
        pages = SignInPages(flow, pipeline)
        routes.add(START_PATH, pages.start, "GET")
        routes.add(CALLBACK_PATH, pages.callback, "GET")
        routes.add(SIGN_OUT_PATH, pages.sign_out, "GET")


@dataclass(frozen=True, slots=True)
class SignInPages:
    flow: AuthorizationCodeFlow
    pipeline: ConsolePipeline
    exchanges: Limit = field(default_factory=lambda: Limit(EXCHANGES_PARALLEL))

    async def start(self, request: Request) -> Response:
        """Redirect to the identity provider.

        Only a link on a page of the console can start a sign-in, so another site cannot replace the
        session of a user unnoticed. Query parameters: `return_to`, the path to open after the
        sign-in; `step_up`, to authenticate the current user again.
        """
        self.pipeline.features.check(SESSIONS)
        query = dict(request.query)
        if request.header(b"sec-fetch-site") != "same-origin":
            return _redirect(request, PAGE)
        try:
            # Browsers send the cookie to this page, but not with the redirect to `callback`.
            session = await self.pipeline.authenticator.session(request)
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
        _set_transaction_cookie(request, cookie, TRANSACTION_S)
        return _redirect(request, url)

    async def callback(self, request: Request) -> Response:
        """Complete the sign-in, start a session and redirect to the `return_to` path.

        Failed sign-ins are recorded in the audit trail, unless the identity provider is
        unavailable. They lock out nobody, because others can cause them.
        """
        _set_transaction_cookie(request, "", 0)
        try:
            return await self._complete(request)
        except (SignInFailed, Unavailable) as exc:
            if isinstance(exc, SignInFailed) and exc.failure is not Failure.UNAVAILABLE:
                await self.pipeline.denied.record(
                    request.client, request.request_id, f"sign_in_{exc.failure}"
                )
            return _failure(request, exc)

    async def sign_out(self, request: Request) -> Response:
        """Redirect to the page of the identity provider that ends the session there.

        Redirects to the start page of the console if the provider has no such page or is
        unavailable, or if no page of the console sent the request.
        """
        if request.header(b"sec-fetch-site") != "same-origin":
            return _redirect(request, "/")
        try:
            return _redirect(request, await self.flow.sign_out_url() or "/")
        except SignInFailed:
            return _redirect(request, "/")

    async def _complete(self, request: Request) -> Response:
        query = dict(request.query)
        if len(query) != len(request.query):
            raise SignInFailed(Failure.RESPONSE, "the response contains a parameter more than once")
        cookie = request.cookie(TRANSACTION_COOKIE)
        async with self.exchanges:
            identity, transaction = await self.flow.complete(cookie, query)
        await self._begin(request, identity, transaction)
        return _redirect(request, transaction.return_to)

    async def _begin(self, request: Request, identity: Identity, transaction: Transaction) -> None:
        sessions = self.pipeline.authenticator.sessions
        started = await sessions.begin(
            Actor("person", identity.subject, request.request_id, request.client),
            identity.roles,
            kind="person",
            proven_at=identity.proven_at,
            replaced_id=transaction.session_id or None,
            user_agent=request.header(b"user-agent"),
        )
        request.key_id = "person"
        set_session_cookie(request, sessions, started)


def _failure(request: Request, exc: SignInFailed | GatehouseError) -> Response:
    """Redirect to the sign-in page, which explains the failure. The request log contains the
    detail.
    """
    failure = exc.failure if isinstance(exc, SignInFailed) else Failure.UNAVAILABLE
    request.code, request.detail = f"sign_in_{failure}", exc.detail
    return _redirect(
        request, f"{PAGE}?{urlencode({'failure': failure, 'request': request.request_id})}"
    )


def _redirect(request: Request, url: str) -> Response:
    location = quote(url, safe=":/%#?=@[]!$&'()*+,").encode()
    return request.response(303, headers=[(b"location", location)])


def _set_transaction_cookie(request: Request, cookie: str, max_age_s: int) -> None:
    """Set or remove the cookie of a started sign-in. SameSite=Lax, because the identity provider
    redirects to the callback.
    """
    request.set_cookie(TRANSACTION_COOKIE, cookie, max_age_s=max_age_s, same_site="lax")
