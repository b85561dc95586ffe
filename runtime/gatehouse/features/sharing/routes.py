"""Endpoints with which owners manage their secrets.

No endpoint returns content. Recipients open links at the sharing service.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Forbidden, NotFound
from gatehouse.core.roles import (
    AUDITORS,
    OPERATORS,
    SECRET_CREATORS,
    SECRET_READERS,
    SECRET_REVOKERS,
    Role,
)
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.sharing.models import TEXT_BYTES_MAX, TTL_S_MAX, Secret
from gatehouse.features.sharing.schemas import (
    FILES_MAX,
    OCTETS,
    CreatedSecret,
    CreateSecret,
    ListSecrets,
    Receipt,
    RestoreVersion,
    SecretContent,
    SecretPage,
    SecretView,
    UpdateSecret,
    new_link,
    receipt_view,
    secret_view,
)
from gatehouse.features.sharing.service import (
    NewItem,
    NewSecret,
    SecretPatch,
    SecretSharing,
    one_by_one,
)
from gatehouse.platform.http.endpoint import FILE_PART, Endpoint, Links, StepUp
from gatehouse.platform.http.fields import IF_MATCH, etag, expected_version, unix_seconds
from gatehouse.platform.http.multipart import MultipartReader
from gatehouse.platform.http.request import Request
from gatehouse.platform.http.validation import invalid

#: Nonce and authentication tag of AES-GCM.
_END_TO_END_BYTES = 28


async def create_secret(
    request: Request, body: CreateSecret, sharing: SecretSharing
) -> CreatedSecret:
    """Create a secret.

    The links are returned only in this response. Anyone who has a link can open the secret, so send
    each link only to its recipient.
    """
    # A repeated request with the same Idempotency-Key receives the stored response, including the
    # links. Decision 0014 applies to links as well as to tokens: the response is encrypted under
    # the Idempotency-Key, of which only a hash is stored, and without the stored response, a client
    # that lost the links could not deliver the secret. A stored link grants no additional access.
    secret, tokens = await sharing.service.create(
        NewSecret(
            items=_items(request, sharing, body),
            sender=body.sender or request.actor.label,
            owner=request.authenticated.owner,
            ttl_s=body.lifetime_s(request.now),
            ttl_s_max=TTL_S_MAX,
            uses=body.uses,
            label=body.label,
            note=body.note,
            recipients=body.recipients,
            passphrase=body.passphrase or "",
            burn_after=body.burn_after,
            end_to_end=body.end_to_end,
        ),
        request.actor,
    )
    request.response.headers["Location"] = f"/v1/secrets/{secret.id}"
    return CreatedSecret(
        _view(request, secret), [new_link(token, secret, sharing.url) for token in tokens]
    )


async def list_secrets(request: Request, query: ListSecrets, sharing: SecretSharing) -> SecretPage:
    """List secrets.

    Returns the secrets of the caller, newest first. Some roles can also list the secrets of another
    owner.
    """
    own = request.authenticated.owner
    owner = own if query.owner is None else query.owner
    if owner != own and not _has(request, AUDITORS):
        raise Forbidden(
            "Listing the secrets of another owner requires the role owner, operator or auditor."
        )
    cursors = request.cursors(f"secrets|{owner}")
    after = "" if query.cursor is None else cursors.read(query.cursor)
    secrets, last = await sharing.service.of_owner(owner, after=after, size=query.limit)
    next_cursor = cursors.write(last) if last else None
    return SecretPage([secret_view(secret, request.now) for secret in secrets], next_cursor)


async def show_secret(request: Request, secret: str, sharing: SecretSharing) -> SecretView:
    """Retrieve a secret.

    Returns only metadata. To change the secret, send the ETag of the response in `If-Match`.
    """
    return _view(request, await _existing(request, sharing, secret, AUDITORS))


async def update_secret(
    request: Request, secret: str, body: UpdateSecret, sharing: SecretSharing
) -> SecretView:
    """Update a secret.

    Changes the expiry, the number of uses, the label or the note. The links stay the same.
    """
    await _own(request, sharing, secret)
    patch = SecretPatch(
        expires_at=unix_seconds(body.expires_at) if isinstance(body.expires_at, str) else None,
        uses=body.uses if isinstance(body.uses, int) else None,
        label=body.label if isinstance(body.label, str) else None,
        note=body.note if isinstance(body.note, str) else None,
    )
    return _view(
        request, await sharing.service.update(secret, patch, _revision(request), request.actor)
    )


async def replace_content(
    request: Request, secret: str, body: SecretContent, sharing: SecretSharing
) -> SecretView:
    """Replace the content of a secret.

    Adds a version. The links stay the same and open the new version. Earlier uses of the links
    still count.
    """
    current = await _own(request, sharing, secret)
    if current.end_to_end != body.end_to_end:
        kind = "ciphertext_base64" if current.end_to_end else "text or files"
        raise invalid(
            "body",
            "must be encrypted in the same way as the secret",
            f"send {kind}, as when the secret was created",
        )
    items = _items(request, sharing, body)
    return _view(
        request,
        await sharing.service.replace_content(secret, items, _revision(request), request.actor),
    )


async def restore_secret_version(
    request: Request, secret: str, body: RestoreVersion, sharing: SecretSharing
) -> SecretView:
    """Restore an earlier version.

    Makes an earlier version of the content the current version.
    """
    await _own(request, sharing, secret)
    return _view(
        request,
        await sharing.service.restore_version(
            secret, body.version, _revision(request), request.actor
        ),
    )


async def revoke_secret(request: Request, secret: str, sharing: SecretSharing) -> SecretView:
    """Revoke a secret.

    All links have stopped working by the time the response arrives. The content is deleted within a
    minute. The revocation cannot be undone. Idempotent. Callers with the role owner or operator can
    revoke any secret.
    """
    await _existing(request, sharing, secret, OPERATORS)
    return _view(request, await sharing.service.revoke(secret, request.actor))


async def revoke_secret_link(
    request: Request, secret: str, link: str, sharing: SecretSharing
) -> SecretView:
    """Revoke a link.

    The other links of the secret stay valid. The revocation cannot be undone. Idempotent. Callers
    with the role owner or operator can revoke any link.
    """
    await _existing(request, sharing, secret, OPERATORS)
    return _view(request, await sharing.service.revoke_link(secret, link, request.actor))


async def show_secret_receipt(
    request: Request, secret: str, sharing: SecretSharing, audit: AuditRepository
) -> Receipt:
    """Retrieve the receipt of a secret.

    Shows when each link was opened. After the content has been deleted, the receipt contains a
    signed statement about the deletion.
    """
    existing = await _existing(request, sharing, secret, AUDITORS)
    denied = await audit.count_by_detail(secret, AuditAction.LINK_DENIED, "link")
    deletion = await sharing.service.deletion_receipt(secret)
    return receipt_view(existing, denied, deletion, request.now)


def _items(request: Request, sharing: SecretSharing, body: SecretContent) -> AsyncIterator[NewItem]:
    """Return the content in a request. Raises BadRequest for invalid base64, missing files and
    content that is too large.
    """
    if body.ciphertext_base64 is not None:
        location = "body.ciphertext_base64"
        content = _decoded(body.ciphertext_base64, location)
        _check_size(
            len(content),
            max(sharing.json_files_max_bytes, TEXT_BYTES_MAX + _END_TO_END_BYTES),
            location,
        )
        return one_by_one([NewItem.of(content, media_type=OCTETS)])
    texts = [] if body.text is None else [NewItem.of(body.text.encode())]
    files: list[NewItem] = []
    uploads = _Uploads(request.form, sharing.file_max_bytes)
    for index, file in enumerate(body.files):
        location = f"body.files[{index}].content_base64"
        if file.content_base64 is not None:
            content = _decoded(file.content_base64, location)
            uploads.size += len(content)
            files.append(NewItem.of(content, name=file.name, media_type=file.media_type))
        elif request.form is not None:
            files.append(NewItem(uploads.next_file(), file.name, file.media_type))
        else:
            raise invalid(
                location,
                "is missing",
                "send base64, or send the request and the files as multipart/form-data",
            )
    _check_size(uploads.size, sharing.json_files_max_bytes, "body.files")
    return _with_end([*texts, *files], uploads)


async def _with_end(items: Sequence[NewItem], uploads: _Uploads) -> AsyncIterator[NewItem]:
    for item in items:
        yield item
    await uploads.check_end()


class _Uploads:
    """Reads the files in a form, in the order of `body.files`. `size`: total bytes read so far.
    Methods raise BadRequest.
    """

    def __init__(self, form: MultipartReader | None, bytes_max: int) -> None:
        self._form = form
        self._bytes_max = bytes_max
        self.size = 0

    async def next_file(self) -> AsyncIterator[bytes]:
        assert self._form is not None  # noqa: S101 - files without content are rejected without a form
        part = await self._form.next_part()
        if part is None or part.name != FILE_PART:
            raise invalid(
                "body",
                "has fewer files than body.files",
                f"send each file as a part {FILE_PART}, in the same order",
            )
        async for chunk in self._form.chunks():
            self.size += len(chunk)
            _check_size(self.size, self._bytes_max, "body.files")
            yield chunk

    async def check_end(self) -> None:
        if self._form is None:
            return
        if await self._form.next_part() is not None:
            raise invalid(
                "body",
                "has more files than body.files",
                "list every file in body.files, in the same order",
            )
        await self._form.discard()


def _decoded(text: str, location: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise invalid(
            location, "is not base64", "send standard base64 (RFC 4648, section 4) with padding"
        ) from None


def _check_size(size: int, size_max: int, location: str) -> None:
    if size > size_max:
        raise invalid(
            location,
            f"is larger than {size_max} bytes in total",
            "send less content, or increase the limit",
        )


async def _existing(
    request: Request, sharing: SecretSharing, secret_id: str, others: frozenset[Role]
) -> Secret:
    """Return a secret that the caller owns or, with a role in `others`, any secret. Raises
    NotFound.
    """
    secret = await sharing.service.get(secret_id)
    if secret.owner != request.authenticated.owner and not _has(request, others):
        raise NotFound("No secret has this ID.")
    return secret


async def _own(request: Request, sharing: SecretSharing, secret_id: str) -> Secret:
    """Return a secret that the caller owns. Raises Forbidden if the caller can read the secret,
    otherwise NotFound.
    """
    secret = await _existing(request, sharing, secret_id, AUDITORS)
    if secret.owner != request.authenticated.owner:
        raise Forbidden("Only the owner of a secret can change it. You can revoke it.")
    return secret


def _has(request: Request, roles: frozenset[Role]) -> bool:
    return bool(request.authenticated.roles & roles)


def _revision(request: Request) -> int | None:
    return expected_version(request.http.headers.get("if-match"))


def _view(request: Request, secret: Secret) -> SecretView:
    request.response.headers["ETag"] = etag(secret.revision)
    return secret_view(secret, request.now)


_endpoint: Callable[..., Endpoint] = partial(Endpoint, tag="secrets", step_up=StepUp.NEVER)
_change: Callable[..., Endpoint] = partial(
    _endpoint, roles=SECRET_CREATORS, errors=(404, 409, 412, 428), headers=(IF_MATCH,)
)
_PATH = "/v1/secrets/{secret}"
_CONTENT: dict[str, Any] = {
    "files_max": FILES_MAX,
    "secret_fields": frozenset({"text", "content_base64", "ciphertext_base64", "passphrase"}),
}

ENDPOINTS = (
    _endpoint(
        method="POST",
        path="/v1/secrets",
        handler=create_secret,
        roles=SECRET_CREATORS,
        status=201,
        errors=(404,),
        links=Links("secret", "/secret/id"),
        **_CONTENT,
    ),
    _endpoint(
        method="GET", path="/v1/secrets", handler=list_secrets, roles=SECRET_READERS, errors=(404,)
    ),
    _endpoint(method="GET", path=_PATH, handler=show_secret, roles=SECRET_READERS, errors=(404,)),
    _change(method="PATCH", path=_PATH, handler=update_secret),
    _change(method="PUT", path=f"{_PATH}/content", handler=replace_content, **_CONTENT),
    _change(method="POST", path=f"{_PATH}/restore-version", handler=restore_secret_version),
    _endpoint(
        method="POST",
        path=f"{_PATH}/revoke",
        handler=revoke_secret,
        roles=SECRET_REVOKERS,
        errors=(404,),
    ),
    _endpoint(
        method="POST",
        path=f"{_PATH}/links/{{link}}/revoke",
        handler=revoke_secret_link,
        roles=SECRET_REVOKERS,
        errors=(404,),
    ),
    _endpoint(
        method="GET",
        path=f"{_PATH}/receipt",
        handler=show_secret_receipt,
        roles=SECRET_READERS,
        errors=(404,),
    ),
)
