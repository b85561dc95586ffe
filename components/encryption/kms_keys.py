"""The KMS keys of a stack, one for each class of data, and who may use each of them for what."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.documents import Document, Statement, allow, document, render
from components.naming import Naming
from components.settings.data import KmsKeysSettings, ProtectionSettings
from components.tags import DataClass, tags

CLASSES: Mapping[str, tuple[DataClass, str]] = {
    "data": ("confidential", "database, cache, tokens, files and images"),
    "secrets": ("secret", "secrets and the settings of the function that rotates them"),
    "logs": ("log", "logs, audit trail and alarms"),
    "backup": ("confidential", "backups and copies"),
    "audit": ("log", "signatures under checkpoints of the audit chain"),
}
"""Name of the key, class of what it protects, and that in words."""

SERVICES: Mapping[str, tuple[str, ...]] = {
    "data": ("rds", "dynamodb", "elasticache", "ecr", "s3"),
    "secrets": ("secretsmanager", "rds", "lambda", "sqs"),
    "logs": ("cloudtrail", "s3", "sns"),
    "backup": ("backup", "rds", "dynamodb", "s3"),
}
"""The services through which the account may use a key. Nobody encrypts or decrypts with one directly."""

SIGNATURE = "ECDSA_SHA_256"
"""How the audit key signs; its curve is NIST P-256, so anyone can check a signature with the public key alone."""

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


@dataclass(frozen=True, kw_only=True)
class KmsKeysArgs:
    """What the keys are told.

    names: the stack's names.
    keys: rotation period and deletion window, in days.
    protection: whether deletion is refused.
    secret_readers: ARN pattern of a secret to the names (Naming.name's `thing`) of the roles that receive it decrypted.
    table_roles: names of the roles that read or write the tokens table.
    rotation_role: name of the role that makes and rotates secrets.
    log_groups: full names of the log groups that the `logs` key encrypts.
    role_arns: the ARNs of those roles, as created: KMS refuses a policy that names a role which does not exist yet.
    signing_roles: names of the roles that may sign with the audit key.
    additional_statements: statements for further users of a key, by its name, and under `away` for the replica.
    replica_region: the region in which the backup key has a replica, for the copies there; "" is none.
    """

    names: Naming
    kms_keys: KmsKeysSettings
    protection: ProtectionSettings
    secret_readers: Mapping[str, tuple[str, ...]]
    table_roles: tuple[str, ...]
    rotation_role: str
    log_groups: tuple[str, ...]
    role_arns: Mapping[str, pulumi.Input[str]]
    signing_roles: tuple[str, ...] = ()
    additional_statements: Mapping[str, tuple[Statement, ...]] = field(default_factory=dict)
    replica_region: str = ""


class KmsKeys(pulumi.ComponentResource):
    """Customer-managed keys, one for each class of data, with rotation, alias and a policy that names every user; and
    a pair of keys that signs.

    Why: a copied disk, snapshot or log is useless without the key, and the key's policy is the one list of who may open
    what; no identity policy grants anything on a key. Cost: 1 USD a key and month, plus 0.03 USD for 10,000 uses and
    0.15 USD for 10,000 signatures. Controls: GH-KMS-001 to GH-KMS-006, GH-KMS-008, GH-KMS-009.
    """

    data_arn: pulumi.Output[str]
    secrets_arn: pulumi.Output[str]
    logs_arn: pulumi.Output[str]
    backup_arn: pulumi.Output[str]
    audit_arn: pulumi.Output[str]
    replica_arn: pulumi.Output[str] | None
    """The backup key's replica in the other region, if copies go there."""

    def __init__(self, name: str, args: KmsKeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:encryption:KmsKeys", name, component_inputs(args), opts)
        keys = {key: self._key(key, args) for key in CLASSES}
        self.data_arn, self.secrets_arn, self.logs_arn = keys["data"].arn, keys["secrets"].arn, keys["logs"].arn
        self.backup_arn, self.audit_arn = keys["backup"].arn, keys["audit"].arn
        self.replica_arn = self._replica(keys["backup"], args) if args.replica_region else None
        self.register_outputs({f"{key}Arn": made.arn for key, made in keys.items()} | {"replicaArn": self.replica_arn})

    def _key(self, key_class: str, args: KmsKeysArgs) -> aws.kms.Key:
        data_class, words = CLASSES[key_class]
        signs = key_class == "audit"
        key = aws.kms.Key(
            key_class,
            description=f"Gatehouse {args.names.environment}: {words}",
            # KMS makes no new material for a key that signs: old signatures must stay valid.
            key_usage="SIGN_VERIFY" if signs else None,
            customer_master_key_spec="ECC_NIST_P256" if signs else None,
            enable_key_rotation=None if signs else True,
            rotation_period_in_days=None if signs else args.kms_keys.rotation_days,
            multi_region=True if key_class == "backup" and args.replica_region else None,
            deletion_window_in_days=args.kms_keys.deletion_window_days,
            policy=render(key_policy(key_class, args)),
            tags=tags(data_class),
            # The inputs of this component carry the roles, so the keys wait for them.
            opts=self._keep(args),
        )
        aws.kms.Alias(
            key_class,
            name=args.names.alias(key_class),
            target_key_id=key.id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return key

    def _replica(self, key: aws.kms.Key, args: KmsKeysArgs) -> pulumi.Output[str]:
        """The same key material in the other region: what is copied there opens even when this region is gone."""
        data_class, words = CLASSES["backup"]
        replica = aws.kms.ReplicaKey(
            "backup",
            region=args.replica_region,
            primary_key_arn=key.arn,
            description=f"Gatehouse {args.names.environment}: {words}, second region",
            deletion_window_in_days=args.kms_keys.deletion_window_days,
            policy=render(replica_policy(args)),
            tags=tags(data_class),
            opts=self._keep(args),
        )
        aws.kms.Alias(
            "away",
            name=args.names.alias("backup"),
            region=args.replica_region,
            target_key_id=replica.id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return replica.arn

    def _keep(self, args: KmsKeysArgs) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=self, protect=args.protection.protect, retain_on_delete=args.protection.retain_on_delete
        )


def key_policy(key_class: str, args: KmsKeysArgs) -> Document:
    """The policy of one key: administration, use through services, and the class's own users. Source: KMS developer
    guide, "Key policies"."""
    if key_class == "audit":
        return document(_administration(args.names), *_signers(args))
    own = {"data": _data_users, "secrets": _secret_users, "logs": _log_users}.get(key_class)
    copied = _replication(args) if key_class == "backup" and args.replica_region else ()
    return document(
        *_account(key_class, args.names), *copied, *(own(args) if own else ()), *args.additional_statements.get(key_class, ())
    )


def replica_policy(args: KmsKeysArgs) -> Document:
    """The policy of the backup key's replica: the same account and services, in the other region."""
    return document(
        *_account("backup", replace(args.names, region=args.replica_region)), *args.additional_statements.get("away", ())
    )


def _administration(names: Naming) -> Statement:
    return allow("AccountAdministers", ADMINISTER, ["*"], principal={"AWS": names.root_arn})


def _replication(args: KmsKeysArgs) -> tuple[Statement, ...]:
    """Whoever deploys makes the replica, in one region alone (KMS developer guide, "Create multi-Region replica keys": the
    primary's key policy must allow it)."""
    return (
        allow(
            "AccountReplicates",
            ["kms:ReplicateKey"],
            ["*"],
            principal={"AWS": args.names.root_arn},
            conditions={"StringEquals": {"kms:CallerAccount": args.names.account, "kms:ReplicaRegion": args.replica_region}},
        ),
    )


def _signers(args: KmsKeysArgs) -> list[Statement]:
    """Exact roles sign, in one way; everybody of the account may be allowed to check."""
    caller = {"kms:CallerAccount": args.names.account}
    return [
        allow(
            "SignCheckpoints",
            ["kms:Sign"],
            ["*"],
            principal={"AWS": [args.names.role_arn(role) for role in args.signing_roles]},
            conditions={"StringEquals": {**caller, "kms:SigningAlgorithm": SIGNATURE}},
        ),
        allow(
            "SignersKnowTheKey",
            ["kms:GetPublicKey"],
            ["*"],
            principal={"AWS": [args.names.role_arn(role) for role in args.signing_roles]},
            conditions={"StringEquals": caller},
        ),
        allow(
            "CheckSignatures",
            ["kms:GetPublicKey", "kms:Verify"],
            ["*"],
            principal={"AWS": args.names.root_arn},
            conditions={"StringEquals": caller},
        ),
    ]


def _account(key_class: str, names: Naming) -> list[Statement]:
    """Administration and use are apart; both still need an IAM policy of the account, for the principal is the
    account."""
    services = [f"{service}.{names.region}.amazonaws.com" for service in SERVICES[key_class]]
    return [
        _administration(names),
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


def _data_users(args: KmsKeysArgs) -> list[Statement]:
    names = args.names
    return [
        allow(
            "TokensTable",
            ["kms:Decrypt"],
            ["*"],
            principal={"AWS": [names.role_arn(role) for role in args.table_roles]},
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


def _secret_users(args: KmsKeysArgs) -> list[Statement]:
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
        for number, (secret, roles) in enumerate(args.secret_readers.items(), start=1)
    ]
    rotating = allow(
        "Rotate",
        ["kms:Decrypt", "kms:GenerateDataKey"],
        ["*"],
        principal={"AWS": names.role_arn(args.rotation_role)},
        conditions={"StringEquals": through, "StringLike": {"kms:EncryptionContext:SecretARN": names.secret_arn("*")}},
    )
    starting = allow(
        "RotateReadsItsSettings",
        ["kms:Decrypt"],
        ["*"],
        principal={"AWS": names.role_arn(args.rotation_role)},
        conditions={
            "StringEquals": {
                "kms:CallerAccount": names.account,
                "kms:EncryptionContext:aws:lambda:FunctionArn": names.arn("lambda", f"function:{names.name(args.rotation_role)}"),
            }
        },
    )
    failing = allow(
        "RotateKeepsFailedCalls",
        ["kms:Decrypt", "kms:GenerateDataKey"],
        ["*"],
        principal={"AWS": names.role_arn(args.rotation_role)},
        conditions={"StringEquals": {"kms:CallerAccount": names.account, "kms:ViaService": f"sqs.{names.region}.amazonaws.com"}},
    )
    return [*reading, rotating, starting, failing]


def _log_users(args: KmsKeysArgs) -> list[Statement]:
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
