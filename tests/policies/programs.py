"""Clean programs, one a service: every rule passes on them, and each test breaks one property."""

from __future__ import annotations

import json

from policies.harness import ACCOUNT, Declared, Ref
from tests.policies.pieces import (
    KEY_POLICY,
    TAGS,
    TRUST,
    container,
    document,
    github_trust,
    grant,
    kms,
    roles,
    tls_only,
)
from tests.policies.topology import edge, network

__all__ = [
    "KEY_POLICY",
    "TAGS",
    "TRUST",
    "_sides",
    "container",
    "document",
    "ecs",
    "edge",
    "github_trust",
    "grant",
    "kms",
    "network",
    "rds",
    "roles",
    "s3",
    "secrets",
    "stores",
    "tls_only",
    "watch",
]


def s3() -> list[Declared]:
    bucket = {"bucket": Ref("files", "bucket")}
    return [
        Declared(
            "aws:s3/bucket:Bucket",
            "files",
            {"bucket": "acme-files", "tags": TAGS},
            protect=True,
            computed={"policy": "{}"},
        ),
        Declared(
            "aws:s3/bucket:Bucket",
            "sink",
            {"bucket": "acme-sink", "tags": {**TAGS, "gatehouse:purpose": "log-sink"}},
            protect=True,
        ),
        *(side for name in ("files", "sink") for side in _sides(name)),
        Declared(
            "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
            "files-encryption",
            {
                **bucket,
                "rules": [
                    {
                        "applyServerSideEncryptionByDefault": {
                            "sseAlgorithm": "aws:kms",
                            "kmsMasterKeyId": Ref("key", "arn"),
                        },
                        "bucketKeyEnabled": True,
                    }
                ],
            },
        ),
        Declared(
            "aws:s3/bucketLogging:BucketLogging",
            "files-logging",
            {**bucket, "targetBucket": Ref("sink", "bucket"), "targetPrefix": "s3/"},
        ),
        *kms(),
    ]


def _sides(name: str) -> list[Declared]:
    bucket = {"bucket": Ref(name, "bucket")}
    return [
        Declared(
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            f"{name}-block",
            {
                **bucket,
                "blockPublicAcls": True,
                "blockPublicPolicy": True,
                "ignorePublicAcls": True,
                "restrictPublicBuckets": True,
            },
        ),
        Declared(
            "aws:s3/bucketPolicy:BucketPolicy",
            f"{name}-policy",
            {**bucket, "policy": document(*tls_only(f"acme-{name}"))},
        ),
        Declared(
            "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
            f"{name}-ownership",
            {**bucket, "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        ),
        Declared(
            "aws:s3/bucketVersioning:BucketVersioning",
            f"{name}-versioning",
            {**bucket, "versioningConfiguration": {"status": "Enabled"}},
        ),
        Declared(
            "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
            f"{name}-lifecycle",
            {
                **bucket,
                "rules": [
                    {
                        "id": "tidy",
                        "status": "Enabled",
                        "noncurrentVersionExpiration": {"noncurrentDays": 30},
                        "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
                    }
                ],
            },
        ),
    ]


def secrets() -> list[Declared]:
    secret = {"secretId": Ref("pepper")}
    reader = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/gate"},
        "Action": "secretsmanager:GetSecretValue",
    }
    return [
        *kms(),
        Declared(
            "aws:secretsmanager/secret:Secret",
            "pepper",
            {"name": "acme/pepper", "kmsKeyId": Ref("key", "arn"), "tags": TAGS},
            protect=True,
        ),
        Declared(
            "aws:secretsmanager/secretPolicy:SecretPolicy",
            "pepper-policy",
            {**secret, "blockPublicPolicy": True, "policy": document({**reader, "Resource": "*"})},
        ),
        Declared(
            "aws:secretsmanager/secretRotation:SecretRotation",
            "pepper-rotation",
            {**secret, "rotationRules": {"automaticallyAfterDays": 30}},
        ),
    ]


def ecs() -> list[Declared]:
    return [
        *network(),
        *roles(),
        Declared(
            "aws:cloudwatch/logGroup:LogGroup",
            "gate-logs",
            {"name": "/acme/gate", "kmsKeyId": Ref("key", "arn"), "retentionInDays": 365, "tags": TAGS},
        ),
        Declared("aws:ecs/cluster:Cluster", "cluster", {"settings": [{"name": "containerInsights", "value": "enhanced"}]}),
        Declared(
            "aws:ecs/taskDefinition:TaskDefinition",
            "task",
            {
                "family": "gate",
                "networkMode": "awsvpc",
                "taskRoleArn": Ref("task-role", "arn"),
                "executionRoleArn": Ref("execution-role", "arn"),
                "containerDefinitions": json.dumps([container()]),
                "volumes": [
                    {
                        "name": "files",
                        "efsVolumeConfiguration": {"fileSystemId": "fs-1", "transitEncryption": "ENABLED"},
                    }
                ],
            },
        ),
        Declared(
            "aws:ecs/service:Service",
            "service",
            {
                "name": "gate",
                "taskDefinition": Ref("task", "arn"),
                "desiredCount": 2,
                "platformVersion": "LATEST",
                "networkConfiguration": {"subnets": [Ref("app-a"), Ref("app-b")], "assignPublicIp": False},
                "deploymentCircuitBreaker": {"enable": True, "rollback": True},
                "tags": TAGS,
            },
        ),
        Declared(
            "aws:appautoscaling/target:Target",
            "scaling",
            {"resourceId": "service/acme/gate", "minCapacity": 2, "maxCapacity": 8},
        ),
        Declared(
            "aws:ecr/repository:Repository",
            "images",
            {
                "imageScanningConfiguration": {"scanOnPush": True},
                "imageTagMutability": "IMMUTABLE",
                "encryptionConfigurations": [{"encryptionType": "KMS", "kmsKey": Ref("key", "arn")}],
            },
        ),
        Declared("aws:ecr/lifecyclePolicy:LifecyclePolicy", "images-lifecycle", {"repository": Ref("images"), "policy": "{}"}),
    ]


def rds() -> list[Declared]:
    return [
        *network(),
        Declared("aws:ec2/securityGroup:SecurityGroup", "gate-group", {"vpcId": Ref("vpc")}),
        Declared("aws:ec2/securityGroup:SecurityGroup", "database-group", {"vpcId": Ref("vpc")}),
        Declared(
            "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            "from-gate",
            {
                "securityGroupId": Ref("database-group"),
                "referencedSecurityGroupId": Ref("gate-group"),
                "ipProtocol": "tcp",
                "fromPort": 5432,
                "toPort": 5432,
            },
        ),
        Declared(
            "aws:rds/subnetGroup:SubnetGroup",
            "database-subnets",
            {"name": "acme", "subnetIds": [Ref("data-a"), Ref("data-b")]},
        ),
        Declared(
            "aws:rds/parameterGroup:ParameterGroup",
            "parameters",
            {"name": "acme-pg", "family": "postgres18", "parameters": [{"name": "rds.force_ssl", "value": "1"}]},
        ),
        Declared(
            "aws:rds/instance:Instance",
            "database",
            {
                "engine": "postgres",
                "publiclyAccessible": False,
                "storageEncrypted": True,
                "kmsKeyId": Ref("key", "arn"),
                "backupRetentionPeriod": 35,
                "deleteAutomatedBackups": False,
                "multiAz": True,
                "deletionProtection": True,
                "skipFinalSnapshot": False,
                "iamDatabaseAuthenticationEnabled": True,
                "parameterGroupName": Ref("parameters", "name"),
                "dbSubnetGroupName": Ref("database-subnets", "name"),
                "vpcSecurityGroupIds": [Ref("database-group")],
                "enabledCloudwatchLogsExports": ["postgresql", "upgrade"],
                "autoMinorVersionUpgrade": True,
                "manageMasterUserPassword": True,
                "masterUserSecretKmsKeyId": Ref("key", "arn"),
                "tags": TAGS,
            },
            protect=True,
        ),
        Declared("aws:rds/snapshot:Snapshot", "snapshot", {"dbInstanceIdentifier": Ref("database")}),
    ]


def stores() -> list[Declared]:
    return [
        *network(),
        Declared(
            "aws:dynamodb/table:Table",
            "tokens",
            {
                "pointInTimeRecovery": {"enabled": True},
                "serverSideEncryption": {"enabled": True, "kmsKeyArn": Ref("key", "arn")},
                "deletionProtectionEnabled": True,
                "ttl": {"enabled": True, "attributeName": "ends"},
                "tags": {**TAGS, "gatehouse:purpose": "ephemeral"},
            },
            protect=True,
        ),
        Declared("aws:elasticache/subnetGroup:SubnetGroup", "cache-subnets", {"subnetIds": [Ref("data-a"), Ref("data-b")]}),
        Declared(
            "aws:elasticache/replicationGroup:ReplicationGroup",
            "cache",
            {
                "atRestEncryptionEnabled": True,
                "kmsKeyId": Ref("key", "arn"),
                "transitEncryptionEnabled": True,
                "userGroupIds": ["acme-users"],
                "automaticFailoverEnabled": True,
                "multiAzEnabled": True,
                "snapshotRetentionLimit": 7,
                "tags": TAGS,
            },
        ),
    ]


def watch() -> list[Declared]:
    return [
        *kms(),
        *roles(),
        Declared("pulumi:providers:aws", "main", {"region": "eu-west-1", "allowedAccountIds": f'["{ACCOUNT}"]'}),
        Declared(
            "aws:cloudwatch/logGroup:LogGroup",
            "trail-logs",
            {"name": "/acme/trail", "kmsKeyId": Ref("key", "arn"), "retentionInDays": 365, "tags": TAGS},
        ),
        Declared(
            "aws:cloudtrail/trail:Trail",
            "trail",
            {
                "isMultiRegionTrail": True,
                "enableLogFileValidation": True,
                "kmsKeyId": Ref("key", "arn"),
                "cloudWatchLogsGroupArn": Ref("trail-logs", "arn"),
                "cloudWatchLogsRoleArn": Ref("task-role", "arn"),
            },
        ),
        Declared("aws:sns/topic:Topic", "alarms", {}),
        Declared("aws:cloudwatch/metricAlarm:MetricAlarm", "errors", {"alarmActions": [Ref("alarms", "arn")]}),
        Declared(
            "aws:lambda/function:Function",
            "rotate",
            {
                "environment": {"variables": {"GATEHOUSE_KEY_PREFIX": "gtk"}},
                "kmsKeyArn": Ref("key", "arn"),
                "tags": TAGS,
            },
        ),
        Declared(
            "aws:lambda/permission:Permission",
            "rotate-from-secrets",
            {"principal": "secretsmanager.amazonaws.com", "sourceAccount": ACCOUNT},
        ),
        Declared("aws:lambda/functionUrl:FunctionUrl", "rotate-url", {"authorizationType": "AWS_IAM"}),
    ]
