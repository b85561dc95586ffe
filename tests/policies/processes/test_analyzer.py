"""Packs get the messages of the engine; errors have their last output."""

import os
import sys
from functools import partial
from pathlib import Path

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.processes import analyzer
from gatehouse_policies.processes.analyzer import Diagnostic
from gatehouse_policies.processes.isolated import ProgramProcess, Request
from gatehouse_policies.processes.messages import Messages
from pulumi_local.errors import CommandError
from pulumi_local.files.project import Project
from pulumi_local.types import UNKNOWN, Deployment, Registration, Resource

from tests.cases import cases

_CASES = cases(__file__)

STACK = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"
BUCKET = "urn:pulumi:dev::shop::aws:s3/bucket:Bucket::data"
BLOCK = "urn:pulumi:dev::shop::aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock::block"
PROVIDER = "urn:pulumi:dev::shop::pulumi:providers:aws::main"

PACK: str = _CASES["pack"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    return Project("shop", "dev", folder, folder, {"shop:size": "small"})


def write_pack(folder: Path, code: str) -> Path:
    pack = folder / "pack"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (pack / "__main__.py").write_text(code)
    return pack


def deployment() -> Deployment:
    provider = Registration(
        PROVIDER, "pulumi:providers:aws", "main", True, "", {"region": "eu-west-1"}
    )
    bucket = Registration(
        BUCKET, "aws:s3/bucket:Bucket", "data", True, "", {"owner": "me", "password": "pass"},
        protect=True, provider=f"{PROVIDER}::1", secret_inputs=("password",),
    )  # fmt: skip
    block = Registration(
        BLOCK, "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "block", True, "",
        {"bucket": UNKNOWN}, dependencies=(BUCKET,), property_dependencies={"bucket": (BUCKET,)},
    )  # fmt: skip
    resources = tuple(Resource(row, "", dict(row.inputs)) for row in (provider, bucket, block))
    return Deployment("shop", "dev", resources, {"size": 1}, preview=True)


def analyze(pack: Path, project: Project, deployment: Deployment) -> list[Diagnostic]:
    with analyzer.packs([pack], project, "dev") as running:
        return analyzer.analyze(running, Messages.of(deployment))


def messages(diagnostics: list[Diagnostic], rule: str) -> list[str]:
    return [row.message for row in diagnostics if row.rule == rule]


def test_rules_get_what_the_engine_passes(tmp_path: Path, project: Project) -> None:
    rows = analyze(write_pack(tmp_path, PACK), project, deployment())
    found = {(row.rule, row.urn): row.message for row in rows}
    assert len(found) == len(rows)
    assert "can't run policy 'T-UNKNOWN'" in found.pop(("T-UNKNOWN", BLOCK))
    assert found == {
        ("T-RESOURCE", BUCKET): f"data protect=True parent={STACK} region=eu-west-1",
        ("T-SECRET", BUCKET): "is pass",
        ("T-STACK", BLOCK): "protects data",
        ("T-STACK", STACK): "4 resources, exports {'size': 1.0}",
    }


def test_pack_gets_project_stack_and_configuration(tmp_path: Path, project: Project) -> None:
    code = """
import pulumi
from pulumi_policy import *
def rule(args, report):
    report(f"{pulumi.get_project()} {pulumi.get_stack()} {pulumi.Config().require('size')}", None)
PolicyPack("tests", [StackValidationPolicy("T", "t", rule)])
"""
    diagnostics = analyze(write_pack(tmp_path, code), project, deployment())
    assert messages(diagnostics, "T") == ["shop dev small"]


_EXITING = """
import os, sys
from pulumi_policy import *
def rule(args, report):
    sys.stderr.write("out of luck\\n"); sys.stderr.flush(); os._exit(3)
PolicyPack("tests", [ResourceValidationPolicy("T", "t", rule)])
"""
_RAISING = """
from pulumi_policy import *
def rule(args, report): raise ValueError("bad rule")
PolicyPack("tests", [ResourceValidationPolicy("T", "t", rule)])
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nowhere", "did not start: ModuleNotFoundError: No module named 'nowhere'"),
        (_EXITING, "failed in Analyze: the process exited: out of luck"),
        (_RAISING, f"failed in Analyze for {STACK}: bad rule"),
    ],
)
def test_pack_that_fails_is_one_error(
    tmp_path: Path, project: Project, code: str, message: str
) -> None:
    with pytest.raises(CommandError) as error:
        analyze(write_pack(tmp_path, code), project, deployment())
    assert error.value.message == f"Policy pack pack {message}"


def test_packs_are_stopped_after_an_error(tmp_path: Path, project: Project) -> None:
    record = "import os, pathlib\npathlib.Path('pid').write_text(str(os.getpid()))\n"
    pack = write_pack(tmp_path, record + PACK)

    def use() -> None:
        with analyzer.packs([pack], project, "dev") as running:
            running[0].connect()
            raise KeyError

    with pytest.raises(KeyError):
        use()
    with pytest.raises(ProcessLookupError):
        os.kill(int((pack / "pid").read_text()), 0)


COPIES = """
import json
import pulumi_aws as aws

for number in range(COPIES):
    bucket = aws.s3.Bucket(f"bucket-{number}")
    aws.s3.BucketPolicy(f"policy-{number}", bucket=bucket.id, policy=bucket.arn.apply(json.dumps))
    aws.iam.Role(f"role-{number}", assume_role_policy="{}")
    topic = aws.sns.Topic(f"topic-{number}")
    aws.sqs.Queue(f"queue-{number}", tags={"topic": topic.arn})
    group = aws.ec2.SecurityGroup(f"group-{number}")
    aws.vpc.SecurityGroupIngressRule(
        f"rule-{number}", security_group_id=group.id, cidr_ipv4="0.0.0.0/0", ip_protocol="-1"
    )
"""


def _append(called: list[object], *event: object) -> None:
    called.append(event[1])


def test_work_of_a_resource_does_not_depend_on_the_others(tmp_path: Path, project: Project) -> None:
    """Twice as many resources take twice as many function calls."""
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  aws:region: eu-west-1\n")
    calls = []
    with ProgramProcess() as process:
        for copies in (15, 30):
            (tmp_path / "__main__.py").write_text(COPIES.replace("COPIES", str(copies)))
            outcome = process.run(Request(str(tmp_path), "dev", True, "1", False, {}))
            assert outcome.messages is not None, outcome.error
            called: list[object] = []
            with analyzer.packs(policy_check.PACKS, project, "prod") as running:
                for pack in running:
                    pack.connect()
                sys.settrace(partial(_append, called))
                found = analyzer.analyze(running, outcome.messages)
                sys.settrace(None)
            assert len(found) > 10 * copies
            calls.append(len(called))
    assert calls[1] < 2.1 * calls[0], calls
