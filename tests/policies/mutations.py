"""One thing broken at a time in our own prod stack, by rule; the test asks for one for every rule that has a subject there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from policies.analysis.properties import Properties
from policies.analysis.resources import Resource
from tests.policies.ourstack import Made

Change = Callable[[Made], list[Made]]


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is done to one resource of a type: the one of this name, or the first. `first` is done before it, to keep another
    rule silent that guards the same place.
    """

    type: str
    change: Change
    name: str = ""
    first: Mutation | None = None

    def applies(self, made: tuple[Made, ...]) -> bool:
        return any(map(self._is_mine, made))

    def of(self, made: tuple[Made, ...]) -> tuple[Made, ...]:
        made = self.first.of(made) if self.first else made
        at = next(at for at, one in enumerate(made) if self._is_mine(one))
        return (*made[:at], *self.change(made[at]), *made[at + 1 :])

    def _is_mine(self, one: Made) -> bool:
        return one.resource.type == self.type and self.name in ("", one.resource.name)


def put(type: str, name: str = "", /, **inputs: Any) -> Mutation:
    return Mutation(type if ":" in type.partition("/")[0] else f"aws:{type}", lambda one: [one.put(**inputs)], name)


def drop(type: str, name: str = "") -> Mutation:
    return Mutation(f"aws:{type}", lambda one: [], name)


def edited(type: str, prop: str, edit: Callable[[Any], Any], name: str = "") -> Mutation:
    """JSON text, changed inside."""

    def change(one: Made) -> list[Made]:
        return [one.put(**{prop: json.dumps(edit(json.loads(one.inputs[prop])))})]

    return Mutation(f"aws:{type}", change, name)


def nested(type: str, prop: str, edit: Callable[[Any], Any], name: str = "") -> Mutation:
    """An object or list, changed inside."""
    return Mutation(f"aws:{type}", lambda one: [one.put(**{prop: edit(one.inputs[prop])})], name)


def beside(type: str, new: str, inputs: dict[str, Any]) -> Mutation:
    """A resource that our program does not make, beside the first one of a type."""
    added = Resource(f"urn:pulumi:prod::gatehouse::aws:{new}::new", f"aws:{new}", "new", Properties(inputs))
    return Mutation(f"aws:{type}", lambda one: [one, Made(replace(added, provider=one.resource.provider), inputs)])


def unprotected(one: Made) -> list[Made]:
    return [Made(replace(one.resource, protect=False), one.inputs)]


def statements(
    type: str, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], name: str = "", prop: str = "policy"
) -> Mutation:
    return edited(type, prop, lambda document: {**document, "Statement": edit(document["Statement"])}, name)


def lacking(*sids: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda found: [one for one in found if one.get("Sid") not in sids]


def adding(**statement: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda found: [*found, {"Effect": "Allow", "Resource": "*", **statement}]


def unconditional(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in one.items() if key != "Condition"} for one in found]


def container(**changes: Any) -> Mutation:
    """The first container of the gateway's task, changed; None removes."""

    def edit(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        first = {key: value for key, value in {**found[0], **changes}.items() if value is not None}
        return [first, *found[1:]]

    return edited("ecs/taskDefinition:TaskDefinition", "containerDefinitions", edit, "gateway")


BUCKET_POLICY, KEY, ROLE_POLICY = "s3/bucketPolicy:BucketPolicy", "kms/key:Key", "iam/rolePolicy:RolePolicy"
DATABASE, CACHE, TABLE = "rds/instance:Instance", "elasticache/replicationGroup:ReplicationGroup", "dynamodb/table:Table"
BALANCER, LISTENER, FIREWALL = "lb/loadBalancer:LoadBalancer", "lb/listener:Listener", "wafv2/webAcl:WebAcl"
TASK, SERVICE, TRAIL = "ecs/taskDefinition:TaskDefinition", "ecs/service:Service", "cloudtrail/trail:Trail"
FUNCTION, GROUP, ROLE = "lambda/function:Function", "ec2/securityGroup:SecurityGroup", "iam/role:Role"
EGRESS, REPOSITORY = "vpc/securityGroupEgressRule:SecurityGroupEgressRule", "ecr/repository:Repository"
SECRET, SECRET_POLICY = "secretsmanager/secret:Secret", "secretsmanager/secretPolicy:SecretPolicy"
LIFECYCLE, BUCKET = "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", "s3/bucket:Bucket"
STAGE, METHOD = "apigateway/stage:Stage", "apigateway/method:Method"
ANYONE = {"Principal": "*", "Action": "s3:GetObject"}
STRANGER_KEY = {"Principal": {"AWS": "arn:aws:iam::123456789012:role/one"}, "Action": ["kms:Decrypt", "kms:PutKeyPolicy"]}


def without_rules(*words: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda rules: [rule for rule in rules if not any(word in json.dumps(rule["statement"]) for word in words)]


def lifecycle_without(prop: str) -> Mutation:
    return nested(LIFECYCLE, "rules", lambda rules: [{k: v for k, v in rule.items() if k != prop} for rule in rules], "data")


MUTATIONS: dict[str, Mutation] = {
    "GH-ACC-001": drop("guardduty/detector:Detector"),
    "GH-ACM-001": put("acm/certificate:Certificate", subjectAlternativeNames=["*.gatehouse.example.com"]),
    "GH-ALB-001": put(LISTENER, "http", defaultActions=[{"type": "forward"}]),
    "GH-ALB-002": put(LISTENER, "https", sslPolicy="ELBSecurityPolicy-2016-08"),
    "GH-ALB-003": put(BALANCER, dropInvalidHeaderFields=False),
    "GH-ALB-004": put(BALANCER, accessLogs=None),
    "GH-ALB-005": put(BALANCER, enableDeletionProtection=False),
    "GH-ALB-006": put(BALANCER, desyncMitigationMode="monitor"),
    "GH-ALB-007": nested(BALANCER, "subnets", lambda subnets: subnets[:1]),
    "GH-ALB-008": drop("wafv2/webAclAssociation:WebAclAssociation"),
    "GH-ALB-009": put("lb/targetGroup:TargetGroup", healthCheck=None),
    "GH-ALB-010": put(LISTENER, "https", routingHttpResponseServerEnabled=True),
    "GH-API-001": put(STAGE, accessLogSettings=None),
    "GH-API-002": beside(
        METHOD, "apigateway/method:Method", {"httpMethod": "GET", "authorization": "NONE", "requestValidatorId": "checks"}
    ),
    "GH-API-003": drop("wafv2/webAclAssociation:WebAclAssociation", "sharing"),
    "GH-API-004": put("apigateway/domainName:DomainName", securityPolicy="TLS_1_0"),
    "GH-API-005": put(STAGE, xrayTracingEnabled=False),
    "GH-BAK-001": put("backup/vault:Vault", kmsKeyArn=None),
    "GH-BAK-002": drop("backup/vaultLockConfiguration:VaultLockConfiguration"),
    "GH-BAK-003": nested(
        "backup/plan:Plan", "rules", lambda rules: [{k: v for k, v in one.items() if k != "copyActions"} for one in rules]
    ),
    "GH-COST-001": drop("costexplorer/anomalyMonitor:AnomalyMonitor"),
    "GH-CT-001": put(TRAIL, isMultiRegionTrail=False),
    "GH-CT-002": put(TRAIL, kmsKeyId=None),
    "GH-CT-003": put(TRAIL, enableLogFileValidation=False),
    "GH-CT-004": put(TRAIL, cloudWatchLogsRoleArn=None),
    "GH-CT-005": put(TRAIL, advancedEventSelectors=None),
    "GH-CT-006": statements(
        BUCKET_POLICY, lambda found: [one if one["Sid"] != "TrailWrites" else unconditional([one])[0] for one in found], "trail"
    ),
    "GH-CW-001": put("cloudwatch/logGroup:LogGroup", retentionInDays=30),
    "GH-CW-002": put("cloudwatch/logGroup:LogGroup", "gateway", kmsKeyId=None),
    "GH-CW-003": put("cloudwatch/metricAlarm:MetricAlarm", alarmActions=[]),
    "GH-CW-004": drop("cloudwatch/logMetricFilter:LogMetricFilter"),
    "GH-CW-005": put("cloudwatch/dashboard:Dashboard", dashboardBody="{}"),
    "GH-CW-006": drop("cloudwatch/logDataProtectionPolicy:LogDataProtectionPolicy"),
    "GH-DDB-001": put(TABLE, pointInTimeRecovery=None),
    "GH-DDB-002": put(TABLE, serverSideEncryption={"enabled": True}),
    "GH-DDB-003": put(TABLE, deletionProtectionEnabled=False),
    "GH-DDB-004": put(TABLE, billingMode="PROVISIONED"),
    "GH-DDB-005": put(TABLE, ttl=None, tags={"gatehouse:purpose": "ephemeral", "DataClass": "confidential"}),
    "GH-EC-001": put(CACHE, atRestEncryptionEnabled=False),
    "GH-EC-002": put(CACHE, transitEncryptionMode="preferred"),
    "GH-EC-003": put(CACHE, userGroupIds=None),
    "GH-EC-004": put(CACHE, multiAzEnabled=False),
    "GH-EC-005": put(CACHE, snapshotRetentionLimit=0),
    "GH-EC-006": put(CACHE, autoMinorVersionUpgrade=False),
    "GH-EC-007": put(CACHE, subnetGroupName="default"),
    "GH-ECR-001": put(REPOSITORY, imageScanningConfiguration=None),
    "GH-ECR-002": put(REPOSITORY, imageTagMutability="MUTABLE"),
    "GH-ECR-003": drop("ecr/lifecyclePolicy:LifecyclePolicy"),
    "GH-ECR-004": put(REPOSITORY, encryptionConfigurations=None),
    "GH-ECS-001": container(privileged=True),
    "GH-ECS-002": container(readonlyRootFilesystem=False),
    "GH-ECS-003": container(user="0"),
    "GH-ECS-004": put(TASK, "gateway", networkMode="host"),
    "GH-ECS-005": container(environment=[{"name": "DATABASE_PASSWORD", "value": "hunter2"}]),
    "GH-ECS-006": container(logConfiguration=None),
    "GH-ECS-007": nested(SERVICE, "networkConfiguration", lambda held: {**held, "assignPublicIp": True}),
    "GH-ECS-008": put(SERVICE, platformVersion="1.3.0"),
    "GH-ECS-009": put("ecs/cluster:Cluster", settings=None),
    "GH-ECS-010": replace(
        put(SERVICE, enableExecuteCommand=True),
        first=put("ec2/vpcEndpoint:VpcEndpoint", "monitoring", serviceName="com.amazonaws.eu-west-1.ssmmessages"),
    ),
    "GH-ECS-011": put(TASK, "gateway", taskRoleArn=None),
    "GH-ECS-012": put(SERVICE, deploymentCircuitBreaker=None, alarms=None),
    "GH-ECS-013": put(SERVICE, desiredCount=1),
    "GH-ECS-014": container(image="acme/gateway:latest"),
    "GH-ECS-015": container(linuxParameters=None),
    "GH-ECS-016": put(TASK, "gateway", volumes=[{"name": "f", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]),
    "GH-IAM-002": statements(ROLE_POLICY, adding(Action="dynamodb:*", Resource="arn:aws:dynamodb:::table/a"), "gateway-task"),
    "GH-IAM-003": beside(
        ROLE, "iam/rolePolicyAttachment:RolePolicyAttachment", {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}
    ),
    "GH-IAM-004": statements(ROLE, unconditional, "gateway-task", prop="assumeRolePolicy"),
    "GH-IAM-005": statements(
        ROLE,
        adding(
            Action="sts:AssumeRoleWithWebIdentity",
            Principal={"Federated": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"},
        ),
        "gateway-task",
        prop="assumeRolePolicy",
    ),
    "GH-IAM-006": beside(ROLE, "iam/accessKey:AccessKey", {"user": "robot"}),
    "GH-IAM-007": put(ROLE, permissionsBoundary=None),
    "GH-IAM-008": put(ROLE, "gateway-task", inlinePolicies=[{"name": "more"}]),
    "GH-KMS-001": put(KEY, enableKeyRotation=False),
    "GH-KMS-002": statements(KEY, adding(Principal="*", Action="kms:DescribeKey"), "data"),
    "GH-KMS-003": put(KEY, deletionWindowInDays=7),
    "GH-KMS-004": put(KEY, bypassPolicyLockoutSafetyCheck=True),
    "GH-KMS-005": statements(KEY, adding(Principal={"Service": "sns.amazonaws.com"}, Action="kms:Decrypt"), "data"),
    "GH-KMS-006": statements(KEY, adding(**STRANGER_KEY), "data"),
    "GH-KMS-007": statements(
        ROLE_POLICY, adding(Action="kms:Decrypt", Resource="arn:aws:kms:*:123456789012:key/*"), "gateway-task"
    ),
    "GH-KMS-008": drop("kms/alias:Alias", "data"),
    "GH-KMS-009": put(KEY, multiRegion=True),
    "GH-LAM-001": put(FUNCTION, runtime="python3.8"),
    "GH-LAM-002": put(FUNCTION, vpcConfig={"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]}),
    "GH-LAM-003": put(FUNCTION, environment={"variables": {"API_TOKEN": "hunter2"}}),
    "GH-LAM-004": put("lambda/permission:Permission", sourceAccount=None, sourceArn=None),
    "GH-LAM-005": put(FUNCTION, tracingConfig=None),
    "GH-PUL-001": Mutation(f"aws:{BUCKET}", unprotected, "data"),
    "GH-PUL-002": put("pulumi:providers:aws", allowedAccountIds="[]"),
    "GH-PUL-003": put(GROUP, region="us-west-2"),
    "GH-PUL-004": put(BUCKET, "data", versioning={"enabled": True}),
    "GH-PUL-005": put("pulumi:pulumi:Stack", adminPassword="correct horse"),
    "GH-RDS-001": put(DATABASE, publiclyAccessible=True),
    "GH-RDS-002": put(DATABASE, storageEncrypted=False),
    "GH-RDS-003": put(DATABASE, backupRetentionPeriod=7),
    "GH-RDS-004": put(DATABASE, multiAz=False),
    "GH-RDS-005": put(DATABASE, deletionProtection=False),
    "GH-RDS-006": put(DATABASE, iamDatabaseAuthenticationEnabled=False),
    "GH-RDS-007": put("rds/parameterGroup:ParameterGroup", parameters=[]),
    "GH-RDS-008": put(DATABASE, enabledCloudwatchLogsExports=[]),
    "GH-RDS-009": put(DATABASE, monitoringInterval=0),
    "GH-RDS-010": put(DATABASE, autoMinorVersionUpgrade=False),
    "GH-RDS-011": put(DATABASE, copyTagsToSnapshot=False),
    "GH-RDS-012": put(DATABASE, manageMasterUserPassword=False),
    "GH-RDS-013": put(DATABASE, username="postgres"),
    "GH-RDS-015": put(DATABASE, caCertIdentifier="rds-ca-2019"),
    "GH-RDS-016": put(DATABASE, vpcSecurityGroupIds=[]),
    "GH-BAK-004": drop("backup/selection:Selection"),
    "GH-RDS-017": drop("rds/eventSubscription:EventSubscription", "db-instance"),
    "GH-S3-001": drop("s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "data"),
    "GH-S3-002": drop("s3/accountPublicAccessBlock:AccountPublicAccessBlock"),
    "GH-S3-003": statements(BUCKET_POLICY, lacking("OnlyTls"), "data"),
    "GH-S3-004": statements(BUCKET_POLICY, lacking("OnlyTls12"), "data"),
    "GH-S3-005": drop("s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration", "data"),
    "GH-S3-006": statements(BUCKET_POLICY, lacking("NoOtherKey"), "data"),
    "GH-S3-007": drop("s3/bucketVersioning:BucketVersioning", "data"),
    "GH-S3-008": lifecycle_without("noncurrentVersionExpiration"),
    "GH-S3-009": lifecycle_without("abortIncompleteMultipartUpload"),
    "GH-S3-010": drop("s3/bucketLogging:BucketLogging", "data"),
    "GH-S3-011": drop("s3/bucketOwnershipControls:BucketOwnershipControls", "data"),
    "GH-S3-012": statements(BUCKET_POLICY, adding(**ANYONE), "data"),
    "GH-S3-013": nested(
        "s3/bucketReplicationConfig:BucketReplicationConfig",
        "rules",
        lambda rules: [{**rule, "deleteMarkerReplication": {"status": "Disabled"}} for rule in rules],
    ),
    "GH-S3-014": replace(
        nested("s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration", "rule", lambda rule: {}, "trail"),
        first=statements(
            BUCKET_POLICY,
            adding(
                Effect="Deny",
                Principal="*",
                Action="s3:DeleteObjectVersion",
                Resource="arn:aws:s3:::gatehouse-prod-trail-123456789012-eu-west-1/*",
            ),
            "trail",
        ),
    ),
    "GH-S3-015": put(BUCKET, "data", forceDestroy=True),
    "GH-S3-016": statements(BUCKET_POLICY, adding(Effect="Deny", Principal="*", Action="s3:PutBucketPolicy"), "data"),
    "GH-SM-001": put(SECRET, kmsKeyId=None),
    "GH-SM-002": drop("secretsmanager/secretRotation:SecretRotation", "pepper"),
    "GH-SM-003": put("secretsmanager/secretRotation:SecretRotation", rotationRules={"automaticallyAfterDays": 60}),
    "GH-SM-004": put(SECRET_POLICY, blockPublicPolicy=False),
    "GH-SM-005": put(SECRET, recoveryWindowInDays=7),
    "GH-SM-006": beside(SECRET, "secretsmanager/secretVersion:SecretVersion", {"secretString": "correct horse"}),
    "GH-SNS-001": drop("sns/topicPolicy:TopicPolicy"),
    "GH-TAG-001": put(TABLE, tags={"DataClass": "none"}),
    "GH-VPC-001": drop("ec2/flowLog:FlowLog"),
    "GH-VPC-002": drop("ec2/defaultSecurityGroup:DefaultSecurityGroup"),
    "GH-VPC-003": put("ec2/subnet:Subnet", "edge-eu-west-1a", mapPublicIpOnLaunch=True),
    "GH-VPC-004": put("vpc/securityGroupIngressRule:SecurityGroupIngressRule", "internet-to-edge-443", fromPort=0, toPort=65535),
    "GH-VPC-005": put(EGRESS, "gateway-to-0.0.0.0-0-443", ipProtocol="-1"),
    "GH-VPC-006": put(GROUP, "gateway", description=None),
    "GH-VPC-007": put(
        "ec2/networkAcl:NetworkAcl", ingress=[{"ruleNo": 1, "action": "allow", "protocol": "-1", "cidrBlock": "0.0.0.0/0"}]
    ),
    "GH-VPC-008": drop("ec2/vpcEndpoint:VpcEndpoint", "sts"),
    "GH-VPC-009": put("ec2/vpcEndpoint:VpcEndpoint", "sts", policy=None),
    "GH-VPC-010": put("ec2/route:Route", "app-eu-west-1a", natGatewayId=None, gatewayId="igw-1"),
    "GH-VPC-011": drop("ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions"),
    "GH-WAF-001": nested(FIREWALL, "rules", without_rules("rateBasedStatement")),
    "GH-WAF-002": drop("wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration"),
    "GH-WAF-003": put(FIREWALL, visibilityConfig={"cloudwatchMetricsEnabled": False}),
    "GH-WAF-004": nested(FIREWALL, "rules", lambda rules: [*rules[:-1], {**rules[-1], "overrideAction": {"count": {}}}]),
}
