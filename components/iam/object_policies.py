"""Grants processes access to S3 objects: audit checkpoints, encrypted exports, and the files of a
legacy deployment.
"""

from collections.abc import Mapping, Sequence

from components.contract import Contract, Process
from components.iam.documents import Statement, allow, allow_key_use
from components.iam.key_policies import bucket_key_use, caller_conditions
from components.naming import Naming

KEY_VARIABLE, ARCHIVE_VARIABLE = "GATEHOUSE_CHECKPOINT_KEY", "GATEHOUSE_CHECKPOINT_ARCHIVE"
SIGNING_ALGORITHM = "ECDSA_SHA_256"
"""Signing algorithm of the audit key (NIST P-256). Signatures can be verified with only the public
key.
"""
CHECKPOINTS = "checkpoints/"
"""Key prefix of checkpoints in the trail bucket. The bucket's object lock applies to
checkpoints.
"""
EXPORTS = "exports/"
"""Key prefix of encrypted exports in the data bucket."""


def signing_processes(contract: Contract) -> tuple[Process, ...]:
    return tuple(
        process for process in contract.processes.values() if KEY_VARIABLE in process.variables
    )


def checkpoint_variables(names: Naming) -> dict[str, str]:
    """Return the environment variables for the signing processes. The key alias is known before the
    key exists.
    """
    return {
        KEY_VARIABLE: names.arn("kms", names.alias("audit")),
        ARCHIVE_VARIABLE: f"s3://{names.bucket('trail')}/{CHECKPOINTS}",
    }


def checkpoint_arns(names: Naming) -> str:
    return f"{names.bucket_arn('trail')}/{CHECKPOINTS}*"


def legacy_file_arns(names: Naming, urls: Sequence[str]) -> list[str]:
    return [names.s3_arn(url.removeprefix("s3://")) for url in urls]


def console_statements(names: Naming, legacy_files: Sequence[str]) -> list[Statement]:
    """Allow the console to read and write exports and exactly these legacy files, but not to delete
    them.

    A conditional write requires both actions (S3 User Guide, "Conditional requests").
    """
    actions, files = "s3:GetObject PutObject", legacy_file_arns(names, legacy_files)
    exports = allow("Exports", actions, [f"{names.bucket_arn('data')}/{EXPORTS}*"])
    return [exports, *([allow("LegacyFiles", actions, files)] if files else [])]


def key_statements(
    names: Naming, *, signers: Sequence[str], consoles: Sequence[str]
) -> Mapping[str, tuple[Statement, ...]]:
    """Return key policy statements, keyed by KMS key. S3 encrypts checkpoints on behalf of the
    roles `signers`, and encrypts and decrypts exports on behalf of the roles `consoles` (ARNs). The
    signers sign with one algorithm, and IAM policies can allow other principals of the account to
    verify signatures."""
    account, own = {"AWS": names.root_arn}, caller_conditions(names)
    algorithm = {"StringEquals": {**own["StringEquals"], "kms:SigningAlgorithm": SIGNING_ALGORITHM}}
    return {
        "audit": (
            allow_key_use("SignCheckpoints", "kms:Sign", {"AWS": signers}, algorithm),
            allow_key_use("AllowSignersToGetPublicKey", "kms:GetPublicKey", {"AWS": signers}, own),
            allow_key_use("AllowSignatureVerification", "kms:GetPublicKey Verify", account, own),
        ),
        "data": (
            bucket_key_use("Exports", names, "data", "kms:Decrypt GenerateDataKey", consoles),
        ),
        "logs": (
            bucket_key_use("WriteCheckpoints", names, "trail", "kms:GenerateDataKey", signers),
        ),
    }
