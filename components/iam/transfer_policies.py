"""Permissions of the console for exports in the data bucket and for the files of a legacy deployment."""

from collections.abc import Mapping, Sequence

from components.contract import Contract, Process
from components.iam.bucket_policies import key_use
from components.iam.documents import Statement, allow
from components.naming import Naming

SERVICE = "console"
"""Service whose process updates the legacy files and whose task runs `gatehouse import` and `gatehouse export`."""
PREFIX = "exports/"
"""Key prefix of encrypted exports in the data bucket."""


def console_processes(contract: Contract) -> tuple[Process, ...]:
    """Return the processes that serve the console."""
    return tuple(
        process for process in contract.processes.values() if any(service.name == SERVICE for service in process.services)
    )


def object_arns(urls: Sequence[str]) -> list[str]:
    """Return the ARN of each `s3://bucket/key`."""
    return [f"arn:aws:s3:::{url.removeprefix('s3://')}" for url in urls]


def statements(names: Naming, legacy_files: Sequence[str]) -> list[Statement]:
    """Allow the console to read and write exports and the exact legacy files, and to delete none of them.

    A conditional write requires both actions (S3 User Guide, "Conditional requests").
    """
    actions = ["s3:GetObject", "s3:PutObject"]
    return [
        allow("Exports", actions, [f"{names.bucket_arn('data')}/{PREFIX}*"]),
        *([allow("LegacyFiles", actions, object_arns(legacy_files))] if legacy_files else []),
    ]


def key_statements(names: Naming, roles: Sequence[str]) -> Mapping[str, tuple[Statement, ...]]:
    """Return key policy statements by key: S3 encrypts and decrypts exports on behalf of `roles`."""
    principals = [names.role_arn(role) for role in roles]
    return {"data": (key_use("Exports", names, "data", "kms:Decrypt GenerateDataKey", principals),)}
