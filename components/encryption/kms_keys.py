"""The KMS keys of a stack, one for each class of data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components.component import Component, RegionKey, StackArgs
from components.iam.documents import Document, render
from components.iam.key_policies import (
    KeyUsers,
    key_policy,
    recovery_policy,
    replica_policy,
    service_key_policy,
)
from components.naming import DataClass, tags
from components.settings.data import KmsKeysSettings, ProtectionSettings

KEYS: Mapping[str, tuple[DataClass, str]] = {
    "data": ("confidential", "database, cache, secret links, files and images"),
    "secrets": ("secret", "secrets, and the environment of the rotation function"),
    "logs": ("log", "logs, CloudTrail files and alarm topics"),
    "backup": ("confidential", "backups and replicas"),
    "sharing": ("secret", "content keys of secrets"),
    "audit": ("log", "signatures of audit checkpoints"),
}
"""Data class of each key, and description of the data that the key protects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsKeysArgs(KeyUsers):
    """Arguments of `KmsKeys`, in addition to those of `KeyUsers`.

    kms_keys: Rotation period and deletion window, in days.
    existing: ARNs of keys that exist already, keyed by the name of the key.
    protection: Deletion protection of the keys.
    role_arns: ARNs of the stack's roles. KMS rejects a policy that names a role which does not
        exist yet.
    """

    kms_keys: KmsKeysSettings
    protection: ProtectionSettings
    role_arns: Mapping[str, pulumi.Input[str]]
    existing: Mapping[str, str] = field(default_factory=dict)


class KmsKeys(Component):
    """Customer managed keys with rotation, an alias and a key policy that names every user, and one
    asymmetric key for signatures.

    Why: Copies of disks, snapshots and logs are unreadable without the key. The key policy is the
    single list of principals that can decrypt: no identity policy of the stack grants access to its
    keys.
    Cost: 1 USD per key and month, 0.03 USD per 10,000 requests, 0.15 USD per 10,000 signatures.
    Controls: GH-KMS-001 to GH-KMS-006, GH-KMS-008, GH-KMS-009.
    """

    required_statements: dict[str, Document]
    """Policy documents whose statements the policies of existing keys must contain, keyed by the
    name of the key.
    """
    replica_arn: pulumi.Output[str] | None
    """Replica of the backup key in `replica_region`, if one is set."""
    recovery: RegionKey | None
    """Key for the replica of the pepper in `recovery_region`, if one is set."""

    def __init__(
        self, name: str, args: KmsKeysArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gatehouse:encryption:KmsKeys", name, args, opts)
        # The inputs of the component contain `role_arns`, so the keys are created after the roles.
        protected = self.protected(args.protection)
        keys = {key: self._key(key, args, protected) for key in KEYS if key not in args.existing}
        arns = {key: pulumi.Output.from_input(arn) for key, arn in args.existing.items()}
        arns |= {name: key.arn for name, key in keys.items()}
        self.data_arn, self.secrets_arn, self.logs_arn = arns["data"], arns["secrets"], arns["logs"]
        self.backup_arn = arns["backup"]
        self.required_statements = {key: key_policy(key, args) for key in args.existing}
        for key, arn in args.existing.items():
            aws.kms.Alias(key, name=args.names.alias(key), target_key_id=arn, opts=self.child)
        self.replica_arn = (
            self._replica(keys["backup"], args, protected) if args.replica_region else None
        )
        self.recovery = self._recovery(args, protected) if args.recovery_region else None
        self.register_outputs(
            {f"{name}Arn": arn for name, arn in arns.items()} | {"replicaArn": self.replica_arn}
        )

    def _key(self, name: str, args: KmsKeysArgs, opts: pulumi.ResourceOptions) -> aws.kms.Key:
        data_class, description = KEYS[name]
        asymmetric = name == "audit"
        key = aws.kms.Key(
            name,
            description=f"Gatehouse {args.names.stack}: {description}",
            # KMS does not rotate asymmetric keys: earlier signatures must remain verifiable.
            key_usage="SIGN_VERIFY" if asymmetric else None,
            customer_master_key_spec="ECC_NIST_P256" if asymmetric else None,
            enable_key_rotation=None if asymmetric else True,
            rotation_period_in_days=None if asymmetric else args.kms_keys.rotation_days,
            multi_region=True if name == "backup" and args.replica_region else None,
            deletion_window_in_days=args.kms_keys.deletion_window_days,
            policy=render(key_policy(name, args)),
            tags=tags(data_class),
            opts=opts,
        )
        aws.kms.Alias(name, name=args.names.alias(name), target_key_id=key.id, opts=self.child)
        return key

    def _replica(
        self, key: aws.kms.Key, args: KmsKeysArgs, opts: pulumi.ResourceOptions
    ) -> pulumi.Output[str]:
        """Create a replica with the same key material, so that copies remain readable if the first
        region fails.
        """
        data_class, description = KEYS["backup"]
        replica = aws.kms.ReplicaKey(
            "backup",
            region=args.replica_region,
            primary_key_arn=key.arn,
            description=f"Gatehouse {args.names.stack}: {description}, second region",
            deletion_window_in_days=args.kms_keys.deletion_window_days,
            policy=render(replica_policy(args)),
            tags=tags(data_class),
            opts=opts,
        )
        aws.kms.Alias(
            "replica",
            name=args.names.alias("backup"),
            region=args.replica_region,
            target_key_id=replica.id,
            opts=self.child,
        )
        return replica.arn

    def _recovery(self, args: KmsKeysArgs, opts: pulumi.ResourceOptions) -> RegionKey:
        """Create a key of the other region. It is not a replica of the key for secrets, because
        Secrets Manager decrypts a value in the first region and encrypts it again. The other
        secrets cannot be decrypted with it."""
        key = aws.kms.Key(
            "recovery",
            region=args.recovery_region,
            description=f"Gatehouse {args.names.stack}: replica of the pepper",
            enable_key_rotation=True,
            rotation_period_in_days=args.kms_keys.rotation_days,
            deletion_window_in_days=args.kms_keys.deletion_window_days,
            policy=render(recovery_policy(args)),
            tags=tags("secret"),
            opts=opts,
        )
        aws.kms.Alias(
            "recovery",
            name=args.names.alias("secrets"),
            region=args.recovery_region,
            target_key_id=key.id,
            opts=self.child,
        )
        return RegionKey(args.recovery_region, key.arn)


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsKeyArgs(StackArgs):
    """Arguments of `KmsKey`.

    alias: Name of the key in its alias, gatehouse-<stack>-<alias>.
    description: Data that the key protects.
    services: Services through which principals of the account may use the key, such as s3. With
        logs, the key also encrypts the log groups /gatehouse/<stack>/*.
    data_class: Value of the tag DataClass.
    kms_keys: Rotation period and deletion window, in days.
    protection: Deletion protection of the key.
    """

    alias: str
    description: str
    services: tuple[str, ...]
    data_class: DataClass = "confidential"
    kms_keys: KmsKeysSettings
    protection: ProtectionSettings


class KmsKey(Component):
    """A customer managed key with rotation and an alias, which principals of the account use
    through the listed services only.

    Why: A key without this condition decrypts copies of the data outside the services.
    Cost: 1 USD a month, 0.03 USD per 10,000 requests. Controls: GH-KMS-001 to GH-KMS-006.
    """

    arn: pulumi.Output[str]
    """ARN of the key."""

    def __init__(
        self, name: str, args: KmsKeyArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gatehouse:encryption:KmsKey", name, args, opts)
        key = aws.kms.Key(
            name,
            description=args.description,
            enable_key_rotation=True,
            rotation_period_in_days=args.kms_keys.rotation_days,
            deletion_window_in_days=args.kms_keys.deletion_window_days,
            policy=render(service_key_policy(args.names, args.services)),
            tags=tags(args.data_class),
            opts=self.protected(args.protection),
        )
        aws.kms.Alias(
            name, name=args.names.alias(args.alias), target_key_id=key.id, opts=self.child
        )
        self.arn = key.arn
        self.register_outputs({"arn": self.arn})
