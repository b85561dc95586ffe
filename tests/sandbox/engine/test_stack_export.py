"""The export has the format that the Pulumi engine reads."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.engine.stack_export import deployment_file, export
from sandbox.engine.types import Deployment, Registration, Resource

PROGRAM = Path(__file__).parents[1] / "programs" / "nested_components"
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
        required = {*item.get("dependencies", []), item.get("parent", ""), item.get("provider", "").rpartition("::")[0]}
        assert required - {""} <= earlier
        earlier.add(item["urn"])


def test_resource_members(written: dict[str, Any]) -> None:
    storage = "demo:parts:Application$demo:parts:Storage"
    resources = by_name(written)
    policy, bucket = (resources[f"{storage}$aws:s3/{kind}::storage"] for kind in ("bucketPolicy:BucketPolicy", "bucket:Bucket"))
    assert policy["dependencies"] == [bucket["urn"]]
    assert policy["propertyDependencies"] == {"policy": [bucket["urn"]], "bucket": [bucket["urn"]]}
    assert policy["parent"] == resources[f"{storage}::storage"]["urn"]
    assert policy["sourcePosition"] == "project:///parts.py#15"
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
    resource = Resource(registration, "t", {"name": "s3cr3t", "policy": "s3cr3t", "tags": {"a": "b"}})
    document = deployment_file(Deployment("t", "dev", (resource,), {}, False))
    written = document["deployment"]["resources"][1]
    assert "s3cr3t" not in json.dumps(document)
    assert written["inputs"]["name"] == {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "plaintext": '"[secret]"',
    }
    assert written["customTimeouts"] == {"create": 5400.0}
