"""Request and response shapes of health, the log level, log lines, features and lookups."""

from typing import Annotated, Any, ClassVar, Literal

from gatehouse.core.features import FEATURES
from gatehouse.core.health import HealthState
from gatehouse.core.log_levels import Level
from gatehouse.core.texts import matching
from gatehouse.platform.web.fields import (
    PAGE_SIZE,
    REQUEST_ID,
    Cursor,
    Input,
    Instant,
    NextCursor,
    OfKey,
    PageSize,
    Timestamp,
    View,
    doc,
)
from gatehouse.platform.web.validation import unchanged


class SetLogLevel(Input):
    """A temporary log level."""

    level: Level
    for_s: Annotated[
        int,
        doc(
            "Number of seconds after which each process returns to its GATEHOUSE_LOG_LEVEL.",
            ge=10,
            le=86_400,
        ),
    ] = 900


class LogLevel(View):
    """The log level of all gateway and console workers."""

    level: Annotated[Level, doc("The current level.")]
    configured: Annotated[Level, doc("Value of GATEHOUSE_LOG_LEVEL on this console.")]
    until: Annotated[
        Instant | None,
        doc("Time at which the temporary level ends. Null if no temporary level is set."),
    ]
    set_by: str | None


#: Time before `until` for which logs are searched if `since` is omitted, and the maximum time.
LOGS_S_DEFAULT, LOGS_S_MAX = 3600, 31 * 86_400
SEARCH_CHARS_MAX = 60
_Id = Annotated[
    str,
    matching(r"[0-9A-Za-z_-]{0,64}", "at most 64 letters, digits, _ and -, such as 3fGh82kLmQ0a"),
]


class SearchLogs(Input, kw_only=True):
    """Query parameters of a search in the logs."""

    search: Annotated[
        str,
        matching(
            rf"[^\x00-\x1f\x7f\"*\\]{{0,{SEARCH_CHARS_MAX}}}",
            f"one line of at most {SEARCH_CHARS_MAX} characters without quotation marks, asterisks "
            "and backslashes, such as timeout",
            max_length=SEARCH_CHARS_MAX,
            description="Part of the event, the detail, the error, the reason, the service, the "
            "route, the path or the code, at most "
            f"{SEARCH_CHARS_MAX} characters without quotation marks, asterisks and backslashes. "
            "Case matters.",
        ),
    ] = ""
    level: Annotated[Level, doc("Minimum level.")] = "debug"
    request_id: Annotated[_Id, doc("Filter by request ID.")] = ""
    key: OfKey = None
    since: Annotated[
        Timestamp | None,
        doc(
            "Start of the time range, as an RFC 3339 timestamp, at most "
            f"{LOGS_S_MAX // 86_400} days before `until`. Default: one hour before `until`, or the "
            "time of the request if only a request ID is specified."
        ),
    ] = None
    until: Annotated[Timestamp | None, doc("End of the time range. Default: now.")] = None
    cursor: Cursor | None = None
    limit: PageSize = PAGE_SIZE


class LogLine(View, kw_only=True):
    """A line in the log of a service."""

    example: ClassVar = {
        "level": "warning",
        "service": "gateway",
        "event": "request",
        "request_id": REQUEST_ID,
        "fields": {"status": 429},
    }

    at: Instant
    level: str
    service: str
    event: str
    request_id: str | None
    key_id: str | None
    fields: Annotated[dict[str, Any], doc("All other members of the line.")]


class LogPage(View):
    """Log lines, newest first. A page can have fewer lines than `limit`, or a few more, although
    there is a next page, because the time for a page is limited."""

    lines: list[LogLine]
    searched_since: Annotated[
        Instant, doc("Start of the time that this page and earlier pages cover.")
    ]
    next_cursor: NextCursor


class SwitchFeature(Input):
    """The new state of a feature."""

    example: ClassVar = {"enabled": False}

    enabled: bool


class FeatureView(View):
    """A feature of the gateway or the console."""

    example: ClassVar = {
        "name": "websocket",
        "description": FEATURES["websocket"],
        "enabled": True,
        "configured": True,
    }

    name: str
    description: Annotated[str, doc("What the feature does.")]
    enabled: Annotated[
        bool,
        doc(
            "False if the feature is off. Requests for it result in 503, or in 404 if "
            "`configured` is false."
        ),
    ]
    configured: Annotated[
        bool, doc("False if GATEHOUSE_FEATURES disables the feature on this console.")
    ]
    changed_at: Annotated[Instant | None, doc("Time of the last change. Null if there was none.")]
    changed_by: str | None


class FeatureList(View):
    """The features of the gateway and the console."""

    features: list[FeatureView]


class DependencyHealth(View):
    """A system on which a service depends, by the last calls of the service."""

    example: ClassVar = {
        "name": "KMS",
        "service": "console",
        "state": "unavailable",
        "succeeded_at": "2030-06-01T08:58:00.000Z",
        "failed_at": "2030-06-01T09:00:00.000Z",
        "problem": "generate_data_key: EndpointConnectionError",
    }

    name: str
    service: Annotated[
        str | None, doc("The service that calls the system. Null if none is configured to.")
    ]
    state: Annotated[
        HealthState,
        doc(
            "`unavailable`: the last call of each worker has failed. `degraded`: the last call of "
            "some workers, or of some operations. `not_called`: no call since the start."
        ),
    ]
    succeeded_at: Annotated[Instant | None, doc("Time of the last call that succeeded.")]
    failed_at: Annotated[Instant | None, doc("Time of the last call that failed.")]
    problem: Annotated[
        str | None, doc("The operation and the kind of the error, while a last call has failed.")
    ]


class InstanceHealth(View):
    """A container of a service, with its workers."""

    example: ClassVar = {
        "service": "gateway",
        "instance": "ip-10-20-1-7:1",
        "version": "1.0.0",
        "workers": 2,
        "state": "degraded",
        "seen_at": "2030-06-01T09:00:00.000Z",
        "checks": {"keys": "ok", "database": "ok", "redis": "degraded"},
    }

    service: str
    instance: Annotated[
        str | None, doc("Host name and process ID. Null: no instance of the service reports.")
    ]
    version: Annotated[
        str | None, doc("Null: an earlier version, which does not report its version.")
    ]
    workers: int
    state: Annotated[
        HealthState,
        doc(
            "The result of GET /readyz. `no_report`: not reported in time. The instance is listed "
            "until its lease ends."
        ),
    ]
    seen_at: Annotated[Instant | None, doc("Time of the last report.")]
    checks: Annotated[
        dict[str, str], doc("Results of the checks of the instance: ok, degraded or unavailable.")
    ]


class HealthView(View):
    """Health of the deployment: what is broken comes first."""

    example: ClassVar = {"state": "degraded", "versions": ["1.0.0"]}

    state: Annotated[
        HealthState,
        doc(
            "`unavailable`: no gateway or no console is ready. `degraded`: another instance or a "
            "system on which one depends is not `ok`."
        ),
    ]
    at: Annotated[Instant, doc("Time of the result.")]
    versions: Annotated[
        list[str],
        doc("Versions of the instances. Several during a deployment, and after one that failed."),
    ]
    dependencies: list[DependencyHealth]
    instances: list[InstanceHealth]


class LookUp(Input):
    """Text that was pasted."""

    example: ClassVar = {"text": "req_0199f3a8c0d1b6e5f4a3928170"}

    text: Annotated[
        str,
        unchanged(
            description="A token in any form, an ID, a link, a line of a log, an owner, a tag, or "
            "a part of a name, a label or an action of the audit trail. It is neither stored nor "
            "logged.",
            max_length=8000,
        ),
    ]
    logs: Annotated[
        bool,
        doc(
            "Also search the logs for the key of a request ID, which can take several "
            "seconds. Requires the role owner, operator or auditor."
        ),
    ] = False


class Found(View):
    """An object, and the path of its page in the console."""

    example: ClassVar = {"kind": "key", "label": "nightly export", "path": "/keys/3fGh82kLmQ0a"}

    kind: Literal["customer", "key", "secret", "core", "requests", "events", "logs"]
    id: str
    label: str
    path: str
    exact: Annotated[
        bool,
        doc("The text is the ID, the name or the tag of this key, customer or Core, not a part."),
    ] = False


class Recognized(View):
    """What was found, the most specific first."""

    found: list[Found]
    search: Annotated[
        str | None, doc("The text, if it can be part of an address. Null if it can be a secret.")
    ]
    logs_since: Annotated[
        Instant | None,
        doc("Start of the time in which the logs were searched. Null: not searched."),
    ] = None
    logs_until: Instant | None = None
