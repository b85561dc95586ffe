"""Endpoints with which owners manage their secrets.

No endpoint returns content. Recipients open links at the sharing service.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from gatehouse.core.errors import Forbidden
from gatehouse.core.roles import (
    AUDITORS,
    OPERATORS,
    SECRET_CREATORS,
    SECRET_READERS,
    SECRET_REVOKERS,
    Role,
)
from gatehouse.features.secrets.models import CONTENT_JSON_BYTES_MAX, Secret
from gatehouse.features.secrets.repository import SecretEventRepository
from gatehouse.features.secrets.schemas import (
    CreatedSecret,
    CreateSecret,
    ListOwned,
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
from gatehouse.features.secrets.service import SecretService, content_items, no_secret
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.platform.web.fields import IF_MATCH, TOTAL_MAX, etag, expected_version
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.validation import invalid


async def create_secret(
    request: Request, body: CreateSecret, sharing: SecretService
) -> CreatedSecret:
    """Create a secret.

    The links are returned only in this response. Anyone who has a link can open the secret, so send
    each link only to its recipient.
    """
    # A repeated request with the same Idempotency-Key receives the stored response with the links,
    # which is encrypted under the Idempotency-Key, like tokens (decision 0014).
    secret, tokens = await sharing.create(body, request.authenticated.owner, request.actor)
    request.add_header(b"location", f"/v1/secrets/{secret.id}")
    return CreatedSecret(
        view(request, secret), [new_link(token, secret, sharing.url) for token in tokens]
    )


async def list_secrets(request: Request, query: ListOwned, sharing: SecretService) -> SecretPage:
    """List secrets.

    Returns the secrets of the caller, newest first. Some roles can also list the secrets of another
    owner.
    """
    own = request.authenticated.owner
    if query.owner not in (None, own) and not request.authenticated.roles & AUDITORS:
        raise Forbidden("Listing for another owner requires the role owner, operator or auditor.")
    owner = query.owner or own
    cursors = request.cursors(f"secrets|{owner}")
    after = cursors.read(query.cursor, dict[str, Any])
    secrets, last = await sharing.table.of_owner(owner, after=after, size=query.limit)
    views = [secret_view(secret, request.now) for secret in secrets]
    total = await sharing.table.count(owner, TOTAL_MAX) if query.total else None
    return SecretPage(views, cursors.write(last), total)


async def show_secret(request: Request, secret: str, sharing: SecretService) -> SecretView:
    """Retrieve a secret.

    Returns only metadata. To change the secret, send the ETag of the response in `If-Match`.
    """
    return view(request, await _existing(request, sharing, secret, AUDITORS))


async def update_secret(
    request: Request, secret: str, body: UpdateSecret, sharing: SecretService
) -> SecretView:
    """Update a secret.

    Changes the expiry, the number of uses or the label. The links stay the same.
    """
    await _own(request, sharing, secret)
    return view(request, await sharing.update(secret, body, _revision(request), request.actor))


async def replace_content(
    request: Request, secret: str, body: SecretContent, sharing: SecretService
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
    return view(
        request,
        await sharing.replace_content(
            secret, content_items(body), _revision(request), request.actor
        ),
    )


async def restore_secret_version(
    request: Request, secret: str, body: RestoreVersion, sharing: SecretService
) -> SecretView:
    """Restore an earlier version.

    Makes an earlier version of the content the current version.
    """
    await _own(request, sharing, secret)
    return view(
        request,
        await sharing.restore_version(secret, body.version, _revision(request), request.actor),
    )


async def revoke_secret(request: Request, secret: str, sharing: SecretService) -> SecretView:
    """Revoke a secret.

    All links have stopped working by the time the response arrives. The content is deleted within a
    minute. The revocation cannot be undone. Idempotent. Callers with the role owner or operator can
    revoke any secret.
    """
    await _existing(request, sharing, secret, OPERATORS)
    return view(request, await sharing.revoke(secret, request.actor))


async def revoke_secret_link(
    request: Request, secret: str, link: str, sharing: SecretService
) -> SecretView:
    """Revoke a link.

    The other links of the secret stay valid. The revocation cannot be undone. Idempotent. Callers
    with the role owner or operator can revoke any link.
    """
    await _existing(request, sharing, secret, OPERATORS)
    return view(request, await sharing.revoke_link(secret, link, request.actor))


async def show_secret_receipt(
    request: Request, secret: str, sharing: SecretService, events: SecretEventRepository
) -> Receipt:
    """Retrieve the receipt of a secret.

    Shows when each link was opened. After the content has been deleted, the receipt contains a
    signed statement about the deletion.
    """
    existing = await _existing(request, sharing, secret, AUDITORS)
    return receipt_view(existing, await events.denied_attempts(secret), request.now)


async def _existing(
    request: Request, sharing: SecretService, secret_id: str, others: frozenset[Role]
) -> Secret:
    """Return a secret that the caller owns or, with a role in `others`, any secret. Raises NotFound
    as for an unknown ID.
    """
    secret, caller = await sharing.get(secret_id), request.authenticated
    if secret.owner != caller.owner and not caller.roles & others:
        raise no_secret()
    return secret


async def _own(request: Request, sharing: SecretService, secret_id: str) -> Secret:
    """Return a secret that the caller owns. Raises Forbidden if the caller can read the secret,
    otherwise NotFound.
    """
    secret = await _existing(request, sharing, secret_id, AUDITORS)
    if secret.owner != request.authenticated.owner:
        raise Forbidden("Only the owner of a secret can change it. You can revoke it.")
    return secret


def _revision(request: Request) -> int | None:
    return expected_version(request.header(b"if-match"))


def view(request: Request, secret: Secret) -> SecretView:
    """Return the response of a handler, with the ETag in its header."""
    request.add_header(b"etag", etag(secret.revision))
    return secret_view(secret, request.now)


_endpoint: Callable[..., Endpoint] = partial(Endpoint, tag="secrets", step_up=StepUp.NEVER)
_change: Callable[..., Endpoint] = partial(
    _endpoint, roles=SECRET_CREATORS, errors=(404, 412, 428), headers=(IF_MATCH,)
)
_PATH = "/v1/secrets/{secret}"
_CONTENT: dict[str, Any] = {
    "body_extra_bytes": CONTENT_JSON_BYTES_MAX,
    "secret_fields": frozenset({"text", "content_base64", "ciphertext_base64", "passphrase"}),
}

ENDPOINTS = (
    _endpoint(
        "POST",
        "/v1/secrets",
        create_secret,
        roles=SECRET_CREATORS,
        status=201,
        errors=(404,),
        **_CONTENT,
    ),
    _endpoint("GET", "/v1/secrets", list_secrets, roles=SECRET_READERS, errors=(404,)),
    _endpoint("GET", _PATH, show_secret, roles=SECRET_READERS, errors=(404,)),
    _change("PATCH", _PATH, update_secret),
    _change("PUT", f"{_PATH}/content", replace_content, **_CONTENT),
    _change("POST", f"{_PATH}/restore-version", restore_secret_version),
    _endpoint("POST", f"{_PATH}/revoke", revoke_secret, roles=SECRET_REVOKERS, errors=(404,)),
    _endpoint(
        "POST",
        f"{_PATH}/links/{{link}}/revoke",
        revoke_secret_link,
        roles=SECRET_REVOKERS,
        errors=(404,),
    ),
    _endpoint("GET", f"{_PATH}/receipt", show_secret_receipt, roles=SECRET_READERS, errors=(404,)),
)
