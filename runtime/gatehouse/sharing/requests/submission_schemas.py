"""Request and response shapes of /v1/requests, with which programs submit a secret, and the errors that programs handle.

Files that are too large for a request are uploaded: the program chooses a content key, encrypts each file to `item_key` of its
number with libsodium's secretstream (docs/sharing-vectors.json), sends the ciphertext to S3 with POST /v1/requests/uploads, and
submits the uploads.
"""

from __future__ import annotations

import base64
from typing import Annotated

import msgspec
from msgspec import Meta

from gatehouse.errors import BadRequest, Conflict
from gatehouse.http.fields import Instant
from gatehouse.http.validation import checked, matching
from gatehouse.sharing.models import ID_CHARS
from gatehouse.sharing.requests.schemas import KEY_CHARS, key_problem
from gatehouse.sharing.schemas import FILES_MAX, OCTETS, FileName, Files, MediaType, Text, different_names


class SubmitSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body in JSON. `submission`: chosen by the client, so that it can repeat a request."""

    link: str
    submission: str = ""
    text: Text | None = None
    files: Files = []

    def __repr__(self) -> str:
        return "SubmitSecret(...)"


class UploadsNotSupported(BadRequest):
    """Requests to this service can contain the files."""

    code, title = "uploads_not_supported", "This deployment receives files in the body of a request"


class UploadConflict(Conflict):
    """The uploads belong to a place of the request that another submission took. They are deleted as orphans."""

    code, title = "upload_conflict", "Another submission took the place of these uploads. Upload the files again"


class SubmissionReceived(Conflict):
    code, title = "submission_received", "This submission was received"


SecretId = Annotated[str, matching(rf"[0-9A-Za-z]{{{ID_CHARS}}}", max_length=ID_CHARS)]
Size = Annotated[int, Meta(ge=0, description="Bytes of the plaintext.")]


class CreateUpload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/requests/uploads.

    number: position of the file in the secret. A text is number 0, and files follow it.
    secret: from the response for the first file; empty for the first file.
    """

    link: str
    submission: str = ""
    number: Annotated[int, Meta(ge=0, le=FILES_MAX)]
    size: Size
    secret: SecretId | None = None

    def __repr__(self) -> str:
        return "CreateUpload(...)"


class UploadView(msgspec.Struct, frozen=True, kw_only=True):
    """A presigned request: `POST url` as multipart/form-data with `fields`, then the ciphertext as `file`, until `expires_at`.

    S3 returns the version of the object in the header `x-amz-version-id`.
    """

    submission: str
    secret: str
    url: str
    fields: dict[str, str]
    expires_at: Instant

    def __repr__(self) -> str:
        return "UploadView(...)"


class UploadedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file in S3. `object_version`: `x-amz-version-id` of the response to its upload."""

    name: FileName
    media_type: MediaType = OCTETS
    size: Size
    object_version: Annotated[str, Meta(min_length=1, max_length=1024)]

    def __repr__(self) -> str:
        return "UploadedFile(...)"


class SubmitUploads(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/requests/submit-uploads. `submission`, `secret`: from the responses of POST /v1/requests/uploads."""

    link: str
    submission: str
    secret: SecretId
    content_key_base64: Annotated[str, checked(key_problem, max_length=KEY_CHARS)]
    text: Text | None = None
    files: Annotated[list[UploadedFile], checked(different_names, min_length=1, max_length=FILES_MAX)]

    def __repr__(self) -> str:
        return "SubmitUploads(...)"

    @property
    def content_key(self) -> bytes:
        return base64.b64decode(self.content_key_base64)


class SubmittedSecret(msgspec.Struct, frozen=True):
    """The secret was received. A request that repeats `submission` changes nothing."""

    submission: str
