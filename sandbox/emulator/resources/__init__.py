"""The emulated resource types, by area. `RESOURCE_TYPES` has them by type token."""

from pulumi_local.type_tokens import by_token

from sandbox.emulator.resource_type import ResourceType
from sandbox.emulator.resources import (
    account,
    cloudfront,
    cloudwatch,
    containers,
    databases,
    dns,
    encryption,
    iam,
    load_balancing,
    messaging,
    serverless,
    storage,
    vpc,
)

RESOURCE_TYPES: dict[str, ResourceType] = by_token(
    account.TYPES | cloudfront.TYPES | cloudwatch.TYPES | containers.TYPES | databases.TYPES
    | dns.TYPES | encryption.TYPES | iam.TYPES | load_balancing.TYPES | messaging.TYPES
    | serverless.TYPES | storage.TYPES | vpc.TYPES
)  # fmt: skip
