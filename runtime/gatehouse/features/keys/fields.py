"""Field types of API keys: bounds, formats and descriptions. Used in the shapes of `keys.schemas` and in the CLI help."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta

from gatehouse.core.addresses import network
from gatehouse.core.lifecycle import TTL_S_MAX
from gatehouse.platform.http.fields import CORES_MAX, SCOPES_MAX, CoreName, Scope, distinct, multi_line, single_line, unique_items
from gatehouse.platform.http.validation import checked, matching

NAME_CHARS_MAX = 100
NOTES_CHARS_MAX = 2000
ADDRESSES_MAX = 50
TAGS_MAX = 20
METADATA_MAX = 20
METADATA_CHARS_MAX = 500
CREDITS_MAX = 1_000_000_000_000

Period = Literal["hour", "day", "week", "month"]
KeySort = Literal[
    "id", "name", "-name", "created_at", "-created_at", "last_used_at", "-last_used_at", "expires_at", "-expires_at"
]
StateFilter = Literal["active", "disabled", "revoked", "deleted", "purged", "expired"]
Role = Literal["reader", "agent", "admin"]
Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
Algorithm = Literal["hmac-sha256", "ed25519"]
METHODS: tuple[str, ...] = get_args(Method)


def _networks(values: list[str]) -> str:
    networks = [network(value) for value in values]
    if None in networks:
        return 'must be networks such as "192.0.2.0/24" or "2001:db8::/48" with all host bits zero, or single addresses'
    return distinct(networks)


Name = Annotated[str, checked(single_line, min_length=1, max_length=NAME_CHARS_MAX, description="Display name of the key.")]
Owner = Annotated[str, checked(single_line, max_length=NAME_CHARS_MAX, description="Person or team responsible for the key.")]
Notes = Annotated[str, checked(multi_line, max_length=NOTES_CHARS_MAX, description="Free text. Do not store secrets here.")]
Ttl = Annotated[int, Meta(ge=1, le=TTL_S_MAX)]
Seconds = Annotated[int, Meta(ge=0, le=TTL_S_MAX)]
Tag = Annotated[str, matching(r"[a-z0-9][a-z0-9:_./-]{0,63}", max_length=64)]
Scopes = Annotated[
    list[Scope],
    unique_items(max_length=SCOPES_MAX, description="Scopes of the key, in addition to those that `roles` adds."),
]
Roles = Annotated[
    list[Role],
    unique_items(
        max_length=len(get_args(Role)),
        description="Predefined sets of scopes to add: `reader` (`cores:read`), `agent` (`cores:register`) or `admin` (`admin`)."
        " To assign a console role, add `role:<name>` to the scopes.",
    ),
]
Cores = Annotated[
    list[CoreName],
    unique_items(
        max_length=CORES_MAX, description="Cores that the key can access. Empty: every Core in the environment of the key."
    ),
]
Methods = Annotated[
    list[Method],
    unique_items(max_length=len(METHODS), description="HTTP methods that the key allows. Empty: every method."),
]
Addresses = Annotated[
    list[Annotated[str, Meta(max_length=64)]],
    checked(
        _networks,
        max_length=ADDRESSES_MAX,
        description="IPv4 and IPv6 networks in CIDR notation, or single addresses, from which the key can be used. Empty: all.",
    ),
]
Tags = Annotated[list[Tag], unique_items(max_length=TAGS_MAX, description="Tags for filtering keys.")]
Metadata = Annotated[
    dict[
        Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")],
        Annotated[str, checked(multi_line, max_length=METADATA_CHARS_MAX)],
    ],
    Meta(max_length=METADATA_MAX, description="Key-value pairs for your own use. Do not store secrets here."),
]
AllowLastAdmin = Annotated[
    bool,
    Meta(description="Proceed even if this is the last key that can manage keys."),
]
Delivery = Annotated[
    Literal["token", "link"],
    Meta(description="`token`: the response contains the token. `link`: the response contains a link that shows the token once."),
]
RequireSignature = Annotated[bool, Meta(description="Deny unsigned requests. Requires a signing key.")]
