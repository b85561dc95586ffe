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
from gatehouse.platform.envoy import certificate, process, upstream
from gatehouse.platform.settings import Settings
from gatehouse.platform.web import asgi

if TYPE_CHECKING:
    from jinja2 import Template

#: Time without data from a Core, or from a client that sends a body, for which there are routes.
#: That of a Core is rounded up. The first is the default of Cores.
TIMEOUTS_S = (60, 1, 2, 5, 10, 30, 120, 300, 600, 1800, 3600)
#: Class of the routes of WebSockets that do not pass the relay.
WEBSOCKET = "websocket"
#: The cluster for denied requests with a large body.
REFUSAL = "refusal"
#: Statuses of the check. Envoy replaces the body of an error of the check (envoyproxy/envoy, issue
#: 14001), so a denial with status 503 has another one, and so has a check that fails.
DENIED_503, CHECK_FAILED = 470, 511

#: Time in which a check responds.
CHECK_S = 10.0

#: Interval at which the access log has a line of each request in progress.
ALIVE_S = 20.0

HEADERS_MAX = 100

#: Methods whose requests are sent to another instance also after a Core may have received them.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

#: Bytes of a connection that Envoy keeps in each direction before it stops reading.
BUFFER_BYTES = 65_536

#: The errors of requests to Cores, with the flags of Envoy that they stand for. UO also stands for
#: a request that was not retried, so it comes after the flags of failures
#: (www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage).
CORE_ERRORS: tuple[tuple[Any, ...], ...] = (
    (errors.CoreUnreachable(), "UF", "LR"),
    (errors.CoreUnreachable("The Core has no address that the gateway may use."), "UH"),
    (errors.CoreMalformed(), "UPE"),
    (errors.CoreUnreachable("The Core closed the connection."), "UC", "UR"),
    (errors.CoreTimeout(), "UT", "SI"),
    (errors.CoreOverloaded(), "UO"),
    (errors.CoreNotRegistered(), "NC"),
)

#: Headers that routes also remove from interim responses (1xx), which pass no filters.
_RESPONSE_HEADERS_REMOVED = tuple(
    name for name in NOT_RETURNED if "*" not in name and name not in upstream.OF_CONNECTIONS
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


def class_of(timeout_s: float, method: str) -> str:
    """The class of the route of a request, for the time of its Core."""
    fitting = min(each for each in TIMEOUTS_S if each >= timeout_s)
    return f"{fitting}s" if method in SAFE_METHODS else f"{fitting}u"


def translation() -> str:
    """The script that translates the headers of the responses of Cores."""
    names = ", ".join(f'"{name}"' for name in SET_IN_RESPONSES)
    return f"local GATEWAY_HEADERS = {{{names}}}\n{_TRANSLATION.read_text('utf-8')}"


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
        "REFUSAL_CLUSTER": REFUSAL,
        "IDLE_MAX_S": max(TIMEOUTS_S),
        "asgi": asgi,
        "certificate": certificate,
        "errors": errors,
        "process": process,
        "proxy_headers": proxy_headers,
        "upstream": upstream,
        "log_path": log_path,
        "translation": translation,
        "socket_path": socket_path,
        "worker_digits": worker_digits,
    }
