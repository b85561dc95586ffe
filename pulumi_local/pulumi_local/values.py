"""Values of the engine: decodes protobuf values with the paths of secrets, encodes assets and
archives, marks secrets.
"""

import contextlib
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import struct_pb2
from pulumi import (
    Archive,
    AssetArchive,
    FileArchive,
    FileAsset,
    RemoteArchive,
    RemoteAsset,
    StringAsset,
)

from pulumi_local.types import UNKNOWN

# The protocol of the engine: sdk/go/common/resource/sig of pulumi/pulumi.
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  marks a secret
ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
_KINDS: tuple[tuple[type, str, str], ...] = (
    (AssetArchive, ARCHIVE, "assets"),
    (FileArchive, ARCHIVE, "path"),
    (RemoteArchive, ARCHIVE, "uri"),
    (FileAsset, ASSET, "path"),
    (StringAsset, ASSET, "text"),
    (RemoteAsset, ASSET, "uri"),
)
"""Classes of assets and archives, with the signature and the member that contains the content."""
_JSON_PROPERTIES = ("containerDefinitions",)
"""Properties with JSON text of which rules evaluate the known parts."""
_STEP = re.compile(r'\["([^"]*)"\]|\[(\d+)\]|([^.\[\]]+)')
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def decode(properties: struct_pb2.Struct) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Python values (whole numbers as int, without nulls), and the paths of secrets such as
    `env[0].value`.
    """
    secrets: list[str] = []
    values = {
        key: decoded
        for key, value in properties.fields.items()
        if not key.startswith("__") and (decoded := _decode(value, key, secrets)) is not None
    }
    return values, tuple(secrets)


def _decode(value: struct_pb2.Value, path: str, secrets: list[str]) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "list_value":
        return [
            _decode(item, f"{path}[{index}]", secrets)
            for index, item in enumerate(value.list_value.values)
        ]
    if kind == "struct_value":
        return _decode_struct(value.struct_value, path, secrets)
    if kind == "string_value":
        return _decode_text(value.string_value, path)
    return value.bool_value if kind == "bool_value" else None


def _decode_text(text: str, path: str) -> str:
    """The text, or the marker of an unknown value if a program inserted the marker into the text
    (unknown_config.py).
    """
    if UNKNOWN not in text:
        return text
    if path in _JSON_PROPERTIES:
        with contextlib.suppress(ValueError):
            document = json.loads(text)
            return (
                json.dumps(_with_unknown_strings(document))
                if isinstance(document, list)
                else UNKNOWN
            )
    return UNKNOWN


def _with_unknown_strings(value: Any) -> Any:
    """A JSON value in which a string that contains the marker of an unknown value is the marker."""
    if isinstance(value, dict):
        return {key: _with_unknown_strings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_unknown_strings(item) for item in value]
    return UNKNOWN if isinstance(value, str) and UNKNOWN in value else value


def _decode_struct(struct: struct_pb2.Struct, path: str, secrets: list[str]) -> Any:
    fields = struct.fields
    signature = fields[SIGNATURE].string_value if SIGNATURE in fields else ""
    if signature == "":
        decoded = (
            (key, _decode(value, f"{path}.{key}" if path else key, secrets))
            for key, value in fields.items()
        )
        return {key: value for key, value in decoded if value is not None}
    if signature == SECRET:
        secrets.append(path)
        return _decode(fields["value"], path, secrets)
    if signature == RESOURCE:
        return (
            fields["id"].string_value or UNKNOWN if "id" in fields else fields["urn"].string_value
        )
    for kind, kind_signature, member in _KINDS:
        if signature == kind_signature and member in fields:
            return kind(_decode(fields[member], path, secrets))
    raise ValueError(f"{path}: unknown value signature {signature}")


def encode(value: Any, *, with_hash: bool = False) -> Any:
    """Encode assets and archives in a value, by default without the hash of their content."""
    if isinstance(value, Mapping):
        return {str(key): encode(item, with_hash=with_hash) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item, with_hash=with_hash) for item in value]
    for kind, signature, member in _KINDS:
        if isinstance(value, kind):
            digest = {"hash": hashlib.sha256(asset_bytes(value)).hexdigest()} if with_hash else {}
            data = getattr(value, member)
            return {
                SIGNATURE: signature,
                **digest,
                member: encode(data, with_hash=with_hash) if member == "assets" else str(data),
            }
    return value


def zip_bytes(archive: Any) -> bytes:
    """The archive as a ZIP file. Deterministic: fixed timestamps, sorted names and no
    `__pycache__`.
    """
    if isinstance(archive, FileArchive) and Path(archive.path).is_file():
        return Path(archive.path).read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in sorted(_files(archive, "").items()):
            target.writestr(zipfile.ZipInfo(name, _TIMESTAMP), data)
    return buffer.getvalue()


def _files(archive: Any, prefix: str) -> dict[str, bytes]:
    if isinstance(archive, FileArchive):
        root = Path(archive.path)
        files_below = (
            path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )
        return {
            f"{prefix}{path.relative_to(root).as_posix()}": path.read_bytes()
            for path in files_below
        }
    if isinstance(archive, AssetArchive):
        files: dict[str, bytes] = {}
        for name, item in archive.assets.items():
            path = f"{prefix}{name}"
            files |= (
                _files(item, f"{path}/") if isinstance(item, Archive) else {path: asset_bytes(item)}
            )
        return files
    raise TypeError(f"{type(archive).__name__} is not a local archive")


def asset_bytes(asset: Any) -> bytes:
    if isinstance(asset, Archive):
        return zip_bytes(asset)
    if isinstance(asset, FileAsset):
        return Path(asset.path).read_bytes()
    if isinstance(asset, StringAsset):
        return asset.text.encode()
    raise TypeError(f"{type(asset).__name__} is not a local asset")


def properties(values: Mapping[str, Any], secrets: Iterable[str] = ()) -> struct_pb2.Struct:
    """Encode values as a protobuf Struct. Unknown values remain the sentinel; nulls and internal
    keys (`__...`) are omitted. The function of the SDK needs an event loop, because its values can
    be outputs.

    secrets: paths of values to mark as secret, such as `password`, `rules[0].key` or `tags["a.b"]`.
    """
    plain = {
        key: encode(value)
        for key, value in values.items()
        if value is not None and not key.startswith("__")
    }
    for path in secrets:
        _mark_secret(plain, path_steps(path))
    struct = struct_pb2.Struct()
    struct.update(plain)
    return struct


def _mark_secret(container: Any, path: list[str]) -> None:
    for depth, name in enumerate(path):
        step: Any = int(name) if isinstance(container, list) and name.isdigit() else name
        value = container.get(step) if isinstance(container, dict) else None
        if isinstance(container, list) and isinstance(step, int) and step < len(container):
            value = container[step]
        if value is None:
            return
        if isinstance(value, dict) and value.get(SIGNATURE) == SECRET:
            return
        if depth == len(path) - 1:
            container[step] = {SIGNATURE: SECRET, "value": value}
        else:
            container = value


def path_steps(path: str) -> list[str]:
    """The names and indexes in a property path such as `rules[0].key` or `tags["a.b"]`."""
    return [key or index or name for key, index, name in _STEP.findall(path)]


def seconds(duration: str) -> float:
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(duration))
