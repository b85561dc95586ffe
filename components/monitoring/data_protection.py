"""What CloudWatch masks in the log groups of tasks: credentials of ours and of AWS, as the document it takes."""

from collections.abc import Mapping
from typing import Any

import pulumi

SECRET_CHARS = 43
BODY_CHARS = 61
"""After prefix and environment, a key is one run of base62 (runtime/gatehouse/crypto/token.py); a test holds both together."""

MANAGED = ("AwsSecretKey", "OpenSshPrivateKey", "PgpPrivateKey", "PkcsPrivateKey", "PuttyPrivateKey")
"""CloudWatch Logs user guide, "Managed data identifiers for sensitive data types: Credentials"."""


def own(key_prefix: str) -> Mapping[str, str]:
    """Names and patterns of our own credentials, in the characters that CloudWatch allows (CloudWatch Logs user guide, "Custom
    data identifiers": no brackets, no colon, 200 characters)."""
    return {
        "GatehouseKey": f"{key_prefix}_[a-z]{{4}}_[0-9A-Za-z]{{{BODY_CHARS}}}",
        "GatehouseBootstrapToken": f"{key_prefix}_admin_[0-9A-Za-z]{{{SECRET_CHARS + 6}}}",
        "BearerToken": "[Bb]earer [0-9A-Za-z_./+=-]{20,2000}",
        "JsonWebToken": "eyJ[0-9A-Za-z_-]{8,}[.]eyJ[0-9A-Za-z_-]{8,}[.][0-9A-Za-z_-]{8,}",
    }


def policy(key_prefix: str, findings: pulumi.Input[str]) -> dict[str, Any]:
    """The data protection policy of one log group. findings: name of the log group that is told what was masked.

    Both statements name the same identifiers, as PutDataProtectionPolicy demands (CloudWatch Logs API reference).
    """
    mine = own(key_prefix)
    identifiers = [*(f"arn:aws:dataprotection::aws:data-identifier/{name}" for name in MANAGED), *mine]
    told = {"CloudWatchLogs": {"LogGroup": findings}}
    return {
        "Name": "credentials",
        "Description": "Masks keys and tokens in what tasks write",
        "Version": "2021-06-01",
        "Configuration": {"CustomDataIdentifier": [{"Name": name, "Regex": regex} for name, regex in mine.items()]},
        "Statement": [
            {"Sid": "find", "DataIdentifier": identifiers, "Operation": {"Audit": {"FindingsDestination": told}}},
            {"Sid": "mask", "DataIdentifier": identifiers, "Operation": {"Deidentify": {"MaskConfig": {}}}},
        ],
    }
