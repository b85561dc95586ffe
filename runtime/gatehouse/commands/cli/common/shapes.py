"""Derives the options of commands from the shapes of requests and queries."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from inspect import Parameter
from typing import Annotated, Any, Literal

import msgspec
import typer
from msgspec import inspect

from gatehouse.commands.cli.common.options import FILTER, instant, seconds
from gatehouse.commands.cli.common.output import reject
from gatehouse.core.clock import rfc3339
from gatehouse.platform.web.validation import parts

_LAST = Parameter(
    "last",
    Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Time range before `--until`, instead of `--since`, such as 90m, 24h or 7d.",
        ),
    ],
)


@dataclass(frozen=True)
class Form:
    """An option whose value has another form than its field. `option`: its annotation."""

    option: Any
    parse: Callable[[Any], Any]


def parameters(
    shape: type[msgspec.Struct],
    *omitted: str,
    forms: Mapping[str, Form] | None = None,
    prefix: str = "",
) -> list[Parameter]:
    """An option for each field of a shape, except for the omitted fields. The option for a list is
    in the singular, `_s` becomes a duration, and `_id` is left out. prefix: of each option.
    """
    fields = inspect.type_info(shape).fields  # type: ignore[attr-defined]  # a struct has fields
    fields = [msgspec.structs.replace(each, name=prefix + each.name) for each in fields]
    options = {f"`{field.name}`": f"`{_flag(field.name)}`" for field in fields}
    found = [
        _parameter(field, forms or {}, options) for field in fields if field.name not in omitted
    ]
    return [*found, _LAST] if any(each.name == "since" for each in found) else found


def request(
    options: Mapping[str, Any],
    forms: Mapping[str, Form] | None = None,
    update: type[msgspec.Struct] | None = None,
    *,
    last: str = "",
) -> dict[str, Any]:
    """The fields of a request or query, for the options that are set. In an update, an empty text
    is null for a field that can be null. last: time range without --since and --last.
    """
    nullable = _nullable(update) if update else ()
    options = dict(options)
    typed = options.pop("last", None)
    fields: dict[str, Any] = {
        name: None
        if name in nullable and value in ("", [""])
        else _parsed(name, value, forms or {})
        for name, value in options.items()
        if value not in (None, [])
    }
    if typed and "since" in fields:
        reject("--since and --last are mutually exclusive")
    if (typed or last) and "since" not in fields:
        until = fields.setdefault("until", rfc3339(time.time()))
        start = datetime.fromisoformat(until).timestamp() - seconds("--last", typed or last)
        fields["since"] = rfc3339(max(0.0, start))
    return fields


def _nullable(update: type[msgspec.Struct]) -> set[str]:
    fields = inspect.type_info(update).fields  # type: ignore[attr-defined]  # a struct has fields
    return {field.name for field in fields if isinstance(_union(field.type), inspect.UnionType)}


def _union(info: inspect.Type) -> inspect.Type:
    return _union(info.type) if isinstance(info, inspect.Metadata) else info


def _parsed(name: str, value: Any, forms: Mapping[str, Form]) -> Any:
    if name in forms:
        return forms[name].parse(value)
    return seconds(_flag(name), value) if name.endswith("_s") else value


def _parameter(
    field: inspect.Field, forms: Mapping[str, Form], options: Mapping[str, str]
) -> Parameter:
    """`options`: names of fields in descriptions, and the options that replace them."""
    kind, text = _kind(field.type)
    name, help = _flag(field.name), text.replace(", in seconds", "").replace(" in seconds", "")
    # In an update, an omitted option changes nothing, and an empty text is null.
    is_unset = not field.required and field.default is field.default_factory
    help = help.replace("Null:", "Empty:" if is_unset else "Default:")
    metavar = name[2:].removeprefix(_flag(FILTER)[2:]).replace("-", "_").upper()
    for member, option in options.items():
        help = help.replace(member, option)
    value: Any
    match kind:
        case _ if _is_time(field.type) and field.name not in forms:
            parser = partial(instant, name)
            help = help.replace(" RFC 3339 timestamp", " time").replace(
                ", as an time", ", such as 10:00 or 2026-11-30"
            )
            declared = typer.Option(name, metavar="TIME", parser=parser, help=help)
            value = Annotated[str | None, declared]
        case _ if field.name in forms:
            value = forms[field.name].option
        case inspect.ListType() | inspect.VarTupleType():
            name = name[: -2 if name.endswith("sses") else -1]
            value = Annotated[list[str] | None, typer.Option(name, help=f"{help} Repeatable.")]
        case inspect.LiteralType(values=values):
            value = Annotated[Literal[values] | None, typer.Option(name, help=help)]
        case inspect.BoolType():
            names = [name] if field.default is False else []
            value = Annotated[bool | None, typer.Option(*names, help=help)]
        case inspect.IntType() if field.name.endswith("_s"):
            value = Annotated[str | None, typer.Option(name, metavar="DURATION", help=help)]
        case inspect.IntType():
            value = Annotated[int | None, typer.Option(name, help=help)]
        case _:
            text_type = str if field.required else str | None
            value = Annotated[text_type, typer.Option(name, metavar=metavar, help=help)]
    return Parameter(
        field.name,
        Parameter.KEYWORD_ONLY,
        annotation=value,
        default=Parameter.empty if field.required else None,
    )


def _is_time(info: inspect.Type) -> bool:
    return any(
        (part.extra_json_schema or {}).get("format") == "date-time"
        for part in parts(info)
        if isinstance(part, inspect.Metadata)
    )


def _flag(name: str) -> str:
    return "--" + name.removesuffix("_s").removesuffix("_id").replace("_", "-")


def _kind(info: inspect.Type) -> tuple[inspect.Type, str]:
    """The type of a field without annotations and null, and its description."""
    if isinstance(info, inspect.Metadata):
        kind, description = _kind(info.type)
        return kind, str((info.extra_json_schema or {}).get("description", "")) or description
    return _kind(info.types[0]) if isinstance(info, inspect.UnionType) else (info, "")
