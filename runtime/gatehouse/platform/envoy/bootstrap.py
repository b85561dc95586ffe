"""Renders the configuration of Envoy (bootstrap.yaml.j2). Pure.

Constants that Envoy and the workers share are here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatehouse.core import errors, features
from gatehouse.core.http.header_names import NOT_RETURNED, SET_IN_RESPONSES
from gatehouse.platform import proxy_headers
from gatehouse.platform.envoy import certificate, core_errors, core_filters, process
from gatehouse.platform.envoy.configuration import Configuration, extension, typed
from gatehouse.platform.header_limits import BYTES_MAX, FIELDS_MAX
from gatehouse.platform.settings import Settings
from gatehouse.platform.web import problems, responses

if TYPE_CHECKING:
    from jinja2 import Template

#: Times until a Core responds for which there are routes. That of a Core is rounded up. The first
#: is the default of Cores.
TIMEOUTS_S = (60, 1, 2, 5, 10, 30, 120, 300, 600, 1800, 3600)
#: Class of the routes of WebSockets that do not pass the relay.
WEBSOCKET = "websocket"
#: The clusters of workers that a request passes before a Core: those that end with their key, and
#: those with a large body.
RELAY_CLUSTER, UPLOAD_CLUSTER = "relay", "upload"
#: Statuses of the check. Envoy replaces the body of an error of the check (envoyproxy/envoy, issue
#: 14001), so a denial with status 503 has another one, and so has a check that fails.
DENIED_503, CHECK_FAILED = 470, 511

#: Time in which a check responds.
DECISION_S = 10.0

#: Interval at which the access log has a line of each request in progress.
ALIVE_S = 20.0

#: Time without progress after which a connection is closed that Envoy ends. If the client has asked
#: for it, the rest of the response is sent in this time. If a response is cut off, the client
#: notices the end after this time.
CLOSE_S = 5

HEADERS_MAX, HEADERS_KB_MAX = 5 * FIELDS_MAX, 2 * BYTES_MAX >> 10

#: Methods whose requests usually have no body.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

#: Bytes of a connection that Envoy keeps in each direction before it stops reading.
BUFFER_BYTES = 65_536

#: The fields of the access log after the kind of the line (services/gateway/access_log.py). The
#: last one can contain spaces.
LOG_FIELDS = (
    *("%ACCESS_LOG_TYPE%", "%REQ(gatehouse-request-id)%", "%REQ(gatehouse-key-id)%"),
    *("%RESPONSE_CODE%", "%RESPONSE_FLAGS%", "%RESPONSE_CODE_DETAILS%", "%DURATION%"),
    "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
    "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%",
    *("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "%UPSTREAM_WIRE_BYTES_SENT%"),
    *("%UPSTREAM_METADATA(gatehouse:instance)%", "%BYTES_RECEIVED%", "%BYTES_SENT%"),
    "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
)
#: Type of the line of a request in progress.
IN_PROGRESS = "DownstreamPeriodic"

#: Headers of the gateway that Envoy removes from requests of clients, and those that it replaces.
_OWN = proxy_headers.PEER, proxy_headers.CHARGE
OF_CLIENTS = tuple(name.decode() for name in proxy_headers.REQUEST_HEADERS if name not in _OWN)


def _is(name: str, regex: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"safe_regex": {"regex": regex}}}


#: Methods that uvicorn parses.
METHODS = (
    *("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "COPY"),
    *("LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND"),
    *("UNBIND", "ACL", "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "LINK"),
    *("SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "MKCALENDAR", "UNLINK", "SOURCE"),
)

#: Headers of requests that are refused.
MALFORMED: tuple[dict[str, Any], ...] = (
    _is("content-length", "0.+|.{17,}"),
    {**_is(":path", "[!-~]*"), "invert_match": True},
    {**_is(":method", "|".join(METHODS)), "invert_match": True},
)

#: Headers that routes also remove from interim responses (1xx), which pass no filters.
_RESPONSE_HEADERS_REMOVED = tuple(
    name for name in NOT_RETURNED if "*" not in name and name not in core_filters.OF_CONNECTIONS
)

_TRANSLATION = Path(__file__).with_name("translation.lua")


@dataclass(frozen=True, slots=True)
class Service:
    """A service that listens on a port. workers: number of its processes."""

    name: str
    port: int
    workers: int = 1


def socket_path(folder: Path, name: str, worker: int) -> Path:
    """The Unix socket of a worker. name: of the service, or what a gateway serves: check, relay."""
    return folder / f"{name}-{worker}.sock"


def log_path(folder: Path, worker: int) -> Path:
    """The pipe with the access log of the requests that a worker has checked."""
    return folder / f"completions-{worker}"


@dataclass(frozen=True, slots=True)
class Worker:
    """number: of the worker among those of the service. folder: of Envoy."""

    service: str
    number: int
    folder: Path

    @property
    def socket(self) -> Path:
        return socket_path(self.folder, self.service, self.number)


def worker_digits(worker: int) -> str:
    """The last digits of the IDs of the requests that a worker has checked."""
    return f"{worker:02x}"


def class_of(timeout_s: float) -> str:
    """The class of the route of a request, for the time of its Core."""
    return f"{min(each for each in TIMEOUTS_S if each >= timeout_s)}s"


def translation() -> str:
    """The script that translates the headers of the responses of Cores."""
    names = ", ".join(f'"{name}"' for name in SET_IN_RESPONSES)
    return f"local GATEWAY_HEADERS = {{{names}}}\n{_TRANSLATION.read_text('utf-8')}"


def failure_line(service: str, settings: Settings) -> str:
    """The log line of a response of Envoy instead of a worker."""
    line: dict[str, Any] = {
        "environment": settings.environment,
        "request_id": "%RESP(x-request-id)%",
        "service": service,
        "event": "request",
        "level": "warning",
        "ts": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "detail": "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%",
        "status": "%RESPONSE_CODE%",
        "ms": "%DURATION%",
    }
    text = responses.encode(line).decode()
    for number in ("%RESPONSE_CODE%", "%DURATION%"):
        text = text.replace(f'"{number}"', number)
    return f"{text}\n"


def _response_field(name: str, regex: str = ".*") -> Configuration:
    """True for a response with a field whose value matches."""
    field = extension("field", "type.matcher.v3.HttpResponseHeaderMatchInput", header_name=name)
    value = {"safe_regex": {"google_re2": {}, "regex": regex}}
    return {"single_predicate": {"input": field, "value_match": value}}


def translation_configuration() -> Configuration:
    """The script runs for a response with a field that it may change, because its start takes
    longer than the comparison of the fields.
    """
    fields = [_response_field(name) for name in ("location", "content-location", "set-cookie")]
    lists_fields = {
        "predicate": [
            _response_field("connection"),
            {"not_matcher": _response_field("connection", "(?i)keep-alive|close")},
        ]
    }
    fields += [_response_field(":status", "101"), {"and_matcher": lists_fields}]
    skip = typed("extensions.filters.common.matcher.action.v3.SkipFilter")
    rule = {
        "predicate": {"not_matcher": {"or_matcher": {"predicate": fields}}},
        "on_match": {"action": {"name": "skip", "typed_config": skip}},
    }
    return typed(
        "extensions.common.matching.v3.ExtensionWithMatcher",
        extension_config=extension(
            "lua",
            "extensions.filters.http.lua.v3.Lua",
            default_source_code={"inline_string": translation()},
        ),
        xds_matcher={"matcher_list": {"matchers": [rule]}},
    )


def document(folder: Path, services: Sequence[Service], settings: Settings) -> str:
    """The configuration in YAML. folder: with the sockets and pipes of Envoy."""
    return template().render(
        folder=folder,
        services=services,
        settings=settings,
        forwards=features.PROXY not in features.off(settings.features),
        cores_domain=settings.cores_domain.partition(":")[0],
    )


@cache
def template() -> "Template":
    from jinja2 import Environment, StrictUndefined  # workers need only the constants

    environment = Environment(
        autoescape=False,  # noqa: S701 - the template is no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    file = Path(__file__).with_name("bootstrap.yaml.j2")
    return environment.from_string(file.read_text("utf-8"), globals=_names())


def _names() -> dict[str, Any]:
    """What the template uses: constants, modules and functions."""
    headers = vars(proxy_headers).items()
    return {
        **{name: value for name, value in globals().items() if name.isupper()},
        **{name: value.decode() for name, value in headers if isinstance(value, bytes)},
        "IDLE_MAX_S": max(TIMEOUTS_S),
        "certificate": certificate,
        "errors": errors,
        "problems": problems,
        "process": process,
        "proxy_headers": proxy_headers,
        "responses": responses,
        "core_errors": core_errors,
        "core_filters": core_filters,
        "failure_line": failure_line,
        "log_path": log_path,
        "translation_configuration": translation_configuration,
        "socket_path": socket_path,
        "worker_digits": worker_digits,
    }
