"""Request and response shapes of secrets, and of the links with which recipients open them.

No response of the console contains content or a passphrase. Only new secrets include links.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gatehouse.core.clock import rfc3339
from gatehouse.core.texts import JOINERS, TextClass, matching, single_line, visible
from gatehouse.core.tokens.token import SECRET_CHARS
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.models import (
    FILES_BYTES_MAX,
    PASSPHRASE_CHARS_MAX,
    PASSPHRASE_CHARS_MIN,
    RECIPIENTS_MAX,
    TEXT_BYTES_MAX,
    TTL_S_DEFAULT,
    TTL_S_MAX,
    TTL_S_MIN,
    USES_DEFAULT,
    USES_MAX,
    Link,
    LinkState,
    Secret,
    shown_state,
)
from gatehouse.platform.web.fields import (
    PAGE_SIZE,
    Counted,
    Cursor,
    Input,
    Instant,
    NextCursor,
    PageSize,
    ShownOnce,
    Timestamp,
    Total,
    View,
    check_changes,
    doc,
    unique_items,
    view_of,
)
from gatehouse.platform.web.validation import checked, name_text, reference, unchanged

NAME_CHARS_MAX = 100
FILES_MAX = 10
FILE_NAME_CHARS_MAX = 255
OCTETS = "application/octet-stream"
#: File systems allow 255 bytes, which include a number that makes the name unique.
_SAVED_NAME_BYTES_MAX = 240

#: Values of examples.
SECRET_ID, OWNER = "5tRw0aB9xK2m7HqYc1dZ8e", "key:3fGh82kLmQ0a"
SHARING_URL = "https://sharing.example.com"
#: One repeated character, so that `gatehouse scan` does not report the example.
LINK_SECRET = SECRET_CHARS * "x"

State = Literal["requested", "active", "expired", "used", "revoked", "purged"]


def _text_size(text: str) -> str:
    too_long = len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX
    return f"is longer than {TEXT_BYTES_MAX} bytes of UTF-8; send it as a file" if too_long else ""


def file_name_problem(name: str) -> str:
    if name in (".", "..") or "/" in name or "\\" in name:
        return "must be a file name without a directory"
    return single_line(name)


def display_name(name: str) -> str:
    """Return the name under which a recipient saves an item: without directories, characters that
    are not visible or change the text direction, and hyphens at the beginning.
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    start = visible(base).lstrip(f"- {JOINERS}").encode()[:_SAVED_NAME_BYTES_MAX]
    return start.decode("utf-8", "ignore").rstrip(f". {JOINERS}") or "secret.txt"


def different_names(files: list[dict[str, Any]]) -> str:
    names = [file["name"] for file in files]
    return "" if len(set(names)) == len(names) else "must not contain two files with the same name"


_Line = Annotated[str, name_text(min_length=1, max_length=NAME_CHARS_MAX)]
Label = Annotated[
    str,
    name_text(
        max_length=NAME_CHARS_MAX,
        description="Label for your own use. Not shown to recipients or submitters.",
    ),
]
Sender = Annotated[
    str,
    name_text(
        max_length=NAME_CHARS_MAX,
        description=(
            "Your name, which recipients or submitters see as not verified. Default: your "
            "identity, such as `key:3fGh82kLmQ0a`. They see that the identity of a person who "
            "signed in is verified."
        ),
    ),
]
Recipients = Annotated[
    list[_Line],
    unique_items(
        max_length=RECIPIENTS_MAX,
        description="Names of the recipients. Each recipient gets a personal link with a separate "
        "count of uses. Empty: one link that is not personal.",
    ),
]
Ttl = Annotated[
    int,
    doc(
        f"Lifetime in seconds. Default: {TTL_S_DEFAULT // 86_400} days.", ge=TTL_S_MIN, le=TTL_S_MAX
    ),
]
Uses = Annotated[int, doc("Number of times that each link can be opened.", ge=1, le=USES_MAX)]
Passphrase = Annotated[
    str,
    unchanged(
        TextClass.PASSPHRASE,
        description="Passphrase that recipients must enter. The passphrase is part of the "
        "encryption and is not stored.",
        min_length=PASSPHRASE_CHARS_MIN,
        max_length=PASSPHRASE_CHARS_MAX,
    ),
]
Text = Annotated[
    str,
    checked(
        _text_size,
        TextClass.CONTENT,
        min_length=1,
        max_length=TEXT_BYTES_MAX,
        description="Text content. At most 64 KiB in UTF-8.",
    ),
]
#: Maximum size of a ciphertext: the nonce and the authentication tag of AES-GCM, and the text.
_CIPHERTEXT_BYTES_MAX = TEXT_BYTES_MAX + 28
Ciphertext = Annotated[
    bytes,
    doc(
        "Text that the client encrypted, in base64. Replaces `text` and `files`. The "
        "server cannot read the text.",
        min_length=1,
        max_length=_CIPHERTEXT_BYTES_MAX,
    ),
]
FileName = Annotated[str, checked(file_name_problem, min_length=1, max_length=FILE_NAME_CHARS_MAX)]
MEDIA_TYPE = r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}"
MediaType = Annotated[str, matching(MEDIA_TYPE, "a media type, such as text/plain", max_length=129)]


class NewFile(Input, kw_only=True):
    """A file. The name and the media type are encrypted like the content."""

    example: ClassVar = {"name": "id_ed25519", "media_type": OCTETS, "content_base64": "c2VjcmV0"}

    name: FileName
    media_type: MediaType = OCTETS
    content_base64: Annotated[bytes, Meta(max_length=FILES_BYTES_MAX)]

    def __repr__(self) -> str:
        return "NewFile(...)"


Files = Annotated[
    list[NewFile],
    checked(
        different_names,
        max_length=FILES_MAX,
        description=f"Files of at most {FILES_BYTES_MAX} bytes in total.",
    ),
]


class SecretContent(Input, kw_only=True):
    """The content of a secret: text, files or both, or a ciphertext from the client."""

    example: ClassVar[dict[str, Any]] = {"text": "correct horse battery staple"}

    text: Text | None = None
    files: Files = []
    ciphertext_base64: Ciphertext | None = None

    def __post_init__(self) -> None:
        plain = self.text is not None or bool(self.files)
        if plain == (self.ciphertext_base64 is not None):
            raise ValueError("must contain text or files, or ciphertext_base64 alone")
        if sum(len(file.content_base64) for file in self.files) > FILES_BYTES_MAX:
            raise ValueError(f"must not contain more than {FILES_BYTES_MAX} bytes of files")

    def __repr__(self) -> str:
        return "SecretContent(...)"

    @property
    def end_to_end(self) -> bool:
        return self.ciphertext_base64 is not None


class CreateSecret(SecretContent, kw_only=True):
    """Parameters of a new secret."""

    example: ClassVar = {
        "text": "correct horse battery staple",
        "ttl_s": 86_400,
        "uses": 1,
        "recipients": ["Grace"],
        "label": "database password, staging",
    }

    ttl_s: Ttl = TTL_S_DEFAULT
    uses: Uses = USES_DEFAULT
    passphrase: Passphrase | None = None
    recipients: Recipients = []
    sender: Sender = ""
    label: Label = ""


class UpdateSecret(Input, kw_only=True):
    """Changes to a secret. Omitted fields keep their values."""

    example: ClassVar = {"uses": 3, "label": "database password, on-call team"}

    expires_at: Annotated[
        Timestamp | UnsetType, doc("New expiry. Must not be later than `expires_at_max`.")
    ] = UNSET
    uses: Annotated[
        Uses | UnsetType,
        doc(
            "New number of times that each link can be opened. Must not be less "
            "than the current uses of any link. A link whose uses are all confirmed stays used."
        ),
    ] = UNSET
    label: Label | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_changes(self)


class RestoreVersion(Input, kw_only=True):
    """An earlier version of the content."""

    example: ClassVar = {"version": 1}

    version: Annotated[
        int, doc("Version number, from the field `versions` of the secret.", ge=1, le=1_000_000)
    ]


class ListOwned(Input, kw_only=True):
    """Query parameters for a page of secrets."""

    owner: Annotated[
        Annotated[str, reference("owner", max_length=300)] | None,
        doc(
            "Owner, such as `key:3fGh82kLmQ0a`, or the ID, the name or the tag of a key. Default: "
            "the caller. Another owner requires the role owner, operator or auditor."
        ),
    ] = None
    cursor: Cursor | None = None
    limit: PageSize = PAGE_SIZE
    total: Counted = False


class LinkView(View, kw_only=True):
    """A link without the secret part."""

    example: ClassVar = {"id": "1dZ8eU", "recipient": "Grace"}

    id: str
    recipient: str
    state: Annotated[
        Literal["active", "used", "revoked"],
        doc("An active link works only while the secret is active."),
    ]
    uses: int
    uses_max: int
    opened_at: Annotated[Instant | None, doc("Time of the first use.")]
    passphrase_required: bool


class VersionView(View, kw_only=True):
    """A version of the content. `size`: size of the text and the files in bytes."""

    number: int
    created_at: Instant
    items: Annotated[int, doc("Number of items: files, and the text if there is any.")]
    size: int


class SecretView(View, kw_only=True):
    """Metadata of a secret. The console never returns the content."""

    example: ClassVar = {"id": SECRET_ID, "owner": OWNER, "sender": OWNER, "state": "active"}

    id: str
    owner: str
    sender: str
    label: str
    state: Annotated[
        State,
        doc(
            "`requested`: nobody has submitted the secret yet. `used`: no link has "
            "uses left; until each use is confirmed, or ten minutes after it, its client can "
            "repeat it. If a secret is expired or revoked, its links no longer work. The content "
            "of an expired, used or revoked secret is then being deleted. `purged`: every version "
            "of the content is deleted."
        ),
    ]
    created_at: Instant
    expires_at: Instant
    expires_at_max: Annotated[Instant, doc("Latest time to which `expires_at` can be changed.")]
    ended_at: Instant | None
    purged_at: Instant | None
    end_to_end: Annotated[
        bool, doc("True if the client encrypted the content. The server cannot read the content.")
    ]
    purpose: Annotated[
        str | None, doc("Purpose of a requested secret. Null if the secret was not requested.")
    ]
    revision: Annotated[
        int,
        doc(
            "Incremented when the secret or the state of a link changes. Serves as "
            "the ETag for `If-Match`."
        ),
    ]
    versions: Annotated[list[VersionView], doc("Versions of the content, the current one first.")]
    links: list[LinkView]


class SecretPage(View):
    """A page of secrets, newest first."""

    secrets: list[SecretView]
    next_cursor: NextCursor
    total: Total = None


class NewLink(View):
    """A link with which anyone can open the secret. `recipient`: empty for a link that is not
    personal.
    """

    example: ClassVar = {
        **LinkView.example,
        "url": f"{SHARING_URL}/s/{SECRET_ID}1dZ8eU#{LINK_SECRET}",
    }

    id: str
    recipient: str
    url: ShownOnce


class CreatedSecret(View):
    """A new secret and its links. Only this response contains the links."""

    secret: SecretView
    links: list[NewLink]


class ClaimView(View):
    """A use of a link. `acknowledged_at`: time at which the client confirmed that it received the
    content.
    """

    claimed_at: Instant
    acknowledged_at: Instant | None


class LinkReceipt(View, kw_only=True):
    """The uses of a link."""

    example: ClassVar = LinkView.example

    id: str
    recipient: str
    claims: list[ClaimView]
    denied_attempts: Annotated[
        int,
        doc(
            "Number of denied attempts in the audit trail, up to 10,000 for a secret. "
            "Repeated attempts are recorded up to a limit."
        ),
    ]


class Deletion(View):
    """A statement about the deleted object versions.

    The statement is signed with the key that signs checkpoints of the audit trail, or is unsigned
    if there is no such key.
    """

    statement: Annotated[str, doc("Statement in JSON.")]
    signature: Annotated[
        str,
        doc(
            "Signature in base64, or empty if the statement is unsigned. Covers the "
            "text `gatehouse-deletion-receipt-v1 <hash>`, where `<hash>` is the hexadecimal "
            "SHA-256 hash of the statement in UTF-8."
        ),
    ] = ""
    key_id: str = ""
    algorithm: str = ""


class Receipt(View, kw_only=True):
    """The uses of a secret's links, and proof of the deletion. Available until 30 days after the
    deletion of the content.
    """

    example: ClassVar = {"id": SECRET_ID, "state": "used"}

    id: str
    state: State
    created_at: Instant
    ended_at: Instant | None
    purged_at: Instant | None
    links: list[LinkReceipt]
    deletion: Annotated[Deletion | None, doc("Null until the content is deleted.")]


def secret_view(secret: Secret, now: float) -> SecretView:
    versions = [
        view_of(
            VersionView,
            version,
            items=len(version.items),
            size=sum(item.size for item in version.items),
        )
        for version in secret.versions
    ]
    links = [_link_view(link) for link in secret.links.values()]
    return view_of(
        SecretView,
        secret,
        state=shown_state(secret, now),
        purpose=None if secret.request is None else secret.request.purpose,
        expires_at_max=rfc3339(secret.expires_at_max),
        versions=versions,
        links=links,
    )


def new_link(token: LinkToken, secret: Secret, base: str) -> NewLink:
    return NewLink(token.link_id, secret.links[token.link_id].recipient, token.url(base))


def receipt_view(secret: Secret, denied: dict[str, int], now: float) -> Receipt:
    """Return the receipt of a secret. `denied`: number of denied attempts by link ID."""
    links = [
        view_of(
            LinkReceipt,
            link,
            claims=[
                ClaimView(
                    rfc3339(claim.at),
                    None if claim.acknowledged_at is None else rfc3339(claim.acknowledged_at),
                )
                for claim in sorted(link.claims.values(), key=lambda claim: claim.at)
            ],
            denied_attempts=denied.get(link.id, 0),
        )
        for link in secret.links.values()
    ]
    deletion = None if secret.receipt is None else Deletion(**secret.receipt)
    return view_of(Receipt, secret, state=shown_state(secret, now), links=links, deletion=deletion)


def _link_view(link: Link) -> LinkView:
    state = (
        "used"
        if link.state == LinkState.ACTIVE and link.uses >= link.uses_max
        else link.state.value
    )
    return view_of(LinkView, link, state=state, passphrase_required=bool(link.salt))


#: Maximum length of a link, with the content key of an end-to-end link.
_LINK_CHARS_MAX = 512
#: Length of a claim: at least that of 16 bytes in base64.
CLAIM_CHARS_MIN, CLAIM_CHARS_MAX = 22, 128
_LINK = NewLink.example["url"]
_CLAIM = "7b0e9d2f4c8a41d6b5e3f19a0c6d8e27"

FullLink = Annotated[
    str,
    unchanged(
        description="The whole link, including the part after `#`.", max_length=_LINK_CHARS_MAX
    ),
]
ClaimText = Annotated[
    str,
    unchanged(
        description="Value that identifies one use of the link, chosen by the client: at least 16 "
        "random bytes as text. A repeated request with the same claim returns the same content and "
        "consumes no further use.",
        min_length=CLAIM_CHARS_MIN,
        max_length=CLAIM_CHARS_MAX,
    ),
]
LinkPassphrase = Annotated[
    str,
    unchanged(
        TextClass.PASSPHRASE,
        description="Required if the link has a passphrase (`passphrase` is true).",
        max_length=PASSPHRASE_CHARS_MAX,
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
    claim: ClaimText | None = None


class AcknowledgeLink(LookUpLink, kw_only=True):
    """Body of POST /v1/links/acknowledge."""

    example: ClassVar[dict[str, Any]] = {"link": _LINK, "claim": _CLAIM}

    claim: ClaimText


class LinkPreview(View, kw_only=True):
    """Response of POST /v1/links/lookup."""

    example: ClassVar = {"sender": "Ada"}

    sender: str
    sender_verified: Annotated[
        bool,
        doc(
            "The sender is the identity with which a person signed in. False: the name "
            "is not verified."
        ),
    ]
    created_at: Instant
    expires_at: Instant
    uses: int
    uses_max: int
    passphrase: Annotated[bool, doc("The link requires a passphrase.")]
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
