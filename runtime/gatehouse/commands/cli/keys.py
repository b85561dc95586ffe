"""`gatehouse keys`: creates, shows and changes API keys through the console."""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from gatehouse_client import Conflict, ConsoleClient

from gatehouse.commands.cli.actions import (
    PROPAGATION,
    Action,
    DryRunOption,
    IdArgument,
    Items,
    YesOption,
    sentence,
)
from gatehouse.commands.cli.actions import register as register_actions
from gatehouse.commands.cli.common.connection import CommandClient
from gatehouse.commands.cli.common.forms import KEY_FORMS
from gatehouse.commands.cli.common.lists import LIMIT, AllOption, LimitOption
from gatehouse.commands.cli.common.options import KeyIdArgument, Output, console_command, key_id
from gatehouse.commands.cli.common.output import (
    is_json,
    note,
    print_items,
    print_sentence,
    print_text,
    printable,
    reject,
)
from gatehouse.commands.cli.common.shapes import parameters, request
from gatehouse.commands.cli.endpoints import Command
from gatehouse.commands.cli.endpoints import register as register_all
from gatehouse.core.decision import result_text
from gatehouse.core.keys import key_fields
from gatehouse.core.notation import count
from gatehouse.core.tokens import token as tokens
from gatehouse.features.keys.schemas import (
    ChangedKey,
    CreatedKey,
    CreateKey,
    KeyFilter,
    KeyView,
    ListKeys,
    PurgedKey,
    PurgeKey,
    RevokedKey,
    RotatedKey,
    RotateKey,
    UpdateKey,
)
from gatehouse.features.usage.schemas import KeyTotals, LimitUses, ListKeyUsage, ListLimitUse
from gatehouse.features.verification.schemas import ExplainKey, Explanation

_KEYS = "/v1/keys"
_ID = "3fGh82kLmQ0a"
#: Time in which a repeated command continues the rotation of several keys.
ROTATED_WITHIN = timedelta(hours=24)

_ITEMS = Items(
    noun="key",
    path=_KEYS,
    view=KeyView,
    filters=KeyFilter,
    columns=(*key_fields(listed=True), "last_used_at"),
    is_id=lambda text: tokens.key_id(text) is not None,
    example="--customer acme --dry-run",
)
_ACTIONS = (
    Action(
        name="revoke",
        done="Revoked",
        states=("active", "disabled"),
        help="Revoke a key, or all keys that match filters, permanently. Returns when every "
        "gateway denies the key, or when the propagation bound is reached.",
        response=RevokedKey,
    ),
    Action(
        name="disable",
        done="Disabled",
        states=("active",),
        help="Disable a key until it is enabled again.",
        response=ChangedKey,
    ),
    Action(
        name="enable",
        done="Enabled",
        states=("disabled",),
        help="Enable a disabled key.",
        response=ChangedKey,
    ),
    Action(
        name="delete",
        done="Deleted",
        states=("active", "disabled", "revoked"),
        help="Delete a key. A deleted key can be restored for 30 days.",
        response=ChangedKey,
    ),
    Action(
        name="restore",
        done="Restored",
        states=("deleted",),
        help="Restore a deleted key to its previous state.",
        response=ChangedKey,
    ),
)
_COMMANDS = (
    Command(
        name="show",
        operation="GET /v1/keys/{key}",
        response=KeyView,
        help="Show a key.",
        example=_ID,
        resolve=_ITEMS.resolve,
    ),
    Command(
        name="update",
        operation="PATCH /v1/keys/{key}",
        shape=UpdateKey,
        response=ChangedKey,
        forms=KEY_FORMS,
        version="version",
        help="Change a key, or all active and disabled keys that match filters. A list replaces "
        "the current list. Omitted settings stay unchanged; an empty --customer, --plan or --scope "
        "removes the value, so that of the plan applies. Fails if a key is changed concurrently. "
        "The same command continues an interrupted run.",
        example=f"{_ID} --customer acme --limit 500/1m\n\nExample: gatehouse keys update "
        "--filter-customer acme --plan pro --dry-run",
        items=_ITEMS,
        done=lambda shown: sentence("Updated", shown["key"], shown["effective"]),
        resolve=_ITEMS.resolve,
    ),
)
_USAGE = (
    Command(
        name="limits",
        operation="GET /v1/usage/limits",
        shape=ListLimitUse,
        response=LimitUses,
        help="List the keys near their limits: the rate limits and credits of which at least 80 % "
        "are used.",
        example="--percent 95",
        columns=(
            "key",
            ("limit", lambda use: use.name or "credits"),
            ("used", lambda use: f"{use.percent} %"),
            ("units", lambda use: f"{use.used} of {use.allowed}"),
            "since",
        ),
    ),
    Command(
        name="top",
        operation="GET /v1/usage/keys",
        shape=ListKeyUsage,
        response=KeyTotals,
        help="List the keys with the most requests.",
        example="--limit 20",
    ),
)


def register(app: typer.Typer) -> None:
    keys = typer.Typer(name="keys", help="Create and manage API keys.")
    commands: Sequence[tuple[Callable[..., Output], Any, tuple[str, ...]]] = (
        (create, CreateKey, ()),
        (list_, ListKeys, ("cursor", "limit", "total")),
        (purge, PurgeKey, ("confirm",)),
        (explain, ExplainKey, ()),
    )
    for command, shape, omitted in commands:
        options = parameters(shape, *omitted, forms=KEY_FORMS)
        console_command(keys, command, options=options, once=command is create)
    options = [*parameters(KeyFilter), *parameters(RotateKey, forms=KEY_FORMS)]
    console_command(keys, rotate, options=options, once=True)
    register_actions(keys, _ITEMS, *_ACTIONS)
    register_all(keys, *_COMMANDS, *_USAGE)
    app.add_typer(keys)


def create(client: ConsoleClient, **settings: Any) -> Output:
    """Create a key and print its token to standard output. The token is shown only once.

    Example: gatehouse keys create --name reports --limit 100/1m --ttl 90d
    """
    created = client.call(CreatedKey, "POST", _KEYS, request(settings, KEY_FORMS))
    action = "Send the link to the user of the key" if created.link else "Store the token now"

    def show() -> None:
        note(f"Created key {created.key.id} ({created.key.name}). {action}; it is not shown again:")
        print_text(created.link or created.token)

    return created, show


def list_(
    client: ConsoleClient, limit: LimitOption = LIMIT, all: AllOption = False, **settings: Any
) -> Output:
    """List keys. For a token in --search, also of an imported key, the key ID is searched.

    Example: gatehouse keys list --state active --expires-within 14d
    """
    return _ITEMS.listing(client, request(settings), limit, all)


def rotate(
    client: CommandClient,
    id: IdArgument = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    **settings: Any,
) -> Output:
    """Replace the token of a key and print the new token, which is shown only once. The old token
    works until the grace period ends.

    With filters, each active key that matches is rotated, except for expired and rotated keys, and
    for new keys of a rotation within the last 24 hours, so that the same command continues an
    interrupted run. Each line has the customer, the ID and the name of the new key, and its token
    or link.

    Example: gatehouse keys rotate 3fGh82kLmQ0a --grace 7d

    Example: gatehouse keys rotate --customer acme --link --dry-run
    """
    body = request({name: settings.pop(name) for name in RotateKey.__struct_fields__}, KEY_FORMS)
    filters = request(settings)
    if dry_run or not id:
        keys = _ITEMS.select(client, id, filters, ("active",))
        return _rotate_all(client, keys, body, dry_run, yes)
    if filters:
        reject(_ITEMS.ambiguous)
    rotated = client.call(RotatedKey, "POST", f"{_KEYS}/{_ITEMS.resolve(client, id)}/rotate", body)
    key, previous = rotated.key, rotated.previous
    action = "Send the link to the user of the key" if rotated.link else "Store the new token now"

    def show() -> None:
        note(
            f"Created key {key.id}, generation {key.generation}. {previous.id} works until "
            f"{previous.expires_at}."
        )
        note(f"{action}; it is not shown again:")
        print_text(rotated.link or rotated.token)

    return rotated, show


def _rotate_all(
    client: CommandClient, keys: list[KeyView], body: dict[str, Any], dry_run: bool, yes: bool
) -> Output:
    """With the code of an interrupted run, the results of this run are printed again."""
    now = datetime.now(UTC)

    def is_recent(time: str | None) -> bool:
        return time is not None and now - datetime.fromisoformat(time) < ROTATED_WITHIN

    rotated = [key for key in keys if is_recent(key.rotated_at)]
    left = [
        key
        for key in keys
        if key.successor_id is None
        and not (key.generation > 1 and is_recent(key.created_at))
        and (key.expires_at is None or datetime.fromisoformat(key.expires_at) > now)
    ]
    if dry_run:
        return left, lambda: _ITEMS.show(left)
    _ITEMS.confirm(left, yes)
    note(f"If the command is interrupted, repeat it with --repeat {client.code}")
    results = []
    for key in [*(rotated if client.is_repeated else ()), *left]:
        try:
            result = client.call(RotatedKey, "POST", f"{_KEYS}/{key.id}/rotate", body)
        except Conflict as exc:
            note(f"Skipped {key.id}: {exc.message}")
            continue
        results.append(result)
        new = result.key
        if not is_json():  # each line is written at once, because a later rotation may fail
            cells = (new.customer_id or "", new.id, printable(new.name))
            print_text("\t".join((*cells, str(result.link or result.token))))
            sys.stdout.flush()
    return results, lambda: note(count(len(results), "key"))


def purge(
    client: ConsoleClient,
    id: KeyIdArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm. A purge cannot be undone.")] = False,
    **settings: Any,
) -> Output:
    """Erase all data of a deleted or revoked key, except for its ID. A purge cannot be undone.

    Example: gatehouse keys purge 3fGh82kLmQ0a --yes
    """
    key_id(id)
    if not yes:
        reject(f"a purge cannot be undone: add --yes to purge {id}")
    body = {**request(settings), "confirm": id}
    purged = client.call(PurgedKey, "POST", f"{_KEYS}/{id}/purge", body)
    counters = (
        "The rate limit counters were removed."
        if purged.counters_removed
        else "The rate limit counters expire."
    )
    return purged, lambda: print_sentence(
        f"Purged {purged.id} at {purged.purged_at}. {counters} {PROPAGATION[purged.effective]}"
    )


def explain(
    client: ConsoleClient,
    id: Annotated[str, typer.Argument(metavar="ID", help="ID or name of the key.")],
    **settings: Any,
) -> Output:
    """Show the decision that the gateway would make on a request with a key, check by check.

    Does not count against rate limits or consume credits.

    Example: gatehouse keys explain 3fGh82kLmQ0a --core docs --method GET
    """
    path = f"{_KEYS}/{_ITEMS.resolve(client, id)}/explain"
    explanation = client.call(Explanation, "POST", path, request(settings))

    def show() -> None:
        applies = {"pass": "no", "fail": "yes", "unknown": "not checked"}
        columns = (
            ("denied if", lambda check: result_text(check.name)),
            ("applies", lambda check: applies[check.outcome]),
            ("key", lambda check: check.actual),
            ("request", lambda check: check.required),
        )
        print_items(explanation.checks, *columns)
        if explanation.removed_headers:
            names = " ".join(explanation.removed_headers)
            print_text(f"Headers that the Core does not receive: {names}")
        denied = [result_text(each.name) for each in explanation.checks if each.outcome == "fail"]
        print_text(f"{[*denied, result_text('')][0]} ({explanation.code})")

    return explanation, show
