"""Rules for KMS keys and key policies."""

from pulumi_local.type_tokens import KEYS, aws

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
from gatehouse_policies.engine.requirements import (
    for_types,
    has_resource,
    in_order,
    is_at_least,
    is_at_most,
    is_set,
    is_true,
    satisfies,
)
from gatehouse_policies.engine.rule import CheckResults, Violation, resource_rule, stack_rule

_POLICIES = aws("kms.KeyPolicy")


rotation_is_enabled = resource_rule(
    "GH-KMS-001",
    types=aws("kms.Key"),
    settings={"days_max": {"dev": 365, "staging": 365, "prod": 365}},
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


@stack_rule("GH-KMS-002", types=KEYS + _POLICIES, exemptible=False, lists=ACCOUNTS)
def key_policy_is_not_public(key: Resource, stack: Stack) -> CheckResults:
    if is_evaluated_elsewhere(key, stack, _POLICIES, "keyId", KEYS):
        return
    documents = resource_documents(key, stack, _POLICIES, "keyId")
    if not documents:
        message = "the key has no key policy, so it has the default key policy"
        yield Violation(message, severity="medium")
    for document in documents:
        yield from public_or_foreign_access(document, key, "the key policy")


deletion_window_is_sufficient = resource_rule(
    "GH-KMS-003", types=KEYS, settings={"days_min": {"dev": 7, "staging": 7, "prod": 30}}
).requires(is_at_least("deletionWindowInDays", "days_min", 30))


@stack_rule("GH-KMS-007", types=aws("iam.Policy", "iam.RolePolicy", "iam.GroupPolicy", "iam.Role"))
def decryption_is_limited_to_named_keys(policy: Resource, stack: Stack) -> CheckResults:
    if is_permissions_boundary(policy, stack):
        return
    for document in identity_documents(policy):
        if iam_document.allows_everything(document):
            continue  # GH-IAM-001
        if iam_document.allows_decryption_with_all_keys(document):
            yield "a statement allows kms:Decrypt or kms:ReEncryptFrom on all keys"


@resource_rule("GH-KMS-005", types=KEYS + _POLICIES)
def service_access_has_source_condition(key: Resource) -> CheckResults:
    for document in own_documents(key):
        for service in access(document).services:
            yield f"the key policy allows {service} without a source condition"


@resource_rule("GH-KMS-006", strict=True, types=KEYS + _POLICIES)
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
    strict=True,
    types=aws(
        *("kms.Key", "secretsmanager.Secret", "rds.Instance", "rds.Cluster", "cloudtrail.Trail"),
        *("elasticache.ReplicationGroup", "cloudwatch.LogGroup", "lambda.Function", "backup.Vault"),
    ),
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
    "GH-KMS-009", strict=True, types=aws("kms.Key")
).requires(
    has_resource(
        "kms.ReplicaKey",
        "primaryKeyArn",
        missing="multiRegion is true, but the program has no ReplicaKey for the key",
    ),
    when=lambda key: key.props.flag("multiRegion"),
)


@stack_rule("GH-KMS-010", types=aws("sns.Topic"))
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
