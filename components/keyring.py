"""The KMS keys of a stack, one for each class of data, and who may use each of them for what."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.document import Document, Statement, allow, document, render
from components.naming import Naming
from components.props import props
from components.sections import Keep, Keys
from components.tags import DataClass, tags

CLASSES: Mapping[str, tuple[DataClass, str]] = {
    "data": ("confidential", "database, cache, tokens, files and images"),
    "secrets": ("secret", "secrets and the settings of the function that rotates them"),
    "logs": ("log", "logs, audit trail and alarms"),
}
"""Name of the key, class of what it protects, and that in words."""

SERVICES: Mapping[str, tuple[str, ...]] = {
    "data": ("rds", "dynamodb", "elasticache", "ecr", "s3"),
    "secrets": ("secretsmanager", "rds", "lambda"),
    "logs": ("cloudtrail", "s3", "sns"),
}
"""The services through which the account may use a key. Nobody uses one directly."""

USE = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")

ADMINISTER = (
    *(
        "kms:CreateAlias",
        "kms:DeleteAlias",
        "kms:UpdateAlias",
        "kms:DescribeKey",
        "kms:GetKeyPolicy",
        "kms:GetKeyRotationStatus",
    ),
    *("kms:PutKeyPolicy", "kms:EnableKey", "kms:DisableKey", "kms:EnableKeyRotation", "kms:DisableKeyRotation"),
    *(
        "kms:UpdateKeyDescription",
        "kms:TagResource",
        "kms:UntagResource",
        "kms:ListResourceTags",
        "kms:ListKeyPolicies",
    ),
    *("kms:ListGrants", "kms:RevokeGrant", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion"),
)


@dataclass(frozen=True)
class KeyringArgs:
    """What the keys are told.

    names: the stack's names.
    keys: rotation period and deletion window, in days.
    keep: whether deletion is refused.
    readers: ARN pattern of a secret to the names (Naming.name's `thing`) of the roles that receive it decrypted.
    token_users: names of the roles that read or write the tokens table.
    rotator: name of the role that makes and rotates secrets.
    log_groups: full names of the log groups that the `logs` key encrypts.
    roles: the ARNs of those roles, as created: KMS refuses a policy that names a role which does not exist yet.
    """

    names: Naming
    keys: Keys
    keep: Keep
    readers: Mapping[str, tuple[str, ...]]
    token_users: tuple[str, ...]
    rotator: str
    log_groups: tuple[str, ...]
    roles: Mapping[str, pulumi.Input[str]]


class Keyring(pulumi.ComponentResource):
    """Three customer-managed keys with rotation, alias and a policy that names every user.

    Why: a copied disk, snapshot or log is useless without the key, and the key's policy is the one list of who may open
    what; no identity policy grants anything on a key. Cost: 1 USD a key and month, plus 0.03 USD for 10,000 uses.
    Controls: GH-KMS-001 to GH-KMS-006, GH-KMS-008.
    """

    data_arn: pulumi.Output[str]
    secrets_arn: pulumi.Output[str]
    logs_arn: pulumi.Output[str]

    def __init__(self, name: str, args: KeyringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:keyring:Keyring", name, props(args), opts)
        arns = {key: self._key(key, args) for key in CLASSES}
        self.data_arn, self.secrets_arn, self.logs_arn = arns["data"], arns["secrets"], arns["logs"]
        self.register_outputs({"dataArn": self.data_arn, "secretsArn": self.secrets_arn, "logsArn": self.logs_arn})

    def _key(self, key_class: str, args: KeyringArgs) -> pulumi.Output[str]:
        data_class, words = CLASSES[key_class]
        key = aws.kms.Key(
            key_class,
            description=f"Gatehouse {args.names.environment}: {words}",
            enable_key_rotation=True,
            rotation_period_in_days=args.keys.rotation_days,
            deletion_window_in_days=args.keys.deletion_window_days,
            policy=render(key_policy(key_class, args)),
            tags=tags(data_class),
            # The inputs of this component carry the roles, so the keys wait for them.
            opts=pulumi.ResourceOptions(parent=self, protect=args.keep.protect, retain_on_delete=args.keep.retain),
        )
        aws.kms.Alias(
            key_class,
            name=args.names.alias(key_class),
            target_key_id=key.key_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return key.arn


def key_policy(key_class: str, args: KeyringArgs) -> Document:
    """The policy of one key: administration, use through services, and the class's own users. Source: KMS developer
    guide, "Key policies"."""
    own = {"data": _data_users, "secrets": _secret_users, "logs": _log_users}[key_class]
    return document(*_account(key_class, args.names), *own(args))


def _account(key_class: str, names: Naming) -> list[Statement]:
    """Administration and use are apart; both still need an IAM policy of the account, for the principal is the
    account."""
    services = [f"{service}.{names.region}.amazonaws.com" for service in SERVICES[key_class]]
    return [
        allow("AccountAdministers", ADMINISTER, ["*"], principal={"AWS": names.root_arn}),
        allow(
            "AccountUsesThroughServices",
            USE,
            ["*"],
            principal={"AWS": names.root_arn},
            conditions={"StringEquals": {"kms:CallerAccount": names.account, "kms:ViaService": services}},
        ),
        allow(
            "ServicesKeepGrants",
            ["kms:CreateGrant"],
            ["*"],
            principal={"AWS": names.root_arn},
            conditions={
                "Bool": {"kms:GrantIsForAWSResource": "true"},
                "StringEquals": {"kms:CallerAccount": names.account},
            },
        ),
    ]


def _data_users(args: KeyringArgs) -> list[Statement]:
    names = args.names
    return [
        allow(
            "TokensTable",
            ["kms:Decrypt"],
            ["*"],
            principal={"AWS": [names.role_arn(role) for role in args.token_users]},
            conditions={
                "StringEquals": {
                    "kms:CallerAccount": names.account,
                    "kms:ViaService": f"dynamodb.{names.region}.amazonaws.com",
                    "kms:EncryptionContext:aws:dynamodb:tableName": names.name("tokens"),
                    "kms:EncryptionContext:aws:dynamodb:subscriberId": names.account,
                }
            },
        )
    ]


def _secret_users(args: KeyringArgs) -> list[Statement]:
    names = args.names
    through = {"kms:CallerAccount": names.account, "kms:ViaService": f"secretsmanager.{names.region}.amazonaws.com"}
    reading = [
        allow(
            f"ReadSecret{number}",
            ["kms:Decrypt"],
            ["*"],
            principal={"AWS": [names.role_arn(role) for role in roles]},
            conditions={
                "StringEquals": through,
                "StringLike": {"kms:EncryptionContext:SecretARN": secret},
            },
        )
        for number, (secret, roles) in enumerate(args.readers.items(), start=1)
    ]
    rotating = allow(
        "Rotate",
        ["kms:Decrypt", "kms:GenerateDataKey"],
        ["*"],
        principal={"AWS": names.role_arn(args.rotator)},
        conditions={"StringEquals": through, "StringLike": {"kms:EncryptionContext:SecretARN": names.secret_arn("*")}},
    )
    starting = allow(
        "RotateReadsItsSettings",
        ["kms:Decrypt"],
        ["*"],
        principal={"AWS": names.role_arn(args.rotator)},
        conditions={
            "StringEquals": {
                "kms:CallerAccount": names.account,
                "kms:EncryptionContext:aws:lambda:FunctionArn": names.arn("lambda", f"function:{names.name(args.rotator)}"),
            }
        },
    )
    return [*reading, rotating, starting]


def _log_users(args: KeyringArgs) -> list[Statement]:
    names = args.names
    trail = names.arn("cloudtrail", f"trail/{names.name('trail')}")
    return [
        allow(
            "LogGroups",
            ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
            ["*"],
            principal={"Service": f"logs.{names.region}.amazonaws.com"},
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": [names.log_group_arn(g) for g in args.log_groups]}},
        ),
        allow(
            "Trail",
            ["kms:GenerateDataKey*"],
            ["*"],
            principal={"Service": "cloudtrail.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceArn": trail},
                "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": f"arn:aws:cloudtrail:*:{names.account}:trail/*"},
            },
        ),
        allow(
            "TrailLooksUpKey",
            ["kms:DescribeKey"],
            ["*"],
            principal={"Service": "cloudtrail.amazonaws.com"},
            conditions={"StringEquals": {"aws:SourceArn": trail}},
        ),
        allow(
            "AlarmsPublish",
            ["kms:Decrypt", "kms:GenerateDataKey*"],
            ["*"],
            principal={"Service": "cloudwatch.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": names.arn("cloudwatch", f"alarm:{names.name('*')}")},
            },
        ),
        allow(
            "EventsPublish",
            ["kms:Decrypt", "kms:GenerateDataKey*"],
            ["*"],
            principal={"Service": "events.amazonaws.com"},
            conditions={"ArnLike": {"aws:SourceArn": names.arn("events", f"rule/{names.name('*')}")}},
        ),
    ]
