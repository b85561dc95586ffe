"""The emulator creates the resources of a program: boto3 returns their properties."""

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

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType, create
from sandbox.emulator.resources import RESOURCE_TYPES
from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.engine.providers import FakeProvider
from sandbox.engine.types import UNKNOWN, Deployment, Registration
from sandbox.engine.values import zip_bytes
from sandbox.errors import SandboxError
from sandbox.paths import REPOSITORY

PROGRAM = Path(__file__).parents[1] / "programs" / "estate"
REGION = "eu-west-1"

Estate = tuple[Emulator, Deployment]


@pytest.fixture(scope="module")
def estate() -> Iterator[Estate]:
    """The program `estate`, deployed once for this module."""
    with Emulator.start() as emulator:
        yield emulator, run(PROGRAM, "dev", emulator, preview=False)


def outputs(estate: Estate, kind: str, name: str) -> dict[str, Any]:
    matching = (row for row in estate[1].resources if (row.registration.type, row.registration.name) == (kind, name))
    return next(matching).outputs


def declared(kind: str, inputs: dict[str, Any], name: str = "one") -> Registration:
    return Registration(f"urn:pulumi:dev::tiny::{kind}::{name}", kind, name, True, "", inputs)


def error(estate: Estate, kind: str, inputs: dict[str, Any]) -> str:
    with pytest.raises(SandboxError) as caught:
        estate[0].create(declared(kind, inputs))
    return caught.value.message


def test_every_type_is_deployed_by_a_test(estate: Estate) -> None:
    """RDS Proxy and service discovery are off in the stacks; test_rds_proxy and test_core_stack deploy them."""
    stacks = (run(REPOSITORY, stack, FakeProvider(), preview=False) for stack in ("staging", "prod"))
    deployed = {item.registration.type for deployment in (estate[1], *stacks) for item in deployment.resources}
    assert set(RESOURCE_TYPES) - deployed == {
        "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace",
        "aws:servicediscovery/service:Service",
        "aws:rds/proxy:Proxy",
        "aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup",
        "aws:rds/proxyTarget:ProxyTarget",
    }


def test_bucket_settings(estate: Estate) -> None:
    s3, name = estate[0].client("s3", REGION), {"Bucket": "estate-data"}
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


def test_default_tags(estate: Estate) -> None:
    tags = estate[0].client("iam", REGION).list_role_tags(RoleName="estate")["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"Project": "estate", "Own": "yes"}
    assert estate[0].client("s3", REGION).get_bucket_tagging(Bucket="estate-data")["TagSet"] == [
        {"Key": "Project", "Value": "estate"}
    ]


def test_vpc_routes_and_default_security_group(estate: Estate) -> None:
    ec2 = estate[0].client("ec2", REGION)
    vpc = outputs(estate, "aws:ec2/vpc:Vpc", "vpc")
    identity = ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": ["estate"]}])["Vpcs"][0]["VpcId"]
    assert ec2.describe_vpc_attribute(VpcId=identity, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]
    group = ec2.describe_security_groups(GroupIds=[vpc["defaultSecurityGroupId"]])["SecurityGroups"][0]
    assert (group["IpPermissions"], group["IpPermissionsEgress"]) == ([], [])
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [identity]}])["RouteTables"]
    assert any("NatGatewayId" in route for table in tables for route in table["Routes"])


def test_security_group_has_declared_egress_only(estate: Estate) -> None:
    ec2 = estate[0].client("ec2", REGION)
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["front", "back"]}])
    actual = {group["GroupName"]: group for group in groups["SecurityGroups"]}
    assert actual["back"]["IpPermissionsEgress"] == []
    assert [rule["FromPort"] for rule in actual["back"]["IpPermissions"]] == [443]
    assert actual["front"]["IpPermissionsEgress"][0]["PrefixListIds"][0]["PrefixListId"].startswith("pl-")


def test_dynamodb_table_settings(estate: Estate) -> None:
    dynamodb, name = estate[0].client("dynamodb", REGION), {"TableName": "estate-tokens"}
    table = dynamodb.describe_table(**name)["Table"]
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert table["GlobalSecondaryIndexes"][0]["IndexName"] == "by-owner"
    assert table["DeletionProtectionEnabled"] is True
    assert table["SSEDescription"]["SSEType"] == "KMS"
    assert dynamodb.describe_time_to_live(**name)["TimeToLiveDescription"]["AttributeName"] == "expires"
    recovery = dynamodb.describe_continuous_backups(**name)["ContinuousBackupsDescription"]
    assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_db_instance_settings_and_managed_password(estate: Estate) -> None:
    emulator, deployment = estate
    actual = emulator.client("rds", REGION).describe_db_instances(DBInstanceIdentifier="estate")["DBInstances"][0]
    settings = {name: actual[name] for name in ("StorageEncrypted", "MultiAZ", "DeletionProtection", "PubliclyAccessible")}
    assert settings == {"StorageEncrypted": True, "MultiAZ": True, "DeletionProtection": True, "PubliclyAccessible": False}
    assert actual["IAMDatabaseAuthenticationEnabled"] is True
    assert actual["BackupRetentionPeriod"] == 7
    secret = emulator.client("secretsmanager", REGION).get_secret_value(SecretId=deployment.exports["database"]["secret"])
    assert set(json.loads(secret["SecretString"])) >= {"username", "password"}


def test_secret_policy_and_rotation(estate: Estate) -> None:
    manager = estate[0].client("secretsmanager", REGION)
    actual = manager.describe_secret(SecretId="estate/pepper")
    assert actual["RotationEnabled"] is True
    assert actual["RotationLambdaARN"] == "arn:aws:lambda:eu-west-1:123456789012:function:estate"
    assert actual["RotationRules"]["AutomaticallyAfterDays"] == 30
    assert actual["KmsKeyId"] == outputs(estate, "aws:kms/key:Key", "key")["arn"]
    assert "VersionIdsToStages" not in actual
    assert "ResourcePolicy" in manager.get_resource_policy(SecretId="estate/pepper")


def test_function_code(estate: Estate) -> None:
    actual = estate[0].client("lambda", REGION).get_function(FunctionName="estate")["Configuration"]
    code = zip_bytes(pulumi.FileArchive(str(PROGRAM / "code")))
    assert zipfile.ZipFile(io.BytesIO(code)).namelist() == ["handler.py"]
    assert actual["Handler"] == "handler.handler"
    assert actual["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()


def test_function_dead_letter_queue_and_concurrency(estate: Estate) -> None:
    client = estate[0].client("lambda", REGION)
    actual = client.get_function_configuration(FunctionName="estate")
    assert actual["DeadLetterConfig"] == {"TargetArn": outputs(estate, "aws:sqs/queue:Queue", "failed")["arn"]}
    assert actual["TracingConfig"] == {"Mode": "Active"}
    assert client.get_function_concurrency(FunctionName="estate")["ReservedConcurrentExecutions"] == 5


def test_queue_settings(estate: Estate) -> None:
    sqs, queue = estate[0].client("sqs", REGION), outputs(estate, "aws:sqs/queue:Queue", "failed")
    actual = sqs.get_queue_attributes(QueueUrl=queue["url"], AttributeNames=["All"])["Attributes"]
    assert actual["QueueArn"] == queue["arn"]
    assert actual["KmsMasterKeyId"] == outputs(estate, "aws:kms/key:Key", "key")["arn"]
    assert actual["MessageRetentionPeriod"] == "1209600"
    assert "Statement" in json.loads(actual["Policy"])


def test_role_boundary(estate: Estate) -> None:
    actual = estate[0].client("iam", REGION).get_role(RoleName="estate")["Role"]["PermissionsBoundary"]
    assert actual["PermissionsBoundaryArn"] == "arn:aws:iam::123456789012:policy/managed"


def test_task_definition_and_service(estate: Estate) -> None:
    ecs = estate[0].client("ecs", REGION)
    arn = outputs(estate, "aws:ecs/taskDefinition:TaskDefinition", "task")["arn"]
    task = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    assert task["containerDefinitions"][0]["readonlyRootFilesystem"] is True
    assert task["containerDefinitions"][0]["user"] == "65532:65532"
    service = ecs.describe_services(cluster="estate", services=["app"])["services"][0]
    assert service["desiredCount"] == 2
    assert service["taskDefinition"] == arn


def test_service_deployment_configuration(estate: Estate) -> None:
    service = estate[0].client("ecs", REGION).describe_services(cluster="estate", services=["app"])["services"][0]
    assert service["deploymentConfiguration"] == {
        "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        "alarms": {"alarmNames": ["estate-errors"], "rollback": True, "enable": True},
        "minimumHealthyPercent": 100,
        "maximumPercent": 200,
    }
    assert service["availabilityZoneRebalancing"] == "ENABLED"
    assert service["healthCheckGracePeriodSeconds"] == 60
    assert service["enableExecuteCommand"] is False


def test_settings_that_moto_drops_are_returned(estate: Estate) -> None:
    client = estate[0].client
    key = outputs(estate, "aws:kms/key:Key", "key")["keyId"]
    assert client("kms", REGION).get_key_rotation_status(KeyId=key)["RotationPeriodInDays"] == 365
    function = client("lambda", REGION).get_function_configuration(FunctionName="estate")
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": "/estate/app"}
    database = client("rds", REGION).describe_db_instances(DBInstanceIdentifier="estate")["DBInstances"][0]
    assert (database["PerformanceInsightsEnabled"], database["PerformanceInsightsRetentionPeriod"]) == (True, 7)
    rule = outputs(estate, "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "back")["securityGroupRuleId"]
    actual = client("ec2", REGION).describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"]
    assert actual[0]["Description"] == "front to back"


def test_load_balancer_attributes_and_listener(estate: Estate) -> None:
    balancing = estate[0].client("elbv2", REGION)
    arn = outputs(estate, "aws:lb/loadBalancer:LoadBalancer", "balancer")["arn"]
    actual = balancing.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
    attributes = {item["Key"]: item["Value"] for item in actual}
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert attributes["deletion_protection.enabled"] == "true"
    assert attributes["access_logs.s3.bucket"] == "estate-logs"
    listener = balancing.describe_listeners(LoadBalancerArn=arn)["Listeners"][0]
    assert listener["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
    actual = balancing.describe_listener_attributes(ListenerArn=listener["ListenerArn"])["Attributes"]
    headers = {item["Key"]: item["Value"] for item in actual}
    assert headers["routing.http.response.server.enabled"] == "false"
    assert headers["routing.http.response.strict_transport_security.header_value"] == "max-age=31536000"
    rules = balancing.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
    assert rules[0]["Conditions"][0]["HostHeaderConfig"]["Values"] == ["gateway.example.com"]


def test_web_acl_association_and_redaction(estate: Estate) -> None:
    waf = estate[0].client("wafv2", REGION)
    arn = outputs(estate, "aws:lb/loadBalancer:LoadBalancer", "balancer")["arn"]
    acl = waf.get_web_acl_for_resource(ResourceArn=arn)["WebACL"]
    assert [rule["Name"] for rule in acl["Rules"]] == ["common", "rate"]
    logs = waf.get_logging_configuration(ResourceArn=acl["ARN"])["LoggingConfiguration"]
    assert logs["RedactedFields"] == [{"SingleHeader": {"Name": "authorization"}}]


def test_certificate_is_issued(estate: Estate) -> None:
    arn = outputs(estate, "aws:acm/certificate:Certificate", "certificate")["arn"]
    certificate = estate[0].client("acm", REGION).describe_certificate(CertificateArn=arn)["Certificate"]
    assert certificate["Status"] == "ISSUED"


def test_trail_selectors(estate: Estate) -> None:
    trail = estate[0].client("cloudtrail", REGION)
    assert trail.get_trail_status(Name="estate")["IsLogging"] is True
    actual = trail.get_trail(Name="estate")["Trail"]
    assert (actual["IsMultiRegionTrail"], actual["LogFileValidationEnabled"]) == (True, True)
    assert trail.get_event_selectors(TrailName="estate")["AdvancedEventSelectors"][0]["Name"] == "objects"


def test_aws_managed_policy_is_attached(estate: Estate) -> None:
    attached = estate[0].client("iam", REGION).list_attached_role_policies(RoleName="estate")["AttachedPolicies"]
    assert {item["PolicyName"] for item in attached} == {"managed", "AWSLambdaBasicExecutionRole"}


def test_unknown_type_is_rejected(estate: Estate) -> None:
    assert error(estate, "aws:mq/broker:Broker", {}) == (
        "urn:pulumi:dev::tiny::aws:mq/broker:Broker::one: the resource type aws:mq/broker:Broker is not "
        "emulated. Add it to sandbox/emulator/resources/, or remove the resource from this stack."
    )


def test_invalid_input_is_rejected(estate: Estate) -> None:
    message = error(estate, "aws:iam/role:Role", {"name": "r", "assumeRolePolicy": "", "description": "x" * 1001})
    assert message.startswith(
        "urn:pulumi:dev::tiny::aws:iam/role:Role::one: property assumeRolePolicy: "
        "invalid parameters for create_role of the AWS API:"
    )


def test_invalid_enum_value_is_rejected(estate: Estate) -> None:
    message = error(estate, "aws:kms/key:Key", {"keyUsage": "PARTY"})
    assert "property keyUsage is 'PARTY'; valid values: SIGN_VERIFY" in message


def test_unknown_nested_property_is_rejected(estate: Estate) -> None:
    inputs = {"bucket": "estate-data", "rule": {"objectOwnership": "BucketOwnerEnforced", "colour": "red"}}
    message = error(estate, "aws:s3/bucketOwnershipControls:BucketOwnershipControls", inputs)
    assert "property rule[0].colour has no member in OwnershipControlsRule of the AWS API" in message


def test_api_error_is_reported(estate: Estate) -> None:
    message = error(estate, "aws:kms/alias:Alias", {"name": "alias/mine", "targetKeyId": "x"})
    assert message.endswith("AWS (emulated) rejects create_alias: NotFoundException: Invalid keyId x")


def test_unused_input_is_rejected(estate: Estate) -> None:
    message = error(estate, "aws:s3/bucket:Bucket", {"bucket": "another", "acl": "private"})
    assert "the emulator does not use these inputs of aws:s3/bucket:Bucket: acl." in message


def test_unknown_value_is_rejected(estate: Estate) -> None:
    message = error(estate, "aws:sns/topic:Topic", {"name": UNKNOWN})
    assert message.endswith("property name is unknown: the resource that it comes from has no such output.")


def test_import_is_rejected(estate: Estate) -> None:
    registration = Registration("urn:x", "aws:s3/bucket:Bucket", "x", True, "", {}, import_id="old")
    with pytest.raises(SandboxError, match="'old' cannot be read or imported: the emulator starts empty"):
        estate[0].create(registration)


def test_unknown_output_is_rejected(estate: Estate) -> None:
    registration = declared("aws:sns/topic:Topic", {})
    emulator = estate[0]
    request = CreateRequest(registration, region=REGION, tags={}, client=emulator.client)
    resource_type = ResourceType(create=lambda _: ("x", {"arnn": "x"}))
    with pytest.raises(SandboxError, match="aws:sns/topic:Topic of pulumi-aws has no such outputs: arnn"):
        create(resource_type, request)


def test_port_in_use_is_rejected(estate: Estate) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(SandboxError, match=f"Port {port} is in use, so the AWS emulator cannot listen on it"):
            Emulator.start(port)


def test_second_emulator_is_rejected(estate: Estate) -> None:
    with pytest.raises(SandboxError, match="An emulator already runs in this process"):
        Emulator.start()


def test_endpoint_is_local(estate: Estate) -> None:
    assert estate[0].endpoint.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/moto-api/reset", {}),
        ("GET", "/moto-api/data.json", {}),
        ("GET", "/moto-api/", {"Origin": "http://evil.example"}),
        ("POST", "/", {"Origin": "http://evil.example", "X-Amz-Target": "secretsmanager.ListSecrets"}),
        ("GET", "/", {"Host": "evil.example"}),
        ("GET", "/", {"Host": "evil.example:5555"}),
    ],
)
def test_web_pages_cannot_use_the_emulator(estate: Estate, method: str, path: str, headers: dict[str, str]) -> None:
    reply = requests.request(method, estate[0].endpoint + path, headers=headers, timeout=5)
    assert (reply.status_code, "Access-Control-Allow-Origin" in reply.headers) == (403, False)
