"""The program in all stacks, in a preview and deployed."""

import json
import re
from typing import Any

import pulumi
import pytest
from pulumi_local.type_tokens import S3_DEPRECATED, STATEFUL, aws

from tests.components.program import ROOT, Program, run, run_with
from tests.components.settings.stack_settings import each_stack, raw_settings

GUARDS = aws(
    *("s3.BucketPolicy", "s3.BucketVersioning", "s3.BucketObjectLockConfiguration"),
    *("backup.VaultPolicy", "backup.VaultLockConfiguration"),
)
"""Types that protect stateful resources. A `pulumi destroy` without a preview would delete these
protections first.
"""


def plain(inputs: dict[str, Any]) -> dict[str, str]:
    return {k: v.path if isinstance(v, pulumi.FileArchive) else repr(v) for k, v in inputs.items()}


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_policy_documents_are_known_in_preview(stack: str) -> None:
    documents = run(stack, preview=True).documents()
    assert len(documents) >= 40
    for owner, document in documents:
        if "lifecyclePolicy" not in owner:
            masking = "LogDataProtectionPolicy" in owner
            assert document["Version"] == ("2021-06-01" if masking else "2012-10-17"), owner
            assert document["Statement"], owner


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_preview_and_deployment_have_same_resources(stack: str) -> None:
    before, after = (
        sorted((a.type, a.name) for a in run(stack, preview=p).resources) for p in (True, False)
    )
    assert before == after


def test_environment_names_occur_in_settings_only() -> None:
    files = [ROOT / "__main__.py", *(ROOT / "components").rglob("*.py")]
    assert len(files) > 20
    for file in files:
        code = re.sub(r'"""[\s\S]*?"""|#.*', "", file.read_text())
        names = re.findall(r"[\"'](dev|staging|prod)[\"']", code)
        assert not names or "settings" in file.parts, f"{file.name} contains {names}"


def test_program_is_deterministic() -> None:
    again: Program = run_with.__wrapped__("dev", json.dumps(raw_settings("dev")), False)
    first = {(a.type, a.name): a.inputs for a in run("dev").resources}
    assert len(first) == len(run("dev").resources), "two resources of one type share a name"
    assert {(a.type, a.name): plain(a.inputs) for a in again.resources} == {
        k: plain(v) for k, v in first.items()
    }


@each_stack
def test_resources_have_explicit_provider_and_parent(stack: str) -> None:
    resources = [resource for resource in run(stack).resources if resource.type.startswith("aws:")]
    assert resources
    for resource in resources:
        assert "pulumi:providers:aws::aws" in resource.provider, resource.name
        assert "::gatehouse:" in resource.parent, resource.name


@pytest.mark.parametrize(
    ("stack", "protected"), [("dev", False), ("staging", False), ("prod", True)]
)
def test_stateful_resources_follow_protection_settings(stack: str, protected: bool) -> None:
    resources = run(stack).resources
    stateful = [resource for resource in resources if resource.type in STATEFUL]
    assert len({resource.type for resource in stateful}) >= 10
    assert {(resource.protect, resource.retain_on_delete) for resource in stateful} == {
        (protected, protected)
    }
    assert {resource.type for resource in resources if resource.protect} - set(STATEFUL) == (
        set(GUARDS).difference(S3_DEPRECATED) if protected else set()
    )


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("iam.RolePolicy", 10_240), ("kms.Key", 32_768), ("ec2.VpcEndpoint", 20_480)],
)
def test_policy_documents_are_within_size_limits(kind: str, limit: int) -> None:
    sizes = [len(row.inputs["policy"]) for row in run("prod").of_type(kind)]
    assert 0 < max(sizes) <= limit
