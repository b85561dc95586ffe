"""Prerequisites whose absence AWS or Pulumi would report only after minutes, or not at all."""

import os
import re
from collections.abc import Iterator

from gatehouse_policies.analysis.properties import leaves

from components.naming import PROJECT
from release.bootstrap import backend_url
from release.errors import AWS_ERRORS, last_line
from release.github import unprotected_environments
from release.image import unverified_signature
from release.pulumi_cli import query
from release.quotas import exceeded_quotas
from release.stack_file import GATEHOUSE, Stack

EXAMPLE = re.compile(r"123456789012|\bexample(\.(com|net|org)\b|/)|^gatehouse-pulumi-state$")
"""Example account, domains, repository and state bucket of the stack files in the repository."""
_NO_DIGEST = "sha256:" + "0" * 64


def missing_prerequisites(command: str, stack: Stack, *, unsigned: bool = False) -> list[str]:
    """One message for each missing prerequisite, with its fix. Raises ClientError."""
    messages = [*_values(command, stack), missing_credentials(stack)]
    if command == "bootstrap":
        messages.append(_other_backend(stack))
    elif command not in ("image", "logs") and not any(messages):
        messages.append(_missing_stack(stack))
    if any(messages) or stack.project != GATEHOUSE:
        return [message for message in messages if message]
    if command in ("preview", "deploy"):
        messages += [_zone(stack), *exceeded_quotas(stack)]
    if command == "deploy":
        # The deployment creates the trust in the environments, and their rules can be removed.
        messages.append(unprotected_environments(stack))
        if not unsigned and not any(messages):
            messages.append(unverified_signature(stack))
    return [message for message in messages if message]


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


def _missing_stack(stack: Stack) -> str:
    # `pulumi stack ls` would read the state of other stacks, which the delivery roles must not do.
    result = query(stack, "stack", "--show-name", "--stack", stack.name)
    if result.returncode:
        return (
            f"the Pulumi CLI cannot read the stack: {last_line(result.stderr)}. Before the first "
            f"deployment, run: make bootstrap {stack.target}, otherwise: pulumi login "
            f"'{backend_url(stack)}'"
        )
    return ""


def _values(command: str, stack: Stack) -> Iterator[str]:
    if command not in ("preview", "deploy"):
        return
    found = leaves(stack.settings, "")
    keys = [key.lstrip(".") for key, value in found if EXAMPLE.search(str(value))]
    if keys:
        yield f"{stack.file} has example values. Set your own, or remove: {', '.join(keys)}"
    if stack.project == GATEHOUSE and stack.image_digest in ("", _NO_DIGEST):
        yield f"{stack.file} has no image.digest. Run: make image {stack.target}"


def _zone(stack: Stack) -> str:
    """A message if the certificate would wait for a delegation or for records that never come."""
    domain = str(stack.settings.get("domain", ""))
    key, route53 = "existing_resources.zone_id", stack.client("route53")
    if zone_id := (stack.settings.get("existing_resources") or {}).get("zone_id"):
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
