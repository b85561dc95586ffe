"""`python -m sandbox diff`: compares two runs of the program to determine the steps of an update with changed settings."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import yaml

from policies.analysis.type_tokens import STATEFUL
from sandbox.engine.program import run
from sandbox.engine.project import load
from sandbox.engine.providers import FakeProvider
from sandbox.engine.types import Deployment, Resource
from sandbox.errors import SandboxError

SETTINGS = "gatehouse:settings"
_SIGNS = {"create": "+", "update": "~", "replace": "+-", "delete": "-"}

# Arguments marked "Forces new resource" in the registry pages of the AWS provider, for the types that store data.
_REPLACING: Final[dict[str, frozenset[str]]] = {
    "aws:backup/vault:Vault": frozenset({"name", "kmsKeyArn"}),
    "aws:cloudwatch/logGroup:LogGroup": frozenset({"name", "namePrefix", "logGroupClass"}),
    "aws:dynamodb/table:Table": frozenset({"name", "hashKey", "rangeKey", "localSecondaryIndexes", "importTable"}),
    "aws:ecr/repository:Repository": frozenset({"name", "encryptionConfigurations"}),
    "aws:elasticache/replicationGroup:ReplicationGroup": frozenset(
        {"replicationGroupId", "subnetGroupName", "port", "atRestEncryptionEnabled", "kmsKeyId", "networkType", "snapshotName"}
    ),
    "aws:kms/key:Key": frozenset({"customerMasterKeySpec", "keyUsage", "multiRegion", "customKeyStoreId", "xksKeyId"}),
    "aws:kms/replicaKey:ReplicaKey": frozenset({"primaryKeyArn"}),
    "aws:rds/instance:Instance": frozenset(
        {
            *("engine", "username", "dbName", "kmsKeyId", "storageEncrypted", "availabilityZone", "characterSetName"),
            *("ncharCharacterSetName", "timezone", "snapshotIdentifier", "restoreToPointInTime", "s3Import"),
            "customIamInstanceProfile",
        }
    ),
    "aws:route53/zone:Zone": frozenset({"name", "delegationSetId"}),
    "aws:s3/bucket:Bucket": frozenset({"bucket", "bucketPrefix", "objectLockEnabled"}),
    "aws:secretsmanager/secret:Secret": frozenset({"name", "namePrefix"}),
}

_ECS_SERVICE: Final = frozenset({"cluster", "name", "launchType", "schedulingStrategy"})
_NAMES: Final = frozenset({"name", "namePrefix"})
# A change to any other property of a task definition creates a new revision.
_TASK_DEFINITION: Final = "aws:ecs/taskDefinition:TaskDefinition"
_TASK_DEFINITION_IN_PLACE: Final = frozenset({"tags", "skipDestroy", "trackLatest"})


@dataclass(frozen=True, slots=True)
class Step:
    """The operation on one resource: create, update, replace or delete. properties: the changed inputs."""

    operation: str
    type: str
    name: str
    urn: str
    properties: tuple[str, ...] = ()

    @property
    def loses_data(self) -> bool:
        """True if a resource that stores data is replaced or deleted."""
        return self.type in STATEFUL and self.operation in ("replace", "delete")


def diff(program: Path, stack: str, changes: Sequence[str]) -> list[Step]:
    """The steps of an update with `changes`, such as "image.digest=sha256:...".

    Raises SandboxError for an unknown setting, or a value that the program rejects.
    """
    config = {SETTINGS: apply_changes(load(program, stack).config.get(SETTINGS, "{}"), changes)}
    # The changed program runs first, because it rejects invalid values.
    after = run(program, stack, FakeProvider(), preview=False, config=config)
    return compare(run(program, stack, FakeProvider(), preview=False), after)


def compare(before: Deployment, after: Deployment) -> list[Step]:
    """The steps from one deployment of a stack to another, in order of execution.

    A property that depends on a replaced resource counts as changed, because its new value is unknown. The result can therefore
    have too many steps, but never too few.
    """
    old = {resource.registration.urn: resource for resource in before.resources if resource.registration.custom}
    steps: list[Step] = []
    replaced: set[str] = set()
    for resource in after.resources:
        registration = resource.registration
        if not registration.custom:
            continue
        current = old.pop(registration.urn, None)
        if current is None:
            steps.append(Step("create", registration.type, registration.name, registration.urn))
            continue
        properties = _changed_properties(current, resource, replaced)
        if properties:
            operation = "replace" if any(replaces(registration.type, name) for name in properties) else "update"
            if operation == "replace":
                replaced.add(registration.urn)
            steps.append(Step(operation, registration.type, registration.name, registration.urn, properties))
    deleted = [resource.registration for resource in reversed(old.values())]
    return steps + [Step("delete", item.type, item.name, item.urn) for item in deleted]


def apply_changes(settings: str, changes: Sequence[str]) -> str:
    """Apply changes such as "section.key=value" to the settings (JSON). Values are YAML.

    Raises SandboxError if the path is not in a section. The program itself rejects an unknown key.
    """
    document = json.loads(settings)
    for change in changes:
        path, sign, text = change.partition("=")
        *sections, key = path.split(".")
        section: Any = document
        for name in sections:
            section = section.setdefault(name, {}) if isinstance(section, dict) else None
        if not sign or not isinstance(section, dict):
            raise SandboxError(
                f"--set {change}: unknown setting {path!r}. Specify section.key=value with a key from docs/settings.md."
            )
        try:
            section[key] = yaml.safe_load(text)
        except yaml.YAMLError as exc:
            raise SandboxError(f"--set {change}: the value is not valid YAML.") from exc
    return json.dumps(document)


def text(steps: Sequence[Step]) -> str:
    """One line for each step, and a summary."""
    lines = [
        f"{_SIGNS[step.operation]:>2} {step.operation:<8} {step.type:<50} {step.name}"
        + (f"  [{', '.join(step.properties)}]" if step.properties else "")
        + ("  DATA LOSS" if step.loses_data else "")
        for step in steps
    ]
    counts = {operation: sum(step.operation == operation for step in steps) for operation in _SIGNS}
    summary = ", ".join(f"{count} to {operation}" for operation, count in counts.items() if count) or "no changes"
    return "\n".join([*lines, summary]) + "\n"


def replaces(type_: str, property_: str) -> bool:
    """True if a change to this input (camelCase) replaces the resource.

    For a type without an entry in `_REPLACING`, only a new name replaces the resource, because the installed package does not
    contain this information.
    """
    if property_ == "region":
        return True
    if type_ == _TASK_DEFINITION:
        return property_ not in _TASK_DEFINITION_IN_PLACE
    return property_ in (_ECS_SERVICE if type_ == "aws:ecs/service:Service" else _REPLACING.get(type_, _NAMES))


def _changed_properties(current: Resource, desired: Resource, replaced: set[str]) -> tuple[str, ...]:
    """Inputs that differ or depend on a replaced resource, except those in `ignore_changes`."""
    old, new = current.registration, desired.registration
    changed = {key for key in {*old.inputs, *new.inputs} if _plain(old.inputs.get(key)) != _plain(new.inputs.get(key))}
    dependent = {key for key, urns in new.property_dependencies.items() if replaced & set(urns)}
    ignored = {path.split(".")[0].split("[")[0] for path in new.ignore_changes}
    return tuple(sorted((changed | dependent) - ignored - {_camel(name) for name in ignored}))


def _plain(value: Any) -> Any:
    """Replace archives and files with their paths for the comparison."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.path if isinstance(value, pulumi.FileArchive | pulumi.FileAsset) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
