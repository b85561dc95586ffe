"""Handlers of the recipient pages. GET and HEAD requests never change anything."""

import base64
import math
import re

from gatehouse.core.errors import BadRequest, GatehouseError, NotFound
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.links import (
    LinkService,
    NotConfirmed,
    Opened,
    OpenedItem,
    claim_id_of,
)
from gatehouse.features.secrets.models import Client
from gatehouse.features.secrets.passphrases import (
    PassphraseRequired,
    TooManyAttempts,
    WrongPassphrase,
)
from gatehouse.features.secrets.schemas import display_name
from gatehouse.platform.web import problems
from gatehouse.platform.web.form_protection import FormProtection, new_nonce, number_to_type
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.responses import Response
from gatehouse.platform.web.security_headers import download_headers
from gatehouse.services.sharing.link_form import LinkForm, read_link_form
from gatehouse.services.sharing.pages import Pages


def client_of(request: Request) -> Client:
    return Client(request.client, request.request_id)


class _BadLink(BadRequest, temporary=False):
    code, title = "bad_link", "The link is incomplete or belongs to another page"


#: After these errors, the page shows its form again, with the reason.
_SHOWN_AGAIN = (_BadLink, PassphraseRequired, WrongPassphrase, TooManyAttempts, NotConfirmed)


class Recipients:
    def __init__(self, links: LinkService, forms: FormProtection) -> None:
        self._links = links
        self._forms = forms

    async def page(self, request: Request) -> Response:
        return await self._page(request, request.path_parameters["link"])

    async def open(self, request: Request) -> Response:
        path = request.path_parameters["link"]
        form = await read_link_form(request, self._forms, path)
        try:
            if form.token is None:
                raise _BadLink
            opened = await self._open(form, client_of(request))
        except _SHOWN_AGAIN as exc:
            request.code = exc.code
            value = form.fields["link"] if form.token else ""
            return await self._page(request, path, value=value, exc=exc)
        self._forms.remember(request, f"/s/{path}", form.fields["claim"])
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
        form = await read_link_form(request, self._forms, request.path_parameters["link"])
        opened = await self._open(form, client_of(request))
        if int(number) >= len(opened.items):
            raise NotFound("The secret has no such item.")
        return await self._file(request, opened, opened.items[int(number)])

    async def acknowledge(self, request: Request) -> Response:
        form = await read_link_form(request, self._forms, request.path_parameters["link"])
        if form.token is None:
            raise LinkNotFound
        await self._links.acknowledge(form.token, form.claim, client_of(request))
        return Pages(request).message("acknowledged", "acknowledged_text")

    async def _open(self, form: LinkForm, client: Client) -> Opened:
        if form.token is None:
            raise LinkNotFound
        return await self._links.open(
            form.token,
            form.fields.get("passphrase", ""),
            form.claim,
            client,
            confirmed=form.confirmed,
        )

    async def _page(
        self, request: Request, path: str, *, value: str = "", exc: GatehouseError | None = None
    ) -> Response:
        claim = "" if exc else self._forms.page_nonce(request)
        secret, link, is_opened = await self._links.find(path, claim_id_of(claim, path))
        if not claim or (claim_id_of(claim, path) in link.claims and not is_opened):
            claim = new_nonce()
        self._forms.remember(request, f"/s/{path}", claim)
        hidden = [("csrf", self._forms.nonce(request)), ("claim", claim)]
        pages = Pages(request)
        text = pages.texts[exc.code] if exc else ""
        if isinstance(exc, TooManyAttempts):
            text = text.format(minutes=math.ceil((exc.retry_after_s or 0) / 60))
        if isinstance(exc, WrongPassphrase):
            text = text.format(count=exc.tries_left)
        headers = [] if exc is None else problems.problem_headers(exc)
        return pages.page(
            "link",
            "title",
            200 if exc is None else exc.status,
            headers,
            secret=secret,
            link=link,
            path=path,
            fields=hidden,
            value=value,
            number=number_to_type(claim),
            is_opened=is_opened,
            error=text,
        )

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
