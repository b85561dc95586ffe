"""CloudWatch Logs data protection: masks credentials in log groups and records findings in a
separate log group.
"""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.iam.documents import render
from components.iam.resource_policies import log_delivery_policy

TOKEN_CHARS = 43
KEY_BODY_CHARS = 61
"""Length of the base62 part of an API key (core/tokens/token.py). A test compares both values."""

MANAGED_IDENTIFIERS = (
    "AwsSecretKey",
    "OpenSshPrivateKey",
    "PgpPrivateKey",
    "PkcsPrivateKey",
    "PuttyPrivateKey",
)
"""Source: CloudWatch Logs User Guide, "CloudWatch Logs managed data identifiers for sensitive data
    types: Credentials".
"""
LOG_GROUP = "findings"


class DataProtection(StackComponent):
    """The log group of data protection findings, to which the log delivery service may write.

    Why: A masked credential was logged by mistake, and its source must be corrected. A finding
    contains the log stream and the position, but not the value.
    """

    def __init__(
        self, name: str, stack: Stack, logs_key_arn: pulumi.Input[str], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(name, stack, opts)
        group = self.create_log_group(name, self.names.log_group(LOG_GROUP), logs_key_arn)
        if not self.settings.existing_resources.log_policies:
            groups = self.names.of_stack("*").log_group(LOG_GROUP)
            policy = log_delivery_policy(self.names, "AllowFindingsDelivery", groups)
            aws.cloudwatch.LogResourcePolicy(
                name,
                policy_name=self.names.name("findings-delivery"),
                policy_document=render(policy),
                opts=self.child,
            )
        self.log_group = group.name
        self.register_outputs({})


def custom_identifiers(key_prefix: str) -> Mapping[str, str]:
    """Return the name and regular expression of each custom data identifier.

    Source of the permitted syntax: CloudWatch Logs User Guide, "Custom data identifiers".
    """
    return {
        "GatehouseKey": f"{key_prefix}_[a-z]{{4}}_[0-9A-Za-z]{{{KEY_BODY_CHARS}}}",
        "GatehouseBootstrapToken": f"{key_prefix}_admin_[0-9A-Za-z]{{{TOKEN_CHARS + 6}}}",
        "GatehouseSignInCode": f"{key_prefix}_signin_[0-9A-Za-z_-]{{{TOKEN_CHARS}}}",
        "GatehouseSessionOrCoreSecret": f"gatehouse_[a-z]{{4,7}}_[0-9A-Za-z_-]{{{TOKEN_CHARS}}}",
        "GatehouseWebhookSecret": "whsec_[0-9A-Za-z/+]{32,86}={0,2}",
        "GatehouseLink": f"[0-9A-Za-z]{{22}}#[0-9A-Za-z]{{{TOKEN_CHARS}}}",
        "BearerToken": "[Bb]earer [0-9A-Za-z_./+=-]{20,2000}",
        "JsonWebToken": "eyJ[0-9A-Za-z_-]{8,}[.]eyJ[0-9A-Za-z_-]{8,}[.][0-9A-Za-z_-]{8,}",
    }


def data_protection_policy(stack: Stack, findings_log_group: pulumi.Input[str]) -> dict[str, Any]:
    """Return the data protection policy of a log group.

    Both statements must list the same identifiers (CloudWatch Logs API Reference,
    PutDataProtectionPolicy).
    """
    custom = custom_identifiers(stack.settings.key_prefix)
    identifiers = [
        *(
            stack.names.any_arn("dataprotection", f"data-identifier/{name}", account="aws")
            for name in MANAGED_IDENTIFIERS
        ),
        *custom,
    ]
    audit = {"Audit": {"FindingsDestination": {"CloudWatchLogs": {"LogGroup": findings_log_group}}}}
    return {
        "Name": "credentials",
        "Description": "Masks API keys, tokens and private keys",
        "Version": "2021-06-01",
        "Configuration": {
            "CustomDataIdentifier": [
                {"Name": name, "Regex": regex} for name, regex in custom.items()
            ]
        },
        "Statement": [
            {"Sid": "find", "DataIdentifier": identifiers, "Operation": audit},
            {
                "Sid": "mask",
                "DataIdentifier": identifiers,
                "Operation": {"Deidentify": {"MaskConfig": {}}},
            },
        ],
    }
