"""Fields of API keys in the management API: bounds, formats and descriptions.

`KeySettings` declares the fields that have the same shape in creation, update, import and response,
one field per line. The decisions on each field are in `core/keys.py`.
"""

import re
from typing import Annotated, Any, ClassVar, Literal, get_args

from msgspec import Meta

from gatehouse.core import customers
from gatehouse.core.http.addresses import network
from gatehouse.core.http.http_signatures import read_public_key
from gatehouse.core.keys import key_fields
from gatehouse.core.lifecycle import TTL_S_MAX
from gatehouse.core.texts import matching
from gatehouse.core.tokens.token import ID_CHARS
from gatehouse.platform.web.fields import CoreName, Input, distinct, doc, unique_items
from gatehouse.platform.web.validation import checked, name_text, note_text, unchanged

NAME_CHARS_MAX = 100
CORES_MAX = 50
SCOPES_MAX = 50
LIMITS_MAX = 10
QUOTA_MAX = 1_000_000_000
WINDOW_S_MAX = 31 * 86_400
COST_MAX = 1_000_000
REASON_CHARS_MAX = 300

Effective = Annotated[
    Literal["everywhere", "within_bound", "within_outage_bound", "announced"],
    Meta(
        description="Propagation of the change. `everywhere`: every live gateway worker has "
        "confirmed the change. `within_bound`: the change takes effect on every worker within the "
        "propagation bound of the deployment (`GATEHOUSE_MAX_STALENESS_MS`). "
        "`within_outage_bound`: a worker that cannot read the database may apply the change only "
        "after `GATEHOUSE_DATABASE_OUTAGE_MAX_S`. `announced`: the database is not available; "
        "every worker that can read Redis applies the revocation within the propagation bound, "
        "and the revocation is stored when the database is available."
    ),
]
Scope = Annotated[
    str,
    matching(
        r"[a-z0-9:_.*-]{1,64}",
        "1 to 64 lowercase letters, digits and : _ . * -, such as reports:read",
        max_length=64,
    ),
]
#: Pattern of the name of a limit or a plan, and its form.
_NAME = (
    r"[a-z][a-z0-9_.-]{0,63}",
    "1 to 64 lowercase letters, digits and _ . -, beginning with a letter, such as starter",
)
LimitName = Annotated[
    str,
    matching(
        *_NAME,
        max_length=64,
        description="Name of the limit. Clients see the name in the `RateLimit` header.",
    ),
]
Quota = Annotated[int, Meta(ge=1, le=QUOTA_MAX, description="Units per window.")]
Window = Annotated[
    int,
    Meta(ge=1, le=WINDOW_S_MAX, description="Length of the window in seconds, at most 31 days."),
]
Cost = Annotated[
    int,
    Meta(
        ge=0,
        le=COST_MAX,
        description="Units that a request uses, multiplied by the `cost` of the verification "
        "request. 0: the limit is checked, but requests do not count against the limit.",
    ),
]
Reason = Annotated[
    str,
    name_text(
        max_length=REASON_CHARS_MAX,
        description="Reason for the action. Recorded in the audit trail.",
    ),
]

#: ID of a webhook, or an address in ASCII, as Amazon SES requires it (a domain name in Punycode).
_CONTACT = re.compile(
    rf"[0-9A-Za-z]{{{ID_CHARS}}}|"
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}"
)

CustomerId = Annotated[str, matching(customers.ID, customers.ID_FORM, max_length=64)]
PlanName = Annotated[str, matching(*_NAME, max_length=64)]
KeySort = Literal[
    "id",
    "name",
    "-name",
    "customer_id",
    "-customer_id",
    "state",
    "-state",
    "scopes",
    "-scopes",
    "created_at",
    "-created_at",
    "last_used_at",
    "-last_used_at",
    "expires_at",
    "-expires_at",
]
StateFilter = Literal["active", "disabled", "revoked", "deleted", "purged", "expired"]
Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


def _networks(values: list[str]) -> str:
    networks = [network(value) for value in values]
    if None in networks:
        return (
            'must be networks such as "192.0.2.0/24" or "2001:db8::/48" with all host bits '
            "zero, or single addresses"
        )
    return distinct(networks)


def _public_key(text: str) -> str:
    try:
        if text:
            read_public_key(text)
    except ValueError as exc:
        return str(exc)
    return ""


def _contact(text: str) -> str:
    message = "must be an e-mail address such as holder@example.com, or the ID of a webhook"
    return "" if not text or _CONTACT.fullmatch(text) else message


Name = Annotated[
    str, name_text(min_length=1, max_length=NAME_CHARS_MAX, description="Display name of the key.")
]
Ttl = Annotated[int, Meta(ge=1, le=TTL_S_MAX)]
Seconds = Annotated[int, Meta(ge=0, le=TTL_S_MAX)]
Scopes = Annotated[
    list[Scope], unique_items(max_length=SCOPES_MAX, description="Scopes of the key.")
]


Tags = Annotated[
    list[
        Annotated[
            str,
            matching(
                r"[a-z0-9][a-z0-9:_./-]{0,63}",
                "1 to 64 lowercase letters, digits and : _ . / -, beginning with a letter or "
                "digit, such as nightly:eu",
                max_length=64,
            ),
        ]
    ],
    unique_items(max_length=20),
]
Metadata = Annotated[
    dict[
        Annotated[
            str,
            matching(
                r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}",
                "1 to 64 letters, digits and _ . : -, beginning with a letter or digit, such as "
                "ticket",
            ),
        ],
        Annotated[str, note_text(max_length=256)],
    ],
    doc("Key-value pairs for your own use. Do not store secrets here.", max_length=20),
]
Notes = Annotated[
    str, note_text(max_length=2000, description="Free text. Do not store secrets here.")
]
Contact = Annotated[str, checked(_contact, max_length=254)]


class KeySettings(Input, kw_only=True):
    """Fields that have the same shape in creation, update and response."""

    example: ClassVar[dict[str, Any]] = {
        "name": "invoices, nightly export",
        "customer_id": "acme",
        "cores": ["docs"],
        "methods": ["GET", "HEAD"],
        "addresses": ["192.0.2.0/24", "2001:db8::/48"],
        "public_key": "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=",
        "tags": ["nightly"],
        "metadata": {"ticket": "OPS-1234"},
        "notes": "Requested by the billing team.",
        "contact": "8dKs02mXwP4t",
    }

    name: Name
    customer_id: Annotated[
        CustomerId | None, doc("ID of the customer to which the key belongs. Null: none.")
    ] = None
    plan: Annotated[
        PlanName | None,
        doc(
            "Plan that the key follows. A key of a customer follows the plan of the customer "
            "instead. Null: none."
        ),
    ] = None
    cores: Annotated[
        list[CoreName],
        unique_items(
            max_length=CORES_MAX,
            description=(
                "Cores that the key can access. Empty: every Core in the environment of the key."
            ),
        ),
    ] = []
    methods: Annotated[
        list[Method],
        unique_items(
            max_length=len(get_args(Method)),
            description="HTTP methods that the key allows. GET includes HEAD. Empty: every method.",
        ),
    ] = []
    addresses: Annotated[
        list[Annotated[str, unchanged(max_length=64)]],
        checked(
            _networks,
            max_length=50,
            description="IPv4 and IPv6 networks in CIDR notation, or single addresses, from which "
            "the key can be used. Empty: all.",
        ),
    ] = []
    public_key: Annotated[
        str,
        checked(
            _public_key,
            max_length=512,
            description="Ed25519 public key, as base64 of its 32 bytes or as PEM. Requests must be "
            "signed with the private key (RFC 9421). Empty: requests need no signature.",
        ),
    ] = ""
    tags: Annotated[Tags, doc("Tags for filtering keys.")] = []
    metadata: Metadata = {}
    notes: Notes = ""
    contact: Annotated[
        Contact,
        doc(
            "E-mail address of the holder, or ID of a webhook, that receives the events of the "
            "key: rotation, revocation, reminders of its expiry. Empty: none."
        ),
    ] = ""


#: The keys that a search finds, as the end of a sentence.
SEARCH = (
    f"whose {' or '.join(key_fields(search='part'))} contains this text (begins with it, if it has "
    "one or two characters), whose ID or token begins with this text, or that have this tag"
)
Delivery = Annotated[
    Literal["token", "link"],
    doc(
        "`token`: the response contains the token. `link`: the response contains a "
        "link that shows the token once."
    ),
]
