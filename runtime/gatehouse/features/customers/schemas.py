"""Request and response shapes of customers and plans."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gatehouse.core.customers import Customer, NamedLimit, Plan
from gatehouse.core.keys import Credits, RateLimit, Refill, UpdateCredits
from gatehouse.core.roles import manages, roles_of
from gatehouse.core.texts import TextClass
from gatehouse.features.keys.fields import (
    LIMITS_MAX,
    NAME_CHARS_MAX,
    Contact,
    CustomerId,
    Effective,
    LimitName,
    Metadata,
    Notes,
    PlanName,
    Quota,
    Scopes,
    Tags,
    Ttl,
    Window,
)
from gatehouse.features.keys.schemas import (
    Limits,
    RateLimitInput,
    ReasonBody,
    limit_names,
    settings_of,
)
from gatehouse.platform.web.fields import (
    PAGE_SIZE,
    Counted,
    Cursor,
    Input,
    Instant,
    NextCursor,
    PageSize,
    PlanReference,
    ShownOnce,
    Total,
    View,
    check_changes,
    doc,
    view_of,
)
from gatehouse.platform.web.validation import checked, name_text, note_text, unchanged

Name = Annotated[
    str, name_text(min_length=1, max_length=NAME_CHARS_MAX, description="Name of the customer.")
]
SharedLimits = Annotated[
    Limits | None, doc("Rate limits that all keys of the customer share. Null: those of the plan.")
]
FollowedPlan = Annotated[
    PlanName | None, doc("Plan that the customer and its keys follow. Null: none.")
]
CustomerContact = Annotated[
    Contact,
    doc(
        "E-mail address of the customer, or ID of a webhook, that receives the events of keys "
        "without a contact of their own. Empty: none."
    ),
]


class CreateCustomer(Input, kw_only=True):
    """Parameters of a new customer."""

    example: ClassVar[dict[str, Any]] = {
        "id": "acme",
        "name": "Acme Ltd",
        "plan": "starter",
        "contact": "api@acme.example",
    }

    id: Annotated[
        CustomerId, doc("ID of the customer, such as the one in your own systems. Cannot change.")
    ]
    name: Annotated[Name | None, doc("Default: the ID.")] = None
    plan: FollowedPlan = None
    limits: SharedLimits = None
    credits: Annotated[
        Credits | None, doc("Credits that all keys of the customer share. Null: those of the plan.")
    ] = None
    contact: CustomerContact = ""
    tags: Annotated[Tags, doc("Tags for filtering customers.")] = []
    metadata: Metadata = {}
    notes: Notes = ""


class UpdateCustomer(Input, kw_only=True):
    """Changes to a customer. Omitted fields keep their values."""

    example: ClassVar = {"plan": "business"}

    name: Name | UnsetType = UNSET
    plan: FollowedPlan | UnsetType = UNSET
    limits: SharedLimits | UnsetType = UNSET
    credits: Annotated[
        UpdateCredits | UnsetType | None, doc("Null: those of the plan, or none without a plan.")
    ] = UNSET
    contact: CustomerContact | UnsetType = UNSET
    tags: Annotated[Tags | UnsetType, doc("Tags for filtering customers.")] = UNSET
    metadata: Metadata | UnsetType = UNSET
    notes: Notes | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_changes(self)


class PurgeCustomer(ReasonBody, kw_only=True):
    """Confirmation of a purge, which cannot be undone."""

    example: ClassVar = {"confirm": "acme", "reason": "erasure request from the customer"}

    confirm: Annotated[
        str, unchanged(description="ID of the customer, to confirm the purge.", max_length=64)
    ]


CustomerSort = Literal["id", "name", "-name", "created_at", "-created_at"]


class CustomerFilter(Input, kw_only=True):
    """Filters for a list of customers. A customer must match all of them."""

    search: Annotated[
        Annotated[str, unchanged(TextClass.NAME, max_length=NAME_CHARS_MAX)] | None,
        doc("Customers whose name or ID contains this text, or that have this tag."),
    ] = None
    state: Annotated[Literal["active", "disabled", "deleted"] | None, doc("Filter by state.")] = (
        None
    )
    plan: Annotated[PlanReference | None, doc("Filter by plan.")] = None
    tag: Annotated[Annotated[str, unchanged(max_length=64)] | None, doc("Filter by tag.")] = None


class ListCustomers(CustomerFilter, kw_only=True):
    """Query parameters for listing customers."""

    sort: Annotated[
        CustomerSort, doc("Order of the customers. `-` reverses the order. `name` ignores case.")
    ] = "id"
    cursor: Cursor | None = None
    limit: PageSize = PAGE_SIZE
    total: Counted = False


class CustomerView(View, kw_only=True):
    """A customer."""

    example: ClassVar = {**CreateCustomer.example, "credits": Credits.example}

    id: str
    name: str
    state: Literal["active", "disabled", "deleted"]
    plan: str | None
    limits: Annotated[
        list[RateLimit] | None, doc("Its own shared limits. Null: those of the plan.")
    ]
    shared_limits: Annotated[list[RateLimit], doc("The shared limits that apply.")]
    credits: Credits | None
    inherits: Annotated[
        list[Literal["limits", "credits"]], doc("Fields whose values are those of the plan.")
    ]
    contact: str
    tags: list[str]
    metadata: dict[str, str]
    notes: str
    keys: Annotated[int, doc("Number of keys that are not purged.")]
    created_at: Instant
    created_by: str
    deleted_at: Annotated[Instant | None, doc("The customer can be restored until it is purged.")]
    version: Annotated[int, doc("Serves as the ETag for `If-Match`.")]


class CustomerPage(View):
    customers: list[CustomerView]
    next_cursor: NextCursor
    total: Total = None


class ChangedCustomer(View):
    customer: CustomerView
    effective: Effective


class PurgedCustomer(View):
    """Result of a purge. Repeat the request until no keys are left."""

    example: ClassVar = {"id": "acme", "purged_keys": 3, "keys_left": 0}

    id: str
    purged_keys: Annotated[int, doc("Number of keys that this request purged.")]
    keys_left: Annotated[int, doc("Number of keys that are left. 0: the customer is purged.")]


class CreatePortalLink(Input, kw_only=True):
    """Parameters of a link to the portal."""

    example: ClassVar = {"ttl_s": 900, "language": "en"}

    ttl_s: Annotated[
        int, doc("Seconds in which the link can be opened, up to a day.", ge=60, le=86_400)
    ] = 900
    language: Annotated[
        Literal["de", "en"] | None, doc("Language of the portal. Default: that of the browser.")
    ] = None


class PortalLink(View):
    """A one-time link to the portal."""

    example: ClassVar = {"url": "https://console.example.com/portal/links/gtk_signin_..."}

    url: Annotated[ShownOnce, doc("Returned only in this response.")]
    expires_at: Instant


def _no_role(scopes: list[str]) -> str:
    grants = roles_of(scopes) or manages(scopes)
    return "must not contain a scope that grants a role" if grants else ""


PlanScopes = Annotated[
    Annotated[Scopes, checked(_no_role)] | None,
    doc("Scopes of keys without scopes of their own. Null: `cores:read`."),
]
PlanLimits = Annotated[
    Limits | None,
    doc("Limits of each key without limits of its own. Null: the default of the deployment."),
]
PlanSharedLimits = Annotated[
    list[RateLimitInput],
    checked(
        limit_names,
        max_length=LIMITS_MAX,
        description="Rate limits that all keys of a customer share.",
    ),
]
PlanCredits = Annotated[
    Refill | None, doc("Credits that all keys of a customer share, and their refill. Null: none.")
]
PlanTtl = Annotated[
    Ttl | None,
    doc(
        "Lifetime in seconds of each key without an expiry of its own, from its creation. "
        "Null: not limited."
    ),
]
LimitDescription = Annotated[
    str, note_text(max_length=500, description="Description of the limit.")
]
Description = Annotated[str, note_text(max_length=500, description="Description of the plan.")]


class PlanSettings(Input, kw_only=True):
    """Settings of a plan."""

    example: ClassVar[dict[str, Any]] = {
        "limits": [RateLimitInput.example],
        "shared_limits": [{"name": "requests", "quota": 3000, "window_s": 60}],
        "credits": {"amount": 100_000, "every": "month"},
        "scopes": ["cores:read"],
        "ttl_s": 31_536_000,
    }

    description: Description = ""
    limits: PlanLimits = None
    shared_limits: PlanSharedLimits = []
    credits: PlanCredits = None
    scopes: PlanScopes = None
    ttl_s: PlanTtl = None


class CreatePlan(PlanSettings, kw_only=True):
    """Parameters of a new plan."""

    example: ClassVar = {"name": "starter", **PlanSettings.example}

    name: Annotated[PlanName, doc("Name of the plan. Cannot change.")]


class UpdatePlan(Input, kw_only=True):
    """Changes to a plan. Omitted fields keep their values."""

    example: ClassVar = {"credits": {"amount": 200_000, "every": "month"}}

    description: Description | UnsetType = UNSET
    limits: PlanLimits | UnsetType = UNSET
    shared_limits: PlanSharedLimits | UnsetType = UNSET
    credits: PlanCredits | UnsetType = UNSET
    scopes: PlanScopes | UnsetType = UNSET
    ttl_s: PlanTtl | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_changes(self)


class PlanView(View, kw_only=True):
    """A plan. Null: the plan does not specify the value."""

    example: ClassVar = {
        **CreatePlan.example,
        "limits": [{**RateLimitInput.example, "burst": 600, "cost": 1}],
        "shared_limits": [
            {"name": "requests", "quota": 3000, "window_s": 60, "burst": 3000, "cost": 1}
        ],
    }

    name: str
    description: str
    limits: list[RateLimit] | None
    shared_limits: list[RateLimit]
    credits: Refill | None
    scopes: list[str] | None
    ttl_s: int | None
    customers: Annotated[int, doc("Number of customers that follow the plan.")]
    keys: Annotated[int, doc("Number of keys without a customer that follow the plan.")]
    created_at: Instant
    created_by: str
    version: Annotated[int, doc("Serves as the ETag for `If-Match`.")]


class PlanList(View):
    plans: list[PlanView]


class ChangedPlan(View):
    plan: PlanView
    effective: Effective


class LimitSettings(Input, kw_only=True):
    """A rate limit for subjects that a caller names: `quota` units per `window_s` seconds, of which
    at most `burst` can be used at once.
    """

    example: ClassVar[dict[str, Any]] = {"quota": 5, "window_s": 900}

    quota: Quota
    window_s: Window
    burst: Annotated[Quota | None, doc("Units that can be used at once. Default: `quota`.")] = None
    description: LimitDescription = ""


class CreateLimit(LimitSettings, kw_only=True):
    """Parameters of a new limit."""

    example: ClassVar = {"name": "sign-in", **LimitSettings.example}

    name: Annotated[LimitName, doc("Name of the limit. Cannot change.")]

    def __post_init__(self) -> None:
        if self.burst is not None and self.burst > self.quota:
            raise ValueError("burst must not be larger than quota")


class UpdateLimit(Input, kw_only=True):
    """Changes to a limit. Omitted fields keep their values."""

    example: ClassVar = {"quota": 10, "burst": 10}

    quota: Quota | UnsetType = UNSET
    window_s: Window | UnsetType = UNSET
    burst: Quota | UnsetType = UNSET
    description: LimitDescription | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_changes(self)


class LimitView(View, kw_only=True):
    """A rate limit for subjects that a caller names."""

    example: ClassVar = {**CreateLimit.example, "burst": 5}

    name: str
    description: str
    quota: int
    window_s: int
    burst: int
    created_at: Instant
    created_by: str
    version: Annotated[int, doc("Serves as the ETag for `If-Match`.")]


class LimitList(View):
    limits: list[LimitView]


class ChangedLimit(View):
    limit: LimitView
    effective: Effective


class Override(View):
    """A customer or a key that follows a plan, with values of its own."""

    example: ClassVar = {"fields": ["limits"]}

    customer_id: Annotated[str | None, doc("The customer, also of the key.")]
    key_id: Annotated[str | None, doc("The key. Null: the customer itself has the values.")]
    name: str
    fields: Annotated[list[str], doc("The fields that override the plan.")]


class Overrides(View):
    overrides: list[Override]


def customer_view(customer: Customer, shared_limits: tuple[RateLimit, ...]) -> CustomerView:
    inherits = [
        name
        for name, is_inherited in (
            ("limits", customer.limits is None),
            ("credits", customer.inherits_credits),
        )
        if is_inherited and customer.plan is not None
    ]
    return view_of(CustomerView, customer, inherits=inherits, shared_limits=shared_limits)


def plan_view(plan: Plan) -> PlanView:
    return view_of(PlanView, plan)


def limit_view(limit: NamedLimit) -> LimitView:
    return view_of(LimitView, limit)


def fields_of(body: msgspec.Struct) -> dict[str, Any]:
    """Fields of a creation or an update, converted to the types of `core.customers`."""
    values = settings_of(body)
    if "shared_limits" in values:
        values["shared_limits"] = tuple(limit.limit() for limit in values["shared_limits"])
    return values
