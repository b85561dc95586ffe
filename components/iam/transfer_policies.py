"""What moving in and out asks of AWS: the old deployment's files, and the sealed exports in the data bucket."""

from collections.abc import Mapping, Sequence

from components.contract import Contract, Process
from components.iam.bucket_policies import key_use
from components.iam.documents import Statement, allow
from components.naming import Naming

VARIABLE = "GATEHOUSE_LEGACY_FILES"
DOOR = "console"
"""Whose process keeps the old files in step, and whose task runs `gatehouse import` and `gatehouse export`."""
PREFIX = "exports/"
"""Where sealed exports lie in the data bucket."""


def console_processes(contract: Contract) -> tuple[Process, ...]:
    """The processes that have the console's service."""
    return tuple(process for process in contract.processes.values() if any(service.name == DOOR for service in process.services))


def object_arns(places: Sequence[str]) -> list[str]:
    """ARN of each s3://bucket/key."""
    return [f"arn:aws:s3:::{place.removeprefix('s3://')}" for place in places]


def statements(names: Naming, legacy_files: Sequence[str]) -> list[Statement]:
    """What the console's role may: exactly these objects, read and replaced (a conditional write asks for both; S3 user guide,
    "Conditional requests"), and the exports, which it never deletes."""
    both = ["s3:GetObject", "s3:PutObject"]
    return [
        allow("SealedExports", both, [f"{names.bucket_arn('data')}/{PREFIX}*"]),
        *([allow("OldFiles", both, object_arns(legacy_files))] if legacy_files else []),
    ]


def key_users(names: Naming, roles: Sequence[str]) -> Mapping[str, tuple[Statement, ...]]:
    """S3 encrypts exports, and opens them for a restore, with the data key."""
    users = [names.role_arn(role) for role in roles]
    return {"data": (key_use("SealedExports", names, "data", ["kms:Decrypt", "kms:GenerateDataKey"], users),)}
