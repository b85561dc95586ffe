"""Permissions of a deployment, one function per area of the stack.

Each statement is limited to ARNs with the stack's name or to resources with the stack's tags. Actions that support neither
are limited to the stack's regions.
"""

from dataclasses import dataclass

from components.iam.documents import Conditions, Statement, allow
from components.naming import PROJECT, Naming

GLOBAL_REGION = "us-east-1"
"""Value of aws:RequestedRegion for IAM, Route 53, AWS Budgets and Cost Explorer."""
PASS_ROLE_SERVICES = (
    *("backup", "cloudtrail", "ecs", "ecs-tasks", "events", "lambda", "monitoring.rds", "rds", "s3", "vpc-flow-logs"),
    "apigateway",
)
"""Services that may receive a role of the stack."""
SERVICE_LINKED_ROLES = (
    *("backup", "ecs", "elasticache", "elasticloadbalancing", "mrk.kms", "rds", "replication.dynamodb", "wafv2"),
    *("delivery.logs", "ecs.application-autoscaling"),
)
"""Services whose service-linked roles a deployment may create."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Names and resources that the pipeline's policies refer to.

    names: Names of the stack.
    repository: GitHub repository, as "owner/repository".
    domain: DNS zone of the stack.
    replica_region: Region of replicas and backup copies; "" for none.
    state_bucket: S3 bucket of Pulumi's state; "" for another backend.
    state_key_arn: KMS key of the state bucket or of the stack's secrets provider; "" for none.
    """

    names: Naming
    repository: str
    domain: str
    replica_region: str = ""
    state_bucket: str = ""
    state_key_arn: str = ""

    @property
    def region_condition(self) -> dict[str, dict[str, list[str]]]:
        """The condition that a request goes to one of the stack's regions."""
        regions = {self.names.region, GLOBAL_REGION, self.replica_region} - {""}
        return {"StringEquals": {"aws:RequestedRegion": sorted(regions)}}

    def arns(self, service: str, *resources: str, global_service: bool = False) -> list[str]:
        """Return ARNs of the stack's account, in any region, or without a region for a global service."""
        region = "" if global_service else "*"
        return [f"arn:aws:{service}:{region}:{self.names.account}:{resource}" for resource in resources]


def action_list(service: str, names: str) -> list[str]:
    """Return the actions of a service. `names` is separated by spaces: "CreateKey TagResource"."""
    return [f"{service}:{name}" for name in names.split()]


def tag_condition(pipeline: Pipeline, kind: str = "ResourceTag") -> Conditions:
    """Return the condition that a resource ("ResourceTag") or a request ("RequestTag") has the stack's tags."""
    tags = {f"aws:{kind}/Project": PROJECT, f"aws:{kind}/Environment": pipeline.names.environment}
    return {"StringEquals": {**pipeline.region_condition["StringEquals"], **tags}}


def network(pipeline: Pipeline) -> list[Statement]:
    """Return permissions for VPC resources. New resources must get the stack's tags; existing ones must have them."""
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
    # Security group rules are tagged when they are added to a group.
    tagging_calls = [*create.split(), "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"]
    create_condition = {"StringEquals": {**pipeline.region_condition["StringEquals"], "ec2:CreateAction": tagging_calls}}
    return [
        allow("CreateTaggedResources", action_list("ec2", create), ["*"], conditions=tag_condition(pipeline, "RequestTag")),
        # EC2 also authorizes the existing resources of the request, such as the VPC of a new subnet; RequestTag does not apply.
        allow("CreateInOwnResources", action_list("ec2", create), ["*"], conditions=tag_condition(pipeline)),
        allow(
            "ChangeOwnResources",
            [*action_list("ec2", change), "ec2:CreateTags", "ec2:DeleteTags"],
            ["*"],
            conditions=tag_condition(pipeline),
        ),
        allow("TagOnCreate", ["ec2:CreateTags"], ["*"], conditions=create_condition),
        # A rule is a separate resource from its group, and a new rule has no tags yet.
        allow(
            "SecurityGroupRules",
            action_list("ec2", "AuthorizeSecurityGroup* CreateTags"),
            pipeline.arns("ec2", "security-group-rule/*"),
        ),
    ]


def keys(pipeline: Pipeline) -> list[Statement]:
    """Return permissions for KMS keys and aliases."""
    names, aliases = pipeline.names, pipeline.arns("kms", f"alias/{pipeline.names.name('*')}")
    manage = (
        "CancelKeyDeletion CreateAlias DeleteAlias EnableKey* PutKeyPolicy ReplicateKey TagResource UntagResource UpdateAlias "
        "UpdateKeyDescription UpdatePrimaryRegion"
    )
    regions = sorted({names.region, pipeline.replica_region} - {""})
    via_services = [
        f"{service}.{region}.amazonaws.com"
        for region in regions
        for service in ("backup", "dynamodb", "elasticache", "lambda", "rds", "secretsmanager")
    ]
    return [
        allow("CreateKeys", action_list("kms", "CreateKey TagResource"), ["*"], conditions=tag_condition(pipeline, "RequestTag")),
        allow("ManageKeys", action_list("kms", manage), pipeline.arns("kms", "key/*"), conditions=tag_condition(pipeline)),
        allow("ManageAliases", action_list("kms", "CreateAlias DeleteAlias UpdateAlias"), aliases),
        # The creator of an encrypted data store needs its key, through the service. Some services also require kms:Decrypt.
        # It is not granted, because KMS generates key ids and the ARN would match every key: an administrator creates those.
        allow(
            "UseKeysThroughServices",
            action_list("kms", "CreateGrant Encrypt GenerateDataKey*"),
            pipeline.arns("kms", "key/*"),
            conditions={"StringEquals": {**tag_condition(pipeline)["StringEquals"], "kms:ViaService": via_services}},
        ),
    ]


def stores(pipeline: Pipeline) -> list[Statement]:
    """Return permissions for data stores, secrets and backups."""
    names, arns = pipeline.names, pipeline.arns
    all_names, regional = names.name("*"), pipeline.region_condition
    vaults = arns("backup", f"backup-vault:{all_names}", "backup-plan:*")
    return [
        allow(
            "Buckets",
            action_list("s3", "CreateBucket PutBucket* PutEncryption* PutLifecycle* PutReplication*"),
            [f"arn:aws:s3:::{all_names}"],
        ),
        allow(
            "Database",
            action_list(
                "rds",
                "Add* Create* Modify* Remove* RebootDBInstance DeleteDBParameterGroup DeleteDBProxy DeleteDBSubnetGroup "
                "DeleteEventSubscription RegisterDBProxyTargets DeregisterDBProxyTargets",
            ),
            # RDS generates the ids of proxies and their target groups.
            arns(
                "rds",
                *(f"{kind}:{all_names}" for kind in ("db", "pg", "subgrp", "es")),
                "db-proxy:*",
                "target-group:*",
                "og:default*",
            ),
            conditions=regional,
        ),
        allow(
            "MasterUserSecret",
            action_list("secretsmanager", "CreateSecret TagResource"),
            [names.managed_secret_arn],
            conditions={"StringEquals": {"aws:CalledViaLast": "rds.amazonaws.com"}},
        ),
        allow(
            "Table",
            action_list(
                "dynamodb",
                "CreateTable PutResourcePolicy TagResource UntagResource UpdateContinuousBackups UpdateTable UpdateTimeToLive",
            ),
            arns("dynamodb", f"table/{all_names}"),
        ),
        allow(
            "Cache",
            action_list("elasticache", "Add* Create* Delete* Modify* Remove*"),
            arns(
                "elasticache",
                *(f"{kind}:{all_names}" for kind in ("replicationgroup", "subnetgroup", "user", "usergroup", "cluster")),
                "parametergroup:*",
                "user:default",
            ),
            conditions=regional,
        ),
        allow(
            "Secrets",
            action_list(
                "secretsmanager",
                "CancelRotateSecret CreateSecret PutResourcePolicy RotateSecret TagResource UntagResource UpdateSecret",
            ),
            [names.secret_arn("*").removesuffix("-??????")],
        ),
        allow(
            "Backups",
            action_list(
                "backup", "CreateBackup* UpdateBackupPlan DeleteBackupPlan DeleteBackupSelection TagResource UntagResource"
            ),
            vaults,
        ),
        allow("VaultStorage", ["backup-storage:MountCapsule"], ["*"], conditions=regional),
    ]


def roles(pipeline: Pipeline) -> list[Statement]:
    """Return permissions for roles with the stack's name and permissions boundary."""
    names, role_arns = pipeline.names, [pipeline.names.role_arn("*")]
    bounded = {"StringEquals": {"iam:PermissionsBoundary": names.boundary_arn}}
    grants = "AttachRolePolicy CreateRole DeleteRolePolicy DetachRolePolicy PutRolePermissionsBoundary PutRolePolicy"
    services = [f"{service}.amazonaws.com" for service in PASS_ROLE_SERVICES]
    linked = [f"{service}.amazonaws.com" for service in SERVICE_LINKED_ROLES]
    return [
        allow("ManageBoundedRoles", action_list("iam", grants), role_arns, conditions=bounded),
        allow("ManageRoles", action_list("iam", "DeleteRole TagRole UntagRole UpdateAssumeRolePolicy UpdateRole*"), role_arns),
        allow("PassRoles", ["iam:PassRole"], role_arns, conditions={"StringEquals": {"iam:PassedToService": services}}),
        allow(
            "CreateServiceLinkedRoles",
            ["iam:CreateServiceLinkedRole"],
            pipeline.arns("iam", "role/aws-service-role/*", global_service=True),
            conditions={"StringEquals": {"iam:AWSServiceName": linked}},
        ),
    ]


def compute(pipeline: Pipeline) -> list[Statement]:
    """Return permissions for ECS, ECR, Lambda and Cloud Map."""
    arns, all_names, regional = pipeline.arns, pipeline.names.name("*"), pipeline.region_condition
    return [
        allow(
            "Containers",
            action_list(
                "ecs",
                "CreateCluster CreateService DeleteCluster DeleteService PutCluster* RunTask StopTask TagResource UntagResource "
                "UpdateCluster* UpdateService",
            ),
            arns("ecs", *(f"{kind}/{all_names}" for kind in ("cluster", "service", "task")), f"task-definition/{all_names}:*"),
        ),
        # These actions do not support resource-level permissions (Service Authorization Reference, Amazon ECS).
        allow(
            "TaskDefinitions", action_list("ecs", "DeregisterTaskDefinition RegisterTaskDefinition"), ["*"], conditions=regional
        ),
        allow(
            "Scaling",
            action_list(
                "application-autoscaling",
                "DeleteScalingPolicy DeregisterScalableTarget PutScalingPolicy RegisterScalableTarget TagResource UntagResource",
            ),
            ["*"],
            conditions=regional,
        ),
        allow(
            "Images",
            action_list(
                "ecr",
                "CreateRepository PutImageScanning* PutImageTagMutability PutLifecyclePolicy SetRepositoryPolicy "
                "TagResource UntagResource",
            ),
            arns("ecr", f"repository/{all_names}"),
        ),
        allow(
            "Functions",
            action_list(
                "lambda",
                "AddPermission CreateAlias CreateFunction DeleteAlias DeleteFunction* InvokeFunction "
                "PublishVersion PutFunction* RemovePermission TagResource UntagResource UpdateAlias "
                "UpdateFunction*",
            ),
            arns("lambda", f"function:{all_names}"),
        ),
        allow(
            "ServiceDiscovery",
            action_list("servicediscovery", "Create* Delete* TagResource UntagResource Update*"),
            arns("servicediscovery", "*/*"),
            conditions=regional,
        ),
    ]


def edge(pipeline: Pipeline) -> list[Statement]:
    """Return permissions for load balancers, certificates, DNS, AWS WAF and API Gateway."""
    arns, all_names, regional = pipeline.arns, pipeline.names.name("*"), pipeline.region_condition
    records = {
        "ForAllValues:StringLike": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": [pipeline.domain, f"*.{pipeline.domain}"]
        }
    }
    return [
        allow(
            "Balancer",
            action_list("elasticloadbalancing", "Add* Create* Delete* Deregister* Modify* Register* Remove* Set*"),
            arns(
                "elasticloadbalancing",
                f"targetgroup/{all_names}/*",
                *(f"{kind}/app/{all_names}/*" for kind in ("loadbalancer", "listener", "listener-rule")),
            ),
        ),
        allow(
            "RequestCertificates",
            action_list("acm", "AddTagsToCertificate RequestCertificate"),
            ["*"],
            conditions=tag_condition(pipeline, "RequestTag"),
        ),
        allow(
            "Certificates",
            action_list("acm", "AddTagsToCertificate DeleteCertificate RemoveTags* UpdateCertificateOptions"),
            arns("acm", "certificate/*"),
            conditions=tag_condition(pipeline),
        ),
        allow(
            "HostedZone",
            action_list("route53", "ChangeTagsForResource CreateHostedZone UpdateHostedZoneComment"),
            ["*"],
            conditions=regional,
        ),
        allow("Records", ["route53:ChangeResourceRecordSets"], ["arn:aws:route53:::hostedzone/*"], conditions=records),
        # AWS WAF also authorizes the managed rule groups of a web ACL.
        allow(
            "WebAcl",
            action_list(
                "wafv2",
                "AssociateWebACL CreateWebACL DeleteLogging* DeleteWebACL Disassociate* PutLogging* TagResource "
                "UntagResource UpdateWebACL",
            ),
            [
                *arns("wafv2", f"regional/webacl/{all_names}/*"),
                *arns("elasticloadbalancing", f"loadbalancer/app/{all_names}/*"),
                *arns("apigateway", "/restapis/*"),
                "arn:aws:wafv2:*:*:regional/managedruleset/*",
            ],
        ),
        allow(
            "RestApis",
            action_list("apigateway", "DELETE PATCH POST PUT"),
            [f"arn:aws:apigateway:{pipeline.names.region}::/*"],
            conditions=regional,
        ),
    ]


def monitoring(pipeline: Pipeline) -> list[Statement]:
    """Return permissions for logs, alarms, notifications and budgets."""
    names, arns, regional = pipeline.names, pipeline.arns, pipeline.region_condition
    all_names = names.name("*")
    groups = (names.log_group("*"), names.waf_log_group, f"/aws/rds/*/{all_names}", f"/aws/apigateway/{all_names}")
    return [
        allow(
            "LogGroups",
            action_list(
                "logs",
                "AssociateKmsKey CreateLogGroup DeleteMetricFilter PutDataProtectionPolicy "
                "PutLogGroupDeletionProtection PutMetricFilter PutRetentionPolicy TagResource UntagResource",
            ),
            arns("logs", *(f"log-group:{group}" for group in groups), *(f"log-group:{group}:*" for group in groups)),
        ),
        # These actions do not support resource-level permissions (Service Authorization Reference, Amazon CloudWatch Logs).
        allow(
            "LogDelivery",
            action_list("logs", "CreateLogDelivery DeleteLogDelivery GetLogDelivery PutResourcePolicy UpdateLogDelivery"),
            ["*"],
            conditions=regional,
        ),
        allow(
            "Alarms",
            action_list("cloudwatch", "DeleteAlarms PutCompositeAlarm PutMetricAlarm TagResource UntagResource"),
            arns("cloudwatch", f"alarm:{all_names}"),
        ),
        allow(
            "Dashboard",
            action_list("cloudwatch", "DeleteDashboards PutDashboard"),
            arns("cloudwatch", f"dashboard/{all_names}", global_service=True),
        ),
        allow(
            "Events",
            action_list("events", "DeleteRule DisableRule EnableRule PutRule PutTargets RemoveTargets TagResource UntagResource"),
            arns("events", f"rule/{all_names}"),
        ),
        allow(
            "Topics",
            action_list(
                "sns",
                "CreateTopic DeleteTopic SetSubscriptionAttributes SetTopicAttributes Subscribe TagResource Unsubscribe "
                "UntagResource",
            ),
            arns("sns", all_names),
        ),
        allow("Queues", action_list("sqs", "CreateQueue SetQueueAttributes TagQueue UntagQueue"), arns("sqs", all_names)),
        allow(
            "Budget",
            action_list("budgets", "ModifyBudget TagResource UntagResource"),
            arns("budgets", f"budget/{all_names}", global_service=True),
        ),
        allow(
            "Anomalies",
            action_list("ce", "CreateAnomaly* DeleteAnomaly* TagResource UntagResource UpdateAnomaly*"),
            ["*"],
            conditions=regional,
        ),
    ]
