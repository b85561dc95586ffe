"""The export has the format that the Pulumi engine reads."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.program import stack_import
from gatehouse_policies.program.types import Deployment, Registration, Resource

from sandbox.engine.stack_export import deployment_file, export

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ROOT / "tests/policies/program/programs/nested_components"
STACK = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(export(PROGRAM, "dev"))
    return document


def by_name(written: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["urn"].split("::", 2)[2]: item for item in written["deployment"]["resources"]}


def test_manifest_has_the_magic_cookie(written: dict[str, Any]) -> None:
    manifest = written["deployment"]["manifest"]
    assert written["version"] == 3
    assert manifest["magic"] == hashlib.sha256(manifest["version"].encode()).hexdigest()


def test_first_resource_is_the_stack(written: dict[str, Any]) -> None:
    root = written["deployment"]["resources"][0]
    assert (root["urn"], root["type"], root["custom"]) == (STACK, "pulumi:pulumi:Stack", False)
    assert root["outputs"]["bucket"] == "application-data"


def test_resources_are_in_dependency_order(written: dict[str, Any]) -> None:
    earlier: set[str] = set()
    assert len(written["deployment"]["resources"]) == 7
    for item in written["deployment"]["resources"]:
        required = {
            *item.get("dependencies", []),
            item.get("parent", ""),
            item.get("provider", "").rpartition("::")[0],
        }
        assert required - {""} <= earlier
        earlier.add(item["urn"])


def test_resource_members(written: dict[str, Any]) -> None:
    storage = "demo:parts:Application$demo:parts:Storage"
    resources = by_name(written)
    policy, bucket = (
        resources[f"{storage}$aws:s3/{kind}::storage"]
        for kind in ("bucketPolicy:BucketPolicy", "bucket:Bucket")
    )
    assert policy["dependencies"] == [bucket["urn"]]
    assert policy["propertyDependencies"] == {"policy": [bucket["urn"]], "bucket": [bucket["urn"]]}
    assert policy["parent"] == resources[f"{storage}::storage"]["urn"]
    assert policy["sourcePosition"] == "project:///parts.py#17"
    assert bucket["id"] == "application-data"
    assert resources["demo:parts:Application::application"]["parent"] == STACK
    assert resources["aws:sns/topic:Topic::alerts"]["protect"] is True


def test_export_is_deterministic() -> None:
    assert export(PROGRAM, "dev") == export(PROGRAM, "dev")


def test_secret_values_are_redacted() -> None:
    registration = Registration(
        "urn:pulumi:dev::t::aws:sns/topic:Topic::t",
        "aws:sns/topic:Topic",
        "t",
        True,
        "",
        {"name": "s3cr3t", "tags": {"a": "b"}},
        secret_inputs=("name",),
        additional_secret_outputs=("policy",),
        custom_timeouts={"create": "1h30m"},
    )
    resource = Resource(
        registration, "t", {"name": "s3cr3t", "policy": "s3cr3t", "tags": {"a": "b"}}
    )
    document = deployment_file(Deployment("t", "dev", (resource,), {}, False))
    written = document["deployment"]["resources"][1]
    assert "s3cr3t" not in json.dumps(document)
    assert written["inputs"]["name"] == {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "plaintext": '"[secret]"',
    }
    assert written["customTimeouts"] == {"create": 5400.0}


def test_export_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "shop.json"
    file.write_text(export(PROGRAM, "dev"))
    project, deployment = stack_import.read(file)
    assert (project.name, project.stack, deployment.exports["bucket"]) == (
        "shop",
        "dev",
        "application-data",
    )
    policies = {
        row.registration.name: row
        for row in deployment.resources
        if "bucketPolicy" in row.registration.type
    }
    policy = policies["storage"].registration
    storage = "urn:pulumi:dev::shop::demo:parts:Application$demo:parts:Storage"
    assert policy.parent == f"{storage}::storage"
    assert policy.property_dependencies["bucket"] == (f"{storage}$aws:s3/bucket:Bucket::storage",)
    assert policy.source == "parts.py:17"


@pytest.mark.requirement("PP-02")
def test_export_has_the_findings_of_the_program(tmp_path: Path) -> None:
    program, file = ROOT / "examples" / "leaky", tmp_path / "leaky.json"
    file.write_text(export(program, "dev"))
    of_state = policy_check.check_state(file, levels="prod")
    of_program = policy_check.check(program, "dev", levels="prod", passes=("known",))
    assert of_state.exit_code == 1
    findings = [
        {
            (row.rule, row.urn, row.message, row.source)
            for row in result.findings
            if "RDS-012" not in row.rule
        }
        for result in (of_state, of_program)
    ]
    assert findings[0] == findings[1], "apart from the encrypted password (RDS-012)"
    assert len(findings[0]) > 10
