"""Order of a deployment, failures of each step, and destruction."""

import fnmatch
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import yaml

from release.pulumi.cli import without_services
from release.registry import TARGETS
from tests.components.program import run
from tests.components.settings.stack_settings import raw_account_settings
from tests.release.fake_aws import ACCOUNT, NEW, OLD
from tests.release.fake_cli import FakePulumi, name, own_stack_file

INFRASTRUCTURE = ["preview", "up without services"]
SHARING = {"function": name("sharing"), "alias": "live", "alarms": []}
BUCKET = "urn:pulumi:dev::gatehouse::aws:s3/bucket:Bucket::logs"
SERVERLESS = own_stack_file(sharing={"mode": "serverless"})


def test_services_change_after_the_migration(account: FakePulumi) -> None:
    result = account.release("deploy", "--yes")
    assert (result.returncode, account.steps) == (0, [*INFRASTRUCTURE, "up"]), result.stderr
    assert account.images() == {NEW}


def test_failed_migration_leaves_services_unchanged(account: FakePulumi) -> None:
    account.migrates = False
    assert account.release("deploy", "--yes", "--rollback").returncode == 1
    assert (account.steps, account.images()) == (INFRASTRUCTURE, {OLD})


def test_failed_preview_leaves_services_unchanged(account: FakePulumi) -> None:
    account.intercept = lambda call, reply: {"code": 255} if call == "preview" else reply
    assert account.release("deploy", "--yes").returncode == 1
    assert account.images() == {OLD}


@pytest.mark.parametrize("stdin", ["", "prod\n"])
def test_unconfirmed_deployment_changes_nothing(account: FakePulumi, stdin: str) -> None:
    assert account.release("deploy", stdin=stdin).returncode == 1
    assert account.steps == ["preview"]


@pytest.mark.parametrize("command", ["deploy", "rollback", "destroy"])
def test_operations_with_an_unknown_result_are_reported(account: FakePulumi, command: str) -> None:
    account.unfinished = [{"type": "creating", "resource": {"urn": BUCKET}}]
    options = ("--digest", f"sha256:{'f' * 64}") if command == "rollback" else ()
    result = account.release(command, *options)
    assert (result.returncode != 0, account.steps) == (True, [])
    assert f"pulumi refresh --stack dev --target '**{BUCKET}'. " in result.stderr
    assert (account.release("preview").returncode, account.steps) == (0, ["preview"])


@pytest.mark.parametrize(
    ("functions", "status", "steps"),
    [
        # The image is unchanged, and the function does not exist yet.
        ({"version": "1"}, 200, ["up without services and aliases", "up"]),
        ({}, 200, [*INFRASTRUCTURE[1:], "up"]),
        ({"version": "2"}, 503, ["up without services and aliases", "invoke 2"]),
    ],
)
def test_services_change_after_the_functions(
    account: FakePulumi, functions: dict[str, str], status: int, steps: list[str]
) -> None:
    account.smoke_test = status
    account.outputs["functions"] = {"sharing": {**SHARING, **functions}} if functions else {}
    result = account.release("deploy", "--yes", stack_file=SERVERLESS)
    assert (result.returncode, account.steps) == (status != 200, ["preview", *steps])


@pytest.mark.parametrize("rollback", [False, True])
@pytest.mark.parametrize(
    ("failure", "value"), [("rolls_back", True), ("failed_updates", 1), ("canary", False)]
)
def test_previous_image_is_deployed_if_the_services_fail(
    account: FakePulumi, failure: str, value: object, rollback: bool
) -> None:
    account.recovers = rollback
    setattr(account, failure, value)
    result = account.release("deploy", "--yes", *(["--rollback"] if rollback else []))
    updates = [step for step in account.steps if not step.startswith("invoke")]
    assert (result.returncode, updates) == (
        1,
        [*INFRASTRUCTURE, "up", *["preview", "up"] * rollback],
    )
    assert account.digest() == (OLD if rollback else NEW)
    assert ("run: make rollback ENV=dev" in result.stderr) is not rollback
    if rollback:
        assert account.images() == {OLD}


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("deploy", "--rollback"), "preview"),
        (("destroy",), "preview of the destruction"),
        (("rollback", "--digest", OLD), "preview"),
    ],
)
def test_state_that_others_replace_after_the_preview_is_not_used(
    account: FakePulumi, words: tuple[str, ...], step: str
) -> None:
    def replace(call: str, result: dict[str, Any]) -> dict[str, Any]:
        if account.steps[-1:] == [step]:
            account.resources = [{"urn": BUCKET}]
        return result

    account.intercept = replace
    result = account.release(*words, stdin="dev\n")
    assert (result.returncode, account.steps[-1], account.digest()) == (1, step, NEW)


def test_stack_file_that_changes_after_the_preview_is_not_used(account: FakePulumi) -> None:
    def change(call: str, result: dict[str, Any]) -> dict[str, Any]:
        if call == "preview":
            file = account.folder / "Pulumi.dev.yaml"
            file.write_text(file.read_text().replace(NEW, OLD))
        return result

    account.intercept = change
    assert account.release("deploy", "--yes").returncode == 1
    assert account.steps == ["preview"]


@pytest.mark.parametrize(
    ("preview", "stdin", "code", "steps"),
    [
        (0, "dev\n", 0, ["preview of the destruction", "destroy"]),
        (0, "yes\n", 2, ["preview of the destruction"]),
        (255, "dev\n", 255, ["preview of the destruction"]),  # a protected resource
    ],
)
def test_stack_is_destroyed_after_a_preview_and_a_confirmation(
    account: FakePulumi, preview: int, stdin: str, code: int, steps: list[str]
) -> None:
    account.preview = preview
    result = account.release("destroy", stdin=stdin)
    assert (result.returncode, account.steps) == (code, steps)


def excluded(words: Sequence[str]) -> set[str]:
    """URNs that options exclude, with their dependents."""
    patterns = [after for option, after in pairwise(words) if option == "--exclude"]
    urns: set[str] = set()
    for resource in run("dev").resources:
        if any(fnmatch.fnmatch(resource.urn, pattern) for pattern in patterns) or (
            not urns.isdisjoint((resource.parent, *resource.dependencies))
        ):
            urns.add(resource.urn)
    return urns


def test_first_step_excludes_services_their_task_definitions_and_their_dns_records() -> None:
    urns = excluded(without_services())
    types = {urn.split("::")[2].rpartition("$")[2] for urn in urns}
    records = {urn.rpartition("::")[2] for urn in urns if ":route53/record:" in urn}
    assert records == {"gateway", "console", "sharing"}
    assert {type for type in types if type.startswith("aws:")} == {
        "aws:ecs/taskDefinition:TaskDefinition",
        "aws:ecs/service:Service",
        "aws:appautoscaling/target:Target",
        "aws:appautoscaling/policy:Policy",
        "aws:route53/record:Record",
    }
    definitions = {urn.rpartition("::")[2] for urn in urns if "$aws:ecs/taskDefinition:" in urn}
    assert definitions == {"gateway", "console"}, "the migration is deployed"


@pytest.mark.parametrize(
    ("stack", "changes"),
    [
        ("dev", {}),
        ("prod", {"delivery": {"repository": "example/gatehouse", "state_bucket": "state"}}),
    ],
    ids=["without a pipeline", "with a pipeline"],
)
def test_targets_of_the_registry_include_what_they_require(
    stack: str, changes: dict[str, Any]
) -> None:
    patterns = [re.escape(target).replace(r"\*\*", ".*") for target in TARGETS]
    targets = {
        resource.urn: resource
        for resource in run(stack, changes=changes).resources
        if any(re.fullmatch(pattern, resource.urn) for pattern in patterns)
    }
    types = {resource.type for resource in targets.values()}
    created = {"aws:ecr/repository:Repository", "aws:kms/key:Key", "aws:iam/role:Role"}
    assert {*created, "aws:route53/zone:Zone"} <= types
    assert not types & {
        "aws:rds/instance:Instance",
        "aws:ecs/service:Service",
        "aws:acm/certificateValidation:CertificateValidation",
    }
    for resource in targets.values():
        provider = resource.provider.rpartition("::")[0]
        required = {*resource.dependencies, resource.parent, provider} - {""}
        missing = {
            urn for urn in required if urn not in targets and "pulumi:pulumi:Stack" not in urn
        }
        assert missing == set(), resource.urn


def account_project(fake: FakePulumi, *words: str, **changes: Any) -> Any:
    file = fake.folder / "account" / "Pulumi.main.yaml"
    file.parent.mkdir()
    settings = raw_account_settings({"account": ACCOUNT, **changes})
    file.write_text(yaml.safe_dump({"config": {"gatehouse-account:settings": settings}}))
    fake.stacks = ("main",)
    return fake.release(*words, "--project", "account", stack="main")


@pytest.mark.parametrize(("words", "steps"), [(("--yes",), ["preview", "up"]), ((), ["preview"])])
def test_account_is_deployed_without_services(
    account: FakePulumi, words: tuple[str, ...], steps: list[str]
) -> None:
    result = account_project(account, "deploy", *words)
    assert (result.returncode, account.steps) == (0 if words else 1, steps), result.stderr


@pytest.mark.parametrize(
    ("command", "changes"), [("image", {}), ("rollback", {}), ("destroy", {"guards": "create"})]
)
def test_command_that_the_account_cannot_run_is_rejected(
    account: FakePulumi, command: str, changes: dict[str, Any]
) -> None:
    result = account_project(account, command, **changes)
    assert (result.returncode, account.steps) == (2, [])
