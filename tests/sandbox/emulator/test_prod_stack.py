"""The resources of the prod stack in the emulator have the declared settings: boto3 reads them
back. The data bucket is restored from object versions and from its replica
(docs/runbooks/recovery.md)."""

import base64
import hashlib
import io
import json
import secrets
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from gatehouse_policies.program.runner import run
from gatehouse_policies.program.types import Deployment
from gatehouse_policies.program.values import zip_bytes

from sandbox.emulator.server import Emulator
from sandbox.local import bucket_restore
from sandbox.paths import REPOSITORY
from tests.components.settings.stack_settings import ACCOUNT_RESOURCES, raw_settings

ACCOUNT, REGION, SECOND_REGION = "123456789012", "eu-west-1", "eu-central-1"
DATA, REPLICA = (
    f"gatehouse-prod-data-{ACCOUNT}-{REGION}",
    f"gatehouse-prod-data-{ACCOUNT}-{SECOND_REGION}",
)


OPTIONS = {"load_balancer.ipv6": True}


@pytest.fixture(scope="module")
def deployed() -> Iterator[tuple[Emulator, Deployment]]:
    """The prod stack with the resources of the account and with optional resources, deployed once
    for this module.
    """
    with Emulator.start() as emulator:
        config = {
            "gatehouse:settings": json.dumps(raw_settings("prod", {**ACCOUNT_RESOURCES, **OPTIONS}))
        }
        yield emulator, run(REPOSITORY, "prod", emulator, preview=False, config=config)


@pytest.fixture(scope="module")
def prod(deployed: tuple[Emulator, Deployment]) -> Emulator:
    return deployed[0]


@pytest.fixture(scope="module")
def balancer(prod: Emulator) -> str:
    """The ARN of the load balancer."""
    (row,) = prod.client("elbv2", REGION).describe_load_balancers()["LoadBalancers"]
    return str(row["LoadBalancerArn"])


def key_arn(prod: Emulator, name: str) -> str:
    """The ARN of the KMS key with the alias `gatehouse-prod-<name>`."""
    return str(
        prod.client("kms", REGION).describe_key(KeyId=f"alias/gatehouse-prod-{name}")[
            "KeyMetadata"
        ]["Arn"]
    )


def security_groups(prod: Emulator) -> dict[str, dict[str, Any]]:
    """The security groups, keyed by name without the prefix of the stack."""
    rows = prod.client("ec2", REGION).describe_security_groups()["SecurityGroups"]
    return {row["GroupName"].removeprefix("gatehouse-prod-"): row for row in rows if row["Tags"]}


def replica(prod: Emulator) -> dict[str, Any]:
    key: dict[str, Any] = prod.client("kms", SECOND_REGION).describe_key(
        KeyId="alias/gatehouse-prod-backup"
    )["KeyMetadata"]
    return key


@pytest.mark.requirement("ECS-12", "CG-20")
def test_data_bucket_replication(prod: Emulator) -> None:
    replication = prod.client("s3", REGION).get_bucket_replication(Bucket=DATA)[
        "ReplicationConfiguration"
    ]
    (rule,) = replication["Rules"]
    assert replication["Role"] == f"arn:aws:iam::{ACCOUNT}:role/gatehouse-prod-replication"
    assert (rule["Status"], rule["Filter"]["Prefix"]) == ("Enabled", "")
    assert rule["DeleteMarkerReplication"]["Status"] == "Enabled"
    assert rule["SourceSelectionCriteria"]["SseKmsEncryptedObjects"]["Status"] == "Enabled"
    target = rule["Destination"]
    assert target["Bucket"] == f"arn:aws:s3:::{REPLICA}"
    assert target["EncryptionConfiguration"]["ReplicaKmsKeyID"] == replica(prod)["Arn"]
    assert target["ReplicationTime"] == {"Status": "Enabled", "Time": {"Minutes": 15}}
    assert target["Metrics"] == {"Status": "Enabled", "EventThreshold": {"Minutes": 15}}


@pytest.mark.requirement("ECS-02", "ECS-12")
def test_replica_bucket_settings(prod: Emulator) -> None:
    s3, name = prod.client("s3", SECOND_REGION), {"Bucket": REPLICA}
    assert s3.get_bucket_location(**name)["LocationConstraint"] == SECOND_REGION
    assert s3.get_bucket_versioning(**name)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(**name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == replica(prod)["Arn"]
    assert set(s3.get_public_access_block(**name)["PublicAccessBlockConfiguration"].values()) == {
        True
    }
    assert (
        s3.get_bucket_logging(**name)["LoggingEnabled"]["TargetBucket"]
        == f"gatehouse-prod-logs-{ACCOUNT}-{SECOND_REGION}"
    )
    assert (
        s3.get_bucket_lifecycle_configuration(**name)["Rules"][0]["NoncurrentVersionExpiration"][
            "NoncurrentDays"
        ]
        == 90
    )
    assert "aws:SecureTransport" in s3.get_bucket_policy(**name)["Policy"]
    assert s3.get_bucket_ownership_controls(**name)["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}
    ]


@pytest.mark.requirement("CG-17")
def test_backup_key_has_a_policy_per_region(prod: Emulator) -> None:
    primary = prod.client("kms", REGION).describe_key(KeyId="alias/gatehouse-prod-backup")[
        "KeyMetadata"
    ]
    copy = replica(prod)
    assert primary["KeyId"] == copy["KeyId"]
    assert copy["MultiRegionConfiguration"]["MultiRegionKeyType"] == "REPLICA"
    for region, other in ((REGION, SECOND_REGION), (SECOND_REGION, REGION)):
        policy = prod.client("kms", region).get_key_policy(
            KeyId=primary["KeyId"], PolicyName="default"
        )["Policy"]
        assert f"s3.{region}.amazonaws.com" in policy
        assert f"s3.{other}.amazonaws.com" not in policy


@pytest.mark.requirement("TR-11")
def test_audit_key_signs_and_verifies(prod: Emulator) -> None:
    kms, name = prod.client("kms", REGION), {"KeyId": "alias/gatehouse-prod-audit"}
    key = kms.describe_key(**name)["KeyMetadata"]
    assert (key["KeyUsage"], key["KeySpec"], key["SigningAlgorithms"]) == (
        "SIGN_VERIFY",
        "ECC_NIST_P256",
        ["ECDSA_SHA_256"],
    )
    algorithm: dict[str, Any] = {"SigningAlgorithm": "ECDSA_SHA_256", "MessageType": "RAW"}
    signature = kms.sign(**name, Message=b"checkpoint 1", **algorithm)["Signature"]
    assert kms.verify(**name, Message=b"checkpoint 1", Signature=signature, **algorithm)[
        "SignatureValid"
    ]
    assert not kms.verify(**name, Message=b"checkpoint 2", Signature=signature, **algorithm)[
        "SignatureValid"
    ]


@pytest.mark.requirement("CG-20", "ECS-11", "TR-18")
def test_backup_plan_and_locked_vaults(prod: Emulator) -> None:
    backup = prod.client("backup", REGION)
    (plan,) = backup.list_backup_plans()["BackupPlansList"]
    (rule,) = backup.get_backup_plan(BackupPlanId=plan["BackupPlanId"])["BackupPlan"]["Rules"]
    assert rule["ScheduleExpression"] == "cron(0 5 * * ? *)"
    assert rule["Lifecycle"] == {"DeleteAfterDays": 35}
    (copy,) = rule["CopyActions"]
    assert (
        copy["DestinationBackupVaultArn"]
        == f"arn:aws:backup:{SECOND_REGION}:{ACCOUNT}:backup-vault:gatehouse-prod-backup"
    )
    assert copy["Lifecycle"] == {"DeleteAfterDays": 35}
    for region in (REGION, SECOND_REGION):
        vault = prod.client("backup", region).describe_backup_vault(
            BackupVaultName="gatehouse-prod-backup"
        )
        key = prod.client("kms", region).describe_key(KeyId="alias/gatehouse-prod-backup")[
            "KeyMetadata"
        ]
        assert (vault["Locked"], vault["MinRetentionDays"], vault["EncryptionKeyArn"]) == (
            True,
            35,
            key["Arn"],
        )


@pytest.mark.requirement("ECS-03")
def test_data_tier_acl_allows_application_tier_and_replication(prod: Emulator) -> None:
    acl = acls(prod)["gatehouse-prod-data"]
    ingress = {
        (e["CidrBlock"], e["PortRange"]["From"], e["PortRange"]["To"])
        for e in allowed(acl, egress=False)
    }
    application = {f"10.40.{third}.0/20" for third in (16, 32, 48)}
    data = {f"10.40.{third}.0/24" for third in (8, 9, 10)}
    replication = {(cidr, *ports) for cidr in data for ports in ((6379, 6379), (1024, 65535))}
    assert (
        ingress
        == {(cidr, port, port) for cidr in application for port in (5432, 6379)} | replication
    )
    assert {e["CidrBlock"] for e in allowed(acl, egress=True)} == application | data
    assert len(acl["Associations"]) == 3


@pytest.mark.requirement("ECS-03")
@pytest.mark.parametrize("tier", ["edge", "app", "data"])
@pytest.mark.parametrize("port", [22, 3389])
def test_acls_deny_administration_from_the_internet(prod: Emulator, tier: str, port: int) -> None:
    entries = allowed(acls(prod)[f"gatehouse-prod-{tier}"], egress=False)
    assert entries
    internet = ("0.0.0.0/0", "::/0")
    public = [
        entry["PortRange"]
        for entry in entries
        if (entry.get("CidrBlock") or entry["Ipv6CidrBlock"]) in internet
    ]
    assert not [ports for ports in public if ports["From"] <= port <= ports["To"]]


def acls(prod: Emulator) -> dict[str, dict[str, Any]]:
    all_acls = prod.client("ec2", REGION).describe_network_acls()["NetworkAcls"]
    by_name = {tag["Value"]: acl for acl in all_acls for tag in acl["Tags"] if tag["Key"] == "Name"}
    assert set(by_name) == {f"gatehouse-prod-{tier}" for tier in ("edge", "app", "data")}
    return by_name


def allowed(acl: dict[str, Any], *, egress: bool) -> list[dict[str, Any]]:
    return [
        entry
        for entry in acl["Entries"]
        if entry["Egress"] == egress and entry["RuleAction"] == "allow"
    ]


@pytest.mark.requirement("ECS-03")
def test_default_security_group_has_no_rules(prod: Emulator) -> None:
    group = security_groups(prod)["default"]
    assert (group["IpPermissions"], group["IpPermissionsEgress"]) == ([], [])


def test_security_group_has_the_declared_egress_only(prod: Emulator) -> None:
    groups = security_groups(prod)
    assert groups["database"]["IpPermissionsEgress"] == []
    (endpoint,) = (
        rule for rule in groups["migrate"]["IpPermissionsEgress"] if rule["PrefixListIds"]
    )
    assert endpoint["PrefixListIds"][0]["PrefixListId"].startswith("pl-")


def test_security_group_rule_has_its_description(prod: Emulator) -> None:
    group = security_groups(prod)["database"]["GroupId"]
    filters = [{"Name": "group-id", "Values": [group]}]
    rules = prod.client("ec2", REGION).describe_security_group_rules(Filters=filters)[
        "SecurityGroupRules"
    ]
    expected = {f"{process} tasks to the database" for process in ("gateway", "console", "migrate")}
    assert {rule["Description"] for rule in rules} == expected


def test_route_tables_and_dns_attributes(prod: Emulator) -> None:
    ec2 = prod.client("ec2", REGION)
    (vpc,) = (row for row in ec2.describe_vpcs()["Vpcs"] if row["CidrBlock"] == "10.40.0.0/16")
    assert ec2.describe_vpc_attribute(VpcId=vpc["VpcId"], Attribute="enableDnsHostnames")[
        "EnableDnsHostnames"
    ]["Value"]
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])[
        "RouteTables"
    ]
    assert any("NatGatewayId" in route for table in tables for route in table["Routes"])


@pytest.mark.requirement("TR-11")
def test_trail_bucket_is_locked(prod: Emulator) -> None:
    s3 = prod.client("s3", REGION)
    lock = s3.get_object_lock_configuration(Bucket=f"gatehouse-prod-trail-{ACCOUNT}-{REGION}")[
        "ObjectLockConfiguration"
    ]
    retention = lock["Rule"]["DefaultRetention"]
    assert (retention["Mode"], retention["Days"]) == ("COMPLIANCE", 365)


def test_trail_selectors(prod: Emulator) -> None:
    cloudtrail = prod.client("cloudtrail", REGION)
    (trail,) = cloudtrail.describe_trails()["trailList"]
    assert cloudtrail.get_trail_status(Name=trail["Name"])["IsLogging"] is True
    assert (trail["IsMultiRegionTrail"], trail["LogFileValidationEnabled"]) == (True, True)
    selectors = cloudtrail.get_event_selectors(TrailName=trail["Name"])["AdvancedEventSelectors"]
    assert {"Management", "Objects"} <= {selector["Name"] for selector in selectors}


def test_resources_have_the_default_tags(prod: Emulator) -> None:
    tags = {
        tag["Key"]: tag["Value"]
        for tag in prod.client("s3", REGION).get_bucket_tagging(Bucket=DATA)["TagSet"]
    }
    assert {"DataClass", "Environment", "Owner"} <= set(tags)
    assert tags["Environment"] == "prod"


def test_secret_links_table(prod: Emulator) -> None:
    dynamodb, name = prod.client("dynamodb", REGION), {"TableName": "gatehouse-prod-tokens"}
    table = dynamodb.describe_table(**name)["Table"]
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    indexes = {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]}
    keys = {
        name: [key["AttributeName"] for key in index["KeySchema"]]
        for name, index in indexes.items()
    }
    assert keys == {"owner-index": ["owner", "created_at"], "work-index": ["work", "work_at"]}
    assert {index["Projection"]["ProjectionType"] for index in indexes.values()} == {"KEYS_ONLY"}
    assert table["DeletionProtectionEnabled"] is True
    assert (table["SSEDescription"]["SSEType"], table["SSEDescription"]["KMSMasterKeyArn"]) == (
        "KMS",
        key_arn(prod, "data"),
    )
    assert (
        dynamodb.describe_time_to_live(**name)["TimeToLiveDescription"]["AttributeName"]
        == "delete_at"
    )
    recovery = dynamodb.describe_continuous_backups(**name)["ContinuousBackupsDescription"]
    assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_secret_policy_and_rotation(prod: Emulator) -> None:
    manager, name = prod.client("secretsmanager", REGION), {"SecretId": "gatehouse/prod/pepper"}
    secret = manager.describe_secret(**name)
    assert (secret["RotationEnabled"], secret["RotationRules"]["AutomaticallyAfterDays"]) == (
        True,
        30,
    )
    assert secret["RotationLambdaARN"].endswith(":function:gatehouse-prod-rotate")
    assert secret["KmsKeyId"] == key_arn(prod, "secrets")
    assert "VersionIdsToStages" not in secret, "the rotation function creates the value"
    assert "ResourcePolicy" in manager.get_resource_policy(**name)


def test_key_rotation_period(prod: Emulator) -> None:
    status = prod.client("kms", REGION).get_key_rotation_status(
        KeyId=key_arn(prod, "data").rpartition("/")[2]
    )
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 365)


def test_function_code_and_settings(deployed: tuple[Emulator, Deployment]) -> None:
    emulator, deployment = deployed
    client, name = emulator.client("lambda", REGION), {"FunctionName": "gatehouse-prod-rotate"}
    function = client.get_function_configuration(**name)
    functions = {
        row.id: row.registration
        for row in deployment.resources
        if row.registration.type == "aws:lambda/function:Function"
    }
    code = zip_bytes(functions["gatehouse-prod-rotate"].inputs["code"])
    assert "rotate.py" in zipfile.ZipFile(io.BytesIO(code)).namelist()
    assert function["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()
    assert function["DeadLetterConfig"] == {
        "TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:gatehouse-prod-rotate-failed"
    }
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": "/gatehouse/prod/rotate"}
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert client.get_function_concurrency(**name)["ReservedConcurrentExecutions"] == 5


def test_dead_letter_queue(prod: Emulator) -> None:
    sqs = prod.client("sqs", REGION)
    url = sqs.get_queue_url(QueueName="gatehouse-prod-rotate-failed")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (attributes["KmsMasterKeyId"], attributes["MessageRetentionPeriod"]) == (
        key_arn(prod, "secrets"),
        "1209600",
    )
    assert "Statement" in json.loads(attributes["Policy"])


def test_task_definition_and_service(prod: Emulator) -> None:
    ecs = prod.client("ecs", REGION)
    (service,) = ecs.describe_services(
        cluster="gatehouse-prod-main", services=["gatehouse-prod-gateway"]
    )["services"]
    deployment = service["deploymentConfiguration"]
    assert deployment["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert (deployment["minimumHealthyPercent"], deployment["maximumPercent"]) == (100, 200)
    (hook,) = deployment["lifecycleHooks"]
    assert (
        hook["hookTargetArn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:gatehouse-prod-smoke"
    )
    assert [check["status"] for check in hook["hookDetails"]["checks"]] == [200, 401]
    assert (service["availabilityZoneRebalancing"], service["enableExecuteCommand"]) == (
        "ENABLED",
        False,
    )
    task = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    (container,) = (row for row in task["containerDefinitions"] if row["name"] == "gateway")
    assert container["readonlyRootFilesystem"] is True


def test_load_balancer_attributes(prod: Emulator, balancer: str) -> None:
    rows = prod.client("elbv2", REGION).describe_load_balancer_attributes(LoadBalancerArn=balancer)[
        "Attributes"
    ]
    attributes = {row["Key"]: row["Value"] for row in rows}
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert attributes["deletion_protection.enabled"] == "true"
    assert attributes["access_logs.s3.bucket"] == f"gatehouse-prod-logs-{ACCOUNT}-{REGION}"


def test_listener_and_its_rules(prod: Emulator, balancer: str) -> None:
    elb = prod.client("elbv2", REGION)
    (https,) = (
        row
        for row in elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
        if row["Port"] == 443
    )
    assert https["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
    rows = elb.describe_listener_attributes(ListenerArn=https["ListenerArn"])["Attributes"]
    headers = {row["Key"]: row["Value"] for row in rows}
    assert headers["routing.http.response.server.enabled"] == "false"
    assert headers["routing.http.response.x_frame_options.header_value"] == "DENY"
    rules = {
        rule["Priority"]: rule
        for rule in elb.describe_rules(ListenerArn=https["ListenerArn"])["Rules"]
    }
    assert rules["20"]["Conditions"][0]["HostHeaderConfig"]["Values"] == [
        "gateway.gatehouse.example.com"
    ]
    assert rules["15"]["Conditions"][1]["HttpHeaderConfig"]["Values"] == ["1"]
    certificate = prod.client("acm", REGION).describe_certificate(
        CertificateArn=https["Certificates"][0]["CertificateArn"]
    )
    assert certificate["Certificate"]["Status"] == "ISSUED"


def test_web_acl_association_and_redaction(prod: Emulator, balancer: str) -> None:
    waf = prod.client("wafv2", REGION)
    acl = waf.get_web_acl_for_resource(ResourceArn=balancer)["WebACL"]
    logs = waf.get_logging_configuration(ResourceArn=acl["ARN"])["LoggingConfiguration"]
    headers = [
        {"SingleHeader": {"Name": name}} for name in ("authorization", "cookie", "x-api-key")
    ]
    assert logs["RedactedFields"] == [*headers, {"QueryString": {}}]


@pytest.mark.requirement("TR-18")
def test_database_settings_and_events(deployed: tuple[Emulator, Deployment]) -> None:
    prod, deployment = deployed
    rds = prod.client("rds", REGION)
    (instance,) = rds.describe_db_instances(DBInstanceIdentifier="gatehouse-prod-main")[
        "DBInstances"
    ]
    flags = (
        "StorageEncrypted",
        "MultiAZ",
        "DeletionProtection",
        "IAMDatabaseAuthenticationEnabled",
    )
    assert [instance[flag] for flag in flags] == [True] * 4
    assert (instance["PubliclyAccessible"], instance["BackupRetentionPeriod"]) == (False, 35)
    assert (instance["MonitoringInterval"], instance["PerformanceInsightsRetentionPeriod"]) == (
        30,
        465,
    )
    assert (instance["PerformanceInsightsKMSKeyId"], instance["DatabaseInsightsMode"]) == (
        key_arn(prod, "data"),
        "advanced",
    )
    (outputs,) = (
        row.outputs
        for row in deployment.resources
        if row.registration.type == "aws:rds/instance:Instance"
        and row.registration.name == "database"
    )
    secret = prod.client("secretsmanager", REGION).get_secret_value(
        SecretId=outputs["masterUserSecrets"][0]["secretArn"]
    )
    assert set(json.loads(secret["SecretString"])) >= {"username", "password"}
    events = {
        e["SourceType"]: e for e in rds.describe_event_subscriptions()["EventSubscriptionsList"]
    }
    assert {"db-instance", "db-parameter-group", "db-security-group"} == set(events)
    assert {"failover", "failure", "deletion"} <= set(events["db-instance"]["EventCategoriesList"])
    assert all(
        e["Enabled"] and e["SnsTopicArn"].endswith(":gatehouse-prod-notifications")
        for e in events.values()
    )


@pytest.mark.requirement("SS-11")
def test_budget_notifications(prod: Emulator) -> None:
    budgets = prod.client("budgets", "us-east-1")
    (budget,) = budgets.describe_budgets(AccountId=ACCOUNT)["Budgets"]
    assert (budget["BudgetLimit"], budget["TimeUnit"]) == (
        {"Amount": "2000", "Unit": "USD"},
        "MONTHLY",
    )
    notifications = budgets.describe_notifications_for_budget(
        AccountId=ACCOUNT, BudgetName=budget["BudgetName"]
    )["Notifications"]
    thresholds = {(row["NotificationType"], row["Threshold"]) for row in notifications}
    assert thresholds == {("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)}


def test_modelled_types_have_a_reason(prod: Emulator) -> None:
    blocking, anomalies = (
        "moto has no VPC Block Public Access",
        "moto's Cost Explorer has no anomaly detection",
    )
    assert sorted(prod.modelled) == [
        "aws:backup/selection:Selection: moto has no CreateBackupSelection",
        "aws:backup/vaultNotifications:VaultNotifications: moto has no PutBackupVaultNotifications",
        "aws:backup/vaultPolicy:VaultPolicy: moto has no PutBackupVaultAccessPolicy",
        "aws:cloudwatch/compositeAlarm:CompositeAlarm: moto has no PutCompositeAlarm",
        (
            "aws:cloudwatch/logDataProtectionPolicy:LogDataProtectionPolicy: moto has no "
            "PutDataProtectionPolicy"
        ),
        f"aws:costexplorer/anomalyMonitor:AnomalyMonitor: {anomalies}",
        f"aws:costexplorer/anomalySubscription:AnomalySubscription: {anomalies}",
        f"aws:ec2/vpcBlockPublicAccessExclusion:VpcBlockPublicAccessExclusion: {blocking}",
        "aws:elasticache/parameterGroup:ParameterGroup: moto has no CreateCacheParameterGroup",
        "aws:elasticache/userGroup:UserGroup: moto has no CreateUserGroup",
    ]


def test_public_load_balancer_is_dualstack(prod: Emulator) -> None:
    (row,) = prod.client("elbv2", REGION).describe_load_balancers()["LoadBalancers"]
    assert row["IpAddressType"] == "dualstack"
    subnets = prod.client("ec2", REGION).describe_subnets(
        Filters=[{"Name": "tag:Tier", "Values": ["edge"]}]
    )["Subnets"]
    assert len(subnets) == 3
    assert all(
        subnet["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].endswith("::/64")
        for subnet in subnets
    )


@dataclass(frozen=True, slots=True)
class DataBucket:
    """The data bucket and its replica, with a client for each region."""

    bucket: str
    replica: str
    s3: Any
    replica_s3: Any

    def contents(self) -> dict[str, bytes]:
        """The content of every current object."""
        return {key: self.read(key) for key in bucket_restore.versions_at(self.s3, self.bucket)}

    def read(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())


@pytest.fixture
def data(prod: Emulator) -> DataBucket:
    """The data bucket and its replica without objects."""
    data = DataBucket(DATA, REPLICA, prod.client("s3", REGION), prod.client("s3", SECOND_REGION))
    for client, name in ((data.s3, DATA), (data.replica_s3, REPLICA)):
        for key in bucket_restore.versions_at(client, name):
            client.delete_object(Bucket=name, Key=key)
    return data


def write_objects(data: DataBucket) -> dict[str, bytes]:
    """Write objects: nested keys, special characters, an empty object and an overwritten one.
    Returns their content.
    """
    data.s3.put_object(Bucket=data.bucket, Key="twice", Body=b"first")
    expected = {
        **{f"shares/{number}": secrets.token_bytes(1024 * number) for number in range(1, 4)},
        **{"empty": b"", "a b/ü+%2F": b"odd", "twice": b"second"},
    }
    for key, body in expected.items():
        data.s3.put_object(Bucket=data.bucket, Key=key, Body=body)
    return expected


@pytest.mark.requirement("CG-20", "ECS-13")
def test_restore_undoes_changes(data: DataBucket) -> None:
    expected = write_objects(data)
    versions = bucket_restore.versions_at(data.s3, data.bucket)
    data.s3.put_object(Bucket=data.bucket, Key="shares/1", Body=b"scrambled")
    data.s3.put_object(Bucket=data.bucket, Key="shares/1", Body=b"scrambled again")
    data.s3.delete_object(Bucket=data.bucket, Key="shares/2")
    data.s3.delete_object(Bucket=data.bucket, Key="a b/ü+%2F")
    data.s3.put_object(Bucket=data.bucket, Key="ransom-note", Body=b"pay")
    assert data.contents() != expected
    assert bucket_restore.restore(data.s3, data.bucket, versions) == (3, 1)
    assert data.contents() == expected


def test_restore_of_current_versions_changes_nothing(data: DataBucket) -> None:
    write_objects(data)
    versions = bucket_restore.versions_at(data.s3, data.bucket)
    assert bucket_restore.restore(data.s3, data.bucket, versions) == (0, 0)


@pytest.mark.requirement("CG-20", "ECS-13")
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
