"""The emulator really creates what a program declares: boto3 reads it back."""

import base64
import hashlib
import io
import json
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
import requests

from sandbox.emulator.resources import ROWS, Make, Row, create
from sandbox.emulator.resources.lambda_functions import zipped
from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.engine.providers import InventedCloud
from sandbox.engine.types import UNKNOWN, Deployment, Registration
from sandbox.errors import SandboxError
from sandbox.paths import REPOSITORY

ESTATE = Path(__file__).parents[1] / "programs" / "estate"
REGION = "eu-west-1"

World = tuple[Emulator, Deployment]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One resource of every type, deployed once for all tests of this module."""
    emulator = Emulator.start()
    try:
        yield emulator, run(ESTATE, "dev", emulator, preview=False)
    finally:
        emulator.stop()


def outputs(world: World, kind: str, name: str) -> dict[str, Any]:
    found = (item.outputs for item in world[1].resources if item.registration.type == kind and item.registration.name == name)
    return next(found)


def declared(kind: str, inputs: dict[str, Any], name: str = "one") -> Registration:
    return Registration(f"urn:pulumi:dev::tiny::{kind}::{name}", kind, name, True, "", inputs)


def refusal(world: World, kind: str, inputs: dict[str, Any]) -> str:
    with pytest.raises(SandboxError) as caught:
        world[0].create(declared(kind, inputs))
    return caught.value.message


def test_every_row_makes_a_resource_of_the_estate_or_of_a_stack_that_a_test_deploys_whole(world: World) -> None:
    """staging by test_function.py, prod by test_emulator_guards.py and test_deployer.py."""
    made = {item.registration.type for item in world[1].resources if item.registration.type.startswith("aws:")}
    stacks = (run(REPOSITORY, stack, InventedCloud(), preview=False) for stack in ("staging", "prod"))
    assert made <= set(ROWS)
    assert set(ROWS) - made <= {item.registration.type for stack in stacks for item in stack.resources}


def test_what_is_modelled_says_why(world: World) -> None:
    blocking, anomalies = "moto has no VPC block public access", "moto's Cost Explorer has no anomaly detection"
    assert sorted(world[0].modelled) == [
        "aws:accessanalyzer/analyzer:Analyzer: moto has no Access Analyzer",
        "aws:backup/regionSettings:RegionSettings: moto has no UpdateRegionSettings",
        "aws:backup/selection:Selection: moto has no CreateBackupSelection",
        "aws:backup/vaultNotifications:VaultNotifications: moto has no PutBackupVaultNotifications",
        "aws:backup/vaultPolicy:VaultPolicy: moto has no PutBackupVaultAccessPolicy",
        "aws:cloudwatch/compositeAlarm:CompositeAlarm: moto has no PutCompositeAlarm",
        "aws:cloudwatch/logDataProtectionPolicy:LogDataProtectionPolicy: moto has no PutDataProtectionPolicy",
        f"aws:costexplorer/anomalyMonitor:AnomalyMonitor: {anomalies}",
        f"aws:costexplorer/anomalySubscription:AnomalySubscription: {anomalies}",
        f"aws:ec2/vpcBlockPublicAccessExclusion:VpcBlockPublicAccessExclusion: {blocking}",
        f"aws:ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions: {blocking}",
        "aws:elasticache/parameterGroup:ParameterGroup: moto has no CreateCacheParameterGroup",
        "aws:elasticache/userGroup:UserGroup: moto has no CreateUserGroup",
    ]


def test_a_bucket_has_its_encryption_versions_policy_lock_and_logs(world: World) -> None:
    s3, name = world[0].client("s3", REGION), {"Bucket": "estate-data"}
    rule = s3.get_bucket_encryption(**name)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rule["BucketKeyEnabled"] is True
    assert s3.get_bucket_versioning(**name)["Status"] == "Enabled"
    assert json.loads(s3.get_bucket_policy(**name)["Policy"])["Statement"][0]["Effect"] == "Deny"
    assert set(s3.get_public_access_block(**name)["PublicAccessBlockConfiguration"].values()) == {True}
    retention = s3.get_object_lock_configuration(**name)["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert (retention["Mode"], retention["Days"]) == ("GOVERNANCE", 1)
    assert s3.get_bucket_logging(**name)["LoggingEnabled"]["TargetBucket"] == "estate-logs"
    rules = s3.get_bucket_lifecycle_configuration(**name)["Rules"]
    assert [item["ID"] for item in rules] == ["old", "tmp"]
    controls = s3.get_bucket_ownership_controls(**name)["OwnershipControls"]["Rules"]
    assert controls == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_default_tags_of_the_provider_are_on_the_resource(world: World) -> None:
    tags = world[0].client("iam", REGION).list_role_tags(RoleName="estate")["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"Project": "estate", "Own": "yes"}
    assert world[0].client("s3", REGION).get_bucket_tagging(Bucket="estate-data")["TagSet"] == [
        {"Key": "Project", "Value": "estate"}
    ]


def test_a_network_has_its_names_routes_and_closed_default_group(world: World) -> None:
    ec2 = world[0].client("ec2", REGION)
    vpc = outputs(world, "aws:ec2/vpc:Vpc", "vpc")
    identity = ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": ["estate"]}])["Vpcs"][0]["VpcId"]
    assert ec2.describe_vpc_attribute(VpcId=identity, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]
    group = ec2.describe_security_groups(GroupIds=[vpc["defaultSecurityGroupId"]])["SecurityGroups"][0]
    assert (group["IpPermissions"], group["IpPermissionsEgress"]) == ([], [])
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [identity]}])["RouteTables"]
    assert any("NatGatewayId" in route for table in tables for route in table["Routes"])


def test_a_new_security_group_lets_nothing_out_but_what_is_declared(world: World) -> None:
    ec2 = world[0].client("ec2", REGION)
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["front", "back"]}])
    found = {group["GroupName"]: group for group in groups["SecurityGroups"]}
    assert found["back"]["IpPermissionsEgress"] == []
    assert [rule["FromPort"] for rule in found["back"]["IpPermissions"]] == [443]
    assert found["front"]["IpPermissionsEgress"][0]["PrefixListIds"][0]["PrefixListId"].startswith("pl-")


def test_a_table_has_its_key_index_ttl_recovery_and_encryption(world: World) -> None:
    dynamodb, name = world[0].client("dynamodb", REGION), {"TableName": "estate-tokens"}
    table = dynamodb.describe_table(**name)["Table"]
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert table["GlobalSecondaryIndexes"][0]["IndexName"] == "by-owner"
    assert table["DeletionProtectionEnabled"] is True
    assert table["SSEDescription"]["SSEType"] == "KMS"
    assert dynamodb.describe_time_to_live(**name)["TimeToLiveDescription"]["AttributeName"] == "expires"
    recovery = dynamodb.describe_continuous_backups(**name)["ContinuousBackupsDescription"]
    assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_a_database_has_its_protections_and_a_managed_password(world: World) -> None:
    emulator, deployment = world
    found = emulator.client("rds", REGION).describe_db_instances(DBInstanceIdentifier="estate")["DBInstances"][0]
    held = {name: found[name] for name in ("StorageEncrypted", "MultiAZ", "DeletionProtection", "PubliclyAccessible")}
    assert held == {"StorageEncrypted": True, "MultiAZ": True, "DeletionProtection": True, "PubliclyAccessible": False}
    assert found["IAMDatabaseAuthenticationEnabled"] is True
    assert found["BackupRetentionPeriod"] == 7
    secret = emulator.client("secretsmanager", REGION).get_secret_value(SecretId=deployment.exports["database"]["secret"])
    assert set(json.loads(secret["SecretString"])) >= {"username", "password"}


def test_a_secret_has_its_key_policy_and_rotation_without_a_value(world: World) -> None:
    manager = world[0].client("secretsmanager", REGION)
    found = manager.describe_secret(SecretId="estate/pepper")
    assert found["RotationEnabled"] is True
    assert found["RotationLambdaARN"] == "arn:aws:lambda:eu-west-1:123456789012:function:estate"
    assert found["RotationRules"]["AutomaticallyAfterDays"] == 30
    assert found["KmsKeyId"] == outputs(world, "aws:kms/key:Key", "key")["arn"]
    assert "VersionIdsToStages" not in found
    assert "ResourcePolicy" in manager.get_resource_policy(SecretId="estate/pepper")


def test_a_function_has_the_code_of_the_folder(world: World) -> None:
    found = world[0].client("lambda", REGION).get_function(FunctionName="estate")["Configuration"]
    code = zipped(pulumi.FileArchive(str(ESTATE / "code")))
    assert zipfile.ZipFile(io.BytesIO(code)).namelist() == ["handler.py"]
    assert found["Handler"] == "handler.handler"
    assert found["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()


def test_a_function_keeps_its_failed_calls_and_takes_its_share_of_capacity_alone(world: World) -> None:
    client = world[0].client("lambda", REGION)
    found = client.get_function_configuration(FunctionName="estate")
    assert found["DeadLetterConfig"] == {"TargetArn": outputs(world, "aws:sqs/queue:Queue", "failed")["arn"]}
    assert found["TracingConfig"] == {"Mode": "Active"}
    assert client.get_function_concurrency(FunctionName="estate")["ReservedConcurrentExecutions"] == 5


def test_a_queue_is_encrypted_and_guarded_and_keeps_messages_for_two_weeks(world: World) -> None:
    sqs, queue = world[0].client("sqs", REGION), outputs(world, "aws:sqs/queue:Queue", "failed")
    found = sqs.get_queue_attributes(QueueUrl=queue["url"], AttributeNames=["All"])["Attributes"]
    assert found["QueueArn"] == queue["arn"]
    assert found["KmsMasterKeyId"] == outputs(world, "aws:kms/key:Key", "key")["arn"]
    assert found["MessageRetentionPeriod"] == "1209600"
    assert "Statement" in json.loads(found["Policy"])


def test_a_role_has_its_boundary(world: World) -> None:
    found = world[0].client("iam", REGION).get_role(RoleName="estate")["Role"]["PermissionsBoundary"]
    assert found["PermissionsBoundaryArn"] == "arn:aws:iam::123456789012:policy/managed"


def test_a_task_definition_and_its_service_are_as_declared(world: World) -> None:
    ecs = world[0].client("ecs", REGION)
    arn = outputs(world, "aws:ecs/taskDefinition:TaskDefinition", "task")["arn"]
    task = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    assert task["containerDefinitions"][0]["readonlyRootFilesystem"] is True
    assert task["containerDefinitions"][0]["user"] == "65532:65532"
    service = ecs.describe_services(cluster="estate", services=["app"])["services"][0]
    assert service["desiredCount"] == 2
    assert service["taskDefinition"] == arn


def test_a_service_keeps_how_it_is_deployed(world: World) -> None:
    service = world[0].client("ecs", REGION).describe_services(cluster="estate", services=["app"])["services"][0]
    assert service["deploymentConfiguration"] == {
        "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        "alarms": {"alarmNames": ["estate-errors"], "rollback": True, "enable": True},
        "minimumHealthyPercent": 100,
        "maximumPercent": 200,
    }
    assert service["availabilityZoneRebalancing"] == "ENABLED"
    assert service["healthCheckGracePeriodSeconds"] == 60
    assert service["enableExecuteCommand"] is False


def test_what_moto_would_forget_is_given_back(world: World) -> None:
    client = world[0].client
    key = outputs(world, "aws:kms/key:Key", "key")["keyId"]
    assert client("kms", REGION).get_key_rotation_status(KeyId=key)["RotationPeriodInDays"] == 365
    function = client("lambda", REGION).get_function_configuration(FunctionName="estate")
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": "/estate/app"}
    database = client("rds", REGION).describe_db_instances(DBInstanceIdentifier="estate")["DBInstances"][0]
    assert (database["PerformanceInsightsEnabled"], database["PerformanceInsightsRetentionPeriod"]) == (True, 7)
    rule = outputs(world, "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "back")["securityGroupRuleId"]
    found = client("ec2", REGION).describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"]
    assert found[0]["Description"] == "front to back"


def test_a_load_balancer_has_its_attributes_and_listener(world: World) -> None:
    balancing = world[0].client("elbv2", REGION)
    arn = outputs(world, "aws:lb/loadBalancer:LoadBalancer", "balancer")["arn"]
    found = balancing.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
    attributes = {item["Key"]: item["Value"] for item in found}
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert attributes["deletion_protection.enabled"] == "true"
    assert attributes["access_logs.s3.bucket"] == "estate-logs"
    listener = balancing.describe_listeners(LoadBalancerArn=arn)["Listeners"][0]
    assert listener["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
    found = balancing.describe_listener_attributes(ListenerArn=listener["ListenerArn"])["Attributes"]
    headers = {item["Key"]: item["Value"] for item in found}
    assert headers["routing.http.response.server.enabled"] == "false"
    assert headers["routing.http.response.strict_transport_security.header_value"] == "max-age=31536000"
    rules = balancing.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
    assert rules[0]["Conditions"][0]["HostHeaderConfig"]["Values"] == ["gateway.example.com"]


def test_a_web_acl_guards_the_load_balancer_and_logs_without_the_key(world: World) -> None:
    waf = world[0].client("wafv2", REGION)
    arn = outputs(world, "aws:lb/loadBalancer:LoadBalancer", "balancer")["arn"]
    acl = waf.get_web_acl_for_resource(ResourceArn=arn)["WebACL"]
    assert [rule["Name"] for rule in acl["Rules"]] == ["common", "rate"]
    logs = waf.get_logging_configuration(ResourceArn=acl["ARN"])["LoggingConfiguration"]
    assert logs["RedactedFields"] == [{"SingleHeader": {"Name": "authorization"}}]


def test_a_certificate_is_issued_once_its_records_exist(world: World) -> None:
    arn = outputs(world, "aws:acm/certificate:Certificate", "certificate")["arn"]
    certificate = world[0].client("acm", REGION).describe_certificate(CertificateArn=arn)["Certificate"]
    assert certificate["Status"] == "ISSUED"


def test_a_trail_records_and_has_its_selectors(world: World) -> None:
    trail = world[0].client("cloudtrail", REGION)
    assert trail.get_trail_status(Name="estate")["IsLogging"] is True
    found = trail.get_trail(Name="estate")["Trail"]
    assert (found["IsMultiRegionTrail"], found["LogFileValidationEnabled"]) == (True, True)
    assert trail.get_event_selectors(TrailName="estate")["AdvancedEventSelectors"][0]["Name"] == "objects"


def test_a_managed_policy_of_aws_can_be_attached(world: World) -> None:
    attached = world[0].client("iam", REGION).list_attached_role_policies(RoleName="estate")["AttachedPolicies"]
    assert {item["PolicyName"] for item in attached} == {"managed", "AWSLambdaBasicExecutionRole"}


def test_an_unknown_type_is_refused_by_name(world: World) -> None:
    assert refusal(world, "aws:mq/broker:Broker", {}) == (
        "urn:pulumi:dev::tiny::aws:mq/broker:Broker::one: the emulator has no row for the resource type "
        "aws:mq/broker:Broker. Add one to sandbox/emulator/resources/, or leave the resource out of this stack."
    )


def test_an_input_that_the_model_of_aws_refuses_is_named(world: World) -> None:
    message = refusal(world, "aws:iam/role:Role", {"name": "r", "assumeRolePolicy": "", "description": "x" * 1001})
    assert message.startswith(
        "urn:pulumi:dev::tiny::aws:iam/role:Role::one: property assumeRolePolicy: AWS's own model refuses create_role:"
    )


def test_a_value_that_aws_does_not_know_is_refused(world: World) -> None:
    message = refusal(world, "aws:kms/key:Key", {"keyUsage": "PARTY"})
    assert "property keyUsage is 'PARTY'; AWS knows SIGN_VERIFY" in message


def test_a_nested_property_that_aws_does_not_know_is_refused(world: World) -> None:
    inputs = {"bucket": "estate-data", "rule": {"objectOwnership": "BucketOwnerEnforced", "colour": "red"}}
    message = refusal(world, "aws:s3/bucketOwnershipControls:BucketOwnershipControls", inputs)
    assert "property OwnershipControls.rules[0].colour has no place in AWS's OwnershipControlsRule" in message


def test_what_the_emulated_aws_refuses_is_named(world: World) -> None:
    message = refusal(world, "aws:kms/alias:Alias", {"name": "alias/mine", "targetKeyId": "x"})
    assert message.endswith("AWS (emulated) refuses create_alias: NotFoundException: Invalid keyId x")


def test_an_input_that_the_row_does_not_use_is_refused(world: World) -> None:
    message = refusal(world, "aws:s3/bucket:Bucket", {"bucket": "another", "acl": "private"})
    assert "the emulator's row for aws:s3/bucket:Bucket does nothing with: acl." in message


def test_an_unknown_input_is_refused(world: World) -> None:
    message = refusal(world, "aws:sns/topic:Topic", {"name": UNKNOWN})
    assert message.endswith("property name is unknown: the resource it comes from has no such output.")


def test_an_import_is_refused(world: World) -> None:
    registration = Registration("urn:x", "aws:s3/bucket:Bucket", "x", True, "", {}, import_id="old")
    with pytest.raises(SandboxError, match="the emulator starts empty: there is no 'old' to read or import"):
        world[0].create(registration)


def test_an_output_that_the_class_does_not_have_is_refused(world: World) -> None:
    registration = declared("aws:sns/topic:Topic", {})
    emulator = world[0]
    make = Make(registration, region=REGION, account=emulator.account, tags={}, client=emulator.client)
    row = Row(make=lambda _: ("x", {"arnn": "x"}))
    with pytest.raises(SandboxError, match="outputs that aws:sns/topic:Topic of pulumi-aws does not have: arnn"):
        create(row, make)


def test_a_taken_port_is_refused_with_its_number(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError, match=f"Port {port} is taken, so the AWS emulator cannot listen on it"):
            Emulator.start(port)


def test_a_second_emulator_in_a_process_is_refused(world: World) -> None:
    with pytest.raises(SandboxError, match="An emulator already runs in this process"):
        Emulator.start()


def test_the_endpoint_answers_on_this_machine_only(world: World) -> None:
    assert world[0].endpoint.startswith("http://127.0.0.1:")
    assert requests.get(f"{world[0].endpoint}/moto-api/config", timeout=5).ok
