"""Rules about Secrets Manager: no value in the program, nobody unknown reads, secrets rotate and can be recovered."""

import re

from policies.analysis import type_tokens as tokens
from policies.analysis.iam import document as iam_document
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/secretsmanager/latest/userguide"


@resource_rule(
    "GH-SM-001",
    title="Secrets are encrypted with a customer key",
    why=(
        "With a key of its own, reading a secret needs the key's permission too, and no other account can be let in by mistake."
    ),
    remedy="set kmsKeyId to a customer key",
    severity=Severity.MEDIUM,
    types=tokens.SECRET,
    levels=AFTER_DEV,
    upstream=Upstream(checkov=("CKV_AWS_149",)),
    url=f"{_GUIDE}/security-encryption.html",
)
def secrets_have_a_customer_key(secret: Resource) -> Found:
    if not secret.props.has("kmsKeyId"):
        yield "kmsKeyId is not set, so the key is the one that AWS manages"


@stack_rule(
    "GH-SM-002",
    title="Every secret rotates",
    why="A secret that leaked unnoticed ends with its next rotation; one that nobody rotates works for ever.",
    remedy="give the secret an aws.secretsmanager.SecretRotation",
    severity=Severity.MEDIUM,
    types=tokens.SECRET,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("SecretsManager.1",),
        checkov=("CKV2_AWS_57",),
        prowler=("secretsmanager_automatic_rotation_enabled",),
        cdk_nag=("SMG4",),
    ),
    url=f"{_GUIDE}/rotating-secrets.html",
)
def secrets_rotate(secret: Resource, stack: Stack) -> Found:
    if not stack.users(secret, tokens.SECRET_ROTATION, "secretId"):
        yield "no rotation belongs to this secret"


@resource_rule(
    "GH-SM-003",
    title="Secrets rotate often enough",
    why="The time between two rotations is the longest that a stolen value stays useful.",
    remedy="set rotationRules.automaticallyAfterDays to the days that this environment allows, or less",
    severity=Severity.MEDIUM,
    types=tokens.SECRET_ROTATION,
    levels=AFTER_DEV,
    settings={"days_max": {"dev": 90, "staging": 90, "prod": 30}},
    upstream=Upstream(
        security_hub=("SecretsManager.4",),
        checkov=("CKV_AWS_304",),
        prowler=("secretsmanager_secret_rotated_periodically",),
    ),
    url=f"{_GUIDE}/rotate-secrets_schedule.html",
)
def rotation_is_frequent(rotation: Resource) -> Found:
    rules = rotation.props.block("rotationRules")
    days = rules.number("automaticallyAfterDays")
    if rate := re.fullmatch(r"rate\((\d+) (hour|day)s?\)", rules.text("scheduleExpression")):
        days = int(rate[1]) / (24 if rate[2] == "hour" else 1)
    elif rules.has("scheduleExpression"):
        return  # A cron expression has a month at most between two days unless it names months; that is left to review.
    days_max = rotation.settings["days_max"]
    if not days:
        yield "rotationRules name neither automaticallyAfterDays nor a scheduleExpression"
    elif days > days_max:
        yield f"the secret rotates less often than every {days_max:g} days"


@resource_rule(
    "GH-SM-004",
    title="No resource policy opens a secret to strangers",
    why="A secret's resource policy can give its value to anyone; blockPublicPolicy lets AWS refuse that as well.",
    remedy="name the principals and set blockPublicPolicy=True",
    severity=Severity.CRITICAL,
    types=tokens.SECRET_POLICY + tokens.SECRET,
    levels=ALWAYS,
    exemptible=False,
    upstream=Upstream(
        cis=("2.21",),
        prowler=("secretsmanager_not_publicly_accessible", "secretsmanager_has_restrictive_resource_policy"),
    ),
    url=f"{_GUIDE}/auth-and-access_resource-policies.html",
)
def secrets_are_not_public(holder: Resource) -> Found:
    if holder.type in tokens.SECRET_POLICY and not holder.props.flag("blockPublicPolicy"):
        yield "blockPublicPolicy is not true"
    if not holder.props.has("policy"):
        return
    document = iam_document.parse(holder.props.value("policy"))
    if iam_document.allows_public(document):
        yield 'the resource policy allows to anyone ("*") without a condition that ties the request to somebody known'
    if iam_document.has_account_principals(document):
        for account in iam_document.foreign_accounts(document, holder.own_accounts()):
            yield (f"the resource policy allows to account {account}, which is not one of the provider's allowedAccountIds")


@resource_rule(
    "GH-SM-005",
    title="A deleted secret can be brought back",
    why="Without a recovery window a deleted secret is gone at once, and with it whatever it opened.",
    remedy="leave recoveryWindowInDays out (30 days) or set it to the days that this environment asks for",
    severity=Severity.MEDIUM,
    types=tokens.SECRET,
    levels=AFTER_DEV,
    pack="resilience",
    settings={"days_min": {"dev": 7, "staging": 7, "prod": 30}},
    url=f"{_GUIDE}/manage_delete-secret.html",
)
def deleted_secrets_come_back(secret: Resource) -> Found:
    days_min = secret.settings["days_min"]
    if secret.props.number("recoveryWindowInDays", 30) < days_min:
        yield f"recoveryWindowInDays is below {days_min:g}"


@resource_rule(
    "GH-SM-006",
    title="No secret value is in the program",
    why="A value that passes through the program stays in its state and history, write-only arguments included.",
    remedy="remove the value: let RDS manage it, or let the secret's rotation function create it",
    severity=Severity.CRITICAL,
    types=tokens.SECRET_VERSION,
    levels=ALWAYS,
    exemptible=False,
    url="https://www.pulumi.com/docs/iac/concepts/secrets/",
)
def no_value_is_in_the_program(version: Resource) -> Found:
    for name in ("secretString", "secretBinary", "secretStringWo"):
        if version.props.has(name):
            yield f"{name} is set by the program"
