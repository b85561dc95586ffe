"""`gatehouse keys update`, `disable`, `rotate`, `delete`, `purge` and the like, and how their options are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gatehouse.cli.connection import ConsoleOption, JsonOption, TokenOption, connect
from gatehouse.cli.output import USAGE, note, print_json, print_table, stop
from gatehouse.keys.schemas import ChangedKey

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


_DURATION = re.compile(r"([0-9]{1,9})([smhdw]?)", re.ASCII)


_KEY_ID = re.compile(r"[0-9A-Za-z]{12}", re.ASCII)


_LIMIT = re.compile(r"(?:([a-z][a-z0-9_.-]{0,63})=)?([0-9]{1,10})/([0-9]{1,9}[smhdw]?)(?::([0-9]{1,10}))?", re.ASCII)


_CREDITS = re.compile(r"([0-9]{1,13})(?::([0-9]{1,13})/(hour|day|week|month))?", re.ASCII)


KeyId = Annotated[str, typer.Argument(metavar="ID", help="Id of the key: the 12 characters after its environment.")]


ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]


LastAdminOption = Annotated[bool, typer.Option("--allow-last-admin", help="Even the last key that can manage keys.")]


@dataclass(frozen=True, slots=True)
class _Act:
    """An act on a key that wants nothing but a reason. guarded: refused for the last key that can manage keys, unless told."""

    name: str
    done: str
    help: str
    guarded: bool = False


_ACTS = (
    _Act("disable", "disabled", "Refuse a key until it is enabled again.", guarded=True),
    _Act("enable", "enabled", "Let a disabled key work again."),
    _Act("end-grace", "ended", "End the grace period of a rotated key now."),
    _Act("delete", "deleted", "Take a key out of use; it can be restored for 30 days.", guarded=True),
    _Act("restore", "restored", "Bring a deleted key back to the state that it had."),
)


def register(keys: typer.Typer) -> None:
    """Adds the commands to `gatehouse keys`."""
    for command in (update, rotate, purge, explain):
        keys.command()(command)
    for act in _ACTS:
        keys.command(name=act.name, help=act.help)(_command(act))


def update(
    key_id: KeyId,
    name: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="All of its scopes; may be repeated.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="All of its roles; may be repeated.")] = None,
    core: Annotated[list[str] | None, typer.Option(help="All Cores that it opens; may be repeated.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="All of its HTTP methods; may be repeated.")] = None,
    address: Annotated[list[str] | None, typer.Option(help="All networks (CIDR) that it is used from; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="All of its tags; may be repeated.")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]QUOTA/WINDOW[:BURST]", help="All of its limits; may be repeated.")
    ] = None,
    credits: Annotated[str, typer.Option(metavar="N[:AMOUNT/PERIOD]", help="Or `none`, to count them no more.")] = "",
    expires_at: Annotated[str, typer.Option(metavar="RFC3339", help="Or `never`.")] = "",
    notes: Annotated[str | None, typer.Option(help="Free text for its managers.")] = None,
    require_signature: Annotated[bool | None, typer.Option(help="Refuse requests that are not signed.")] = None,
    empty: Annotated[list[str] | None, typer.Option(metavar="LIST", help="Empty a list: cores, methods, addresses ...")] = None,
    allow_last_admin: LastAdminOption = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Change a key; what is not named stays. Refused when somebody else changes it at the same time."""
    wish: dict[str, Any] = {
        **lists(scopes=scope, roles=role, cores=core, methods=method, addresses=address, tags=tag),
        **{name_: value for name_, value in (("name", name), ("owner", owner), ("notes", notes)) if value is not None},
        **{name_: [] for name_ in empty or []},
    }
    if limit:
        wish["limits"] = [limit_wish(text) for text in limit]
    if credits:
        wish["credits"] = None if credits == "none" else credit_plan(credits)
    if expires_at:
        wish["expires_at"] = None if expires_at == "never" else expires_at
    if require_signature is not None:
        wish["require_signature"] = require_signature
    if not wish:
        stop("nothing to change: name at least one option, such as --owner", code=USAGE)
    if allow_last_admin:
        wish["allow_last_admin"] = True
    with connect(console, token) as client:
        version = client.key(checked_id(key_id)).version
        say("changed", client.update_key(key_id, wish, version=version), as_json)


def _command(act: _Act) -> Callable[..., None]:
    def send(key_id: str, wish: dict[str, Any], console: str, token: str, as_json: bool) -> None:
        with connect(console, token) as client:
            key_id = checked_id(key_id)
            changed = client.delete_key(key_id, wish) if act.name == "delete" else client.act(key_id, act.name, wish)
            say(act.done, changed, as_json)

    def plain(
        key_id: KeyId,
        reason: ReasonOption = "",
        console: ConsoleOption = "",
        token: TokenOption = "",
        as_json: JsonOption = False,
    ) -> None:
        send(key_id, {"reason": reason}, console, token, as_json)

    def guarded(
        key_id: KeyId,
        reason: ReasonOption = "",
        allow_last_admin: LastAdminOption = False,
        console: ConsoleOption = "",
        token: TokenOption = "",
        as_json: JsonOption = False,
    ) -> None:
        send(key_id, {"reason": reason, "allow_last_admin": allow_last_admin}, console, token, as_json)

    return guarded if act.guarded else plain


def rotate(
    key_id: KeyId,
    grace: Annotated[str, typer.Option(metavar="DURATION", help="How long the old key works on, never beyond its end.")] = "1d",
    ttl: Annotated[str, typer.Option(metavar="DURATION", help="Lifetime of the new key. Default: that of the old one.")] = "",
    reason: ReasonOption = "",
    allow_last_admin: LastAdminOption = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a new token for a key and print it, this once. The old one works on for the grace period."""
    wish: dict[str, Any] = {"grace_s": seconds("--grace", grace), "reason": reason, "allow_last_admin": allow_last_admin}
    if ttl:
        wish["ttl_s"] = seconds("--ttl", ttl)
    with connect(console, token) as client:
        done = client.rotate_key(checked_id(key_id), wish)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    note(f"made key {done.key.id}, generation {done.key.generation}; {done.previous.id} works until {done.previous.expires_at}")
    note("keep the new token now, it is not shown again:")
    print(done.token)


def purge(
    key_id: KeyId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. There is no way back.")] = False,
    reason: ReasonOption = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Remove all that is known of a deleted or revoked key. There is no way back."""
    checked_id(key_id)
    if not yes:
        stop(f"a purge has no way back: add --yes to purge {key_id}", code=USAGE)
    with connect(console, token) as client:
        done = client.purge_key(key_id, reason)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    counters = "its counters too" if done.counters_removed else "its counters end by themselves"
    print(f"purged {done.id} at {done.purged_at}, {counters}: {when(done.effective)}")


def explain(
    key_id: KeyId,
    scope: Annotated[list[str] | None, typer.Option(help="Scope that is needed; may be repeated.")] = None,
    core: Annotated[str, typer.Option(help="Core that shall be opened.")] = "",
    address: Annotated[str, typer.Option(help="Who uses it.")] = "",
    method: Annotated[str, typer.Option(help="With which HTTP method.")] = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Tell what the gateway would decide on a key, check by check, using nothing up."""
    wish = {name: value for name, value in (("core", core), ("address", address), ("method", method)) if value}
    with connect(console, token) as client:
        found = client.explain_key(checked_id(key_id), {**wish, **lists(scopes=scope)})
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    rows = [(one.name, one.outcome, one.has, one.asked, one.code if one.outcome == "fail" else "") for one in found.checks]
    print_table("", ("check", "outcome", "the key has", "asked", "code"), rows)
    print(found.code)


def checked_id(text: str) -> str:
    """The id, or the end of the process."""
    if not _KEY_ID.fullmatch(text):
        # A whole token is a likely slip, and must not be repeated on a screen.
        stop("ID must be the 12 letters and digits of a key id (gatehouse keys list shows them), not a token", code=USAGE)
    return text


def lists(**given: list[str] | None) -> dict[str, Any]:
    """The members that were given at least once."""
    return {name: values for name, values in given.items() if values}


def limit_wish(text: str) -> dict[str, Any]:
    match = _LIMIT.fullmatch(text)
    if match is None:
        stop("--limit must be [NAME=]QUOTA/WINDOW[:BURST], such as 100/1m or daily=10000/1d:500", code=USAGE)
    name, quota, window, burst = match.groups()
    wish: dict[str, Any] = {"name": name or "requests", "quota": int(quota), "window_s": seconds("--limit", window)}
    return {**wish, "burst": int(burst)} if burst else wish


def credit_plan(text: str) -> dict[str, Any]:
    match = _CREDITS.fullmatch(text)
    if match is None:
        stop("--credits must be N or N:AMOUNT/PERIOD, such as 5000 or 5000:5000/month", code=USAGE)
    remaining, amount, every = match.groups()
    return {"remaining": int(remaining), **({"refill": {"amount": int(amount), "every": every}} if amount else {})}


def seconds(option: str, text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        stop(f"{option} must be a duration such as 90d, 12h, 30m or 45s", code=USAGE)
    return int(match[1]) * _UNITS_S[match[2] or "s"]


def say(done_: str, done: ChangedKey, as_json: bool) -> None:
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    print(f"{done_} {done.key.id} ({done.key.name}), now {done.key.state}: {when(done.effective)}")


def when(effective: str) -> str:
    return "every gateway knows it now" if effective == "everywhere" else "every gateway knows it within the staleness bound"
