"""`gatehouse sessions`: where one is signed in with a browser, and signing out there."""

from __future__ import annotations

from typing import Annotated

import typer

from gatehouse.cli.connection import ConsoleOption, JsonOption, TokenOption, connect
from gatehouse.cli.output import USAGE, print_json, print_table, stop


def register(app: typer.Typer) -> None:
    sessions = typer.Typer(help="Where you are signed in to the console with a browser, and signing out there.")
    sessions.command(name="list")(list_)
    sessions.command()(end)
    app.add_typer(sessions, name="sessions")


def list_(console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False) -> None:
    """List the live sessions that were begun with your credential, newest first."""
    with connect(console, token) as client:
        found = client.sessions()
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    rows = [(one.id, one.created_at, one.seen_at, one.ends_at, one.source_address, one.user_agent) for one in found]
    print_table("", ("id", "signed in", "last used", "ends at the latest", "from", "browser"), rows)


def end(
    session: Annotated[str, typer.Argument(metavar="[ID]", help="Id of the session; an owner may end anybody's.")] = "",
    everywhere: Annotated[bool, typer.Option("--all", help="All of yours.")] = False,
    everybody: Annotated[bool, typer.Option("--everybody", help="All that there are; an owner's act.")] = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """End a session, all of yours, or those of everybody."""
    if (bool(session), everywhere, everybody).count(True) != 1:
        stop("name one of: the ID of a session (gatehouse sessions list), --all, --everybody", code=USAGE)
    if session and not (session.isascii() and session.isalnum()):
        stop("ID must be the id of a session, as `gatehouse sessions list` shows it", code=USAGE)
    with connect(console, token) as client:
        ended = client.end_session(session) if session else client.end_sessions(everybody=everybody)
    if as_json:
        print_json({"ended": ended})
    else:
        print(f"ended {ended} session{'' if ended == 1 else 's'}")
