"""`gatehouse keys`: creates, lists, shows and changes API keys through the console."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from gatehouse.cli import key_actions
from gatehouse.cli.connection import connect
from gatehouse.cli.options import (
    CREDITS_FORM,
    LIMIT_FORM,
    ConsoleOption,
    JsonOption,
    KeyIdArgument,
    LastAdminOption,
    TokenOption,
    credits_plan,
    key_id,
    non_empty,
    rate_limit,
    seconds,
)
from gatehouse.cli.output import USAGE, count, note, print_json, print_table, stop
from gatehouse.keys.schemas import KeyView


class Environment(StrEnum):
    """The environment of a key."""

    TEST = "test"
    LIVE = "live"


class State(StrEnum):
    """The state of a key, as a filter."""

    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"
    DELETED = "deleted"
    PURGED = "purged"
    EXPIRED = "expired"


def register(app: typer.Typer) -> None:
    """Adds `gatehouse keys`."""
    keys = typer.Typer(help="Create and manage API keys.")
    keys.command()(create)
    keys.command(name="list")(list_)
    keys.command()(show)
    keys.command()(update)
    key_actions.register(keys)
    app.add_typer(keys, name="keys")


def create(
    name: Annotated[str, typer.Option(help="Purpose of the key.")],
    owner: Annotated[str, typer.Option(help="Person or team responsible for the key.")] = "",
    environment: Annotated[Environment | None, typer.Option(help="Default: the environment of the deployment.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Scope; repeatable. Default: cores:read.")] = None,
    core: Annotated[list[str] | None, typer.Option(help="Core that the key may use; repeatable. Default: all Cores.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar=LIMIT_FORM, help="Rate limit, such as 100/1m or daily=10000/1d:500; repeatable."),
    ] = None,
    role: Annotated[list[str] | None, typer.Option(help="Role: reader, agent or admin; repeatable.")] = None,
    address: Annotated[list[str] | None, typer.Option(help="Allowed client network in CIDR notation; repeatable.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Allowed HTTP method; repeatable.")] = None,
    credits: Annotated[
        str, typer.Option(metavar=CREDITS_FORM, help="Prepaid uses: 5000, or 5000:5000/month (hour, day, week, month).")
    ] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Tag; repeatable.")] = None,
    ttl: Annotated[str, typer.Option(metavar="DURATION", help="Lifetime, such as 90d. Default: the key does not expire.")] = "",
    expires_at: Annotated[
        str, typer.Option(metavar="RFC3339", help="Expiry date, such as 2031-01-01T00:00:00Z, instead of --ttl.")
    ] = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Create a key and print its token to standard output. The token is shown only once."""
    request: dict[str, Any] = {
        "name": name,
        "owner": owner,
        **non_empty(scopes=scope, cores=core, roles=role, addresses=address, methods=method, tags=tag),
        **non_empty(limits=[rate_limit(text) for text in limit or ()]),
    }
    if environment is not None:
        request["environment"] = environment.value
    if credits:
        request["credits"] = credits_plan(credits)
    if ttl:
        request["ttl_s"] = seconds("--ttl", ttl)
    if expires_at:
        request["expires_at"] = expires_at
    with connect(console, token) as client:
        created = client.create_key(request)
    if as_json:
        print_json(created)
        return
    note(f"Created key {created.key.id} ({created.key.name}). Store the token now; it is not shown again:")
    print(created.token)


def list_(
    owner: Annotated[str, typer.Option(help="Only keys of this owner.")] = "",
    state: Annotated[State | None, typer.Option(help="Only keys in this state.")] = None,
    tag: Annotated[str, typer.Option(help="Only keys with this tag.")] = "",
    family: Annotated[str, typer.Option(metavar="ID", help="Only keys of this key family: a key and its rotations.")] = "",
    expires_within: Annotated[str, typer.Option(metavar="DURATION", help="Only keys that expire within this time.")] = "",
    unused_for: Annotated[str, typer.Option(metavar="DURATION", help="Only keys that were not used for this time.")] = "",
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
                family_id=family or None,
                expires_within_s=seconds("--expires-within", expires_within) if expires_within else None,
                unused_for_s=seconds("--unused-for", unused_for) if unused_for else None,
            )
        )
    if as_json:
        print_json(keys)
        return
    rows = [
        (key.id, key.name, key.owner, key.environment, key.state, " ".join(key.scopes), key.expires_at or "never") for key in keys
    ]
    print_table(("id", "name", "owner", "env", "state", "scopes", "expires"), rows)
    note(count(len(rows), "key"))


def show(id: KeyIdArgument, console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Show a key."""
    with connect(console, token) as client:
        key = client.key(key_id(id))
    if as_json:
        print_json(key)
    else:
        print_table(("", ""), list(_properties(key).items()))


def update(
    id: KeyIdArgument,
    name: Annotated[str | None, typer.Option(help="Purpose of the key.")] = None,
    owner: Annotated[str | None, typer.Option(help="Person or team responsible for the key.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="New list of scopes; repeatable.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="New list of roles; repeatable.")] = None,
    core: Annotated[list[str] | None, typer.Option(help="New list of Cores that the key may use; repeatable.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="New list of allowed HTTP methods; repeatable.")] = None,
    address: Annotated[list[str] | None, typer.Option(help="New list of allowed client networks (CIDR); repeatable.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="New list of tags; repeatable.")] = None,
    limit: Annotated[list[str] | None, typer.Option(metavar=LIMIT_FORM, help="New list of rate limits; repeatable.")] = None,
    credits: Annotated[str, typer.Option(metavar=CREDITS_FORM, help="Prepaid uses, or `none` to stop counting them.")] = "",
    expires_at: Annotated[str, typer.Option(metavar="RFC3339", help="Expiry date, or `never`.")] = "",
    notes: Annotated[str | None, typer.Option(help="Free text for administrators.")] = None,
    require_signature: Annotated[bool | None, typer.Option(help="Deny requests that are not signed.")] = None,
    empty: Annotated[
        list[str] | None, typer.Option(metavar="LIST", help="Empty a list, such as cores, methods or addresses; repeatable.")
    ] = None,
    allow_last_admin: LastAdminOption = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Change a key. Options that are not given stay unchanged. Fails if the key is changed concurrently."""
    request: dict[str, Any] = {
        **non_empty(scopes=scope, roles=role, cores=core, methods=method, addresses=address, tags=tag),
        **{member: value for member, value in (("name", name), ("owner", owner), ("notes", notes)) if value is not None},
        **{member: [] for member in empty or ()},
        **non_empty(limits=[rate_limit(text) for text in limit or ()]),
    }
    if credits:
        request["credits"] = None if credits == "none" else credits_plan(credits)
    if expires_at:
        request["expires_at"] = None if expires_at == "never" else expires_at
    if require_signature is not None:
        request["require_signature"] = require_signature
    if not request:
        stop("nothing to change: use at least one option, such as --owner", code=USAGE)
    if allow_last_admin:
        request["allow_last_admin"] = True
    with connect(console, token) as client:
        version = client.key(key_id(id)).version
        key_actions.print_change("Updated", client.update_key(id, request, version=version), as_json)


def _properties(key: KeyView) -> dict[str, str]:
    properties = {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "environment": key.environment,
        "state": key.state,
        "token prefix": key.start,
        "scopes": " ".join(key.scopes),
        "cores": " ".join(key.cores) or "all",
        "limits": ", ".join(f"{limit.name} {limit.quota}/{limit.window_s}s, burst {limit.burst}" for limit in key.limits),
        "roles": " ".join(key.roles),
        "methods": " ".join(key.methods) or "all",
        "addresses": " ".join(key.addresses) or "all",
        "credits": "not counted" if key.credits is None else str(key.credits.remaining),
        "tags": " ".join(key.tags),
        "generation": f"{key.generation} of {key.family_id}" + (f", replaced by {key.successor_id}" * bool(key.successor_id)),
        "last used": key.last_used_at or "unknown",
        "version": str(key.version),
        "expires": key.expires_at or "never",
        "created": f"{key.created_at} by {key.created_by}",
    }
    if key.revoked_at:
        properties["revoked"] = f"{key.revoked_at} by {key.revoked_by}" + (f": {key.revoke_reason}" if key.revoke_reason else "")
    return properties
