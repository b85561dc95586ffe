"""Changed settings change the resources that use them, and no other."""

import importlib
import re
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
from gatehouse_policies.analysis.type_tokens import STATEFUL
from gatehouse_policies.program.files.project import load
from gatehouse_policies.program.outputs.providers import FakeProvider
from gatehouse_policies.program.schema import camel
from gatehouse_policies.program.types import Deployment, Registration, Resource

from sandbox.engine.checkpoint import Checkpoint
from sandbox.engine.steps import Step, replaces
from sandbox.engine.update import update
from sandbox.local.changed_settings import SETTINGS, apply_changes
from sandbox.paths import REPOSITORY
from tools.docs.deployments import deployed

DIGEST = f"image.digest=sha256:{'a' * 64}"


class Changeable(FakeProvider):
    """Fake resources that can be changed. A replacement has another ID and another ARN."""

    def __init__(self) -> None:
        super().__init__()
        self._created = Counter[str]()

    def created(self, registration: Registration) -> int:
        self._created[registration.urn] += 1
        return self._created[registration.urn]

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        identity, outputs = super().create(registration)
        number = self.created(registration)
        if number == 1 or registration.type.startswith("pulumi:"):
            return identity, outputs
        arns = {name for name in outputs if name.lower().endswith("arn")}
        renamed = {name: f"{outputs[name]}-{number}" for name in arns - set(registration.inputs)}
        return f"{identity}-{number}", {**outputs, **renamed}

    def update(
        self, old: Resource, registration: Registration, changed: frozenset[str]
    ) -> tuple[str, dict[str, Any]]:
        return old.id, {**old.outputs, **registration.inputs}

    def delete(self, resource: Resource) -> None:
        """Nothing exists."""


@dataclass(frozen=True)
class Run:
    deployment: Deployment
    steps: list[Step]


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    """The image changes; a container replaces the sharing function; the function returns."""
    first = deployed("staging")
    provider, checkpoint, result = Changeable(), Checkpoint(), {"first": Run(first, [])}
    for resource in first.resources:
        provider.created(resource.registration)
        checkpoint.register(resource)
    settings = load(REPOSITORY, "staging").config[SETTINGS]
    for name, changes in {
        "image": (DIGEST,),
        "container": ("sharing.mode=container", "sharing.api_gateway_log_role=false"),
        "serverless": ("sharing.mode=serverless",),
    }.items():
        steps: list[Step] = []
        settings = apply_changes(settings, changes)
        deployment = update(
            *(REPOSITORY, "staging", provider, checkpoint),
            report=steps.append,
            config={SETTINGS: settings},
        )
        result[name] = Run(deployment, steps)
    return result


def lost(steps: list[Step]) -> set[str]:
    return {step.type for step in steps if step.operation in ("replace", "delete")} & set(STATEFUL)


def registrations(run: Run) -> list[Registration]:
    return [resource.registration for resource in run.deployment.resources]


def test_new_image_changes_tasks_functions_and_services_only(runs: dict[str, Run]) -> None:
    steps = runs["image"].steps
    assert {(step.type, step.name, step.operation) for step in steps} == {
        *(
            ("aws:ecs/taskDefinition:TaskDefinition", name, operation)
            for name in ("gateway", "console", "migrate")
            for operation in ("replace", "delete")
        ),
        *(("aws:ecs/service:Service", name, "update") for name in ("gateway", "console")),
        ("aws:lambda/function:Function", "sharing", "update"),
    }
    before, after = (
        {row.urn: row.inputs for row in registrations(runs[name]) if not row.custom}
        for name in ("first", "image")
    )
    assert before == after != {}, "a preview has a line for each component whose inputs change"


@pytest.mark.parametrize(
    ("mode", "created", "deleted"),
    [("serverless", "aws:apigateway/", "aws:lb/"), ("container", "aws:lb/", "aws:apigateway/")],
)
def test_sharing_mode_changes_in_place(
    runs: dict[str, Run], mode: str, created: str, deleted: str
) -> None:
    steps = runs[mode].steps
    records = [
        (index, step.operation, step.name)
        for index, step in enumerate(steps)
        if step.type == "aws:route53/record:Record"
    ]
    [(position, operation, name)] = records
    assert (operation, name) == ("update", "sharing"), (
        "a second record with the same name is rejected"
    )
    new, old = (
        [
            index
            for index, step in enumerate(steps)
            if step.operation == operation and step.type.startswith(prefix)
        ]
        for operation, prefix in (("create", created), ("delete", deleted))
    )
    assert max(new) < position < min(old)
    assert lost(steps) <= {"aws:cloudwatch/logGroup:LogGroup"}, (
        "the logs of the function are deleted with it"
    )


@pytest.mark.parametrize(
    ("type_", "property_", "expected"),
    [
        ("aws:rds/instance:Instance", "storageEncrypted", True),
        ("aws:rds/instance:Instance", "instanceClass", False),
        ("aws:s3/bucket:Bucket", "bucket", True),
        ("aws:s3/bucket:Bucket", "region", True),
        ("aws:s3/bucket:Bucket", "tags", False),
        ("aws:ecs/taskDefinition:TaskDefinition", "containerDefinitions", True),
        ("aws:elasticache/replicationGroup:ReplicationGroup", "transitEncryptionEnabled", None),
        ("aws:imaginary/thing:Thing", "name", None),
        ("random:index/randomId:RandomId", "byteLength", False),
    ],
)
def test_replacing_properties(type_: str, property_: str, expected: bool | None) -> None:
    assert replaces(type_, property_) is expected


def test_replacing_properties_of_every_resource_of_the_program_are_known() -> None:
    classes = {}
    for file in [
        REPOSITORY / "__main__.py",
        REPOSITORY / "account/__main__.py",
        *(REPOSITORY / "components").rglob("*.py"),
    ]:
        for module, name in re.findall(r"\baws\.([a-z0-9_]+)\.([A-Z]\w+)", file.read_text()):
            class_ = getattr(importlib.import_module(f"pulumi_aws.{module}"), name, None)
            if isinstance(class_, type) and issubclass(class_, pulumi.CustomResource):
                classes[vars(class_)["pulumi_type"]] = class_
    assert len(classes) > 100
    facts = tomllib.loads((REPOSITORY / "sandbox/engine/replacement.toml").read_text())
    assert classes.keys() - facts["replace"].keys() == set()
    for table in facts.values():
        for type_, properties in table.items():
            module, name = sys.modules[classes[type_].__module__], classes[type_].__name__
            arguments = getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")
            known = {
                camel(key) for key, value in vars(arguments).items() if isinstance(value, property)
            }
            assert set(properties) <= known, type_
