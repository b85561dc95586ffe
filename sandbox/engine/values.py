"""Decodes protobuf values of the engine to Python values with the paths of secrets, and marks secrets again."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import struct_pb2
from pulumi import Archive, Asset, AssetArchive, FileArchive, FileAsset, RemoteArchive, RemoteAsset, StringAsset
from pulumi.runtime import rpc

SIGNATURE = rpc._special_sig_key
SECRET = rpc._special_secret_sig
ASSET = rpc._special_asset_sig
ARCHIVE = rpc._special_archive_sig
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def decode(properties: struct_pb2.Struct) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Python values (whole numbers as int, without nulls), and the paths of secrets such as `env[0].value`."""
    secrets: list[str] = []
    values = {
        key: decoded
        for key, value in properties.fields.items()
        if (decoded := _decode(value, key, secrets)) is not None and not key.startswith("__")
    }
    return values, tuple(secrets)


def _decode(value: struct_pb2.Value, path: str, secrets: list[str]) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "list_value":
        return [_decode(item, f"{path}[{index}]", secrets) for index, item in enumerate(value.list_value.values)]
    if kind == "struct_value":
        return _decode_struct(value.struct_value, path, secrets)
    if kind == "string_value":
        return value.string_value
    return value.bool_value if kind == "bool_value" else None


def _decode_struct(struct: struct_pb2.Struct, path: str, secrets: list[str]) -> Any:
    fields = struct.fields
    signature = fields[SIGNATURE].string_value if SIGNATURE in fields else ""
    if signature == "":
        decoded = ((key, _decode(value, f"{path}.{key}" if path else key, secrets)) for key, value in fields.items())
        return {key: value for key, value in decoded if value is not None}
    if signature == SECRET:
        secrets.append(path)
        return _decode(fields["value"], path, secrets)
    if signature == rpc._special_resource_sig:
        return fields["id"].string_value or rpc.UNKNOWN if "id" in fields else fields["urn"].string_value
    if signature == ASSET:
        return _asset(fields)
    if signature == ARCHIVE:
        return _archive(fields, path, secrets)
    raise ValueError(f"{path}: unknown value signature {signature}")


def _asset(fields: Mapping[str, struct_pb2.Value]) -> Asset:
    if "path" in fields:
        return FileAsset(fields["path"].string_value)
    if "text" in fields:
        return StringAsset(fields["text"].string_value)
    return RemoteAsset(fields["uri"].string_value)


def _archive(fields: Mapping[str, struct_pb2.Value], path: str, secrets: list[str]) -> Archive:
    if "assets" in fields:
        return AssetArchive(_decode(fields["assets"], path, secrets))
    if "path" in fields:
        return FileArchive(fields["path"].string_value)
    return RemoteArchive(fields["uri"].string_value)


def mark_secrets(outputs: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Wrap the outputs in `names` as secrets, in the wire format of the engine."""
    secret = set(names)
    return {key: {SIGNATURE: SECRET, "value": value} if key in secret else value for key, value in outputs.items()}


def seconds(duration: str) -> float:
    """A Go duration such as "1h30m" in seconds."""
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(duration))
