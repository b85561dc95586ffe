"""The portal: pages on which a customer manages its own keys, and the endpoint that creates a
one-time link to them.

GET and HEAD requests never change anything, because mail filters open links. A form is accepted
only from a page of the portal (form_protection.py).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import (
    BadRequest,
    Conflict,
    CrossSite,
    GatehouseError,
    IdempotencyKeyReused,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    RateLimited,
    RequestInProgress,
    TooManyKeys,
)
from gatehouse.core.roles import KEY_MANAGERS
from gatehouse.core.tokens.token_scanner import has_token
from gatehouse.features.audit.service import DeniedAttempts
from gatehouse.features.customers.schemas import CreatePortalLink, PortalLink
from gatehouse.platform.semaphores import RequestLimits
from gatehouse.platform.web import problems
from gatehouse.platform.web.application import Routes
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.platform.web.form_protection import FormProtection, new_nonce
from gatehouse.platform.web.forms import read_form
from gatehouse.platform.web.request import Refused, Request
from gatehouse.platform.web.responses import Response
from gatehouse.services.console.portal.pages import Branding, Pages, date_of, state_of
from gatehouse.services.console.portal.service import (
    KEYS_LISTED_MAX,
    KEYS_MAX,
    SHOWN_S,
    PortalService,
    Visit,
)
from gatehouse.services.console.portal.session import (
    SESSION_S,
    CustomerInactive,
    LinkUsed,
    PortalSessions,
    SessionEnded,
)

PATH = "/portal"
_KEYS, _KEY, _LINK = f"{PATH}/keys", f"{PATH}/keys/{{key}}", f"{PATH}/links/{{code}}"
COOKIE = "gatehouse_portal"

#: Maximum number of requests in progress of a process.
REQUESTS_MAX = 10
_BODY_BYTES_MAX = 16_384
_KEY_FIELDS = frozenset({"csrf", "form", "name", "ends_at", "addresses", "version"})

#: The text that explains an error, by its class. The first match counts.
_ERROR_TEXTS: tuple[tuple[type[GatehouseError], str], ...] = (
    (LinkUsed, "link_used"),
    (SessionEnded, "session_ended"),
    (CustomerInactive, "customer_inactive"),
    (CrossSite, "cross_site"),
    (NotFound, "not_found"),
    (TooManyKeys, "too_many_keys"),
    (RequestInProgress, "in_progress"),
    (PreconditionFailed, "changed_meanwhile"),
    (IdempotencyKeyReused, "form_reused"),
    (Conflict, "conflict"),
    (RateLimited, "too_many_changes"),
    (MethodNotAllowed, "not_found"),
    (BadRequest, "bad_form"),
)

#: Names of the texts that explain a field, by the location of the problem.
_FIELD_TEXTS = {"name": "bad_name", "expires_at": "bad_end", "addresses": "bad_addresses"}

_Handler = Callable[[Request, Visit], Awaitable[Response]]


async def create_portal_link(
    request: Request, customer: str, body: CreatePortalLink, portal: "Portal"
) -> PortalLink:
    """Create a link to the portal.

    The link can be opened once. It starts a session of one hour, in which the customer sees its
    keys, usage and limits, and creates, changes, rotates and revokes its keys. The links and
    sessions of a customer end when the customer is disabled or deleted.
    """
    code, ends_at = await portal.sessions.create_link(
        customer, body.language or "", body.ttl_s, request.actor
    )
    return PortalLink(f"{portal.url}{PATH}/links/{code}", rfc3339(ends_at))


@dataclass(frozen=True, slots=True)
class Portal:
    """url: of the console, or empty. protection: of the forms. limits: of the requests in progress.
    denied: records denied forms.
    """

    url: str
    sessions: PortalSessions
    service: PortalService
    branding: Branding
    protection: FormProtection
    limits: RequestLimits
    denied: DeniedAttempts

    def add(self, routes: Routes) -> None:
        routes.add(f"{PATH}/portal.css", self._styles)
        if self.branding.logo is not None:
            routes.add(f"{PATH}/logo", self._logo)
        routes.add(_LINK, self._link)
        routes.add(_LINK, self._open, "POST")
        routes.add(f"{PATH}/end", self._end, "POST")
        pages: tuple[tuple[str, _Handler], ...] = ((PATH, self._overview), (_KEY, self._key))
        forms: tuple[tuple[str, _Handler], ...] = (
            (_KEYS, self._create),
            (_KEY, self._update),
            (f"{_KEY}/rotate", self._rotate),
            (f"{_KEY}/revoke", self._revoke),
        )
        for path, handler in pages:
            routes.add(path, self._visited(handler))
        for path, handler in forms:
            routes.add(path, self._visited(handler), "POST")
            # The address of the page that a form showed, such as a new token.
            routes.add(path, self._to_overview)

    def error_response(self, request: Request, refused: Refused) -> Response:
        error = refused.error
        name = next((name for kind, name in _ERROR_TEXTS if isinstance(error, kind)), "unavailable")
        headers = [*problems.problem_headers(error), *refused.headers]
        pages = Pages(request, self.branding)
        return pages.message(name, error.status, headers, count=KEYS_MAX)

    async def _styles(self, request: Request) -> Response:
        return _static(request, "text/css; charset=utf-8", self.branding.styles)

    async def _logo(self, request: Request) -> Response:
        assert self.branding.logo is not None  # noqa: S101 - otherwise, there is no such route
        return _static(request, *self.branding.logo)

    async def _to_overview(self, request: Request) -> Response:
        return _redirect(request, PATH)

    async def _link(self, request: Request) -> Response:
        code = request.path_parameters["code"]
        link = await self.sessions.link(code)
        pages = Pages(request, self.branding, link.language)
        nonce, heading = self.protection.nonce(request), pages.texts["link_title"]
        return pages.page("link", heading, csrf=nonce, code=code)

    async def _open(self, request: Request) -> Response:
        await self._form(request, frozenset({"csrf"}))
        code = request.path_parameters["code"]
        _, cookie = await self.sessions.open(code, request.request_id, request.client)
        self._set_cookie(request, cookie, SESSION_S)
        return _redirect(request, PATH)

    async def _end(self, request: Request) -> Response:
        await self._form(request, frozenset({"csrf"}))
        session, _ = await self.sessions.find(request.cookie(COOKIE))
        await self.sessions.end(session)
        self._set_cookie(request, "", 0)
        return Pages(request, self.branding, session.language).message("ended")

    def _visited(self, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        """Handles the request of a customer with a session. Raises SessionEnded,
        CustomerInactive, TooManyRequests and Unavailable.
        """

        async def respond(request: Request) -> Response:
            session, found = await self.sessions.find(request.cookie(COOKIE))
            request.key_id = "customer"
            async with self.limits.request(f"customer:{session.customer_id}"):
                visit = self.service.visit(session, found, request.request_id, request.client)
                return await handler(request, visit)

        return respond

    async def _overview(
        self, request: Request, visit: Visit, error: BadRequest | None = None, **form: str
    ) -> Response:
        keys = await visit.all_keys()
        usable = [key for key in keys if state_of(key, request.now) in ("active", "disabled")]
        latest = await visit.latest_end(request.now)
        return self._page(
            request,
            visit,
            "overview",
            visit.customer.name,
            error,
            keys=keys,
            is_full=len(usable) >= KEYS_MAX,
            keys_max=KEYS_MAX,
            is_cut=len(keys) >= KEYS_LISTED_MAX,
            limits=await visit.shared_limits(),
            credits=await visit.credits(),
            usage=await visit.usage(request.now),
            latest=date_of(latest),
            form={"name": "", "ends_at": "", "addresses": "", **form},
        )

    async def _key(
        self, request: Request, visit: Visit, error: BadRequest | None = None, **form: str
    ) -> Response:
        key = await visit.key(request.path_parameters["key"])
        shown = {
            "name": key.name,
            "ends_at": date_of(key.expires_at),
            "addresses": "\n".join(key.addresses),
        }
        return self._page(
            request,
            visit,
            "key",
            key.name,
            error,
            key=key,
            state=state_of(key, request.now),
            limits=await visit.limits_of(key),
            latest=date_of(await visit.latest_end(key.created_at)),
            form={**shown, **form},
        )

    async def _create(self, request: Request, visit: Visit) -> Response:
        form = await self._form(request, _KEY_FIELDS)
        try:
            issued = await visit.create(form)
        except BadRequest as exc:
            return await self._again(self._overview, request, visit, exc, form)
        return self._issued(request, visit, issued)

    async def _rotate(self, request: Request, visit: Visit) -> Response:
        form = await self._form(request, frozenset({"csrf", "form", "grace_s"}))
        issued = await visit.rotate(request.path_parameters["key"], form)
        return self._issued(request, visit, issued)

    async def _update(self, request: Request, visit: Visit) -> Response:
        form = await self._form(request, _KEY_FIELDS)
        try:
            await visit.update(request.path_parameters["key"], form)
        except BadRequest as exc:
            return await self._again(self._key, request, visit, exc, form)
        return _redirect(request, PATH)

    async def _revoke(self, request: Request, visit: Visit) -> Response:
        form = await self._form(request, frozenset({"csrf", "confirm"}))
        if form.get("confirm") != "yes":
            raise BadRequest
        await visit.revoke(request.path_parameters["key"])
        return _redirect(request, PATH)

    async def _form(self, request: Request, fields: frozenset[str]) -> dict[str, str]:
        """The fields of a form from a page of the portal. Raises CrossSite, BodyTooLarge and
        BadRequest.
        """
        form = await read_form(request, fields, _BODY_BYTES_MAX)
        try:
            self.protection.check(request, form.get("csrf", ""))
        except CrossSite as exc:
            await self.denied.record(request.client, request.request_id, exc.code)
            raise
        return form

    async def _again(
        self, page: Any, request: Request, visit: Visit, error: BadRequest, form: dict[str, str]
    ) -> Response:
        """The page with what was sent, except a token."""
        request.code = error.code
        sent = {name: form.get(name, "") for name in ("name", "ends_at", "addresses")}
        shown = {name: text for name, text in sent.items() if not has_token(text)}
        response: Response = await page(request, visit, error, **shown)
        return response

    def _page(
        self,
        request: Request,
        visit: Visit,
        template: str,
        heading: str,
        error: BadRequest | None,
        **values: Any,
    ) -> Response:
        pages = Pages(request, self.branding, visit.session.language)
        text, field = "", ""
        if error is not None:
            location = error.errors[0].location if error.errors else ""
            field = location.removeprefix("body.").partition("[")[0]
            text = pages.texts[_FIELD_TEXTS.get(field, "bad_form")].format(
                date=values.get("latest") or pages.texts["ten_years"]
            )
        return pages.page(
            template,
            heading,
            200 if error is None else error.status,
            csrf=self.protection.nonce(request),
            nonce=new_nonce(),
            session=visit.session,
            error=text,
            error_field=field,
            **values,
        )

    def _issued(self, request: Request, visit: Visit, issued: Any) -> Response:
        """The page with a new token, for SHOWN_S."""
        pages = Pages(request, self.branding, visit.session.language)
        if request.now >= issued.at + SHOWN_S:
            return pages.message("no_longer_shown", 410)
        return pages.page("token", pages.texts["token_title"], issued=issued)

    def _set_cookie(self, request: Request, cookie: str, max_age_s: int) -> None:
        request.set_cookie(COOKIE, cookie, max_age_s=max_age_s, path=PATH)


def _static(request: Request, media_type: str, content: bytes) -> Response:
    headers = [(b"cache-control", b"public, max-age=3600")]
    return request.response(200, content, content_type=media_type.encode(), headers=headers)


def _redirect(request: Request, path: str) -> Response:
    return request.response(303, headers=[(b"location", path.encode())])


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/customers/{customer}/portal",
        create_portal_link,
        tag="customers",
        roles=KEY_MANAGERS,
        step_up=StepUp.MANAGING,
        status=201,
        errors=(404,),
    ),
)
