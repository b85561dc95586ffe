"""Receives submissions from the request page and from programs. GET and HEAD requests never change
anything.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

from gatehouse.core.errors import BadRequest, GatehouseError, TooManyRequests
from gatehouse.features.requests.service import RequestService
from gatehouse.features.secrets.link_token import LinkToken, parse
from gatehouse.features.secrets.links import claim_id_of
from gatehouse.platform.web.asgi import Response
from gatehouse.platform.web.request import Request
from gatehouse.services.sharing.form_protection import FormProtection, new_nonce
from gatehouse.services.sharing.pages import Pages
from gatehouse.services.sharing.recipients import client_of
from gatehouse.services.sharing.submitted_form import InvalidContent, SubmittedForm, invalid_content

#: Maximum number of submissions with files to the same request whose content a process has in
#: memory. A person with a link therefore cannot use the memory for the bodies of others.
_LINK_PARALLEL = 2

#: Fields of a rejected form that the page shows again.
_SHOWN_FIELDS = ("submission", "link", "text")


class Submitters:
    def __init__(self, requests: RequestService, forms: FormProtection) -> None:
        self._requests = requests
        self._forms = forms
        self._links = Counter[str]()

    async def page(self, request: Request) -> Response:
        """Show the request page, or receive the form that the page submits."""
        path = request.path_parameters["request"]
        if request.method != "POST":
            return await self._request_page(request, path)
        self._forms.check_site(request)
        form = SubmittedForm(request.header(b"content-type"))
        try:
            await self._receive(request, form, path)
        except GatehouseError as exc:
            error = exc.with_traceback(None)  # which refers to the content
        else:
            return Pages(request).message("submitted", "submitted_text")
        fields = tuple(form.field(name) for name in _SHOWN_FIELDS)
        del form
        if isinstance(error, InvalidContent):
            await request.discard()
            return await self._request_page(request, path, fields, error.text)
        raise error

    async def submit(self, request: Request) -> str:
        """Receive the form of a program. Returns the value that identifies the submission."""
        form = SubmittedForm(request.header(b"content-type"))
        return await self._receive(request, form)

    async def _receive(self, request: Request, form: SubmittedForm, path: str = "") -> str:
        """Read the form and store the submission. Returns the value that identifies the submission.
        `path`: path of the request page. Empty for a program, which sends no nonce.

        The link is checked before text or a file is read.
        """
        client, generated = client_of(request), secrets.token_hex(16)

        async def authorize() -> tuple[LinkToken, str]:
            """Return the link and the value that identifies the submission."""
            submission = form.field("submission")
            if path:
                self._forms.check_nonce(request, form.field("csrf"))
                if not submission:
                    raise BadRequest
            token = _token(form, path)
            submission = submission or generated
            await self._requests.check(token, claim_id_of(submission, token.path), client)
            return token, submission

        authorized, admitted = None, False
        with ExitStack() as stack:
            async for chunk in request.stream():
                form.write(chunk)
                if authorized is None and form.has_content:
                    authorized = await authorize()
                if authorized is not None and form.files and not admitted:
                    admitted, (link, _) = True, authorized
                    stack.callback(self._release, link.path)
                    self._links[link.path] += 1
                    if self._links[link.path] > _LINK_PARALLEL:
                        raise TooManyRequests("Other submissions to this request are in progress.")
                if form.complete:
                    break
            form.close()
            token, submission = authorized or await authorize()
            submission_id = claim_id_of(submission, token.path)
            await self._requests.submit(token, form.items, submission_id, client)
        return submission

    def _release(self, link: str) -> None:
        self._links[link] -= 1
        if not self._links[link]:
            del self._links[link]

    async def _request_page(
        self, request: Request, path: str, fields: Sequence[str] = ("", "", ""), problem: str = ""
    ) -> Response:
        """The page with the values of _SHOWN_FIELDS. problem: name of the text that explains why
        the form was rejected.
        """
        secret, requested = await self._requests.find(path)
        nonce, (submission, link, text) = self._forms.nonce(request), fields
        return Pages(request).page(
            "request",
            "request",
            400 if problem else 200,
            secret=secret,
            purpose=requested.purpose,
            fields=[("csrf", nonce), ("submission", submission or new_nonce())],
            value=link,
            text=text,
            error=problem,
        )


def _token(form: SubmittedForm, path: str) -> LinkToken:
    """Return the link in a form. Raises InvalidContent if the link is incomplete or belongs to a
    page other than `path`.
    """
    token = parse(form.field("link"), "r")
    if token is None or (path and token.path != path):
        raise invalid_content("bad_link")
    return token
