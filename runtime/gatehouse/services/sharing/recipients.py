"""Handlers of the recipient pages and of the API under /v1/links. GET and HEAD requests never
change anything.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.errors import BadRequest, GatehouseError, NotFound
from gatehouse.features.sharing.denials import LinkNotFound
from gatehouse.features.sharing.link_schemas import (
    AcknowledgeLink,
    LinkPreview,
    LookUpLink,
    OpenedItemDownload,
    OpenedItemView,
    OpenedSecret,
    OpenLink,
    ReadItem,
    download_view,
    link_preview,
)
from gatehouse.features.sharing.link_token import LinkToken, parse
from gatehouse.features.sharing.links import (
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
from gatehouse.features.sharing.models import JSON_FILES_BYTES_MAX, TEXT_BYTES_MAX
from gatehouse.platform.http import asgi
from gatehouse.platform.http.security_headers import download_headers
from gatehouse.platform.http.validation import invalid
from gatehouse.services.sharing.form_protection import FormProtection, new_nonce
from gatehouse.services.sharing.handlers import client_of, pages_of, with_error_headers
from gatehouse.services.sharing.pages import display_name, display_size

#: Maximum size of a form or a JSON body.
BODY_BYTES_MAX = 8192
_FORM_FIELDS = frozenset({"link", "passphrase", "csrf", "claim"})
_FORM = "application/x-www-form-urlencoded"


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


class Recipients:
    """Handlers for recipients. `response_bytes_max`: maximum size of an item in a response. None:
    unlimited.
    """

    def __init__(
        self,
        links: LinkService | None,
        addresses: ClientAddresses,
        forms: FormProtection,
        response_bytes_max: int | None,
    ) -> None:
        self._links = links
        self._addresses = addresses
        self._forms = forms
        self._response_bytes_max = response_bytes_max

    async def start(self, request: Request) -> Response:
        pages = pages_of(request)
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
            response = await self._link_page(
                request, path, value=form.fields["link"], error=exc.code, status=exc.status, exc=exc
            )
            return with_error_headers(response, exc)
        text = await self._text(opened)
        if text is None and len(opened.items) == 1:
            return await self._file(opened, opened.items[0])
        return pages_of(request).revealed(opened, path, text, form.fields.items())

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
        return pages_of(request).acknowledged()

    async def look_up_link(self, request: Request, body: LookUpLink) -> LinkPreview:
        """Look up a link.

        Returns information about a link without consuming a use.
        """
        secret, link = await self._service.look_up(_token(body), self._client(request))
        return link_preview(secret, link)

    async def open_link(self, request: Request, body: OpenLink) -> OpenedSecret:
        """Open a link.

        Consumes one use and returns the content. The response contains the content of the items if
        their total size is at most 1 MiB. Otherwise, read the items one by one with POST
        /v1/links/items.
        """
        token = _token(body)
        claim = body.claim or secrets.token_hex(16)
        opened = await self._service.open(
            token, body.passphrase, claim_id_of(claim, token.path), self._client(request)
        )
        inline = sum(item.size for item in opened.items) <= JSON_FILES_BYTES_MAX
        items = []
        for item in opened.items:
            view = OpenedItemView(name=item.name, media_type=item.media_type, size=item.size)
            if inline:
                content = await self._read(opened, item)
                binary = bool(item.name) or opened.secret.end_to_end
                value = (
                    {"content_base64": content}
                    if binary
                    else {"text": content.decode("utf-8", "replace")}
                )
                view = msgspec.structs.replace(view, **value)
            elif self._is_too_large(item):
                view = msgspec.structs.replace(
                    view, download=download_view(await self._service.download(opened, item))
                )
            items.append(view)
        return OpenedSecret(claim=claim, end_to_end=opened.secret.end_to_end, items=items)

    async def read_item(self, request: Request, body: ReadItem) -> OpenedItemDownload | Response:
        """Read an item.

        Returns the content of one item (text or file) from an opened link, or a presigned request
        for an item that is too large for a response. An unused claim consumes one use.
        """
        token = _token(body)
        claim = claim_id_of(body.claim, token.path)
        opened = await self._service.open(token, body.passphrase, claim, self._client(request))
        item = _item(opened, body.item)
        if self._is_too_large(item):
            return OpenedItemDownload(download_view(await self._service.download(opened, item)))
        return await self._file(opened, item)

    async def acknowledge_link(self, request: Request, body: AcknowledgeLink) -> None:
        """Acknowledge the content.

        Confirms that the client received the content. The content is deleted as soon as the link
        has no uses left and every recipient has confirmed. Idempotent.
        """
        token = _token(body)
        await self._service.acknowledge(
            token, claim_id_of(body.claim, token.path), self._client(request)
        )

    @property
    def _service(self) -> LinkService:
        if self._links is None:
            raise LinkNotFound
        return self._links

    async def _open(self, request: Request, form: LinkForm, token: LinkToken) -> Opened:
        """Open a link for a browser, which can receive items only in responses. Raises the same
        errors as LinkService.open.
        """
        return await self._service.open(
            token,
            form.passphrase,
            form.claim,
            self._client(request),
            item_bytes_max=self._response_bytes_max,
        )

    def _is_too_large(self, item: OpenedItem) -> bool:
        return self._response_bytes_max is not None and item.size > self._response_bytes_max

    def _client(self, request: Request) -> Client:
        return client_of(request, self._addresses)

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
        pages = pages_of(request)
        secret, link = await self._service.find(path)
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

    async def _text(self, opened: Opened) -> bytes | None:
        """Return the text of a secret (the first item with an empty name), or None if the secret
        contains only files.
        """
        item = next((item for item in opened.items if not item.name), None)
        return (
            None
            if item is None or item.size > 2 * TEXT_BYTES_MAX
            else await self._read(opened, item)
        )

    async def _read(self, opened: Opened, item: OpenedItem) -> bytes:
        return b"".join([chunk async for chunk in self._service.read(item, opened.content_key)])

    async def _file(self, opened: Opened, item: OpenedItem) -> Response:
        """Return a file as a download. Browsers never display the file, regardless of its name or
        type.

        Raises Unavailable if the content cannot be read. A later failure can only end a response
        that has begun, so the response begins after the first chunk or, in a Lambda function, which
        returns each response as a whole, after the last one.
        """
        name = display_name(item.name) or "secret.txt"
        chunks = self._service.read(item, opened.content_key)
        received = [await anext(chunks)]
        if self._response_bytes_max is not None:
            received.extend([chunk async for chunk in chunks])
        return StreamingResponse(
            _joined(received, chunks),
            headers={**download_headers(name), "Content-Length": str(item.size)},
        )


def _token(body: LookUpLink) -> LinkToken:
    """Return the link in a JSON body. Raises BadRequest if the link is incomplete."""
    token = parse(body.link)
    if token is None:
        raise invalid(
            "body.link", "is not a complete link", "send the whole link, including the part after #"
        )
    return token


async def _joined(
    received: Iterable[bytes], following: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    for chunk in received:
        yield chunk
    async for chunk in following:
        yield chunk


def _item(opened: Opened, number: int) -> OpenedItem:
    if not 0 <= number < len(opened.items):
        raise NotFound("The secret has no such item.")
    return opened.items[number]


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises BadRequest for another content type, and for unknown,
    repeated or too many fields.
    """
    content = await asgi.read_body(request.scope, request.receive, BODY_BYTES_MAX)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise BadRequest
    try:
        pairs = parse_qsl(
            content.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=len(_FORM_FIELDS),
            errors="strict",
        )
    except ValueError:
        raise BadRequest from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or not _FORM_FIELDS.issuperset(fields):
        raise BadRequest
    return fields
