"""What CloudWatch masks in the log groups of tasks: credentials of ours and of AWS, as the document it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.documents import Document, allow, document, render
from components.naming import Naming
from components.tags import tags

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


FINDINGS = "findings"
"""Name (Naming.log_group's `process`) of the log group."""


@dataclass(frozen=True, kw_only=True)
class DataProtectionArgs:
    """names: the stack's names. log_key_arn, log_retention_days: its log group."""

    names: Naming
    log_key_arn: pulumi.Input[str]
    log_retention_days: int


class DataProtection(pulumi.ComponentResource):
    """One log group for the findings of all masked log groups, and the right of the log service to write there.

    Why: a masked credential is one that something logged, and that must be mended where it happens; a finding says in which
    stream and place, never what. Cost: the masking itself is 0.12 USD a GB that tasks write. Controls: GH-CW-001, GH-CW-002,
    GH-CW-006.
    """

    log_group: pulumi.Output[str]

    def __init__(self, name: str, args: DataProtectionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:monitoring:DataProtection", name, component_inputs(args), opts)
        group = aws.cloudwatch.LogGroup(
            name,
            name=args.names.log_group(FINDINGS),
            retention_in_days=args.log_retention_days,
            kms_key_id=args.log_key_arn,
            tags=tags("log"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.cloudwatch.LogResourcePolicy(
            name,
            policy_name=args.names.name("findings-delivery"),
            policy_document=render(delivery_policy(args.names)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.log_group = group.name
        self.register_outputs({"logGroup": self.log_group})


def delivery_policy(names: Naming) -> Document:
    """The log service may put findings into this one log group (CloudWatch Logs user guide, "IAM permissions required to create
    or work with a data protection policy")."""
    return document(
        allow(
            "FindingsArrive",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [f"{names.log_group_arn(names.log_group(FINDINGS))}:log-stream:*"],
            principal={"Service": "delivery.logs.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": names.arn("logs", "*")},
            },
        )
    )
