"""Commands that inspect and adjust a running deployment: log level, Cores, sessions and usage."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import NoneType
from typing import Annotated, Any

import typer

from gatehouse.client.services import ConsoleClient
from gatehouse.commands.cli.options import Output, console_command, seconds
from gatehouse.commands.cli.output import USAGE, Column, count, note, print_items, stop
from gatehouse.commands.cli.shapes import parameters, request
from gatehouse.features.cores.schemas import INSTANCE_PATTERN, CircuitBreakers, CoreView
from gatehouse.features.identity.schemas import CreatedSignInLink, EndedSessions, SessionView
from gatehouse.features.operations.schemas import LogLevel
from gatehouse.features.usage.schemas import ReadUsage, UsageSeries
from gatehouse.platform.http.forwarding import CORE_NAME
from gatehouse.platform.settings import Level

_BAR_WIDTH = 30
_LAST = re.compile(r"\d{1,5}[mhd]", re.ASCII)
_DIMENSIONS = ("key", "core", "code")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    console_command(app, "log-level")(log_level)
    console_command(app, "usage", options=parameters(ReadUsage, "since", "until"))(usage)
    cores = typer.Typer(help="List and drain the instances of Cores.")
    console_command(cores, "list")(list_cores)
    console_command(cores, "drain")(drain_core)
    app.add_typer(cores, name="cores")
    sessions = typer.Typer(help="Start, list and end browser sessions of the console.")
    console_command(sessions, "link")(create_sign_in_link)
    console_command(sessions, "list")(list_sessions)
    console_command(sessions, "end")(end_sessions)
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
    reset: Annotated[
        bool, typer.Option("--reset", help="Apply the configured level again immediately.")
    ] = False,
) -> Output:
    """Show or set the log level of all gateway and console workers. Changes take effect within
    three seconds.
    """
    if reset and level is not None:
        stop("LEVEL and --reset are mutually exclusive", code=USAGE)
    change, path = {"level": level, "for_s": seconds("--for", for_)}, "/v1/log-level"
    if reset:
        client.call(NoneType, "DELETE", path)
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
    return current, lambda: print(text)


def list_cores(client: ConsoleClient) -> Output:
    """List the instances of Cores, ordered by the name of the Core and the ID of the instance."""
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
    """The state of the circuit breakers of all gateway workers."""
    if circuit_breakers.open:
        return f"open in {circuit_breakers.open} of {circuit_breakers.workers} workers"
    if circuit_breakers.half_open:
        return f"half open in {circuit_breakers.half_open} of {circuit_breakers.workers} workers"
    return "closed" if circuit_breakers.workers else "unknown"


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
    after 30 seconds. The agent completes the requests in progress and stops."""
    if not CORE_NAME.fullmatch(name):
        stop("NAME must be the name of a Core (see `gatehouse cores list`)", code=USAGE)
    if instance and not re.fullmatch(INSTANCE_PATTERN, instance):
        stop("--instance must be the ID of an instance (see `gatehouse cores list`)", code=USAGE)
    path = f"/v1/cores/{name}/instances/{instance}" if instance else f"/v1/cores/{name}"
    client.call(NoneType, "DELETE", path)
    drained = f"instance {instance} of {name}" if instance else f"all instances of {name}"
    return {"name": name, "instance_id": instance or None}, lambda: print(f"Draining {drained}.")


def create_sign_in_link(client: ConsoleClient) -> Output:
    """Create a link that signs a browser in with your credential, once and within five minutes.
    Your previous sign-in link stops working."""
    url = client.url + client.call(CreatedSignInLink, "POST", "/v1/sign-in-links").path
    return {"url": url}, lambda: print(url)


def list_sessions(client: ConsoleClient) -> Output:
    """List the active sessions of your credential, newest first."""
    sessions = list(client.items(SessionView, "/v1/sessions"))
    columns = ("id", "created_at", "seen_at", "ends_at", "source_address", "user_agent")
    return sessions, lambda: print_items(sessions, *columns)


def end_sessions(
    client: ConsoleClient,
    session: Annotated[
        str, typer.Argument(metavar="ID", help="Session ID. Owners can end any user's sessions.")
    ] = "",
    all_own: Annotated[bool, typer.Option("--all", help="End all of your sessions.")] = False,
    everybody: Annotated[
        bool,
        typer.Option("--everybody", help="End the sessions of all users. Requires the owner role."),
    ] = False,
) -> Output:
    """End one session, all of your sessions, or the sessions of all users."""
    if (bool(session), all_own, everybody).count(True) != 1:
        stop(
            "use exactly one of: a session ID (see `gatehouse sessions list`), --all, --everybody",
            code=USAGE,
        )
    if session and not (session.isascii() and session.isalnum()):
        stop("ID must be a session ID (see `gatehouse sessions list`)", code=USAGE)
    if session:
        client.call(NoneType, "DELETE", f"/v1/sessions/{session}")
        ended = 1
    else:
        path = f"/v1/sessions?everybody={str(everybody).lower()}"
        ended = client.call(EndedSessions, "DELETE", path).ended
    return {"ended": ended}, lambda: print(f"Ended {count(ended, 'session')}.")


def usage(
    client: ConsoleClient,
    last: Annotated[
        str, typer.Option(help="Time range, such as 90m, 24h or 30d. Default: 60 buckets.")
    ] = "",
    **filters: Any,
) -> Output:
    """Show the number of requests per minute, hour or day."""
    query = request(filters)
    selected = query["by"].split(",") if query.get("by") else []
    if not set(selected) <= set(_DIMENSIONS) or len(selected) > len(_DIMENSIONS):
        stop("--by must be key, core or code, or several separated by commas", code=USAGE)
    if last and not _LAST.fullmatch(last):
        stop("--last must be a duration such as 90m, 24h or 30d", code=USAGE)
    if last:
        start = datetime.now(UTC) - timedelta(seconds=seconds("--last", last))
        query["since"] = start.isoformat().replace("+00:00", "Z")
    series = client.get(UsageSeries, "/v1/usage", **query)
    most = max((point.count for point in series.points), default=1)
    bar: Column = ("", lambda point: "#" * -(-point.count * _BAR_WIDTH // most))
    dimensions = [dimension for dimension in _DIMENSIONS if dimension in selected]

    def show() -> None:
        columns = (*dimensions, ("requests", lambda point: point.count), bar)
        print_items(series.points, ("from", lambda point: point.at), *columns)
        note(f"{count(series.total, 'request')} from {series.since} to {series.until}")

    return series, show
