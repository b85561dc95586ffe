"""The sharing service: the pages and the API through which recipients open links, and the operational endpoints."""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gatehouse.clock import Clock
from gatehouse.errors import BadRequest, CrossSite, GatehouseError, MethodNotAllowed, NotFound, Unavailable
from gatehouse.http import asgi
from gatehouse.http.client_address import ClientAddresses
from gatehouse.http.health import Probes
from gatehouse.http.starlette_apps import LoggedRoute, RequestContextMiddleware, operational_routes, unexpected
from gatehouse.http.validation import decode_body, invalid
from gatehouse.observability import Observer
from gatehouse.settings import Settings, SharingSettings
from gatehouse.sharing.backend import Backend
from gatehouse.sharing.denials import LinkNotFound, TooManyDenied
from gatehouse.sharing.form_protection import FormProtection, new_nonce
from gatehouse.sharing.link_schemas import OpenedItemDownload, OpenedItemView, OpenedSecret, OpenLink, download_view, link_preview
from gatehouse.sharing.link_token import LinkToken, parse
from gatehouse.sharing.links import (
    Client,
    ContentTooLarge,
    LinkService,
    Opened,
    OpenedItem,
    PassphraseRequired,
    TooManyAttempts,
    WrongPassphrase,
    claim_id_of,
)
from gatehouse.sharing.models import JSON_FILES_BYTES_MAX, LAMBDA_FILES_BYTES_MAX, PASSPHRASE_CHARS_MAX, TEXT_BYTES_MAX
from gatehouse.sharing.pages import STATIC, Pages, display_name, display_size
from gatehouse.sharing.requests.submissions import SubmissionService
from gatehouse.sharing.requests.submitters import Submitters
from gatehouse.sharing.texts import language

BODY_BYTES_MAX = 8192
_FORM_FIELDS = frozenset({"link", "passphrase", "csrf", "claim"})
_FORM = "application/x-www-form-urlencoded"
_FILE_POLICY = "sandbox; default-src 'none'"


_decoder = msgspec.json.Decoder(OpenLink)


@dataclass(frozen=True, slots=True)
class LinkForm:
    """A form submitted from a link's page.

    token: None if the link is incomplete or belongs to another page.
    claim: the claim ID.
    """

    fields: dict[str, str]
    token: LinkToken | None
    claim: str

    def __repr__(self) -> str:
        return "LinkForm(...)"

    @property
    def passphrase(self) -> str:
        return self.fields.get("passphrase", "")


def build(settings: SharingSettings, *, scraped: bool = True) -> asgi.App:
    """Build the sharing service. `scraped`: the service exposes /metrics to a scraper in its network."""
    backend = Backend.from_settings(settings, Clock())
    container, file_max_bytes = isinstance(settings, Settings), settings.sharing_file_max_bytes
    observer = Observer("sharing", settings.log_level, settings.environment)
    return create(
        probes=[] if backend is None else [backend.table],
        observer=observer,
        https=settings.sharing_url.startswith("https://"),
        scraped=scraped,
        links=None if backend is None else LinkService(backend, observer),
        submissions=None if backend is None else SubmissionService(backend),
        submission_files_bytes_max=file_max_bytes if container else min(file_max_bytes, LAMBDA_FILES_BYTES_MAX),
        response_bytes_max=None if container else LAMBDA_FILES_BYTES_MAX,
        upload_bytes_max=None if container else file_max_bytes,
        # A Lambda function has no trusted proxies, because the client address is the `sourceIp` from API Gateway.
        addresses=ClientAddresses(settings.trusted_proxies if isinstance(settings, Settings) else ()),
    )


def create(
    *,
    probes: Probes,
    observer: Observer,
    https: bool,
    scraped: bool = True,
    links: LinkService | None = None,
    submissions: SubmissionService | None = None,
    submission_files_bytes_max: int = LAMBDA_FILES_BYTES_MAX,
    response_bytes_max: int | None = None,
    upload_bytes_max: int | None = None,
    addresses: ClientAddresses | None = None,
) -> asgi.App:
    """Create the ASGI application.

    https: the public URL uses https, so HSTS and Secure cookies are sent.
    scraped: the application serves /metrics.
    links, submissions: services that open links and receive secrets. None if the table, the bucket or the key is not configured,
        in which case every link is unknown.
    submission_files_bytes_max: maximum total size of the files in the body of a submission.
    response_bytes_max: maximum size of an item in a response. Programs download larger items from S3. None: unlimited.
    upload_bytes_max: maximum total size of the files that a program uploads to S3 for a submission. None: uploads are disabled.
    addresses: determines the client address behind trusted proxies.
    """
    addresses, forms = addresses or ClientAddresses(()), FormProtection(https=https)
    recipients = Recipients(links, addresses, forms, response_bytes_max)
    submitters = Submitters(submissions, addresses, forms, submission_files_bytes_max, upload_bytes_max)
    app = Starlette(
        routes=[
            LoggedRoute("/", recipients.start, methods=["GET", "POST"]),
            LoggedRoute("/s/{link}", recipients.link, methods=["GET", "POST"]),
            LoggedRoute("/s/{link}/items/{item:int}", recipients.download, methods=["POST"]),
            LoggedRoute("/s/{link}/acknowledge", recipients.acknowledge, methods=["POST"]),
            LoggedRoute("/r/{request}", submitters.page, methods=["GET", "POST"]),
            LoggedRoute("/v1/requests/submit", submitters.api_submit, methods=["POST"]),
            LoggedRoute("/v1/requests/uploads", submitters.api_upload, methods=["POST"]),
            LoggedRoute("/v1/requests/submit-uploads", submitters.api_submit_uploads, methods=["POST"]),
            LoggedRoute("/v1/links/lookup", recipients.api_look_up, methods=["POST"]),
            LoggedRoute("/v1/links/open", recipients.api_open, methods=["POST"]),
            LoggedRoute("/v1/links/items", recipients.api_item, methods=["POST"]),
            LoggedRoute("/v1/links/acknowledge", recipients.api_acknowledge, methods=["POST"]),
            *(LoggedRoute(path, _static, methods=["GET"]) for path in STATIC),
            *operational_routes(probes, observer, scraped=scraped),
        ],
        exception_handlers={HTTPException: _http_error, GatehouseError: _error, Exception: unexpected},
    )
    app.router.redirect_slashes = False
    return RequestContextMiddleware(app, observer, https=https)


class Recipients:
    """Handlers of the recipient pages and of the API for programs. GET and HEAD requests never change anything."""

    def __init__(
        self, links: LinkService | None, addresses: ClientAddresses, forms: FormProtection, response_bytes_max: int | None
    ) -> None:
        self._links = links
        self._addresses = addresses
        self._forms = forms
        self._response_bytes_max = response_bytes_max

    async def start(self, request: Request) -> Response:
        pages = _pages(request)
        if request.method != "POST":
            return pages.start()
        form = await _form(request)
        token = parse(form.get("link", ""))
        if token is None:
            return pages.start(pages.texts["bad_link"])
        return await self._link_page(request, token.path, value=form["link"].strip())

    async def link(self, request: Request) -> Response:
        path = request.path_params["link"]
        if request.method != "POST":
            return await self._link_page(request, path)
        form = await self._checked_form(request)
        if form.token is None:
            return await self._link_page(request, path, error="bad_link", status=400)
        try:
            opened = await self._open(request, form, form.token)
        except (PassphraseRequired, WrongPassphrase, TooManyAttempts, ContentTooLarge) as exc:
            request.state.code = exc.code
            response = await self._link_page(request, path, value=form.fields["link"], error=exc.code, status=exc.status, exc=exc)
            return _with_headers(response, exc)
        text = await self._text(opened)
        if text is None and len(opened.items) == 1:
            return await self._file(opened, opened.items[0])
        return _pages(request).revealed(opened, path, text, form.fields.items())

    async def download(self, request: Request) -> Response:
        form = await self._checked_form(request)
        if form.token is None:
            raise LinkNotFound
        opened = await self._open(request, form, form.token)
        return await self._file(opened, _item(opened, request.path_params["item"]))

    async def acknowledge(self, request: Request) -> Response:
        form = await self._checked_form(request)
        if form.token is None:
            raise LinkNotFound
        await self._service.acknowledge(form.token, form.claim, self._client(request))
        return _pages(request).acknowledged()

    async def api_look_up(self, request: Request) -> Response:
        """Return the metadata of a link without consuming a use."""
        _, token = await self._body(request)
        secret, link = await self._service.look_up(token, self._client(request))
        return _json(link_preview(secret, link))

    async def api_open(self, request: Request) -> Response:
        """Consume one use and return the content.

        The response includes the items if their total size is at most 1 MiB. Otherwise, the client reads the items one by one.
        """
        body, token = await self._body(request)
        claim = body.claim or secrets.token_hex(16)
        opened = await self._service.open(token, body.passphrase, claim_id_of(claim, token.path), self._client(request))
        inline = sum(item.size for item in opened.items) <= JSON_FILES_BYTES_MAX
        items = []
        for item in opened.items:
            view = OpenedItemView(name=item.name, media_type=item.media_type, size=item.size)
            if inline:
                content = await self._read(opened, item)
                binary = bool(item.name) or opened.secret.end_to_end
                value = {"content_base64": content} if binary else {"text": content.decode("utf-8", "replace")}
                view = msgspec.structs.replace(view, **value)
            elif self._is_too_large(item):
                view = msgspec.structs.replace(view, download=download_view(await self._service.download(opened, item)))
            items.append(view)
        return _json(OpenedSecret(claim=claim, end_to_end=opened.secret.end_to_end, items=items))

    async def api_item(self, request: Request) -> Response:
        """Return one item of a claim as bytes, or a presigned request for an item that is too large for a response."""
        body, token = await self._body(request)
        if not body.claim:
            raise invalid("body.claim", "is missing", "send the claim from the response to POST /v1/links/open")
        claim = claim_id_of(body.claim, token.path)
        opened = await self._service.open(token, body.passphrase, claim, self._client(request))
        item = _item(opened, body.item)
        if self._is_too_large(item):
            return _json(OpenedItemDownload(download_view(await self._service.download(opened, item))))
        return await self._file(opened, item)

    async def api_acknowledge(self, request: Request) -> Response:
        """Confirm that the content of a claim was received."""
        body, token = await self._body(request)
        await self._service.acknowledge(token, claim_id_of(body.claim, token.path), self._client(request))
        return Response(status_code=204)

    @property
    def _service(self) -> LinkService:
        if self._links is None:
            raise LinkNotFound
        return self._links

    async def _open(self, request: Request, form: LinkForm, token: LinkToken) -> Opened:
        """Open a link for a browser, which can receive items only in responses. Raises the same errors as LinkService.open."""
        return await self._service.open(
            token, form.passphrase, form.claim, self._client(request), item_bytes_max=self._response_bytes_max
        )

    def _is_too_large(self, item: OpenedItem) -> bool:
        return self._response_bytes_max is not None and item.size > self._response_bytes_max

    def _client(self, request: Request) -> Client:
        peer = request.client.host if request.client else "unknown"
        address = self._addresses.client(peer, request.headers.getlist("x-forwarded-for"))
        return Client(address, request.state.request_id)

    async def _link_page(
        self,
        request: Request,
        path: str,
        *,
        value: str = "",
        error: str = "",
        status: int = 200,
        exc: GatehouseError | None = None,
    ) -> Response:
        pages = _pages(request)
        secret, link = await self._service.find(path, self._client(request))
        nonce = self._forms.nonce(request)
        hidden = [("csrf", nonce), ("claim", new_nonce())]
        text = pages.texts[error] if error else ""
        if isinstance(exc, TooManyAttempts):
            text = text.format(minutes=math.ceil(exc.retry_after_s / 60))
        if isinstance(exc, ContentTooLarge):
            text = text.format(size=display_size(self._response_bytes_max or 0))
        response = pages.link(secret, link, path, hidden, value=value, error=text, status=status)
        self._forms.set_cookie(response, nonce)
        return response

    async def _checked_form(self, request: Request) -> LinkForm:
        """Return the form that a link's page submitted. Raises CrossSite, BadRequest."""
        self._forms.check_site(request)
        fields = await _form(request)
        self._forms.check_nonce(request, fields.get("csrf", ""))
        if not fields.get("claim"):
            raise BadRequest
        path = request.path_params["link"]
        token = parse(fields.get("link", ""))
        claim = claim_id_of(fields["claim"], path)
        return LinkForm(fields, token if token is not None and token.path == path else None, claim)

    async def _body(self, request: Request) -> tuple[OpenLink, LinkToken]:
        """Return the JSON body and the link that it contains. Raises BadRequest."""
        content = await asgi.read_body(request.receive, BODY_BYTES_MAX, request.headers.get("content-length", ""))
        asgi.check_json(request.headers.getlist("content-type"))
        body = decode_body(_decoder, content)
        if len(body.passphrase) > PASSPHRASE_CHARS_MAX:
            raise invalid("body.passphrase", "is too long", f"send at most {PASSPHRASE_CHARS_MAX} characters")
        token = parse(body.link)
        if token is None:
            raise invalid("body.link", "is not a complete link", "send the whole link, including the part after #")
        return body, token

    async def _text(self, opened: Opened) -> bytes | None:
        """Return the text of a secret (the first item without a name), or None if the secret contains only files."""
        item = next((item for item in opened.items if not item.name), None)
        return None if item is None or item.size > 2 * TEXT_BYTES_MAX else await self._read(opened, item)

    async def _read(self, opened: Opened, item: OpenedItem) -> bytes:
        return b"".join([chunk async for chunk in self._service.read(item, opened.content_key)])

    async def _file(self, opened: Opened, item: OpenedItem) -> Response:
        """Return a file as a download. Browsers never display the file, regardless of its name and type.

        Raises Unavailable if the content cannot be read. A later failure can only end a response that has begun, so the response
        begins after the first chunk or, in a Lambda function, which returns each response as a whole, after the last one.
        """
        name = display_name(item.name) or "secret.txt"
        chunks = self._service.read(item, opened.content_key)
        received = [await anext(chunks)]
        if self._response_bytes_max is not None:
            received.extend([chunk async for chunk in chunks])
        return StreamingResponse(
            _joined(received, chunks),
            media_type="application/octet-stream",
            headers={
                "Content-Length": str(item.size),
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
                "Content-Security-Policy": _FILE_POLICY,
            },
        )


async def _joined(received: Iterable[bytes], following: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in received:
        yield chunk
    async for chunk in following:
        yield chunk


def _item(opened: Opened, number: int) -> OpenedItem:
    if not 0 <= number < len(opened.items):
        raise NotFound("The secret has no such item.")
    return opened.items[number]


def _pages(request: Request) -> Pages:
    return Pages(language(request.headers.get("accept-language", "")))


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises BadRequest for another content type, and for unknown, repeated or too many fields."""
    content = await asgi.read_body(request.receive, BODY_BYTES_MAX, request.headers.get("content-length", ""))
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise BadRequest
    try:
        pairs = parse_qsl(content.decode("ascii"), keep_blank_values=True, max_num_fields=len(_FORM_FIELDS), errors="strict")
    except ValueError:
        raise BadRequest from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or not _FORM_FIELDS.issuperset(fields):
        raise BadRequest
    return fields


async def _static(request: Request) -> Response:
    media_type, content = STATIC[request.url.path]
    return Response(content, media_type=media_type, headers={"Cache-Control": "public, max-age=3600"})


async def _error(request: Request, exc: Exception) -> Response:
    """Return a problem document to programs and a page to browsers."""
    assert isinstance(exc, GatehouseError)  # noqa: S101 - registered for this class
    request.state.code, request.state.detail = exc.code, exc.detail
    if request.url.path.startswith("/v1/"):
        response = Response(asgi.problem(exc, request.state.request_id), exc.status, media_type="application/problem+json")
    else:
        response = _pages(request).message(_page_name(exc), exc.status)
    return _with_headers(response, exc)


def _with_headers(response: Response, error: GatehouseError) -> Response:
    """Add the headers that the status of an error requires."""
    response.raw_headers += asgi.problem_headers(error)
    return response


def _json(value: msgspec.Struct) -> Response:
    return Response(asgi.encode(value), media_type="application/json")


def _page_name(exc: GatehouseError) -> str:
    if isinstance(exc, CrossSite):
        return "cross_site"
    if isinstance(exc, NotFound):
        return "not_found"
    if isinstance(exc, TooManyDenied):
        return "too_many_denied"
    if isinstance(exc, Unavailable):
        return "unavailable"
    return "bad_form"


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for this class
    api = request.url.path.startswith("/v1/")
    if exc.status_code == 405:
        error: GatehouseError = MethodNotAllowed()
        response: Response = _pages(request).message("method", 405) if not api else await _error(request, error)
        response.headers["Allow"] = (exc.headers or {}).get("Allow", "GET, HEAD")
        return response
    return await _error(request, NotFound("No endpoint has this path." if api else ""))
