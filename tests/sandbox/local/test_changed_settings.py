"""Changed settings change the resources that use them, and no other."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.steps import Step
from pulumi_local.engine.update import AwsRules, update
from pulumi_local.files.project import load
from pulumi_local.outputs.providers import FakeProvider
from pulumi_local.type_tokens import STATEFUL
from pulumi_local.types import Deployment, Registration, Resource

from sandbox.local.changed_settings import SETTINGS, apply_changes
from sandbox.paths import REPOSITORY
from tools.docs.deployments import deployed

DIGEST = f"image.digest=sha256:{'a' * 64}"


class Changeable(AwsRules, FakeProvider):
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
        *(
            ("aws:lambda/invocation:Invocation", "migration", operation)
            for operation in ("replace", "delete")
        ),
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
