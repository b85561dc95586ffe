"""Commands that inspect and adjust a running deployment: logs, log level, Cores, sessions, usage
and denied requests.
"""

import re
import sys
import time
from datetime import datetime
from itertools import islice
from types import NoneType
from typing import Annotated, Any, Literal

import typer
from gatehouse_client import ConsoleClient

from gatehouse.commands.cli.options import Output, console_command, seconds
from gatehouse.commands.cli.output import Column, count, note, print_items, print_text, reject
from gatehouse.commands.cli.shapes import parameters, request
from gatehouse.core.clock import rfc3339
from gatehouse.core.features import FEATURES
from gatehouse.core.forwarding import CORE_NAME
from gatehouse.core.token_scanner import has_token
from gatehouse.features.cores.schemas import INSTANCE_PATTERN, CircuitBreakers, CoreView
from gatehouse.features.identity.schemas import CreatedSignInLink
from gatehouse.features.operations.schemas import (
    FeatureList,
    FeatureView,
    LogLevel,
    LogLine,
    Recognized,
    SearchLogs,
)
from gatehouse.features.usage.schemas import DenialPage, ListDenials, ReadUsage, UsageSeries
from gatehouse.platform.settings import Level

_BAR_WIDTH = 30


def register(app: typer.Typer) -> None:
    console_command(app, log_level)
    logs = typer.Typer(help="Search the logs of the services.")
    logs.callback()(lambda: None)
    console_command(
        logs, search_logs, "search", options=parameters(SearchLogs, "cursor", "limit", "since")
    )
    app.add_typer(logs, name="logs")
    features = typer.Typer(help="List the features, and switch them off and on.")
    console_command(features, list_features, "list")
    console_command(features, switch_feature, "switch")
    app.add_typer(features, name="features")
    console_command(app, usage, options=parameters(ReadUsage, "since", "until"))
    console_command(app, find)
    omitted = ("cursor", "limit", "since", "totals")
    console_command(app, denials, options=parameters(ListDenials, *omitted))
    cores = typer.Typer(help="List and drain the instances of Cores.")
    console_command(cores, list_cores, "list")
    console_command(cores, drain_core, "drain")
    app.add_typer(cores, name="cores")
    sessions = typer.Typer(help="Start browser sessions of the console.")
    sessions.callback()(lambda: None)
    console_command(sessions, create_sign_in_link, "link")
    app.add_typer(sessions, name="sessions")


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
    return current, lambda: print_text(text)


def search_logs(
    client: ConsoleClient,
    limit: Annotated[
        int, typer.Option("--count", "-n", min=1, max=10_000, help="Maximum number of lines.")
    ] = 50,
    last: Annotated[
        str, typer.Option(help="Time range before `--until`, such as 90m, 24h or 7d.")
    ] = "1h",
    **filters: Any,
) -> Output:
    """Search the logs of the gateway, the console and the sharing service. Prints the newest lines.

    Example: gatehouse logs search --level warning --last 24h
    """
    query = _until(request(filters), last)
    lines = list(islice(client.items(LogLine, "/v1/log-lines", **query), limit))[::-1]
    columns: tuple[Column, ...] = (
        ("time", lambda line: line.at),
        *("level", "service", "event"),
        ("fields", lambda line: " ".join(f"{name}={text}" for name, text in log_fields(line))),
    )

    def show() -> None:
        print_items(lines, *columns)
        note(count(len(lines), "line"))

    return lines, show


def _until(query: dict[str, Any], last: str) -> dict[str, Any]:
    """The query with the time range of `--last`."""
    until = datetime.fromisoformat(query["until"]).timestamp() if "until" in query else time.time()
    since = max(0.0, until - seconds("--last", last))
    return {**query, "since": rfc3339(since), "until": rfc3339(until)}


def log_fields(line: LogLine) -> list[tuple[str, object]]:
    named = {"request_id": line.request_id, "key_id": line.key_id, **line.fields}
    return [(name, value) for name, value in named.items() if value not in (None, "")]


def list_features(client: ConsoleClient) -> Output:
    """List the features, and who switched them last.

    Example: gatehouse features list
    """
    known = client.get(FeatureList, "/v1/features")
    columns: tuple[Column, ...] = (
        ("feature", lambda feature: feature.name),
        ("state", feature_state),
        *("changed_at", "changed_by"),
    )
    return known, lambda: print_items(known.features, *columns)


def feature_state(feature: FeatureView) -> str:
    if not feature.configured:
        return "off (GATEHOUSE_FEATURES)"
    return "on" if feature.enabled else "off"


def switch_feature(
    client: ConsoleClient,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the feature.")],
    state: Annotated[Literal["on", "off"], typer.Argument(help="New state of the feature.")],
) -> Output:
    """Switch a feature off or on, on all gateway and console workers within three seconds. Requests
    for a feature that is off result in 503.

    Example: gatehouse features switch webhooks off
    """
    if name not in FEATURES:
        reject(f"NAME must be one of {', '.join(FEATURES)}")
    enabled = state == "on"
    client.call(NoneType, "PUT", f"/v1/features/{name}", {"enabled": enabled})
    return {"name": name, "enabled": enabled}, lambda: print_text(f"{name} is {state}.")


def list_cores(client: ConsoleClient) -> Output:
    """List the instances of Cores, ordered by the name of the Core and the ID of the instance.

    Example: gatehouse cores list
    """
    cores = list(client.items(CoreView, "/v1/cores"))
    columns: tuple[Column, ...] = (
        ("core", lambda core: core.name),
        ("instance", lambda core: core.instance_id),
        ("state", instance_state),
        ("circuit breaker", lambda core: circuit_state(core.circuit_breakers)),
        ("requests/min", lambda core: core.last_minute.requests),
        ("failures", lambda core: core.last_minute.failures),
        ("p95 (ms)", lambda core: core.last_minute.p95_ms),
        *("url", "registered_by", "expires_at"),
    )
    return cores, lambda: print_items(cores, *columns)


def circuit_state(circuit_breakers: CircuitBreakers) -> str:
    """The state of the circuit breakers of all gateways."""
    if circuit_breakers.open:
        return f"open in {circuit_breakers.open} of {circuit_breakers.gateways} gateways"
    return "closed" if circuit_breakers.gateways else "unknown"


def instance_state(core: CoreView) -> str:
    """State of an instance: live, unhealthy, draining or expired."""
    if core.draining:
        return "draining"
    if not core.live:
        return "expired"
    return "live" if core.healthy else "unhealthy"


def drain_core(
    client: ConsoleClient,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the Core.")],
    instance: Annotated[
        str,
        typer.Option(metavar="ID", help="ID of the instance. Default: all instances of the Core."),
    ] = "",
) -> Output:
    """Stop sending requests to a Core or to one of its instances. The gateways close the WebSockets
    after 30 seconds. The agent completes the requests in progress and stops.

    Example: gatehouse cores drain docs
    """
    if not CORE_NAME.fullmatch(name):
        reject("NAME must be the name of a Core (see `gatehouse cores list`)")
    if instance and not re.fullmatch(INSTANCE_PATTERN, instance):
        reject("--instance must be the ID of an instance (see `gatehouse cores list`)")
    query = f"?instance={instance}" if instance else ""
    client.call(NoneType, "DELETE", f"/v1/cores/{name}{query}")
    drained = f"instance {instance} of {name}" if instance else f"all instances of {name}"
    return {"name": name, "instance_id": instance or None}, lambda: print_text(
        f"Draining {drained}."
    )


def create_sign_in_link(client: ConsoleClient) -> Output:
    """Create a link that signs a browser in with your credential, once and within five minutes.
    Your previous sign-in link stops working.

    Example: gatehouse sessions link
    """
    url = client.url + client.call(CreatedSignInLink, "POST", "/v1/sign-in-links").path
    return {"url": url}, lambda: print_text(url)


def usage(
    client: ConsoleClient,
    last: Annotated[
        str, typer.Option(help="Time range, such as 90m, 24h or 30d. Default: 60 buckets.")
    ] = "",
    **filters: Any,
) -> Output:
    """Show the number of requests per minute, hour or day.

    Example: gatehouse usage --width hour --by core --last 24h
    """
    query = request(filters)
    if last:
        query["since"] = rfc3339(max(0.0, time.time() - seconds("--last", last)))
    series = client.get(UsageSeries, "/v1/usage", **query)
    most = max((point.count for point in series.points), default=1)
    bar: Column = ("", lambda point: "#" * -(-point.count * _BAR_WIDTH // most))
    dimensions = query["by"].split(",") if "by" in query else []

    def show() -> None:
        columns = (*dimensions, ("requests", lambda point: point.count), bar)
        print_items(series.points, ("from", lambda point: point.at), *columns)
        note(f"{count(series.total, 'request')} from {series.since} to {series.until}")
        if before := series.week_before:
            earlier = f"{before.total} until {before.until}, {before.total_before} one week earlier"
            note(f"In complete buckets: {earlier}")

    return series, show


def denials(
    client: ConsoleClient,
    limit: Annotated[
        int, typer.Option("--count", "-n", min=1, max=100, help="Maximum number of entries.")
    ] = 50,
    last: Annotated[
        str, typer.Option(help="Time range before `--until`, such as 90m, 24h or 7d.")
    ] = "24h",
    **filters: Any,
) -> Output:
    """List the requests that the gateway denied, newest first, with the check that failed.

    Example: gatehouse denials --key 3fGh82kLmQ0a --check limit --last 24h
    """
    query = {**_until(request(filters), last), "limit": limit, "totals": "true"}
    page = client.get(DenialPage, "/v1/denials", **query)
    columns: tuple[Column, ...] = (
        ("time", lambda denial: denial.at),
        *("check", "detail"),
        ("key id", lambda denial: denial.key),
        *("core", "address"),
        ("requests", lambda denial: denial.count),
        *("request_id", "code"),
    )

    def show() -> None:
        print_items(page.denials, *columns)
        if page.totals is not None:
            checks = [f"{each.check} {each.count}" for each in page.totals.checks]
            note(", ".join([count(page.totals.total, "request"), *checks]))

    return page.denials, show


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
    found = client.call(Recognized, "POST", "/v1/lookup", {"text": text}).found

    def show() -> None:
        print_items(found, "kind", "id", "label")
        note(count(len(found), "result"))

    return found, show
