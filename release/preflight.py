"""Prerequisites whose absence AWS or Pulumi would report only after minutes, or not at all."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from components.naming import PROJECT
from components.settings.loader import example_keys, parse
from components.settings.rollout import ROLLING
from components.settings.workloads import NO_IMAGE
from release.bootstrap import backend_url
from release.errors import AWS_ERRORS
from release.github import unprotected_environments
from release.image import unverified_signature
from release.pulumi.cli import missing
from release.pulumi.stack import GATEHOUSE, Stack

FARGATE_CPU = "L-3032A538"
"""Source: AWS Fargate service quotas, "Fargate On-Demand vCPU resource count"."""


def missing_prerequisites(command: str, stack: Stack, *, unsigned: bool = False) -> list[str]:
    """Messages of the first checks that fail, each with its fix. Raises ClientError."""
    for messages in _checks(command, stack, unsigned=unsigned):
        if failed := [message for message in messages if message]:
            return failed
    return []


def _checks(command: str, stack: Stack, *, unsigned: bool) -> Iterator[Iterable[str]]:
    """Messages of checks, or "". Later checks require the success of earlier ones."""
    deploys = command in ("preview", "deploy")
    examples = _example_values(stack) if deploys or command == "image" else ""
    image = _no_image(stack) if deploys else ""
    backend = _other_backend(stack) if command == "bootstrap" else ""
    yield [examples, image, missing_credentials(stack), backend]
    if command not in ("bootstrap", "image", "logs", "rotate"):
        yield [missing_stack(stack)]
    if stack.project != GATEHOUSE:
        return
    if deploys:
        yield [_zone(stack), _low_quota(stack)]
    if command == "deploy":
        # The deployment creates the trust in the environments, and their rules can be removed.
        yield [unprotected_environments(stack)]
        if not unsigned:
            yield [unverified_signature(stack)]


def missing_credentials(stack: Stack) -> str:
    try:
        account = stack.client("sts").get_caller_identity()["Account"]
    except AWS_ERRORS as exc:
        return f"{exc}. Run: aws sso login, set AWS_PROFILE, or correct `region` in {stack.file}"
    if account == stack.account:
        return ""
    return (
        f"the AWS credentials are for account {account}, but the stack {stack.name} is in account "
        f"{stack.account}. Change AWS_PROFILE, or `account` in {stack.file}"
    )


def _other_backend(stack: Stack) -> str:
    url = os.environ.get("PULUMI_BACKEND_URL")
    if not url or url == backend_url(stack):
        return ""
    return f"PULUMI_BACKEND_URL={url} overrides the login. Run: unset PULUMI_BACKEND_URL"


def missing_stack(stack: Stack) -> str:
    error = missing(stack)
    return error and (
        f"the Pulumi CLI cannot read the stack: {error}. Before the first deployment, run: make "
        f"bootstrap {stack.target}, otherwise: pulumi login '{backend_url(stack)}'"
    )


def _example_values(stack: Stack) -> str:
    keys = ", ".join(example_keys(stack.settings))
    return keys and f"{stack.file} has example values. Set your own, or remove: {keys}"


def _no_image(stack: Stack) -> str:
    if stack.project == GATEHOUSE and stack.image_digest in ("", NO_IMAGE):
        return f"{stack.file} has no image.digest. Run: make image {stack.target}"
    return ""


def _zone(stack: Stack) -> str:
    """A message if the certificate would wait for a delegation or for records that never come."""
    domain = stack.setting("domain")
    key, route53 = "existing_resources.zone_id", stack.client("route53")
    if zone_id := stack.setting("existing_resources", "zone_id"):
        zone = route53.get_hosted_zone(Id=zone_id)["HostedZone"]
        is_parent = f".{domain}".endswith(f".{zone['Name'].rstrip('.')}")
        if is_parent and not zone.get("Config", {}).get("PrivateZone"):
            return ""
        return f"{key}: {zone_id} ({zone['Name']}) is no public hosted zone that contains {domain}"
    for zone in route53.list_hosted_zones_by_name(DNSName=domain)["HostedZones"]:
        config = zone.get("Config", {})
        own = config.get("Comment") == f"{PROJECT.capitalize()} {stack.name}"
        if zone["Name"] == f"{domain}." and not config.get("PrivateZone") and not own:
            return (
                f"the account has a hosted zone for {domain} already. Set {key}: "
                f"{zone['Id'].rpartition('/')[2]} in {stack.file}, or delete the zone"
            )
    return ""


def _low_quota(stack: Stack) -> str:
    """A message if a deployment needs more vCPUs than the quota, as in a new account: a service
    without them fails only after 20 minutes. AWS reports other quotas in the first minutes.
    """
    settings = parse(stack.settings, stack.name)
    # A deployment starts all new tasks before it stops the others.
    factor = 2 if settings.rollout.strategy != ROLLING else 1
    services = (*settings.services.scaling, *settings.core_tasks)
    cpu = sum(settings.scaling(name).tasks_min * settings.task_size(name).cpu for name in services)
    needed = -(-(cpu * factor + settings.task_size("migrate").cpu) // 1024)
    with suppress(*AWS_ERRORS):  # a pipeline cannot read quotas
        quotas = stack.client("service-quotas")
        quota = quotas.get_service_quota(ServiceCode="fargate", QuotaCode=FARGATE_CPU)["Quota"]
        if needed > quota["Value"]:
            return (
                f"account {stack.account} has a low quota of AWS Fargate. Run: aws service-quotas "
                f"request-service-quota-increase --service-code fargate --quota-code {FARGATE_CPU} "
                f"--desired-value {2 * needed} --region {stack.region}, or lower tasks_min or cpu: "
                f"a deployment runs {needed} vCPUs"
            )
    return ""
