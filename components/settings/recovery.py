"""Settings of the recovery in another region."""

from typing import Annotated

from components.settings.fields import ARN, STACK_NAME, STACK_NAME_WORDS, Section, optional
from components.settings.operations import KMS_KEY


class RestoreSettings(Section):
    """Creates the stack from the data that another stack keeps in `region`. The stack output
    `recovery` of the other stack contains these settings. Set all of them before the first
    deployment and keep them, because RDS can change neither the source nor the KMS key of a
    database."""

    stack: Annotated[str | None, optional(STACK_NAME, STACK_NAME_WORDS)] = None
    """Name of the other stack. The rotation function copies the pepper from the replica of that
    stack's secret, and the DNS records of this stack replace those of the other stack. If empty,
    the stack is created without data."""
    database_backups_arn: Annotated[
        str | None,
        optional(
            rf"{ARN}:rds:[a-z0-9-]+:\d{{12}}:auto-backup:ab-[a-z0-9]+",
            "the ARN of replicated automated backups of RDS",
        ),
    ] = None
    """Automated backups from which the database is restored, to the latest restorable time."""
    database_key_arn: Annotated[str | None, KMS_KEY] = None
    """KMS key of these backups, which is also the key of the restored database."""
    secrets_key_arn: Annotated[str | None, KMS_KEY] = None
    """KMS key of the replica of the pepper."""


class RecoverySettings(Section):
    """Recovery from the loss of a region (docs/runbooks/recovery.md, "Recover in the second
    region").
    """

    stack: Annotated[str | None, optional(STACK_NAME, STACK_NAME_WORDS)] = None
    """Name of the stack that replaces this stack in `second_region` if `region` is lost. If set,
    this stack keeps there a replica of the pepper, which only the rotation function of the named
    stack can read, and the automated backups of the database. If empty, the pepper is lost with the
    region, and every API key must be issued again."""
    restore: RestoreSettings
