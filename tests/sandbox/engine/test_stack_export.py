"""The exported file is one that Pulumi's own engine can read."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.engine.stack_export import deployment_file, export
from sandbox.engine.types import Deployment, Registration, Resource

FAMILY = Path(__file__).parents[1] / "programs" / "family"
STACK = "urn:pulumi:dev::family::pulumi:pulumi:Stack::family-dev"


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(export(FAMILY, "dev"))
    return document


def by_name(written: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["urn"].split("::", 2)[2]: item for item in written["deployment"]["resources"]}


def test_the_manifest_carries_the_cookie_that_pulumi_checks(written: dict[str, Any]) -> None:
    manifest = written["deployment"]["manifest"]
    assert written["version"] == 3
    assert manifest["magic"] == hashlib.sha256(manifest["version"].encode()).hexdigest()


def test_the_first_resource_is_the_stack_with_its_exports(written: dict[str, Any]) -> None:
    root = written["deployment"]["resources"][0]
    assert (root["urn"], root["type"], root["custom"]) == (STACK, "pulumi:pulumi:Stack", False)
    assert root["outputs"]["bucket"] == "cellar-of-the-house"


def test_what_a_resource_leans_on_stands_before_it(written: dict[str, Any]) -> None:
    seen: set[str] = set()
    for item in written["deployment"]["resources"]:
        leans = {*item.get("dependencies", []), item.get("parent", ""), item.get("provider", "").rpartition("::")[0]}
        assert leans - {""} <= seen
        seen.add(item["urn"])


def test_a_resource_keeps_its_place_provider_and_dependencies(written: dict[str, Any]) -> None:
    cellar = "demo:parts:House$demo:parts:Cellar"
    found = by_name(written)
    policy, bucket = (found[f"{cellar}$aws:s3/{kind}::cellar"] for kind in ("bucketPolicy:BucketPolicy", "bucket:Bucket"))
    assert policy["dependencies"] == [bucket["urn"]]
    assert policy["propertyDependencies"] == {"policy": [bucket["urn"]], "bucket": [bucket["urn"]]}
    assert policy["parent"] == found[f"{cellar}::cellar"]["urn"]
    assert policy["sourcePosition"] == "project:///parts.py#15"
    assert bucket["id"] == "cellar-of-the-house"
    assert found["demo:parts:House::home"]["parent"] == STACK
    assert found["aws:sns/topic:Topic::bell"]["protect"] is True


def test_the_same_program_gives_the_same_text() -> None:
    assert export(FAMILY, "dev") == export(FAMILY, "dev")


def test_a_secret_value_is_not_written() -> None:
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
