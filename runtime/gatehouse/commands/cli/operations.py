"""Commands that inspect and adjust a running deployment: logs, log level, Cores, sessions, usage
and requests.
"""

import sys
import time
from datetime import datetime
from typing import Annotated, Any, Literal, NoReturn

import httpx
import msgspec
import typer
from gatehouse_client import ConsoleClient
from gatehouse_client.errors import Forbidden
from gatehouse_client.transport import uses_proxy

from gatehouse.commands.cli.common.connection import UP_FILE, is_url, up_gateway
from gatehouse.commands.cli.common.lists import LIMIT, AllOption, LimitOption, Listing, page_size
from gatehouse.commands.cli.common.options import Output, console_command, seconds
from gatehouse.commands.cli.common.output import (
    FAILED,
    Column,
    is_json,
    note,
    print_fields,
    print_items,
    print_json,
    print_sentence,
    print_table,
    print_text,
    reject,
)
from gatehouse.commands.cli.common.shapes import Form, parameters, request
from gatehouse.commands.cli.endpoints import Command
from gatehouse.commands.cli.endpoints import register as register_all
from gatehouse.core.clock import rfc3339
from gatehouse.core.decision import CODES, result_text
from gatehouse.core.health import EARLIER_VERSION, HEALTH_STATES
from gatehouse.core.log_levels import Level
from gatehouse.core.notation import count
from gatehouse.core.tokens.token_scanner import has_token
from gatehouse.features.cores.schemas import CircuitBreakers, CorePage, EndCore, ListCores
from gatehouse.features.identity.schemas import (
    CallerView,
    CreatedSignInLink,
    EndedSessions,
    EndSessions,
    ListSessions,
    SessionList,
    SignInMethods,
)
from gatehouse.features.operations.schemas import (
    FeatureList,
    FeatureView,
    HealthView,
    LogLevel,
    LogLine,
    Recognized,
    SearchLogs,
    SwitchFeature,
)
from gatehouse.features.usage.schemas import (
    ListRequests,
    ReadUsage,
    RequestPage,
    RequestView,
    UsageSeries,
)
from gatehouse.platform.web.responses import READY_PATH

_BAR_WIDTH = 30
READY_TIMEOUT_S = 10


def register(app: typer.Typer) -> None:
    for command in (whoami, status, log_level):
        console_command(app, command)
    logs = typer.Typer(help="Search the logs of the services.")
    logs.callback()(lambda: None)
    console_command(logs, search_logs, "search", options=parameters(SearchLogs, "cursor", "limit"))
    app.add_typer(logs, name="logs")
    features = typer.Typer(name="features", help="List the features, and switch them off and on.")
    register_all(features, *_FEATURES)
    app.add_typer(features)
    console_command(app, usage, options=parameters(ReadUsage))
    console_command(app, find)
    omitted = ("cursor", "limit", "totals")
    console_command(app, requests, options=parameters(ListRequests, *omitted))
    cores = typer.Typer(name="cores", help="List and drain the instances of Cores.")
    register_all(cores, *_CORES)
    app.add_typer(cores)
    sessions = typer.Typer(
        name="sessions", help="Start, list and end browser sessions of the console."
    )
    register_all(sessions, *_SESSIONS)
    console_command(sessions, create_sign_in_link, "link")
    app.add_typer(sessions)


def whoami(client: ConsoleClient) -> Output:
    """Show whose credential the commands use, its roles, and the console.

    Example: gatehouse whoami
    """
    caller = client.get(CallerView, "/v1/caller")
    value = {"console": client.url, **msgspec.to_builtins(caller)}

    def show() -> None:
        print_table(("", ""), [("console", client.url)])
        print_fields(caller)

    return value, show


def status(
    client: ConsoleClient,
    gateway: Annotated[
        str,
        typer.Option(
            envvar="GATEHOUSE_GATEWAY_URL",
            show_envvar=True,
            help=f"URL of the gateway. Default: the URL in {UP_FILE}, if any.",
        ),
    ] = "",
) -> Output:
    """Show whether the console and the gateway are ready, the systems on which the services depend,
    and the running instances. Exits with code 1 if the console or the gateway is not available.

    Example: gatehouse status
    """
    if gateway and not is_url(gateway):
        reject("--gateway must be a URL such as https://gateway.example.com")
    gateway = gateway or up_gateway(client.url)
    services = {"console": client.url, "gateway": gateway.rstrip("/")}
    found = [_ask(name, url) for name, url in services.items() if url]

    health = None
    if found[0].status != "unavailable":  # the console needs the database for any other answer
        try:
            health = client.get(HealthView, "/v1/health")
        except Forbidden:
            note("The health of the dependencies requires the role owner, operator or auditor.")

    def show() -> None:
        status: Column = ("state", lambda each: HEALTH_STATES.get(each.status, "OK"))
        print_items(found, "service", status, "checks", "url")
        if health is not None:
            print_items(health.dependencies, *_DEPENDENCY)
            print_items(health.instances, *_INSTANCE)
            if len(health.versions) > 1:
                note(f"Different versions run: {', '.join(health.versions)}.")

    value = {"services": found, "health": health}
    states = {*(each.status for each in found), health.state if health else ""}
    if "unavailable" in states:
        print_json(value) if is_json() else show()
        sys.stdout.flush()
        sys.exit(FAILED)
    return value, show


_DEPENDENCY: tuple[Column, ...] = (
    ("dependency", lambda row: row.name),
    "service",
    ("state", lambda row: HEALTH_STATES[row.state]),
    "problem",
    ("last success", lambda row: row.succeeded_at),
    ("last failure", lambda row: row.failed_at),
)
_INSTANCE: tuple[Column, ...] = (
    "service",
    ("state", lambda row: HEALTH_STATES[row.state]),
    ("version", lambda row: row.version or (row.instance and EARLIER_VERSION)),
    "checks",
    ("last report", lambda row: row.seen_at),
    "workers",
    "instance",
)


class _Service(msgspec.Struct):
    """A service, and what it responded to `GET /readyz`."""

    service: str
    url: str
    status: str
    checks: dict[str, str]


class _Readiness(msgspec.Struct):
    status: str
    checks: dict[str, str]


def _ask(service: str, url: str) -> _Service:
    try:
        reply = httpx.get(url + READY_PATH, timeout=READY_TIMEOUT_S, trust_env=uses_proxy(url))
        report = msgspec.json.decode(reply.content, type=_Readiness)
    except (httpx.HTTPError, OSError):
        return _Service(service, url, "unavailable", {"response": "none"})
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Service(service, url, "unavailable", {"response": str(reply.status_code)})
    return _Service(service, url, report.status, report.checks)


def log_level(
    client: ConsoleClient,
    level: Annotated[
        Level | None,
        typer.Argument(help="New log level. If omitted, the current log level is shown."),
    ] = None,
    for_: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="DURATION",
            help="Duration after which the configured level applies again: 10s to 1d.",
        ),
    ] = "15m",
) -> Output:
    """Show or set the log level of all gateway and console workers. Changes take effect within
    three seconds.

    Example: gatehouse log-level debug --for 10m
    """
    change, path = {"level": level, "for_s": seconds("--for", for_)}, "/v1/log-level"
    current = (
        client.get(LogLevel, path) if level is None else client.call(LogLevel, "PUT", path, change)
    )
    if current.until is None:
        text = f"{current.level} (configured)"
    else:
        text = (
            f"{current.level} until {current.until}, set by {current.set_by}; configured: "
            f"{current.configured}"
        )
    return current, lambda: print_sentence(text)


def search_logs(
    client: ConsoleClient, limit: LimitOption = LIMIT, all: AllOption = False, **filters: Any
) -> Output:
    """Search the logs of the gateway, the console and the sharing service, of the last hour or of
    the time of a request by default. Prints the newest lines, the last one last.

    Example: gatehouse logs search --level warning --last 24h
    """
    query, path = request(filters, last="" if filters.get("request_id") else "1h"), "/v1/log-lines"
    limit = 0 if all else limit
    found = Listing(client, LogLine, path, query, noun="line", limit=limit, counted=False)
    lines = [*found][::-1]
    columns: tuple[Column, ...] = (
        ("time", lambda line: line.at),
        *("level", "service", "event"),
        ("fields", lambda line: " ".join(f"{name}={text}" for name, text in log_fields(line))),
    )

    def show() -> None:
        print_items(lines, *columns)
        found.note_end()

    return lines, show


def log_fields(line: LogLine) -> list[tuple[str, object]]:
    named = {"request_id": line.request_id, "key_id": line.key_id, **line.fields}
    return [(name, value) for name, value in named.items() if value not in (None, "")]


def feature_state(feature: FeatureView) -> str:
    if not feature.configured:
        return "off (GATEHOUSE_FEATURES)"
    return "on" if feature.enabled else "off"


def circuit_state(circuit_breakers: CircuitBreakers) -> str:
    """The state of the circuit breakers of all gateways."""
    if circuit_breakers.open:
        return f"open in {circuit_breakers.open} of {circuit_breakers.gateways} gateways"
    return "closed" if circuit_breakers.gateways else "unknown"


def create_sign_in_link(client: ConsoleClient) -> Output:
    """Create a link that signs a browser in with your credential, once and within five minutes.
    Your previous sign-in link stops working.

    Example: gatehouse sessions link
    """
    url = client.url + client.call(CreatedSignInLink, "POST", "/v1/sign-in-links").path
    return {"url": url}, lambda: print_text(url)


def usage(client: ConsoleClient, **filters: Any) -> Output:
    """Show the number of requests per minute, hour or day.

    Example: gatehouse usage --width hour --by core --last 24h
    """
    query = request(filters)
    series = client.get(UsageSeries, "/v1/usage", **query)
    most = max((point.count for point in series.points), default=1)
    bar: Column = ("", lambda point: "#" * -(-point.count * _BAR_WIDTH // most))
    dimensions = query["by"].split(",") if "by" in query else []

    def show() -> None:
        by = [
            ("result", lambda each: CODES.get(each.code, each.code)) if name == "code" else name
            for name in dimensions
        ]
        columns = (*by, ("requests", lambda point: point.count), bar)
        print_items(series.points, ("from", lambda point: point.at), *columns)
        note(f"{count(series.total, 'request')} from {series.since} to {series.until}")
        if before := series.week_before:
            earlier = f"{before.total} until {before.until}, {before.total_before} one week earlier"
            note(f"In complete buckets: {earlier}")

    return series, show


def _drained(shown: dict[str, Any]) -> str:
    instance, name = shown["instance"], shown["name"]
    return f"Draining {f'instance {instance}' if instance else 'all instances'} of {name}."


_REQUEST: tuple[Column, ...] = (
    ("time", lambda request: request.at),
    ("result", lambda request: result_text(request.check)),
    *("detail", "method", "path", "status"),
    ("ms", lambda request: "" if request.ms is None else round(request.ms, 1)),
    ("key id", lambda request: request.key),
    *("core", "address"),
    ("requests", lambda request: request.count),
    "request_id",
)
#: Requests that took longer than this number of seconds are not followed, and the number of seconds
#: between two reads.
FOLLOWED_S, _FOLLOW_S = 60.0, 2.0
#: Options without a meaning for requests that have not ended yet.
_NOT_FOLLOWED = ("since", "until", "last", "order", "limit", "all")


def requests(
    client: ConsoleClient,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", min=1, help="Maximum number of entries.", show_default=str(LIMIT)
        ),
    ] = None,
    all: AllOption = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Print requests when they have ended, until interrupted. Those that took longer "
            f"than {FOLLOWED_S:.0f} seconds are omitted.",
        ),
    ] = False,
    **filters: Any,
) -> Output:
    """List the requests to the gateway, of the last day by default: the decision, the response and
    the duration.

    Example: gatehouse requests --customer acme --outcome denied --last 24h
    """
    if follow:
        given = {**filters, "limit": limit, "all": all or None}
        others = [f"--{each}" for each in _NOT_FOLLOWED if given.get(each) is not None]
        if others:
            reject(f"--follow prints new requests, without {' and '.join(others)}")
        _follow(client, request(filters))
    query, path, limit = request(filters, last="24h"), "/v1/requests", 0 if all else limit or LIMIT
    page = client.get(RequestPage, path, **query, limit=page_size(limit), totals="true")
    first, totals = (page.requests, page.next_cursor), page.totals
    found = Listing(
        client, RequestView, path, query, noun="entry", limit=limit, counted=False, first=first
    )

    def show() -> None:
        print_items(found, *_REQUEST)
        found.note_end(only_if_more=True)
        if totals is not None:
            checks = [f"{result_text(each.check)} {each.count}" for each in totals.checks]
            note(", ".join([count(totals.total, "request"), *checks]))
            for part, times in (
                ("duration", totals.ms),
                ("at the gateway", totals.gateway_ms),
                ("at the Core", totals.core_ms),
            ):
                if times is not None:
                    note(
                        f"{part}: 50 % within {times.p50:.1f} ms, 95 % within {times.p95:.1f} ms, "
                        f"99 % within {times.p99:.1f} ms"
                    )

    return found, show


def _follow(client: ConsoleClient, query: dict[str, Any]) -> NoReturn:
    """Prints a line for each request that ends from now on."""
    started, known = time.time(), dict[tuple[str, str, str, int | None], float]()
    while True:
        since = max(started, time.time() - FOLLOWED_S)
        query |= {"since": rfc3339(since, "milliseconds"), "order": "oldest"}
        for each in client.items(RequestView, "/v1/requests", **query):
            name = each.request_id or each.at, each.key, each.check, each.status
            if name not in known:
                known[name] = datetime.fromisoformat(each.at).timestamp()
                print_text(msgspec.json.encode(each).decode()) if is_json() else print_sentence(
                    _line(each)
                )
        sys.stdout.flush()
        for name in [name for name, at in known.items() if at < since]:
            del known[name]
        time.sleep(_FOLLOW_S)


def _line(each: RequestView) -> str:
    texts = [
        *(each.at, result_text(each.check), each.detail, each.method, each.path, each.status),
        "" if each.ms is None else f"{each.ms:.1f} ms",
        *(each.key, each.address, each.request_id, "" if each.count == 1 else f"x{each.count}"),
    ]
    return " ".join(str(text) for text in texts if text)


def find(
    client: ConsoleClient,
    text: Annotated[
        str,
        typer.Argument(
            metavar="QUERY",
            help="Text without a token. If omitted, the text is read from standard input.",
        ),
    ] = "",
) -> Output:
    """Find the key of a token or of a request ID, or another object by its ID or a part of its
    name. The text can be a line of a log.

    Example: gatehouse find req_0199f3a8c0d1b6e5f4a3928170
    """
    if has_token(text):
        reject("QUERY contains a token, which other users can read: send it to standard input")
    text = (text or sys.stdin.read()).strip()
    recognized = client.call(Recognized, "POST", "/v1/lookup", {"text": text, "logs": True})
    found = recognized.found

    def show() -> None:
        print_items(found, "kind", "id", "label")
        note(count(len(found), "result"))
        if recognized.logs_since and all(each.kind != "key" for each in found):
            times = f"between {recognized.logs_since} and {recognized.logs_until}"
            note(f"The logs have no key for this request {times}.")

    return found, show


_FEATURES = (
    Command(
        name="list",
        operation="GET /v1/features",
        response=FeatureList,
        help="List the features, and who switched them last.",
        columns=(
            ("feature", lambda feature: feature.name),
            ("state", feature_state),
            *("changed_at", "changed_by"),
        ),
    ),
    Command(
        name="switch",
        operation="PUT /v1/features/{feature}",
        shape=SwitchFeature,
        help="Switch a feature off or on, on all gateway and console workers within three seconds. "
        "Requests for a feature that is off result in 503.",
        example="webhooks off",
        forms={
            "enabled": Form(
                Annotated[
                    Literal["on", "off"],
                    typer.Argument(metavar="STATE", help="New state of the feature."),
                ],
                lambda state: state == "on",
            )
        },
        done="{feature} is {enabled}.",
    ),
)
_CORES = (
    Command(
        name="list",
        operation="GET /v1/cores",
        shape=ListCores,
        response=CorePage,
        help="List the instances of Cores, ordered by the name of the Core and the ID of the "
        "instance.",
        columns=(
            ("core", lambda core: core.name),
            ("instance", lambda core: core.instance_id),
            "state",
            ("problem", lambda core: core.last_minute.problem),
            ("circuit breaker", lambda core: circuit_state(core.circuit_breakers)),
            ("requests/min", lambda core: core.last_minute.requests),
            ("failures", lambda core: core.last_minute.failures),
            ("p95 (ms)", lambda core: core.last_minute.p95_ms),
            *("url", "registered_by", "expires_at"),
        ),
    ),
    Command(
        name="drain",
        operation="DELETE /v1/cores/{name}",
        shape=EndCore,
        query=True,
        help="Stop sending requests to a Core or to one of its instances. The gateways close the "
        "WebSockets after 30 seconds. The agent stops, with --dir after the requests in progress.",
        example="docs",
        done=_drained,
    ),
)
_SESSIONS = (
    Command(
        name="list",
        operation="GET /v1/sessions",
        shape=ListSessions,
        response=SessionList,
        help="List your browser sessions, or those of all users, newest first.",
        example="--everybody",
        columns=("id", "actor_type", "actor_id", "source_address", "created_at", "seen_at"),
    ),
    Command(
        name="end",
        operation="DELETE /v1/sessions/{session}",
        help="End a session. Owners can end any session.",
        example="4hJk72mNpQ8r",
        done="Ended the session {session}.",
    ),
    Command(
        name="methods",
        operation="GET /v1/sign-in-methods",
        response=SignInMethods,
        help="Show whether the bootstrap token is accepted, and the roles that the identity "
        "provider grants.",
    ),
    Command(
        name="end-all",
        operation="DELETE /v1/sessions",
        shape=EndSessions,
        query=True,
        response=EndedSessions,
        help="End all of your sessions. Your sign-in link stops working.",
        done="Ended sessions: {ended}.",
    ),
)
