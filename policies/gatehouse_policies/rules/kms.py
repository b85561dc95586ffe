"""Rules for KMS keys and key policies."""

from gatehouse_policies.analysis.iam import document as iam_document
from gatehouse_policies.analysis.iam.grammar import Statement
from gatehouse_policies.analysis.iam.strangers import access
from gatehouse_policies.analysis.policy_holders import (
    ACCOUNTS,
    identity_documents,
    is_evaluated_elsewhere,
    is_permissions_boundary,
    own_documents,
    public_or_foreign_access,
    resource_documents,
)
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import KEYS, aws
from gatehouse_policies.engine.requirements import (
    for_types,
    has_resource,
    in_order,
    is_at_least,
    is_at_most,
    is_not_true,
    is_set,
    is_true,
    satisfies,
)
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/kms/latest/developerguide"
_POLICIES = aws("kms.KeyPolicy")


rotation_is_enabled = resource_rule(
    "GH-KMS-001",
    title="Symmetric KMS keys rotate at least once a year",
    severity="high",
    types=aws("kms.Key"),
    settings={"days_max": {"dev": 365, "staging": 365, "prod": 365}},
    upstream="KMS.4 4.6 CKV_AWS_7 KMS5",
    url=f"{_GUIDE}/rotate-keys.html",
).requires(
    in_order(
        is_true("enableKeyRotation"), is_at_most("rotationPeriodInDays", "days_max", default=365)
    ),
    # KMS rotates symmetric encryption keys only, and none in a custom key store.
    when=lambda key: (
        key.props.text("customerMasterKeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT"
        and not key.props.has("customKeyStoreId")
    ),
)


@stack_rule(
    "GH-KMS-002",
    title="KMS keys have a key policy, and no public or unknown cross-account access",
    remedy=(
        "set a key policy that names its principals, and add kms:CallerAccount to "
        'statements with the principal "*"'
    ),
    severity="critical",
    types=KEYS + _POLICIES,
    exemptible=False,
    lists=ACCOUNTS,
    upstream="KMS.5 2.21 CKV_AWS_33 CKV2_AWS_64",
    url=f"{_GUIDE}/key-policies.html",
)
def key_policy_is_not_public(key: Resource, stack: Stack) -> CheckResults:
    if is_evaluated_elsewhere(key, stack, _POLICIES, "keyId", KEYS):
        return
    documents = resource_documents(key, stack, _POLICIES, "keyId")
    if not documents:
        yield "the key has no key policy, so it has the default key policy"
    for document in documents:
        yield from public_or_foreign_access(document, key, "the key policy")


deletion_window_is_sufficient = resource_rule(
    "GH-KMS-003",
    title="KMS keys have a sufficient deletion waiting period",
    types=KEYS,
    pack="resilience",
    settings={"days_min": {"dev": 7, "staging": 7, "prod": 30}},
    url=f"{_GUIDE}/deleting-keys.html",
).requires(is_at_least("deletionWindowInDays", "days_min", 30))


lockout_check_is_enabled = resource_rule(
    "GH-KMS-004",
    title="KMS keys use the policy lockout safety check",
    severity="high",
    types=KEYS + _POLICIES,
    url=f"{_GUIDE}/key-policy-default.html#prevent-unmanageable-key",
).requires(is_not_true("bypassPolicyLockoutSafetyCheck"))


@stack_rule(
    "GH-KMS-007",
    title="IAM policies do not allow decryption with all KMS keys",
    remedy="set Resource of the kms:Decrypt statement to the ARN of the key",
    severity="high",
    types=aws("iam.Policy", "iam.RolePolicy", "iam.GroupPolicy", "iam.Role"),
    upstream="KMS.1 KMS.2 IAM5",
    url="https://docs.aws.amazon.com/securityhub/latest/userguide/kms-controls.html#kms-1",
)
def decryption_is_limited_to_named_keys(policy: Resource, stack: Stack) -> CheckResults:
    if is_permissions_boundary(policy, stack):
        return
    for document in identity_documents(policy):
        if iam_document.allows_everything(document):
            continue  # GH-IAM-001
        if iam_document.allows_decryption_with_all_keys(document):
            yield "a statement allows kms:Decrypt or kms:ReEncryptFrom on all keys"


@resource_rule(
    "GH-KMS-005",
    title="Key policies restrict AWS services by source",
    remedy=(
        "add kms:EncryptionContext:... or kms:ViaService to the statement of the service, or "
        "aws:SourceAccount or aws:SourceArn if the service sends it (GH-KMS-010)"
    ),
    severity="high",
    types=KEYS + _POLICIES,
    levels="AMM",
    url=f"{_GUIDE}/least-privilege.html",
)
def service_access_has_source_condition(key: Resource) -> CheckResults:
    for document in own_documents(key):
        for service in access(document).services:
            yield f"the key policy allows {service} without a source condition"


@resource_rule(
    "GH-KMS-006",
    title="Key policies separate key administrators from key users",
    strict=True,
    remedy=(
        "grant administration (kms:Put*, kms:ScheduleKeyDeletion, ...) and use "
        "(kms:Decrypt, ...) to different principals"
    ),
    types=KEYS + _POLICIES,
    url=f"{_GUIDE}/key-policy-default.html#key-policy-default-allow-administrators",
)
def administration_and_use_are_separate(key: Resource) -> CheckResults:
    users: set[str] = set()
    administrators: set[str] = set()
    for allow in _allow_statements(key):
        # The account may have both sets of permissions. Its IAM policies then control access, and
        # GH-KMS-007 evaluates these policies.
        principals = {
            value
            for kind, value in allow.principals or ()
            if kind == "AWS" and not (value.endswith(":root") or value.isdigit())
        }
        if allow.covers_action("kms:Decrypt"):
            users |= principals
        if any(map(allow.covers_action, ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"))):
            administrators |= principals
    for principal in sorted(users & administrators):
        yield f"the key policy allows {principal} to both administer and use the key"


def _allow_statements(key: Resource) -> tuple[Statement, ...]:
    return tuple(allow for document in own_documents(key) for allow in document.allows)


keys_have_alias_and_description = stack_rule(
    "GH-KMS-008",
    title="KMS keys have an alias and a description, and resources do not use AWS managed keys",
    strict=True,
    severity="low",
    types=aws(
        *("kms.Key", "secretsmanager.Secret", "rds.Instance", "rds.Cluster", "cloudtrail.Trail"),
        *("elasticache.ReplicationGroup", "cloudwatch.LogGroup", "lambda.Function", "backup.Vault"),
    ),
    levels="AAM",
    pack="resilience",
    url=f"{_GUIDE}/kms-alias.html",
).requires(
    for_types(
        aws("kms.Key"),
        is_set("description"),
        has_resource("kms.Alias", "targetKeyId", missing="the key has no alias"),
    ),
    *(
        satisfies(
            prop,
            lambda block, key: "alias/aws/" not in block.known_text(key),
            "is an AWS managed key",
            f"set {prop} to a customer managed key",
        )
        for prop in ("kmsKeyId", "kmsKeyArn")
    ),
)


multi_region_keys_have_replica = stack_rule(
    "GH-KMS-009",
    title="Multi-Region KMS keys have a replica in the program",
    strict=True,
    remedy="add an aws.kms.ReplicaKey, or remove multiRegion",
    severity="low",
    types=aws("kms.Key"),
    levels="AAM",
    url=f"{_GUIDE}/multi-region-keys-overview.html",
).requires(
    has_resource(
        "kms.ReplicaKey",
        "primaryKeyArn",
        missing="multiRegion is true, but the program has no ReplicaKey for the key",
    ),
    when=lambda key: key.props.flag("multiRegion"),
)


@stack_rule(
    "GH-KMS-010",
    title="Keys of SNS topics allow EventBridge without a source condition",
    remedy=(
        "replace aws:SourceArn and aws:SourceAccount in the statement for events.amazonaws.com "
        "with StringEquals "
        "kms:EncryptionContext:aws:sns:topicArn, and restrict the source in the topic policy"
    ),
    severity="high",
    types=aws("sns.Topic"),
    levels="AMM",
    url="https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services",
)
def event_rules_can_use_the_key_of_the_topic(topic: Resource, stack: Stack) -> CheckResults:
    for key in stack.referenced_by(topic, "kmsMasterKeyId", KEYS):
        for document in resource_documents(key, stack, _POLICIES, "keyId"):
            allows = [
                allow
                for allow in document.allows
                if ("Service", "events.amazonaws.com") in (allow.principals or ())
                and allow.covers_action("kms:GenerateDataKey")
            ]
            if allows and all(
                any(each.key.startswith("aws:source") for each in allow.conditions)
                for allow in allows
            ):
                yield (
                    f"the policy of the key {key.name} requires a source from "
                    f"events.amazonaws.com, which sends none to KMS, so events are lost"
                )
