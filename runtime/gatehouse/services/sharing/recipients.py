"""Handlers of the recipient pages. GET and HEAD requests never change anything."""

import base64
import math
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from gatehouse.core.errors import BadRequest, GatehouseError, NotFound
from gatehouse.core.forwarding import query_flaw
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.link_token import LinkToken, parse
from gatehouse.features.secrets.links import (
    LinkService,
    NotConfirmed,
    Opened,
    OpenedItem,
    PassphraseRequired,
    TooManyAttempts,
    WrongPassphrase,
    claim_id_of,
)
from gatehouse.features.secrets.models import Client
from gatehouse.features.secrets.schemas import display_name
from gatehouse.platform.web import asgi
from gatehouse.platform.web.asgi import Response
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.security_headers import download_headers
from gatehouse.services.sharing.form_protection import FormProtection, new_nonce, number_to_type
from gatehouse.services.sharing.pages import Pages

#: Maximum size of a form or a JSON body.
BODY_BYTES_MAX = 8192
_FORM_FIELDS = frozenset({"link", "passphrase", "number", "csrf", "claim"})
_FORM = "application/x-www-form-urlencoded"


def client_of(request: Request) -> Client:
    return Client(request.client, request.request_id)


@dataclass(frozen=True, slots=True)
class LinkForm:
    """A form submitted from a link's page.

    token: None if the link is incomplete or belongs to another page.
    claim: the claim ID.
    confirmed: the form contains the number on its page.
    """

    fields: dict[str, str]
    token: LinkToken | None
    claim: str
    confirmed: bool

    def __repr__(self) -> str:
        return "LinkForm(...)"


class Recipients:
    def __init__(self, links: LinkService, forms: FormProtection) -> None:
        self._links = links
        self._forms = forms

    async def link(self, request: Request) -> Response:
        path = request.path_parameters["link"]
        if request.method != "POST":
            return await self._link_page(request, path)
        form = await self._checked_form(request)
        if form.token is None:
            return await self._link_page(request, path, error="bad_link", status=400)
        try:
            opened = await self._open(request, form)
        except (PassphraseRequired, WrongPassphrase, TooManyAttempts, NotConfirmed) as exc:
            request.code = exc.code
            return await self._link_page(
                request, path, value=form.fields["link"], error=exc.code, status=exc.status, exc=exc
            )
        items = [item for item in opened.items if not item.name]
        text = b"".join(await self._links.read(opened, *items))
        sealed = opened.secret.end_to_end
        return Pages(request).page(
            "revealed",
            "revealed",
            opened=opened,
            path=path,
            fields=form.fields.items(),
            has_text=bool(items),
            shown="" if sealed else text.decode("utf-8", "replace"),
            sealed=base64.b64encode(text).decode() if sealed else "",
        )

    async def download(self, request: Request) -> Response:
        number = request.path_parameters["item"]
        if re.fullmatch(r"[0-9]{1,9}", number) is None:
            raise NotFound
        opened = await self._open(request, await self._checked_form(request))
        if int(number) >= len(opened.items):
            raise NotFound("The secret has no such item.")
        return await self._file(request, opened, opened.items[int(number)])

    async def acknowledge(self, request: Request) -> Response:
        form = await self._checked_form(request)
        if form.token is None:
            raise LinkNotFound
        await self._links.acknowledge(form.token, form.claim, client_of(request))
        return Pages(request).message("acknowledged", "acknowledged_text")

    async def _open(self, request: Request, form: LinkForm) -> Opened:
        if form.token is None:
            raise LinkNotFound
        passphrase = form.fields.get("passphrase", "")
        client, confirmed = client_of(request), form.confirmed
        return await self._links.open(
            form.token, passphrase, form.claim, client, confirmed=confirmed
        )

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
        pages = Pages(request)
        secret, link = await self._links.find(path)
        claim = new_nonce()
        hidden = [("csrf", self._forms.nonce(request)), ("claim", claim)]
        text = pages.texts[error] if error else ""
        if isinstance(exc, TooManyAttempts):
            text = text.format(minutes=math.ceil(exc.retry_after_s / 60))
        if isinstance(exc, WrongPassphrase):
            text = text.format(count=exc.tries_left)
        headers = [] if exc is None else asgi.problem_headers(exc)
        return pages.page(
            "link",
            "title",
            status,
            headers,
            secret=secret,
            link=link,
            path=path,
            fields=hidden,
            value=value,
            number=number_to_type(claim),
            error=text,
        )

    async def _checked_form(self, request: Request) -> LinkForm:
        """Return the form that a link's page submitted. Raises CrossSite, BadRequest."""
        self._forms.check_site(request)
        fields = await _form(request)
        self._forms.check_nonce(request, fields.get("csrf", ""))
        if not fields.get("claim"):
            raise BadRequest
        path = request.path_parameters["link"]
        token = parse(fields.get("link", ""))
        claim = claim_id_of(fields["claim"], path)
        confirmed = fields.get("number") == number_to_type(fields["claim"])
        if token is not None and token.path != path:
            token = None
        return LinkForm(fields, token, claim, confirmed)

    async def _file(self, request: Request, opened: Opened, item: OpenedItem) -> Response:
        """Return a file as a download. Browsers never display the file, regardless of its name or
        type. Raises Unavailable if the content cannot be read.
        """
        [content] = await self._links.read(opened, item)
        return request.response(
            200,
            content,
            content_type=b"application/octet-stream",
            headers=download_headers(display_name(item.name)),
        )


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises BadRequest for another content type, and for unknown,
    repeated or too many fields.
    """
    content = await request.read_body(BODY_BYTES_MAX)
    media_type = request.header(b"content-type").partition(";")[0].strip().lower()
    if media_type != _FORM or query_flaw(content):
        raise BadRequest
    try:
        pairs = parse_qsl(
            content.decode("ascii"), keep_blank_values=True, max_num_fields=len(_FORM_FIELDS)
        )
    except ValueError:
        raise BadRequest from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or not _FORM_FIELDS.issuperset(fields):
        raise BadRequest
    return fields
