"""`gatehouse keys`: creates, shows and changes API keys through the console."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

import typer
from gatehouse_client import ConsoleClient

from gatehouse.commands.cli.common.options import KeyIdArgument, Output, console_command, key_id
from gatehouse.commands.cli.common.output import (
    count,
    note,
    print_fields,
    print_items,
    print_text,
    reject,
)
from gatehouse.commands.cli.common.shapes import Form, parameters, request
from gatehouse.commands.cli.endpoints import Command
from gatehouse.commands.cli.endpoints import register as register_all
from gatehouse.core import notation
from gatehouse.core.keys import key_fields
from gatehouse.features.keys.schemas import (
    ChangedKey,
    CreatedKey,
    CreateKey,
    KeyFilter,
    KeyView,
    ListKeys,
    PurgedKey,
    PurgeKey,
    ReasonBody,
    RevokedKey,
    RotatedKey,
    RotateKey,
    UpdateKey,
)
from gatehouse.features.operations.schemas import Recognized
from gatehouse.features.usage.schemas import KeyTotals, LimitUses, ListKeyUsage, ListLimitUse
from gatehouse.features.verification.schemas import ExplainKey, Explanation

CREDITS_FORM = "[+|-][N][:AMOUNT/PERIOD]"
_CREDITS = re.compile(
    r"(?=.)([+-]?[0-9]{1,13})?(?::(none|([0-9]{1,13})/(hour|day|week|month)))?", re.ASCII
)
_KEYS = "/v1/keys"
_COLUMNS = key_fields(listed=True)


def _rate_limits(texts: list[str]) -> list[object] | None:
    if texts == ["default"]:
        return None
    limits = [notation.rate_limit(text) for text in texts]
    if None in limits:
        reject(
            f"--limit must be {notation.RATE_LIMIT_FORM}, such as 100/1m (100 units per minute)"
            " or daily=10000/1d:500 (10000 units per day, at most 500 at once)"
        )
    return [*limits]


def _credits(text: str) -> dict[str, Any] | None:
    match = _CREDITS.fullmatch(text)
    if text == "none":
        return None
    if match is None:
        reject(
            "--credits must be N, +N, -N, :AMOUNT/PERIOD or N:AMOUNT/PERIOD, such as +5000 (add"
            " 5000 credits) or 5000:5000/month (refill to 5000 credits every month)"
        )
    number, refill, amount, every = match.groups()
    change: dict[str, Any] = {}
    if number:
        change["add" if number[0] in "+-" else "remaining"] = int(number)
    if refill:
        change["refill"] = {"amount": int(amount), "every": every} if amount else None
    return change


def _metadata(pairs: list[str]) -> dict[str, str]:
    if not all("=" in pair for pair in pairs):
        reject("--metadata must be NAME=VALUE, such as ticket=OPS-1234")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


#: Options whose values have another form than their fields.
_FORMS = {
    "limits": Form(
        Annotated[
            list[str] | None,
            typer.Option(
                "--limit",
                metavar=notation.RATE_LIMIT_FORM,
                help="Rate limit: QUOTA units per WINDOW (a duration, default: 1m), of which at "
                "most BURST can be used at once (default: QUOTA), of which a request uses COST "
                "(default: 1), such as 100/1m or daily=10000/1d:500*2. NAME identifies the limit "
                "(default: requests). Repeatable. "
                "`default`: the default limit of the deployment.",
            ),
        ],
        _rate_limits,
    ),
    "credits": Form(
        Annotated[
            str | None,
            typer.Option(
                metavar=CREDITS_FORM,
                help="Number of credits, optionally with a refill per hour, day, week or month, "
                "such as 5000 or 5000:5000/month. For a key with credits: +500 adds, -500 deducts, "
                ":5000/month changes only the refill, and :none removes it. "
                "`none` removes the credit limit.",
            ),
        ],
        _credits,
    ),
    "expires_at": Form(
        Annotated[
            str | None,
            typer.Option(
                metavar="RFC3339", help="Expiry date, such as 2031-01-01T00:00:00Z, or `never`."
            ),
        ],
        lambda text: None if text == "never" else text,
    ),
    "metadata": Form(
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME=VALUE",
                help="Key-value pair for your own use. Not for secrets. Repeatable.",
            ),
        ],
        _metadata,
    ),
    "delivery": Form(
        Annotated[
            bool | None,
            typer.Option(
                "--link",
                help="Print a link that shows the token once, within three days, instead of the "
                "token.",
            ),
        ],
        lambda link: "link" if link else "token",
    ),
}
#: Action, its past tense, the states of the keys that filters select, and its help.
_ACTIONS = (
    (
        "revoke",
        "Revoked",
        ("active", "disabled"),
        "Revoke a key, or all keys that match filters, permanently. Returns when every gateway "
        "denies the key, or when the propagation bound is reached.",
    ),
    ("disable", "Disabled", ("active",), "Disable a key until it is enabled again."),
    ("enable", "Enabled", ("disabled",), "Enable a disabled key."),
    (
        "delete",
        "Deleted",
        ("active", "disabled", "revoked"),
        "Delete a key. A deleted key can be restored for 30 days.",
    ),
    ("restore", "Restored", ("deleted",), "Restore a deleted key to its previous state."),
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
        (show, None, ()),
        (update, UpdateKey, ()),
        (rotate, RotateKey, ()),
        (purge, PurgeKey, ("confirm",)),
        (explain, ExplainKey, ()),
    )
    for command, shape, omitted in commands:
        options = parameters(shape, *omitted, forms=_FORMS) if shape else []
        console_command(keys, command, options=options, once=command in (create, rotate))
    for name, done, states, help in _ACTIONS:
        options = [*parameters(KeyFilter), *parameters(ReasonBody)]
        text = f"{help}\n\nExample: gatehouse keys {name} --owner billing --dry-run"
        console_command(keys, _action(name, done, states), name, help=text, options=options)
    register_all(keys, *_USAGE)
    app.add_typer(keys)


def create(client: ConsoleClient, **settings: Any) -> Output:
    """Create a key and print its token to standard output. The token is shown only once.

    Example: gatehouse keys create --name reports --limit 100/1m --ttl 90d
    """
    created = client.call(CreatedKey, "POST", _KEYS, request(settings, _FORMS))
    action = "Send the link to the user of the key" if created.link else "Store the token now"

    def show() -> None:
        note(f"Created key {created.key.id} ({created.key.name}). {action}; it is not shown again:")
        print_text(created.link or created.token)

    return created, show


def list_(client: ConsoleClient, **settings: Any) -> Output:
    """List keys. For a token in --search, also of an imported key, the key ID is searched.

    Example: gatehouse keys list --state active --expires-within 14d
    """
    query = request(settings, _FORMS)
    if "search" in query:
        query["search"] = _without_secret(client, query["search"])
    keys = list(client.items(KeyView, _KEYS, **query))
    return keys, lambda: _show_keys(keys)


def _without_secret(client: ConsoleClient, search: str) -> str:
    """The key ID of a token, or the text if it cannot be a secret."""
    recognized = client.call(Recognized, "POST", "/v1/lookup", {"text": search})
    if recognized.search is not None:
        return search
    ids = [each.id for each in recognized.found if each.kind == "key"]
    return ids[0] if ids else reject("no key has this token; the text was not searched")


def show(client: ConsoleClient, id: KeyIdArgument) -> Output:
    """Show a key.

    Example: gatehouse keys show 3fGh82kLmQ0a
    """
    key = client.get(KeyView, f"{_KEYS}/{key_id(id)}")
    return key, lambda: print_fields(key)


def update(
    client: ConsoleClient,
    id: KeyIdArgument,
    empty: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIST", help="Empty a list, such as cores, methods or addresses. Repeatable."
        ),
    ] = None,
    **settings: Any,
) -> Output:
    """Change a key. A list replaces the current list. Omitted settings stay unchanged.

    Fails if the key is changed concurrently.

    Example: gatehouse keys update 3fGh82kLmQ0a --owner payments --limit 500/1m
    """
    changes = {**request(settings, _FORMS), **{name: [] for name in empty or ()}}
    if not changes:
        reject("nothing to change: use at least one option, such as --owner")
    path = f"{_KEYS}/{key_id(id)}"
    version = client.get(KeyView, path).version
    changed = client.call(ChangedKey, "PATCH", path, changes, version=version)
    return changed, lambda: print_text(_change("Updated", changed, id))


def rotate(client: ConsoleClient, id: KeyIdArgument, **settings: Any) -> Output:
    """Replace the token of a key and print the new token, which is shown only once. The old token
    works until the grace period ends.

    Example: gatehouse keys rotate 3fGh82kLmQ0a --grace 7d
    """
    path = f"{_KEYS}/{key_id(id)}/rotate"
    rotated = client.call(RotatedKey, "POST", path, request(settings, _FORMS))
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
    return purged, lambda: print_text(
        f"Purged {purged.id} at {purged.purged_at}. {counters} {_PROPAGATION[purged.effective]}"
    )


def explain(client: ConsoleClient, id: KeyIdArgument, **settings: Any) -> Output:
    """Show the decision that the gateway would make on a request with a key, check by check.

    Does not count against rate limits or consume credits.

    Example: gatehouse keys explain 3fGh82kLmQ0a --core docs --method GET
    """
    path = f"{_KEYS}/{key_id(id)}/explain"
    explanation = client.call(Explanation, "POST", path, request(settings))

    def show() -> None:
        code = ("code", lambda check: check.code if check.outcome == "fail" else "")
        columns = (
            ("check", lambda check: check.name),
            "outcome",
            ("key", lambda check: check.actual),
            ("request", lambda check: check.required),
            code,
        )
        print_items(explanation.checks, *columns)
        if explanation.removed_headers:
            names = " ".join(explanation.removed_headers)
            print_text(f"Headers that the Core does not receive: {names}")
        print_text(explanation.code)

    return explanation, show


def _action(name: str, done: str, states: Collection[str]) -> Callable[..., Output]:
    """Returns a command that changes a key, or all keys in these states that match filters."""

    def act(
        client: ConsoleClient,
        id: Annotated[
            str, typer.Argument(metavar="[ID]", help="Key ID, instead of the filters.")
        ] = "",
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="List the keys without changing them.")
        ] = False,
        yes: Annotated[
            bool, typer.Option("--yes", help="Change all keys that match the filters.")
        ] = False,
        **settings: Any,
    ) -> Output:
        body = request({"reason": settings.pop("reason")})
        filters = request(settings)
        if bool(id) is bool(filters):
            reject("use a key ID, or filters such as --owner")
        if id and not dry_run:
            changed = _changed(client, name, key_id(id), body)
            return changed, lambda: print_text(_change(done, changed, id))
        if id:
            keys = [client.get(KeyView, f"{_KEYS}/{key_id(id)}")]
        else:
            if "search" in filters:
                filters["search"] = _without_secret(client, filters["search"])
            found = client.items(KeyView, _KEYS, **filters)
            keys = [key for key in found if key.state in states]
        if dry_run:
            return keys, lambda: _show_keys(keys)
        if not yes:
            reject(f"{count(len(keys), 'key')} would be changed: add --yes, or --dry-run")
        for key in keys:  # each line says what was done, even if a later change fails
            note(_change(done, _changed(client, name, key.id, body), key.id))
        return keys, lambda: note(count(len(keys), "key"))

    return act


def _changed(
    client: ConsoleClient, name: str, id: str, body: dict[str, Any]
) -> ChangedKey | RevokedKey:
    path = f"{_KEYS}/{id}"
    if name == "delete":
        return client.call(ChangedKey, "DELETE", path, body)
    kind: Any = RevokedKey if name == "revoke" else ChangedKey
    changed: ChangedKey | RevokedKey = client.call(kind, "POST", f"{path}/{name}", body)
    return changed


def _show_keys(keys: list[KeyView]) -> None:
    print_items(keys, *_COLUMNS)
    note(count(len(keys), "key"))


def _change(done: str, changed: ChangedKey | RevokedKey, id: str) -> str:
    key, text = changed.key, id
    if key is not None:
        text = f"{key.id} ({key.name})" + (
            f" at {key.revoked_at}" if key.state == "revoked" else f", state {key.state}"
        )
    return f"{done} {text}. {_PROPAGATION[changed.effective]}"


#: Sentences for the values of `effective`.
_PROPAGATION = {
    "everywhere": "In effect at every gateway.",
    "within_bound": "In effect at every gateway within the propagation bound.",
    "within_outage_bound": "A gateway that cannot read the database may apply the change only "
    "after GATEHOUSE_DATABASE_OUTAGE_MAX_S.",
    "announced": "The database is not available. In effect within the propagation bound at every "
    "gateway that can read Redis; stored when the database is available.",
}
