"""Resources of the program in all stacks, in a preview and in a deployment."""

import json
import re
from typing import Any

import pulumi
import pytest
from gatehouse_policies.analysis.type_tokens import S3_DEPRECATED, STATEFUL

from components.database.rds_instance import final_snapshot
from components.settings.loader import parse
from tests.components.program import OPTIONS, ROOT, Program, run, run_with
from tests.components.settings.stack_settings import STACKS, raw_settings

UNUSED = {*S3_DEPRECATED, "aws:rds/cluster:Cluster", "aws:kms/replicaKey:ReplicaKey"}
"""Stateful types that not every stack has."""
GUARDS = {
    *("aws:s3/bucketPolicy:BucketPolicy", "aws:s3/bucketVersioning:BucketVersioning"),
    *(
        "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
        "aws:backup/vaultPolicy:VaultPolicy",
    ),
    "aws:backup/vaultLockConfiguration:VaultLockConfiguration",
}
"""Types that protect stateful resources. A `pulumi destroy` without a preview would delete these
protections first.
"""


def plain(inputs: dict[str, Any]) -> dict[str, str]:
    """Comparable inputs: archives as paths."""
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
        code = re.sub(r'"""[\s\S]*?"""|#.*', "", file.read_text(encoding="utf-8"))
        names = re.findall(r"[\"'](dev|staging|prod)[\"']", code)
        assert not names or "settings" in file.parts, f"{file.name} contains {names}"


def test_program_is_deterministic() -> None:
    again: Program = run_with.__wrapped__("dev", json.dumps(raw_settings("dev")), False)
    first = {(a.type, a.name): a.inputs for a in run("dev").resources}
    assert len(first) == len(run("dev").resources), "two resources of one type share a name"
    assert {(a.type, a.name): plain(a.inputs) for a in again.resources} == {
        k: plain(v) for k, v in first.items()
    }


@pytest.mark.parametrize("stack", STACKS)
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
    assert {resource.type for resource in stateful} >= set(STATEFUL) - UNUSED
    assert {(resource.protect, resource.retain) for resource in stateful} == {
        (protected, protected)
    }
    assert {resource.type for resource in resources if resource.protect} - set(STATEFUL) == (
        GUARDS if protected else set()
    )


def test_destroy_leaves_protected_buckets_with_their_configuration() -> None:
    parts = [row for row in run("prod").resources if row.type.startswith("aws:s3/bucket")]
    assert {row.type.rpartition(":")[2] for row in parts} >= {
        "BucketLifecycleConfiguration",
        "BucketLogging",
        "BucketReplicationConfig",
        "BucketServerSideEncryptionConfiguration",
    }
    assert [
        row.urn
        for row in parts
        if not row.protect and not row.deleted_with.endswith(f"aws:s3/bucket:Bucket::{row.name}")
    ] == []


@pytest.mark.requirement("SS-02")
@pytest.mark.parametrize("stack", STACKS)
def test_deletion_from_secrets_bucket_is_final(stack: str) -> None:
    program = run(stack)
    rules = program.get(
        "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", "secrets"
    ).inputs["rules"]
    assert [rule["status"] for rule in rules] == ["Enabled", "Enabled"]
    assert rules[0]["noncurrentVersionExpiration"] == {"noncurrentDays": 1}
    assert rules[0]["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 1}
    # S3 rejects expiredObjectDeleteMarker together with days.
    assert (rules[0]["expiration"], rules[1]["expiration"]) == (
        {"days": 31},
        {"expiredObjectDeleteMarker": True},
    )
    bucket = program.get("s3/bucket:Bucket", "secrets")
    assert bucket.inputs["objectLockEnabled"] is False
    assert {
        a.name
        for a in program.of_type("s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration")
    } == {"trail"}
    copied = {a.name for a in program.of_type("s3/bucketReplicationConfig:BucketReplicationConfig")}
    assert copied == ({"data"} if stack == "prod" else set())
    (selection,) = program.of_type("backup/selection:Selection")
    assert len(selection.inputs["resources"]) == 3
    assert not [arn for arn in selection.inputs["resources"] if "secrets" in arn]


@pytest.mark.parametrize(("stack", "nats"), [("dev", 1), ("staging", 1), ("prod", 3)])
def test_data_tier_has_no_internet_route(stack: str, nats: int) -> None:
    program = run(stack)
    assert len(program.of_type("ec2/natGateway:NatGateway")) == nats
    assert not any(route.name.startswith("data") for route in program.of_type("ec2/route:Route"))
    assert {a.inputs["mapPublicIpOnLaunch"] for a in program.of_type("ec2/subnet:Subnet")} == {
        False
    }


def waf_rules(stack: str) -> dict[str, dict[str, Any]]:
    (acl,) = run(stack).of_type("wafv2/webAcl:WebAcl")
    rules = {rule["name"]: rule for rule in acl.inputs["rules"]}
    assert len({rule["priority"] for rule in rules.values()}) == len(rules)
    return rules


@pytest.mark.requirement("ECS-04")
@pytest.mark.parametrize("service", ["console", "sharing"])
@pytest.mark.parametrize("stack", STACKS)
def test_waf_limits_requests_per_service(stack: str, service: str) -> None:
    rate = waf_rules(stack)[f"rate-{service}"]["statement"]["rateBasedStatement"]
    waf = parse(raw_settings(stack), stack).waf
    assert rate["limit"] == waf.service_requests_max()[service] < waf.requests_max
    match = rate["scopeDownStatement"]["regexMatchStatement"]
    host = run(stack).exports["urls"][service].removeprefix("https://")
    for sent, matched in (
        (host, True),
        (f"{host}:443", True),
        (f"{host}.acme.dev", False),
        (host.replace(".", "x"), False),
    ):
        assert bool(re.search(match["regexString"], sent)) is matched, sent
    assert match["fieldToMatch"] == {"singleHeader": {"name": "host"}}


def test_metrics_path_returns_404_before_other_rules() -> None:
    rules = {a.name: a.inputs for a in run("prod").of_type("lb/listenerRule:ListenerRule")}
    assert rules["metrics"]["priority"] < min(
        rules[f"forward-{service}"]["priority"] for service in ("gateway", "console", "sharing")
    )
    hosts = [f"{name}.gatehouse.example.com" for name in ("gateway", "console", "sharing")]
    assert rules["metrics"]["conditions"] == [
        {"pathPattern": {"values": ["/metrics", "/metrics/*"]}},
        {"hostHeader": {"values": hosts}},
    ]
    assert rules["metrics"]["actions"][0]["fixedResponse"]["statusCode"] == "404"


def test_cache_evicts_nothing() -> None:
    """Evicting a counter would reset a limit, and evicting a nonce would allow a replay."""
    (parameters,) = run("prod").of_type("elasticache/parameterGroup:ParameterGroup")
    assert parameters.inputs["family"] == "valkey8"
    assert parameters.inputs["parameters"] == [{"name": "maxmemory-policy", "value": "noeviction"}]
    (cache,) = run("prod").of_type("elasticache/replicationGroup:ReplicationGroup")
    assert cache.inputs["parameterGroupName"] == parameters.inputs["name"]


def test_major_version_has_its_own_parameter_group() -> None:
    program = run("dev", changes=OPTIONS)
    for deployed, family in ((run("dev"), "postgres17"), (program, "postgres18")):
        group = deployed.get("rds/parameterGroup:ParameterGroup", "database").inputs
        assert (group["name"], group["family"]) == (f"gatehouse-dev-main-{family}", family)
    assert (
        program.get("rds/instance:Instance", "database").inputs["allowMajorVersionUpgrade"] is True
    )
    assert (
        run("dev").get("rds/instance:Instance", "database").inputs["allowMajorVersionUpgrade"]
        is False
    )


def test_recreated_stack_has_another_final_snapshot() -> None:
    """RDS rejects a final snapshot whose name exists. A new stack has new subnets, but can use an
    existing KMS key.
    """
    names = [
        final_snapshot("gatehouse-prod-main", f"subnet-{digits}")
        for digits in ("0a1b2c3d4e5f60718", "0a1b2c3d4e5f60719")
    ]
    assert names == [
        "gatehouse-prod-main-final-0a1b2c3d4e5f60718",
        "gatehouse-prod-main-final-0a1b2c3d4e5f60719",
    ]
    identifier = (
        run("prod").get("rds/instance:Instance", "database").inputs["finalSnapshotIdentifier"]
    )
    assert identifier.startswith("gatehouse-prod-main-final-")


@pytest.mark.requirement("ECS-12")
@pytest.mark.parametrize("bucket", ["data", "replica-data"])
def test_replication_waits_for_versioning_of_both_buckets(bucket: str) -> None:
    program = run("prod")
    (replication,) = program.of_type("s3/bucketReplicationConfig:BucketReplicationConfig")
    versioning = program.get("s3/bucketVersioning:BucketVersioning", bucket)
    assert versioning.urn in replication.dependencies


@pytest.mark.requirement("CG-17", "CG-18")
def test_only_key_policies_grant_the_use_of_keys() -> None:
    policies = run("prod").of_type("iam/rolePolicy:RolePolicy")
    assert len(policies) > 10
    assert [row.name for row in policies if '"kms:' in row.inputs["policy"]] == []


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("iam/rolePolicy:RolePolicy", 10_240),
        ("kms/key:Key", 32_768),
        ("ec2/vpcEndpoint:VpcEndpoint", 20_480),
    ],
)
def test_policy_documents_are_within_size_limits(kind: str, limit: int) -> None:
    sizes = [len(row.inputs["policy"]) for row in run("prod").of_type(kind)]
    assert 0 < max(sizes) <= limit


@pytest.mark.requirement("TR-18")
def test_updates_reach_staging_before_prod_and_do_not_replace_the_cache() -> None:
    windows = {}
    for stack in STACKS:
        cache = run(stack).get("elasticache/replicationGroup:ReplicationGroup", "cache")
        database = run(stack).get("rds/instance:Instance", "database").inputs
        assert cache.inputs["maintenanceWindow"] == database["maintenanceWindow"]
        assert cache.inputs["autoMinorVersionUpgrade"] is True
        assert cache.ignored == ("engineVersion",)
        windows[stack] = database["maintenanceWindow"]
    assert windows["staging"] == "tue:03:30-tue:04:30"
    assert windows["prod"] == "sun:03:30-sun:04:30"
    upgraded = run("dev", changes=OPTIONS)
    assert upgraded.get("elasticache/replicationGroup:ReplicationGroup", "cache").ignored == ()


def test_secrets_rotate_in_a_window_at_night() -> None:
    rotations = run("prod").of_type("secretsmanager/secretRotation:SecretRotation")
    assert rotations
    assert {json.dumps(rotation.inputs["rotationRules"]) for rotation in rotations} == {
        '{"duration": "4h", "scheduleExpression": "rate(30 days)"}'
    }
