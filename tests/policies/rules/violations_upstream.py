"""Programs that violate one control in the way that a check of another catalogue describes and no
other program shows.
"""

from dataclasses import replace
from typing import Any

from tests.policies.pack_process import Ref
from tests.policies.rules.account_programs import METHOD_SETTINGS, account, api, trail
from tests.policies.rules.builders import (
    MANAGEMENT_EVENTS,
    PATTERNS,
    TAGS,
    Case,
    Program,
    by_change,
    changed,
    declared,
    document,
    find,
    github_trust,
    grant,
    kms,
    roles,
    tls_only,
    violation,
    without,
)
from tests.policies.rules.network_programs import cloudfront, edge
from tests.policies.rules.programs import ecs, rds, s3, secrets, stores, watch
from tests.policies.rules.service_programs import ec2, efs
from tests.policies.rules.violations_access import trust
from tests.policies.rules.violations_cloudfront import FILES, PRIVATE, PUBLIC, public_origin
from tests.policies.rules.violations_compute import task, with_container
from tests.policies.rules.violations_network import (
    ALL_TRAFFIC,
    network_acl,
    security_group,
    web_acl_rule,
)
from tests.policies.rules.violations_services import AWS_SECRET_KEY, attached_volume

EVERYONE = {"AWS": "*"}
DECRYPTION = {"Effect": "Allow", "Principal": EVERYONE, "Action": "kms:Decrypt", "Resource": "*"}
LOCKOUT = {
    "Effect": "Deny",
    "Principal": EVERYONE,
    "Action": "s3:*",
    "Resource": "arn:aws:s3:::acme-files",
}
TABLE = "arn:aws:dynamodb:::table/a"
NO_METRICS = {"cloudwatchMetricsEnabled": False}
ALL_OUT = {**ALL_TRAFFIC, "description": "all", "cidrBlocks": ["0.0.0.0/0"]}
BEHAVIOR = find(cloudfront(), "cdn").inputs["defaultCacheBehavior"]
FILES_WITHOUT_ACCESS = {
    name: value for name, value in FILES.items() if name != "originAccessControlId"
}
KNOWN_BAD_INPUTS = "AWSManagedRulesKnownBadInputsRuleSet"
ACCESS_KEY = {"name": "AWS_SECRET_ACCESS_KEY", "value": AWS_SECRET_KEY}
ACL_OF_OTHERS = {
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::888888888888:root"},
    "Action": "s3:PutObjectAcl",
    "Resource": "arn:aws:s3:::acme-files/*",
}
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


def aurora(**inputs: Any) -> Program:
    """A compliant program with a database cluster. inputs: changed inputs of the cluster."""
    cluster = declared(
        "rds.Cluster",
        "aurora",
        engine="aurora-postgresql",
        masterUsername="acme_owner",
        port=5433,
        copyTagsToSnapshot=True,
        storageEncrypted=True,
        kmsKeyId=Ref("key", "arn"),
        backupRetentionPeriod=35,
        deleteAutomatedBackups=False,
        deletionProtection=True,
        skipFinalSnapshot=False,
        iamDatabaseAuthenticationEnabled=True,
        dbClusterParameterGroupName=Ref("cluster-parameters", "name"),
        dbSubnetGroupName=Ref("database-subnets", "name"),
        vpcSecurityGroupIds=[Ref("database-group")],
        enabledCloudwatchLogsExports=["postgresql"],
        manageMasterUserPassword=True,
        masterUserSecretKmsKeyId=Ref("key", "arn"),
        tags=TAGS,
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
    return [*selected, events, parameters, cluster.with_inputs(**inputs)]


def escalation(action: str, resource: str) -> Case:
    """A policy of its own, attached to a role, that grants an action."""
    return by_change(
        "GH-IAM-007", roles, "reading", action, policy=grant(Action=action, Resource=resource)
    )


def public_database() -> Program:
    """A database in a subnet with a route to the internet."""
    return changed(rds(), "database-subnets", subnetIds=[Ref("edge-a"), Ref("data-b")])


def table_without_backup() -> Program:
    """A table with data that no backup selection contains."""
    return changed(stores(), "tokens", tags=TAGS)


def selected(program: Program, *resources: Any) -> Program:
    """The program with a backup selection of these resources."""
    return [
        *program,
        declared("backup.Selection", "backups", planId="plan-1", resources=list(resources)),
    ]


def volume_with_policy(
    details: dict[str, Any], program: Program | None = None, **tags: str
) -> Program:
    """A program with a volume and a policy of Data Lifecycle Manager. tags: further tags of the
    volume.
    """
    policy = changed(program or ec2(), "snapshots", defaultPolicy=None, policyDetails=details)
    return changed(policy, "volume", tags={**TAGS, **tags})


DAILY = {"targetTags": {"Backup": "daily"}}
NFS_WITHOUT_BACKUP = changed(efs(), "files-backup", backupPolicy={"status": "DISABLED"})
VOLUME_WITHOUT_BACKUP = changed(ec2(), "snapshots", state="DISABLED")


def http_from_internet() -> Program:
    """A security group of tasks that accepts HTTP from the internet."""
    rule = {"cidrIpv4": "0.0.0.0/0", "fromPort": 80, "toPort": 80}
    return changed(edge(), "from-balancer", referencedSecurityGroupId=None, **rule)


def without_response_headers() -> Program:
    """A distribution whose cache behaviors have no response headers policy."""
    ordered = find(cloudfront(), "cdn").inputs["orderedCacheBehaviors"]
    plain = [
        {name: value for name, value in item.items() if name != "responseHeadersPolicyId"}
        for item in (BEHAVIOR, *ordered)
    ]
    return changed(
        cloudfront(), "cdn", defaultCacheBehavior=plain[0], orderedCacheBehaviors=plain[1:]
    )


def plain_http_origin() -> Program:
    """A distribution in front of a load balancer that receives HTTP only."""
    config = {**PUBLIC["customOriginConfig"], "originProtocolPolicy": "http-only"}
    origin = {
        **PUBLIC,
        "domainName": "acme.eu-west-1.elb.amazonaws.com",
        "customOriginConfig": config,
    }
    return changed(cloudfront(), "cdn", origins=[origin])


def bucket_origin() -> Program:
    """A distribution in front of a bucket of the program, without origin access control."""
    origin = {**FILES_WITHOUT_ACCESS, "domainName": Ref("files", "bucketRegionalDomainName")}
    computed = {"bucketRegionalDomainName": FILES["domainName"]}
    files = [replace(item, computed=computed) if item.name == "files" else item for item in s3()]
    names = {item.name for item in files}
    return [
        *files,
        *(
            item
            for item in changed(cloudfront(), "cdn", origins=[origin, PRIVATE, PUBLIC])
            if item.name not in names
        ),
    ]


def without_tls_statements() -> Program:
    """A bucket policy that accepts HTTP and every version of TLS."""
    return changed(s3(), "files-policy", policy=document(*tls_only("acme-files")[2:]))


def cluster(rule: str, mention: str, **inputs: Any) -> Case:
    return violation(rule, "aurora", mention, aurora(**inputs))


def bucket_acl(**inputs: Any) -> Program:
    return [*s3(), declared("s3.BucketAcl", "files-acl", bucket=Ref("files", "bucket"), **inputs)]


def bucket_acl_of_writer() -> Program:
    """A bucket whose ACL grants access. S3 rejects such an ACL while the bucket owner is enforced
    as the owner of objects.
    """
    return changed(
        bucket_acl(acl="public-read"), "files-ownership", rule={"objectOwnership": "ObjectWriter"}
    )


def without_web_acl_group(program: Program, *groups: str) -> Program:
    rules = find(program, "web-acl").inputs["rules"]
    return changed(program, "web-acl", rules=[rule for rule in rules if rule["name"] not in groups])


def api_without_known_bad_inputs() -> Program:
    """A stage of API Gateway with a web ACL."""
    acl = without_web_acl_group(edge(), KNOWN_BAD_INPUTS, "AWSManagedRulesCommonRuleSet")
    return [
        *(resource for resource in acl if resource.name in ("web-acl", "firewall-logging")),
        *changed(api(), "stage-firewall", webAclArn=Ref("web-acl", "arn")),
    ]


VIOLATIONS = [
    violation(
        "GH-ALB-006",
        "balancer",
        "is neither",
        changed(edge(), "balancer", desyncMitigationMode="monitor", dropInvalidHeaderFields=False),
        "GH-ALB-003",
    ),
    violation("GH-BAK-004", "tokens", "selection", table_without_backup()),
    by_change(
        "GH-BAK-004",
        efs,
        "files-backup",
        "selection",
        reported="files-nfs",
        backupPolicy={"status": "DISABLED"},
    ),
    violation(
        "GH-BAK-004", "files-nfs", "no backup selection", selected(NFS_WITHOUT_BACKUP, TABLE)
    ),
    violation(
        "GH-BAK-006", "volume", "no backup selection", selected(VOLUME_WITHOUT_BACKUP, TABLE)
    ),
    by_change(
        "GH-BAK-006",
        attached_volume,
        "snapshots",
        "or its instance",
        reported="volume",
        state="DISABLED",
    ),
    violation(
        "GH-BAK-006",
        "volume",
        "policy",
        volume_with_policy({**DAILY, "resourceTypes": ["VOLUME"]}, Backup="weekly"),
    ),
    violation(
        "GH-BAK-006",
        "volume",
        "policy",
        volume_with_policy({**DAILY, "resourceTypes": ["INSTANCE"]}, Backup="daily"),
    ),
    violation(
        "GH-BAK-004",
        "aurora",
        "selection",
        changed(aurora(), "selection", resources=[Ref("database", "arn")]),
    ),
    by_change(
        "GH-CF-001",
        cloudfront,
        "cdn",
        "defaultCacheBehavior",
        defaultCacheBehavior={**BEHAVIOR, "viewerProtocolPolicy": "allow-all"},
    ),
    violation("GH-CF-002", "cdn", "is not https-only", plain_http_origin()),
    violation(
        "GH-CF-002",
        "cdn",
        "customOriginConfig.originSslProtocols",
        public_origin(originSslProtocols=["SSLv3", "TLSv1.2"]),
    ),
    violation("GH-CF-004", "cdn", "origins[0]", bucket_origin()),
    violation("GH-CF-008", "cdn", "defaultCacheBehavior", without_response_headers()),
    by_change("GH-CT-004", watch, "trail", "cloudWatchLogsGroupArn", cloudWatchLogsGroupArn=None),
    by_change(
        "GH-CT-005", watch, "trail", "both reads", advancedEventSelectors=[MANAGEMENT_EVENTS]
    ),
    by_change("GH-DDB-002", stores, "tokens", "serverSideEncryption", serverSideEncryption=None),
    by_change(
        "GH-EC-003",
        stores,
        "cache",
        "so clients",
        engine="redis",
        engineVersion="5.0.6",
        userGroupIds=None,
    ),
    by_change(
        "GH-EC-004", stores, "cache", "automaticFailoverEnabled", automaticFailoverEnabled=False
    ),
    violation(
        "GH-ECS-005", "task", "AWS_SECRET_ACCESS_KEY", with_container(environment=[ACCESS_KEY])
    ),
    by_change(
        "GH-IAM-002",
        roles,
        "reading",
        "dynamodb:*",
        policy=grant(Action="dynamodb:*", Resource=TABLE),
    ),
    by_change(
        "GH-IAM-003",
        roles,
        "audit-for-deployer",
        "IAMFullAccess",
        policyArn="arn:aws:iam::aws:policy/IAMFullAccess",
    ),
    escalation("iam:PutRolePolicy", "*"),
    escalation("sts:AssumeRole", "arn:aws:iam::*:role/*"),
    violation("GH-RDS-016", "database", "is public", public_database(), "GH-VPC-010"),
    violation("GH-RDS-017", "database", "db-parameter-group", without(rds(), "db-parameter-group")),
    cluster("GH-RDS-013", "username", masterUsername="postgres"),
    violation("GH-S3-003", "files", "without TLS", without_tls_statements(), "GH-S3-004"),
    violation(
        "GH-S3-008",
        "files",
        "no enabled lifecycle rule",
        without(s3(), "files-lifecycle"),
        "GH-S3-009",
    ),
    violation("GH-S3-011", "files", "object ownership", bucket_acl_of_writer()),
    by_change(
        "GH-SNS-001",
        lambda: without(watch(), "alarms-policy"),
        "alarms",
        "kmsMasterKeyId is",
        kmsMasterKeyId=None,
    ),
    violation("GH-VPC-004", "from-balancer", "does not belong", http_from_internet()),
    violation(
        "GH-VPC-005",
        "open-egress",
        "egress[0]",
        [*edge(), security_group("open-egress", egress=[ALL_OUT])],
    ),
    by_change("GH-VPC-006", edge, "gateway-group", "description is", description=""),
    violation("GH-VPC-008", "vpc", "ecr.api", without(ecs(), "ecr.api-endpoint")),
    by_change(
        "GH-VPC-010", stores, "cache-subnets", "is public", subnetIds=[Ref("edge-a"), Ref("data-b")]
    ),
    violation(
        "GH-WAF-001",
        "web-acl",
        "AWSManagedRulesKnownBadInputsRuleSet",
        without_web_acl_group(edge(), KNOWN_BAD_INPUTS),
    ),
    violation(
        "GH-WAF-001",
        "web-acl",
        "KnownBadInputsRuleSet",
        without_web_acl_group(cloudfront(), KNOWN_BAD_INPUTS),
    ),
    violation(
        "GH-WAF-001",
        "web-acl",
        "group AWSManagedRulesKnownBadInputs",
        api_without_known_bad_inputs(),
    ),
    violation(
        "GH-WAF-003",
        "web-acl",
        "rules[0].visibilityConfig",
        web_acl_rule(visibilityConfig=NO_METRICS),
    ),
    *(
        violation("GH-CW-004", "trail", f"5.{number}", without(watch(), f"{name}-filter"))
        for number, name in enumerate(PATTERNS, 1)
        if number not in (3, 14)
    ),
    by_change(
        "GH-ACC-002",
        account,
        "recorder-status",
        "starts the recorder",
        reported="recorder",
        name=Ref("recorder", "name"),
        isEnabled=False,
    ),
    by_change(
        "GH-ACC-001",
        account,
        "ebs-encryption",
        "enabled is false",
        reported="acme-prod",
        enabled=False,
    ),
    by_change(
        "GH-ACM-001",
        edge,
        "certificate",
        "TransparencyLogging",
        options={"certificateTransparencyLoggingPreference": "DISABLED"},
    ),
    by_change(
        "GH-API-005",
        api,
        "settings",
        "cacheDataEncrypted",
        settings={**METHOD_SETTINGS, "cachingEnabled": True},
    ),
    by_change("GH-ACM-001", edge, "certificate", "keyAlgorithm", keyAlgorithm="RSA_1024"),
    by_change("GH-API-005", api, "post", "requestValidatorId", requestValidatorId=None),
    by_change("GH-CT-001", trail, "trail", "enableLogging", enableLogging=False),
    by_change("GH-CW-001", watch, "trail-logs", "is below", retentionInDays=None),
    by_change("GH-CW-003", watch, "errors", "actionsEnabled", actionsEnabled=False),
    by_change("GH-EC-001", stores, "cache", "kmsKeyId", kmsKeyId=None),
    by_change(
        "GH-EC-002", stores, "cache", "transitEncryptionEnabled", transitEncryptionEnabled=False
    ),
    violation("GH-ECS-001", "task", "container gateway", with_container(privileged=True)),
    violation("GH-ECS-004", "task", "pidMode is", task(pidMode="host")),
    by_change(
        "GH-ECS-008",
        ecs,
        "service",
        "platformVersion is",
        platformVersion="1.3.0",
        launchType="FARGATE",
    ),
    by_change("GH-IAM-004", roles, "task-role", "everyone", assumeRolePolicy=trust(EVERYONE)),
    by_change(
        "GH-IAM-005",
        roles,
        "deployer",
        "require a subject (sub)",
        assumeRolePolicy=github_trust(
            StringEquals={"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}
        ),
    ),
    *(
        violation("GH-IAM-006", "robot", mention, [declared(kind, "robot", **inputs)])
        for mention, kind, inputs in (
            ("IAM User", "iam.User", {"name": "robot"}),
            (
                "UserPolicyAttachment",
                "iam.UserPolicyAttachment",
                {"user": "robot", "policyArn": "arn:aws:iam::aws:policy/A"},
            ),
            ("UserLoginProfile", "iam.UserLoginProfile", {"user": "robot"}),
        )
    ),
    by_change(
        "GH-KMS-002",
        kms,
        "key",
        "allows everyone",
        policy=document(DECRYPTION),
    ),
    by_change("GH-LAM-001", watch, "rotate", "runtime", runtime="python3.7"),
    by_change("GH-LAM-003", watch, "rotate", "kmsKeyArn", kmsKeyArn=None),
    by_change(
        "GH-LAM-003",
        watch,
        "rotate",
        "AWS_VALUE",
        environment={"variables": {"AWS_VALUE": "AKIAIOSFODNN7EXAMPLE"}},
    ),
    by_change(
        "GH-LAM-004",
        watch,
        "rotate-from-secrets",
        "principalOrgId",
        principal="*",
        sourceAccount=None,
    ),
    by_change("GH-LAM-004", watch, "rotate-url", "authorizationType", authorizationType="NONE"),
    by_change(
        "GH-LAM-005",
        watch,
        "rotate",
        "reservedConcurrentExecutions",
        reservedConcurrentExecutions=None,
    ),
    by_change("GH-LAM-005", watch, "rotate", "tracingConfig", tracingConfig=None),
    by_change("GH-RDS-003", rds, "database", "is below", backupRetentionPeriod=0),
    by_change(
        "GH-RDS-009",
        rds,
        "database",
        "performanceInsightsKmsKeyId",
        performanceInsightsKmsKeyId=None,
    ),
    cluster("GH-RDS-002", "storageEncrypted", storageEncrypted=False),
    cluster("GH-RDS-002", "kmsKeyId", kmsKeyId=None),
    cluster("GH-RDS-005", "deletionProtection", deletionProtection=False),
    cluster(
        "GH-RDS-006", "iamDatabaseAuthenticationEnabled", iamDatabaseAuthenticationEnabled=False
    ),
    cluster("GH-RDS-008", "enabledCloudwatchLogsExports", enabledCloudwatchLogsExports=None),
    cluster("GH-RDS-011", "copyTagsToSnapshot", copyTagsToSnapshot=None),
    by_change(
        "GH-S3-016",
        s3,
        "files-policy",
        "denies policy changes",
        policy=document(*tls_only("acme-files"), LOCKOUT),
    ),
    *(
        by_change("GH-S3-001", s3, "files-block", flag, reported="files", **{flag: False})
        for flag in ("blockPublicAcls", "ignorePublicAcls", "restrictPublicBuckets")
    ),
    violation("GH-S3-011", "files", "the ACL", bucket_acl(acl="public-read")),
    violation("GH-S3-011", "files", "has the ACL", bucket_acl(acl="public-read-write")),
    violation(
        "GH-S3-011",
        "files",
        "ACL files-acl",
        bucket_acl(
            accessControlPolicy={
                "grants": [
                    {"grantee": {"type": "Group", "uri": ALL_USERS}, "permission": "READ_ACP"}
                ]
            }
        ),
    ),
    by_change(
        "GH-S3-012",
        s3,
        "files-policy",
        "888888888888",
        policy=document(*tls_only("acme-files"), ACL_OF_OTHERS),
    ),
    by_change(
        "GH-SM-003",
        secrets,
        "pepper-rotation",
        "days",
        rotationRules={"automaticallyAfterDays": 91},
    ),
    by_change("GH-WAF-001", edge, "web-acl", "KnownBadInputs", rules=[]),
    violation(
        "GH-VPC-007",
        "acl",
        "port 22",
        network_acl(
            {"ruleNo": 10, "action": "deny", "fromPort": 3389, "toPort": 3389},
            {"ruleNo": 20, "action": "allow", "fromPort": 22, "toPort": 22},
        ),
    ),
]
COMPLIANT: dict[str, Program] = {
    "volume in a backup selection": selected(VOLUME_WITHOUT_BACKUP, Ref("volume", "arn")),
    "all volumes in a backup selection": selected(
        VOLUME_WITHOUT_BACKUP, "arn:aws:ec2:*:*:volume/*"
    ),
    "instance of the volume in a backup selection": selected(
        changed(attached_volume(), "snapshots", state="DISABLED"), Ref("instance", "arn")
    ),
    "volume with the tag of a lifecycle policy": volume_with_policy(
        {**DAILY, "resourceTypes": ["VOLUME"]}, Backup="daily"
    ),
    "lifecycle policy of all instances": changed(
        attached_volume(), "snapshots", defaultPolicy="INSTANCE"
    ),
    "volume with data that expires": changed(
        VOLUME_WITHOUT_BACKUP, "volume", tags={**TAGS, "gatehouse:purpose": "ephemeral"}
    ),
}
