"""Compliant resources of services that the components do not use."""

import json
from typing import Any

from tests.policies.pack_process import ACCOUNT, Declared, Ref
from tests.policies.rules.builders import Program, declared, document

KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1234abcd"
IMDSV2 = {"httpTokens": "required", "httpPutResponseHopLimit": 1}


def ec2() -> Program:
    return [
        declared(
            "ec2.Instance",
            "instance",
            metadataOptions=IMDSV2,
            rootBlockDevice={"encrypted": True},
            monitoring=True,
            disableApiTermination=True,
            userData="#!/bin/sh\nexport MAX_TOKENS=4096\n",
        ),
        declared(
            "ec2.LaunchTemplate",
            "template",
            metadataOptions=IMDSV2,
            blockDeviceMappings=[{"deviceName": "/dev/xvda", "ebs": {"encrypted": True}}],
            monitoring={"enabled": True},
            networkInterfaces=[{"associatePublicIpAddress": False}],
        ),
        declared(
            "ec2.LaunchConfiguration",
            "configuration",
            metadataOptions=IMDSV2,
            rootBlockDevice={"encrypted": True},
        ),
        declared("ebs.Volume", "volume", encrypted=True, kmsKeyId=KEY),
        declared("dlm.LifecyclePolicy", "snapshots", defaultPolicy="VOLUME"),
        declared("ebs.SnapshotCopy", "snapshot-copy", encrypted=True, kmsKeyId=KEY),
        declared("ec2.AmiCopy", "image-copy", encrypted=True, kmsKeyId=KEY),
        declared(
            "ec2.Ami", "image", ebsBlockDevices=[{"deviceName": "/dev/xvda", "encrypted": True}]
        ),
        declared("ec2.AmiLaunchPermission", "image-permission", accountId=ACCOUNT),
    ]


SESSION: dict[str, Any] = {
    "schemaVersion": "1.0",
    "sessionType": "Standard_Stream",
    "inputs": {
        "kmsKeyId": "alias/acme",
        "cloudWatchLogGroupName": "/acme/sessions",
        "cloudWatchEncryptionEnabled": True,
    },
}


def ssm() -> Program:
    return [
        declared("ssm.Parameter", "parameter", name="/acme/log-level", type="String", value="info"),
        declared(
            "ssm.Parameter",
            "secure-parameter",
            name="/acme/api-key",
            type="SecureString",
            keyId=KEY,
        ),
        declared(
            "ssm.Document",
            "session",
            documentType="Session",
            documentFormat="JSON",
            content=json.dumps(SESSION),
        ),
        declared(
            "ssm.Document",
            "command",
            documentType="Command",
            content="{}",
            permissions={"type": "Share", "account_ids": ACCOUNT},
        ),
    ]


def eks() -> Program:
    return [
        declared(
            "eks.Cluster",
            "cluster",
            version="1.34",
            vpcConfig={"endpointPublicAccess": False, "endpointPrivateAccess": True},
            enabledClusterLogTypes=[
                "api",
                "audit",
                "authenticator",
                "controllerManager",
                "scheduler",
            ],
            encryptionConfig={"resources": ["secrets"], "provider": {"keyArn": KEY}},
            deletionProtection=True,
        ),
        declared(
            "eks.NodeGroup",
            "nodes",
            remoteAccess={"ec2SshKey": "admin", "sourceSecurityGroupIds": ["sg-1"]},
        ),
    ]


def efs() -> Program:
    return [
        declared("efs.FileSystem", "files-nfs", encrypted=True, kmsKeyId=KEY),
        declared(
            "efs.BackupPolicy",
            "files-backup",
            fileSystemId=Ref("files-nfs"),
            backupPolicy={"status": "ENABLED"},
        ),
        declared(
            "efs.AccessPoint",
            "point",
            rootDirectory={"path": "/acme"},
            posixUser={"uid": 1000, "gid": 1000},
        ),
    ]


LOG_TYPES = ("AUDIT_LOGS", "ES_APPLICATION_LOGS", "SEARCH_SLOW_LOGS", "INDEX_SLOW_LOGS")


def opensearch() -> Program:
    allow = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/search"},
        "Action": "es:*",
        "Resource": "*",
    }
    return [
        declared(
            "opensearch.Domain",
            "search",
            domainName="acme",
            encryptAtRest={"enabled": True, "kmsKeyId": KEY},
            nodeToNodeEncryption={"enabled": True},
            domainEndpointOptions={
                "enforceHttps": True,
                "tlsSecurityPolicy": "Policy-Min-TLS-1-2-PFS-2023-10",
            },
            vpcOptions={"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]},
            advancedSecurityOptions={"enabled": True},
            accessPolicies=document(allow),
            logPublishingOptions=[
                {"logType": name, "cloudwatchLogGroupArn": "arn:aws:logs:::group", "enabled": True}
                for name in LOG_TYPES
            ],
            clusterConfig={
                "instanceCount": 2,
                "dedicatedMasterEnabled": True,
                "dedicatedMasterCount": 3,
                "zoneAwarenessEnabled": True,
            },
        )
    ]


def redshift() -> Program:
    return [
        declared(
            "redshift.Cluster",
            "warehouse",
            clusterIdentifier="warehouse",
            encrypted=True,
            kmsKeyId=KEY,
            publiclyAccessible=False,
            clusterSubnetGroupName="data",
            enhancedVpcRouting=True,
            automatedSnapshotRetentionPeriod=7,
            masterUsername="analyst",
            databaseName="acme",
            manageMasterPassword=True,
        ),
        declared(
            "redshift.Logging",
            "warehouse-logging",
            clusterIdentifier=Ref("warehouse", "clusterIdentifier"),
        ),
        declared(
            "redshift.ParameterGroup",
            "warehouse-parameters",
            parameters=[
                {"name": name, "value": "true"}
                for name in ("require_ssl", "enable_user_activity_logging")
            ],
        ),
        declared("redshift.SnapshotCopyGrant", "copy-grant", kmsKeyId=KEY),
        declared(
            "redshiftserverless.Namespace", "namespace", kmsKeyId=KEY, manageAdminPassword=True
        ),
    ]


def documentdb() -> Program:
    return [
        declared(
            "docdb.Cluster",
            "documents",
            storageEncrypted=True,
            kmsKeyId=KEY,
            enabledCloudwatchLogsExports=["audit", "profiler"],
            backupRetentionPeriod=7,
            deletionProtection=True,
            manageMasterUserPassword=True,
        ),
        declared("docdb.GlobalCluster", "documents-global", storageEncrypted=True),
        declared(
            "docdb.ClusterParameterGroup",
            "documents-parameters",
            parameters=[{"name": "audit_logs", "value": "enabled"}],
        ),
    ]


def msk() -> Program:
    return [
        declared(
            "msk.Cluster",
            "kafka",
            encryptionInfo={
                "encryptionAtRestKmsKeyArn": KEY,
                "encryptionInTransit": {"clientBroker": "TLS", "inCluster": True},
            },
            loggingInfo={
                "brokerLogs": {"cloudwatchLogs": {"enabled": True, "logGroup": "/acme/kafka"}}
            },
            clientAuthentication={"sasl": {"iam": True}},
        )
    ]


def kinesis() -> Program:
    checkpoints = {
        "configurationType": "CUSTOM",
        "checkpointingEnabled": True,
        "checkpointInterval": 60_000,
    }
    encryption = {"enabled": True, "keyType": "CUSTOMER_MANAGED_CMK", "keyArn": KEY}
    return [
        declared("kinesis.Stream", "stream", encryptionType="KMS", kmsKeyId=KEY),
        declared("kinesis.FirehoseDeliveryStream", "delivery", serverSideEncryption=encryption),
        declared("kinesis.VideoStream", "video", kmsKeyId=KEY),
        declared(
            "kinesisanalyticsv2.Application",
            "flink",
            runtimeEnvironment="FLINK-1_20",
            applicationConfiguration={
                "flinkApplicationConfiguration": {"checkpointConfiguration": checkpoints}
            },
        ),
    ]


def stepfunctions() -> Program:
    return [
        declared(
            "sfn.StateMachine",
            "machine",
            loggingConfiguration={"level": "ALL", "logDestination": "arn:aws:logs:::group:*"},
            tracingConfiguration={"enabled": True},
        )
    ]


def cognito() -> list[Declared]:
    required = dict.fromkeys(
        ("requireLowercase", "requireUppercase", "requireNumbers", "requireSymbols"), True
    )
    return [
        declared(
            "cognito.UserPool",
            "users",
            passwordPolicy={"minimumLength": 12, **required},
            mfaConfiguration="ON",
            userPoolTier="PLUS",
            userPoolAddOns={"advancedSecurityMode": "ENFORCED"},
            deletionProtection="ACTIVE",
        ),
        declared("cognito.IdentityPool", "identities", allowUnauthenticatedIdentities=False),
    ]


def attached_volume() -> Program:
    """A volume that is attached to an instance."""
    return [
        *ec2(),
        declared(
            "ec2.VolumeAttachment", "attachment", volumeId=Ref("volume"), instanceId=Ref("instance")
        ),
    ]


def queues() -> Program:
    """A queue with its dead-letter queue."""
    tls_only = document(
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:jobs",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )
    redrive = {"deadLetterTargetArn": Ref("failed-jobs", "arn"), "maxReceiveCount": 5}
    return [
        declared("sqs.Queue", "failed-jobs", policy=tls_only),
        declared("sqs.Queue", "jobs", redrivePolicy=redrive),
        declared("sqs.QueuePolicy", "jobs-policy", queueUrl=Ref("jobs"), policy=tls_only),
    ]


PROGRAMS = (
    *(ec2, attached_volume, ssm, eks, efs, opensearch, redshift, documentdb, msk, kinesis),
    *(stepfunctions, cognito, queues),
)
