"""Request and response shapes of API keys. The fields that have the same shape everywhere are in
`fields.KeySettings`.
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gatehouse.core.customers import BOTH, SHARED_PREFIX, inherited_fields
from gatehouse.core.http.addresses import network
from gatehouse.core.http.http_signatures import read_public_key
from gatehouse.core.keys import (
    OWN_SCHEME,
    Credits,
    Key,
    KeyEnvironment,
    KeyState,
    RateLimit,
    UpdateCredits,
    key_fields,
)
from gatehouse.core.lifecycle import GRACE_S_DEFAULT, GRACE_S_MAX
from gatehouse.core.texts import TextClass
from gatehouse.features.keys.fields import (
    LIMITS_MAX,
    NAME_CHARS_MAX,
    SEARCH,
    Cost,
    Delivery,
    Effective,
    KeySettings,
    KeySort,
    LimitName,
    Quota,
    Reason,
    Scopes,
    Seconds,
    StateFilter,
    Ttl,
    Window,
)
from gatehouse.platform.web.examples import example
from gatehouse.platform.web.fields import (
    PAGE_SIZE,
    Counted,
    Cursor,
    CustomerReference,
    Environment,
    Input,
    Instant,
    NextCursor,
    OfCustomer,
    PageSize,
    PlanReference,
    ShownOnce,
    Timestamp,
    Total,
    View,
    check_changes,
    distinct,
    doc,
    sent_fields,
    unix_seconds,
    view_of,
)
from gatehouse.platform.web.validation import checked, reference, unchanged


class RateLimitInput(Input):
    """A rate limit: `quota` units per `window_s` seconds, of which at most `burst` can be used at
    once.
    """

    example: ClassVar = {"name": "requests", "quota": 600, "window_s": 60}

    name: LimitName
    quota: Quota
    window_s: Window
    burst: Annotated[
        Quota | None,
        doc(
            "Units that can be used at once, before those that become available "
            "evenly over the window. Default: `quota`."
        ),
    ] = None
    cost: Cost = 1

    def __post_init__(self) -> None:
        if self.burst is not None and self.burst > self.quota:
            raise ValueError("burst must not be larger than quota")

    def limit(self) -> RateLimit:
        return RateLimit(
            name=self.name,
            quota=self.quota,
            window_s=self.window_s,
            burst=self.burst or self.quota,
            cost=self.cost,
        )


def limit_names(limits: list[dict[str, Any]]) -> str:
    """What is wrong with the names of rate limits, or an empty text."""
    names = [limit["name"] for limit in limits]
    if any(name.startswith(SHARED_PREFIX) for name in names):
        return f"must not contain a limit whose name begins with `{SHARED_PREFIX}`"
    return "must not contain two limits with the same name" if distinct(names) else ""


Limits = Annotated[
    list[RateLimitInput],
    checked(
        limit_names, min_length=1, max_length=LIMITS_MAX, description="Rate limits of the key."
    ),
]

_OF_CUSTOMER = "Customer to which the key belongs: its ID, its name or its tag. Null: none."


class CreateKey(KeySettings, kw_only=True):
    """Parameters of a new key. If `expires_at` and `ttl_s` are omitted, the key has the lifetime of
    its plan, or does not expire.
    """

    example: ClassVar = {
        "name": "invoices, nightly export",
        "customer_id": "acme",
        "scopes": ["cores:read"],
        "limits": [RateLimitInput.example],
        "ttl_s": 7_776_000,
    }

    environment: Annotated[
        Environment | None,
        doc("Environment of the key. Default: the environment of the deployment."),
    ] = None
    create_customer: Annotated[
        bool, doc("Create the customer, with its ID as its name, if `customer_id` is unknown.")
    ] = False
    customer_id: Annotated[CustomerReference | None, doc(_OF_CUSTOMER)] = None
    scopes: Annotated[
        Scopes | None,
        doc('Scopes of the key. Default: those of the plan, or `["cores:read"]` without a plan.'),
    ] = None
    limits: Annotated[
        Limits | None,
        doc("Default: those of the plan, or the default limit of the deployment without a plan."),
    ] = None
    expires_at: Annotated[
        Timestamp | None, doc("Expiry as an RFC 3339 timestamp, at most ten years in the future.")
    ] = None
    ttl_s: Annotated[
        Ttl | None, doc("Lifetime of the key in seconds, instead of `expires_at`.")
    ] = None
    credits: Credits | None = None
    delivery: Delivery = "token"

    def __post_init__(self) -> None:
        if self.expires_at is not None and self.ttl_s is not None:
            raise ValueError("expires_at and ttl_s are mutually exclusive; send only one of them")
        if self.customer_id and self.plan:
            raise ValueError(BOTH)
        if self.create_customer and not self.customer_id:
            raise ValueError("create_customer requires customer_id")


if TYPE_CHECKING:

    class _PatchedSettings(View):
        """Every field of KeySettings, optional. Omitted fields keep their values."""

else:
    _PatchedSettings = msgspec.defstruct(
        "_PatchedSettings",
        [
            (field.name, field.type | UnsetType, UNSET)
            for field in msgspec.structs.fields(KeySettings)
        ],
        frozen=True,
        forbid_unknown_fields=True,
        kw_only=True,
    )


class UpdateKey(_PatchedSettings, kw_only=True):
    """Changes to a key. Omitted fields keep their values."""

    example: ClassVar = {"customer_id": "acme", "limits": [RateLimitInput.example]}

    customer_id: Annotated[CustomerReference | UnsetType | None, doc(_OF_CUSTOMER)] = UNSET
    scopes: Annotated[
        Scopes | UnsetType | None,
        doc('Null: those of the plan, or `["cores:read"]` without a plan.'),
    ] = UNSET
    limits: Annotated[
        Limits | UnsetType | None,
        doc("Null: those of the plan, or the default limit of the deployment without a plan."),
    ] = UNSET
    expires_at: Annotated[
        Timestamp | UnsetType | None,
        doc(
            "Expiry as an RFC 3339 timestamp, at most ten years in the future. "
            "Null: the key does not expire."
        ),
    ] = UNSET
    credits: Annotated[
        UpdateCredits | UnsetType | None, doc("Null: requests no longer consume credits.")
    ] = UNSET

    def __post_init__(self) -> None:
        check_changes(self)


class ReasonBody(Input, kw_only=True):
    """An optional reason for the operation."""

    example: ClassVar[dict[str, Any]] = {"reason": "leaked in a log"}

    reason: Reason = ""


class PurgeKey(ReasonBody, kw_only=True):
    """Confirmation of a purge, which cannot be undone."""

    example: ClassVar = {"confirm": "3fGh82kLmQ0a", "reason": "erasure request from the customer"}

    confirm: Annotated[
        str, unchanged(description="ID of the key, to confirm the purge.", max_length=12)
    ]


class RotateKey(ReasonBody, kw_only=True):
    """Parameters of a rotation. The new key has the same settings and the same lifetime."""

    example: ClassVar = {"grace_s": 86_400, "reason": "quarterly"}

    grace_s: Annotated[
        int,
        doc(
            "Grace period in seconds, during which the previous key continues to work. "
            "Ends early if the previous key expires.",
            ge=0,
            le=GRACE_S_MAX,
        ),
    ] = GRACE_S_DEFAULT
    delivery: Delivery = "token"


class KeyFilter(Input, kw_only=True):
    """Filters for a list of keys. A key must match all of them."""

    search: Annotated[
        Annotated[str, unchanged(TextClass.NAME, max_length=NAME_CHARS_MAX)] | None,
        doc(
            f"Keys {SEARCH}. Case, joiners and the composition of letters are ignored, except in "
            "IDs, tokens and tags."
        ),
    ] = None
    customer: OfCustomer = None
    plan: Annotated[
        PlanReference | None, doc("Filter by plan: of the key, or of its customer.")
    ] = None
    state: Annotated[
        StateFilter | None,
        doc(
            "Filter by state. `active` excludes expired keys. Default: all keys except purged keys."
        ),
    ] = None
    environment: Annotated[Environment | None, doc("Filter by environment.")] = None
    tag: Annotated[Annotated[str, unchanged(max_length=64)] | None, doc("Filter by tag.")] = None
    family_id: Annotated[
        Annotated[str, reference("family")] | None,
        doc("Filter by key family: the ID, the name or the tag of one of its keys."),
    ] = None
    has_role: Annotated[bool, doc("Keys whose scopes grant a role, and which can sign in.")] = False
    expires_within_s: Annotated[
        Seconds | None, doc("Active keys that expire within this time, in seconds.")
    ] = None
    unused_for_s: Annotated[
        Seconds | None,
        doc(
            "Active keys that were not created within this time, in seconds, and with which no "
            "request was sent, also no denied one."
        ),
    ] = None


class ListKeys(KeyFilter, kw_only=True):
    """Query parameters for listing keys."""

    sort: Annotated[
        KeySort,
        doc(
            "Order of the keys. `-` reverses the order. `name` ignores case. Keys "
            "without an expiry come after all other keys in the order `expires_at`, and keys that "
            "were never used come before all other keys in the order `last_used_at`."
        ),
    ] = "id"
    cursor: Cursor | None = None
    limit: PageSize = PAGE_SIZE
    total: Counted = False


class KeyView(KeySettings, forbid_unknown_fields=False, kw_only=True):
    """An API key. Neither the token nor its digest is included."""

    example: ClassVar = {
        **KeySettings.example,
        "scopes": ["cores:read"],
        "start": "gtk_test_3fGh82kLmQ0a",
        "credits": Credits.example,
        "expires_at": "2031-01-01T00:00:00Z",
    }

    name: Annotated[
        str,
        unchanged(
            TextClass.NAME,
            description="Display name of the key. Empty after a purge.",
            max_length=NAME_CHARS_MAX,
        ),
    ]
    id: str
    environment: Environment
    state: Literal["active", "disabled", "revoked", "deleted", "purged"]
    customer_name: Annotated[str, doc("Name of the customer. Empty without a customer.")]
    scopes: list[str]
    limits: list[RateLimit]
    inherits: Annotated[
        list[Literal["expires_at", "limits", "scopes"]],
        doc("Fields whose values are those of the plan."),
    ]
    shared_limits: Annotated[
        list[RateLimit], doc("Rate limits that all keys of the customer share.")
    ]
    credits: Credits | None
    version: Annotated[
        int,
        doc(
            "Version number, incremented by every change. Serves as the ETag of "
            "the key for `If-Match`."
        ),
    ]
    family_id: Annotated[
        str,
        doc(
            "ID of the key family: the ID of its first key. All keys in a family "
            "share limits and credits."
        ),
    ]
    generation: Annotated[int, doc("1 for a new key, incremented by every rotation.")]
    successor_id: Annotated[
        str | None,
        doc(
            "ID of the key that replaces this key. Both keys work until the "
            "`expires_at` of this key."
        ),
    ]
    rotated_at: Instant | None
    last_used_at: Annotated[
        Instant | None,
        doc("Time of the last request with this key to a gateway or the console, also if denied."),
    ]
    expires_at: Instant | None
    created_at: Instant
    created_by: str
    revoked_at: Instant | None
    revoked_by: str | None
    revoke_reason: str | None
    deleted_at: Annotated[
        Instant | None, doc("The key can be restored for 30 days after this time.")
    ]
    deleted_by: str | None
    purged_at: Instant | None
    scheme: Annotated[str, doc("`own`, or the hash scheme of an imported key, such as `sha256`.")]
    start: Annotated[
        str, doc("First characters of the token, for identification. Empty for an imported key.")
    ]


def check_fields(shape: type[msgspec.Struct], *names: str) -> None:
    """Raises TypeError if a shape lacks a field that it must have according to the decisions in
    core/keys.py.
    """
    missing = set(names).difference(shape.__struct_fields__)
    if missing:
        raise TypeError(
            f"{shape.__name__} lacks fields that core/keys.py declares for it: "
            f"{', '.join(sorted(missing))}"
        )


_UPDATED = key_fields(set_by="update")
check_fields(UpdateKey, *_UPDATED)
check_fields(CreateKey, *_UPDATED, *key_fields(set_by="create"))
check_fields(KeyView, *_UPDATED, *key_fields(set_by="create"), *key_fields(listed=True))
check_fields(Key, *KeySettings.__struct_fields__)


Token = Annotated[ShownOnce, doc("The token. Returned only in this response.")]


class IssuedToken(View, kw_only=True):
    """The token of a new key, or a link to it."""

    token: Token | UnsetType = UNSET
    link: Annotated[
        ShownOnce | UnsetType,
        doc(
            "Link that shows the token once, within three days. Present only with "
            "the delivery `link`."
        ),
    ] = UNSET


class CreatedKey(IssuedToken, kw_only=True):
    example: ClassVar = {"token": "gtk_test_3fGh82kLmQ0a..."}

    key: KeyView


class KeyPage(View):
    keys: list[KeyView]
    next_cursor: NextCursor
    total: Total = None


class ChangedKey(View):
    key: KeyView
    effective: Effective


class RevokedKey(View):
    """The revoked key. `key`: null while the database is not available."""

    example: ClassVar = {"key": example(KeyView)}

    key: KeyView | None
    effective: Effective


class RotatedKey(IssuedToken, kw_only=True):
    """The new key and the previous key. The previous key works until its `expires_at`."""

    example: ClassVar = CreatedKey.example

    key: KeyView
    previous: KeyView
    effective: Effective


class PurgedKey(View):
    id: str
    purged_at: Instant
    effective: Effective
    counters_removed: Annotated[
        bool,
        doc(
            "True if the rate limit counters were removed. False if another key in the family uses "
            "the counters, or if Redis is unavailable. The counters then expire with their windows."
        ),
    ]


def key_view(key: Key, prefix: str, default_limit: RateLimit) -> KeyView:
    """The public view of a key. `prefix`: token prefix of this deployment."""
    is_purged = key.state is KeyState.PURGED
    return view_of(
        KeyView,
        key,
        customer_name=key.customer.name if key.customer else "",
        inherits=inherited_fields(key),
        limits=key.limits or (() if is_purged else (default_limit,)),
        shared_limits=key.shared_limits,
        family_id=key.subject,
        start=f"{prefix}_{key.environment.value}_{key.id}" if key.scheme == OWN_SCHEME else "",
    )


def settings_of(body: msgspec.Struct) -> dict[str, Any]:
    """Fields of a creation, an update or an import, converted to the types of `core.keys`. Fields
    that an update omits are not included."""
    values = sent_fields(body)
    if "addresses" in values:
        values["addresses"] = [network(address) for address in values["addresses"]]
    if values.get("public_key"):
        values["public_key"] = read_public_key(values["public_key"])
    if isinstance(values.get("limits"), list):
        values["limits"] = [limit.limit() for limit in values["limits"]]
    if values.get("environment"):
        values["environment"] = KeyEnvironment(values["environment"])
    if isinstance(values.get("expires_at"), str):
        values["expires_at"] = unix_seconds(values["expires_at"])
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
