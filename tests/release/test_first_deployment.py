"""The first deployment of a stack: the step without the ECS services excludes resources that do not
exist yet.
"""

import re
from dataclasses import replace

import pytest

from release import deploy
from release.pulumi_cli import command_line
from release.stack_file import Stack
from tests.components.program import ROOT, run
from tests.release import fake_engine
from tests.release.fake_aws import ACCOUNT, NEW

STACK = Stack(fake_engine.STACK, ACCOUNT, "eu-west-1", NEW)


def test_first_step_excludes_services_their_task_definitions_and_their_dns_records() -> None:
    command = command_line("deploy", STACK, yes=True, without_services=True)
    excluded = fake_engine.excluded(command)
    types = {urn.split("::")[2].rpartition("$")[2] for urn in excluded}
    assert {urn.rpartition("::")[2] for urn in excluded if ":route53/record:" in urn} == {
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


@pytest.mark.parametrize(
    ("zone_id", "outputs", "message"),
    [
        (None, ["ns-1", "ns-2"], "acme.dev is delegated to ns-1, ns-2"),
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
    deploy._print_name_servers(replace(STACK, settings=settings), ROOT)
    printed = capsys.readouterr().out
    assert message in printed
    assert bool(printed) == bool(message)


def test_first_step_deploys_the_migration() -> None:
    command = command_line("deploy", STACK, yes=True, without_services=True)
    names = {
        urn.rpartition("::")[2]
        for urn in fake_engine.excluded(command)
        if "$aws:ecs/taskDefinition:" in urn
    }
    assert names == {"gateway", "console"}


def test_targets_of_the_guide_create_registry_and_hosted_zone() -> None:
    """The engine rejects a target whose parent, provider or dependency does not exist and is not a
    target.
    """
    guide = (ROOT / "docs" / "guides" / "deploy.md").read_text(encoding="utf-8")
    patterns = [
        re.escape(target).replace(r"\*\*", ".*")
        for target in re.findall(r"--target '([^']+)'", guide)
    ]
    assert len(patterns) >= 8
    resources = run("dev").resources
    targets = {
        r.urn: r for r in resources if any(re.fullmatch(pattern, r.urn) for pattern in patterns)
    }
    types = {resource.type for resource in targets.values()}
    assert {
        "aws:ecr/repository:Repository",
        "aws:route53/zone:Zone",
        "aws:kms/key:Key",
        "aws:iam/role:Role",
    } <= types
    assert (
        types
        & {
            "aws:rds/instance:Instance",
            "aws:ecs/service:Service",
            "aws:acm/certificateValidation:CertificateValidation",
        }
        == set()
    )
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
