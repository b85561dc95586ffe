"""Processes management API requests: authenticates and authorizes before the body is read and
after a wait, rejects tokens, and processes each Idempotency-Key once.

Endpoints declare roles and step-up rules. In addition, only owners can create, change and revoke
keys with the scope `admin` or a `role:` scope, which prevents privilege escalation. Sensitive
operations in a browser session require a recent sign-in, which limits the misuse of an unattended
or stolen session. Sources: OWASP ASVS 5.0, 7.5.3 (sensitive operations); RFC 9470 (challenge).
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec

from gatehouse.core.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    RateLimited,
    StepUpRequired,
    Unauthorized,
)
from gatehouse.core.keys import KeyId, no_key
from gatehouse.core.roles import KEY_READERS, Role, check, check_reach, manages
from gatehouse.core.tokens import token_scanner
from gatehouse.core.tokens.token import is_marked, key_id
from gatehouse.features.audit.service import DeniedAttempts
from gatehouse.features.customers.service import no_customer
from gatehouse.platform.semaphores import RequestLimits
from gatehouse.platform.web.application import Handler
from gatehouse.platform.web.endpoint import SIGN_IN_CODE, Endpoint, StepUp
from gatehouse.platform.web.pipeline import Call, Pipeline
from gatehouse.platform.web.request import AsgiRequest, Refused, Reply, Request
from gatehouse.platform.web.responses import Response, StreamedResponse
from gatehouse.platform.web.validation import decode_query, invalid, json_value, strings
from gatehouse.services.console.authentication import Authenticator, challenge
from gatehouse.services.console.idempotency import (
    HEADER,
    REPLAY_HEADER,
    REPLAYED,
    IdempotencyGuard,
    StoredResponse,
    idempotency_key,
)
from gatehouse.services.console.portal.routes import PATH as PORTAL_PATH
from gatehouse.services.console.portal.routes import Portal
from gatehouse.services.console.references import PATH, PATH_CHARS_MAX, References
from gatehouse.services.console.web import WebFiles

#: Headers that are stored with an idempotent response.
_STORED_HEADERS = (b"etag", b"location")


#: Header of a response: the ID that a reference of the request means, with the parameter.
RESOLVED = "Gatehouse-Resolved"

#: Maximum number of requests in progress of a process, and of a caller, which is less than the
#: number of connections to the database. A request ends with its response.
REQUESTS_MAX, CALLER_REQUESTS_MAX = 40, 3


@dataclass(frozen=True, kw_only=True)
class ConsolePipeline(Pipeline):
    """Processes the requests of a console. limits: of the requests with a credential."""

    authenticator: Authenticator
    denied: DeniedAttempts
    idempotency: IdempotencyGuard
    references: References
    web_files: WebFiles
    portal: Portal
    limits: RequestLimits = field(
        default_factory=lambda: RequestLimits(REQUESTS_MAX, CALLER_REQUESTS_MAX)
    )

    def error_response(self, request: Request, refused: Refused) -> Response:
        """A problem document. Browsers receive a page in the portal, and at an unknown address."""
        if request.raw_path.startswith(PORTAL_PATH.encode()):
            return self.portal.error_response(request, refused)
        max_age_s = self.authenticator.sessions.rules.step_up_max_age_s
        headers = [
            *refused.headers,
            *challenge(refused.error, request, step_up_max_age_s=max_age_s),
        ]
        response = super().error_response(request, Refused(refused.error, headers=headers))
        not_found = (
            self.web_files.not_found(request) if isinstance(refused.error, NotFound) else None
        )
        return not_found or response

    def handler(self, endpoint: Endpoint) -> Handler:
        if not endpoint.security:
            return super().handler(endpoint)
        return partial(self.process, endpoint, self.call(endpoint))

    async def process(self, endpoint: Endpoint, call: Call, request: Request) -> Reply | None:
        """Processes a request and sends the response."""
        assert isinstance(request, AsgiRequest)  # noqa: S101 - the console has an ASGI server
        await self._authorize(endpoint, request)
        _check_parameters(request)
        # This also limits the bodies in memory.
        async with self.limits.request(request.authenticated.owner) as waited:
            await request.send_response(await self._respond(endpoint, call, request, waited))
        return None

    async def _respond(
        self, endpoint: Endpoint, call: Call, request: Request, waited: bool
    ) -> Reply:
        if endpoint.changes_state and request.header(REPLAY_HEADER.name.lower().encode()) == "only":
            return await self._replay(endpoint, request)
        body: Any = None
        content: object = None
        address = {"path": request.path_parameters, "query": dict(request.query)}
        reject_tokens(endpoint, address)
        if request.method not in ("GET", "HEAD"):
            try:
                body, content = await self.body(endpoint, request)
            except BadRequest:
                # A token that is in a wrong place is the more important problem.
                reject_tokens(endpoint, {"body": json_value(request.content)})
                raise
            reject_tokens(endpoint, {"body": content})
        if waited or request.content:
            # The credential, its roles or the target may have changed.
            await self._authorize(endpoint, request)
        if endpoint.changes_state and request.content:
            await self._check_scopes(endpoint, request, content)

        async def handle() -> Reply:
            arguments = {}
            if endpoint.body is not None:
                arguments["body"] = await self._resolve(request, self.references.body, body)
            if endpoint.query is not None:
                query = decode_query(request.query_string, endpoint.query)
                arguments["query"] = await self._resolve(request, self.references.query, query)
            return await call(request, **arguments)

        reply = await self._run_once(endpoint, request, content, handle)
        if isinstance(reply, StreamedResponse):
            reply.body_iterator = self._authorized(endpoint, request, reply.body_iterator)
        return reply

    async def _authorized(
        self, endpoint: Endpoint, request: Request, parts: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """The parts of a response. A client can read slowly, and the credential or its roles may
        change in the meantime; the response is then incomplete.
        """
        async for part in parts:
            await self._authorize(endpoint, request)
            yield part

    async def _authorize(self, endpoint: Endpoint, request: Request) -> None:
        """Check the credential, the role and the target. Denials are recorded in the audit
        trail.
        """
        try:
            request.caller = await self.authenticator.authenticate(
                request, codes=SIGN_IN_CODE in endpoint.security
            )
            request.key_id = request.caller.log_id
            check(request.caller.roles, endpoint.roles)
            self._limit(endpoint, request)
            await self._resolve_path(request)
            await self._check_ownership(endpoint, request)
            await self._check_target(endpoint, request)
        except (Unauthorized, Forbidden, RateLimited) as exc:
            await self.denied.record(request.client, request.request_id, exc.code)
            raise

    def _limit(self, endpoint: Endpoint, request: Request) -> None:
        """Limit the request to what the caller created if only the role `service` permits it.

        This role permits access only to customers that the caller created and their keys, and to
        keys that the caller created and their successors.
        """
        caller = request.authenticated
        if caller.roles & endpoint.roles == {Role.SERVICE}:
            creator = caller.actor.id if caller.actor.type == "key" else ""
            request.caller = replace(caller, creator=creator)

    async def _resolve_path(self, request: Request) -> None:
        """Replaces the names and tags in the path by IDs. IDs of keys have a mark, so that they are
        not searched. Raises BadRequest, Unavailable.
        """
        caller, pepper = request.authenticated, self.authenticator.keys.pepper
        if not caller.roles & KEY_READERS:
            return
        for name, text in request.path_parameters.items():
            is_key = name == "id" and key_id(text) is not None and is_marked(text, pepper)
            if name in PATH and not is_key and "\0" not in text and len(text) <= PATH_CHARS_MAX:
                place = f"path.{name}"
                id = await self.references.resolve(PATH[name], text, place, caller.creator)
                if id not in (None, text):
                    _add_resolved(request, {name: str(id)})
                    request.path_parameters = {**request.path_parameters, name: str(id)}

    async def _resolve(self, request: Request, resolve: Callable[..., Any], sent: Any) -> Any:
        """The query or the body with IDs instead of names and tags, which only those who may read
        keys can search. Raises BadRequest, Unavailable.
        """
        caller = request.authenticated
        if caller.roles & KEY_READERS:
            sent, changes = await resolve(sent, caller.creator)
            _add_resolved(request, changes)
        return sent

    async def _check_ownership(self, endpoint: Endpoint, request: Request) -> None:
        """Check the key and the customer in the path. Raises NotFound, Unavailable."""
        creator, store = request.authenticated.creator, self.authenticator.keys.store
        if creator is None:
            return
        known = key_id(request.path_parameters.get("id", ""))
        if known is not None and not await store.is_managed_by(known, KeyId(creator)):
            raise no_key()
        customer = request.path_parameters.get("customer")
        if customer is not None and not await store.created_customer(customer, creator):
            raise no_customer()

    async def _check_target(self, endpoint: Endpoint, request: Request) -> None:
        """Check the key in the path. Raises Forbidden, StepUpRequired, Unavailable."""
        caller = request.authenticated
        if not endpoint.changes_state or (Role.OWNER in caller.roles and caller.session is None):
            return
        known = key_id(request.path_parameters.get("id", ""))
        target = None if known is None else await self.authenticator.keys.store.get(known)
        scopes = () if target is None else target.scopes
        check_reach(caller.roles, scopes)
        self._check_step_up(endpoint, request, managing=manages(scopes))

    async def _check_scopes(self, endpoint: Endpoint, request: Request, content: object) -> None:
        """Check the scopes that a body grants, at any depth. Denials are recorded in the audit
        trail. Raises Forbidden, StepUpRequired.
        """
        scopes = list(_scopes(content))
        try:
            check_reach(request.authenticated.roles, scopes)
            self._check_step_up(endpoint, request, managing=manages(scopes))
        except (Forbidden, Unauthorized) as exc:
            await self.denied.record(request.client, request.request_id, exc.code)
            raise

    def _check_step_up(self, endpoint: Endpoint, request: Request, *, managing: bool) -> None:
        sessions, session = self.authenticator.sessions, request.authenticated.session
        required = endpoint.step_up is StepUp.ALWAYS or (
            endpoint.step_up is StepUp.MANAGING and managing
        )
        if session is None or not required or sessions.fresh(session):
            return
        minutes = max(1, round(sessions.rules.step_up_max_age_s / 60))
        raise StepUpRequired(
            f"This operation requires a sign-in within the last {minutes} min. Sign in again "
            f"with POST /v1/sessions, then retry."
        )

    async def _run_once(
        self,
        endpoint: Endpoint,
        request: Request,
        content: object,
        handle: Callable[[], Awaitable[Reply]],
    ) -> Reply:
        """Return the response from `handle`, or the stored response to an earlier request with the
        same Idempotency-Key.
        """
        key = idempotency_key(request.values(HEADER.name.lower().encode()))
        if key is None or endpoint.is_idempotent or not endpoint.changes_state:
            return await handle()

        response: Reply | None = None

        async def store() -> StoredResponse:
            nonlocal response
            response = await handle()
            assert isinstance(response, Response)  # noqa: S101 - only responses to GET are streamed
            headers = {
                name: value for name, value in response.raw_headers if name in _STORED_HEADERS
            }
            target_id = headers.get(b"location", b"").decode().rpartition("/")[2]
            return StoredResponse(
                response.status_code,
                list(headers.items()),
                response.body,
                target_id=target_id or request.path_parameters.get("id", ""),
                operation=_operation(request),
            )

        path = request.path
        fingerprint = msgspec.json.encode(
            [endpoint.method, path, sorted(request.query), content], order="sorted"
        )
        stored = await self.idempotency.run(
            request.actor.label, key, request.request_id, fingerprint, store
        )
        return response or _replayed(request, stored)

    async def _replay(self, endpoint: Endpoint, request: Request) -> Response:
        """Return the stored response to an earlier request, to a caller that may send the request
        now.
        """
        key = idempotency_key(request.values(HEADER.name.lower().encode()))
        if key is None:
            fix = "send the Idempotency-Key of the earlier request"
            raise invalid("header.idempotency-key", "is missing", fix)
        stored = await self.idempotency.stored(request.actor.label, key, _operation(request))
        await self._check_scopes(endpoint, request, json_value(stored.body))
        return _replayed(request, stored)


def _add_resolved(request: Request, changes: Mapping[str, str]) -> None:
    """Adds what the references mean to the response."""
    for name, value in changes.items():
        request.add_header(RESOLVED.lower().encode(), f"{name}={value}")


def _operation(request: Request) -> str:
    return f"{request.method} {request.path}"


def _replayed(request: Request, stored: StoredResponse) -> Response:
    headers = [*stored.headers, (REPLAYED.lower().encode(), b"true")]
    return request.response(stored.status, stored.body, headers=headers)


def _check_parameters(request: Request) -> None:
    counts = Counter(name for name, _ in request.query)
    repeated = next((name for name, count in counts.items() if count > 1), None)
    if repeated is not None:
        raise invalid(f"query.{repeated[:20]}", "is sent more than once", "send it once")
    if len(request.values(b"if-match")) > 1:
        raise invalid("header.if-match", "is sent more than once", "send it once, with one version")


def reject_tokens(endpoint: Endpoint, parts: Mapping[str, object]) -> None:
    """Raise BadRequest if the request contains a token. The token would be stored, and audit events
    cannot be changed.

    Values of fields that are encrypted before they are stored, or that are not stored, may contain
    tokens. Tokens of imported keys have no common format and are not looked up: the response would
    confirm a guessed token.
    """
    if not token_scanner.has_token(_text(parts.values(), endpoint.secret_fields)):
        return
    for part, value in parts.items():
        for location, text in strings(value, part, endpoint.secret_fields):
            match = next(token_scanner.find(text.encode(), kinds=token_scanner.ALL_KINDS), None)
            if match is not None:
                fix = f"remove the {match.kind}, and revoke it if others can read the text"
                if part != "body":
                    fix += ". POST /v1/lookup finds the key of a token"
                raise invalid(
                    token_scanner.redacted(location),
                    f"contains the {match.kind} {match.redacted}",
                    fix,
                )


def _text(values: Iterable[object], exempt: frozenset[str]) -> str:
    """The texts of `validation.strings` in lines, in any order. Takes a fraction of the time."""
    texts, waiting = list[str](), [*values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list | tuple):
            waiting += filter(None, value)  # fast for many empty ones
        elif isinstance(value, dict):
            texts += value
            waiting += [item for name, item in value.items() if item and name not in exempt]
    return "\n".join(texts)


def _scopes(value: Any) -> Iterator[str]:
    """Yield every scope in a JSON value: the values of the fields `scope` and `scopes`."""
    if isinstance(value, list):
        for item in value:
            yield from _scopes(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in {"scope", "scopes"}:
                yield from _strings(item)
            else:
                yield from _scopes(item)


def _strings(item: Any) -> Iterator[str]:
    return (text for text in (item if isinstance(item, list) else [item]) if isinstance(text, str))
