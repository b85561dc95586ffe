"""Rules for the Pulumi program: provider, Regions, protection, tags and outputs."""

import re
from collections.abc import Mapping, Set

from pulumi_local.lists import name_set
from pulumi_local.type_tokens import AWS_PROVIDER, S3_DEPRECATED, STACK, STATEFUL, aws

from gatehouse_policies.analysis.iam.strangers import owner_of
from gatehouse_policies.analysis.policy_holders import (
    ACCOUNTS,
    documents_without_principals,
    parties_of,
    values_of,
)
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.secret_detection import looks_secret, name_indicates_secret
from gatehouse_policies.engine.environment import regions_of_process
from gatehouse_policies.engine.requirements import is_not_true
from gatehouse_policies.engine.rule import (
    CheckResults,
    Undecided,
    Violation,
    resource_rule,
    stack_rule,
)
from gatehouse_policies.rules.data.rds import is_read_replica

_TAGGED_WITH_DATA_CLASS = aws(
    *("s3.Bucket", "kms.Key", "secretsmanager.Secret", "rds.Instance", "rds.Cluster"),
    *("dynamodb.Table", "cloudwatch.LogGroup"),
)
# Resources of a distribution, which CloudFront accepts only from this Region. They contain no user
# data.
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cnames-and-https-requirements.html
_GLOBAL_SERVICES = {
    **dict.fromkeys(
        aws(
            *("acm.Certificate", "acm.CertificateValidation", "wafv2.IpSet", "wafv2.WebAcl"),
            *("wafv2.WebAclLoggingConfiguration", "cloudwatch.LogDelivery"),
            *("cloudwatch.LogDeliveryDestination", "cloudwatch.LogDeliverySource"),
        ),
        "us-east-1",
    ),
    # Amazon Q Developer in chat applications has its API in this Region.
    # https://docs.aws.amazon.com/chatbot/latest/adminguide/chatbot-troubleshooting.html
    **dict.fromkeys(aws("chatbot.SlackChannelConfiguration"), "us-east-2"),
}
# Types without a Region.
_WITHOUT_REGION = tuple(
    f"aws:{module}/"
    for module in name_set(
        "budgets cloudfront costexplorer globalaccelerator iam organizations route53 "
        "route53domains shield"
    )
)


@resource_rule("GH-PUL-001", strict=True, types=STATEFUL)
def stateful_resources_are_protected(resource: Resource) -> CheckResults:
    if not resource.protect and not is_read_replica(resource):
        yield "protect is not set"


@resource_rule("GH-PUL-002", strict=True, types=(AWS_PROVIDER,))
def provider_restricts_accounts(provider: Resource) -> CheckResults:
    if not provider.props.decoded("allowedAccountIds").size("allowedAccountIds"):
        yield "the provider does not set allowedAccountIds"


@resource_rule(
    "GH-TAG-001",
    types=_TAGGED_WITH_DATA_CLASS
    + aws(
        *("elasticache.ReplicationGroup", "lb.LoadBalancer", "ecs.Service", "lambda.Function"),
        "ec2.Vpc",
    ),
    lists={"tags": ()},
    needs="tags",
)
def required_tags_are_set(resource: Resource) -> CheckResults:
    tags = {name for block in resource.tags() for name in block.names()}
    for tag in resource.lists["tags"]:
        if tag not in tags:
            yield f"the tag {tag} is missing"
    classified = "DataClass" in resource.lists["tags"] and resource.type in _TAGGED_WITH_DATA_CLASS
    if classified and resource.tag("DataClass") == "none":
        yield "the tag DataClass is none, but the resource contains data"


@resource_rule("GH-PUL-003", types=(), lists={"regions": ()}, needs="regions")
def region_is_allowed(resource: Resource) -> CheckResults:
    is_aws = resource.type.startswith("aws:") or resource.type == AWS_PROVIDER
    if not resource.lists["regions"] or not is_aws:
        return
    own = resource.props.text("region")
    allowed = {*resource.lists["regions"], *regions_of_process()}
    own_allowed = {*allowed, _GLOBAL_SERVICES.get(resource.type)}
    if resource.type == AWS_PROVIDER and own in _GLOBAL_SERVICES.values():
        return  # The resources of the provider are evaluated.
    if own and own not in own_allowed:
        yield "region is not in the list of allowed Regions"
    elif (
        # The rule reports the provider for another Region that is not allowed.
        not own
        and resource.region() in {*_GLOBAL_SERVICES.values()} - own_allowed
        and not resource.type.startswith(_WITHOUT_REGION)
    ):
        yield "region of the provider is not in the list of allowed Regions"
    for path, value in values_of(resource):
        place = _REGION.fullmatch(value) if path != "region" else None
        if place and (place[1] or place[2]) not in {*allowed, place[2] and _GLOBAL_REGION}:
            yield f"{path} is not in the list of allowed Regions"


_GLOBAL_REGION = "us-east-1"
# A Region, or the ARN of a resource in it. Distributions refer to resources in the global Region.
_REGION = re.compile(
    r"([a-z]{2,4}(?:-[a-z]{2,4})?-[a-z]+-\d)|arn:[\w-]+:[\w-]+:([a-z]+-[a-z-]+-\d):.*"
)
# Inputs that name accounts to exclude them, and the owner of a bucket to verify it.
_NOT_SHARED = re.compile(r"exclu|expected\w*owner", re.IGNORECASE)


@resource_rule("GH-PUL-006", types=(), lists=ACCOUNTS)
def accounts_are_known(resource: Resource) -> CheckResults:
    if resource.type == AWS_PROVIDER and any(map(str.isdigit, resource.lists["accounts"])):
        for account in resource.props.decoded("allowedAccountIds").texts("allowedAccountIds"):
            if account not in resource.lists["accounts"]:
                yield Violation(
                    f"allowedAccountIds contains {account}, which is not in accounts of the "
                    f"configuration file",
                    "remove the account, or add it to accounts in the configuration file",
                    "critical",
                )
    if not resource.type.startswith("aws:") or resource.type in aws("lambda.Permission"):
        return  # GH-LAM-004 evaluates permissions.
    for path, value in values_of(resource):
        if _NOT_SHARED.search(path):
            continue
        # An ARN that is unknown in a preview belongs to a resource of the program, or is decided in
        # the next preview.
        for party in parties_of(value):
            if party in resource.own_accounts():
                continue
            if party.startswith("o-"):
                yield f"{path} is of the organization {party}, which is not in the list `accounts`"
            else:
                yield (
                    f"{path} is in account {party}, which is not in allowedAccountIds of "
                    f"the provider"
                )
    for party in _owners(resource):
        if party not in resource.own_accounts():
            yield f"a policy allows actions on resources of account {party}, which is not known"


def _owners(resource: Resource) -> list[str]:
    """The accounts of the resources on which an identity policy allows actions."""
    allows = (allow for each in documents_without_principals(resource) for allow in each.allows)
    return sorted({owner_of(each) for allow in allows for each in allow.resources or ()} - {""})


stored_data_is_not_force_deleted = resource_rule(
    "GH-PUL-007", types=aws("backup.Vault", "ecr.Repository")
).requires(is_not_true("forceDestroy"), is_not_true("forceDelete"))


# Types that create resources from a template or from JSON text, which no rule reads.
_TEMPLATES = aws(
    *("cloudcontrol.Resource", "cloudformation.Stack", "cloudformation.StackInstances"),
    *("cloudformation.StackSet", "cloudformation.StackSetInstance"),
    *("servicecatalog.ProvisionedProduct", "serverlessrepository.CloudFormationStack"),
)
# The Terraform provider hashicorp/aws is a package `aws` whose types are in the module `index`.
# https://www.pulumi.com/docs/iac/concepts/providers/any-terraform-provider/
# Packages of Terraform modules have a type Module, and show resources as `<package>:tf:aws_...`.
# https://www.pulumi.com/docs/integrations/terraform/modules/
_OTHER_PACKAGES = re.compile(
    r"aws-native:|awscc:|aws:index/|(?!hcl:)[^:]+:(tf:aws_|index:Module$)"  # hcl has components
)


@resource_rule("GH-PUL-008", types=())
def resources_are_not_in_templates(resource: Resource) -> CheckResults:
    if resource.type in _TEMPLATES or _OTHER_PACKAGES.match(resource.type):
        yield f"the rules do not evaluate the resources of {resource.type}"


# Bucket inputs that version 4 of the provider replaced with separate resources.
_BUCKET_INPUTS = name_set(
    "accelerationStatus corsRules lifecycleRules logging loggings objectLockConfiguration policy "
    "replicationConfiguration requestPayer serverSideEncryptionConfiguration versioning "
    "versionings website"
)


@stack_rule(
    "GH-PUL-004",
    types=S3_DEPRECATED + aws("s3.Bucket", "lb.LoadBalancer", "lb.Listener", "lb.TargetGroup"),
)
def no_deprecated_types_or_inputs(resource: Resource, stack: Stack) -> CheckResults:
    if resource.type in S3_DEPRECATED:
        yield f"{resource.type.rpartition(':')[2]} is deprecated"
    for name in resource.props.names() if resource.type in aws("s3.Bucket") else ():
        if name in _BUCKET_INPUTS and resource.props.has(name):
            yield f"{name} is set on the bucket itself"
    if resource.type.startswith("aws:alb/") and any(
        other.type.startswith("aws:lb/") for other in stack
    ):
        yield "the program uses both aws.alb and aws.lb"


@stack_rule(
    "GH-PUL-005",
    # The SDK passes outputs without secret marks. Readers of the stack can decrypt marked outputs
    # as well: https://www.pulumi.com/docs/iac/concepts/secrets/
    types=(STACK,),
    exemptible=False,
    decided_by_name=r"outputs\.",
    unknown_allowed={
        "outputs": (
            "AWS assigns many outputs, and the engine evaluates the rule again when they are known"
        )
    },
)
def outputs_have_no_secrets(root: Resource, stack: Stack) -> CheckResults:
    public = frozenset(
        identifier
        for resource in stack
        if resource.type.startswith("aws:")
        for identifier in resource.identifiers
    )
    for name in root.props.names():
        yield from _find_secret(name, root.props, public)


def _find_secret(name: str, block: Properties, public: Set[str]) -> CheckResults:
    """public: names, IDs and ARNs of resources, such as the name of a secret."""
    if not block.known(name):
        if name_indicates_secret(name):
            yield Undecided(f"outputs.{block.path_of(name)}")
        return
    value = block.value(name)
    if isinstance(value, list):
        value = {str(index): element for index, element in enumerate(value)}
    if isinstance(value, Mapping):
        nested = Properties(value, block.path_of(name))
        for key in nested.names():
            yield from _find_secret(key, nested, public)
    elif isinstance(value, str) and value:
        is_public = value.startswith("arn:") or value in public
        is_named_secret = name_indicates_secret(name) and not is_public
        if is_named_secret or looks_secret("", value):
            yield f"the output {block.path_of(name)} probably contains a secret"
