"""The enforcement levels of a policy pack in one environment: the defaults, overridden by
`levels/<environment>.json`.

The file has the format of `pulumi preview --policy-pack-config` and is merged as in the engine
(pkg/resource/analyzer/config.go), except that unknown rules are an error.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2 as proto

from gatehouse_policies import catalogue
from gatehouse_policies.engine.rule import ENVIRONMENTS
from gatehouse_policies.errors import CheckError

_LEVELS = tuple(name.lower() for name, _ in proto.EnforcementLevel.items())


def level_name(level: int) -> str:
    """The name of an enforcement level: advisory, mandatory, remediate or disabled."""
    return proto.EnforcementLevel.Name(proto.EnforcementLevel.ValueType(level)).lower()


def read(pack: Path, environment: str) -> dict[str, Any]:
    """The levels of a pack. Shipped packs: from the rule declarations. Other packs: from
    `<pack>/levels/<environment>.json`.

    Another pack without a file for the environment uses the levels that its rules declare for the
    environment. Raises CheckError for an unknown environment of a shipped pack, or an invalid file.
    """
    own = (
        set(ENVIRONMENTS)
        if pack.parent == catalogue.PACKS_FOLDER and pack.name in catalogue.PACKS
        else set()
    )
    if environment in own:
        return catalogue.level_config(pack.name, environment)
    file = pack / "levels" / f"{environment}.json"
    if not file.is_file():
        if not own:
            return {}
        known = (
            ", ".join(sorted(own | {path.stem for path in file.parent.glob("*.json")})) or "none"
        )
        raise CheckError(
            f"Policy pack {pack.name} has no levels for {environment!r}. Available: {known}. "
            f"Choose one with --levels NAME."
        )
    try:
        raw = json.loads(file.read_text() or "{}")
    except ValueError as problem:
        raise CheckError(f"{_place(file)}: not valid JSON: {problem}.") from problem
    if not isinstance(raw, dict):
        raise CheckError(f"{_place(file)}: expected an object that maps rule IDs to levels.")
    return raw


def configuration(
    info: proto.AnalyzerInfo,
    raw: dict[str, Any],
    place: str,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, proto.PolicyConfig]:
    """The message for Configure: every rule with its level and properties, including defaults.

    place: name of the file in error messages. changes: levels and properties of rules, which
    override those of the file. Raises CheckError for an unknown rule or level.
    """
    result = {
        policy.name: proto.PolicyConfig(
            enforcementLevel=policy.enforcementLevel, properties=_defaults(policy)
        )
        for policy in info.policies
    }
    for name, config in sorted(info.initialConfig.items(), key=_all_first):
        _apply(
            result,
            name,
            config.enforcementLevel,
            json_format.MessageToDict(config.properties),
            place,
        )
    for name, value in sorted(raw.items(), key=_all_first):
        if name != "environments":
            _apply(result, name, *_parse(name, value, place), place)
    for name, value in (changes or {}).items():
        _apply(result, name, *_parse(name, dict(value), place), place)
    return result


def _all_first(item: tuple[str, Any]) -> bool:
    return item[0] != "all"


def _apply(
    result: dict[str, proto.PolicyConfig],
    name: str,
    level: int | None,
    properties: dict[str, Any],
    place: str,
) -> None:
    """Set the level and the properties of a rule; `all` sets the level of every rule."""
    if name != "all" and name not in result:
        raise CheckError(
            f"{place}: the pack has no rule {name!r}. Remove the line or correct the ID."
        )
    for config in result.values() if name == "all" else [result[name]]:
        if level is not None:
            config.enforcementLevel = proto.EnforcementLevel.ValueType(level)
        config.properties.update(properties if name != "all" else {})


def _parse(name: str, value: Any, place: str) -> tuple[int | None, dict[str, Any]]:
    options = {"enforcementLevel": value} if isinstance(value, str) else value
    if not isinstance(options, dict):
        raise CheckError(f"{place}: {name}: expected a level or an object.")
    properties = dict(options)
    level = properties.pop("enforcementLevel", None)
    if level is not None and level not in _LEVELS:
        raise CheckError(
            f"{place}: {name}: {level!r} is not a level. Choose one of: {', '.join(_LEVELS)}."
        )
    return None if level is None else proto.EnforcementLevel.Value(level.upper()), properties


def _defaults(policy: proto.PolicyInfo) -> struct_pb2.Struct:
    defaults = struct_pb2.Struct()
    schemas: dict[str, Any] = json_format.MessageToDict(policy.configSchema.properties)
    for name, schema in schemas.items():
        if "default" in schema:
            defaults.update({name: schema["default"]})
    return defaults


def _place(file: Path) -> str:
    return "/".join(file.parts[-4:])
