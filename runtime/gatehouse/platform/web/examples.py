"""Examples of request and response shapes, for the OpenAPI documents.

The attribute `example` of a shape contains the values that do not follow from the types of its
fields and their names.
"""

from typing import Any

import msgspec
from msgspec import inspect

from gatehouse.platform.web.fields import REQUEST_ID

_KEY = "3fGh82kLmQ0a"
#: Values of fields by name.
_VALUES: dict[str, Any] = {
    **dict.fromkeys(("id", "key", "key_id", "family_id", "registered_by", "target_id"), _KEY),
    **dict.fromkeys(("actor_type", "actor_id", "created_by"), "bootstrap"),
    **{"name": "docs", "instance_id": "docs-1", "url": "https://docs.example.com"},
    **{"quota": 600, "window_s": 60, "burst": 100, "remaining": 599},
    **{"environment": "test", "scheme": "own", "roles": "operator", "step_up_max_age_s": 300},
    **{"source_address": "192.0.2.7", "user_agent": "Mozilla/5.0", "request_id": REQUEST_ID},
    **dict.fromkeys(("expires_at", "expires_at_max"), "2031-01-01T00:00:00Z"),
    **dict.fromkeys(("uses", "denied_attempts", "failures", "open", "half_open"), 0),
    **{"heartbeat_s": 20, "problem": "responded with 503", "label": "database password"},
    **dict.fromkeys(("csrf_token", "submission"), "7b0e9d2f4c8a41d6b5e3f19a0c6d8e27"),
}


def example(shape: type[msgspec.Struct], *, complete: bool = True) -> dict[str, Any]:
    """An example with the required fields of a shape and those in its attribute `example`. A
    complete example also has the fields with a default.
    """
    own: dict[str, Any] = getattr(shape, "example", {})
    complete = complete and not shape.__struct_config__.omit_defaults
    return {
        field.encode_name: own[field.name]
        if field.name in own
        else _value(inspect.type_info(field.type), field.name, complete)
        for field in msgspec.structs.fields(shape)
        if field.name in own or field.required or (complete and field.default is not msgspec.UNSET)
    }


def _value(info: inspect.Type, name: str, complete: bool) -> Any:
    default: Any = name
    match info:
        case inspect.Metadata():
            examples = (info.extra_json_schema or {}).get("examples")
            if examples and name not in _VALUES:
                return examples[0]
            return _value(info.type, name, complete)
        case inspect.StructType():
            return example(info.cls, complete=complete)
        case inspect.ListType() | inspect.VarTupleType():
            return [_value(info.item_type, name, complete)]
        case inspect.UnionType():
            return None
        case inspect.DictType():
            default = {}
        case inspect.LiteralType():
            default = info.values[0]
        case inspect.EnumType():
            default = next(iter(info.cls)).value
        case inspect.BoolType():
            default = False
        case inspect.IntType() | inspect.FloatType():
            default = 1
    return _VALUES.get(name, default)
