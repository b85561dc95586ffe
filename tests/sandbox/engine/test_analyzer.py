"""Packs are started and spoken to as Pulumi's engine does; a pack that misbehaves is named with its own last words."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.engine import analyzer
from sandbox.engine.analyzer import Diagnostic, Pack
from sandbox.engine.project import Project
from sandbox.engine.types import UNKNOWN, Deployment, Registration, Resource
from sandbox.errors import SandboxError

STACK = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"
BUCKET = "urn:pulumi:dev::shop::aws:s3/bucket:Bucket::data"
FENCE = "urn:pulumi:dev::shop::aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock::fence"
PROVIDER = "urn:pulumi:dev::shop::pulumi:providers:aws::main"

PACK = """
from pulumi_policy import *
def resource(args, report):
    if args.resource_type == "aws:s3/bucket:Bucket":
        provider = args.provider.props["region"] if args.provider else "none"
        report(f"{args.name} protect={args.opts.protect} parent={args.opts.parent} region={provider}")
def secret(args, report):
    if args.name == "data":
        report(f"is {args.props['password']}")
def unknown(args, report):
    if args.name == "data":
        report(f"is {args.props['owner']}")
def fence(args, report):
    for one in args.resources:
        if "bucket" in one.property_dependencies:
            report("guards " + one.property_dependencies["bucket"][0].name, one.urn)
    report(f"{len(args.resources)} resources, exports {dict(args.resources[0].props.items())}")
def rewrite(args):
    if args.name == "data":
        return {**args.props, "owner": "policy"}
def owner(args, report):
    if args.name == "data":
        report(f"owner {args.props['owner']}")
PolicyPack("tests", [
    ResourceValidationPolicy("T-RESOURCE", "Sees options", resource),
    ResourceValidationPolicy("T-SECRET", "Sees secrets", secret),
    ResourceValidationPolicy("T-UNKNOWN", "Sees unknowns", unknown),
    StackValidationPolicy("T-STACK", "Sees the stack", fence),
    ResourceValidationPolicy("T-REWRITE", "Rewrites", remediate=rewrite),
    ResourceValidationPolicy("T-OWNER", "Sees what was rewritten", owner),
])
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project("shop", "dev", tmp_path, tmp_path, {"shop:size": "small"})


def a_pack(folder: Path, code: str, levels: Mapping[str, object] | None = None) -> Path:
    pack = folder / "pack"
    (pack / "levels").mkdir(parents=True)
    (pack / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (pack / "__main__.py").write_text(code)
    (pack / "levels" / "dev.json").write_text(json.dumps(levels or {"all": "advisory", "T-REWRITE": "disabled"}))
    return pack


def a_deployment() -> Deployment:
    provider = Registration(PROVIDER, "pulumi:providers:aws", "main", True, "", {"region": "eu-west-1"})
    bucket = Registration(
        BUCKET, "aws:s3/bucket:Bucket", "data", True, "", {"owner": "me", "password": "pass"},
        protect=True, provider=f"{PROVIDER}::1", secret_inputs=("password",),
    )  # fmt: skip
    fence = Registration(
        FENCE, "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "fence", True, "", {"bucket": UNKNOWN},
        dependencies=(BUCKET,), property_dependencies={"bucket": (BUCKET,)},
    )  # fmt: skip
    resources = tuple(Resource(one, "", dict(one.inputs)) for one in (provider, bucket, fence))
    return Deployment("shop", "dev", resources, {"size": 1}, preview=True)


def said(pack: Path, project: Project, deployment: Deployment) -> list[Diagnostic]:
    with analyzer.packs([pack], project, "dev") as running:
        return analyzer.analyze(running, deployment)["pack"]


def messages(diagnostics: list[Diagnostic], rule: str) -> list[str]:
    return [one.message for one in diagnostics if one.rule == rule]


@pytest.fixture
def found(tmp_path: Path, project: Project) -> list[Diagnostic]:
    return said(a_pack(tmp_path, PACK), project, a_deployment())


def test_a_rule_sees_options_parent_and_provider_as_the_engine_sends_them(found: list[Diagnostic]) -> None:
    assert messages(found, "T-RESOURCE") == [f"data protect=True parent={STACK} region=eu-west-1"]


def test_a_rule_sees_a_secret_input_unwrapped(found: list[Diagnostic]) -> None:
    assert messages(found, "T-SECRET") == ["is pass"]


def test_a_stack_rule_joins_resources_by_property_dependencies_while_ids_are_unknown(found: list[Diagnostic]) -> None:
    assert next(one.message for one in found if one.rule == "T-STACK" and one.urn == FENCE) == "guards data"


def test_a_stack_rule_sees_the_stack_itself_and_a_violation_without_a_resource_is_the_stacks(
    found: list[Diagnostic],
) -> None:
    whole = next(one for one in found if one.rule == "T-STACK" and one.urn == STACK)
    assert whole.message == "4 resources, exports {'size': 1.0}"


def test_an_unknown_value_reaches_the_rule_as_unknown(tmp_path: Path, project: Project) -> None:
    deployment = a_deployment()
    provider, bucket, fence = deployment.resources
    asked = replace(bucket.registration, inputs={"owner": UNKNOWN, "password": "pass"})
    found = said(
        a_pack(tmp_path, PACK),
        project,
        replace(deployment, resources=(provider, replace(bucket, registration=asked), fence)),
    )
    assert "can't run policy 'T-UNKNOWN'" in messages(found, "T-UNKNOWN")[0]


def test_levels_of_the_environment_override_those_of_the_pack(tmp_path: Path, project: Project) -> None:
    levels = {"all": "disabled", "T-RESOURCE": "mandatory", "T-OWNER": {"enforcementLevel": "advisory"}}
    found = said(a_pack(tmp_path, PACK, levels), project, a_deployment())
    assert {one.rule: one.level for one in found} == {"T-RESOURCE": "mandatory", "T-OWNER": "advisory"}


def test_a_remediation_is_reported_and_its_inputs_are_what_the_rules_then_see(tmp_path: Path, project: Project) -> None:
    levels = {"all": "disabled", "T-REWRITE": "remediate", "T-OWNER": "advisory"}
    found = said(a_pack(tmp_path, PACK, levels), project, a_deployment())
    assert [one.level for one in found if one.rule == "T-REWRITE"] == ["remediate"]
    assert messages(found, "T-OWNER") == ["owner policy"]


def test_a_pack_knows_project_stack_and_configuration(tmp_path: Path, project: Project) -> None:
    code = """
import pulumi
from pulumi_policy import *
def rule(args, report):
    report(f"{pulumi.get_project()} {pulumi.get_stack()} {pulumi.Config().require('size')}", None)
PolicyPack("tests", [StackValidationPolicy("T", "t", rule)])
"""
    found = said(a_pack(tmp_path, code, {"T": "advisory"}), project, a_deployment())
    assert messages(found, "T") == ["shop dev small"]


def test_a_pack_that_does_not_start_is_named_with_its_error(tmp_path: Path, project: Project) -> None:
    pack = a_pack(tmp_path, "import nowhere")
    with pytest.raises(SandboxError) as refused:
        said(pack, project, a_deployment())
    assert refused.value.message == "Policy pack pack did not start: ModuleNotFoundError: No module named 'nowhere'"


def test_a_pack_that_prints_before_its_port_is_refused(tmp_path: Path, project: Project) -> None:
    with pytest.raises(SandboxError) as refused:
        said(a_pack(tmp_path, f"print('hello')\n{PACK}"), project, a_deployment())
    assert refused.value.message == (
        "Policy pack pack said 'hello' where its port number belongs. Nothing may print before PolicyPack(...)."
    )


def test_a_pack_that_dies_while_it_judges_is_named_with_its_last_words(tmp_path: Path, project: Project) -> None:
    code = """
import os, sys
from pulumi_policy import *
def rule(args, report):
    sys.stderr.write("out of luck\\n"); sys.stderr.flush(); os._exit(3)
PolicyPack("tests", [ResourceValidationPolicy("T", "t", rule)])
"""
    with pytest.raises(SandboxError) as refused:
        said(a_pack(tmp_path, code, {"T": "advisory"}), project, a_deployment())
    assert refused.value.message == f"Policy pack pack failed in Analyze about {STACK}: it ended: out of luck"


def test_a_rule_that_raises_fails_the_check_instead_of_passing(tmp_path: Path, project: Project) -> None:
    code = """
from pulumi_policy import *
def rule(args, report): raise ValueError("bad rule")
PolicyPack("tests", [ResourceValidationPolicy("T", "t", rule)])
"""
    with pytest.raises(SandboxError) as refused:
        said(a_pack(tmp_path, code, {"T": "advisory"}), project, a_deployment())
    assert refused.value.message == f"Policy pack pack failed in Analyze about {STACK}: bad rule"


def test_a_level_for_a_rule_that_the_pack_lacks_is_refused(tmp_path: Path, project: Project) -> None:
    with pytest.raises(SandboxError) as refused:
        said(a_pack(tmp_path, PACK, {"T-RESUORCE": "mandatory"}), project, a_deployment())
    assert refused.value.message == (
        "pack/levels/dev.json: the pack has no rule 'T-RESUORCE'. Remove the line, or correct the id."
    )


def test_an_unknown_level_is_refused(tmp_path: Path, project: Project) -> None:
    with pytest.raises(SandboxError, match=r"T-RESOURCE: 'mandatroy' is not a level. Choose one of: advisory, mandatory"):
        said(a_pack(tmp_path, PACK, {"T-RESOURCE": "mandatroy"}), project, a_deployment())


def test_an_environment_without_levels_is_refused_before_anything_starts(tmp_path: Path, project: Project) -> None:
    pack = a_pack(tmp_path, PACK)
    with pytest.raises(SandboxError) as refused, analyzer.packs([pack], project, "test"):
        pass
    assert refused.value.message == "Policy pack pack has no levels for 'test'. Known: dev. Choose one: --levels NAME"


def test_no_pack_stays_behind_when_its_user_fails(tmp_path: Path, project: Project) -> None:
    started: list[Pack] = []

    def use() -> None:
        with analyzer.packs([a_pack(tmp_path, PACK)], project, "dev") as running:
            started.extend(running)
            raise KeyError

    with pytest.raises(KeyError):
        use()
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)
