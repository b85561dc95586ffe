"""Statements of the deploy role for networks, KMS keys and data stores."""

from components.delivery.scope import ANY, Delivery, together
from components.iam.documents import Statement, action_list, allow

CREATE_NETWORK = (
    "ec2:CreateVpc CreateSubnet CreateRouteTable CreateInternetGateway CreateNatGateway "
    "CreateNetworkAcl CreateSecurityGroup CreateVpcEndpoint CreateFlowLogs AllocateAddress"
)
TAGGING_CALLS = [
    *(action.removeprefix("ec2:") for action in action_list(CREATE_NETWORK)),
    "AuthorizeSecurityGroupIngress",
    "AuthorizeSecurityGroupEgress",
]
"""Security group rules are tagged when they are added to a group."""


def network(delivery: Delivery) -> list[Statement]:
    """Requests that create resources must set the stack's tags, and existing resources must have
    these tags.
    """
    vpc_id = delivery.settings.existing_resources.vpc_id
    vpc = delivery.arns("ec2", f"vpc/{vpc_id}")
    tag_calls = {"StringEquals": {"ec2:CreateAction": TAGGING_CALLS}}
    return [
        allow("CreateTaggedResources", CREATE_NETWORK, ANY, conditions=delivery.own_request),
        # EC2 also authorizes the existing resources in the request, such as the VPC of a new
        # subnet. RequestTag does not apply to existing resources.
        allow("CreateInOwnResources", CREATE_NETWORK, ANY, conditions=delivery.own_resource),
        # An existing VPC has the tags of its owner. A new Core has a security group of its own.
        *([delivery.regional("GroupsInVpc", "ec2:CreateSecurityGroup", vpc)] if vpc_id else []),
        allow(
            "ChangeOwnResources",
            "ec2:AssociateRouteTable AssociateAddress AttachInternetGateway "
            "AuthorizeSecurityGroup* CreateNetworkAclEntry CreateRoute DeleteFlowLogs "
            "DeleteInternetGateway DeleteNatGateway DeleteNetworkAcl* DeleteRoute* "
            "DeleteSecurityGroup DeleteSubnet DeleteVpc DeleteVpcEndpoints DetachInternetGateway "
            "DisassociateAddress DisassociateRouteTable ModifySecurityGroupRules "
            "ModifySubnetAttribute ModifyVpcAttribute ModifyVpcEndpoint ReleaseAddress "
            "ReplaceNetworkAcl* ReplaceRoute* RevokeSecurityGroup* "
            "UpdateSecurityGroupRuleDescriptions* CreateTags DeleteTags",
            ANY,
            conditions=delivery.own_resource,
        ),
        allow(
            "TagOnCreate",
            "ec2:CreateTags",
            ANY,
            conditions=together(delivery.in_regions, tag_calls),
        ),
        # A rule is a separate resource from its group, and a new rule has no tags yet.
        delivery.regional(
            "GroupRules",
            "ec2:AuthorizeSecurityGroup*",
            delivery.arns("ec2", "security-group-rule/*"),
        ),
    ]


def keys(delivery: Delivery) -> list[Statement]:
    names = delivery.names
    all_keys = delivery.arns("kms", "key/*")
    # Uploads of the files of the web UI use the key of their bucket.
    services = ["backup", "dynamodb", "ecr", "elasticache", "lambda", "rds", "secretsmanager"]
    via = [
        service
        for region in sorted({names.region, delivery.settings.replica_region} - {""})
        for service in names.in_region(region).via_services(
            [*services, *(["s3"] if delivery.cloudfront else [])]
        )
    ]
    shared = [names.alias(name) for name in ("logs", "alarms", "backup")]
    return [
        allow("CreateKeys", "kms:CreateKey", ANY, conditions=delivery.own_request),
        # The permission to tag a new key cannot be restricted to particular keys (KMS Developer
        # Guide, "Controlling access to tags"). A new key has no alias.
        allow(
            "TagNewKeys",
            "kms:TagResource",
            ANY,
            conditions=together(delivery.own_request, {"Null": {"kms:ResourceAliases": "true"}}),
        ),
        # Without the key for logs, the trail stops, without that for alarms, no alarm is delivered,
        # and without that for backups, locked recovery points are unreadable. ForAllValues also
        # holds for a key without an alias (KMS Developer Guide, "Use aliases to control access to
        # KMS keys").
        allow(
            "ManageKeys",
            "kms:CancelKeyDeletion CreateAlias DeleteAlias EnableKey* PutKeyPolicy ReplicateKey "
            "TagResource UntagResource UpdateAlias UpdateKeyDescription",
            all_keys,
            conditions=together(
                delivery.own_resource,
                {"ForAllValues:StringNotEquals": {"kms:ResourceAliases": shared}},
            ),
        ),
        allow(
            "ManageAliases",
            "kms:CreateAlias DeleteAlias UpdateAlias",
            delivery.arns("kms", delivery.names.alias("*")),
        ),
        # Creating an encrypted data store requires use of the KMS key through the service. Some
        # services also require kms:Decrypt. kms:Decrypt is not granted, because KMS generates key
        # IDs and the ARN would match every key. An administrator creates the resources of those
        # services.
        allow(
            "UseKeysThroughServices",
            "kms:CreateGrant Encrypt GenerateDataKey*",
            all_keys,
            conditions=together(delivery.own_resource, {"StringEquals": {"kms:ViaService": via}}),
        ),
    ]


def stores(delivery: Delivery) -> list[Statement]:
    names, own = delivery.names, delivery.all
    return [
        allow(
            "Buckets",
            "s3:CreateBucket PutBucket* PutEncryption* PutLifecycle* PutReplication*",
            delivery.s3_arns(own),
        ),
        delivery.regional(
            "Database",
            "rds:Add* Create* Modify* Remove* RebootDBInstance DeleteDBParameterGroup "
            "DeleteDBSubnetGroup DeleteEventSubscription",
            delivery.arns(
                *("rds", f"db:{own}", f"pg:{own}", f"subgrp:{own}", f"es:{own}", "og:default*")
            ),
        ),
        # RDS does not set aws:CalledVia.
        allow(
            "MasterUserSecret",
            "secretsmanager:CreateSecret TagResource",
            [names.managed_secret_arn],
            conditions={"Bool": {"aws:ViaAWSService": "true"}},
        ),
        allow(
            "Table",
            "dynamodb:CreateTable PutResourcePolicy TagResource UntagResource "
            "UpdateContinuousBackups UpdateTable UpdateTimeToLive",
            delivery.arns("dynamodb", f"table/{own}"),
        ),
        delivery.regional(
            "Cache",
            "elasticache:Add* Create* Delete* Modify* Remove*",
            delivery.arns(
                *("elasticache", f"replicationgroup:{own}", f"subnetgroup:{own}", f"user:{own}"),
                *(f"usergroup:{own}", f"cluster:{own}", f"parametergroup:{own}"),
                *("parametergroup:default.*", "user:default"),
            ),
        ),
        allow(
            "Secrets",
            "secretsmanager:CancelRotateSecret CreateSecret PutResourcePolicy RotateSecret "
            "TagResource UntagResource UpdateSecret",
            [names.secret_arn("*").removesuffix("-??????")],
        ),
        delivery.regional(
            "Backups",
            "backup:CreateBackup* UpdateBackupPlan DeleteBackupPlan DeleteBackupSelection "
            "TagResource UntagResource",
            delivery.arns("backup", f"backup-vault:{own}", "backup-plan:*"),
        ),
        delivery.regional("VaultStorage", "backup-storage:MountCapsule"),
    ]
