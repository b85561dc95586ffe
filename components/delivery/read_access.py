"""Statements of the roles deploy and preview to read the configuration of the stack."""

from components.delivery.deploy_services import rest_apis
from components.delivery.scope import ANY, Delivery
from components.iam.documents import Statement, allow
from components.naming import WEB_UI_BUCKET


def read_statements(delivery: Delivery) -> list[Statement]:
    """The configuration of resources, but no object, item, message, log event, sampled request,
    user data or secret value.

    The first statement also covers the variables of ECS task definitions and the origin headers of
    CloudFront distributions of others in the account: ecs:DescribeTaskDefinition supports no ARNs,
    and CloudFront generates its IDs.
    """
    cloudfront = delivery.cloudfront
    return [
        delivery.regional(
            "ReadConfiguration",
            [
                "acm:Describe* ListTags*",
                "application-autoscaling:Describe* List*",
                "backup:Describe* Get* List*",
                "budgets:View* ListTags*",
                *(["cloudfront:Describe* Get* List*"] if cloudfront else []),
                "cloudtrail:DescribeTrails GetTrail* GetEventSelectors GetInsightSelectors "
                "ListTags",
                "cloudwatch:Describe* GetDashboard ListTags*",
                "dynamodb:Describe* ListTags* GetResourcePolicy",
                "ec2:DescribeAddresses* DescribeFlowLogs DescribeInternetGateways "
                "DescribeManagedPrefix* DescribeNatGateways DescribeNetworkAcls "
                "DescribeNetworkInterfaces DescribePrefixLists DescribeRegions DescribeRouteTables "
                "DescribeSecurityGroup* DescribeSubnets DescribeTags DescribeVpc* "
                "GetManagedPrefixList* GetSecurityGroups*",
                "ecr:Describe* GetLifecyclePolicy GetRepositoryPolicy ListTags*",
                "ecs:Describe* List*",
                "elasticache:Describe* ListTags*",
                "elasticloadbalancing:Describe*",
                "events:Describe* List*",
                "iam:GetOpenIDConnectProvider GetPolicy* GetRole* ListAttachedRole* ListPolicy* "
                "ListRole* ListInstanceProfilesForRole",
                "kms:Describe* GetKey* GetPublicKey ListAliases ListKeyPolicies ListResourceTags",
                "logs:Describe* GetDataProtectionPolicy ListTags*",
                *(["logs:GetDelivery*"] if cloudfront else []),
                "rds:Describe* ListTags*",
                "route53:GetChange GetHealthCheck GetHostedZone ListHostedZones* "
                "ListResourceRecordSets ListTags*",
                "s3:GetAccelerate* GetBucket* GetEncryption* GetLifecycle* GetReplication* "
                "ListTagsForResource",
                "secretsmanager:DescribeSecret GetResourcePolicy ListSecretVersionIds",
                "servicediscovery:Get* List*",
                "sns:GetSubscription* GetTopic* ListSubscriptionsByTopic ListTags*",
                "sqs:GetQueueAttributes GetQueueUrl ListQueueTags",
                "wafv2:GetIPSet GetLogging* GetWebACL* ListTags*",
            ],
        ),
        *_read_own(delivery),
    ]


def _read_own(delivery: Delivery) -> list[Statement]:
    """The functions, the names of the objects and the files of the web UI, which are public, of the
    stack, and the REST APIs of the account, whose IDs are generated.
    """
    names = delivery.names
    statements = [
        allow(
            "ListBuckets", "s3:ListBucket", delivery.s3_arns(delivery.all, names.edge_log_bucket)
        ),
        allow(
            "ReadFunctions",
            "lambda:GetAlias GetFunction* GetPolicy ListTags ListVersions*",
            delivery.arns("lambda", f"function:{delivery.all}"),
        ),
        delivery.regional(
            "ReadRestApis",
            "apigateway:GET",
            [*rest_apis(delivery), names.any_arn("apigateway", "/account", names.region, "")],
        ),
    ]
    if delivery.cloudfront:
        files = [f"{names.bucket_arn(WEB_UI_BUCKET)}/*"]
        statements.append(allow("ReadWebUi", "s3:GetObject GetObjectTagging", files))
    return [*statements, *read_chat(delivery)]


def read_chat(delivery: Delivery) -> list[Statement]:
    """The Slack channel, in a region of its own. An administrator creates and changes it."""
    if not delivery.settings.monitoring.slack_channel:
        return []
    return [allow("ReadChat", "chatbot:Describe* ListTagsForResource", ANY)]
