"""How the runtime's checkpoints of its audit trail are signed and kept: a key that only signs, a bucket that nobody empties."""

from collections.abc import Iterator

from components.contract import Contract, Process
from components.iam.bucket_policies import key_use
from components.iam.documents import Statement, allow
from components.naming import Naming

KEY, VAULT = "GATEHOUSE_CHECKPOINT_KEY", "GATEHOUSE_CHECKPOINT_ARCHIVE"
PREFIX = "checkpoints/"
"""Where they lie in the bucket of the trail, whose object lock covers everything in it."""


def signing_processes(contract: Contract) -> Iterator[Process]:
    """The processes that take checkpoints."""
    return (process for process in contract.processes.values() if KEY in process.variables)


def variables(names: Naming) -> dict[str, str]:
    """What those processes are told. The key is named by its alias, which is known before the key is."""
    return {KEY: names.arn("kms", names.alias("audit")), VAULT: f"s3://{names.bucket('trail')}/{PREFIX}"}


def object_arns(names: Naming) -> str:
    """ARN of every checkpoint."""
    return f"{names.bucket_arn('trail')}/{PREFIX}*"


def writes(names: Naming) -> Statement:
    """A role may add checkpoints. It never reads them back, and the lock lets nobody replace or delete one. The audit key's own
    policy says who signs."""
    return allow("KeepCheckpoints", ["s3:PutObject"], [object_arns(names)])


def key_users(names: Naming, roles: tuple[str, ...]) -> tuple[Statement, ...]:
    """For the policy of the key of the trail's bucket: S3 encrypts with it for these roles."""
    return (key_use("KeepCheckpoints", names, "trail", ["kms:GenerateDataKey"], [names.role_arn(role) for role in roles]),)
