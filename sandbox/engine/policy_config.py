"""The enforcement levels of a policy pack in one environment: its defaults, overridden by `levels/<environment>.json`.

The file has the format of `pulumi preview --policy-pack-config` and is merged like in the engine
(pkg/resource/analyzer/config.go), except that unknown rules are an error.
"""

import json
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2 as proto

from policies import catalogue
from policies.engine.rule import ENVIRONMENTS
from sandbox.errors import SandboxError
from sandbox.paths import REPOSITORY

_OWN_PACKS = REPOSITORY / "policies"

LEVELS: Final = {
    "advisory": proto.ADVISORY,
    "mandatory": proto.MANDATORY,
    "remediate": proto.REMEDIATE,
    "disabled": proto.DISABLED,
}
_NAMES = {number: name for name, number in LEVELS.items()}


def level_name(level: int) -> str:
    """The name of an enforcement level: advisory, mandatory, remediate or disabled."""
    return _NAMES[proto.EnforcementLevel.ValueType(level)]


def read(pack: Path, environment: str) -> dict[str, Any]:
    """The levels of a pack: from the rule declarations for the shipped packs, else from `<pack>/levels/<environment>.json`.

    A pack without a `levels` folder uses its defaults. Raises SandboxError for a missing or invalid file.
    """
    own = set(ENVIRONMENTS) if pack.parent == _OWN_PACKS and pack.name in catalogue.PACKS else set()
    if environment in own:
        return catalogue.level_config(pack.name, environment)
    file = pack / "levels" / f"{environment}.json"
    if not own and not file.parent.is_dir():
        return {}
    if not file.is_file():
        known = ", ".join(sorted(own | {path.stem for path in file.parent.glob("*.json")})) or "none"
        raise SandboxError(
            f"Policy pack {pack.name} has no levels for {environment!r}. Available: {known}. Choose one with --levels NAME."
        )
    try:
        raw = json.loads(file.read_text() or "{}")
    except ValueError as problem:
        raise SandboxError(f"{_place(file)}: not valid JSON: {problem}.") from problem
    if not isinstance(raw, dict):
        raise SandboxError(f"{_place(file)}: expected an object that maps rule ids to levels.")
    return raw


def configuration(info: proto.AnalyzerInfo, raw: dict[str, Any], place: str) -> dict[str, proto.PolicyConfig]:
    """The message for Configure: every rule with its level and properties, including defaults.

    place: name of the file in error messages. Raises SandboxError for an unknown rule or level.
    """
    result = {
        policy.name: proto.PolicyConfig(enforcementLevel=policy.enforcementLevel, properties=_defaults(policy))
        for policy in info.policies
    }
    _apply(result, {name: _row(config) for name, config in info.initialConfig.items()})
    _apply(result, {name: _parse(name, value, place) for name, value in raw.items() if name != "environments"}, place)
    return result


_Row = tuple[int | None, dict[str, Any]]


def _apply(result: dict[str, proto.PolicyConfig], rows: dict[str, _Row], place: str = "") -> None:
    level, _ = rows.pop("all", (None, {}))
    for config in result.values():
        if level is not None:
            config.enforcementLevel = proto.EnforcementLevel.ValueType(level)
    for name, (rule_level, rule_properties) in rows.items():
        if name not in result:
            raise SandboxError(f"{place}: the pack has no rule {name!r}. Remove the line or correct the id.")
        if rule_level is not None:
            result[name].enforcementLevel = proto.EnforcementLevel.ValueType(rule_level)
        result[name].properties.update(rule_properties)


def _parse(name: str, value: Any, place: str) -> _Row:
    options = {"enforcementLevel": value} if isinstance(value, str) else value
    if not isinstance(options, dict):
        raise SandboxError(f"{place}: {name}: expected a level or an object.")
    level = options.get("enforcementLevel")
    if level is not None and level not in LEVELS:
        raise SandboxError(f"{place}: {name}: {level!r} is not a level. Choose one of: {', '.join(LEVELS)}.")
    return (None if level is None else LEVELS[level]), {k: v for k, v in options.items() if k != "enforcementLevel"}


def _row(config: proto.PolicyConfig) -> _Row:
    return config.enforcementLevel, json_format.MessageToDict(config.properties)


def _defaults(policy: proto.PolicyInfo) -> struct_pb2.Struct:
    defaults = struct_pb2.Struct()
    schemas: dict[str, Any] = json_format.MessageToDict(policy.configSchema.properties)
    for name, schema in schemas.items():
        if "default" in schema:
            defaults.update({name: schema["default"]})
    return defaults


def _place(file: Path) -> str:
    return "/".join(file.parts[-4:])
