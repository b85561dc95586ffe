"""Permissions to sign audit checkpoints and to archive them in the locked trail bucket."""

from collections.abc import Iterator

from components.contract import Contract, Process
from components.iam.bucket_policies import key_use
from components.iam.documents import Statement, allow
from components.naming import Naming

KEY_VARIABLE, ARCHIVE_VARIABLE = "GATEHOUSE_CHECKPOINT_KEY", "GATEHOUSE_CHECKPOINT_ARCHIVE"
PREFIX = "checkpoints/"
"""Key prefix of checkpoints in the trail bucket. The bucket's object lock applies to them."""


def signing_processes(contract: Contract) -> Iterator[Process]:
    """Yield the processes that create checkpoints."""
    return (process for process in contract.processes.values() if KEY_VARIABLE in process.variables)


def variables(names: Naming) -> dict[str, str]:
    """Return the environment variables of these processes. The key alias is known before the key exists."""
    return {KEY_VARIABLE: names.arn("kms", names.alias("audit")), ARCHIVE_VARIABLE: f"s3://{names.bucket('trail')}/{PREFIX}"}


def object_arns(names: Naming) -> str:
    """Return the ARN pattern of all checkpoints."""
    return f"{names.bucket_arn('trail')}/{PREFIX}*"


def write_checkpoints(names: Naming) -> Statement:
    """Allow a role to add checkpoints. Object lock prevents that any role overwrites or deletes one."""
    return allow("WriteCheckpoints", "s3:PutObject", [object_arns(names)])


def key_statements(names: Naming, roles: tuple[str, ...]) -> tuple[Statement, ...]:
    """Return statements for the policy of the trail bucket's key: S3 encrypts with it on behalf of `roles`."""
    principals = [names.role_arn(role) for role in roles]
    return (key_use("WriteCheckpoints", names, "trail", "kms:GenerateDataKey", principals),)
