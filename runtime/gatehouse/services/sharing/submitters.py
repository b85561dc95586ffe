"""Receives submissions from the request page and from programs. GET and HEAD requests never change
anything.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack

from gatehouse.core.errors import BadRequest, GatehouseError, TooManyRequests
from gatehouse.features.sharing.link_token import LinkToken, parse
from gatehouse.features.sharing.links import claim_id_of
from gatehouse.features.sharing.requests.service import RequestService
from gatehouse.platform.http import asgi
from gatehouse.platform.http.asgi import Response
from gatehouse.platform.http.request import Request
from gatehouse.services.sharing.form_protection import FormProtection, new_nonce
from gatehouse.services.sharing.handlers import client_of
from gatehouse.services.sharing.pages import Pages
from gatehouse.services.sharing.submitted_form import (
    InvalidContent,
    SubmittedForm,
    discard,
    invalid_content,
    read_form,
)

#: Maximum number of submissions with files to the same request whose content a process keeps in
#: memory. A person with a link therefore cannot use the memory for the bodies of others.
_LINK_PARALLEL = 2


class Submitters:
    """Handlers for submitters."""

    def __init__(self, requests: RequestService, forms: FormProtection) -> None:
        self._requests = requests
        self._forms = forms
        self._links = asgi.Uses()

    async def page(self, request: Request) -> Response:
        """Show the request page, or receive the form that the page submits."""
        path = request.path_parameters["request"]
        if request.method != "POST":
            return await self._request_page(request, path)
        self._forms.check_site(request)
        form, body = SubmittedForm(), request.chunks()
        try:
            await self._receive(request, body, form, path)
        except GatehouseError as exc:
            await discard(body)
            if isinstance(exc, InvalidContent):
                return await self._request_page(request, path, form, exc)
            raise
        return Pages(request).message("submitted", "submitted_text")

    async def submit(self, request: Request) -> str:
        """Receive the form of a program. Returns the value that identifies the submission."""
        form = SubmittedForm()
        await self._receive(request, request.chunks(), form)
        return form.fields["submission"]

    async def _receive(
        self, request: Request, body: AsyncIterator[bytes], form: SubmittedForm, path: str = ""
    ) -> None:
        """Read the form and store the submission. `path`: path of the request page. Empty for a
        program, which sends no nonce.

        The link is checked before text or a file is read. The content counts in the memory for
        bodies until it is stored.
        """
        client = client_of(request)

        async def authorize(fields: dict[str, str]) -> None:
            if path:
                self._forms.check_nonce(request, fields.get("csrf", ""))
                if not fields.get("submission"):
                    raise BadRequest
            elif not fields.get("submission"):
                fields["submission"] = secrets.token_hex(16)
            token = _token(fields, path)
            await self._requests.check(token, _submission_id(fields, token), client)

        def admit() -> None:
            link = _token(form.fields).path
            stack.callback(self._links.remove, link)
            if self._links.add(link) > _LINK_PARALLEL:
                raise TooManyRequests("Other submissions to this request are in progress.")

        content_type = request.header(b"content-type")
        with ExitStack() as stack:
            keep = stack.enter_context(asgi.body_memory(request.scope))
            await read_form(body, content_type, authorize, admit, keep, form)
            token = _token(form.fields)
            submission_id = _submission_id(form.fields, token)
            await self._requests.submit(token, form.items, submission_id, client)

    async def _request_page(
        self,
        request: Request,
        path: str,
        form: SubmittedForm | None = None,
        problem: InvalidContent | None = None,
    ) -> Response:
        secret_request = await self._requests.find(path)
        nonce = self._forms.nonce(request)
        self._forms.set_cookie(request, nonce)
        fields = {} if form is None else form.fields
        return Pages(request).request(
            secret_request,
            [("csrf", nonce), ("submission", fields.get("submission") or new_nonce())],
            link=fields.get("link", ""),
            text=fields.get("text", ""),
            error="" if problem is None else problem.text,
        )


def _token(fields: dict[str, str], path: str = "") -> LinkToken:
    """Return the link in a form. Raises InvalidContent if the link is incomplete or belongs to a
    page other than `path`.
    """
    token = parse(fields.get("link", ""), "r")
    if token is None or (path and token.path != path):
        raise invalid_content("bad_link")
    return token


def _submission_id(fields: dict[str, str], token: LinkToken) -> str:
    return claim_id_of(fields["submission"], token.path)
