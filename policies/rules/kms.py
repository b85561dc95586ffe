"""Rules about KMS keys: rotation, who may use and administer them, and that nobody can lock the account out of them."""

from policies import iam_document, tokens
from policies.documents import identity_documents
from policies.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, resource_rule, stack_rule
from policies.stack import Resource, Stack

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


@resource_rule(
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
def nobody_decrypts_with_every_key(policy: Resource) -> Found:
    for document in identity_documents(policy):
        if iam_document.allows_on_every_key(document):
            yield "a statement allows kms:Decrypt or kms:ReEncryptFrom on every key"
