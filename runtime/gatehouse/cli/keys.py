"""`gatehouse keys`: make, list, show and revoke keys through the console."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

import typer

from gatehouse.cli.console import ConsoleOption, JsonOption, TokenOption, connect
from gatehouse.cli.output import USAGE, note, print_json, print_table, stop
from gatehouse.wire.key import KeyView

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw]?)", re.ASCII)
_KEY_ID = re.compile(r"[0-9A-Za-z]{12}", re.ASCII)
_LIMIT = re.compile(r"(?:([a-z][a-z0-9_.-]{0,63})=)?([0-9]{1,10})/([0-9]{1,9}[smhdw]?)(?::([0-9]{1,10}))?", re.ASCII)


class Environment(StrEnum):
    TEST = "test"
    LIVE = "live"


class State(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"
    EXPIRED = "expired"


KeyId = Annotated[str, typer.Argument(metavar="ID", help="Id of the key: the 12 characters after its environment.")]


def register(app: typer.Typer) -> None:
    keys = typer.Typer(help="Make, list, show and revoke keys.")
    keys.command()(create)
    keys.command(name="list")(list_)
    keys.command()(show)
    keys.command()(revoke)
    app.add_typer(keys, name="keys")


def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    owner: Annotated[str, typer.Option(help="Who answers for it.")] = "",
    environment: Annotated[Environment | None, typer.Option(help="Default: the environment of the deployment.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="May be repeated. Default: cores:read.")] = None,
    core: Annotated[list[str] | None, typer.Option(help="Core that it opens; may be repeated. Default: all of them.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]QUOTA/WINDOW[:BURST]", help="Such as 100/1m or daily=10000/1d:500; may be repeated."),
    ] = None,
    ttl: Annotated[str, typer.Option(metavar="DURATION", help="Lifetime: 90d, 12h, 30m ... Default: no end.")] = "",
    expires_at: Annotated[str, typer.Option(metavar="RFC3339", help="Instead of --ttl: 2031-01-01T00:00:00Z.")] = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a key and print its token: this once, it cannot be had again. The token alone goes to standard output."""
    wish: dict[str, Any] = {"name": name, "owner": owner}
    if environment is not None:
        wish["environment"] = environment.value
    if scope:
        wish["scopes"] = scope
    if core:
        wish["cores"] = core
    if limit:
        wish["limits"] = [_limit(text) for text in limit]
    if ttl:
        wish["ttl_s"] = _seconds("--ttl", ttl)
    if expires_at:
        wish["expires_at"] = expires_at
    with connect(console, token) as client:
        made = client.create_key(wish)
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    note(f"made key {made.key.id} ({made.key.name}); keep its token now, it is not shown again:")
    print(made.token)


def list_(
    owner: Annotated[str, typer.Option(help="Only keys of this owner.")] = "",
    state: Annotated[State | None, typer.Option(help="Only keys in this state.")] = None,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """List keys."""
    with connect(console, token) as client:
        keys = list(client.keys(owner=owner or None, state=None if state is None else state.value))
    if as_json:
        print_json([key.model_dump(mode="json") for key in keys])
        return
    rows = [
        (key.id, key.name, key.owner, key.environment, key.state, " ".join(key.scopes), key.expires_at or "never") for key in keys
    ]
    print_table("", ("id", "name", "owner", "env", "state", "scopes", "expires"), rows)
    note(f"{len(rows)} key{'' if len(rows) == 1 else 's'}")


def show(key_id: KeyId, console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Show one key."""
    with connect(console, token) as client:
        key = client.key(_key_id(key_id))
    if as_json:
        print_json(key.model_dump(mode="json"))
    else:
        _print(key)


def revoke(
    key_id: KeyId,
    reason: Annotated[str, typer.Option(help="Why; kept with the key and in the audit trail.")] = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """End a key for good. Returns when every gate refuses it, or says that this holds within the staleness bound."""
    with connect(console, token) as client:
        done = client.revoke_key(_key_id(key_id), reason)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    when = "every gate refuses it now" if done.effective == "everywhere" else "every gate refuses it within the staleness bound"
    print(f"revoked {done.key.id} ({done.key.name}) at {done.key.revoked_at}: {when}")


def _print(key: KeyView) -> None:
    limits = ", ".join(f"{one.name} {one.quota}/{one.window_s}s, burst {one.burst}" for one in key.limits)
    facts = {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "environment": key.environment,
        "state": key.state,
        "token begins": key.start,
        "scopes": " ".join(key.scopes),
        "cores": " ".join(key.cores) or "all",
        "limits": limits,
        "expires": key.expires_at or "never",
        "created": f"{key.created_at} by {key.created_by}",
    }
    if key.revoked_at:
        facts["revoked"] = f"{key.revoked_at} by {key.revoked_by}" + (f": {key.revoke_reason}" if key.revoke_reason else "")
    print_table("", ("", ""), list(facts.items()))


def _key_id(text: str) -> str:
    if not _KEY_ID.fullmatch(text):
        # A whole token is a likely slip, and must not be repeated on a screen.
        stop("ID must be the 12 letters and digits of a key id (gatehouse keys list shows them), not a token", code=USAGE)
    return text


def _limit(text: str) -> dict[str, Any]:
    match = _LIMIT.fullmatch(text)
    if match is None:
        stop("--limit must be [NAME=]QUOTA/WINDOW[:BURST], such as 100/1m or daily=10000/1d:500", code=USAGE)
    name, quota, window, burst = match.groups()
    wish: dict[str, Any] = {"name": name or "requests", "quota": int(quota), "window_s": _seconds("--limit", window)}
    return {**wish, "burst": int(burst)} if burst else wish


def _seconds(option: str, text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        stop(f"{option} must be a duration such as 90d, 12h, 30m or 45s", code=USAGE)
    return int(match[1]) * _UNITS_S[match[2] or "s"]
