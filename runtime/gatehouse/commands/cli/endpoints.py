"""Derives a command from one operation: arguments from the path, options from the shape of the
query or the body, and the output from the shape of the response. The command imports no endpoint,
whose services would take longer to import than the command to run.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from urllib.parse import quote, urlencode

import msgspec
import typer
from gatehouse_client import ConsoleClient

from gatehouse.commands.cli.actions import DryRunOption, IdArgument, Items, YesOption
from gatehouse.commands.cli.common.lists import LIMIT, AllOption, LimitOption, Listing
from gatehouse.commands.cli.common.options import FILTER, Output, console_command
from gatehouse.commands.cli.common.output import (
    Column,
    note,
    print_fields,
    print_items,
    print_sentence,
    print_text,
    reject,
)
from gatehouse.commands.cli.common.shapes import Form, parameters, request
from gatehouse.core.notation import count
from gatehouse.core.tokens.token_scanner import redacted

_PAGE = ("cursor", "limit", "total")
_LIMITS = [
    Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name, default, annotation in (("limit", LIMIT, LimitOption), ("all", False, AllOption))
]
#: States of the items that an update can change.
_CHANGEABLE = ("active", "disabled")
#: Help of the arguments that are no IDs.
_ARGUMENTS = {
    "name": "Name of the Core.",
    "plan": "Name of the plan.",
    "limit_name": "Name of the limit.",
    "feature": "Name of the feature.",
    "destination": "ID of the webhook, `topic` or `email`.",
}
_EMPTY = Parameter(
    "empty",
    Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        list[str] | None,
        typer.Option(metavar="LIST", help="Empty a list, such as tags. Repeatable."),
    ],
)


def identifier(text: str) -> str:
    """Returns an ID or a name. Exits with a usage error for text that can be a token."""
    if not re.fullmatch(r"[\w.:@-]{1,64}", text, re.ASCII) or redacted(text) != text:
        reject("an argument must be an ID or a name, not a token")
    return text


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command for one operation.

    operation: method and path, such as `GET /v1/webhooks`.
    shape: of the query or the body. response: None: there is no content.
    help: the first sentence of the help. example: arguments and options in the help.
    columns: of a list; by default, all fields of its items.
    done: text for the response, with its fields and the arguments in braces, or a function of them.
    once: field of the response that is printed alone, because it is shown only once.
    forms: options whose values have another form than their fields.
    query: a request that changes something has a query instead of a body.
    version: field of the response to GET with the version that the request changes.
    resolve: the ID for an argument that can also be a name. Exits with a usage error for text that
        can be a token, because the argument is part of the URL.
    items: an update changes one of them, or all that filters select.
    """

    name: str
    operation: str
    shape: Any = None
    response: Any = NoneType
    help: str
    example: str = ""
    columns: tuple[Column, ...] = ()
    done: str | Callable[[Any], str] = ""
    once: str = ""
    forms: dict[str, Form] | None = None
    version: str = ""
    query: bool = False
    resolve: Callable[[ConsoleClient, str], str] | None = None
    items: Items | None = None


def register(app: typer.Typer, *commands: Command) -> None:
    """Adds the commands to a group."""
    for command in commands:
        names = re.findall(r"{(\w+)}", command.operation)
        arguments = [_argument(name, command) for name in names]
        omitted = _PAGE if _is_paged(command) else ()
        shape, forms = command.shape, command.forms
        options = parameters(shape, *omitted, forms=forms) if shape else []
        words = filter(None, (str(app.info.name), command.name, command.example))
        help = f"{command.help}\n\nExample: gatehouse {' '.join(words)}"
        act = _act_on_all(command, command.items) if command.items else _act(command, names)
        empty = [_EMPTY] if _is_update(command) else []
        limits = _LIMITS if _is_paged(command) else []
        options = [*arguments, *options, *empty, *limits]
        if items := command.items:
            argument = Parameter(
                names[0], Parameter.KEYWORD_ONLY, annotation=IdArgument, default=""
            )
            filters = parameters(items.filters, prefix=FILTER)
            options = [argument, *options[1:], *filters]
        console_command(app, act, command.name, help=help, options=options, once=bool(command.once))


def _argument(name: str, command: Command) -> Parameter:
    id = "ID or name" if command.resolve else "ID"
    argument = typer.Argument(
        metavar=name.upper(), help=_ARGUMENTS.get(name, f"{id} of the {name}.")
    )
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[str, argument])


def _act_on_all(command: Command, items: Items) -> Callable[..., Output]:
    """Changes one item, or all that filters select."""

    def act(
        client: ConsoleClient,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        **settings: Any,
    ) -> Output:
        named = {name: settings.pop(name) for name in [*settings] if name.startswith(FILTER)}
        filters = {name.removeprefix(FILTER): value for name, value in request(named).items()}
        if settings[items.noun] and not filters and not dry_run:
            return one(client, **settings)
        id = settings.pop(items.noun)
        fields = _fields_of(command, settings)
        if "add" in (fields.get("credits") or {}) and not id:
            reject(
                "--credits cannot add or deduct with filters, because a repeated command would do "
                "so again: use the new number"
            )
        selected = items.select(client, id, filters, _CHANGEABLE)
        if dry_run:
            return selected, lambda: items.show(selected)
        items.confirm(selected, yes)
        changed = list[Any]()
        for item in selected:  # each line says what was done, even if a later change fails
            path = f"{items.path}/{quote(item.id, '')}"
            value = _changed(client, command, "PATCH", path, fields)
            note(_done(command, _fields(value)))
            changed.append(getattr(value, items.noun))
        return changed, lambda: note(count(len(selected), items.noun))

    one = _act(command, [items.noun])
    return act


def _is_update(command: Command) -> bool:
    return command.operation.startswith("PATCH ")


def _is_paged(command: Command) -> bool:
    return "cursor" in getattr(command.shape, "__struct_fields__", ())


def _act(command: Command, names: list[str]) -> Callable[..., Output]:
    method, _, template = command.operation.partition(" ")

    def act(client: ConsoleClient, **settings: Any) -> Output:
        limit, everything = LIMIT, False
        if _is_paged(command):
            limit, everything = settings.pop("limit"), settings.pop("all")
        resolve = command.resolve or (lambda _, text: identifier(text))
        texts = {name: resolve(client, settings.pop(name)) for name in names}
        path = template.format_map({name: quote(text, "") for name, text in texts.items()})
        fields = _fields_of(command, settings)
        if _is_paged(command):
            limit = 0 if everything else limit
            counted = "total" in command.shape.__struct_fields__
            item, noun = _item(command.response), _noun(path.rpartition("/")[2])
            items = Listing(client, item, path, fields, noun=noun, limit=limit, counted=counted)
            return items, lambda: _show_page(items, item, command)
        if method == "GET":
            value = client.get(command.response, path, **fields)
        else:
            value = _changed(client, command, method, path, fields)
        shown = {**texts, **settings, **_fields(value)}
        return value if value is not None else shown, lambda: _show(value, command, shown)

    return act


def _fields_of(command: Command, settings: dict[str, Any]) -> dict[str, Any]:
    """The query or body for the options."""
    emptied: dict[str, Any] = {name: [] for name in settings.pop("empty", None) or ()}
    update = command.shape if _is_update(command) else None
    fields = {**request(settings, command.forms, update), **emptied}
    if command.version and not fields:
        reject("nothing to change: use at least one option")
    return fields


def _changed(
    client: ConsoleClient, command: Command, method: str, path: str, fields: dict[str, Any]
) -> Any:
    version = None
    if command.version:
        version = client.get(dict[str, Any], path)[command.version]
    if command.query:
        query = {name: "true" if value is True else value for name, value in fields.items()}
        path, body = f"{path}?{urlencode(query)}" if query else path, None
    else:
        body = fields if command.shape else None
    return client.call(command.response, method, path, body, version=version)


def _item(page: Any) -> Any:
    """The type of the items of a list."""
    return next(
        get_args(hint)[0] for hint in get_type_hints(page).values() if get_origin(hint) is list
    )


def _fields(value: Any) -> dict[str, Any]:
    fields = getattr(value, "__struct_fields__", ())
    return {name: getattr(value, name) for name in fields}


def _done(command: Command, shown: dict[str, Any]) -> str:
    done = command.done
    return done.format_map(shown) if isinstance(done, str) else done(shown)


def _show(value: Any, command: Command, shown: dict[str, Any]) -> None:
    fields = _fields(value)
    if text := _done(command, shown):
        note(text) if command.once else print_sentence(text)
    elif "id" not in fields and (lists := {n: v for n, v in fields.items() if type(v) is list}):
        [(noun, items), *_] = lists.items()
        _show_items(items, command, noun)
        if not command.columns:
            note(", ".join(f"{name}: {fields[name]}" for name in fields if name not in lists))
    else:
        nested = [name for name, each in fields.items() if isinstance(each, msgspec.Struct)]
        for each in (value, *(fields[name] for name in nested)):
            print_fields(each, *nested)
    if command.once:
        print_text(shown[command.once])


def _show_items(items: list[Any], command: Command, noun: str) -> None:
    columns = command.columns or tuple(_fields(next(iter(items), None)))
    if columns:
        print_items(items, *columns)
    note(count(len(items), _noun(noun)))


def _show_page(items: Listing, item: Any, command: Command) -> None:
    print_items(items, *(command.columns or item.__struct_fields__))
    items.note_end()


def _noun(plural: str) -> str:
    return f"{plural[:-3]}y" if plural.endswith("ies") else plural.removesuffix("s")
