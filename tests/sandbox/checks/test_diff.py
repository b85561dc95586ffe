"""The steps of an update: a new image affects no resource that stores data."""

import importlib
import re
import sys
import tomllib
from collections.abc import Sequence

import pulumi
import pytest
from gatehouse_policies.analysis.type_tokens import STATEFUL
from gatehouse_policies.errors import CheckError
from gatehouse_policies.program.project import load
from gatehouse_policies.program.providers import FakeProvider
from gatehouse_policies.program.runner import run
from gatehouse_policies.program.types import Deployment

from sandbox.__main__ import main
from sandbox.checks.diff import SETTINGS, apply_changes, compare, diff, loses_data, text
from sandbox.engine.steps import Step, camel, changed_properties, replaces
from sandbox.paths import REPOSITORY
from tools.docs.deployments import deployed

DIGEST = f"image.digest=sha256:{'a' * 64}"
RUNS = {"aws:ecs/taskDefinition:TaskDefinition", "aws:ecs/service:Service"}


PREVIEW_LINES_MAX = 20
LINES = {"replace": 3}
"""Lines of a preview for one step: a replacement is created, replaced and deleted. Other steps have
one line.
"""


def changed(stack: str, *changes: str) -> Deployment:
    config = {SETTINGS: apply_changes(load(REPOSITORY, stack).config[SETTINGS], changes)}
    return run(REPOSITORY, stack, FakeProvider(), preview=False, config=config)


def change(stack: str, *changes: str) -> Sequence[Step]:
    """The steps of `diff`, which would run the unchanged program for every change."""
    return compare(deployed(stack), changed(stack, *changes))


def changed_components(
    before: Deployment, after: Deployment, replaced: set[str]
) -> set[tuple[str, str]]:
    """Type and name of the components whose inputs change. A preview shows each as an update.
    replaced: URNs.
    """
    inputs = {
        resource.registration.urn: resource.registration.inputs for resource in before.resources
    }
    components = [
        resource.registration for resource in after.resources if not resource.registration.custom
    ]
    changed = [
        item
        for item in components
        if changed_properties(inputs[item.urn], item.inputs, item, replaced)
    ]
    return {(item.type.rpartition(":")[2], item.name) for item in changed}


@pytest.mark.requirement("TR-17")
@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_new_image_affects_tasks_and_services_only(stack: str) -> None:
    # Lambda functions and Cores can use the image too.
    before, after = deployed(stack), changed(stack, DIGEST)
    steps = compare(before, after)
    components = changed_components(
        before, after, {step.urn for step in steps if step.operation == "replace"}
    )
    assert components - {("SharingFunction", "sharing")} == {
        ("ContainerImage", "runtime"),
        *(("TaskDefinition", name) for name in ("gateway", "console", "migrate")),
        *(("EcsService", name) for name in ("gateway", "console")),
    }, "a component takes inputs that it does not use"
    assert (
        1 + len(components) + sum(LINES.get(step.operation, 1) for step in steps)
        <= PREVIEW_LINES_MAX
    )
    assert {
        (step.operation, step.name)
        for step in steps
        if step.type == "aws:ecs/taskDefinition:TaskDefinition"
    } >= {
        ("replace", "gateway"),
        ("replace", "console"),
        ("replace", "migrate"),
    }
    assert {
        (step.operation, step.name) for step in steps if step.type == "aws:ecs/service:Service"
    } >= {
        ("update", "gateway"),
        ("update", "console"),
    }
    assert {step.type for step in steps} <= RUNS | {
        "aws:lambda/function:Function",
        "aws:lambda/alias:Alias",
    }
    assert [step for step in steps if loses_data(step)] == []


@pytest.mark.requirement("TR-17")
@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_no_changes(stack: str) -> None:
    assert change(stack) == []
    assert text([]) == "no changes\n"


@pytest.mark.requirement("SS-06", "SS-09")
@pytest.mark.parametrize(
    ("stack", "changes", "created", "deleted"),
    [
        ("dev", ("sharing.mode=serverless",), "aws:apigateway/", "aws:lb/"),
        (
            "staging",
            ("sharing.mode=container", "sharing.api_gateway_log_role=false"),
            "aws:lb/",
            "aws:apigateway/",
        ),
    ],
)
def test_sharing_mode_changes_in_place(
    stack: str, changes: tuple[str, ...], created: str, deleted: str
) -> None:
    steps = change(stack, *changes)
    operations = {(step.operation, step.type.partition("/")[0] + "/") for step in steps}
    assert {("create", created), ("delete", deleted)} <= operations
    records = [
        (step.operation, step.name) for step in steps if step.type == "aws:route53/record:Record"
    ]
    assert records == [("update", "sharing")], "a second record with the same name is rejected"
    order = [index for index, step in enumerate(steps) if step.type == "aws:route53/record:Record"]
    assert max(index for index, step in enumerate(steps) if step.operation == "create") < order[0]
    assert min(index for index, step in enumerate(steps) if step.operation == "delete") > order[0]
    lost = {step.type for step in steps if loses_data(step)}
    assert lost <= {"aws:cloudwatch/logGroup:LogGroup"}, (
        "the logs of the function are deleted with it"
    )


def test_instance_class_is_updated_in_place() -> None:
    (step,) = (
        step
        for step in change("dev", "database.instance_class=db.t4g.small")
        if step.type == "aws:rds/instance:Instance"
    )
    assert (step.operation, step.properties, loses_data(step)) == (
        "update",
        ("instanceClass",),
        False,
    )


def test_region_change_loses_data_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    region = ["region=eu-north-1", "network.zones=[eu-north-1a, eu-north-1b]"]
    code = main(["diff", "--env", "dev", *(word for item in region for word in ("--set", item))])
    output = capsys.readouterr().out
    assert code == 1
    assert "+- replace  aws:s3/bucket:Bucket" in output
    assert "DATA LOSS" in output


@pytest.mark.parametrize("change", ["image.digest", "image.digest.more=1"])
def test_change_without_setting_is_rejected(change: str) -> None:
    with pytest.raises(CheckError, match=r"unknown setting '.*'\..* docs/settings.md"):
        apply_changes('{"image": {"digest": "x"}}', [change])


@pytest.mark.parametrize("change", ["image.digest=latest", "image.digets=x", "nowhere.at.all=1"])
def test_change_that_the_program_rejects_is_an_error(change: str) -> None:
    with pytest.raises(CheckError, match=change.partition("=")[0].split(".")[0]):
        diff(REPOSITORY, "dev", [change])


@pytest.mark.parametrize(
    ("type_", "property_", "expected"),
    [
        ("aws:rds/instance:Instance", "storageEncrypted", True),
        ("aws:rds/instance:Instance", "instanceClass", False),
        ("aws:s3/bucket:Bucket", "bucket", True),
        ("aws:s3/bucket:Bucket", "region", True),
        ("aws:s3/bucket:Bucket", "tags", False),
        ("aws:ecs/taskDefinition:TaskDefinition", "containerDefinitions", True),
        ("aws:ecs/taskDefinition:TaskDefinition", "tags", False),
        ("aws:iam/role:Role", "tags", False),
        ("aws:lb/targetGroup:TargetGroup", "name", True),
        ("aws:ec2/vpc:Vpc", "cidrBlock", True),
        ("aws:rds/parameterGroup:ParameterGroup", "family", True),
        ("aws:elasticache/replicationGroup:ReplicationGroup", "transitEncryptionEnabled", None),
        ("aws:imaginary/thing:Thing", "name", None),
        ("random:index/randomId:RandomId", "byteLength", False),
    ],
)
def test_replacing_properties(type_: str, property_: str, expected: bool | None) -> None:
    assert replaces(type_, property_) is expected


def test_replacing_properties_of_every_resource_of_the_program_are_known() -> None:
    """Every class that the components name, also for settings that no stack uses. The inputs exist
    in the installed package.
    """
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


def test_network_range_replaces_everything_in_the_network() -> None:
    steps = change("staging", "network.cidr=10.61.0.0/16")
    replaced = {step.type for step in steps if step.operation == "replace"}
    network = {
        "ec2/vpc:Vpc",
        "ec2/subnet:Subnet",
        "ec2/securityGroup:SecurityGroup",
        "ec2/vpcEndpoint:VpcEndpoint",
    }
    assert {f"aws:{type_}" for type_ in network} | {"aws:lb/targetGroup:TargetGroup"} <= replaced


def test_unknown_step_of_a_stateful_resource_may_lose_data() -> None:
    lines = text(
        [
            Step("unknown", "aws:rds/instance:Instance", "main", "urn", ("s3Import",)),
            Step("update", "a", "b", "c"),
        ]
    )
    assert lines.splitlines()[0].endswith("[s3Import]  DATA LOSS POSSIBLE")
    assert lines.endswith("1 to update, 1 to update or replace (unknown)\n")


@pytest.mark.parametrize("type_", STATEFUL)
def test_deletion_of_stateful_resource_loses_data(type_: str) -> None:
    assert loses_data(Step("delete", type_, "main", "urn"))
