"""The first step excludes resources that do not exist yet."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from release import deploy
from release.pulumi_cli import command_line
from release.stack_file import Stack
from tests.components.program import ROOT, run
from tests.release.fake_aws import ACCOUNT, NEW

STACK = Stack("dev", ACCOUNT, "eu-west-1", NEW)


def excluded(words: Sequence[str]) -> set[str]:
    """URNs that a command line excludes, with dependents for --exclude-dependents."""
    patterns = [after for option, after in pairwise(words) if option == "--exclude"]
    urns: set[str] = set()
    for resource in run("dev").resources:
        is_match = any(fnmatch.fnmatch(resource.urn, pattern) for pattern in patterns)
        is_dependent = "--exclude-dependents" in words and not urns.isdisjoint(
            (resource.parent, *resource.dependencies)
        )
        if is_match or is_dependent:
            urns.add(resource.urn)
    return urns


def test_first_step_excludes_services_their_task_definitions_and_their_dns_records() -> None:
    command = command_line("deploy", STACK, yes=True, without_services=True)
    urns = excluded(command)
    types = {urn.split("::")[2].rpartition("$")[2] for urn in urns}
    assert {urn.rpartition("::")[2] for urn in urns if ":route53/record:" in urn} == {
        "gateway",
        "console",
        "sharing",
    }
    assert {type for type in types if type.startswith("aws:")} == {
        "aws:ecs/taskDefinition:TaskDefinition",
        "aws:ecs/service:Service",
        "aws:appautoscaling/target:Target",
        "aws:appautoscaling/policy:Policy",
        "aws:route53/record:Record",
    }
    definitions = [urn for urn in urns if "$aws:ecs/taskDefinition:" in urn]
    assert {urn.rpartition("::")[2] for urn in definitions} == {"gateway", "console"}, (
        "the migration is deployed"
    )


@pytest.mark.parametrize(
    ("zone_id", "outputs", "message"),
    [
        (None, ["ns-1", "ns\x1b2"], "acme.dev is delegated to ns-1, ns\ufffd2"),
        (None, None, "acme.dev is delegated to the name servers of its hosted zone"),
        ("Z1", None, ""),
    ],
)
def test_name_servers_are_printed_before_the_certificate_is_awaited(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    zone_id: str | None,
    outputs: list[str] | None,
    message: str,
) -> None:
    def stack_output(*_: object) -> list[str]:
        if outputs is None:
            raise ValueError
        return outputs

    monkeypatch.setattr(deploy, "stack_output", stack_output)
    settings = {"domain": "acme.dev", "existing_resources": {"zone_id": zone_id}}
    deploy._print_name_servers(replace(STACK, settings=settings))
    printed = capsys.readouterr().out
    assert message in printed
    assert bool(printed) == bool(message)


@pytest.mark.parametrize(
    ("page", "zone"),
    [("guides/deploy", {"aws:route53/zone:Zone"}), ("runbooks/recovery", set[str]())],
)
@pytest.mark.parametrize(
    ("stack", "changes"),
    [
        ("dev", {}),
        ("prod", {"delivery": {"repository": "example/gatehouse", "state_bucket": "state"}}),
    ],
    ids=["without a pipeline", "with a pipeline"],
)
def test_targets_of_the_first_update_include_what_they_require(
    page: str, zone: set[str], stack: str, changes: dict[str, Any]
) -> None:
    patterns = [
        re.escape(target).replace(r"\*\*", ".*")
        for target in re.findall(r"--target '([^']+)'", (ROOT / "docs" / f"{page}.md").read_text())
    ]
    assert len(patterns) >= 5
    targets = {
        resource.urn: resource
        for resource in run(stack, changes=changes).resources
        if any(re.fullmatch(pattern, resource.urn) for pattern in patterns)
    }
    types = {resource.type for resource in targets.values()}
    created = {"aws:ecr/repository:Repository", "aws:kms/key:Key", "aws:iam/role:Role"}
    assert created | zone <= types
    assert not types & {
        "aws:rds/instance:Instance",
        "aws:ecs/service:Service",
        "aws:acm/certificateValidation:CertificateValidation",
    }
    for resource in targets.values():
        required = {
            *resource.dependencies,
            resource.parent,
            resource.provider.rpartition("::")[0],
        } - {""}
        missing = {
            urn for urn in required if urn not in targets and "pulumi:pulumi:Stack" not in urn
        }
        assert missing == set(), resource.urn
