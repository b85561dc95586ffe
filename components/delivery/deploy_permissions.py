"""What a deployment may change, part by part: things of the stack's own name or tags, in the stack's regions.

A call has to name one of our ARNs, or the tags that every resource of the stack carries; where AWS knows neither for a call, the
region is all that is left, and the calls are few.
"""

from dataclasses import dataclass

from components.iam.documents import Conditions, Statement, allow
from components.naming import PROJECT, Naming

GLOBAL_REGION = "us-east-1"
"""Where the calls to IAM, Route 53, Budgets and Cost Explorer are counted."""
PASSED_TO = (
    *("backup", "cloudtrail", "ecs", "ecs-tasks", "events", "lambda", "monitoring.rds", "rds", "s3", "vpc-flow-logs"),
    "apigateway",
)
LINKED = (
    *("backup", "ecs", "elasticache", "elasticloadbalancing", "mrk.kms", "rds", "replication.dynamodb", "wafv2"),
    *("delivery.logs", "ecs.application-autoscaling"),
)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Where the pipeline lives and what it reaches.

    names: the stack's names. repository: "owner/repository" on GitHub. domain: the stack's DNS zone. away: region of the
    copies, "" when there are none. state: bucket of Pulumi's state, "" when another backend keeps it. state_key: ARN of the
    KMS key of that bucket or of the stack's secrets provider, "" for none.
    """

    names: Naming
    repository: str
    domain: str
    away: str = ""
    state: str = ""
    state_key: str = ""

    @property
    def here(self) -> dict[str, dict[str, list[str]]]:
        """The condition that a call goes to one of the stack's regions."""
        return {"StringEquals": {"aws:RequestedRegion": sorted({self.names.region, GLOBAL_REGION, self.away} - {""})}}

    def arns(self, service: str, *resources: str, everywhere: bool = False) -> list[str]:
        """ARNs of ours in the stack's regions; everywhere: of services without regions."""
        region = "" if everywhere else "*"
        return [f"arn:aws:{service}:{region}:{self.names.account}:{resource}" for resource in resources]


def acts(service: str, verbs: str) -> list[str]:
    return [f"{service}:{verb}" for verb in verbs.split()]


def tagged(pipeline: Pipeline, kind: str = "ResourceTag") -> Conditions:
    """What carries the stack's own tags, or is given them in the call ("RequestTag")."""
    own = {f"aws:{kind}/Project": PROJECT, f"aws:{kind}/Environment": pipeline.names.environment}
    return {"StringEquals": {**pipeline.here["StringEquals"], **own}}


def network(pipeline: Pipeline) -> list[Statement]:
    """New parts bear the stack's tags from their first moment; what is changed or removed bears them already."""
    create = (
        "CreateVpc CreateSubnet CreateRouteTable CreateInternetGateway CreateNatGateway CreateNetworkAcl CreateSecurityGroup "
        "CreateVpcEndpoint CreateFlowLogs AllocateAddress"
    )
    change = (
        "AssociateRouteTable AssociateAddress AttachInternetGateway AuthorizeSecurityGroup* CreateNetworkAclEntry CreateRoute "
        "DeleteFlowLogs DeleteInternetGateway DeleteNatGateway DeleteNetworkAcl* DeleteRoute* DeleteSecurityGroup DeleteSubnet "
        "DeleteVpc DeleteVpcEndpoints DetachInternetGateway DisassociateAddress DisassociateRouteTable ModifySecurityGroupRules "
        "ModifySubnetAttribute ModifyVpcAttribute ModifyVpcEndpoint ReleaseAddress ReplaceNetworkAcl* ReplaceRoute* "
        "RevokeSecurityGroup* UpdateSecurityGroupRuleDescriptions*"
    )
    made = {"StringEquals": {**pipeline.here["StringEquals"], "ec2:CreateAction": _spelled(create)}}
    return [
        allow("CreateTaggedResources", acts("ec2", create), ["*"], conditions=tagged(pipeline, "RequestTag")),
        # The parts that a new one is made in or of are asked about as well, and they are not tagged by the call.
        allow("CreateInOwnResources", acts("ec2", create), ["*"], conditions=tagged(pipeline)),
        allow(
            "ChangeOwnResources", [*acts("ec2", change), "ec2:CreateTags", "ec2:DeleteTags"], ["*"], conditions=tagged(pipeline)
        ),
        allow("TagOnCreate", ["ec2:CreateTags"], ["*"], conditions=made),
        # A rule is a resource of its own, beside the group, and a new one has no tags yet.
        allow(
            "SecurityGroupRules", acts("ec2", "AuthorizeSecurityGroup* CreateTags"), pipeline.arns("ec2", "security-group-rule/*")
        ),
    ]


def _spelled(verbs: str) -> list[str]:
    return [*verbs.split(), "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"]


def keys(pipeline: Pipeline) -> list[Statement]:
    names, aliases = pipeline.names, pipeline.arns("kms", f"alias/{pipeline.names.name('*')}")
    manage = (
        "CancelKeyDeletion CreateAlias DeleteAlias EnableKey* PutKeyPolicy ReplicateKey TagResource UntagResource UpdateAlias "
        "UpdateKeyDescription UpdatePrimaryRegion"
    )
    regions = sorted({names.region, pipeline.away} - {""})
    through = [
        f"{service}.{region}.amazonaws.com"
        for region in regions
        for service in ("backup", "dynamodb", "elasticache", "lambda", "rds", "secretsmanager")
    ]
    return [
        allow("CreateKeys", acts("kms", "CreateKey TagResource"), ["*"], conditions=tagged(pipeline, "RequestTag")),
        allow("ManageKeys", acts("kms", manage), pipeline.arns("kms", "key/*"), conditions=tagged(pipeline)),
        allow("ManageAliases", acts("kms", "CreateAlias DeleteAlias UpdateAlias"), aliases),
        # A store that is made with a key has it used by its maker, through the service. Not kms:Decrypt, which some new stores
        # ask for: the ids of our keys are KMS's, so it could not be granted on ours alone. An administrator makes such a store.
        allow(
            "UseKeysThroughServices",
            acts("kms", "CreateGrant Encrypt GenerateDataKey*"),
            pipeline.arns("kms", "key/*"),
            conditions={"StringEquals": {**tagged(pipeline)["StringEquals"], "kms:ViaService": through}},
        ),
    ]


def stores(pipeline: Pipeline) -> list[Statement]:
    names, arns = pipeline.names, pipeline.arns
    every, here = names.name("*"), pipeline.here
    vaults = arns("backup", f"backup-vault:{every}", "backup-plan:*")
    return [
        allow(
            "Buckets",
            acts("s3", "CreateBucket PutBucket* PutEncryption* PutLifecycle* PutReplication*"),
            [f"arn:aws:s3:::{every}"],
        ),
        allow(
            "Database",
            acts(
                "rds",
                "Add* Create* Modify* Remove* RebootDBInstance DeleteDBParameterGroup DeleteDBProxy DeleteDBSubnetGroup "
                "DeleteEventSubscription RegisterDBProxyTargets DeregisterDBProxyTargets",
            ),
            # Proxies and their target groups are named by RDS.
            arns(
                "rds",
                *(f"{kind}:{every}" for kind in ("db", "pg", "subgrp", "es")),
                "db-proxy:*",
                "target-group:*",
                "og:default*",
            ),
            conditions=here,
        ),
        allow(
            "MasterUserSecret",
            acts("secretsmanager", "CreateSecret TagResource"),
            [names.managed_secret_arn],
            conditions={"StringEquals": {"aws:CalledViaLast": "rds.amazonaws.com"}},
        ),
        allow(
            "Table",
            acts(
                "dynamodb",
                "CreateTable PutResourcePolicy TagResource UntagResource UpdateContinuousBackups UpdateTable UpdateTimeToLive",
            ),
            arns("dynamodb", f"table/{every}"),
        ),
        allow(
            "Cache",
            acts("elasticache", "Add* Create* Delete* Modify* Remove*"),
            arns(
                "elasticache",
                *(f"{kind}:{every}" for kind in ("replicationgroup", "subnetgroup", "user", "usergroup", "cluster")),
                "parametergroup:*",
                "user:default",
            ),
            conditions=here,
        ),
        allow(
            "Secrets",
            acts(
                "secretsmanager",
                "CancelRotateSecret CreateSecret PutResourcePolicy RotateSecret TagResource UntagResource UpdateSecret",
            ),
            [names.secret_arn("*").removesuffix("-??????")],
        ),
        allow(
            "Backups",
            acts("backup", "CreateBackup* UpdateBackupPlan DeleteBackupPlan DeleteBackupSelection TagResource UntagResource"),
            vaults,
        ),
        allow("VaultStorage", ["backup-storage:MountCapsule"], ["*"], conditions=here),
    ]


def roles(pipeline: Pipeline) -> list[Statement]:
    """Roles of the stack's own name, each within the stack's boundary; handed to AWS services alone."""
    names, own = pipeline.names, [pipeline.names.role_arn("*")]
    bounded = {"StringEquals": {"iam:PermissionsBoundary": names.boundary_arn}}
    grants = "AttachRolePolicy CreateRole DeleteRolePolicy DetachRolePolicy PutRolePermissionsBoundary PutRolePolicy"
    services = [f"{service}.amazonaws.com" for service in PASSED_TO]
    linked = [f"{service}.amazonaws.com" for service in LINKED]
    return [
        allow("ManageBoundedRoles", acts("iam", grants), own, conditions=bounded),
        allow("ManageRoles", acts("iam", "DeleteRole TagRole UntagRole UpdateAssumeRolePolicy UpdateRole*"), own),
        allow("PassRoles", ["iam:PassRole"], own, conditions={"StringEquals": {"iam:PassedToService": services}}),
        allow(
            "CreateServiceLinkedRoles",
            ["iam:CreateServiceLinkedRole"],
            pipeline.arns("iam", "role/aws-service-role/*", everywhere=True),
            conditions={"StringEquals": {"iam:AWSServiceName": linked}},
        ),
    ]


def run(pipeline: Pipeline) -> list[Statement]:
    arns, every, here = pipeline.arns, pipeline.names.name("*"), pipeline.here
    return [
        allow(
            "Containers",
            acts(
                "ecs",
                "CreateCluster CreateService DeleteCluster DeleteService PutCluster* RunTask StopTask TagResource UntagResource "
                "UpdateCluster* UpdateService",
            ),
            arns("ecs", *(f"{kind}/{every}" for kind in ("cluster", "service", "task")), f"task-definition/{every}:*"),
        ),
        # Taking a revision out of use knows no resource (Service Authorization Reference, Amazon ECS).
        allow("TaskDefinitions", acts("ecs", "DeregisterTaskDefinition RegisterTaskDefinition"), ["*"], conditions=here),
        allow(
            "Scaling",
            acts(
                "application-autoscaling",
                "DeleteScalingPolicy DeregisterScalableTarget PutScalingPolicy RegisterScalableTarget TagResource UntagResource",
            ),
            ["*"],
            conditions=here,
        ),
        allow(
            "Images",
            acts(
                "ecr",
                "CreateRepository PutImageScanning* PutImageTagMutability PutLifecyclePolicy SetRepositoryPolicy "
                "TagResource UntagResource",
            ),
            arns("ecr", f"repository/{every}"),
        ),
        allow(
            "Functions",
            acts(
                "lambda",
                "AddPermission CreateAlias CreateFunction DeleteAlias DeleteFunction* InvokeFunction "
                "PublishVersion PutFunction* RemovePermission TagResource UntagResource UpdateAlias "
                "UpdateFunction*",
            ),
            arns("lambda", f"function:{every}"),
        ),
        allow(
            "ServiceDiscovery",
            acts("servicediscovery", "Create* Delete* TagResource UntagResource Update*"),
            arns("servicediscovery", "*/*"),
            conditions=here,
        ),
    ]


def edge(pipeline: Pipeline) -> list[Statement]:
    arns, every, here = pipeline.arns, pipeline.names.name("*"), pipeline.here
    records = {
        "ForAllValues:StringLike": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": [pipeline.domain, f"*.{pipeline.domain}"]
        }
    }
    return [
        allow(
            "Balancer",
            acts("elasticloadbalancing", "Add* Create* Delete* Deregister* Modify* Register* Remove* Set*"),
            arns(
                "elasticloadbalancing",
                f"targetgroup/{every}/*",
                *(f"{kind}/app/{every}/*" for kind in ("loadbalancer", "listener", "listener-rule")),
            ),
        ),
        allow(
            "RequestCertificates",
            acts("acm", "AddTagsToCertificate RequestCertificate"),
            ["*"],
            conditions=tagged(pipeline, "RequestTag"),
        ),
        allow(
            "Certificates",
            acts("acm", "AddTagsToCertificate DeleteCertificate RemoveTags* UpdateCertificateOptions"),
            arns("acm", "certificate/*"),
            conditions=tagged(pipeline),
        ),
        allow(
            "HostedZone",
            acts("route53", "ChangeTagsForResource CreateHostedZone UpdateHostedZoneComment"),
            ["*"],
            conditions=here,
        ),
        allow("Records", ["route53:ChangeResourceRecordSets"], ["arn:aws:route53:::hostedzone/*"], conditions=records),
        # The rules that AWS keeps are asked about as well.
        allow(
            "WebAcl",
            acts(
                "wafv2",
                "AssociateWebACL CreateWebACL DeleteLogging* DeleteWebACL Disassociate* PutLogging* TagResource "
                "UntagResource UpdateWebACL",
            ),
            [
                *arns("wafv2", f"regional/webacl/{every}/*"),
                *arns("elasticloadbalancing", f"loadbalancer/app/{every}/*"),
                *arns("apigateway", "/restapis/*", everywhere=False),
                "arn:aws:wafv2:*:*:regional/managedruleset/*",
            ],
        ),
        allow(
            "RestApis",
            acts("apigateway", "DELETE PATCH POST PUT"),
            [f"arn:aws:apigateway:{pipeline.names.region}::/*"],
            conditions=here,
        ),
    ]


def watch(pipeline: Pipeline) -> list[Statement]:
    names, arns, here = pipeline.names, pipeline.arns, pipeline.here
    every = names.name("*")
    groups = (names.log_group("*"), names.waf_log_group, f"/aws/rds/*/{every}", f"/aws/apigateway/{every}")
    return [
        allow(
            "LogGroups",
            acts(
                "logs",
                "AssociateKmsKey CreateLogGroup DeleteMetricFilter PutDataProtectionPolicy "
                "PutLogGroupDeletionProtection PutMetricFilter PutRetentionPolicy TagResource UntagResource",
            ),
            arns("logs", *(f"log-group:{group}" for group in groups), *(f"log-group:{group}:*" for group in groups)),
        ),
        # These know no resource (Service Authorization Reference, Amazon CloudWatch Logs).
        allow(
            "LogDelivery",
            acts("logs", "CreateLogDelivery DeleteLogDelivery GetLogDelivery PutResourcePolicy UpdateLogDelivery"),
            ["*"],
            conditions=here,
        ),
        allow(
            "Alarms",
            acts("cloudwatch", "DeleteAlarms PutCompositeAlarm PutMetricAlarm TagResource UntagResource"),
            arns("cloudwatch", f"alarm:{every}"),
        ),
        allow(
            "Dashboard",
            acts("cloudwatch", "DeleteDashboards PutDashboard"),
            arns("cloudwatch", f"dashboard/{every}", everywhere=True),
        ),
        allow(
            "Events",
            acts("events", "DeleteRule DisableRule EnableRule PutRule PutTargets RemoveTargets TagResource UntagResource"),
            arns("events", f"rule/{every}"),
        ),
        allow(
            "Topics",
            acts(
                "sns",
                "CreateTopic DeleteTopic SetSubscriptionAttributes SetTopicAttributes Subscribe TagResource Unsubscribe "
                "UntagResource",
            ),
            arns("sns", every),
        ),
        allow("Queues", acts("sqs", "CreateQueue SetQueueAttributes TagQueue UntagQueue"), arns("sqs", every)),
        allow(
            "Budget",
            acts("budgets", "ModifyBudget TagResource UntagResource"),
            arns("budgets", f"budget/{every}", everywhere=True),
        ),
        allow(
            "Anomalies",
            acts("ce", "CreateAnomaly* DeleteAnomaly* TagResource UntagResource UpdateAnomaly*"),
            ["*"],
            conditions=here,
        ),
    ]
