"""Request and response shapes of the endpoints under /v1/links, with which programs open links."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gatehouse.http.fields import Instant, view_of
from gatehouse.sharing.models import Download, Link, Secret


class OpenLink(msgspec.Struct, forbid_unknown_fields=True):
    """Request body of the endpoints under /v1/links. `claim`: a value chosen by the client, which makes requests repeatable."""

    link: str
    passphrase: str = ""
    claim: str = ""
    item: int = 0

    def __repr__(self) -> str:
        return "OpenLink(...)"


class LinkPreview(msgspec.Struct, frozen=True, kw_only=True):
    """Response of POST /v1/links/lookup."""

    sender: str
    created_at: Instant
    expires_at: Instant
    uses: int
    uses_max: int
    passphrase: Annotated[bool, Meta(description="The link requires a passphrase.")]
    end_to_end: bool


class DownloadView(msgspec.Struct, frozen=True, kw_only=True):
    """A presigned request for the ciphertext of an item. Send a GET request to `url`, without credentials, before `expires_at`.

    key_base64: 32-byte key that decrypts this item with libsodium's secretstream (XChaCha20-Poly1305). The ciphertext consists of
        a 24-byte header and chunks of 65,553 bytes: 65,536 bytes of content and 17 bytes of overhead. The last chunk is marked as
        final and can be shorter.
    """

    url: str
    expires_at: Instant
    key_base64: bytes

    def __repr__(self) -> str:
        return "DownloadView(...)"


class OpenedItemView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text (which has no name) or a file.

    If the item contains neither `text` nor `content_base64`, POST /v1/links/items returns the content, or a new `download` for
    an item that is too large for a response.
    """

    name: str
    media_type: str
    size: int
    text: str | None = None
    content_base64: bytes | None = None
    download: DownloadView | None = None

    def __repr__(self) -> str:
        return "OpenedItemView(...)"


class OpenedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """Response of POST /v1/links/open."""

    claim: str
    end_to_end: bool
    items: list[OpenedItemView]


class OpenedItemDownload(msgspec.Struct, frozen=True):
    """JSON response of POST /v1/links/items, for an item that is too large for a response."""

    download: DownloadView

    def __repr__(self) -> str:
        return "OpenedItemDownload(...)"


def download_view(download: Download) -> DownloadView:
    return view_of(DownloadView, download, key_base64=download.key)


def link_preview(secret: Secret, link: Link) -> LinkPreview:
    return view_of(LinkPreview, secret, uses=link.uses, uses_max=link.uses_max, passphrase=bool(link.salt))
