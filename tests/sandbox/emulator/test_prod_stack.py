"""The prod stack in the emulator, deployed under the deploy role of the pipeline. The data bucket
is restored from versions and from its replica (docs/runbooks/recovery.md).
"""

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from gatehouse_policies.analysis.iam.grammar import raw_statements
from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.steps import Step
from pulumi_local.engine.update import AwsRules, update
from pulumi_local.lists import listed
from pulumi_local.types import Registration, Resource

from sandbox.emulator.server import Emulator
from sandbox.local import bucket_restore
from sandbox.paths import REPOSITORY
from tests.components.settings.stack_settings import ACCOUNT_RESOURCES, raw_settings
from tools.docs.deployments import deployed
from tools.docs.iam_documents import Role, collect

ACCOUNT, REGION, SECOND_REGION = "123456789012", "eu-west-1", "eu-central-1"
DATA, REPLICA = (
    f"gatehouse-prod-data-{ACCOUNT}-{REGION}",
    f"gatehouse-prod-data-{ACCOUNT}-{SECOND_REGION}",
)
STACK = "prod"
NAME = f"gatehouse-{STACK}-deploy"
SETTINGS, CLOUDFRONT = (
    json.dumps(raw_settings(STACK, {**ACCOUNT_RESOURCES, **changes}))
    for changes in ({}, {"services.console.hosting": "cloudfront"})
)
# Resource types that an administrator deploys: permissions boundaries, audit, the alarm topic and
# exclusions from account-wide settings.
ADMINISTRATOR = re.compile(
    r"aws:(iam/(policy|rolePolicyAttachment|openIdConnectProvider)|cloudtrail/trail|sns/\w+|s3/bucketObjectLockConfiguration"
    r"|backup/(vaultLockConfiguration|vaultPolicy|vaultNotifications)|ec2/vpcBlockPublicAccessExclusion):"
)


class DeployRole(AwsRules):
    def __init__(self, emulator: Emulator, role: str) -> None:
        self._emulator, self._operator = emulator, emulator.client
        keys = emulator.client("sts", "us-east-1").assume_role(
            RoleArn=role, RoleSessionName="test"
        )["Credentials"]
        self._role = emulator.clients(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]
        )

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        with self._credentials(registration):
            return self._emulator.create(registration)

    def update(
        self, old: Resource, registration: Registration, changed: frozenset[str]
    ) -> tuple[str, dict[str, Any]]:
        with self._credentials(registration):
            return self._emulator.update(old, registration, changed)

    def delete(self, resource: Resource) -> None:
        with self._credentials(resource.registration):
            self._emulator.delete(resource)

    def invoke(
        self, token: str, args: dict[str, Any], provider: Mapping[str, Any]
    ) -> dict[str, Any]:
        return self._emulator.invoke(token, args, provider)

    @contextmanager
    def _credentials(self, registration: Registration) -> Iterator[None]:
        self._emulator.client = (
            self._operator if ADMINISTRATOR.match(registration.type) else self._role
        )
        try:
            yield
        finally:
            self._emulator.client = self._operator


@cache
def declared_role(settings: str) -> Role:
    return collect(deployed(STACK, settings)).roles[NAME]


def permissions(settings: str) -> set[tuple[str, str]]:
    return {
        (action, on)
        for policy in declared_role(settings).policies
        for row in raw_statements(policy)
        if row["Effect"] == "Allow"
        for action in listed(row["Action"])
        for on in listed(row["Resource"])
    }


class Pipeline:
    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._checkpoint = Checkpoint()

    def deploy(self, settings: str) -> list[Step]:
        steps: list[Step] = []
        role = self._role(declared_role(settings))
        self.emulator.permissions.enforce(True)
        update(
            *(REPOSITORY, STACK, DeployRole(self.emulator, role), self._checkpoint),
            report=steps.append,
            config={"gatehouse:settings": settings},
        )
        return steps

    def _role(self, declared: Role) -> str:
        iam = self.emulator.client("iam", "us-east-1")
        name = f"pipeline-{len(iam.list_roles(PathPrefix='/pipeline/')['Roles'])}"
        role = iam.create_role(
            RoleName=name, Path="/pipeline/", AssumeRolePolicyDocument=json.dumps(declared.trust)
        )["Role"]
        # Calls to IAM have no resource in the emulator, so a deny for some roles would apply to
        # all. Tests of the components evaluate the denies.
        granting = [
            policy for policy in declared.policies if policy["Statement"][0]["Effect"] == "Allow"
        ]
        for number, policy in enumerate(granting):
            document = json.dumps(policy)
            arn = iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=document)[
                "Policy"
            ]["Arn"]
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        return str(role["Arn"])


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with Emulator.start() as emulator:
        started = Pipeline(emulator)
        started.deploy(SETTINGS)
        yield started


@pytest.fixture(scope="module")
def prod(pipeline: Pipeline) -> Emulator:
    return pipeline.emulator


def test_deploy_role_is_sufficient(prod: Emulator) -> None:
    assert prod.permissions.denied == []
    assert len(prod.permissions.used_actions["pipeline-0"]) > 80


def key(prod: Emulator, name: str, region: str = REGION) -> dict[str, Any]:
    described = prod.client("kms", region).describe_key(KeyId=f"alias/gatehouse-prod-{name}")
    return dict(described["KeyMetadata"])


def test_backup_key_has_a_policy_per_region(prod: Emulator) -> None:
    primary, copy = (key(prod, "backup", region) for region in (REGION, SECOND_REGION))
    assert primary["KeyId"] == copy["KeyId"]
    assert copy["MultiRegionConfiguration"]["MultiRegionKeyType"] == "REPLICA"
    for region, other in ((REGION, SECOND_REGION), (SECOND_REGION, REGION)):
        policy = prod.client("kms", region).get_key_policy(
            KeyId=primary["KeyId"], PolicyName="default"
        )["Policy"]
        assert f"s3.{region}.amazonaws.com" in policy
        assert f"s3.{other}.amazonaws.com" not in policy


def test_secret_policy_and_rotation(prod: Emulator) -> None:
    manager, name = prod.client("secretsmanager", REGION), {"SecretId": "gatehouse/prod/pepper"}
    secret = manager.describe_secret(**name)
    assert (secret["RotationEnabled"], secret["RotationRules"]["AutomaticallyAfterDays"]) == (
        True,
        35,
    )
    assert secret["RotationLambdaARN"].endswith(":function:gatehouse-prod-rotate")
    assert secret["KmsKeyId"] == key(prod, "secrets")["Arn"]
    assert "VersionIdsToStages" not in secret, "the rotation function creates the value"
    assert "ResourcePolicy" in manager.get_resource_policy(**name)


def test_modelled_types_are_listed_with_the_reason(prod: Emulator) -> None:
    assert "aws:backup/selection:Selection: moto has no CreateBackupSelection" in prod.modelled
    assert len(prod.modelled) == len(set(prod.modelled)) == 9


@dataclass(frozen=True)
class DataBucket:
    bucket: str
    replica: str
    s3: Any
    replica_s3: Any

    def contents(self) -> dict[str, bytes]:
        return {key: self.read(key) for key in bucket_restore.versions_at(self.s3, self.bucket)}

    def read(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())


@pytest.fixture
def data(prod: Emulator) -> DataBucket:
    data = DataBucket(DATA, REPLICA, prod.client("s3", REGION), prod.client("s3", SECOND_REGION))
    for client, name in ((data.s3, DATA), (data.replica_s3, REPLICA)):
        for key in bucket_restore.versions_at(client, name):
            client.delete_object(Bucket=name, Key=key)
    return data


def write_objects(data: DataBucket) -> dict[str, bytes]:
    """Nested keys, special characters, an empty and an overwritten object. Returns the content."""
    data.s3.put_object(Bucket=data.bucket, Key="twice", Body=b"first")
    expected = {
        **{f"shares/{number}": secrets.token_bytes(1024 * number) for number in range(1, 4)},
        **{"empty": b"", "a b/ü+%2F": b"odd", "twice": b"second"},
    }
    for key, body in expected.items():
        data.s3.put_object(Bucket=data.bucket, Key=key, Body=body)
    return expected


def test_restore_undoes_changes_only(data: DataBucket) -> None:
    expected = write_objects(data)
    versions = bucket_restore.versions_at(data.s3, data.bucket)
    assert bucket_restore.restore(data.s3, data.bucket, versions) == (0, 0)
    data.s3.put_object(Bucket=data.bucket, Key="shares/1", Body=b"scrambled")
    data.s3.put_object(Bucket=data.bucket, Key="shares/1", Body=b"scrambled again")
    data.s3.delete_object(Bucket=data.bucket, Key="shares/2")
    data.s3.delete_object(Bucket=data.bucket, Key="a b/ü+%2F")
    data.s3.put_object(Bucket=data.bucket, Key="ransom-note", Body=b"pay")
    assert data.contents() != expected
    assert bucket_restore.restore(data.s3, data.bucket, versions) == (3, 1)
    assert data.contents() == expected


def test_lost_bucket_is_restored_from_the_replica(data: DataBucket) -> None:
    expected = write_objects(data)
    # The emulator does not replicate objects.
    for key, body in data.contents().items():
        data.replica_s3.put_object(
            Bucket=data.replica, Key=key, Body=body, Metadata={"from": "eu-west-1"}
        )
    for row in bucket_restore._versions(data.s3, data.bucket):
        data.s3.delete_object(Bucket=data.bucket, Key=row["Key"], VersionId=row["VersionId"])
    assert data.contents() == {}
    assert bucket_restore.copy_replica(data.replica_s3, data.replica, data.s3, data.bucket) == len(
        expected
    )
    assert data.contents() == expected
    assert data.s3.head_object(Bucket=data.bucket, Key="empty")["Metadata"] == {"from": "eu-west-1"}


def test_deploy_role_moves_the_console_behind_cloudfront(
    pipeline: Pipeline, prod: Emulator
) -> None:
    steps = {(step.operation, step.type) for step in pipeline.deploy(CLOUDFRONT)}
    assert {
        ("create", "aws:cloudfront/vpcOrigin:VpcOrigin"),
        ("delete", "aws:lb/listenerRule:ListenerRule"),
    } <= steps
    assert prod.permissions.denied == []
    actions = prod.permissions.used_actions["pipeline-1"]
    assert {"cloudfront:CreateFunction", "logs:CreateDelivery", "s3:PutObject"} <= actions
    assert permissions(SETTINGS) <= permissions(CLOUDFRONT), "a first deployment needs both"
    (distribution,) = prod.client("cloudfront", "us-east-1").list_distributions()[
        "DistributionList"
    ]["Items"]
    assert distribution["Aliases"]["Items"] == ["console.gatehouse.example.com"]
