"""The resources of `gatehouse-pulumi`, from the OpenAPI document of the console: the arguments for
Python programs and the schema for the Pulumi engine, in clients/pulumi/gatehouse_pulumi.
"""

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from gatehouse.core.roles import Role
from gatehouse.services.console.routes import document

from tools.types.client_types import WIDTH, Schema

_INTEGER, _TEXT = {"type": "integer"}, {"type": "string"}
_LABELS = ("tags", "metadata", "notes", "contact")
_ISSUED = ("destination", "rotate_after_s", "grace_s")
_RESTRICTED = ("addresses", "limits", "environment", "expires_at", "ttl_s", *_LABELS, *_ISSUED)
#: The arguments that the API does not have.
OWN: dict[str, Schema] = {
    "destination": {
        "$ref": "#/components/schemas/Destination",
        "description": "Where the token is written. It is neither in the state nor in an output.",
    },
    "rotate_after_s": {
        **_INTEGER,
        "description": "Age of the token in seconds after which the next `pulumi up` rotates it. "
        "Default: no rotation.",
    },
    "grace_s": {
        **_INTEGER,
        "description": "Time in seconds in which the previous token works after a rotation or a "
        "replacement. Default: 86400.",
    },
    "customer_id": {**_TEXT, "description": "ID of the customer. A change replaces it."},
    "customer": {"description": "ID of the customer to which the key belongs. Null: none."},
    "role": {"type": "string", "enum": [role.value for role in Role], "description": "The role."},
    "core": {"description": "Name of the Core, which the gateway serves at `/cores/<name>/`."},
}
_DESTINATION = {
    "description": "One of `file`, `secret` and `parameter`.",
    "properties": {
        "file": {**_TEXT, "description": "Path of a file, which only its owner can read."},
        "secret": {
            **_TEXT,
            "description": "ARN or name of a secret in AWS Secrets Manager, which must exist. The "
            "token becomes its current version.",
        },
        "parameter": {
            **_TEXT,
            "description": "Name of a SecureString in AWS Systems Manager Parameter Store, which "
            "is created if it does not exist.",
        },
        "region": {**_TEXT, "description": "AWS Region. Default: that of the ARN, or AWS_REGION."},
    },
}
_VERSION = {**_INTEGER, "description": "Version for `If-Match`."}
_DEPLOYMENT = {**_TEXT, "description": "Environment of the deployment, such as `prod`."}
_STATE = {**_TEXT, "description": "`active` or `disabled`."}
_WRITTEN = {
    "destination_version": {
        **_TEXT,
        "description": "Version of the secret or the parameter. Empty for a file.",
    },
    "written_id": {**_TEXT, "description": "The key whose token the destination contains."},
    "pending": {
        "type": "string",
        "description": "Operation whose token is not written yet. The next `pulumi up` writes it.",
    },
}
_OF_KEY = {
    "key_id": {**_TEXT, "description": "ID of the key. A rotation changes it."},
    "state": _STATE,
    "issued_at": {**_TEXT, "description": "Time at which the token was created."},
    **_WRITTEN,
}
_OF_WEBHOOK = {
    "issued_at": {**_TEXT, "description": "Time at which the secret was created."},
    "destination_version": _WRITTEN["destination_version"],
    "written_id": {**_TEXT, "description": "The webhook whose secret the destination has."},
    "pending": _WRITTEN["pending"],
}


@dataclass(frozen=True)
class Resource:
    """create, update: the schemas of the requests. fields: the arguments, or None for those of
    `create`. replaces: those whose change replaces the object. secret: those that may contain one.
    """

    description: str
    create: str
    update: str
    outputs: dict[str, Schema]
    fields: tuple[str, ...] | None = None
    own: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    required: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()


_CONSTRUCTOR = """
    def __init__(
        self,
        resource_name: str,
        opts: ResourceOptions | None = None,
        **arguments: Unpack[{}Args],
    ) -> None:
        self._internal_init(resource_name, opts, arguments)"""
#: Longer enumerations are text.
_LITERALS_MAX = 6
_NOT_KEPT = ("create_customer", "delivery")
RESOURCES = {
    "Plan": Resource(
        "A plan: limits, credits, scopes and lifetime that customers and keys follow. Imp"
        "ort: by name.",
        *("CreatePlan", "UpdatePlan"),
        {},
        replaces=("name",),
    ),
    "Customer": Resource(
        "A customer, to which keys belong. Deletion ends its keys; it can be restored unt"
        "il it is purged. Import: by `customer_id`.",
        *("CreateCustomer", "UpdateCustomer"),
        {"state": _STATE},
        renamed=(("id", "customer_id"),),
        replaces=("customer_id",),
    ),
    "Limit": Resource(
        "A rate limit for subjects that callers name. Import: by name.",
        *("CreateLimit", "UpdateLimit"),
        {},
        replaces=("name",),
    ),
    "Key": Resource(
        "An API key. Its token is written to the destination and appears nowhere else. Deletion "
        "revokes the key; `ResourceOptions(retain_on_delete=True)` keeps it. Import: by ID, or by "
        "the name of the only active key with this name.",
        *("CreateKey", "UpdateKey"),
        _OF_KEY,
        own=_ISSUED,
        required=("destination",),
        replaces=("environment",),
    ),
    "RoleKey": Resource(
        "A key for the console, with one role. Deletion and import: as `Key`.",
        *("CreateKey", "UpdateKey"),
        _OF_KEY,
        fields=("name", *_RESTRICTED),
        own=("role", *_ISSUED),
        required=("role", "destination"),
        replaces=("environment",),
    ),
    "Core": Resource(
        "The key with which an agent or a service registers one Core. The Core appears "
        "when it registers. Deletion revokes the key and drains the instances of the Core. Import: "
        "by the ID of the key, or by the name of the Core.",
        *("CreateKey", "UpdateKey"),
        _OF_KEY,
        fields=("name", *_RESTRICTED),
        own=_ISSUED,
        required=("destination",),
        replaces=("name", "environment"),
    ),
    "Webhook": Resource(
        "A webhook. The secret of its signatures is written to the destination. Import: by ID, or "
        "by the origin of the URL.",
        *("CreateWebhook", "UpdateWebhook"),
        _OF_WEBHOOK,
        own=_ISSUED,
        required=("destination",),
        secret=("url",),
    ),
}
#: Types of nested arguments, with the schemas from which they come.
_NESTED = {
    "RateLimitInput": "RateLimitArgs",
    "Refill": "RefillArgs",
    "Credits": "CreditsArgs",
    "Destination": "DestinationArgs",
}


def resources() -> str:
    """The module with the resources and their arguments."""
    lines = [
        '"""Resources for Pulumi programs. Generated by `make docs`. Do not edit."""',
        "",
        "from typing import Any, Literal, NotRequired, TypedDict, Unpack",
        "",
        "from pulumi import Input, Output, ResourceOptions",
        "",
        "from gatehouse_pulumi.resource import Resource",
    ]
    for name, schema in _nested().items():
        lines += ["", "", f"class {name}(TypedDict):"]
        lines += _class(_text(schema), schema["properties"], schema.get("required", ()), _type)
    for name, resource in RESOURCES.items():
        lines += ["", "", f"class {name}Args(TypedDict):"]
        lines += _class(f"Arguments of `{name}`.", _inputs(name), _required(resource), _input)
    for name, resource in RESOURCES.items():
        lines += ["", "", f"class {name}(Resource):", *_docstring(resource.description), ""]
        properties = {**_inputs(name), **_outputs(name)}
        always = {*_required(resource), *_outputs(name)}
        for field, schema in properties.items():
            optional = "" if field in always else " | None"
            # The SDK compares the classes of values.
            kind = re.sub(rf"\b({'|'.join(_NESTED.values())})\b", "dict[str, Any]", _type(schema))
            kind = re.sub(r"Literal\[[^]]*\]", "str", kind)
            lines.append(f"    {field}: Output[{kind}{optional}]")
        lines += _CONSTRUCTOR.format(name).splitlines()
    command = [sys.executable, "-m", "ruff", "format", "-"]
    text = "\n".join([*lines, ""])
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def data() -> str:
    """The data of the provider. `schema`: of the package
    (https://www.pulumi.com/docs/iac/extending-pulumi/schema/). `changeable`: the arguments that an
    update of the API can change, with the values of omitted arguments. `values`: the possible
    values of arguments, because the package schema has no enumerations in place.
    """
    resources = {
        f"gatehouse:index:{name}": {
            "description": resource.description,
            "inputProperties": {
                field: _property(value)
                | ({"replaceOnChanges": True} if field in resource.replaces else {})
                | ({"secret": True} if field in resource.secret else {})
                for field, value in _inputs(name).items()
            },
            "requiredInputs": list(_required(resource)),
            "properties": {
                field: _property(value) | ({"secret": True} if field in resource.secret else {})
                for field, value in {**_inputs(name), **_outputs(name)}.items()
            },
            "required": [*_required(resource), *_outputs(name)],
        }
        for name, resource in RESOURCES.items()
    }
    types = {
        f"gatehouse:index:{name}": {
            "type": "object",
            "description": _text(nested),
            "properties": {
                field: _property(value) for field, value in nested["properties"].items()
            },
            "required": list(nested.get("required", ())),
        }
        for name, nested in _nested().items()
    }
    language = {"python": {"packageName": "gatehouse_pulumi"}}
    package = {"name": "gatehouse", "language": language, "types": types, "resources": resources}
    found = {"schema": package, "changeable": _changeable(), "values": _values()}
    return json.dumps(found, indent=1) + "\n"


@cache
def _schemas() -> dict[str, Schema]:
    return {**document()["components"]["schemas"], "Destination": _DESTINATION}


def _nested() -> dict[str, Schema]:
    return {name: _schemas()[schema] for schema, name in _NESTED.items()}


def _inputs(name: str) -> dict[str, Schema]:
    resource, renamed = RESOURCES[name], dict(RESOURCES[name].renamed)
    fields = dict(_schemas()[resource.create]["properties"])
    chosen = resource.fields or [field for field in fields if field not in _NOT_KEPT]
    found = {renamed.get(field, field): fields[field] for field in chosen if field in fields}
    found |= {field: OWN[field] for field in (*renamed.values(), *resource.own)}
    if name == "Core":
        found["name"] = {**found["name"], **OWN["core"]}
    if name == "Key":  # a name or a tag would differ from the ID at each refresh
        found["customer_id"] = {**found["customer_id"], **OWN["customer"]}
    required = _required(resource)
    return dict(sorted(found.items(), key=lambda item: item[0] not in required))


def _required(resource: Resource) -> tuple[str, ...]:
    renamed = dict(resource.renamed)
    required = _schemas()[resource.create]["required"]
    return (*(renamed.get(field, field) for field in required), *resource.required)


def _outputs(name: str) -> dict[str, Schema]:
    return {**RESOURCES[name].outputs, "version": _VERSION, "deployment": _DEPLOYMENT}


def _changeable() -> dict[str, dict[str, Any]]:
    schemas = _schemas()
    return {
        name: {
            field: value.get("default")
            for field, value in _inputs(name).items()
            if field in schemas[resource.update]["properties"]
            and not (name == "Core" and field == "name")
        }
        for name, resource in RESOURCES.items()
    }


def _values() -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for name in RESOURCES:
        values = found.setdefault(f"gatehouse:index:{name}", {})
        for field, schema in _inputs(name).items():
            schema = _resolved(schema.get("items", schema))
            if "enum" in schema:
                values[field] = schema["enum"]
    return found


def _resolved(schema: Schema) -> Schema:
    schema = _options(schema)
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return _schemas()[name] if name else schema


def _options(schema: Schema) -> Schema:
    """The schema without null: an omitted argument has the same effect."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return {**options[0], "description": _text(schema)} if options else schema


def _type(schema: Schema) -> str:
    schema = _options(schema)
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _NESTED[name] if name in _NESTED else _type(_schemas()[name])
    if len(schema.get("enum", "")) > _LITERALS_MAX:
        return "str"
    if "enum" in schema:
        return f"Literal[{', '.join(json.dumps(value) for value in schema['enum'])}]"
    if schema["type"] == "array":
        return f"list[{_type(schema['items'])}]"
    if schema["type"] == "object":
        return f"dict[str, {_type(schema['additionalProperties'])}]"
    return {"string": "str", "integer": "int", "boolean": "bool"}[schema["type"]]


def _input(schema: Schema) -> str:
    return f"Input[{_type(schema)}]"


def _property(schema: Schema) -> Schema:
    schema = _options(schema)
    text = {"description": _text(schema)} if _text(schema) else {}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in _NESTED:
            return _property(_schemas()[name]) | text
        return {"$ref": f"#/types/gatehouse:index:{_NESTED[name]}"} | text
    if schema.get("type") == "array":
        return {"type": "array", "items": _property(schema["items"])} | text
    if schema.get("type") == "object":
        values = _property(schema["additionalProperties"])
        return {"type": "object", "additionalProperties": values} | text
    return {"type": schema["type"]} | text


def _class(
    text: str, fields: dict[str, Schema], required: Any, kind: Callable[[Schema], str]
) -> Iterator[str]:
    yield from _docstring(text)
    for field, schema in fields.items():
        annotation = kind(schema) if field in required else f"NotRequired[{kind(schema)}]"
        yield ""
        yield f"    {field}: {annotation}"
        yield from _docstring(_text(schema))


def _text(schema: Schema) -> str:
    text = " ".join(str(schema.get("description", "")).split())
    return text.replace("Null:", "Default:")


def _docstring(text: str) -> list[str]:
    if not text:
        return []
    if len(text) + 10 <= WIDTH:
        return [f'    """{text}"""']
    wrapped = textwrap.wrap(f'"""{text}', WIDTH - 7)
    return [*(f"    {line}" for line in wrapped), '    """']
