"""Request and response shapes of the endpoints under /v1/requests, with which programs submit
secrets, and their errors.

Programs upload files that are too large for a request. A program generates a content key and
encrypts each file with libsodium's secretstream under the `item_key` for the file's number
(docs/sharing-vectors.json). For each file, the program requests an upload with POST
/v1/requests/uploads and sends the ciphertext to S3. The program then submits the uploads.
"""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from gatehouse.core.errors import BadRequest, Conflict
from gatehouse.features.sharing.link_schemas import (
    CLAIM_CHARS_MAX,
    LINK_CHARS_MAX,
    LINK_SECRET_EXAMPLE,
)
from gatehouse.features.sharing.models import ID_CHARS
from gatehouse.features.sharing.requests.schemas import KEY_CHARS, key_problem
from gatehouse.features.sharing.schemas import (
    FILES_MAX,
    OCTETS,
    FileName,
    MediaType,
    Text,
    different_names,
)
from gatehouse.platform.http.fields import Instant
from gatehouse.platform.http.validation import checked, matching
from gatehouse.platform.settings import FILES_BYTES_MAX

_LINK = f"https://share.example.com/r/2mKq8ZrT4vB6nX0sWc9yEd#{LINK_SECRET_EXAMPLE}"
_SUBMISSION = "7b0e9d2f4c8a41d6b5e3f19a0c6d8e27"
_ID = "5tRw0aB9xK2m7HqYc1dZ8e"
SubmissionLink = Annotated[
    str,
    Meta(
        max_length=LINK_CHARS_MAX,
        description="The whole submission link, including the part after `#`.",
    ),
]
Submission = Annotated[
    str,
    Meta(
        max_length=CLAIM_CHARS_MAX,
        description="Value that identifies the submission, chosen by the client: at least 16 "
        "random bytes as text. Repeating a"
        " request with the same value has no effect.",
    ),
]


class UploadsNotSupported(BadRequest):
    """The service accepts files only in the body of a request."""

    code, title = (
        "uploads_not_supported",
        "This deployment accepts files only in the body of a request",
    )


class UploadConflict(Conflict):
    """Another submission has used the retrieval link of these uploads. The worker deletes the
    uploads as orphans.
    """

    code, title = "upload_conflict", "Another submission was received first. Upload the files again"


class SubmissionReceived(Conflict):
    code, title = "submission_received", "This submission was already received"


SecretId = Annotated[str, matching(rf"[0-9A-Za-z]{{{ID_CHARS}}}", max_length=ID_CHARS)]
Size = Annotated[int, Meta(ge=0, le=FILES_BYTES_MAX, description="Size of the plaintext in bytes.")]


class CreateUpload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/requests/uploads.

    number: position of the file in the secret. Items are numbered from 0: first the text, if there
        is any, then the files.
    secret: the ID from the response for the first file. Null for the first file.
    """

    example: ClassVar = {"link": _LINK, "submission": _SUBMISSION, "number": 0, "size": 1_048_576}

    link: SubmissionLink
    submission: Submission = ""
    number: Annotated[int, Meta(ge=0, le=FILES_MAX)]
    size: Size
    secret: SecretId | None = None

    def __repr__(self) -> str:
        return "CreateUpload(...)"


class UploadView(msgspec.Struct, frozen=True, kw_only=True):
    """A presigned request.

    Before `expires_at`, send a POST request to `url` as multipart/form-data, with the `fields`
    first and then the ciphertext as `file`. S3 returns the version ID of the object in the header
    `x-amz-version-id`.
    """

    example: ClassVar = {
        "submission": _SUBMISSION,
        "secret": _ID,
        "url": "https://secrets.example.com/",
        "fields": {"key": "5tRw0aB9xK2m7HqYc1dZ8e/0"},
        "expires_at": "2030-01-01T09:01:00Z",
    }

    submission: str
    secret: str
    url: str
    fields: dict[str, str]
    expires_at: Instant

    def __repr__(self) -> str:
        return "UploadView(...)"


class UploadedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file in S3. `object_version`: value of the header `x-amz-version-id` in the response to the
    upload.
    """

    name: FileName
    media_type: MediaType = OCTETS
    size: Size
    object_version: Annotated[str, Meta(min_length=1, max_length=1024)]

    def __repr__(self) -> str:
        return "UploadedFile(...)"


class SubmitUploads(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/requests/submit-uploads. `submission`, `secret`: from the responses to POST
    /v1/requests/uploads.
    """

    example: ClassVar = {
        "link": _LINK,
        "submission": _SUBMISSION,
        "secret": _ID,
        "content_key_base64": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "files": [
            {"name": "backup.bin", "size": 1_048_576, "object_version": "3sL4kqtJlcpXroDTDmJ"}
        ],
    }

    link: SubmissionLink
    submission: Submission
    secret: SecretId
    content_key_base64: Annotated[str, checked(key_problem, max_length=KEY_CHARS)]
    text: Text | None = None
    files: Annotated[
        list[UploadedFile], checked(different_names, min_length=1, max_length=FILES_MAX)
    ]

    def __repr__(self) -> str:
        return "SubmitUploads(...)"

    @property
    def content_key(self) -> bytes:
        return base64.b64decode(self.content_key_base64)


class SubmittedSecret(msgspec.Struct, frozen=True):
    """Response to a received submission. Repeating a request with the same `submission` has no
    effect.
    """

    example: ClassVar = {"submission": _SUBMISSION}

    submission: str
