"""Request and response shapes of /v1/links, with which programs open links."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gatehouse.http.fields import Instant, view_of
from gatehouse.sharing.models import Download, Link, Secret


class OpenLink(msgspec.Struct, forbid_unknown_fields=True):
    """Body of the endpoints of /v1/links. `claim`: chosen by the client, so that it can repeat a request."""

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
    """A presigned request for the ciphertext of an item: `GET url`, without authorization, until `expires_at`.

    key_base64: 32 bytes that decrypt this item with libsodium's secretstream (XChaCha20-Poly1305): a header of 24 bytes, then
        chunks of 65,536 bytes and 17 more, the last of which is marked as final and can be shorter.
    """

    url: str
    expires_at: Instant
    key_base64: bytes

    def __repr__(self) -> str:
        return "DownloadView(...)"


class OpenedItemView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text (no name) or file. Without `text` and `content_base64`, POST /v1/links/items returns the content, or a new
    `download` of an item that is too large for a response."""

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
