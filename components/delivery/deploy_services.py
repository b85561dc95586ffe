"""Statements of the deploy role for roles, containers, functions, the edge and monitoring."""

from components.delivery.scope import ANY, Delivery
from components.iam.documents import Conditions, Statement, allow
from components.iam.sharing_policies import OPEN
from components.naming import PAGES, TICKETS, WEB_UI_BUCKET

WEB_ACL = (
    "wafv2:CreateIPSet CreateWebACL DeleteIPSet DeleteLogging* DeleteWebACL PutLogging* "
    "TagResource UntagResource UpdateIPSet UpdateWebACL"
)


def roles(delivery: Delivery) -> list[Statement]:
    """Roles with the stack's name and permissions boundary."""
    own = [delivery.names.role_arn("*")]
    bounded = {"StringEquals": {"iam:PermissionsBoundary": delivery.names.boundary_arn}}
    return [
        allow(
            "ManageBoundedRoles",
            "iam:AttachRolePolicy CreateRole DeleteRolePolicy DetachRolePolicy "
            "PutRolePermissionsBoundary PutRolePolicy",
            own,
            conditions=bounded,
        ),
        allow(
            "ManageRoles",
            "iam:DeleteRole TagRole UntagRole UpdateAssumeRolePolicy UpdateRole*",
            own,
        ),
        allow(
            "PassRoles",
            "iam:PassRole",
            own,
            conditions=_services(
                "iam:PassedToService",
                "backup ecs ecs-tasks events lambda monitoring.rds s3 vpc-flow-logs",
            ),
        ),
        allow(
            "CreateServiceLinkedRoles",
            "iam:CreateServiceLinkedRole",
            [delivery.names.any_arn("iam", "role/aws-service-role/*")],
            conditions=_services(
                "iam:AWSServiceName",
                "backup ecs elasticache elasticloadbalancing mrk.kms rds replication.dynamodb "
                "wafv2 delivery.logs ecs.application-autoscaling ops.apigateway"
                + (" vpcorigin.cloudfront" if delivery.cloudfront else ""),
            ),
        ),
    ]


def _services(key: str, names: str) -> Conditions:
    return {"StringEquals": {key: [f"{name}.amazonaws.com" for name in names.split()]}}


def compute(delivery: Delivery) -> list[Statement]:
    own = delivery.all
    definitions = delivery.arns("ecs", f"task-definition/{own}:*")
    clusters = delivery.arns("ecs", f"cluster/{own}")
    services = delivery.arns("ecs", f"service/{own}", f"service-deployment/{own}", f"task/{own}")
    return [
        allow(
            "Containers",
            "ecs:CreateCluster CreateService DeleteCluster DeleteService StopServiceDeployment "
            "StopTask TagResource UntagResource UpdateCluster* UpdateService",
            [*services, *definitions, *clusters],
        ),
        # The resource is the task definition, also in a cluster with instances of others.
        allow(
            "RunTasks",
            "ecs:RunTask",
            definitions,
            conditions={"ArnLike": {"ecs:cluster": clusters}},
        ),
        # ECS does not document the ARN of a new revision.
        delivery.regional("TaskDefinitions", "ecs:DeregisterTaskDefinition RegisterTaskDefinition"),
        delivery.regional(
            "Scaling",
            "application-autoscaling:DeleteScalingPolicy DeregisterScalableTarget PutScalingPolicy "
            "RegisterScalableTarget TagResource UntagResource",
        ),
        allow(
            "Images",
            "ecr:BatchGetImage CreateRepository GetDownloadUrlForLayer PutImage PutImageScanning* "
            "PutImageTagMutability PutLifecyclePolicy SetRepositoryPolicy TagResource "
            "UntagResource",
            delivery.arns("ecr", f"repository/{own}"),
        ),
        # To verify the signature of an image.
        delivery.regional("LogInToEcr", "ecr:GetAuthorizationToken"),
        allow(
            "Functions",
            "lambda:AddPermission CreateAlias CreateFunction DeleteAlias DeleteFunction* "
            "InvokeFunction PublishVersion PutFunction* RemovePermission TagResource "
            "UntagResource UpdateAlias UpdateFunction*",
            delivery.arns("lambda", f"function:{own}"),
        ),
        delivery.regional(
            "ServiceDiscovery",
            "servicediscovery:Create* Delete* TagResource UntagResource Update*",
            delivery.arns("servicediscovery", "*/*"),
        ),
    ]


def edge(delivery: Delivery) -> list[Statement]:
    """Load balancers, certificates, DNS, web ACLs and REST APIs."""
    names, own, in_regions = delivery.names, delivery.all, delivery.in_regions
    balancers = delivery.arns("elasticloadbalancing", f"loadbalancer/app/{own}/*")
    hosts = [host.removeprefix("*.") for row in delivery.hosts.values() for host in row]
    records = [name for host in hosts for name in (host, f"*.{host}")]
    return [
        allow(
            "Balancer",
            "elasticloadbalancing:Add* Create* Delete* Deregister* Modify* Register* Remove* Set*",
            [
                *delivery.arns("elasticloadbalancing", f"targetgroup/{own}/*"),
                *balancers,
                *delivery.arns(
                    "elasticloadbalancing", f"listener/app/{own}/*", f"listener-rule/app/{own}/*"
                ),
            ],
        ),
        *_certificates(delivery),
        delivery.regional(
            "HostedZone", "route53:ChangeTagsForResource CreateHostedZone UpdateHostedZoneComment"
        ),
        # ForAllValues also holds for a request without the key.
        allow(
            "Records",
            "route53:ChangeResourceRecordSets",
            [names.any_arn("route53", "hostedzone/*", account="")],
            conditions={
                **in_regions,
                "ForAllValues:StringLike": {
                    "route53:ChangeResourceRecordSetsNormalizedRecordNames": records
                },
            },
        ),
        # AWS WAF also authorizes the managed rule groups.
        delivery.regional(
            "WebAcl",
            f"{WEB_ACL} AssociateWebACL Disassociate*",
            [
                *delivery.arns("wafv2", f"regional/webacl/{own}/*", f"regional/ipset/{own}/*"),
                *balancers,
                names.any_arn("apigateway", "/restapis/*", "*", ""),
                names.any_arn("wafv2", "regional/managedruleset/*", "*", "*"),
            ],
        ),
        # API Gateway Developer Guide, "Amazon Resource Name (ARN) reference". A web ACL of a stage
        # requires SetWebACL (AWS WAF Developer Guide, "Permissions for AssociateWebACL").
        delivery.regional(
            "RestApis",
            "apigateway:DELETE PATCH POST PUT SetWebACL UpdateRestApiPolicy",
            [*rest_apis(delivery), *_api_arns(delivery, "/restapis", "/domainnames")],
        ),
    ]


def _certificates(delivery: Delivery) -> list[Statement]:
    return [
        allow(
            "RequestCertificates",
            "acm:AddTagsToCertificate RequestCertificate",
            ANY,
            conditions=delivery.own_request,
        ),
        allow(
            "Certificates",
            "acm:AddTagsToCertificate DeleteCertificate RemoveTags* UpdateCertificateOptions",
            delivery.arns("acm", "certificate/*"),
            conditions=delivery.own_resource,
        ),
    ]


def rest_apis(delivery: Delivery) -> list[str]:
    """Return the ARNs of REST APIs, the stack's domain name and their tags, but not of API keys."""
    (host,) = delivery.hosts[OPEN]
    domain = f"/domainnames/{host}"
    return _api_arns(
        delivery, "/restapis/*", "/tags/*restapis*", domain, f"{domain}/*", f"/tags/*{host}"
    )


def _api_arns(delivery: Delivery, *paths: str) -> list[str]:
    names = delivery.names
    return [names.any_arn("apigateway", path, names.region, "") for path in paths]


def cloudfront(delivery: Delivery) -> list[Statement]:
    """The distribution of the console, its web ACL, its logs and the files of the web UI.
    CloudFront generates the IDs of most resources. The Region of a request to a global service is
    us-east-1.
    """
    names, own = delivery.names, delivery.all
    if not delivery.cloudfront:
        return []
    return [
        delivery.regional(
            "CloudFront",
            "cloudfront:AllowVendedLogDeliveryForResource Create* Delete* PublishFunction "
            "TagResource UntagResource Update*",
            [names.any_arn("cloudfront", "*")],
        ),
        allow(
            "GlobalWebAcl",
            WEB_ACL,
            [
                *delivery.arns("wafv2", f"global/webacl/{own}/*", f"global/ipset/{own}/*"),
                names.any_arn("wafv2", "global/managedruleset/*", "*", "*"),
            ],
        ),
        allow(
            "EdgeLogBucket",
            "s3:CreateBucket PutBucket* PutEncryption* PutLifecycle*",
            delivery.s3_arns(names.edge_log_bucket),
        ),
        allow("WebUi", "s3:DeleteObject* PutObject*", [f"{names.bucket_arn(WEB_UI_BUCKET)}/*"]),
        delivery.regional(
            "EdgeLogs",
            "logs:CreateDelivery DeleteDelivery* PutDelivery* TagResource UntagResource "
            "UpdateDeliveryConfiguration",
            delivery.arns("logs", "delivery:*", "delivery-source:*", "delivery-destination:*"),
        ),
    ]


def monitoring(delivery: Delivery) -> list[Statement]:
    names, own = delivery.names, delivery.all
    topics = [names.arn("sns", names.name(severity)) for severity in (PAGES, TICKETS)]
    return [
        allow(
            "LogGroups",
            "logs:AssociateKmsKey CreateLogGroup DeleteMetricFilter PutDataProtectionPolicy "
            "PutLogGroupDeletionProtection PutMetricFilter PutRetentionPolicy TagResource "
            "UntagResource",
            delivery.arns(
                "logs",
                *(f"log-group:{name}{end}" for end in ("", ":*") for name in names.log_groups),
            ),
        ),
        # These actions do not support resource-level permissions (Service Authorization Reference,
        # Amazon CloudWatch Logs).
        delivery.regional(
            "LogDelivery",
            "logs:CreateLogDelivery DeleteLogDelivery DeleteResourcePolicy GetLogDelivery "
            "PutResourcePolicy UpdateLogDelivery",
        ),
        # CloudWatch takes other actions with permissions of its own, such as stopping an instance.
        allow(
            "Alarms",
            "cloudwatch:DeleteAlarms PutCompositeAlarm PutMetricAlarm TagResource UntagResource",
            delivery.arns("cloudwatch", f"alarm:{own}"),
            conditions={"ForAllValues:StringEquals": {"cloudwatch:AlarmActions": topics}},
        ),
        allow(
            "Dashboard",
            "cloudwatch:DeleteDashboards PutDashboard",
            [names.any_arn("cloudwatch", f"dashboard/{own}")],
        ),
        allow(
            "Events",
            "events:DeleteRule DisableRule EnableRule PutRule PutTargets RemoveTargets TagResource "
            "UntagResource",
            delivery.arns("events", f"rule/{own}"),
        ),
        allow(
            "Queues",
            "sqs:CreateQueue DeleteQueue SetQueueAttributes TagQueue UntagQueue",
            delivery.arns("sqs", own),
        ),
        allow(
            "Budget",
            "budgets:ModifyBudget TagResource UntagResource",
            [names.any_arn("budgets", f"budget/{own}")],
        ),
    ]
