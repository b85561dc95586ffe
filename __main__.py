"""Creates the resources of the selected stack, and exports their names."""

import pulumi
import pulumi_aws as aws

from components.context import Stack
from components.naming import default_tags
from components.settings.loader import load
from components.stack.resources import create, outputs

settings = load()
provider = aws.Provider(
    "aws",
    region=settings.region,
    allowed_account_ids=[settings.account],
    default_tags={"tags": default_tags(settings)},
)
resources = create(Stack.of(settings), pulumi.ResourceOptions(provider=provider))
for name, value in outputs(resources).items():
    pulumi.export(name, value)
