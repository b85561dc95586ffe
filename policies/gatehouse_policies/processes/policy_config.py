"""The configuration of a policy pack: the levels and parameters of its rules.

Merged as in the engine (pkg/resource/analyzer/config.go).
"""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2 as proto

RuleConfigs = Mapping[str, Mapping[str, Any]]
"""Levels and parameters by rule, in the format of `--policy-pack-config`."""


def level_name(level: int) -> str:
    """The name of an enforcement level: advisory, mandatory or disabled."""
    return proto.EnforcementLevel.Name(proto.EnforcementLevel.ValueType(level)).lower()


def configuration(
    info: proto.AnalyzerInfo,
    *changes: RuleConfigs,
    selects: Callable[[str], bool] = lambda _id: True,
) -> dict[str, proto.PolicyConfig]:
    """The message for Configure: every rule with its level and properties, including defaults.

    changes: override the values of the pack and of the changes before. Rules of other packs are
        ignored.
    selects: False for a rule that is disabled.
    """
    result = {
        policy.name: proto.PolicyConfig(
            enforcementLevel=policy.enforcementLevel, properties=_defaults(policy)
        )
        for policy in info.policies
    }
    for name, initial in sorted(info.initialConfig.items(), key=lambda item: item[0] != "all"):
        for rule, config in result.items():
            if name in ("all", rule):
                config.enforcementLevel = initial.enforcementLevel
            if name == rule:
                config.properties.update(json_format.MessageToDict(initial.properties))
    for rules in changes:
        for name in rules.keys() & result.keys():
            properties = dict(rules[name])
            if level := properties.pop("enforcementLevel", ""):
                result[name].enforcementLevel = proto.EnforcementLevel.Value(level.upper())
            result[name].properties.update(properties)
    for name, config in result.items():
        if not selects(name):
            config.enforcementLevel = proto.DISABLED
    return result


def _defaults(policy: proto.PolicyInfo) -> struct_pb2.Struct:
    defaults = struct_pb2.Struct()
    schemas: dict[str, Any] = json_format.MessageToDict(policy.configSchema.properties)
    for name, schema in schemas.items():
        if "default" in schema:
            defaults.update({name: schema["default"]})
    return defaults
