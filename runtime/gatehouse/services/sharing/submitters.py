"""Receives submissions from the request page and from programs. GET and HEAD requests never change
anything.
"""

import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack

from gatehouse.core.errors import BadRequest, GatehouseError
from gatehouse.features.secret_requests.service import RequestService
from gatehouse.features.secrets.link_token import LinkToken, parse
from gatehouse.features.secrets.links import claim_id_of
from gatehouse.platform.semaphores import RequestLimits
from gatehouse.platform.web.form_protection import FormProtection, new_nonce
from gatehouse.platform.web.request import AsgiRequest, Request
from gatehouse.platform.web.responses import Response
from gatehouse.services.sharing.pages import Pages
from gatehouse.services.sharing.recipients import client_of
from gatehouse.services.sharing.submitted_form import InvalidContent, SubmittedForm, invalid_content

#: Maximum number of submissions in progress of a process, and to the same request, whose content
#: the process has in memory.
SUBMISSIONS_MAX, LINK_MAX = 16, 2

#: Fields of a rejected form that the page shows again.
_SHOWN_FIELDS = ("submission", "link", "text")


class Submitters:
    def __init__(self, requests: RequestService, forms: FormProtection) -> None:
        self._requests = requests
        self._forms = forms
        self._limits = RequestLimits(SUBMISSIONS_MAX, LINK_MAX)

    async def page(self, request: Request) -> Response:
        return await self._page(request, request.path_parameters["request"])

    async def submit_page(self, request: AsgiRequest) -> Response:
        """Receive the form of the request page."""
        path, form = request.path_parameters["request"], SubmittedForm(request)
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
            return await self._page(request, path, fields, error.text)
        raise error

    async def submit(self, request: AsgiRequest) -> str:
        """Receive the form of a program. Returns the value that identifies the submission."""
        form = SubmittedForm(request)
        return await self._receive(request, form)

    async def _receive(self, request: AsgiRequest, form: SubmittedForm, path: str = "") -> str:
        """Read the form and store the submission. Returns the value that identifies the submission.
        `path`: path of the request page. Empty for a program, which sends no nonce.

        The link is checked before the parts after it are read.
        """
        client, generated, links = client_of(request), secrets.token_hex(16), list[LinkToken]()

        def submission_id() -> str:
            return claim_id_of(form.field("submission") or generated, links[0].path)

        async with AsyncExitStack() as stack:

            async def authorize() -> None:
                if path:
                    self._forms.check(request, form.field("csrf"))
                    if not form.field("submission"):
                        raise BadRequest
                links.append(_token(form, path))
                await self._requests.check(links[0], submission_id(), client)
                await stack.enter_async_context(self._limits.request(links[0].path))

            await form.receive(authorize)
            await self._requests.submit(links[0], form.contents, submission_id(), client)
        return form.field("submission") or generated

    async def _page(
        self, request: Request, path: str, fields: Sequence[str] = ("", "", ""), problem: str = ""
    ) -> Response:
        """The page with the values of _SHOWN_FIELDS. problem: name of the text that explains why
        the form was rejected.
        """
        nonce, (submission, link, text) = self._forms.nonce(request), fields
        submission = submission or self._forms.page_nonce(request) or new_nonce()
        submission_id = claim_id_of(submission, path)
        secret, requested = await self._requests.find(path, submission_id)
        if requested.submission == submission_id:
            return Pages(request).message("submitted", "submitted_text")
        self._forms.remember(request, f"/r/{path}", submission)
        return Pages(request).page(
            "request",
            "request",
            400 if problem else 200,
            secret=secret,
            purpose=requested.purpose,
            fields=[("csrf", nonce), ("submission", submission)],
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
