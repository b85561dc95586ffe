"""The KMS keys of a stack, one for each class of data."""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from components.component import RegionKey, StackComponent
from components.context import Stack
from components.iam.documents import document, render
from components.iam.key_policies import (
    KeyStatements,
    administration,
    key_policy,
    recovery_policy,
    replica_policy,
)
from components.iam.resource_policies import topic_key_statement
from components.iam.role_policies import ROTATION_FUNCTION
from components.naming import DataClass, Naming, tags

KEYS: Mapping[str, tuple[DataClass, str]] = {
    "data": ("confidential", "database, cache, secret links, files and images"),
    "secrets": ("secret", "secrets, and the environment of the rotation function"),
    "logs": ("log", "logs and CloudTrail files"),
    "alarms": ("internal", "topics for alarms and notices"),
    "backup": ("confidential", "backups and replicas"),
    "sharing": ("secret", "content keys of secrets"),
    "audit": ("log", "signatures of audit checkpoints"),
}
"""Data class of each key, and description of the data that the key protects."""
ROTATION_DAYS, DELETION_DAYS = 365, 30
"""Days between automatic rotations of the key material, and between the request to delete a key and
its deletion. Earlier key material remains available for decryption."""


def topic_key(
    component: StackComponent, name: str, names: Naming, topics: Sequence[str], *, region: str
) -> aws.kms.Key:
    """Create the key of topics for alarms in another region."""
    statement = topic_key_statement(names, topics)
    key = aws.kms.Key(
        name,
        region=region,
        description=f"Gatehouse {names.stack}: {KEYS['alarms'][1]}, second region",
        enable_key_rotation=True,
        rotation_period_in_days=ROTATION_DAYS,
        deletion_window_in_days=DELETION_DAYS,
        policy=render(document(administration(names), statement)),
        tags=tags("internal"),
        opts=component.protected(),
    )
    aws.kms.Alias(
        name, name=names.alias("alarms"), region=region, target_key_id=key.id, opts=component.child
    )
    return key


class KmsKeys(StackComponent):
    """Customer managed keys with rotation, an alias and a key policy that names every user, and one
    asymmetric key for signatures.

    Why: Copies of disks, snapshots and logs are unreadable without the key. The key policy is the
    single list of principals that can decrypt: no identity policy of the stack grants access to its
    keys.
    """

    replica_arn: pulumi.Output[str] | None
    """Replica of the backup key in the second region, if the stack has one."""
    recovery: RegionKey | None
    """Key for the replica of the pepper in the second region, if the stack has one."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        statements: KeyStatements,
        role_arns: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        # KMS rejects a policy that names a role which does not exist yet.
        inputs = {"roleArns": role_arns}
        super().__init__(name, stack, opts, inputs)
        keys = {key: self._key(key, statements) for key in KEYS}
        self.arns = arns = {name: key.arn for name, key in keys.items()}
        self.data_arn, self.secrets_arn, self.logs_arn = arns["data"], arns["secrets"], arns["logs"]
        self.backup_arn, self.alarms_arn = arns["backup"], arns["alarms"]
        self.replica_arn = (
            self._replica(keys["backup"], statements) if self.settings.replica_region else None
        )
        self.recovery = self._recovery() if self.settings.recovery_region else None
        self.register_outputs({})

    def _key(self, name: str, statements: KeyStatements) -> aws.kms.Key:
        data_class, description = KEYS[name]
        asymmetric = name == "audit"
        key = aws.kms.Key(
            name,
            description=f"Gatehouse {self.names.stack}: {description}",
            # KMS does not rotate asymmetric keys: earlier signatures must remain verifiable.
            key_usage="SIGN_VERIFY" if asymmetric else None,
            customer_master_key_spec="ECC_NIST_P256" if asymmetric else None,
            enable_key_rotation=None if asymmetric else True,
            rotation_period_in_days=None if asymmetric else ROTATION_DAYS,
            multi_region=True if name == "backup" and self.settings.replica_region else None,
            deletion_window_in_days=DELETION_DAYS,
            policy=render(key_policy(name, self.stack, statements)),
            tags=tags(data_class),
            opts=self.protected(),
        )
        aws.kms.Alias(name, name=self.names.alias(name), target_key_id=key.id, opts=self.child)
        return key

    def _replica(self, key: aws.kms.Key, statements: KeyStatements) -> pulumi.Output[str]:
        """Create a replica with the same key material, so that copies remain readable if the first
        region fails.
        """
        data_class, description = KEYS["backup"]
        replica = aws.kms.ReplicaKey(
            "backup",
            region=self.settings.replica_region,
            primary_key_arn=key.arn,
            description=f"Gatehouse {self.names.stack}: {description}, second region",
            deletion_window_in_days=DELETION_DAYS,
            policy=render(replica_policy(self.stack, statements)),
            tags=tags(data_class),
            opts=self.protected(),
        )
        aws.kms.Alias(
            "replica",
            name=self.names.alias("backup"),
            region=self.settings.replica_region,
            target_key_id=replica.id,
            opts=self.child,
        )
        return replica.arn

    def _recovery(self) -> RegionKey:
        """Create a key of the other region. It is not a replica of the key for secrets, because
        Secrets Manager decrypts a value in the first region and encrypts it again. The other
        secrets cannot be decrypted with it."""
        key = aws.kms.Key(
            "recovery",
            region=self.settings.recovery_region,
            description=f"Gatehouse {self.names.stack}: replica of the pepper",
            enable_key_rotation=True,
            rotation_period_in_days=ROTATION_DAYS,
            deletion_window_in_days=DELETION_DAYS,
            policy=render(recovery_policy(self.stack, ROTATION_FUNCTION)),
            tags=tags("secret"),
            opts=self.protected(),
        )
        aws.kms.Alias(
            "recovery",
            name=self.names.alias("secrets"),
            region=self.settings.recovery_region,
            target_key_id=key.id,
            opts=self.child,
        )
        return RegionKey(self.settings.recovery_region, key.arn)
