"""Handlers of the recipient pages. GET and HEAD requests never change anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.errors import BadRequest, GatehouseError, NotFound
from gatehouse.features.sharing.denials import LinkNotFound
from gatehouse.features.sharing.link_token import LinkToken, parse
from gatehouse.features.sharing.links import (
    Client,
    LinkService,
    Opened,
    OpenedItem,
    PassphraseRequired,
    TooManyAttempts,
    WrongPassphrase,
    claim_id_of,
)
from gatehouse.platform.http import asgi
from gatehouse.platform.http.security_headers import download_headers
from gatehouse.services.sharing.form_protection import FormProtection, new_nonce
from gatehouse.services.sharing.handlers import client_of, pages_of, with_error_headers
from gatehouse.services.sharing.pages import display_name

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
    """Handlers of the pages for recipients."""

    def __init__(
        self, links: LinkService, addresses: ClientAddresses, forms: FormProtection
    ) -> None:
        self._links = links
        self._addresses = addresses
        self._forms = forms

    async def start(self, request: Request) -> Response:
        pages, form = pages_of(request), await _form(request)
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
        except (PassphraseRequired, WrongPassphrase, TooManyAttempts) as exc:
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
        await self._links.acknowledge(form.token, form.claim, self._client(request))
        return pages_of(request).acknowledged()

    async def _open(self, request: Request, form: LinkForm, token: LinkToken) -> Opened:
        return await self._links.open(token, form.passphrase, form.claim, self._client(request))

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
        secret, link = await self._links.find(path)
        nonce = self._forms.nonce(request)
        hidden = [("csrf", nonce), ("claim", new_nonce())]
        text = pages.texts[error] if error else ""
        if isinstance(exc, TooManyAttempts):
            text = text.format(minutes=math.ceil(exc.retry_after_s / 60))
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
        """Return the text of a secret (the item with an empty name), or None if the secret contains
        only files.
        """
        item = next((item for item in opened.items if not item.name), None)
        return None if item is None else await self._links.read(opened, item)

    async def _file(self, opened: Opened, item: OpenedItem) -> Response:
        """Return a file as a download. Browsers never display the file, regardless of its name or
        type. Raises Unavailable if the content cannot be read.
        """
        name = display_name(item.name) or "secret.txt"
        return Response(await self._links.read(opened, item), headers=download_headers(name))


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
