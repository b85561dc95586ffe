"""`gatehouse keys`: make, list, show and revoke keys through the console; what else is done to one is in cli/key_life.py."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from gatehouse.cli import key_life, key_signing
from gatehouse.cli.connection import ConsoleOption, JsonOption, TokenOption, connect
from gatehouse.cli.output import note, print_json, print_table
from gatehouse.keys.schemas import KeyView


class Environment(StrEnum):
    TEST = "test"
    LIVE = "live"


class State(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"
    DELETED = "deleted"
    PURGED = "purged"
    EXPIRED = "expired"


def register(app: typer.Typer) -> None:
    keys = typer.Typer(help="Make keys and lead them through their life.")
    keys.command()(create)
    keys.command(name="list")(list_)
    keys.command()(show)
    keys.command()(revoke)
    key_life.register(keys)
    key_signing.register(keys)
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
    role: Annotated[list[str] | None, typer.Option(help="reader, agent or admin; may be repeated.")] = None,
    address: Annotated[list[str] | None, typer.Option(help="Network (CIDR) that it may be used from; may be repeated.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="HTTP method that it may be used with; may be repeated.")] = None,
    credits: Annotated[
        str, typer.Option(metavar="N[:AMOUNT/PERIOD]", help="Such as 5000 or 5000:5000/month (hour, day, week, month).")
    ] = "",
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
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
    wish |= key_life.lists(roles=role, addresses=address, methods=method, tags=tag)
    if credits:
        wish["credits"] = key_life.credit_plan(credits)
    if limit:
        wish["limits"] = [key_life.limit_wish(text) for text in limit]
    if ttl:
        wish["ttl_s"] = key_life.seconds("--ttl", ttl)
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
    tag: Annotated[str, typer.Option(help="Only keys with this tag.")] = "",
    lineage: Annotated[str, typer.Option(metavar="ID", help="All generations of one key.")] = "",
    expires_within: Annotated[str, typer.Option(metavar="DURATION", help="Whom to remind: keys that end soon.")] = "",
    unused_for: Annotated[str, typer.Option(metavar="DURATION", help="What to clean up: keys that nobody uses.")] = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """List keys."""
    with connect(console, token) as client:
        keys = list(
            client.keys(
                owner=owner or None,
                state=None if state is None else state.value,
                tag=tag or None,
                lineage_id=lineage or None,
                expires_within_s=key_life.seconds("--expires-within", expires_within) if expires_within else None,
                unused_for_s=key_life.seconds("--unused-for", unused_for) if unused_for else None,
            )
        )
    if as_json:
        print_json([key.model_dump(mode="json") for key in keys])
        return
    rows = [
        (key.id, key.name, key.owner, key.environment, key.state, " ".join(key.scopes), key.expires_at or "never") for key in keys
    ]
    print_table("", ("id", "name", "owner", "env", "state", "scopes", "expires"), rows)
    note(f"{len(rows)} key{'' if len(rows) == 1 else 's'}")


def show(key_id: key_life.KeyId, console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Show one key."""
    with connect(console, token) as client:
        key = client.key(key_life.checked_id(key_id))
    if as_json:
        print_json(key.model_dump(mode="json"))
    else:
        _print(key)


def revoke(
    key_id: key_life.KeyId,
    reason: Annotated[str, typer.Option(help="Why; kept with the key and in the audit trail.")] = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """End a key for good. Returns when every gateway refuses it, or says that this holds within the staleness bound."""
    with connect(console, token) as client:
        done = client.revoke_key(key_life.checked_id(key_id), reason)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    when = (
        "every gateway refuses it now"
        if done.effective == "everywhere"
        else "every gateway refuses it within the staleness bound"
    )
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
        "roles": " ".join(key.roles),
        "methods": " ".join(key.methods) or "all",
        "addresses": " ".join(key.addresses) or "from anywhere",
        "credits": "not counted" if key.credits is None else str(key.credits.remaining),
        "tags": " ".join(key.tags),
        "generation": f"{key.generation} of {key.lineage_id}" + (f", replaced by {key.successor_id}" * bool(key.successor_id)),
        "last used": key.last_used_at or "not known",
        "version": str(key.version),
        "expires": key.expires_at or "never",
        "created": f"{key.created_at} by {key.created_by}",
    }
    if key.revoked_at:
        facts["revoked"] = f"{key.revoked_at} by {key.revoked_by}" + (f": {key.revoke_reason}" if key.revoke_reason else "")
    print_table("", ("", ""), list(facts.items()))
