"""Programs that violate one control of a service that the components do not use, with the upstream
IDs that each one shows.
"""

from collections.abc import Callable
from typing import Any

from tests.policies.pack_process import Ref
from tests.policies.rules.builders import (
    Case,
    Program,
    by_change,
    declared,
    document,
    violation,
    without,
)
from tests.policies.rules.service_programs import (
    IMDSV2,
    KEY,
    LOG_TYPES,
    cognito,
    documentdb,
    ec2,
    efs,
    eks,
    flink,
    in_base64,
    kinesis,
    log_publishing,
    msk,
    opensearch,
    redshift,
    session,
    ssm,
    stepfunctions,
)
from tests.policies.rules.violations_access import STRANGER, stranger_statement

UPSTREAM: dict[str, set[str]] = {}
"""The upstream IDs that the programs of a control show."""


def shows(
    upstream: str,
    rule: str,
    program: Callable[[], Program],
    name: str,
    mention: str,
    /,
    **inputs: Any,
) -> Case:
    """A program that violates the control and also the upstream controls."""
    UPSTREAM.setdefault(rule, set()).update(upstream.split())
    return by_change(rule, program, name, mention, **inputs)


def attached_volume() -> Program:
    """A compliant program with a volume that is attached to an instance."""
    return [
        *ec2(),
        declared(
            "ec2.VolumeAttachment", "attachment", volumeId=Ref("volume"), instanceId=Ref("instance")
        ),
    ]


# The example secret access key of the AWS documentation.
AWS_SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HTTP = {"enforceHttps": False, "tlsSecurityPolicy": "Policy-Min-TLS-1-2-PFS-2023-10"}
EVERYONE = stranger_statement("es:*", Principal={"AWS": "*"})
SESSION_LOGS = session(cloudWatchLogGroupName=None)
VISIBLE = {"vpcConfig": {"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]}}
PLAIN_MASTERS = {"dedicatedMasterEnabled": False, "zoneAwarenessEnabled": True}
ONE_ZONE = {
    "dedicatedMasterEnabled": True,
    "dedicatedMasterCount": 3,
    "zoneAwarenessEnabled": False,
}
PUBLIC_BROKERS = {"connectivityInfo": {"publicAccess": {"type": "SERVICE_PROVIDED_EIPS"}}}
IN_TRANSIT = {"encryptionAtRestKmsKeyArn": KEY}
NO_CHECKPOINTS = flink(checkpointingEnabled=False)
WITHOUT_ERRORS = log_publishing(*(name for name in LOG_TYPES if name != "ES_APPLICATION_LOGS"))
UNENCRYPTED = [{"deviceName": "/dev/xvda", "encrypted": False}]

VIOLATIONS = [
    shows(
        "EC2.8 CKV_AWS_79",
        "GH-EC2-001",
        ec2,
        "instance",
        "httpTokens",
        metadataOptions={"httpTokens": "optional"},
    ),
    shows("", "GH-EC2-001", ec2, "template", "httpTokens", metadataOptions=None),
    shows(
        "CKV_AWS_341",
        "GH-EC2-002",
        ec2,
        "template",
        "Limit",
        metadataOptions={**IMDSV2, "httpPutResponseHopLimit": 2},
    ),
    shows("CKV_AWS_3 EC26", "GH-EC2-003", ec2, "volume", "encrypted", encrypted=False),
    shows(
        "EC2.3 CKV2_AWS_2", "GH-EC2-003", attached_volume, "volume", "encrypted", encrypted=False
    ),
    shows("CKV_AWS_189", "GH-EC2-003", ec2, "volume", "kmsKeyId", kmsKeyId=None),
    shows("CKV_AWS_183", "GH-EC2-003", ec2, "snapshot-copy", "kmsKeyId", kmsKeyId=None),
    shows("CKV_AWS_235", "GH-EC2-003", ec2, "image-copy", "encrypted", encrypted=False),
    shows("CKV_AWS_236", "GH-EC2-003", ec2, "image-copy", "kmsKeyId", kmsKeyId=None),
    shows(
        "CKV_AWS_204",
        "GH-EC2-003",
        ec2,
        "image",
        "ebsBlockDevices[0].encrypted",
        ebsBlockDevices=UNENCRYPTED,
    ),
    shows(
        "CKV_AWS_8",
        "GH-EC2-003",
        ec2,
        "instance",
        "rootBlockDevice.encrypted",
        rootBlockDevice=None,
    ),
    shows(
        "",
        "GH-EC2-003",
        ec2,
        "template",
        "blockDeviceMappings",
        blockDeviceMappings=[{"ebs": {"volumeSize": 8}}],
    ),
    shows(
        "EC2.9 CKV_AWS_88",
        "GH-EC2-004",
        ec2,
        "instance",
        "associatePublicIpAddress",
        associatePublicIpAddress=True,
    ),
    shows(
        "EC2.25",
        "GH-EC2-004",
        ec2,
        "template",
        "networkInterfaces[0]",
        networkInterfaces=[{"associatePublicIpAddress": True}],
    ),
    shows(
        "CKV_AWS_389",
        "GH-EC2-004",
        ec2,
        "configuration",
        "associatePublicIpAddress",
        associatePublicIpAddress=True,
    ),
    shows(
        "", "GH-EC2-005", ec2, "instance", "userData", userData="export DB_PASSWORD='hunter2-Prod'"
    ),
    shows(
        "CKV_AWS_46",
        "GH-EC2-005",
        ec2,
        "instance",
        "userData",
        userData=f"export AWS_SECRET_ACCESS_KEY={AWS_SECRET_KEY}",
    ),
    shows(
        "",
        "GH-EC2-005",
        ec2,
        "template",
        "userData",
        userData=in_base64("mysql --password=hunter2-Prod"),
    ),
    shows("CKV_AWS_126 EC28", "GH-EC2-006", ec2, "instance", "monitoring", monitoring=False),
    shows("", "GH-EC2-006", ec2, "template", "monitoring", monitoring=None),
    shows(
        "EC29", "GH-EC2-007", ec2, "instance", "disableApiTermination", disableApiTermination=None
    ),
    shows(
        "CKV_AWS_205", "GH-EC2-008", ec2, "image-permission", "public", accountId=None, group="all"
    ),
    shows("", "GH-EC2-008", ec2, "image-permission", STRANGER, accountId=STRANGER),
    shows(
        "CKV2_AWS_34",
        "GH-SSM-001",
        ssm,
        "parameter",
        "value",
        name="/acme/db-password",
        value="hunter2-Prod",
    ),
    shows("CKV_AWS_337", "GH-SSM-002", ssm, "secure-parameter", "keyId", keyId=None),
    shows(
        "SSM.4 CKV_AWS_303",
        "GH-SSM-003",
        ssm,
        "command",
        "public",
        permissions={"type": "Share", "account_ids": "All"},
    ),
    shows("CKV_AWS_112", "GH-SSM-004", ssm, "session", "kmsKeyId", content=session(kmsKeyId=None)),
    shows("CKV_AWS_113", "GH-SSM-004", ssm, "session", "log", content=SESSION_LOGS),
    shows("EKS.1 CKV_AWS_38 CKV_AWS_39 EKS1", "GH-EKS-001", eks, "cluster", "internet", **VISIBLE),
    shows(
        "EKS.8 CKV_AWS_37 EKS2",
        "GH-EKS-002",
        eks,
        "cluster",
        "audit",
        enabledClusterLogTypes=["api"],
    ),
    shows(
        "EKS.3 CKV_AWS_58", "GH-EKS-003", eks, "cluster", "encryptionConfig", encryptionConfig=None
    ),
    shows(
        "CKV_AWS_100",
        "GH-EKS-004",
        eks,
        "nodes",
        "sourceSecurityGroupIds",
        remoteAccess={"ec2SshKey": "admin"},
    ),
    shows("", "GH-EKS-005", eks, "cluster", "deletionProtection", deletionProtection=None),
    shows(
        "EKS.2 CKV_AWS_339 eks_cluster_uses_a_supported_version",
        "GH-EKS-006",
        eks,
        "cluster",
        "1.27",
        version="1.27",
    ),
    shows("", "GH-EKS-006", eks, "cluster", "1.9", version="1.9"),
    shows("", "GH-EKS-006", eks, "cluster", "must be a Kubernetes version", version="latest"),
    shows("EFS.1 CKV_AWS_42 EFS1", "GH-EFS-001", efs, "files-nfs", "encrypted", encrypted=False),
    shows("CKV_AWS_184", "GH-EFS-001", efs, "files-nfs", "kmsKeyId", kmsKeyId=None),
    shows("EFS.3 CKV_AWS_329", "GH-EFS-002", efs, "point", "rootDirectory", rootDirectory=None),
    shows("EFS.4 CKV_AWS_330", "GH-EFS-002", efs, "point", "posixUser", posixUser=None),
    shows(
        "Opensearch.1 CKV_AWS_5 OS8",
        "GH-OS-001",
        opensearch,
        "search",
        "encryptAtRest.enabled",
        encryptAtRest=None,
    ),
    shows(
        "CKV_AWS_247",
        "GH-OS-001",
        opensearch,
        "search",
        "kmsKeyId",
        encryptAtRest={"enabled": True},
    ),
    shows(
        "Opensearch.3 CKV_AWS_6 OS2",
        "GH-OS-002",
        opensearch,
        "search",
        "nodeToNode",
        nodeToNodeEncryption=None,
    ),
    shows("", "GH-OS-003", opensearch, "search", "enforceHttps", domainEndpointOptions=None),
    shows(
        "CKV_AWS_83", "GH-OS-003", opensearch, "search", "enforceHttps", domainEndpointOptions=HTTP
    ),
    shows(
        "Opensearch.8 CKV_AWS_228",
        "GH-OS-003",
        opensearch,
        "search",
        "tlsSecurityPolicy",
        domainEndpointOptions={
            "enforceHttps": True,
            "tlsSecurityPolicy": "Policy-Min-TLS-1-0-2019-07",
        },
    ),
    shows(
        "Opensearch.2 CKV_AWS_137 OS1",
        "GH-OS-004",
        opensearch,
        "search",
        "subnetIds",
        vpcOptions=None,
    ),
    shows(
        "CKV_AWS_248",
        "GH-OS-004",
        opensearch,
        "search",
        "securityGroupIds",
        vpcOptions={"subnetIds": ["subnet-1"]},
    ),
    shows("OS5", "GH-OS-005", opensearch, "search", '"*"', accessPolicies=document(EVERYONE)),
    shows(
        "",
        "GH-OS-005",
        opensearch,
        "search",
        STRANGER,
        accessPolicies=document(stranger_statement("es:*")),
    ),
    shows(
        "Opensearch.7 CKV2_AWS_52",
        "GH-OS-005",
        opensearch,
        "search",
        "advanced",
        advancedSecurityOptions=None,
    ),
    shows(
        "Opensearch.5 CKV_AWS_317",
        "GH-OS-006",
        opensearch,
        "search",
        "AUDIT_LOGS",
        logPublishingOptions=log_publishing(*LOG_TYPES[1:]),
    ),
    by_change(
        "GH-OS-006",
        opensearch,
        "search",
        "ES_APPLICATION_LOGS",
        logPublishingOptions=WITHOUT_ERRORS,
    ),
    shows(
        "CKV_AWS_84 OS9",
        "GH-OS-006",
        opensearch,
        "search",
        "INDEX_SLOW_LOGS",
        logPublishingOptions=None,
    ),
    shows(
        "Opensearch.11 CKV_AWS_318 CKV2_AWS_59 OS4",
        "GH-OS-007",
        opensearch,
        "search",
        "master",
        clusterConfig=PLAIN_MASTERS,
    ),
    shows("OS7", "GH-OS-007", opensearch, "search", "zoneAwarenessEnabled", clusterConfig=ONE_ZONE),
    shows(
        "Redshift.10 CKV_AWS_64 RS6",
        "GH-RS-001",
        redshift,
        "warehouse",
        "encrypted",
        encrypted=False,
    ),
    shows("CKV_AWS_142", "GH-RS-001", redshift, "warehouse", "kmsKeyId", kmsKeyId=None),
    shows("CKV_AWS_281", "GH-RS-002", redshift, "copy-grant", "kmsKeyId", kmsKeyId=None),
    shows("CKV_AWS_282", "GH-RS-002", redshift, "namespace", "kmsKeyId", kmsKeyId=None),
    shows(
        "Redshift.1 CKV_AWS_87 RS8",
        "GH-RS-003",
        redshift,
        "warehouse",
        "publicly",
        publiclyAccessible=True,
    ),
    shows(
        "CKV_AWS_391",
        "GH-RS-003",
        redshift,
        "warehouse",
        "publicly",
        publiclyAccessible=True,
        masterUsername="administrator",
    ),
    shows(
        "CKV_AWS_154 RS2",
        "GH-RS-003",
        redshift,
        "warehouse",
        "clusterSubnetGroupName",
        clusterSubnetGroupName=None,
    ),
    shows(
        "Redshift.7 CKV_AWS_321",
        "GH-RS-003",
        redshift,
        "warehouse",
        "enhancedVpcRouting",
        enhancedVpcRouting=None,
    ),
    violation("GH-RS-004", "warehouse", "Logging", without(redshift(), "warehouse-logging")),
    shows(
        "Redshift.2 CKV_AWS_105 RS1",
        "GH-RS-005",
        redshift,
        "warehouse-parameters",
        "require_ssl",
        parameters=[{"name": "enable_user_activity_logging", "value": "true"}],
    ),
    shows(
        "RS11",
        "GH-RS-005",
        redshift,
        "warehouse-parameters",
        "enable_user_activity_logging",
        parameters=[{"name": "require_ssl", "value": "true"}],
    ),
    shows(
        "Redshift.6 CKV_AWS_141 RS9",
        "GH-RS-006",
        redshift,
        "warehouse",
        "allowVersionUpgrade",
        allowVersionUpgrade=False,
    ),
    shows(
        "Redshift.3 CKV_AWS_343 RS10",
        "GH-RS-006",
        redshift,
        "warehouse",
        "Retention",
        automatedSnapshotRetentionPeriod=0,
    ),
    shows(
        "Redshift.8 RS3",
        "GH-RS-007",
        redshift,
        "warehouse",
        "masterUsername",
        masterUsername="awsuser",
    ),
    shows(
        "Redshift.9 CKV_AWS_320",
        "GH-RS-007",
        redshift,
        "warehouse",
        "databaseName",
        databaseName=None,
    ),
    shows("", "GH-RS-008", redshift, "warehouse", "masterPassword", masterPassword="hunter2-Prod"),
    shows(
        "DocumentDB.1 CKV_AWS_74 DOC1",
        "GH-DOC-001",
        documentdb,
        "documents",
        "storageEncrypted",
        storageEncrypted=None,
    ),
    shows("CKV_AWS_182", "GH-DOC-001", documentdb, "documents", "kmsKeyId", kmsKeyId=None),
    shows(
        "CKV_AWS_292",
        "GH-DOC-002",
        documentdb,
        "documents-global",
        "storageEncrypted",
        storageEncrypted=None,
    ),
    shows(
        "CKV_AWS_90",
        "GH-DOC-003",
        documentdb,
        "documents-parameters",
        "tls",
        parameters=[
            {"name": "tls", "value": "disabled"},
            {"name": "audit_logs", "value": "enabled"},
        ],
    ),
    shows(
        "CKV_AWS_104", "GH-DOC-003", documentdb, "documents-parameters", "audit_logs", parameters=[]
    ),
    shows(
        "DocumentDB.4 CKV_AWS_85",
        "GH-DOC-004",
        documentdb,
        "documents",
        "audit",
        enabledCloudwatchLogsExports=None,
    ),
    shows(
        "DocumentDB.2 CKV_AWS_360 DOC4",
        "GH-DOC-005",
        documentdb,
        "documents",
        "backup",
        backupRetentionPeriod=1,
    ),
    shows(
        "DocumentDB.5",
        "GH-DOC-005",
        documentdb,
        "documents",
        "deletionProtection",
        deletionProtection=None,
    ),
    shows(
        "DOC3",
        "GH-DOC-006",
        documentdb,
        "documents",
        "masterPassword",
        masterPassword="hunter2-Prod",
    ),
    shows(
        "MSK2",
        "GH-MSK-001",
        msk,
        "kafka",
        "clientBroker",
        encryptionInfo={**IN_TRANSIT, "encryptionInTransit": {"clientBroker": "TLS_PLAINTEXT"}},
    ),
    shows(
        "MSK.1 CKV_AWS_81 MSK3",
        "GH-MSK-001",
        msk,
        "kafka",
        "inCluster",
        encryptionInfo={**IN_TRANSIT, "encryptionInTransit": {"inCluster": False}},
    ),
    shows("", "GH-MSK-002", msk, "kafka", "encryptionAtRestKmsKeyArn", encryptionInfo=None),
    shows("CKV_AWS_80 MSK6", "GH-MSK-003", msk, "kafka", "brokerLogs", loggingInfo=None),
    shows(
        "MSK.4 CKV_AWS_291",
        "GH-MSK-004",
        msk,
        "kafka",
        "publicAccess",
        brokerNodeGroupInfo=PUBLIC_BROKERS,
    ),
    shows(
        "MSK.6",
        "GH-MSK-004",
        msk,
        "kafka",
        "unauthenticated",
        clientAuthentication={"unauthenticated": True},
    ),
    shows(
        "Kinesis.1 CKV_AWS_43 KDS1",
        "GH-KIN-001",
        kinesis,
        "stream",
        "encryptionType",
        encryptionType="NONE",
    ),
    shows("", "GH-KIN-001", kinesis, "stream", "kmsKeyId", kmsKeyId="alias/aws/kinesis"),
    shows("CKV_AWS_185", "GH-KIN-001", kinesis, "stream", "kmsKeyId", kmsKeyId=None),
    shows(
        "DataFirehose.1 CKV_AWS_240 KDF1",
        "GH-KIN-002",
        kinesis,
        "delivery",
        "enabled",
        serverSideEncryption=None,
    ),
    shows(
        "CKV_AWS_241",
        "GH-KIN-002",
        kinesis,
        "delivery",
        "key",
        serverSideEncryption={"enabled": True},
    ),
    shows("CKV_AWS_177", "GH-KIN-003", kinesis, "video", "kmsKeyId", kmsKeyId=None),
    shows(
        "KDA3",
        "GH-KIN-004",
        kinesis,
        "flink",
        "checkpointingEnabled",
        applicationConfiguration=NO_CHECKPOINTS,
    ),
    shows(
        "",
        "GH-KIN-004",
        kinesis,
        "flink",
        "checkpointingEnabled",
        applicationConfiguration=flink(checkpointingEnabled=None),
    ),
    shows(
        "StepFunctions.1 CKV_AWS_285 SF1",
        "GH-SFN-001",
        stepfunctions,
        "machine",
        "level",
        loggingConfiguration=None,
    ),
    shows(
        "CKV_AWS_284 SF2",
        "GH-SFN-002",
        stepfunctions,
        "machine",
        "tracing",
        tracingConfiguration=None,
    ),
    shows("COG1", "GH-COG-001", cognito, "users", "minimumLength", passwordPolicy=None),
    shows(
        "Cognito.3",
        "GH-COG-001",
        cognito,
        "users",
        "requireSymbols",
        passwordPolicy={"minimumLength": 14},
    ),
    shows("COG2", "GH-COG-002", cognito, "users", "mfaConfiguration", mfaConfiguration="OPTIONAL"),
    shows(
        "Cognito.2 CKV_AWS_366 COG7",
        "GH-COG-003",
        cognito,
        "identities",
        "allow",
        allowUnauthenticatedIdentities=True,
    ),
    shows("Cognito.1", "GH-COG-004", cognito, "users", "advancedSecurityMode", userPoolAddOns=None),
    shows(
        "COG8",
        "GH-COG-004",
        cognito,
        "users",
        "advancedSecurityMode",
        userPoolAddOns=None,
        userPoolTier="ESSENTIALS",
    ),
    shows("", "GH-COG-004", cognito, "users", "deletionProtection", deletionProtection=None),
]
UPSTREAM["GH-RS-004"] = {"Redshift.4", "CKV_AWS_71", "RS5"}
SERVICES = (
    ec2,
    ssm,
    eks,
    efs,
    opensearch,
    redshift,
    documentdb,
    msk,
    kinesis,
    stepfunctions,
    cognito,
)
