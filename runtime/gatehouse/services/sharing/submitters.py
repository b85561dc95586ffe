"""Handlers of the submission page and of the submission API for programs. GET and HEAD requests
never change anything.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from starlette.requests import Request
from starlette.responses import Response

from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import BadRequest, GatehouseError, RequestTimeout, TooManyRequests
from gatehouse.features.sharing.denials import LinkNotFound
from gatehouse.features.sharing.link_token import SubmissionToken, parse_submission
from gatehouse.features.sharing.links import Client, claim_id_of
from gatehouse.features.sharing.models import json_bytes_max
from gatehouse.features.sharing.requests.models import SUBMISSION_FILES_BYTES_MAX
from gatehouse.features.sharing.requests.submission_schemas import (
    CreateUpload,
    SubmittedSecret,
    SubmitUploads,
    UploadsNotSupported,
    UploadView,
)
from gatehouse.features.sharing.requests.submissions import SubmissionService
from gatehouse.features.sharing.service import NewItem
from gatehouse.features.sharing.slots import Slots
from gatehouse.platform.http.asgi import Uses, body_memory
from gatehouse.platform.http.fields import view_of
from gatehouse.platform.http.validation import invalid
from gatehouse.services.sharing.form_protection import FormProtection, new_nonce
from gatehouse.services.sharing.handlers import client_of, pages_of
from gatehouse.services.sharing.submitted_form import (
    InvalidContent,
    SubmittedForm,
    discard,
    read_form,
)

#: Maximum size of the body that submits uploads: text with up to 6 characters per byte (`\\u001f`),
#: and the other fields.
UPLOADS_BYTES_MAX = json_bytes_max(0) + 32_768
#: Maximum number of submissions whose content a process keeps in memory concurrently, and maximum
#: wait of further submissions.
_PARALLEL = 4
_SLOT_TIMEOUT_S = 30.0
#: Maximum number of these submissions with the same link, and maximum time in which such a
#: submission must be received. A person with a link therefore cannot prevent the submissions of
#: others.
_LINK_PARALLEL = 2
_RECEIVE_TIMEOUT_S = 300.0


class Submitters:
    """Handlers for submitters.

    submissions: None if secret sharing is not configured. Every request is then unknown.
    files_bytes_max: maximum total size of the files in the body of a submission.
    upload_bytes_max: maximum total size of the files that a program uploads for a submission. None:
        uploads are disabled.
    """

    def __init__(
        self,
        submissions: SubmissionService | None,
        addresses: ClientAddresses,
        forms: FormProtection,
        files_bytes_max: int,
        upload_bytes_max: int | None,
    ) -> None:
        self._submissions = submissions
        self._addresses = addresses
        self._forms = forms
        self._files_bytes_max = min(files_bytes_max, SUBMISSION_FILES_BYTES_MAX)
        self._upload_bytes_max = upload_bytes_max
        self._slots = Slots(_PARALLEL, _SLOT_TIMEOUT_S)
        self._links = Uses()

    async def page(self, request: Request) -> Response:
        """Show the request page, or receive the form that the page submits."""
        path = request.path_params["request"]
        if request.method != "POST":
            return await self._request_page(request, path)
        self._forms.check_site(request)
        form, body = SubmittedForm(), request.stream()
        try:
            async with AsyncExitStack() as stack:
                await self._read_form(request, body, form, stack, path)
                await self._submit(request, form, form.items)
        except GatehouseError as exc:
            await discard(body)
            if isinstance(exc, InvalidContent):
                return await self._request_page(request, path, form, exc)
            raise
        return pages_of(request).submitted()

    async def submit_secret(self, request: Request) -> SubmittedSecret:
        """Submit a secret.

        Submits text, files or both to a secret request, as a form (multipart/form-data). Send the
        fields `link` and `submission` before `text`, and the files last: the link is checked before
        the content is received.
        """
        form = SubmittedForm()
        async with AsyncExitStack() as stack:
            await self._read_form(request, request.stream(), form, stack)
            form.fields.setdefault("submission", secrets.token_hex(16))
            await self._submit(request, form, form.items)
        return SubmittedSecret(form.fields["submission"])

    async def create_upload(self, request: Request, body: CreateUpload) -> UploadView:
        """Create an upload.

        Returns a presigned request with which a program uploads one encrypted file for a
        submission. Deployments in a container return the code `uploads_not_supported`, because they
        accept files of any permitted size in the body of a submission.
        """
        self._check_uploads(body.size, "body.size")
        fields = {"link": body.link, "submission": body.submission or secrets.token_hex(16)}
        token = _token(fields)
        secret, upload, expires_at = await self._service.create_upload(
            token,
            _submission_id(fields, token),
            body.secret,
            body.number,
            body.size,
            self._client(request),
        )
        return view_of(
            UploadView,
            upload,
            submission=fields["submission"],
            secret=secret,
            expires_at=rfc3339(expires_at),
        )

    async def submit_uploads(self, request: Request, body: SubmitUploads) -> SubmittedSecret:
        """Submit uploads.

        Submits the uploaded files, and optionally text, as one secret.
        """
        self._check_uploads(sum(file.size for file in body.files), "body.files")
        fields = {"link": body.link, "submission": body.submission}
        token = _token(fields)
        await self._service.submit_uploads(
            token,
            _submission_id(fields, token),
            body.secret,
            body.content_key,
            body.text or "",
            body.files,
            self._client(request),
        )
        return SubmittedSecret(body.submission)

    def _check_uploads(self, size: int, location: str) -> None:
        """Raise UploadsNotSupported if uploads are disabled, and BadRequest if the size exceeds the
        limit of the deployment.
        """
        if self._upload_bytes_max is None:
            raise UploadsNotSupported(
                "Send the files as multipart/form-data to POST /v1/requests/submit."
            )
        if size > self._upload_bytes_max:
            raise invalid(
                location, f"has more than {self._upload_bytes_max} bytes", "send smaller files"
            )

    @property
    def _service(self) -> SubmissionService:
        if self._submissions is None:
            raise LinkNotFound
        return self._submissions

    async def _read_form(
        self,
        request: Request,
        body: AsyncIterator[bytes],
        form: SubmittedForm,
        stack: AsyncExitStack,
        path: str = "",
    ) -> None:
        """Read the form. `path`: path of the request page. Empty for a program, which sends no
        nonce.

        The link is checked before text or a file is read. `stack` occupies one of the slots before
        a file is read.
        """

        async def authorize(fields: dict[str, str]) -> None:
            if path:
                self._forms.check_nonce(request, fields.get("csrf", ""))
                if not fields.get("submission"):
                    raise BadRequest
            token = _token(fields, path)
            await self._service.check(token, _submission_id(fields, token), self._client(request))

        async def admit() -> None:
            link = _token(form.fields, path).path
            stack.callback(self._links.remove, link)
            if self._links.add(link) > _LINK_PARALLEL:
                raise TooManyRequests("Other submissions to this request are in progress.")
            await stack.enter_async_context(self._slots.hold())
            deadline.reschedule(asyncio.get_running_loop().time() + _RECEIVE_TIMEOUT_S)

        content_type = request.headers.get("content-type", "")
        try:
            async with asyncio.timeout(None) as deadline:
                await read_form(
                    body,
                    content_type,
                    authorize,
                    admit,
                    stack.enter_context(body_memory(request.scope)),
                    files_bytes_max=self._files_bytes_max,
                    form=form,
                )
        except TimeoutError:
            raise RequestTimeout("The files were not received in time.") from None

    async def _submit(self, request: Request, form: SubmittedForm, items: list[NewItem]) -> None:
        token = _token(form.fields)
        await self._service.submit(
            token, items, _submission_id(form.fields, token), self._client(request)
        )

    async def _request_page(
        self,
        request: Request,
        path: str,
        form: SubmittedForm | None = None,
        problem: InvalidContent | None = None,
    ) -> Response:
        secret_request = await self._service.find(path)
        nonce = self._forms.nonce(request)
        fields = {} if form is None else form.fields
        response = pages_of(request).request(
            secret_request,
            [("csrf", nonce), ("submission", fields.get("submission") or new_nonce())],
            files_bytes_max=self._files_bytes_max,
            uploads=self._upload_bytes_max is not None,
            link=fields.get("link", ""),
            text=fields.get("text", ""),
            error="" if problem is None else problem.text,
        )
        self._forms.set_cookie(response, nonce)
        return response

    def _client(self, request: Request) -> Client:
        return client_of(request, self._addresses)


def _token(fields: dict[str, str], path: str = "") -> SubmissionToken:
    """Return the link in a form. Raises InvalidContent if the link is incomplete or belongs to a
    page other than `path`.
    """
    token = parse_submission(fields.get("link", ""))
    if token is None or (path and token.path != path):
        raise InvalidContent.of(
            "bad_link",
            "body.link",
            "is not a complete link",
            "send the whole link, including the part after #",
        )
    return token


def _submission_id(fields: dict[str, str], token: SubmissionToken) -> str:
    return claim_id_of(fields.get("submission", ""), token.path)
