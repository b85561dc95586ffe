"""Request and response shapes of Cores, for the list in the console and for leases at the
gateway.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gatehouse.core.cores import DEFAULT_INSTANCE, LEASE_S_DEFAULT, CoreSettings
from gatehouse.core.http.origin import URL_CHARS_MAX
from gatehouse.core.texts import matching
from gatehouse.core.tokens.token_scanner import CORE_PREFIX
from gatehouse.platform.web.fields import (
    PAGE_SIZE,
    Counted,
    Cursor,
    Environment,
    Input,
    Instant,
    NextCursor,
    PageSize,
    Total,
    View,
    doc,
)
from gatehouse.platform.web.validation import decode_body, invalid, unchanged

#: Default and maximum drain time in seconds, in which requests in progress complete.
DRAIN_S_DEFAULT = 30
DRAIN_S_MAX = 3600
#: Pattern of the ID of an instance, and its form.
INSTANCE = (
    "[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
    "1 to 63 letters, digits and . _ -, beginning with a letter or digit, such as docs-1",
)


class ListCores(Input):
    """Query parameters for listing Cores."""

    cursor: Cursor | None = None
    limit: PageSize = PAGE_SIZE
    total: Counted = False


class EndCore(Input):
    """Query parameters for draining a Core."""

    instance: Annotated[
        Annotated[str, matching(*INSTANCE)] | None,
        doc("ID of the instance. Default: all instances of the Core."),
    ] = None


class CircuitBreakers(View):
    """Circuit breakers of an instance. Each gateway has one."""

    gateways: Annotated[
        int, doc("Number of gateways that report the state of their circuit breakers.")
    ]
    open: Annotated[
        int,
        doc(
            "Number of gateways that avoid the instance for some time, because "
            "requests to it have failed."
        ),
    ]


CoreProblem = Literal[
    "refused", "timeout", "tls", "closed", "malformed", "overloaded", "unreachable"
]
CoreState = Literal["live", "failing", "unhealthy", "draining", "expired"]


class RecentTraffic(View):
    """Requests of all gateways to an instance in the last minute."""

    requests: Annotated[
        int, doc("Number of requests that were sent. Health checks are not included.")
    ]
    failures: Annotated[
        int, doc("Number of requests without a response: failed connections and timeouts.")
    ]
    mean_ms: Annotated[
        float | None, doc("Mean time until a response begins. Null if there was none.")
    ]
    p95_ms: Annotated[
        float | None,
        doc(
            "Time within which 95 % of the responses begin, rounded up by at most "
            "12.5 %. Null if there was none."
        ),
    ]
    problem: Annotated[
        CoreProblem | None, doc("Why the last failed request failed. Null if none failed.")
    ]


class CoreView(View, kw_only=True):
    """A registered instance of a Core."""

    example: ClassVar = {"healthy": True, "live": True}

    name: str
    instance_id: Annotated[str, doc("ID of the instance, unique among the instances of the Core.")]
    url: str
    environment: Environment
    registered_by: Annotated[str, doc("ID of the key that registered the instance.")]
    expires_at: Annotated[
        Instant,
        doc(
            "Time at which the lease expires. If the instance is draining: time at "
            "which its WebSockets are closed."
        ),
    ]
    draining: Annotated[bool, doc("True if the instance receives no new requests.")]
    healthy: Annotated[bool, doc("False if the health checks of the gateways fail.")]
    live: Annotated[
        bool, doc("True if the lease has not expired and the instance is not draining.")
    ]
    settings: Annotated[
        CoreSettings, doc("Settings that the Core declared. The others have their defaults.")
    ]
    circuit_breakers: CircuitBreakers
    last_minute: RecentTraffic
    state: Annotated[
        CoreState,
        doc(
            "`failing`: a gateway avoids the instance, or all requests of the last "
            "minute failed. `unhealthy`: the health checks fail. `expired`: the lease has expired."
        ),
    ]


class CorePage(View):
    example: ClassVar = {"gateway_url": "https://gateway.example.com"}

    cores: list[CoreView]
    next_cursor: NextCursor
    gateway_url: Annotated[
        str,
        doc(
            "URL of the gateway, at which agents register Cores. Empty if "
            "GATEHOUSE_GATEWAY_URL is not set."
        ),
    ]
    total: Total = None


LEASE_S_MIN = 5
LEASE_S_MAX = 300
#: What to send if the URL of a registration is missing or invalid.
URL_FIX = "send the URL below which the gateway reaches the Core: https://host[:port][/path]"
_LEASE_ID = "vQ2rX0m3kT9sLwYbN5cD8eFg"

LeaseId = Annotated[
    str, unchanged(description="The `lease_id` of the registration.", min_length=1, max_length=64)
]


class DeclaredSettings(CoreSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings in a registration. A stored row can contain fields of a later version."""


class LeaseRequest(Input):
    """Registers an instance of a Core at `url` if `lease_id` is omitted. Otherwise renews the lease
    and, if `url` is sent, changes the URL."""

    examples: ClassVar = [
        {"url": "https://docs.example.com", "ttl_s": 60},
        {
            "url": "https://docs-1.example.com",
            "instance_id": "docs-1",
            "settings": {"health_path": "/healthz", "response_timeout_s": 600},
        },
        {"lease_id": _LEASE_ID},
    ]

    url: Annotated[
        Annotated[str, unchanged(max_length=URL_CHARS_MAX)] | None,
        doc("URL below which the gateway reaches the Core: https://host[:port][/path]."),
    ] = None
    ttl_s: Annotated[
        Annotated[int, Meta(ge=LEASE_S_MIN, le=LEASE_S_MAX)] | None,
        doc(
            "Duration of the lease in seconds. Default: "
            f"{LEASE_S_DEFAULT}; with `lease_id`, the duration until now."
        ),
    ] = None
    lease_id: LeaseId | None = None
    instance_id: Annotated[
        Annotated[str, matching(*INSTANCE)] | None,
        doc(
            "ID of the instance. The gateway distributes requests among the instances "
            "of a Core. A registration replaces an earlier registration with the same ID or URL. "
            f"Default: `{DEFAULT_INSTANCE}`. Ignored with `lease_id`."
        ),
    ] = None
    settings: Annotated[
        DeclaredSettings,
        doc(
            "Settings of the Core, which replace the settings of earlier "
            "registrations. Ignored with `lease_id`."
        ),
    ] = DeclaredSettings()


class DrainCore(Input):
    """Query parameters of DELETE /v1/cores/{name}."""

    lease_id: Annotated[LeaseId, Meta(examples=[_LEASE_ID])]
    drain_s: Annotated[
        int,
        doc(
            "Time in seconds for requests in progress. The gateways then close the "
            "WebSockets of the instance.",
            ge=0,
            le=DRAIN_S_MAX,
        ),
    ] = DRAIN_S_DEFAULT


class Lease(View):
    """A lease of an instance on the name of a Core."""

    example: ClassVar = {"lease_id": _LEASE_ID, "core_secret": f"{CORE_PREFIX}..."}

    name: str
    instance_id: str
    url: str
    lease_id: str
    expires_at: Instant
    heartbeat_s: Annotated[int, doc("Interval between renewals in seconds.")]
    core_secret: Annotated[
        str | UnsetType,
        doc(
            "Secret that the gateway sends to the Core with each request. Returned "
            "only when the Core registers."
        ),
    ] = UNSET


#: Maximum size of the settings of a Core as JSON, which the row of each of its instances contains.
SETTINGS_BYTES_MAX = 4096


def decode_lease(body: bytes) -> LeaseRequest:
    """Decodes a request body. Raises a BadRequest that names the invalid field."""
    request = decode_body(body, LeaseRequest)
    if request.lease_id is None and request.url is None:
        raise invalid("body.url", "is missing", URL_FIX)
    if len(msgspec.json.encode(request.settings)) > SETTINGS_BYTES_MAX:
        problem = f"have more than {SETTINGS_BYTES_MAX} bytes as JSON"
        raise invalid("body.settings", problem, "send fewer cors_origins and remove_headers")
    return request
