"""`gatehouse sessions`: lists and ends browser sessions of the console."""

from __future__ import annotations

from typing import Annotated

import typer

from gatehouse.cli.connection import connect
from gatehouse.cli.options import ConsoleOption, JsonOption, TokenOption
from gatehouse.cli.output import USAGE, count, print_json, print_table, stop


def register(app: typer.Typer) -> None:
    """Adds `gatehouse sessions`."""
    sessions = typer.Typer(help="List and end browser sessions of the console.")
    sessions.command(name="list")(list_)
    sessions.command()(end)
    app.add_typer(sessions, name="sessions")


def list_(console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False) -> None:
    """List the active sessions of your credential, newest first."""
    with connect(console, token) as client:
        sessions = client.sessions()
    if as_json:
        print_json(list(sessions))
        return
    rows = [
        (session.id, session.created_at, session.seen_at, session.ends_at, session.source_address, session.user_agent)
        for session in sessions
    ]
    print_table(("id", "signed in", "last used", "expires", "address", "browser"), rows)


def end(
    session: Annotated[str, typer.Argument(metavar="[ID]", help="Session ID. Owners can end the session of any user.")] = "",
    everywhere: Annotated[bool, typer.Option("--all", help="End all of your sessions.")] = False,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="End the sessions of all users. Requires the owner role.")
    ] = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """End one session, all of your sessions, or the sessions of all users."""
    if (bool(session), everywhere, everybody).count(True) != 1:
        stop("use exactly one of: a session ID (see `gatehouse sessions list`), --all, --everybody", code=USAGE)
    if session and not (session.isascii() and session.isalnum()):
        stop("ID must be a session ID (see `gatehouse sessions list`)", code=USAGE)
    with connect(console, token) as client:
        ended = client.end_session(session) if session else client.end_sessions(everybody=everybody)
    if as_json:
        print_json({"ended": ended})
    else:
        print(f"Ended {count(ended, 'session')}.")
