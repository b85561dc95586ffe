"""Request and response shapes of the sharing service, with which programs open links and submit
secrets.
"""

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from gatehouse.features.sharing.models import PASSPHRASE_CHARS_MAX, Link, Secret
from gatehouse.features.sharing.schemas import FILES_MAX, NewLink
from gatehouse.platform.web.fields import Input, Instant, View, view_of

#: Maximum length of a link, with the content key of an end-to-end link.
_LINK_CHARS_MAX = 512
#: Length of a claim: at least that of 16 bytes in base64.
CLAIM_CHARS_MIN, CLAIM_CHARS_MAX = 22, 128
_LINK = NewLink.example["url"]
_CLAIM = "7b0e9d2f4c8a41d6b5e3f19a0c6d8e27"

FullLink = Annotated[
    str,
    Meta(max_length=_LINK_CHARS_MAX, description="The whole link, including the part after `#`."),
]
Claim = Annotated[
    str,
    Meta(
        min_length=CLAIM_CHARS_MIN,
        max_length=CLAIM_CHARS_MAX,
        description="Value that identifies one use of the link, chosen by the client: at least 16 "
        "random bytes as text. A repeated request with the same claim returns the same content and "
        "consumes no further use.",
    ),
]
LinkPassphrase = Annotated[
    str,
    Meta(
        max_length=PASSPHRASE_CHARS_MAX,
        description="Required if the link has a passphrase (`passphrase` is true).",
    ),
]


class LookUpLink(Input, kw_only=True):
    """Body of POST /v1/links/lookup."""

    example: ClassVar[dict[str, Any]] = {"link": _LINK}

    link: FullLink

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class OpenLink(LookUpLink, kw_only=True):
    """Body of POST /v1/links/open."""

    example: ClassVar[dict[str, Any]] = {"link": _LINK, "claim": _CLAIM}

    passphrase: LinkPassphrase = ""
    claim: Claim | None = None


class AcknowledgeLink(LookUpLink, kw_only=True):
    """Body of POST /v1/links/acknowledge."""

    example: ClassVar[dict[str, Any]] = {"link": _LINK, "claim": _CLAIM}

    claim: Claim


class LinkPreview(View, kw_only=True):
    """Response of POST /v1/links/lookup."""

    example: ClassVar = {"sender": "Ada"}

    sender: str
    created_at: Instant
    expires_at: Instant
    uses: int
    uses_max: int
    passphrase: Annotated[bool, Meta(description="The link requires a passphrase.")]
    end_to_end: bool


class OpenedItemView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text item (with an empty `name`) or a file. A text that the client encrypted is in
    `content_base64`.
    """

    example: ClassVar = {"name": "", "media_type": "text/plain", "size": 7, "text": "example"}

    name: str
    media_type: str
    size: int
    text: str | None = None
    content_base64: bytes | None = None

    def __repr__(self) -> str:
        return "OpenedItemView(...)"


class OpenedSecret(View, kw_only=True):
    """Response of POST /v1/links/open."""

    example: ClassVar = {"claim": _CLAIM}

    claim: str
    end_to_end: bool
    items: Annotated[list[OpenedItemView], Meta(max_length=FILES_MAX + 1)]


def link_preview(secret: Secret, link: Link) -> LinkPreview:
    return view_of(
        LinkPreview, secret, uses=link.uses, uses_max=link.uses_max, passphrase=bool(link.salt)
    )


class SubmittedSecret(View):
    """Response to a received submission. Repeating a request with the same `submission` has no
    effect.
    """

    submission: str
