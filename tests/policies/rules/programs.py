"""Compliant programs with storage, containers and monitoring."""

import json
from typing import Any

from tests.policies.declared import ACCOUNT, Declared, Ref
from tests.policies.rules.builders import (
    DATA_EVENTS,
    MANAGEMENT_EVENTS,
    TAGS,
    backed_up,
    changed,
    cis_alarms,
    container,
    declared,
    document,
    kms,
    log_group,
    monitoring,
    roles,
    security_rule,
    tls_only,
)
from tests.policies.rules.network_programs import network

KEY = Ref("key", "arn")
_DATABASE: dict[str, Any] = {
    "port": 5433,
    "copyTagsToSnapshot": True,
    "storageEncrypted": True,
    "kmsKeyId": KEY,
    "iamDatabaseAuthenticationEnabled": True,
    "vpcSecurityGroupIds": [Ref("database-group")],
    "tags": TAGS,
}
"""Properties of databases, read replicas and clusters."""
_INSTANCE = {
    **_DATABASE,
    "caCertIdentifier": "rds-ca-rsa2048-g1",
    "monitoringInterval": 30,
    "performanceInsightsEnabled": True,
    "performanceInsightsKmsKeyId": KEY,
    "publiclyAccessible": False,
    "multiAz": True,
    "parameterGroupName": Ref("parameters", "name"),
    "enabledCloudwatchLogsExports": ["postgresql", "upgrade"],
    "autoMinorVersionUpgrade": True,
}
"""Properties of a database and its read replica."""
_PRIMARY = {
    "backupRetentionPeriod": 35,
    "deleteAutomatedBackups": False,
    "deletionProtection": True,
    "skipFinalSnapshot": False,
    "dbSubnetGroupName": Ref("database-subnets", "name"),
    "manageMasterUserPassword": True,
    "masterUserSecretKmsKeyId": KEY,
}
"""Properties of a database and of a cluster."""


def ephemeral() -> list[Declared]:
    """A bucket with expiring data, without replica, backup and protection of versions."""
    return _with_bucket("links", "ephemeral", tls_only("acme-links")[:-1])


def static_files() -> list[Declared]:
    """A bucket with files that each deployment uploads, without replica and backup."""
    return _with_bucket("pages", "static-files", tls_only("acme-pages"))


def _with_bucket(name: str, purpose: str, statements: list[dict[str, Any]]) -> list[Declared]:
    tags = {**TAGS, "gatehouse:purpose": purpose}
    return [
        *s3(),
        declared("s3.Bucket", name, bucket=f"acme-{name}", tags=tags),
        *_sides(name, document(*statements)),
        *_encrypted_and_logged(name),
    ]


def s3() -> list[Declared]:
    return [
        declared("s3.Bucket", "files", bucket="acme-files", tags=TAGS, computed={"policy": "{}"}),
        declared(
            "s3.Bucket", "sink", bucket="acme-sink", tags={**TAGS, "gatehouse:purpose": "log-sink"}
        ),
        *_sides("files", document(*tls_only("acme-files"))),
        *_sides("sink", document(*tls_only("acme-sink"))),
        *_encrypted_and_logged("files"),
        declared("cfg.DeliveryChannel", "recorder-channel", s3BucketName=Ref("sink", "bucket")),
        declared(
            "s3.BucketReplicationConfig",
            "files-replication",
            bucket=Ref("files", "bucket"),
            rules=[
                {
                    "status": "Enabled",
                    "sourceSelectionCriteria": {"sseKmsEncryptedObjects": {"status": "Enabled"}},
                    "deleteMarkerReplication": {"status": "Enabled"},
                    "destination": {
                        "bucket": "arn:aws:s3:::acme-copies",
                        "encryptionConfiguration": {
                            "replicaKmsKeyId": f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/copies"
                        },
                        "metrics": {"status": "Enabled"},
                    },
                }
            ],
            depends_on=("files-versioning",),
        ),
        backed_up("files"),
        *kms(),
    ]


def _encrypted_and_logged(name: str) -> list[Declared]:
    bucket = {"bucket": Ref(name, "bucket")}
    default = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY}
    rules = [{"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": True}]
    return [
        declared(
            "s3.BucketServerSideEncryptionConfiguration",
            f"{name}-encryption",
            **bucket,
            rules=rules,
        ),
        declared(
            "s3.BucketLogging",
            f"{name}-logging",
            **bucket,
            targetBucket=Ref("sink", "bucket"),
            targetPrefix="s3/",
        ),
    ]


def _sides(name: str, policy: str) -> list[Declared]:
    bucket = {"bucket": Ref(name, "bucket")}
    return [
        declared(
            "s3.BucketPublicAccessBlock",
            f"{name}-block",
            **bucket,
            blockPublicAcls=True,
            blockPublicPolicy=True,
            ignorePublicAcls=True,
            restrictPublicBuckets=True,
        ),
        declared("s3.BucketPolicy", f"{name}-policy", **bucket, policy=policy),
        declared(
            "s3.BucketOwnershipControls",
            f"{name}-ownership",
            **bucket,
            rule={"objectOwnership": "BucketOwnerEnforced"},
        ),
        declared(
            "s3.BucketVersioning",
            f"{name}-versioning",
            **bucket,
            versioningConfiguration={"status": "Enabled"},
        ),
        declared(
            "s3.BucketLifecycleConfiguration",
            f"{name}-lifecycle",
            **bucket,
            rules=[
                {
                    "id": "tidy",
                    "status": "Enabled",
                    "noncurrentVersionExpiration": {"noncurrentDays": 7},
                    "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
                }
            ],
        ),
    ]


OTHER_READERS = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "secretsmanager:GetSecretValue",
    "Resource": "*",
    "Condition": {"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/gateway"}},
}


def secrets() -> list[Declared]:
    secret = {"secretId": Ref("pepper")}
    reader = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/gateway"},
        "Action": "secretsmanager:GetSecretValue",
    }
    return [
        *kms(),
        declared("secretsmanager.Secret", "pepper", name="acme/pepper", kmsKeyId=KEY, tags=TAGS),
        declared(
            "secretsmanager.SecretPolicy",
            "pepper-policy",
            secretArn=Ref("pepper", "arn"),
            blockPublicPolicy=True,
            policy=document({**reader, "Resource": "*"}, OTHER_READERS),
        ),
        declared(
            "secretsmanager.SecretRotation",
            "pepper-rotation",
            **secret,
            rotationRules={"automaticallyAfterDays": 30},
        ),
    ]


MASKING = {
    "DataIdentifier": ["arn:aws:dataprotection::aws:data-identifier/AwsSecretKey"],
    "Operation": {"Deidentify": {}},
}
EXPIRY = {
    "rulePriority": 1,
    "selection": {
        **{"countType": "imageCountMoreThan", "countNumber": 10},
        **{"tagStatus": "tagged", "tagPatternList": ["release-*"]},
    },
    "action": {"type": "expire"},
}


def ecs() -> list[Declared]:
    return [
        *network(),
        *roles(),
        log_group("gateway-logs", "/acme/gateway"),
        declared(
            "cloudwatch.LogDataProtectionPolicy",
            "gateway-logs-masking",
            logGroupName=Ref("gateway-logs", "name"),
            policyDocument=json.dumps({"Version": "2021-06-01", "Statement": [MASKING]}),
        ),
        *monitoring(service=("AWS/ECS", "ServiceName")),
        declared(
            "ecs.Cluster", "cluster", settings=[{"name": "containerInsights", "value": "enhanced"}]
        ),
        declared(
            "ecs.TaskDefinition",
            "task",
            family="gateway",
            networkMode="awsvpc",
            taskRoleArn=Ref("task-role", "arn"),
            executionRoleArn=Ref("execution-role", "arn"),
            containerDefinitions=json.dumps([container()]),
            volumes=[
                {
                    "name": "files",
                    "efsVolumeConfiguration": {
                        "fileSystemId": "fs-1",
                        "transitEncryption": "ENABLED",
                    },
                }
            ],
        ),
        declared(
            "ecs.Service",
            "service",
            name="gateway",
            cluster=Ref("cluster", "arn"),
            taskDefinition=Ref("task", "arn"),
            desiredCount=2,
            platformVersion="LATEST",
            networkConfiguration={"subnets": [Ref("app-a"), Ref("app-b")], "assignPublicIp": False},
            deploymentCircuitBreaker={"enable": True, "rollback": True},
            tags=TAGS,
        ),
        declared(
            *("appautoscaling.Target", "scaling"), resourceId="service/acme/gateway", minCapacity=2
        ),
        declared("appautoscaling.Policy", "cpu", resourceId=Ref("scaling", "resourceId")),
        declared(
            "ecr.Repository",
            "images",
            imageScanningConfiguration={"scanOnPush": True},
            imageTagMutability="IMMUTABLE",
            encryptionConfigurations=[{"encryptionType": "KMS", "kmsKey": KEY}],
        ),
        declared(
            "ecr.LifecyclePolicy",
            "images-lifecycle",
            repository=Ref("images"),
            policy=json.dumps({"rules": [EXPIRY]}),
        ),
    ]


def rds() -> list[Declared]:
    return [
        *network(),
        declared("ec2.SecurityGroup", "gateway-group", vpcId=Ref("vpc"), description="gateway"),
        declared("ec2.SecurityGroup", "database-group", vpcId=Ref("vpc"), description="database"),
        security_rule(
            *("Ingress", "from-gateway", "database-group", 5432, "queries"),
            referencedSecurityGroupId=Ref("gateway-group"),
        ),
        declared(
            "rds.SubnetGroup",
            "database-subnets",
            name="acme",
            subnetIds=[Ref("data-a"), Ref("data-b")],
        ),
        declared(
            "rds.ParameterGroup",
            "parameters",
            name="acme-pg18",
            family="postgres18",
            parameters=[{"name": "rds.force_ssl", "value": "1"}],
        ),
        declared(
            "rds.Instance",
            "database",
            engine="postgres",
            username="acme_owner",
            **_INSTANCE,
            **_PRIMARY,
        ),
        declared(
            "rds.Instance",
            "read-replica",
            replicateSourceDb=Ref("database"),
            **_INSTANCE,
            skipFinalSnapshot=True,
        ),
        *(
            declared(
                "rds.EventSubscription", kind, sourceType=kind, snsTopic="arn:aws:sns:::alarms"
            )
            for kind in ("db-instance", "db-parameter-group")
        ),
        backed_up("database"),
        *monitoring(
            database=("AWS/RDS", "DBInstanceIdentifier"),
            **{"read-replica": ("AWS/RDS", "DBInstanceIdentifier")},
        ),
        declared("rds.Snapshot", "snapshot", dbInstanceIdentifier=Ref("database")),
    ]


def stores() -> list[Declared]:
    return [
        *network(),
        declared(
            "dynamodb.Table",
            "tokens",
            billingMode="PAY_PER_REQUEST",
            pointInTimeRecovery={"enabled": True},
            serverSideEncryption={"enabled": True, "kmsKeyArn": KEY},
            deletionProtectionEnabled=True,
            ttl={"enabled": True, "attributeName": "ends"},
            tags={**TAGS, "gatehouse:purpose": "ephemeral"},
            computed={
                "streamArn": f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/tokens/stream/"
                "2030-01-01T00:00:00.000"
            },
        ),
        declared(
            "lambda.EventSourceMapping",
            "expired",
            eventSourceArn=Ref("tokens", "streamArn"),
            functionName="acme-export",
            startingPosition="LATEST",
            filterCriteria={"filters": [{"pattern": json.dumps({"eventName": ["INSERT"]})}]},
        ),
        *monitoring(
            tokens=("AWS/DynamoDB", "TableName"), cache=("AWS/ElastiCache", "CacheClusterId")
        ),
        declared(
            "elasticache.User",
            "nobody",
            userName="default",
            accessString="off -@all",
            noPasswordRequired=True,
            tags=TAGS,
        ),
        declared("elasticache.Cluster", "node", replicationGroupId=Ref("cache"), tags=TAGS),
        declared(
            "elasticache.SubnetGroup", "cache-subnets", subnetIds=[Ref("data-a"), Ref("data-b")]
        ),
        declared(
            "elasticache.ReplicationGroup",
            "cache",
            engine="valkey",
            subnetGroupName=Ref("cache-subnets"),
            atRestEncryptionEnabled=True,
            kmsKeyId=KEY,
            transitEncryptionEnabled=True,
            userGroupIds=["acme-users"],
            automaticFailoverEnabled=True,
            multiAzEnabled=True,
            snapshotRetentionLimit=7,
            tags=TAGS,
        ),
    ]


def watch() -> list[Declared]:
    return [
        *kms(),
        *roles(),
        Declared(
            "pulumi:providers:aws",
            "main",
            {"region": "eu-west-1", "allowedAccountIds": f'["{ACCOUNT}"]'},
        ),
        log_group("trail-logs", "/acme/trail"),
        declared(
            "cloudtrail.Trail",
            "trail",
            s3BucketName="acme-trail",
            advancedEventSelectors=[DATA_EVENTS, MANAGEMENT_EVENTS],
            isMultiRegionTrail=True,
            enableLogFileValidation=True,
            kmsKeyId=KEY,
            cloudWatchLogsGroupArn=Ref("trail-logs", "arn"),
            cloudWatchLogsRoleArn=Ref("task-role", "arn"),
        ),
        *cis_alarms(),
        *monitoring(rotate=("AWS/Lambda", "FunctionName")),
        declared("sns.Topic", "alarms", kmsMasterKeyId=KEY),
        declared(
            "sns.TopicPolicy",
            "alarms-policy",
            arn=Ref("alarms", "arn"),
            policy=document(
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sns:Publish",
                    "Resource": f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms",
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ),
        ),
        declared("cloudwatch.MetricAlarm", "errors", alarmActions=[Ref("alarms", "arn")]),
        declared(
            "lambda.Function",
            "rotate",
            runtime="python3.13",
            reservedConcurrentExecutions=2,
            deadLetterConfig={"targetArn": "arn:aws:sqs:::failed"},
            tracingConfig={"mode": "Active"},
            environment={"variables": {"GATEHOUSE_KEY_PREFIX": "gtk"}},
            kmsKeyArn=KEY,
            tags=TAGS,
        ),
        declared(
            "lambda.Permission",
            "rotate-from-secrets",
            principal="secretsmanager.amazonaws.com",
            sourceAccount=ACCOUNT,
        ),
        declared("lambda.FunctionUrl", "rotate-url", authorizationType="AWS_IAM"),
    ]


def aurora() -> list[Declared]:
    cluster = declared(
        "rds.Cluster",
        "aurora",
        engine="aurora-postgresql",
        masterUsername="acme_owner",
        **_DATABASE,
        **_PRIMARY,
        dbClusterParameterGroupName=Ref("cluster-parameters", "name"),
        enabledCloudwatchLogsExports=["postgresql"],
    )
    parameters = declared(
        "rds.ClusterParameterGroup",
        "cluster-parameters",
        name="acme-aurora",
        family="aurora-postgresql17",
        parameters=[{"name": "rds.force_ssl", "value": "1"}],
    )
    events = declared(
        "rds.EventSubscription",
        "db-cluster",
        sourceType="db-cluster",
        snsTopic="arn:aws:sns:::alarms",
    )
    selected = changed(rds(), "selection", resources=[Ref("database", "arn"), Ref("aurora", "arn")])
    return [*selected, events, parameters, cluster]


PROGRAMS = (network, s3, ephemeral, static_files, secrets, ecs, rds, aurora, stores, watch)
