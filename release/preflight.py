"""Checks the prerequisites for a release: a logged-in Pulumi CLI, the stack and its passphrase, AWS
credentials, a stack file without example values, and a container image."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import NoCredentialsError

from components.naming import PROJECT
from release import pulumi_cli
from release.bootstrap import backend_url, unprotected_environments, without_key
from release.errors import AWS_ERRORS, code_of
from release.image import missing_builder
from release.quotas import exceeded_quotas
from release.signature import unverified_signature
from release.stack_file import GATEHOUSE, Stack

CLI_MIN = (3, 249, 0)
"""Oldest supported Pulumi CLI: `pulumi policy analyze --file` was added in 3.249."""
_PLACEHOLDER_DIGEST = "sha256:" + "0" * 64
_EXAMPLE = re.compile(r"123456789012|\bexample(\.(com|net|org)\b|/)|^gatehouse-pulumi-state$")
"""Example account, domains, image repository and state bucket, which the stack files in the Git
repository contain.
"""
_INSTALL = "https://www.pulumi.com/docs/install/"
_PASSPHRASE = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


def missing_prerequisites(command: str, stack: Stack, *, unsigned: bool = False) -> list[str]:
    """One message for each missing prerequisite of a command, with its fix. unsigned: accept an
    image that the pipeline has not signed."""
    messages = [message for message in _missing(command, stack) if message]
    if not messages and command == "deploy" and stack.project == GATEHOUSE:
        # The deployment creates the trust in the environments, and their rules can be removed.
        messages = unprotected_environments(stack)
        if not messages and not unsigned:
            messages += filter(None, [unverified_signature(stack)])
    if not messages and command in ("deploy", "rollback", "destroy"):
        return unfinished_updates(stack)
    return messages


def _missing(command: str, stack: Stack) -> Iterator[str | None]:
    account = missing_credentials(stack)
    if command == "bootstrap":
        yield from (_check_cli(), _check_backend_variable(stack))
    elif command == "image":
        yield missing_builder()
    elif command != "logs":  # only CloudWatch is needed
        yield _check_pulumi(stack, with_stack=not account)
    yield account
    if command not in ("preview", "deploy"):
        return
    yield _check_examples(stack)
    if stack.project == GATEHOUSE:
        yield _check_image(stack)
        # Without credentials, the zones and quotas cannot be read.
        if not account:
            yield _check_zone(stack)
            yield from exceeded_quotas(stack)


def unfinished_updates(stack: Stack) -> list[str]:
    """One message for each lock of the stack, otherwise one message if an earlier update was
    stopped during operations. Each message contains the fix."""
    try:
        if locks := _locks(stack):
            return [
                f"the stack {stack.name} is locked by {_word(lock['username'])}@"
                f"{_word(lock['hostname'])} (process {_word(lock['pid'])}) since "
                f"{_word(lock['timestamp'][:19])}. Wait until that update has ended. If its "
                f"process no longer exists, run: pulumi cancel {stack.options}"
                for lock in locks
            ]
        state = pulumi_cli.deployment(stack)
        operations = state.get("pending_operations") or []
        stopped = [row["resource"] for row in operations]
        ends = {row["urn"][row["urn"].index(f"{row['type']}::") :] for row in stopped}
        targets = "".join(f" --target '**{end}'" for end in sorted(ends))
        listed = ", ".join(f"{_word(row['type'])} {row['resource']['urn']}" for row in operations)
        read = [
            f"{_word(row['urn'])} ({_word(row.get('id'))})"
            for row in state.get("resources") or ()
            if row["urn"].endswith(tuple(ends))
        ]
    # Others can have written the state and the locks.
    except (AttributeError, LookupError, TypeError, ValueError, *AWS_ERRORS) as exc:
        return [f"cannot read the state of the stack {stack.name} ({exc})"]
    if not operations:
        return []
    return [
        f"an earlier update of the stack {stack.name} was stopped during these operations: "
        f"{listed}. Run: pulumi cancel {stack.options}; pulumi refresh {stack.options}{targets}"
        ". Refresh asks whether the resources exist in AWS, and stores what it reads in the "
        f"state, so these IDs must be those of the stack: {', '.join(read) or 'none'}"
    ]


def _word(text: object) -> str:
    """Text of others in a message, in which it cannot look like a sentence or a command."""
    return re.sub(r"[^\w.@:/|$=+-]", "\ufffd", str(text))


def _locks(stack: Stack) -> list[dict[str, Any]]:
    """The locks of a stack whose state is in S3. Other backends report a lock when an update
    starts.

    Source: pkg/backend/diy/lock.go in github.com/pulumi/pulumi.
    """
    url = urlsplit(_backend(stack))
    if url.scheme != "s3":
        return []
    s3 = stack.client("s3")
    prefix = f"{url.path}/.pulumi/locks/organization/{stack.project.name}/{stack.name}/".lstrip("/")
    rows = s3.list_objects_v2(Bucket=url.netloc, Prefix=prefix).get("Contents", [])
    return [
        json.loads(s3.get_object(Bucket=url.netloc, Key=row["Key"])["Body"].read()) for row in rows
    ]


def _check_cli() -> str | None:
    path = shutil.which("pulumi")
    if path is None:
        return f"the Pulumi CLI is not on PATH. Install it: {_INSTALL}"
    version = subprocess.run(
        [path, "version"], capture_output=True, text=True, timeout=30, check=False
    ).stdout.strip()
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if match and tuple(map(int, match.groups())) < CLI_MIN:
        return (
            f"the Pulumi CLI is {version}; {'.'.join(map(str, CLI_MIN))} or later is "
            f"required: {_INSTALL}"
        )
    return None


def _check_backend_variable(stack: Stack) -> str | None:
    """Return a message if PULUMI_BACKEND_URL would override the login, otherwise None."""
    url = os.environ.get("PULUMI_BACKEND_URL", "")
    if url in ("", backend_url(stack)):
        return None
    return (
        f"PULUMI_BACKEND_URL is {url}, which overrides the login of the Pulumi CLI. Run: "
        f"unset PULUMI_BACKEND_URL"
    )


def _check_pulumi(stack: Stack, *, with_stack: bool) -> str | None:
    """Return a message if the CLI is missing or cannot read the stack, otherwise None.

    with_stack: False without AWS credentials, which the CLI needs to read the stack.
    """
    message = _check_cli()
    if message or not with_stack:
        return message
    try:
        return _check_backend(stack, _backend(stack))
    except ValueError as exc:
        return f"{exc}. {_log_in(stack)}, or pulumi login (Pulumi Cloud)"


def _backend(stack: Stack) -> str:
    """The URL of the backend to which the CLI is logged in. Raises ValueError."""
    login = pulumi_cli.query("whoami", "--json", root=stack.root)
    if login.returncode:
        problem = pulumi_cli.last_line(login.stderr)
        raise ValueError(f"the Pulumi CLI is not logged in to a backend that responds ({problem})")
    return str(json.loads(login.stdout).get("url", ""))


def _check_backend(stack: Stack, url: str) -> str | None:
    """Return a message if the stack does not exist in the backend or the passphrase for its secrets
    is missing, otherwise None."""
    # `pulumi stack ls` would read the state of other stacks, which the delivery roles must not do.
    result = pulumi_cli.query("stack", "--show-name", "--stack", stack.name, root=stack.root)
    if result.returncode and "no stack named" not in result.stderr:
        return (
            f"the Pulumi CLI cannot read the stack {stack.name}: "
            f"{pulumi_cli.last_line(result.stderr)}"
        )
    if result.returncode:
        # Pulumi Cloud stores the state and encrypts the secrets of a stack itself.
        is_cloud = url.startswith("http")
        step = f"Run: pulumi stack init {stack.options}" if is_cloud else _log_in(stack)
        return f"the stack {stack.name} does not exist in {url}. {step}"
    has_passphrase = stack.has_salt or not (stack.secrets_provider or url.startswith("http"))
    if has_passphrase and not any(name in os.environ for name in _PASSPHRASE):
        return f"{without_key(stack)}. To use a passphrase, set {' or '.join(_PASSPHRASE)}"
    return None


def _log_in(stack: Stack) -> str:
    """How to reach the state of a stack, which may be in another region than the last one used."""
    return (
        f"Before the first deployment, run: make bootstrap {stack.target}. Otherwise run: pulumi "
        f"login '{backend_url(stack)}'"
    )


def missing_credentials(stack: Stack) -> str | None:
    """A message if the AWS credentials are missing or those of another account, with the fix."""
    try:
        account = stack.client("sts").get_caller_identity()["Account"]
    except NoCredentialsError:
        return "no AWS credentials. Run: aws sso login, or set AWS_PROFILE"
    except AWS_ERRORS as exc:
        return (
            f"AWS rejected the credentials ({code_of(exc)}). Run: aws sso login, or set AWS_PROFILE"
        )
    if account != stack.account:
        return (
            f"the AWS credentials are for account {account}, but the stack {stack.name} is in "
            f"account {stack.account}. Change AWS_PROFILE, or `account` in {stack.file}"
        )
    return None


def _check_examples(stack: Stack) -> str | None:
    keys = ", ".join(_examples(stack.settings))
    message = f"{stack.file} contains example values. Set your own values, or remove the keys: "
    return f"{message}{keys}" if keys else None


def _examples(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _examples(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        if any(True for item in value for _ in _examples(item)):
            yield key
    elif isinstance(value, str) and _EXAMPLE.search(value):
        yield key


def _check_zone(stack: Stack) -> str | None:
    """Return a message if the existing hosted zone cannot contain the domain, or if a zone of the
    domain exists that is neither the stack's nor `existing_resources.zone_id`: the certificate
    would wait for the delegation of a second zone."""
    domain = str(stack.settings.get("domain", ""))
    zone_id = (stack.settings.get("existing_resources") or {}).get("zone_id")
    route53 = stack.client("route53")
    try:
        if zone_id:
            return _zone_mistake(route53.get_hosted_zone(Id=zone_id)["HostedZone"], domain)
        zones = route53.list_hosted_zones_by_name(DNSName=domain)["HostedZones"]
    except route53.exceptions.NoSuchHostedZone:
        return (
            f"the hosted zone {zone_id} does not exist in account {stack.account}. Run: aws "
            f"route53 list-hosted-zones"
        )
    except AWS_ERRORS as exc:
        return f"Route 53 rejected the request for the hosted zone of {domain} ({code_of(exc)})"
    for zone in zones:
        config = zone.get("Config") or {}
        own = config.get("Comment") == f"{PROJECT.capitalize()} {stack.name}"
        if zone["Name"].rstrip(".") == domain and not config.get("PrivateZone") and not own:
            identity = zone["Id"].rpartition("/")[2]
            return (
                f"the account has the hosted zone {identity} for {domain} already. Set "
                f"existing_resources.zone_id: {identity} in {stack.file}, or delete the zone"
            )
    return None


def _zone_mistake(zone: dict[str, Any], domain: str) -> str | None:
    name = str(zone["Name"]).rstrip(".")
    if (zone.get("Config") or {}).get("PrivateZone"):
        return (
            f"existing_resources.zone_id: the hosted zone {name} is private; a public zone "
            f"is required"
        )
    if domain != name and not domain.endswith(f".{name}"):
        return (
            f"existing_resources.zone_id: the hosted zone is {name}, which does not contain "
            f"the domain {domain}"
        )
    return None


def _check_image(stack: Stack) -> str | None:
    if (
        not re.fullmatch(r"sha256:[0-9a-f]{64}", stack.image_digest)
        or stack.image_digest == _PLACEHOLDER_DIGEST
    ):
        return (
            f"{stack.file} contains no image. Run: make image {stack.target}, "
            "or set image.digest to the sha256:<64 hex digits> of a pushed image"
        )
    return None
