"""Compares two quotas of the AWS account with the needs of a stack. New accounts have less, a
higher quota takes days, and a service without vCPUs fails only after 20 minutes. AWS reports other
quotas in the first minutes of a deployment.
"""

from collections.abc import Iterator
from contextlib import suppress

from components.settings.loader import parse
from components.settings.workloads import ROLLING
from release.errors import AWS_ERRORS
from release.stack_file import Stack

UNRESERVED_CONCURRENCY_MIN = 100
"""Source: AWS Lambda Developer Guide, "Configuring reserved concurrency"."""
LAMBDA_CONCURRENCY, FARGATE_CPU = "L-B99A9384", "L-3032A538"
"""Source: the default quotas of Service Quotas."""


def exceeded_quotas(stack: Stack) -> Iterator[str]:
    """One message for each quota that is too low, with the command that requests a higher one. A
    quota that the credentials cannot read, such as those of a pipeline, is not checked.
    """
    settings = parse(stack.settings, stack.name)
    # A deployment starts all new tasks before it stops the others.
    factor = 2 if settings.rollout.strategy != ROLLING else 1
    services = (*settings.services.scaling, *settings.core_tasks)
    cpu = sum(settings.scaling(name).tasks_min * settings.task_size(name).cpu for name in services)
    needed = -(-(cpu * factor + settings.task_size("migrate").cpu) // 1024)
    with suppress(*AWS_ERRORS):
        quotas = stack.client("service-quotas")
        quota = quotas.get_service_quota(ServiceCode="fargate", QuotaCode=FARGATE_CPU)["Quota"]
        if needed > quota["Value"]:
            request = _request(stack, "fargate", FARGATE_CPU, 2 * needed)
            yield f"{request}, or lower tasks_min or cpu: a deployment runs {needed} vCPUs"
    reserved = sum(settings.function_concurrency.values())
    with suppress(*AWS_ERRORS):
        limits = stack.client("lambda").get_account_settings()["AccountLimit"]
        if reserved and reserved + UNRESERVED_CONCURRENCY_MIN > limits["ConcurrentExecutions"]:
            request = _request(stack, "lambda", LAMBDA_CONCURRENCY, 1000)
            yield f"{request}, or set reserve_function_concurrency: false"


def _request(stack: Stack, service: str, code: str, value: int) -> str:
    return (
        f"account {stack.account} has a low quota of AWS {service}. Run: aws service-quotas "
        f"request-service-quota-increase --service-code {service} --quota-code {code} "
        f"--desired-value {value} --region {stack.region}"
    )
