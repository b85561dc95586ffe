"""Permissions of a deployment, one function per area of the stack.

Each statement is limited to ARNs with the stack's name or to resources with the stack's tags.
Actions that support neither are limited to the stack's regions.
"""

from components.context import Stack
from components.iam.documents import Conditions, Statement, allow
from components.iam.sharing_policies import OPEN
from components.naming import PAGES, PROJECT, TICKETS, WEB_UI_BUCKET

GLOBAL_REGION = "us-east-1"
"""Value of aws:RequestedRegion for IAM, Route 53, AWS Budgets and Cost Explorer. Source: the
endpoints and signing regions of botocore."""
WEB_ACL = (
    "CreateIPSet CreateWebACL DeleteIPSet DeleteLogging* DeleteWebACL PutLogging* TagResource "
    "UntagResource UpdateIPSet UpdateWebACL"
)
"""Actions on a web ACL and its IP sets."""


class Delivery:
    """ARNs, conditions and statements for the policies of a stack's pipeline."""

    def __init__(self, stack: Stack) -> None:
        self.settings, self.names = stack.settings, stack.names
        self.hosts = stack.contract.host_patterns
        self.cloudfront = self.settings.services.cloudfront

    @property
    def region_condition(self) -> dict[str, dict[str, list[str]]]:
        """Return the condition that a request is sent to one of the stack's regions."""
        regions = {self.names.region, GLOBAL_REGION, self.settings.replica_region} - {""}
        return {"StringEquals": {"aws:RequestedRegion": sorted(regions)}}

    def tag_condition(self, kind: str = "ResourceTag") -> dict[str, dict[str, str | list[str]]]:
        """Return the condition that a resource ("ResourceTag") or a request ("RequestTag") has the
        stack's tags. A request for a resource with tags of others does not meet the condition,
        because it would take the resource over.
        """
        tags = {f"aws:{kind}/Project": PROJECT, f"aws:{kind}/Environment": self.names.stack}
        condition: dict[str, dict[str, str | list[str]]] = {
            "StringEquals": {**self.region_condition["StringEquals"], **tags}
        }
        if kind == "RequestTag":
            condition["StringEqualsIfExists"] = {
                name.replace(kind, "ResourceTag"): value for name, value in tags.items()
            }
        return condition

    def arns(self, service: str, *resources: str, global_service: bool = False) -> list[str]:
        """Return ARNs in the stack's account, for any region, or without a region for a global
        service.
        """
        region = "" if global_service else "*"
        return [self.names.any_arn(service, resource, region) for resource in resources]

    def rest_apis(self, *paths: str) -> list[str]:
        """Return ARNs of REST APIs, the stack's domain name and their tags, but not of API keys
        (API Gateway Developer Guide, "Amazon Resource Name (ARN) reference").
        """
        (host,) = self.hosts[OPEN]
        domain = f"/domainnames/{host}"
        paths = ("/restapis/*", "/tags/*restapis*", domain, f"{domain}/*", f"/tags/*{host}", *paths)
        return [self.names.any_arn("apigateway", path, self.names.region, "") for path in paths]

    def grant(
        self,
        sid: str,
        service: str,
        actions: str,
        *resources: str,
        conditions: Conditions | None = None,
        **arn: bool,
    ) -> Statement:
        """Allow actions of one service, separated by spaces: "CreateKey TagResource".

        resources: Resources of the service in the account, such as "db:gatehouse-dev-*", and full
            ARNs. If no resources are specified, the statement allows all resources.
        """
        full = [name for name in resources if name.startswith("arn:")]
        own = self.arns(service, *(name for name in resources if name not in full), **arn)
        return allow(sid, f"{service}:{actions}", [*own, *full] or ["*"], conditions=conditions)

    def regional(
        self, sid: str, service: str, actions: str, *resources: str, **arn: bool
    ) -> Statement:
        condition = self.region_condition
        return self.grant(sid, service, actions, *resources, conditions=condition, **arn)


def network(args: Delivery) -> list[Statement]:
    """Return permissions for VPC resources. Requests that create resources must set the stack's
    tags, and existing resources must have these tags."""
    create = (
        "CreateVpc CreateSubnet CreateRouteTable CreateInternetGateway CreateNatGateway "
        "CreateNetworkAcl CreateSecurityGroup CreateVpcEndpoint CreateFlowLogs AllocateAddress"
    )
    change = (
        "AssociateRouteTable AssociateAddress AttachInternetGateway AuthorizeSecurityGroup* "
        "CreateNetworkAclEntry CreateRoute DeleteFlowLogs DeleteInternetGateway DeleteNatGateway "
        "DeleteNetworkAcl* DeleteRoute* DeleteSecurityGroup DeleteSubnet DeleteVpc "
        "DeleteVpcEndpoints DetachInternetGateway DisassociateAddress DisassociateRouteTable "
        "ModifySecurityGroupRules ModifySubnetAttribute ModifyVpcAttribute ModifyVpcEndpoint "
        "ReleaseAddress ReplaceNetworkAcl* ReplaceRoute* RevokeSecurityGroup* "
        "UpdateSecurityGroupRuleDescriptions* CreateTags DeleteTags"
    )
    # Security group rules are tagged when they are added to a group.
    tagging_calls = [
        *create.split(),
        "AuthorizeSecurityGroupIngress",
        "AuthorizeSecurityGroupEgress",
    ]
    vpcs = filter(None, [args.settings.existing_resources.vpc_id])
    create_condition = {
        "StringEquals": {**args.region_condition["StringEquals"], "ec2:CreateAction": tagging_calls}
    }
    return [
        args.grant(
            "CreateTaggedResources", "ec2", create, conditions=args.tag_condition("RequestTag")
        ),
        # EC2 also authorizes the existing resources in the request, such as the VPC of a new
        # subnet. RequestTag does not apply to existing resources.
        args.grant("CreateInOwnResources", "ec2", create, conditions=args.tag_condition()),
        # An existing VPC has the tags of its owner. A new Core has a security group of its own.
        *(args.regional("GroupsInVpc", "ec2", "CreateSecurityGroup", f"vpc/{vpc}") for vpc in vpcs),
        args.grant("ChangeOwnResources", "ec2", change, conditions=args.tag_condition()),
        args.grant("TagOnCreate", "ec2", "CreateTags", conditions=create_condition),
        # A rule is a separate resource from its group, and a new rule has no tags yet.
        args.regional("GroupRules", "ec2", "AuthorizeSecurityGroup*", "security-group-rule/*"),
    ]


def keys(args: Delivery) -> list[Statement]:
    manage = (
        "CancelKeyDeletion CreateAlias DeleteAlias EnableKey* PutKeyPolicy ReplicateKey "
        "TagResource UntagResource UpdateAlias UpdateKeyDescription"
    )
    # Uploads of the files of the web UI use the key of their bucket.
    upload = ("s3",) if args.cloudfront else ()
    services = ("backup", "dynamodb", "ecr", "elasticache", "lambda", "rds", "secretsmanager")
    via_services = [
        service
        for region in sorted({args.names.region, args.settings.replica_region} - {""})
        for service in args.names.in_region(region).via_services((*services, *upload))
    ]
    new = args.tag_condition("RequestTag")
    # Without the key for logs, the trail and the alarm topic stop, and without that for backups,
    # locked recovery points are unreadable. ForAllValues also holds for a key without an alias (KMS
    # Developer Guide, "Use aliases to control access to KMS keys").
    aliases = [args.names.alias(key) for key in ("logs", "backup")]
    other: Conditions = {
        **args.tag_condition(),
        "ForAllValues:StringNotEquals": {"kms:ResourceAliases": aliases},
    }
    use = {"StringEquals": {**args.tag_condition()["StringEquals"], "kms:ViaService": via_services}}
    return [
        args.grant("CreateKeys", "kms", "CreateKey", conditions=new),
        # The permission to tag a new key cannot be restricted to particular keys (KMS Developer
        # Guide, "Controlling access to tags"). A new key has no alias.
        args.grant(
            "TagNewKeys",
            "kms",
            "TagResource",
            conditions={**new, "Null": {"kms:ResourceAliases": "true"}},
        ),
        args.grant("ManageKeys", "kms", manage, "key/*", conditions=other),
        args.grant(
            "ManageAliases",
            "kms",
            "CreateAlias DeleteAlias UpdateAlias",
            f"alias/{args.names.name('*')}",
        ),
        # Creating an encrypted data store requires use of the KMS key through the service. Some
        # services also require kms:Decrypt. kms:Decrypt is not granted, because KMS generates key
        # IDs and the ARN would match every key. An administrator creates the resources of those
        # services.
        args.grant(
            "UseKeysThroughServices",
            "kms",
            "CreateGrant Encrypt GenerateDataKey*",
            "key/*",
            conditions=use,
        ),
    ]


def stores(args: Delivery) -> list[Statement]:
    names, all_names = args.names, args.names.name("*")
    database = (
        "Add* Create* Modify* Remove* RebootDBInstance DeleteDBParameterGroup "
        "DeleteDBSubnetGroup DeleteEventSubscription"
    )
    databases = (*(f"{kind}:{all_names}" for kind in ("db", "pg", "subgrp", "es")), "og:default*")
    table = (
        "CreateTable PutResourcePolicy TagResource UntagResource UpdateContinuousBackups "
        "UpdateTable UpdateTimeToLive"
    )
    kinds = "replicationgroup subnetgroup user usergroup cluster parametergroup"
    caches = (f"{kind}:{all_names}" for kind in kinds.split())
    secrets = (
        "CancelRotateSecret CreateSecret PutResourcePolicy RotateSecret TagResource "
        "UntagResource UpdateSecret"
    )
    backups = (
        "CreateBackup* UpdateBackupPlan DeleteBackupPlan DeleteBackupSelection "
        "TagResource UntagResource"
    )
    by_services = {"Bool": {"aws:ViaAWSService": "true"}}  # RDS does not set aws:CalledVia
    return [
        args.grant(
            "Buckets",
            "s3",
            "CreateBucket PutBucket* PutEncryption* PutLifecycle* PutReplication*",
            names.s3_arn(all_names),
        ),
        args.regional("Database", "rds", database, *databases),
        args.grant(
            "MasterUserSecret",
            "secretsmanager",
            "CreateSecret TagResource",
            names.managed_secret_arn,
            conditions=by_services,
        ),
        args.grant("Table", "dynamodb", table, f"table/{all_names}"),
        args.regional(
            "Cache",
            "elasticache",
            "Add* Create* Delete* Modify* Remove*",
            *(*caches, "parametergroup:default.*", "user:default"),
        ),
        args.grant(
            "Secrets", "secretsmanager", secrets, names.secret_arn("*").removesuffix("-??????")
        ),
        args.regional("Backups", "backup", backups, f"backup-vault:{all_names}", "backup-plan:*"),
        args.regional("VaultStorage", "backup-storage", "MountCapsule"),
    ]


def roles(args: Delivery) -> list[Statement]:
    """Return permissions for roles with the stack's name and permissions boundary."""
    role_arn = args.names.role_arn("*")
    bounded = {"StringEquals": {"iam:PermissionsBoundary": args.names.boundary_arn}}
    grants = (
        "AttachRolePolicy CreateRole DeleteRolePolicy DetachRolePolicy "
        "PutRolePermissionsBoundary PutRolePolicy"
    )
    passed = "backup ecs ecs-tasks events lambda monitoring.rds s3 vpc-flow-logs"
    principals = [f"{service}.amazonaws.com" for service in passed.split()]
    services = {"StringEquals": {"iam:PassedToService": principals}}
    cloudfront = " vpcorigin.cloudfront" if args.cloudfront else ""
    linked_services = (
        "backup ecs elasticache elasticloadbalancing mrk.kms rds replication.dynamodb wafv2 "
        f"delivery.logs ecs.application-autoscaling ops.apigateway{cloudfront}"
    )
    principals = [f"{service}.amazonaws.com" for service in linked_services.split()]
    linked = {"StringEquals": {"iam:AWSServiceName": principals}}
    return [
        args.grant("ManageBoundedRoles", "iam", grants, role_arn, conditions=bounded),
        args.grant(
            "ManageRoles",
            "iam",
            "DeleteRole TagRole UntagRole UpdateAssumeRolePolicy UpdateRole*",
            role_arn,
        ),
        args.grant("PassRoles", "iam", "PassRole", role_arn, conditions=services),
        args.grant(
            "CreateServiceLinkedRoles",
            "iam",
            "CreateServiceLinkedRole",
            "role/aws-service-role/*",
            conditions=linked,
            global_service=True,
        ),
    ]


def compute(args: Delivery) -> list[Statement]:
    all_names = args.names.name("*")
    containers = (
        "CreateCluster CreateService DeleteCluster DeleteService StopServiceDeployment StopTask "
        "TagResource UntagResource UpdateCluster* UpdateService"
    )
    scaling = (
        "DeleteScalingPolicy DeregisterScalableTarget PutScalingPolicy RegisterScalableTarget "
        "TagResource UntagResource"
    )
    images = (
        "BatchGetImage CreateRepository GetDownloadUrlForLayer PutImage PutImageScanning* "
        "PutImageTagMutability PutLifecyclePolicy SetRepositoryPolicy TagResource UntagResource"
    )
    functions = (
        "AddPermission CreateAlias CreateFunction DeleteAlias DeleteFunction* InvokeFunction "
        "PublishVersion PutFunction* "
        "RemovePermission TagResource UntagResource UpdateAlias UpdateFunction*"
    )
    discovery = "Create* Delete* TagResource UntagResource Update*"
    tasks, clusters = f"task-definition/{all_names}:*", args.arns("ecs", f"cluster/{all_names}")
    own_cluster = {"ArnLike": {"ecs:cluster": clusters}}
    kinds = (f"{kind}/{all_names}" for kind in ("service", "service-deployment", "task"))
    return [
        args.grant("Containers", "ecs", containers, *clusters, *kinds, tasks),
        # The resource is the task definition, also in a cluster with instances of others.
        args.grant("RunTasks", "ecs", "RunTask", tasks, conditions=own_cluster),
        # ECS does not document the ARN of a new revision.
        args.regional("TaskDefinitions", "ecs", "DeregisterTaskDefinition RegisterTaskDefinition"),
        args.regional("Scaling", "application-autoscaling", scaling),
        args.grant("Images", "ecr", images, f"repository/{all_names}"),
        # To verify the signature of an image.
        args.regional("LogInToEcr", "ecr", "GetAuthorizationToken"),
        args.grant("Functions", "lambda", functions, f"function:{all_names}"),
        args.regional("ServiceDiscovery", "servicediscovery", discovery, "*/*"),
    ]


def cloudfront(args: Delivery) -> list[Statement]:
    """Return permissions for the distribution of the console, its web ACL, its logs and the files
    of the web UI.
    """
    if not args.cloudfront:
        return []
    names = args.names
    deliveries = ("delivery:*", "delivery-source:*", "delivery-destination:*")
    delivery = (
        "CreateDelivery DeleteDelivery* PutDelivery* TagResource UntagResource "
        "UpdateDeliveryConfiguration"
    )
    buckets = "CreateBucket PutBucket* PutEncryption* PutLifecycle*"
    distribution = (
        "AllowVendedLogDeliveryForResource Create* Delete* PublishFunction "
        "TagResource UntagResource Update*"
    )
    return [
        # CloudFront generates the IDs of most resources. The Region of a request to a global
        # service is us-east-1.
        args.regional("CloudFront", "cloudfront", distribution, "*", global_service=True),
        args.grant(
            "GlobalWebAcl",
            "wafv2",
            WEB_ACL,
            *(f"global/{kind}/{names.name('*')}/*" for kind in ("webacl", "ipset")),
            names.any_arn("wafv2", "global/managedruleset/*", "*", "*"),
        ),
        args.grant("EdgeLogBucket", "s3", buckets, names.s3_arn(names.edge_log_bucket)),
        args.grant(
            "WebUi", "s3", "DeleteObject* PutObject*", f"{names.bucket_arn(WEB_UI_BUCKET)}/*"
        ),
        args.regional("EdgeLogs", "logs", delivery, *deliveries),
    ]


def edge(args: Delivery) -> list[Statement]:
    """Return permissions for load balancers, certificates, DNS, web ACLs and REST APIs."""
    all_names = args.names.name("*")
    balancers = tuple(
        f"{kind}/app/{all_names}/*" for kind in ("loadbalancer", "listener", "listener-rule")
    )
    certificates = "AddTagsToCertificate DeleteCertificate RemoveTags* UpdateCertificateOptions"
    record_names = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
    hosts = [host.removeprefix("*.") for row in args.hosts.values() for host in row]
    names = [name for host in hosts for name in (host, f"*.{host}")]
    # ForAllValues also holds for a request without the key.
    records = {**args.region_condition, "ForAllValues:StringLike": {record_names: names}}
    protected = (
        *args.arns("wafv2", *(f"regional/{kind}/{all_names}/*" for kind in ("webacl", "ipset"))),
        *args.arns("elasticloadbalancing", f"loadbalancer/app/{all_names}/*"),
        args.names.any_arn("apigateway", "/restapis/*", "*", ""),
        # AWS WAF also authorizes the managed rule groups.
        args.names.any_arn("wafv2", "regional/managedruleset/*", "*", "*"),
    )
    return [
        args.grant(
            "Balancer",
            "elasticloadbalancing",
            "Add* Create* Delete* Deregister* Modify* Register* Remove* Set*",
            *(f"targetgroup/{all_names}/*", *balancers),
        ),
        args.grant(
            "RequestCertificates",
            "acm",
            "AddTagsToCertificate RequestCertificate",
            conditions=args.tag_condition("RequestTag"),
        ),
        args.grant(
            "Certificates", "acm", certificates, "certificate/*", conditions=args.tag_condition()
        ),
        args.regional(
            "HostedZone",
            "route53",
            "ChangeTagsForResource CreateHostedZone UpdateHostedZoneComment",
        ),
        args.grant(
            "Records",
            "route53",
            "ChangeResourceRecordSets",
            args.names.any_arn("route53", "hostedzone/*", account=""),
            conditions=records,
        ),
        args.regional("WebAcl", "wafv2", f"{WEB_ACL} AssociateWebACL Disassociate*", *protected),
        args.regional(
            "RestApis",
            "apigateway",
            # A web ACL of a stage requires SetWebACL (AWS WAF Developer Guide, "Permissions for
            # AssociateWebACL").
            "DELETE PATCH POST PUT SetWebACL UpdateRestApiPolicy",
            *args.rest_apis("/restapis", "/domainnames"),
        ),
    ]


def monitoring(args: Delivery) -> list[Statement]:
    names, all_names = args.names, args.names.name("*")
    log_groups = [
        f"log-group:{group}{suffix}" for suffix in ("", ":*") for group in names.log_groups
    ]
    change_groups = (
        "AssociateKmsKey CreateLogGroup DeleteMetricFilter PutDataProtectionPolicy "
        "PutLogGroupDeletionProtection PutMetricFilter PutRetentionPolicy TagResource UntagResource"
    )
    delivery = (
        "CreateLogDelivery DeleteLogDelivery DeleteResourcePolicy GetLogDelivery "
        "PutResourcePolicy UpdateLogDelivery"
    )
    alarms = "DeleteAlarms PutCompositeAlarm PutMetricAlarm TagResource UntagResource"
    # CloudWatch takes other actions with permissions of its own, such as stopping an instance.
    topics = [names.arn("sns", names.name(topic)) for topic in (PAGES, TICKETS)]
    notify = {"ForAllValues:StringEquals": {"cloudwatch:AlarmActions": topics}}
    events = (
        "DeleteRule DisableRule EnableRule PutRule PutTargets RemoveTargets TagResource "
        "UntagResource"
    )
    return [
        args.grant("LogGroups", "logs", change_groups, *log_groups),
        # These actions do not support resource-level permissions (Service Authorization Reference,
        # Amazon CloudWatch Logs).
        args.regional("LogDelivery", "logs", delivery),
        args.grant("Alarms", "cloudwatch", alarms, f"alarm:{all_names}", conditions=notify),
        args.grant(
            "Dashboard",
            "cloudwatch",
            "DeleteDashboards PutDashboard",
            f"dashboard/{all_names}",
            global_service=True,
        ),
        args.grant("Events", "events", events, f"rule/{all_names}"),
        args.grant(
            "Queues",
            "sqs",
            "CreateQueue DeleteQueue SetQueueAttributes TagQueue UntagQueue",
            all_names,
        ),
        args.grant(
            "Budget",
            "budgets",
            "ModifyBudget TagResource UntagResource",
            f"budget/{all_names}",
            global_service=True,
        ),
    ]
