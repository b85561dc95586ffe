"""Rules about KMS keys: rotation, who may use and administer them, and that nobody can lock the account out of them."""

from policies.analysis import type_tokens as tokens
from policies.analysis.iam import document as iam_document
from policies.analysis.iam.grammar import Condition
from policies.analysis.policy_holders import identity_documents, only_bounds
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/kms/latest/developerguide"


@resource_rule(
    "GH-KMS-001",
    title="Symmetric keys rotate every year",
    why=("Rotation bounds how much data one key ever protects; KMS keeps the old material, so nothing has to be re-encrypted."),
    remedy="set enableKeyRotation=True (and rotationPeriodInDays to 365 or less, when it is set)",
    severity=Severity.HIGH,
    types=tokens.KEY,
    levels=ALWAYS,
    settings={"days_max": {"dev": 365, "staging": 365, "prod": 365}},
    upstream=Upstream(
        security_hub=("KMS.4",),
        cis=("4.6",),
        checkov=("CKV_AWS_7",),
        prowler=("kms_cmk_rotation_enabled",),
        cdk_nag=("KMS5",),
    ),
    url=f"{_GUIDE}/rotate-keys.html",
)
def symmetric_keys_rotate(key: Resource) -> Found:
    spec = key.props.text("customerMasterKeySpec", "SYMMETRIC_DEFAULT")
    if spec != "SYMMETRIC_DEFAULT":
        return  # KMS rotates symmetric encryption keys only.
    days = key.props.number("rotationPeriodInDays", 365)
    if not key.props.flag("enableKeyRotation"):
        yield "enableKeyRotation is not true"
    elif days > key.settings["days_max"]:
        yield f"rotationPeriodInDays is above {key.settings['days_max']:g}"


@stack_rule(
    "GH-KMS-002",
    title="Every key has its own policy, and none that lets strangers use it",
    why=("The key policy is the last word on who decrypts; the default one hands that to every administrator of the account."),
    remedy="write a policy on the aws.kms.Key that names its principals, with kms:CallerAccount where it says *",
    severity=Severity.CRITICAL,
    types=tokens.KEY,
    levels=ALWAYS,
    exemptible=False,
    upstream=Upstream(
        security_hub=("KMS.5",),
        cis=("2.21",),
        checkov=("CKV_AWS_33", "CKV2_AWS_64"),
        prowler=("kms_key_not_publicly_accessible",),
    ),
    url=f"{_GUIDE}/key-policies.html",
)
def keys_have_a_policy_without_strangers(key: Resource, stack: Stack) -> Found:
    holders = [key] if key.props.has("policy") else []
    holders += stack.users(key, tokens.KEY_POLICY, "keyId")
    if not holders:
        yield "the key has no policy of its own"
    for holder in holders:
        document = iam_document.parse(holder.props.value("policy"))
        if iam_document.allows_public(document):
            yield 'the key policy allows to anyone ("*") without kms:CallerAccount or another such condition'


@resource_rule(
    "GH-KMS-003",
    title="A deleted key can be brought back for long enough",
    why="A deleted key takes all its data along; the waiting time is the only chance to notice.",
    remedy="leave deletionWindowInDays out (30 days) or set it to the days that this environment asks for",
    severity=Severity.MEDIUM,
    types=tokens.KEY,
    levels=AFTER_DEV,
    pack="resilience",
    settings={"days_min": {"dev": 7, "staging": 7, "prod": 30}},
    upstream=Upstream(security_hub=("KMS.3",), prowler=("kms_cmk_not_deleted_unintentionally",)),
    url=f"{_GUIDE}/deleting-keys.html",
)
def deletion_waits(key: Resource) -> Found:
    days_min = key.settings["days_min"]
    if key.props.number("deletionWindowInDays", 30) < days_min:
        yield f"deletionWindowInDays is below {days_min:g}"


@resource_rule(
    "GH-KMS-004",
    title="KMS checks that a key policy leaves somebody in charge",
    why="A key that nobody can administer any more can only be recovered by AWS support.",
    remedy="remove bypassPolicyLockoutSafetyCheck",
    severity=Severity.HIGH,
    types=tokens.KEY + tokens.KEY_POLICY,
    levels=ALWAYS,
    url=f"{_GUIDE}/key-policy-default.html#prevent-unmanageable-key",
)
def the_lockout_check_is_on(key: Resource) -> Found:
    if key.props.flag("bypassPolicyLockoutSafetyCheck"):
        yield "bypassPolicyLockoutSafetyCheck is true"


@stack_rule(
    "GH-KMS-007",
    title="No identity may decrypt with every key",
    why="A role that decrypts with all keys undoes the separation that having several keys is for.",
    remedy="name the key's ARN in Resource of the kms:Decrypt statement",
    severity=Severity.HIGH,
    types=tokens.POLICY + tokens.ROLE_POLICY + tokens.GROUP_POLICY + tokens.ROLE,
    levels=ALWAYS,
    upstream=Upstream(security_hub=("KMS.1", "KMS.2"), prowler=("iam_inline_policy_no_full_access_to_kms",), cdk_nag=("IAM5",)),
    url="https://docs.aws.amazon.com/securityhub/latest/userguide/kms-controls.html#kms-1",
)
def nobody_decrypts_with_every_key(policy: Resource, stack: Stack) -> Found:
    if only_bounds(policy, stack):
        return
    for document in identity_documents(policy):
        if iam_document.allows_on_every_key(document):
            yield "a statement allows kms:Decrypt or kms:ReEncryptFrom on every key"


@resource_rule(
    "GH-KMS-005",
    title="A service uses a key only for whom it should",
    why="A service that acts for every AWS customer could otherwise be made to use the key for another one.",
    remedy="add aws:SourceAccount, aws:SourceArn, kms:ViaService or kms:EncryptionContext:... to the service's statement",
    severity=Severity.HIGH,
    types=tokens.KEY + tokens.KEY_POLICY,
    levels=AFTER_DEV,
    url=f"{_GUIDE}/least-privilege.html",
)
def services_say_for_whom(key: Resource) -> Found:
    if not key.props.has("policy"):
        return
    for allow in iam_document.parse(key.props.value("policy")).allows:
        if any(_ties_a_service(one) for one in allow.conditions):
            continue
        for kind, service in allow.principals or ():
            if kind == "Service":
                yield f"the key policy lets {service} use the key without saying for whom"


def _ties_a_service(condition: Condition) -> bool:
    tied = condition.key in ("aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "kms:viaservice", "kms:calleraccount")
    tied = tied or condition.key.startswith("kms:encryptioncontext:")
    positive = condition.operator in ("stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike")
    return tied and positive and not condition.if_exists and condition.quantifier != "forallvalues"


@resource_rule(
    "GH-KMS-006",
    title="Who administers a key does not use it",
    why="One role that may do both can read the data, and lock everybody else out.",
    remedy="give administration (kms:Put*, kms:ScheduleKeyDeletion ...) and use (kms:Decrypt ...) to two principals",
    severity=Severity.MEDIUM,
    types=tokens.KEY + tokens.KEY_POLICY,
    levels=AFTER_DEV,
    upstream=Upstream(prowler=("iam_policy_no_full_access_to_kms",), cdk_nag=("IAM5",)),
    url=f"{_GUIDE}/key-policy-default.html#key-policy-default-allow-administrators",
)
def administration_and_use_are_apart(key: Resource) -> Found:
    if not key.props.has("policy"):
        return
    uses: set[str] = set()
    administers: set[str] = set()
    for allow in iam_document.parse(key.props.value("policy")).allows:
        # The account itself may do both: that hands the decision to its IAM policies, which GH-KMS-007 reads.
        who = {value for kind, value in allow.principals or () if kind == "AWS" and not _is_account(value)}
        if allow.covers_action("kms:Decrypt"):
            uses |= who
        if allow.covers_action("kms:PutKeyPolicy") or allow.covers_action("kms:ScheduleKeyDeletion"):
            administers |= who
    for one in sorted(uses & administers):
        yield f"the key policy lets {one} both administer and use the key"


def _is_account(principal: str) -> bool:
    return principal.endswith(":root") or principal.isdigit()


# Where resources name the key that encrypts them.
_ENCRYPTED_BY = {
    **dict.fromkeys(tokens.SECRET + tokens.DB_INSTANCE + tokens.DB_CLUSTER + tokens.CACHE + tokens.LOG_GROUP, "kmsKeyId"),
    **dict.fromkeys(tokens.TRAIL, "kmsKeyId"),
    **dict.fromkeys(tokens.FUNCTION + tokens.BACKUP_VAULT, "kmsKeyArn"),
}


@stack_rule(
    "GH-KMS-008",
    title="Every key has a name, and data is not under AWS's own keys",
    why="People choose keys by alias and description; a key without either is the wrong one, or is deleted as unused.",
    remedy="set description on the key and add an aws.kms.Alias for it; name a customer key, not one under alias/aws/",
    severity=Severity.LOW,
    types=tokens.KEY + tuple(_ENCRYPTED_BY),
    levels=levels("A", "A", "M"),
    pack="resilience",
    upstream=Upstream(prowler=("kms_cmk_are_used",)),
    url=f"{_GUIDE}/kms-alias.html",
)
def keys_have_names(holder: Resource, stack: Stack) -> Found:
    if holder.type in tokens.KEY:
        if not holder.props.has("description"):
            yield "the key has no description"
        if not stack.users(holder, tokens.KEY_ALIAS, "targetKeyId"):
            yield "no alias names this key"
        return
    prop = _ENCRYPTED_BY[holder.type]
    if holder.props.known(prop) and "alias/aws/" in holder.props.text(prop):
        yield f"{prop} names a key that AWS manages"


@stack_rule(
    "GH-KMS-009",
    title="A key leaves its region only for a replica that is used",
    why="A multi-region key's material exists wherever a replica is made, by whoever may make one.",
    remedy="add an aws.kms.ReplicaKey for it, or remove multiRegion",
    severity=Severity.LOW,
    types=tokens.KEY,
    levels=levels("A", "A", "M"),
    upstream=Upstream(prowler=("kms_cmk_not_multi_region",)),
    url=f"{_GUIDE}/multi-region-keys-overview.html",
)
def keys_stay_in_their_region(key: Resource, stack: Stack) -> Found:
    if key.props.flag("multiRegion") and not stack.users(key, tokens.REPLICA_KEY, "primaryKeyArn"):
        yield "multiRegion is true, and no replica of the key is in the program"
