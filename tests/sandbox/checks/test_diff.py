"""What a second deployment would do: a new image touches what runs and nothing that holds data."""

from collections.abc import Sequence
from functools import cache

import pytest

from sandbox.__main__ import main
from sandbox.checks.diff import Step, changed, diff, text
from sandbox.engine.replacement import STATEFUL, replaces
from sandbox.errors import SandboxError
from sandbox.paths import REPOSITORY

DIGEST = f"image.digest=sha256:{'a' * 64}"
RUNS = {"aws:ecs/taskDefinition:TaskDefinition", "aws:ecs/service:Service"}


@cache
def change(stack: str, *changes: str) -> Sequence[Step]:
    return diff(REPOSITORY, stack, changes)


@pytest.mark.requirement("TR-17")
@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_a_new_image_replaces_task_definitions_and_updates_services_and_nothing_else(stack: str) -> None:
    # The serverless form of a door and a user's own Cores may run the image too: still nothing that holds data.
    found = change(stack, DIGEST)
    assert {(step.act, step.name) for step in found if step.type == "aws:ecs/taskDefinition:TaskDefinition"} >= {
        ("replace", "gateway"),
        ("replace", "console"),
        ("replace", "migrate"),
    }
    assert {(step.act, step.name) for step in found if step.type == "aws:ecs/service:Service"} >= {
        ("update", "gateway"),
        ("update", "console"),
    }
    assert {step.type for step in found} <= RUNS | {"aws:lambda/function:Function", "aws:lambda/alias:Alias"}
    assert [step for step in found if step.loses_data] == []


@pytest.mark.requirement("TR-17")
@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_without_a_change_nothing_is_to_be_done(stack: str) -> None:
    assert change(stack) == []
    assert text([]) == "no change\n"


def test_a_larger_database_is_changed_in_place() -> None:
    (step,) = (step for step in change("dev", "database.instance_class=db.t4g.small") if step.type == "aws:rds/instance:Instance")
    assert (step.act, step.properties, step.loses_data) == ("update", ("instanceClass",), False)


def test_another_name_of_everything_is_seen_to_lose_data(capsys: pytest.CaptureFixture[str]) -> None:
    """A new region moves every store; the command says so and exits with 1."""
    moved = ["region=eu-north-1", "network.zones=[eu-north-1a, eu-north-1b]"]
    code = main(["diff", "--env", "dev", *(word for item in moved for word in ("--set", item))])
    said = capsys.readouterr().out
    assert code == 1
    assert "+- replace  aws:s3/bucket:Bucket" in said
    assert "LOSES ITS DATA" in said


@pytest.mark.parametrize("asked", ["image.digest", "image.digest.more=1"])
def test_a_change_that_names_no_setting_is_refused(asked: str) -> None:
    with pytest.raises(SandboxError, match=r"there is no setting '.*'\. Every key is in docs/settings.md"):
        changed('{"image": {"digest": "x"}}', [asked])


@pytest.mark.parametrize("change", ["image.digest=latest", "image.digets=x", "nowhere.at.all=1"])
def test_change_that_the_program_rejects_is_an_error(change: str) -> None:
    with pytest.raises(SandboxError, match=change.partition("=")[0].split(".")[0]):
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
    ],
)
def test_what_aws_cannot_change_in_place_is_known(type_: str, property_: str, expected: bool) -> None:
    assert replaces(type_, property_) is expected


def test_every_store_has_its_properties_written_out() -> None:
    assert [
        type_ for type_ in STATEFUL if not any(replaces(type_, name) for name in ("name", "bucket", "engine", "keyUsage", "port"))
    ] == []
