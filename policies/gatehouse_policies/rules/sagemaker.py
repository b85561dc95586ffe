"""Rules for Amazon SageMaker notebook instances."""

from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import is_exactly
from gatehouse_policies.engine.rule import resource_rule

notebook_is_restricted = resource_rule(
    "GH-SGM-001",
    title="SageMaker notebook instances have no direct internet access and no root access",
    severity="high",
    types=aws("sagemaker.NotebookInstance"),
    levels="AMM",
    upstream="SageMaker.1 SageMaker.3",
    url="https://docs.aws.amazon.com/securityhub/latest/userguide/sagemaker-controls.html",
).requires(
    is_exactly("directInternetAccess", "Disabled", default="Enabled"),
    is_exactly("rootAccess", "Disabled", default="Enabled"),
)
