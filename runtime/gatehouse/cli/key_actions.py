"""`gatehouse keys ACTION ID`: actions on one key, such as rotate, revoke and delete, and its signing key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gatehouse.cli.connection import connect
from gatehouse.cli.options import (
    ConsoleOption,
    JsonOption,
    KeyIdArgument,
    LastAdminOption,
    ReasonOption,
    TokenOption,
    key_id,
    non_empty,
    seconds,
)
from gatehouse.cli.output import USAGE, note, print_json, print_table, stop
from gatehouse.keys.schemas import ChangedKey


@dataclass(frozen=True, slots=True)
class _Action:
    """An action that takes nothing but a reason.

    protects_last_admin: rejected for the last key that can manage keys, unless --allow-last-admin is given.
    """

    name: str
    done: str
    help: str
    protects_last_admin: bool = False


_ACTIONS = (
    _Action("disable", "Disabled", "Deny a key until it is enabled again.", protects_last_admin=True),
    _Action("enable", "Enabled", "Enable a disabled key."),
    _Action("end-grace", "Ended the grace period of", "End the grace period of a rotated key now."),
    _Action("delete", "Deleted", "Delete a key. It can be restored for 30 days.", protects_last_admin=True),
    _Action("restore", "Restored", "Restore a deleted key to its previous state."),
)


def register(keys: typer.Typer) -> None:
    """Adds the commands to `gatehouse keys`."""
    for command in (revoke, rotate, purge, explain, set_signing, remove_signing):
        keys.command(name=command.__name__.replace("_", "-"))(command)
    for action in _ACTIONS:
        keys.command(name=action.name, help=action.help)(_command(action))


def revoke(
    id: KeyIdArgument,
    reason: ReasonOption = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Revoke a key permanently. Returns when every gateway denies the key, or when the propagation bound has passed."""
    with connect(console, token) as client:
        revoked = client.revoke_key(key_id(id), reason)
    if as_json:
        print_json(revoked)
        return
    print(f"Revoked {revoked.key.id} ({revoked.key.name}) at {revoked.key.revoked_at}. {propagation(revoked.effective)}")


def rotate(
    id: KeyIdArgument,
    grace: Annotated[
        str, typer.Option(metavar="DURATION", help="Grace period of the old key. It never outlives its own expiry.")
    ] = "1d",
    ttl: Annotated[str, typer.Option(metavar="DURATION", help="Lifetime of the new key. Default: as the old key.")] = "",
    reason: ReasonOption = "",
    allow_last_admin: LastAdminOption = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Replace the token of a key and print the new one, once. The old token works until the grace period ends."""
    request: dict[str, Any] = {"grace_s": seconds("--grace", grace), "reason": reason, "allow_last_admin": allow_last_admin}
    if ttl:
        request["ttl_s"] = seconds("--ttl", ttl)
    with connect(console, token) as client:
        rotated = client.rotate_key(key_id(id), request)
    if as_json:
        print_json(rotated)
        return
    key, previous = rotated.key, rotated.previous
    note(f"Created key {key.id}, generation {key.generation}. {previous.id} works until {previous.expires_at}.")
    note("Store the new token now; it is not shown again:")
    print(rotated.token)


def purge(
    id: KeyIdArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm. A purge cannot be undone.")] = False,
    reason: ReasonOption = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Erase all data of a deleted or revoked key. This cannot be undone."""
    key_id(id)
    if not yes:
        stop(f"a purge cannot be undone: add --yes to purge {id}", code=USAGE)
    with connect(console, token) as client:
        purged = client.purge_key(id, reason)
    if as_json:
        print_json(purged)
        return
    counters = "Its rate limit counters were removed." if purged.counters_removed else "Its rate limit counters expire."
    print(f"Purged {purged.id} at {purged.purged_at}. {counters} {propagation(purged.effective)}")


def explain(
    id: KeyIdArgument,
    scope: Annotated[list[str] | None, typer.Option(help="Required scope; repeatable.")] = None,
    core: Annotated[str, typer.Option(help="Requested Core.")] = "",
    address: Annotated[str, typer.Option(help="Client address.")] = "",
    method: Annotated[str, typer.Option(help="HTTP method.")] = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show how the gateway would decide on a key, check by check. Consumes neither limits nor credits."""
    request = {name: value for name, value in (("core", core), ("address", address), ("method", method)) if value}
    with connect(console, token) as client:
        explanation = client.explain_key(key_id(id), {**request, **non_empty(scopes=scope)})
    if as_json:
        print_json(explanation)
        return
    rows = [
        (check.name, check.outcome, check.actual, check.required, check.code if check.outcome == "fail" else "")
        for check in explanation.checks
    ]
    print_table(("check", "outcome", "key", "request", "code"), rows)
    print(explanation.code)


def set_signing(
    id: KeyIdArgument,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ed25519 public key (PEM). Default: an HMAC secret is generated and shown."),
    ] = None,
    optional: Annotated[
        bool, typer.Option("--optional", help="Accept requests without a signature. Invalid signatures are always denied.")
    ] = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Require signed requests (RFC 9421) for a key. A generated signing secret is printed only once."""
    request: dict[str, Any] = {"algorithm": "hmac-sha256", "required": not optional}
    if public_key is not None:
        try:
            request |= {"algorithm": "ed25519", "public_key": public_key.read_text()}
        except (OSError, UnicodeDecodeError) as exc:
            stop(f"--public-key {public_key} cannot be read ({type(exc).__name__}): use a PEM file", code=USAGE)
    with connect(console, token) as client:
        changed = client.set_signing(key_id(id), request)
    if as_json:
        print_json(changed)
        return
    key = changed.key
    if changed.secret is None:
        print(f"Signatures of {key.id} ({key.name}) are verified with the public key. {propagation(changed.effective)}")
        return
    note(f"Signing secret of {key.id} ({key.name}). Store it now; it is not shown again:")
    print(changed.secret)


def remove_signing(id: KeyIdArgument, console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Remove the signing key. First run `gatehouse keys update ID --no-require-signature`."""
    with connect(console, token) as client:
        print_change("Removed the signing key of", client.remove_signing(key_id(id)), as_json)


def _command(action: _Action) -> Callable[..., None]:
    def send(id: str, request: dict[str, Any], console: str, token: str, as_json: bool) -> None:
        with connect(console, token) as client:
            key = key_id(id)
            changed = client.delete_key(key, request) if action.name == "delete" else client.act(key, action.name, request)
            print_change(action.done, changed, as_json)

    def plain(
        id: KeyIdArgument,
        reason: ReasonOption = "",
        console: ConsoleOption = "",
        token: TokenOption = "",
        as_json: JsonOption = False,
    ) -> None:
        send(id, {"reason": reason}, console, token, as_json)

    def protected(
        id: KeyIdArgument,
        reason: ReasonOption = "",
        allow_last_admin: LastAdminOption = False,
        console: ConsoleOption = "",
        token: TokenOption = "",
        as_json: JsonOption = False,
    ) -> None:
        send(id, {"reason": reason, "allow_last_admin": allow_last_admin}, console, token, as_json)

    return protected if action.protects_last_admin else plain


def print_change(done: str, changed: ChangedKey, as_json: bool) -> None:
    """Prints the result of an action on a key."""
    if as_json:
        print_json(changed)
        return
    print(f"{done} {changed.key.id} ({changed.key.name}), state {changed.key.state}. {propagation(changed.effective)}")


def propagation(effective: str) -> str:
    """How far a change has reached the gateways: `effective` of a response."""
    everywhere = effective == "everywhere"
    return "In effect at every gateway." if everywhere else "In effect at every gateway within the propagation bound."
