"""VPC endpoints of the AWS services that tasks use, and their policies.

To add an interface endpoint, add its service with a policy to `interface_policies`. The policies
allow only principals in the account and, for actions on a resource, only resources in the account.
`vpc.py` creates the gateway endpoints of S3 and DynamoDB.
"""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from components.component import Placement, StackComponent
from components.context import Stack
from components.iam import object_policies, sharing_policies
from components.iam.documents import (
    ANYONE,
    Document,
    Statement,
    action_list,
    allow,
    document,
    render,
)
from components.naming import Naming


class VpcEndpoints(StackComponent):
    """Interface endpoints with private DNS for ECR, CloudWatch Logs, Secrets Manager, KMS and STS.

    Why: Tasks without internet access can start, write logs and read secrets. The endpoint policies
    prevent data exfiltration with credentials of another account.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        vpc_id: pulumi.Input[str],
        placement: Placement,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        for service, policy in interface_policies(self.names).items():
            aws.ec2.VpcEndpoint(
                service,
                vpc_id=vpc_id,
                service_name=self.names.endpoint_service(service),
                vpc_endpoint_type="Interface",
                subnet_ids=list(placement.subnet_ids),
                security_group_ids=[placement.security_group_id],
                private_dns_enabled=True,
                policy=render(policy),
                tags=self.named(service.replace(".", "-")),
                opts=self.child,
            )
        self.register_outputs({})


def interface_policies(names: Naming) -> dict[str, Document]:
    log_in = _allow_account(names, "LogInToEcr", "ecr:GetAuthorizationToken", ["*"])
    pull = _allow_account(
        names,
        "Pull",
        "ecr:BatchCheckLayerAvailability GetDownloadUrlForLayer BatchGetImage",
        [names.arn("ecr", f"repository/{names.name('*')}")],
    )
    log_groups = [f"{names.log_group_arn(names.log_group('*'))}:*"]
    secrets = [names.secret_arn("*"), names.managed_secret_arn]
    keys = [names.arn("kms", "key/*")]
    encrypt = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"]
    statements = {
        "ecr.api": [log_in, pull],
        "ecr.dkr": [log_in, pull],
        "logs": [
            _allow_account(
                names, "UseLogs", "logs:CreateLogStream PutLogEvents FilterLogEvents", log_groups
            )
        ],
        "secretsmanager": [
            _allow_account(names, "Read", "secretsmanager:GetSecretValue DescribeSecret", secrets)
        ],
        "kms": [
            _allow_account(names, "UseKeys", encrypt, keys),
            _allow_account(names, "SignCheckpoints", "kms:Sign GetPublicKey", keys),
        ],
        "sts": [_allow_account(names, "GetCallerIdentity", "sts:GetCallerIdentity", ["*"])],
    }
    return {service: document(*of_service) for service, of_service in statements.items()}


def s3_policy(names: Naming, legacy_files: Sequence[str]) -> Document:
    """Return the policy of the S3 gateway endpoint: exports in the data bucket, checkpoints,
    content of secrets, and the ARNs in `legacy_files`.

    ECR stores image layers in an AWS-owned bucket and returns presigned URLs, so the statement for
    this bucket has no principal condition (ECR User Guide, "Minimum Amazon S3 bucket permissions
    for Amazon ECR").
    """
    data = names.bucket_arn("data")
    own_account = {"StringEquals": {"aws:PrincipalAccount": names.account}}
    layers = [names.s3_arn(f"prod-{names.region}-starport-layer-bucket/*")]
    checkpoints = [object_policies.checkpoint_arns(names)]
    statements = [
        _allow_account(
            names, "OwnBuckets", "s3:GetObject PutObject ListBucket", [data, f"{data}/*"]
        ),
        _allow_account(names, "WriteOnlyObjects", "s3:PutObject", checkpoints),
    ]
    if legacy_files:
        # The bucket can belong to another account, so the condition covers the principal only. The
        # object ARNs are exact.
        read_write = "s3:GetObject PutObject"
        statements.append(
            allow("LegacyFiles", read_write, legacy_files, principal=ANYONE, conditions=own_account)
        )
    secrets = names.bucket_arn(sharing_policies.BUCKET)
    content = [
        action
        for actions in sharing_policies.OBJECT_ACTIONS.values()
        for action in action_list(actions)
    ]
    statements += [
        _allow_account(names, "SecretContent", content, [f"{secrets}/{sharing_policies.PREFIX}*"]),
        _allow_account(names, "ListSecretContent", sharing_policies.BUCKET_ACTIONS, [secrets]),
    ]
    return document(*statements, allow("ImageLayers", "s3:GetObject", layers, principal=ANYONE))


def dynamodb_policy(names: Naming) -> Document:
    """Return the policy of the DynamoDB gateway endpoint: item operations on the stack's tables and
    their indexes.
    """
    actions = "dynamodb:GetItem BatchGetItem PutItem UpdateItem Query"
    return document(_allow_account(names, "OwnTables", actions, [names.table_arn("*")]))


def _allow_account(
    names: Naming, sid: str, actions: str | Sequence[str], resources: Sequence[str]
) -> Statement:
    # Requests without a resource, such as ecr:GetAuthorizationToken, have no aws:ResourceAccount.
    owned = {} if resources == ["*"] else {"aws:ResourceAccount": names.account}
    conditions = {"StringEquals": {"aws:PrincipalAccount": names.account, **owned}}
    return allow(sid, actions, resources, principal=ANYONE, conditions=conditions)
