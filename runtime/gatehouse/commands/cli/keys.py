"""`gatehouse keys`: creates, shows and changes API keys through the console."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from msgspec import inspect

from gatehouse.client.services import ConsoleClient
from gatehouse.commands.cli.options import (
    CREDITS_FORM,
    KeyIdArgument,
    LastAdminOption,
    Output,
    ReasonOption,
    console_command,
    credits_plan,
    key_id,
    rate_limit,
    seconds,
)
from gatehouse.commands.cli.output import USAGE, count, note, print_table, stop
from gatehouse.core import token_scanner
from gatehouse.core.keys import RateLimit, key_fields
from gatehouse.core.notation import RATE_LIMIT_FORM
from gatehouse.features.keys.fields import SEARCH, KeySort, StateFilter
from gatehouse.features.keys.schemas import (
    ChangedKey,
    CreateKey,
    Credits,
    KeyView,
    SigningView,
    UpdateKey,
)

LimitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar=RATE_LIMIT_FORM,
        help="Rate limit: QUOTA units per WINDOW (a duration, default: 1m), of which at most BURST "
        "can be used at once (default: QUOTA), "
        "such as 100/1m or daily=10000/1d:500. NAME identifies the limit (default: requests). "
        "Repeatable.",
    ),
]
CreditsOption = Annotated[
    str | None,
    typer.Option(
        metavar=CREDITS_FORM,
        help="Number of credits, optionally with a refill per hour, day, week or month, such "
        "as 5000 or 5000:5000/month. "
        "`none` removes the credit limit.",
    ),
]
LinkOption = Annotated[
    bool,
    typer.Option(
        "--link",
        help="Print a link that shows the token once, within three days, instead of the token.",
    ),
]
ExpiresOption = Annotated[
    str | None,
    typer.Option(metavar="RFC3339", help="Expiry date, such as 2031-01-01T00:00:00Z, or `never`."),
]
MetadataOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE", help="Key-value pair for your own use. Not for secrets. Repeatable."
    ),
]

#: Options for the fields that are neither text, nor a list of texts, nor a switch.
_OPTIONS: dict[str, Any] = {
    "limits": LimitOption,
    "credits": CreditsOption,
    "expires_at": ExpiresOption,
    "metadata": MetadataOption,
}
_SETTINGS = (*key_fields(set_by="create"), *key_fields(set_by="update"), "require_signature")
_COLUMNS = key_fields(listed=True)
_ALL_IF_EMPTY = ("cores", "methods", "addresses")


def _options(shape: type[msgspec.Struct]) -> list[Parameter]:
    """An option for each field of a key that a request can set."""
    fields = inspect.type_info(shape).fields  # type: ignore[attr-defined]  # a struct has fields
    return [_option(field) for field in fields if field.name in _SETTINGS]


def _option(field: inspect.Field) -> Parameter:
    kind, help = _kind(field.type)
    value: Any = _OPTIONS.get(field.name)
    match kind:
        case _ if value is not None:
            pass
        case inspect.ListType():
            singular = field.name[: -2 if field.name.endswith("sses") else -1]
            value = Annotated[
                list[str] | None, typer.Option(f"--{singular}", help=f"{help} Repeatable.")
            ]
        case inspect.LiteralType(values=values):
            value = Annotated[Literal[values] | None, typer.Option(help=help)]
        case inspect.BoolType():
            value = Annotated[bool | None, typer.Option(help=help)]
        case _:
            value = Annotated[str if field.required else str | None, typer.Option(help=help)]
    return Parameter(
        field.name,
        Parameter.KEYWORD_ONLY,
        annotation=value,
        default=Parameter.empty if field.required else None,
    )


def _kind(info: inspect.Type) -> tuple[inspect.Type, str]:
    """The type of a field without annotations and null, and its description."""
    if isinstance(info, inspect.Metadata):
        kind, description = _kind(info.type)
        return kind, description or str((info.extra_json_schema or {}).get("description", ""))
    return _kind(info.types[0]) if isinstance(info, inspect.UnionType) else (info, "")


def register(app: typer.Typer) -> None:
    """Adds `gatehouse keys`."""
    keys = typer.Typer(help="Create and manage API keys.")
    console_command(keys, "create", options=_options(CreateKey))(create)
    console_command(keys, "update", options=_options(UpdateKey))(update)
    for command in (list_, show, revoke, rotate, purge, explain, set_signing, remove_signing):
        console_command(keys, command.__name__.rstrip("_").replace("_", "-"))(command)
    for name, done, help, protects_last_admin in (
        ("disable", "Disabled", "Disable a key until it is enabled again.", True),
        ("enable", "Enabled", "Enable a disabled key.", False),
        (
            "end-grace",
            "Ended the grace period of",
            "End the grace period of a rotated key immediately.",
            False,
        ),
        ("delete", "Deleted", "Delete a key. A deleted key can be restored for 30 days.", True),
        ("restore", "Restored", "Restore a deleted key to its previous state.", False),
    ):
        console_command(keys, name, help=help)(
            _action(name, done, protects_last_admin=protects_last_admin)
        )
    app.add_typer(keys, name="keys")


def create(
    client: ConsoleClient,
    ttl: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="Lifetime, such as 90d. Default: the key does not expire."
        ),
    ] = "",
    link: LinkOption = False,
    **settings: Any,
) -> Output:
    """Create a key and print its token to standard output. The token is shown only once.

    Without --scope and --role, the key has the scope cores:read.
    """
    request = _request(settings)
    if ttl:
        request["ttl_s"] = seconds("--ttl", ttl)
    if link:
        request["delivery"] = "link"
    created = client.create_key(request)

    def show() -> None:
        action = "Send the link to the user of the key" if link else "Store the token now"
        note(f"Created key {created.key.id} ({created.key.name}). {action}; it is not shown again:")
        print(created.link if link else created.token)

    return created, show


def list_(
    client: ConsoleClient,
    search: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help=f"Only keys {SEARCH}. Of a whole token, only the key ID is sent.",
        ),
    ] = "",
    owner: Annotated[str, typer.Option(help="Only keys of this owner.")] = "",
    state: Annotated[StateFilter | None, typer.Option(help="Only keys in this state.")] = None,
    tag: Annotated[str, typer.Option(help="Only keys with this tag.")] = "",
    family: Annotated[
        str,
        typer.Option(metavar="ID", help="Only keys in this key family: a key and its rotations."),
    ] = "",
    expires_within: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Only active keys that expire within this duration."),
    ] = "",
    unused_for: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="Only active keys that were neither created nor used within this duration.",
        ),
    ] = "",
    sort: Annotated[
        KeySort, typer.Option(help="Order of the keys. `-` reverses the order.")
    ] = "id",
) -> Output:
    """List keys."""
    keys = list(
        client.keys(
            search=_without_secret(search) or None,
            owner=owner or None,
            state=state,
            tag=tag or None,
            family_id=family or None,
            expires_within_s=seconds("--expires-within", expires_within)
            if expires_within
            else None,
            unused_for_s=seconds("--unused-for", unused_for) if unused_for else None,
            sort=sort,
        )
    )
    rows = [[_text(name, getattr(key, name)) for name in _COLUMNS] for key in keys]

    def show() -> None:
        print_table([_label(name) for name in _COLUMNS], rows)
        note(count(len(rows), "key"))

    return keys, show


def _without_secret(search: str) -> str:
    """The key ID of a token, or the text if it is not a token."""
    match = next(token_scanner.find(search.encode()), None)
    return search if match is None or match.key_id is None else match.key_id


def show(client: ConsoleClient, id: KeyIdArgument) -> Output:
    """Show a key."""
    key = client.key(key_id(id))
    return key, lambda: print_table(("", ""), list(_properties(key).items()))


def update(
    client: ConsoleClient,
    id: KeyIdArgument,
    empty: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIST", help="Empty a list, such as cores, methods or addresses. Repeatable."
        ),
    ] = None,
    allow_last_admin: LastAdminOption = False,
    **settings: Any,
) -> Output:
    """Change a key. A list replaces the current list. Omitted settings stay unchanged.

    Fails if the key is changed concurrently.
    """
    request = {**_request(settings), **{name: [] for name in empty or ()}}
    if not request:
        stop("nothing to change: use at least one option, such as --owner", code=USAGE)
    if allow_last_admin:
        request["allow_last_admin"] = True
    version = client.key(key_id(id)).version
    return _change("Updated", client.update_key(id, request, version=version))


def revoke(client: ConsoleClient, id: KeyIdArgument, reason: ReasonOption = "") -> Output:
    """Revoke a key permanently. Returns when every gateway denies the key, or when the propagation
    bound is reached.
    """
    revoked = client.revoke_key(key_id(id), reason)
    key = revoked.key
    return revoked, lambda: print(
        f"Revoked {key.id} ({key.name}) at {key.revoked_at}. {_propagation(revoked.effective)}"
    )


def rotate(
    client: ConsoleClient,
    id: KeyIdArgument,
    grace: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="Grace period of the old key. Ends early if the old key expires.",
        ),
    ] = "1d",
    ttl: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="Lifetime of the new key. Default: the lifetime of the old key.",
        ),
    ] = "",
    reason: ReasonOption = "",
    allow_last_admin: LastAdminOption = False,
    link: LinkOption = False,
) -> Output:
    """Replace the token of a key and print the new token, which is shown only once. The old token
    works until the grace period ends."""
    request: dict[str, Any] = {
        "grace_s": seconds("--grace", grace),
        "reason": reason,
        "allow_last_admin": allow_last_admin,
    }
    if ttl:
        request["ttl_s"] = seconds("--ttl", ttl)
    if link:
        request["delivery"] = "link"
    rotated = client.rotate_key(key_id(id), request)
    key, previous = rotated.key, rotated.previous

    def show() -> None:
        note(
            f"Created key {key.id}, generation {key.generation}. {previous.id} works until "
            f"{previous.expires_at}."
        )
        note(
            f"{'Send the link to the user of the key' if link else 'Store the new token now'}; "
            f"it is not shown again:"
        )
        print(rotated.link if link else rotated.token)

    return rotated, show


def purge(
    client: ConsoleClient,
    id: KeyIdArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm. A purge cannot be undone.")] = False,
    reason: ReasonOption = "",
) -> Output:
    """Erase all data of a deleted or revoked key, except for its ID. A purge cannot be undone."""
    key_id(id)
    if not yes:
        stop(f"a purge cannot be undone: add --yes to purge {id}", code=USAGE)
    purged = client.purge_key(id, reason)
    counters = (
        "The rate limit counters were removed."
        if purged.counters_removed
        else "The rate limit counters expire."
    )
    return purged, lambda: print(
        f"Purged {purged.id} at {purged.purged_at}. {counters} {_propagation(purged.effective)}"
    )


def explain(
    client: ConsoleClient,
    id: KeyIdArgument,
    scope: Annotated[
        list[str] | None, typer.Option(help="Scope that the request requires. Repeatable.")
    ] = None,
    core: Annotated[str, typer.Option(help="Core to which the request is sent.")] = "",
    address: Annotated[str, typer.Option(help="IP address of the client.")] = "",
    method: Annotated[str, typer.Option(help="HTTP method of the request.")] = "",
) -> Output:
    """Show the decision that the gateway would make on a request with a key, check by check.

    Does not count against rate limits or consume credits.
    """
    request = {
        name: value
        for name, value in (("core", core), ("address", address), ("method", method))
        if value
    }
    explanation = client.explain_key(
        key_id(id), {**request, **({"scopes": scope} if scope else {})}
    )
    rows = [
        (
            check.name,
            check.outcome,
            check.actual,
            check.required,
            check.code if check.outcome == "fail" else "",
        )
        for check in explanation.checks
    ]

    def show() -> None:
        print_table(("check", "outcome", "key", "request", "code"), rows)
        print(explanation.code)

    return explanation, show


def set_signing(
    client: ConsoleClient,
    id: KeyIdArgument,
    public_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Ed25519 public key (PEM). Default: an HMAC secret is generated and shown.",
        ),
    ] = None,
    optional: Annotated[
        bool,
        typer.Option(
            "--optional",
            help=(
                "Accept requests without a signature. Requests with an invalid signature are "
                "always denied."
            ),
        ),
    ] = False,
) -> Output:
    """Require signed requests (RFC 9421) for a key. A generated signing secret is printed only
    once.
    """
    request: dict[str, Any] = {"algorithm": "hmac-sha256", "required": not optional}
    if public_key is not None:
        try:
            request |= {"algorithm": "ed25519", "public_key": public_key.read_text()}
        except (OSError, UnicodeDecodeError) as exc:
            stop(
                f"--public-key {public_key} cannot be read ({type(exc).__name__}): use a PEM file",
                code=USAGE,
            )
    changed = client.set_signing(key_id(id), request)
    key = changed.key

    def show() -> None:
        if changed.secret is None:
            print(
                f"Signatures of {key.id} ({key.name}) are verified with the public key. "
                f"{_propagation(changed.effective)}"
            )
            return
        note(f"Signing secret of {key.id} ({key.name}). Store it now; it is not shown again:")
        print(changed.secret)

    return changed, show


def remove_signing(client: ConsoleClient, id: KeyIdArgument) -> Output:
    """Remove the signing key of a key. First run `gatehouse keys update ID
    --no-require-signature`.
    """
    return _change("Removed the signing key of", client.remove_signing(key_id(id)))


def _action(name: str, done: str, *, protects_last_admin: bool) -> Callable[..., Output]:
    """Returns a command that has only the common options. protects_last_admin: an action on the
    last key that can manage keys requires --allow-last-admin."""

    def plain(client: ConsoleClient, id: KeyIdArgument, reason: ReasonOption = "") -> Output:
        return _change(done, client.act(key_id(id), name, {"reason": reason}))

    def protected(
        client: ConsoleClient,
        id: KeyIdArgument,
        reason: ReasonOption = "",
        allow_last_admin: LastAdminOption = False,
    ) -> Output:
        request = {"reason": reason, "allow_last_admin": allow_last_admin}
        key = key_id(id)
        return _change(
            done,
            client.delete_key(key, request) if name == "delete" else client.act(key, name, request),
        )

    return protected if protects_last_admin else plain


def _change(done: str, changed: ChangedKey) -> Output:
    text = (
        f"{done} {changed.key.id} ({changed.key.name}), state {changed.key.state}. "
        f"{_propagation(changed.effective)}"
    )
    return changed, lambda: print(text)


def _propagation(effective: str) -> str:
    return "In effect at every gateway" + (
        "." if effective == "everywhere" else " within the propagation bound."
    )


def _request(settings: dict[str, Any]) -> dict[str, Any]:
    """Request fields for the options that are set."""
    parsers: dict[str, Callable[[Any], Any]] = {
        "limits": lambda texts: [rate_limit(text) for text in texts],
        "credits": lambda text: None if text == "none" else credits_plan(text),
        "expires_at": lambda text: None if text == "never" else text,
        "metadata": lambda pairs: dict(_pair(pair) for pair in pairs),
    }
    return {
        name: parsers.get(name, lambda value: value)(value)
        for name, value in settings.items()
        if value not in (None, [])
    }


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        stop("--metadata must be NAME=VALUE, such as ticket=OPS-1234", code=USAGE)
    return name, value


def _properties(key: KeyView) -> dict[str, str]:
    texts = {name: _text(name, getattr(key, name)) for name in key.__struct_fields__}
    return {_label(name): text for name, text in texts.items() if text}


def _label(name: str) -> str:
    return name.removesuffix("_at").replace("_", " ")


def _text(name: str, value: object) -> str:
    """The value of a field of a key, for people."""
    match value:
        case RateLimit():
            return f"{value.name} {value.quota}/{value.window_s}s, burst {value.burst}"
        case Credits():
            return str(value.remaining)
        case SigningView():
            return f"{value.algorithm}, {'required' if value.required else 'optional'}"
        case dict():
            return ", ".join(f"{name}={item}" for name, item in value.items())
        case list():
            return " ".join(_text("", item) for item in value) or (
                "all" if name in _ALL_IF_EMPTY else ""
            )
        case None:
            return "never" if name == "expires_at" else ""
        case _:
            return str(value)
